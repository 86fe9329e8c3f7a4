//! Backups as `influxd backup` makes them and directories as of an influxd, made by hand: any
//! shards, whatever their names, and what has to be in a directory after a run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use influx_snap::shard::ShardPath;
use influx_snap::tsm::values::{Points, Strings, Values};
use influx_snap::tsm::writer::Writer;
use prost::Message;
use tempfile::TempDir;

use super::peer::{self, Member, Model, Tar, Version, noise};
use super::process::{Run, restore_into};
use super::time::{MONDAY, WEEK};
use super::{folder, tree};

/// The name of the only TSM file of most shards.
pub const FILE: &str = "000000001-000000001.tsm";

/// A complete TSM file as influxd 1.6.7 wrote it: `m,h=a v=1.5` at 1600000000000000000.
pub const TSM: &[u8] = b"\x16\xd1\x16\xd1\x01\x20\xdc\xb3\xe6\x00\x09\x1c\x16\x34\x57\x85\xd8\xa0\x00\x00\x10\
    \x3f\xf8\x00\x00\x00\x00\x00\x00\xc3\xfc\x00\x00\x00\x00\x00\x00\x00\x10\x00\x0am,h=a#!~#v\x00\x00\x01\
    \x16\x34\x57\x85\xd8\xa0\x00\x00\x16\x34\x57\x85\xd8\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x22\
    \x00\x00\x00\x00\x00\x00\x00\x27";

/// A TSM file with that value.
pub fn tsm(value: u8) -> Vec<u8> {
    written(Points {
        times: vec![1_600_000_000_000_000_000],
        values: Values::Float(vec![f64::from(value)]),
    })
}

/// A TSM file of several MiB that says `value` in its own way.
fn large_tsm(value: u8) -> Vec<u8> {
    let mut strings = Strings::default();
    noise(value.into(), 6 << 20)
        .chunks(1 << 10)
        .for_each(|text| strings.push(text));
    let times = (0..)
        .map(|second| 1_600_000_000_000_000_000 + second)
        .take(strings.len())
        .collect();
    written(Points {
        times,
        values: Values::String(strings),
    })
}

/// A TSM file of one key.
fn written(points: Points) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer
        .begin_key(b"m,h=a#!~#v", points.values.value_type())
        .expect("a key");
    writer.points(&points).expect("a block");
    writer.finish().expect("a file").0
}

/// Database, retention policy, id.
pub type Shard<'a> = (&'a str, &'a str, u64);

/// What a server holds that has these shards, each with the start of the week that is its own.
fn model<'a>(shards: impl IntoIterator<Item = (Shard<'a>, i64)>) -> Model {
    let mut model = Model::new(Version::V1_6, &[]);
    let shard = |((db, rp, id), start): (Shard<'_>, i64)| {
        let path = ShardPath {
            database: db.into(),
            retention_policy: rp.into(),
            id,
        };
        peer::Shard {
            start,
            end: start + WEEK,
            ..peer::Shard::with_tar(path, Tar::Bytes(Vec::new()))
        }
    };
    model.shards = shards.into_iter().map(shard).collect();
    model
}

/// A metastore that names these shards, in its frame.
pub fn meta(shards: &[Shard<'_>]) -> Vec<u8> {
    model(shards.iter().map(|shard| (*shard, MONDAY))).meta()
}

/// The tar of a shard with these files.
pub fn shard_tar((db, rp, id): Shard<'_>, files: &[(&str, &[u8])]) -> Vec<u8> {
    tar_of(&format!("{db}/{rp}/{id}"), files)
}

/// The tar of `db/rp/id` with these files, under any names, however bad.
pub fn tar_of(shard: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let member =
        |(name, content): &(&str, &[u8])| Member::new(format!("{shard}/{name}"), content.to_vec());
    peer::tar(&files.iter().map(member).collect::<Vec<_>>())
}

/// The name of a shard's file in the backup of that number.
pub fn shard_file((db, rp, id): Shard<'_>, number: u32) -> String {
    format!("{db}.{rp}.{id:05}.{number:02}")
}

/// Directories as of an influxd: shards `1` to `n` of `s`.`rp`, each with one file of so many zero
/// bytes or, where that is 0, with [`TSM`].
pub fn stopped_server(root: &Path, sizes: &[u64]) {
    let weeks = (1..).zip(sizes).map(|(id, _)| {
        (
            ("s", "rp", id),
            MONDAY + i64::try_from(id).expect("a small number") * WEEK,
        )
    });
    fs::create_dir_all(root.join("meta")).expect("a meta directory");
    fs::write(
        root.join("meta/meta.db"),
        model(weeks).data().encode_to_vec(),
    )
    .expect("a metastore");
    for (id, size) in (1..).zip(sizes) {
        let file = root.join(format!("data/s/rp/{id}/{FILE}"));
        fs::create_dir_all(file.parent().expect("a directory")).expect("a shard");
        match size {
            0 => fs::write(file, TSM).expect("writing a file"),
            size => File::create(file)
                .and_then(|file| file.set_len(*size))
                .expect("a sparse file"),
        }
    }
}

/// A folder of its own for a test, with backup directories as `influxd backup` makes them: without
/// a record.
pub struct Folder(TempDir);

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        Self(folder())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// What has that name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A backup of these shards, each with one TSM file of this value.
    pub fn backup(&self, name: &str, shards: &[Shard<'_>], value: u8) -> PathBuf {
        self.backup_with(name, shards, &tsm(value))
    }

    /// A backup of some shards of several MiB each.
    pub fn large_backup(&self, name: &str, value: u8) -> PathBuf {
        let shards: Vec<Shard<'_>> = (1..=6).map(|id| ("d", "autogen", id)).collect();
        self.backup_with(name, &shards, &large_tsm(value))
    }

    /// A backup of these shards, each with this TSM file.
    fn backup_with(&self, name: &str, shards: &[Shard<'_>], content: &[u8]) -> PathBuf {
        let backup = self.path(name);
        fs::create_dir(&backup).expect("a backup directory");
        fs::write(backup.join("meta.00"), meta(shards)).expect("a metastore");
        for shard in shards {
            fs::write(
                backup.join(shard_file(*shard, 0)),
                shard_tar(*shard, &[(FILE, content)]),
            )
            .expect("a shard");
        }
        backup
    }

    /// What a restore of the backup into an empty target leaves.
    pub fn outcome(&self, backup: &Path) -> Tree {
        let target = self.path("outcome");
        restore(backup, &target, &[]).expect(0);
        let outcome = everything(&target);
        fs::remove_dir_all(&target).expect("removing a target");
        outcome
    }
}

/// Restores a backup into the directories below `target`.
pub fn restore(backup: &Path, target: &Path, flags: &[&str]) -> Run {
    restore_into(target, flags, backup).run()
}

/// Everything below a directory: the content of files, `None` for directories and links.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Everything below a directory; nothing where there is no such directory.
pub fn everything(dir: &Path) -> Tree {
    fn collect(dir: &Path, below: &Path, found: &mut Tree) {
        for name in tree::names(dir) {
            let (path, inner) = (dir.join(&name), below.join(&name));
            let kind = fs::symlink_metadata(&path)
                .expect("a file's metadata")
                .file_type();
            found.insert(
                inner.clone(),
                kind.is_file().then(|| fs::read(&path).expect("a file")),
            );
            if kind.is_dir() {
                collect(&path, &inner, found);
            }
        }
    }
    let mut found = Tree::new();
    if dir.exists() {
        found.insert(PathBuf::new(), None);
        collect(dir, Path::new(""), &mut found);
    }
    found
}

/// The first of the paths that differ.
pub fn differences(a: &Tree, b: &Tree) -> Vec<PathBuf> {
    let differing = a
        .iter()
        .filter(|(path, content)| b.get(*path) != Some(content))
        .map(|(path, _)| path);
    differing
        .chain(b.keys().filter(|path| !a.contains_key(*path)))
        .take(10)
        .cloned()
        .collect()
}

/// Panics unless both are the same.
#[track_caller]
pub fn assert_same(found: &Tree, expected: &Tree, when: &str) {
    assert!(
        found == expected,
        "{when}: these differ: {:?}",
        differences(found, expected)
    );
}
