//! The metastore: what can be read can be changed, and the change does what it says.

use std::collections::BTreeSet;

use influx_snap::metastore::Data;
use influx_snap::metastore::edit::{Pick, Rename, merge, rename, retain_databases};
use prost::Message;

/// Bytes as a metastore.
pub fn metastore(bytes: &[u8]) {
    let Ok(data) = Data::read(bytes) else {
        assert!(retain_databases(bytes, |_| true).is_err());
        return;
    };
    let again = Data::read(&data.encode_to_vec()).expect("a metastore");
    assert_eq!(again, data);
    assert_eq!(again.shards().count(), data.shards().count());

    let kept = retain_databases(bytes, |_| true).expect("a metastore");
    let without_users = Data {
        users: Vec::new(),
        ..data.clone()
    };
    assert_eq!(Data::read(&kept).expect("a metastore"), without_users);
    renames(bytes, &data);
    merges(bytes, &data);
}

fn renames(bytes: &[u8], data: &Data) {
    let Some(database) = data.databases.first() else {
        return;
    };
    let names = Rename {
        database: &database.name,
        new_database: "a name that nobody has",
        policy: None,
    };
    if let Ok(renamed) = rename(bytes, &names) {
        let renamed = Data::read(&renamed).expect("a metastore");
        assert!(renamed.database(names.new_database).is_some());
        assert_eq!(renamed.databases.len(), data.databases.len());
    }
}

fn merges(bytes: &[u8], data: &Data) {
    let names: BTreeSet<&String> = data
        .databases
        .iter()
        .map(|database| &database.name)
        .collect();
    let pick = |database: &&String| Pick {
        database: (*database).clone(),
        policy: None,
        shards: None,
        deleted_groups: true,
        continuous_queries: true,
        subscriptions: true,
    };
    let picks: Vec<Pick> = names.iter().map(pick).collect();
    let target = Data {
        max_shard_id: 1000,
        ..Data::default()
    };
    if let Ok(merged) = merge(&target.encode_to_vec(), bytes, &picks) {
        let result = Data::read(&merged.meta).expect("a metastore");
        assert_eq!(result.databases.len(), data.databases.len());
        assert!(merged.shard_ids.values().all(|id| *id > 1000));
        assert!(result.shards().all(|shard| shard.path.id > 1000));
    }
}
