//! What it costs to read a repository of many sets.

use super::*;
use crate::repository::hidden::{RECORD, name_of};
use crate::repository::record::{SetRecord, ShardRecord};
use crate::repository::{Catalog, Chains, Layout, manifest, test_records};
use crate::time;

const SETS: usize = 1000;
const SHARDS: u64 = 50;
/// Objects in a page of a listing.
const PAGE: usize = memory::PAGE;

/// Puts sets there of which each shares all shards of the first.
fn put_sets(store: &dyn WritableStore) {
    let put = |name: String, content: &[u8]| {
        let written = store.write_whole(&name, &mut |out| out.write_all(content));
        written.unwrap();
        test_records::file(&name, content)
    };
    let first = time::parse_stamp("20231101T021500Z").unwrap();
    let shards: Vec<ShardRecord> = (0..SHARDS)
        .map(|id| ShardRecord {
            file: Some(put(manifest::shard_file(&time::stamp(first), id), b"tar")),
            tar_size: Some(3),
            ..test_records::shard(&test_records::path("db", id))
        })
        .collect();
    for nth in 0..SETS {
        let started = first + jiff::SignedDuration::from_hours(24 * nth as i64);
        let id = time::stamp(started);
        let record = SetRecord {
            number: nth as u32,
            layout: Layout::Portable,
            cluster_id: Some(1),
            meta: put(manifest::meta_file(&id), b"meta"),
            manifest: Some(put(manifest::manifest_file(&id), b"manifest")),
            ..test_records::set(&id, started, shards.clone())
        };
        let name = name_of(&record.id, RECORD);
        let written = store.write_whole(&name, &mut |out| record.write_to(out));
        written.unwrap();
    }
}

#[test]
fn a_thousand_sets_take_four_listings_and_a_request_each() {
    let objects = Arc::default();
    let store: Arc<dyn WritableStore> = Arc::new(over(&objects, 0));
    put_sets(&*store);
    objects.calls();
    let (catalog, unreadable) = Catalog::of(store).unwrap();
    assert_eq!((catalog.sets().len(), unreadable.len()), (SETS, 0));
    // As list and check do.
    let mut chains = Chains::of(&catalog);
    for at in 0..SETS {
        assert!(chains.missing(at, None).is_empty());
    }
    let calls = objects.calls();
    let gets = calls.iter().filter(|call| call.starts_with("get "));
    assert_eq!(gets.count(), SETS);
    let lists = calls.iter().filter(|call| call.starts_with("list"));
    // The hidden folder is listed until it stays as it is.
    let visible = SHARDS as usize + 2 * SETS;
    let pages = visible.div_ceil(PAGE) + 3 * SETS.div_ceil(PAGE);
    assert_eq!(lists.count(), pages);
    assert_eq!(calls.len(), SETS + pages);
}
