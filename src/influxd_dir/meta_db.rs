//! The metastore of an influxd that does not run: the file `meta.db`.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use super::layout::{ensure_directory_name, ensure_metastore_there};
use crate::error::ErrorKind;
use crate::io::durable;
use crate::io::open::read_bounded;
use crate::metastore::Data;
use crate::metastore::edit::{Merged, Pick, Rename, merge, rename, retain_databases};
use crate::server::MetaStore;
use crate::wire::{Import, MAX_META_BYTES, ShardIds};

/// `meta.db` in a meta directory. It is read anew for each request.
#[derive(Debug)]
pub struct LocalMeta {
    directory: PathBuf,
    /// Held while the file is changed.
    change: Mutex<()>,
}

impl LocalMeta {
    /// The metastore in `directory`.
    ///
    /// # Errors
    ///
    /// When there is none, or it is damaged.
    pub fn open(directory: &Path) -> Result<Self> {
        let store = Self {
            directory: directory.to_owned(),
            change: Mutex::default(),
        };
        ensure_metastore_there(directory, ErrorKind::Failed)?;
        Data::read(&store.data()?)
            .with_context(|| format!("reading {}", store.path().display()))?;
        Ok(store)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("meta.db")
    }
}

impl MetaStore for LocalMeta {
    fn data(&self) -> Result<Vec<u8>> {
        read_bounded(&self.path(), MAX_META_BYTES)
            .with_context(|| format!("reading {}", self.path().display()))
    }

    fn import(
        &self,
        request: &Import,
        prepare: &dyn Fn(&Data, &Merged) -> Result<()>,
    ) -> Result<ShardIds> {
        let _change = self
            .change
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let merged = merge_import(&self.data()?, request)?;
        prepare(&Data::read(&merged.meta)?, &merged)?;
        let path = self.path();
        let before =
            fs::symlink_metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        durable::write_whole_as(
            &path,
            |out| out.write_all(&merged.meta),
            |file| {
                // Another owner is no reason to take no databases.
                let _ = file.set_permissions(before.permissions());
                let _ = fchown(file, Some(before.uid()), Some(before.gid()));
                Ok(())
            },
        )?;
        Ok(merged.shard_ids)
    }
}

/// The metastore with what an import adds, as influxd adds it: deleted groups too, no continuous
/// queries, no users. With a database named, the others stay out; with a policy named, it becomes
/// the default.
fn merge_import(target: &[u8], request: &Import) -> Result<Merged> {
    let given = |name: &String| (!name.is_empty()).then(|| name.clone());
    let source = Data::read(&request.meta)?;
    let mut names = HashSet::new();
    for database in &source.databases {
        ensure!(
            names.insert(&database.name),
            "the database '{}' stands twice in what is imported",
            database.name
        );
        ensure_directory_name(&database.name)?;
        database
            .retention_policies
            .iter()
            .try_for_each(|policy| ensure_directory_name(&policy.name))?;
    }
    for name in [&request.new_database, &request.new_retention_policy]
        .into_iter()
        .filter(|name| !name.is_empty())
    {
        ensure_directory_name(name)?;
    }
    let pick = |database: String, policy: Option<String>| Pick {
        database,
        policy,
        shards: None,
        deleted_groups: true,
        continuous_queries: false,
        subscriptions: true,
    };
    let Some(database) = given(&request.database) else {
        let names = source
            .databases
            .into_iter()
            .map(|database| database.name)
            .filter(|name| name != "_internal");
        let picks: Vec<Pick> = names.map(|name| pick(name, None)).collect();
        return merge(target, &request.meta, &picks);
    };
    let new_database = given(&request.new_database).unwrap_or_else(|| database.clone());
    let policy = given(&request.retention_policy);
    let new_policy = policy
        .as_ref()
        .map(|policy| given(&request.new_retention_policy).unwrap_or_else(|| policy.clone()));
    let names = Rename {
        database: &database,
        new_database: &new_database,
        policy: policy.as_deref().zip(new_policy.as_deref()),
    };
    // Another database of the payload may have the new name; it is not imported and must not stand
    // in the way.
    let alone = retain_databases(&request.meta, |name| name == database)?;
    merge(
        target,
        &rename(&alone, &names)?,
        &[pick(new_database.clone(), new_policy.clone())],
    )
}
