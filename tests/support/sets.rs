//! Sets of a scripted server in each layout, to be verified, and what is told of their faults.

use std::fs;
use std::path::{Path, PathBuf};

use influx_snap::shard::ShardPath;
use influx_snap::tsm::values::ValueType;
use serde_json::Value;
use tempfile::TempDir;

use super::handmade::FILE;
use super::peer::{self, Member, Model, Peer, Shard, Tar, Version};
use super::process::{backup, snap};
use super::service::copy;
use super::time::SECOND;
use super::tsm::{Key, file, key};
use super::{folder, utf8};

/// The layouts.
pub const LAYOUTS: [&str; 2] = ["legacy", "portable"];

/// The layouts, and whether the set has a record: without one it is as influxd would have made it.
pub const LAYOUTS_WITH_AND_WITHOUT_RECORD: [(&str, bool); 4] = [
    ("legacy", true),
    ("legacy", false),
    ("portable", true),
    ("portable", false),
];

/// A set of snap's in each layout.
pub struct SetInEachLayout {
    /// Where the sets are, each in the folder that its layout names.
    pub folder: TempDir,
    /// What the server holds.
    pub model: Model,
}

impl SetInEachLayout {
    /// Sets of a server with these shards of the database `db`, a list of files each.
    pub fn new(shards: Vec<Vec<(String, Vec<u8>)>>) -> Self {
        let mut model = Model::new(Version::V1_6, &[]);
        for (files, id) in shards.into_iter().zip(1..) {
            let path = path(id);
            let member = |(name, content)| Member::new(format!("{path}/{name}"), content);
            let tar = peer::tar(&files.into_iter().map(member).collect::<Vec<_>>());
            model.shards.push(Shard::with_tar(path, Tar::Bytes(tar)));
        }
        let made = Self {
            folder: folder(),
            model: model.clone(),
        };
        let peer = Peer::start(model);
        for layout in LAYOUTS {
            let flags = if layout == "portable" {
                &["-portable"][..]
            } else {
                &[]
            };
            let dir = made.folder.path().join(layout);
            backup(&peer.host(), &[&["-quiet"], flags].concat(), &dir)
                .run()
                .expect(0);
        }
        made
    }

    /// Sets of a server with some sound shards.
    pub fn sound(shards: usize) -> Self {
        Self::new(
            (0..shards)
                .map(|nth| vec![(FILE.to_owned(), file(&keys(group(nth + 1))))])
                .collect(),
        )
    }

    /// A fresh copy of a set; `recorded` says whether with snap's record, or as influxd leaves one.
    pub fn copy(&self, layout: &str, recorded: bool) -> PathBuf {
        let to = self.folder.path().join("copy");
        let _ = fs::remove_dir_all(&to);
        copy(&self.folder.path().join(layout), &to);
        if !recorded {
            fs::remove_dir_all(to.join(".snap")).expect("removing the record");
        }
        to
    }
}

/// A shard of `db`.
pub fn path(id: u64) -> ShardPath {
    ShardPath {
        database: "db".into(),
        retention_policy: "autogen".into(),
        id,
    }
}

/// When the group of a shard begins.
pub fn group(id: usize) -> i64 {
    Shard::with_tar(path(id as u64), Tar::Large(0)).start
}

/// A few keys of each type, with points from a time on.
pub fn keys(start: i64) -> Vec<Key> {
    let times: Vec<i64> = (0..12).map(|i| start + i * i * SECOND).collect();
    vec![
        key(
            "cpu,host=a#!~#idle",
            ValueType::Float,
            &[&times[..5], &times[5..]],
        ),
        key("cpu,host=a#!~#ticks", ValueType::Integer, &[&times]),
        key("cpu,host=b#!~#on", ValueType::Boolean, &[&times[3..4]]),
        key("log,host=b#!~#text", ValueType::String, &[&times[..2]]),
    ]
}

/// How many values [`keys`] have.
pub const VALUES: u64 = 12 + 12 + 1 + 2;

/// A run of `snap verify -json`, and what it printed: the faults, and the summary or the error at
/// its end.
pub fn told(dir: &Path, flags: &[&str], code: i32) -> (Vec<Value>, Value) {
    let run = snap([&["verify", "-json"], flags, &[utf8(dir)]].concat()).expect(code);
    let (faults, others): (Vec<Value>, Vec<Value>) = run
        .messages()
        .into_iter()
        .partition(|message| message["message_type"] == "fault");
    (faults, others.into_iter().last().expect("a summary"))
}

/// Every place of faults: that of the fault itself, and where else its file is damaged.
pub fn places(faults: &[Value]) -> Vec<Value> {
    let of_fault = |fault: &Value| {
        let others = fault["other_places"].as_array().expect("a list").clone();
        let others = others.into_iter().map(|place| {
            let mut of_place = fault.clone();
            for field in ["member", "offset", "message", "means"] {
                of_place[field] = place[field].clone();
            }
            of_place
        });
        std::iter::once(fault.clone())
            .chain(others)
            .collect::<Vec<_>>()
    };
    faults.iter().flat_map(of_fault).collect()
}

/// What a file of a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Snap's record.
    Record,
    /// The manifest of a portable set.
    Manifest,
    /// The metastore.
    Meta,
    /// The shard of that id.
    Shard(u64),
}

impl Kind {
    /// What the file of that name is.
    pub fn of(name: &str) -> Self {
        match name {
            _ if name.ends_with(".json") => Self::Record,
            _ if name.ends_with(".manifest") => Self::Manifest,
            _ if name.starts_with("meta.") || name.ends_with(".meta") => Self::Meta,
            _ => Self::Shard(if name.contains(".00001.") || name.contains(".s1.") {
                1
            } else {
                2
            }),
        }
    }

    /// The shard that its faults are told of: its database, retention policy and id.
    pub fn shard(self) -> [Value; 3] {
        if let Self::Shard(id) = self {
            let path = path(id);
            [
                (*path.database).into(),
                (*path.retention_policy).into(),
                path.id.into(),
            ]
        } else {
            [Value::Null, Value::Null, Value::Null]
        }
    }

    /// What its faults mean.
    pub fn means(self, how: &str) -> &'static [&'static str] {
        match self {
            Self::Record => &[],
            Self::Manifest => &["influxd cannot restore this set; snap can, from its record"],
            Self::Meta => &["nothing of this set can be restored"],
            Self::Shard(_) if how == "flipped" => &[SHARD_LOST, VALUES_LOST, UNREACHABLE],
            Self::Shard(_) => &[SHARD_LOST],
        }
    }
}

/// What damage means, to all of a shard.
pub const SHARD_LOST: &str = "this shard cannot be restored from this set";
/// What it means to values in damaged blocks.
pub const VALUES_LOST: &str = "influxd would take the file, and miss these values without a word";
/// What it means to values at other times than those of their shard.
pub const UNREACHABLE: &str = "no query for the times of the shard finds these values";
/// What it means to points that were deleted.
pub const DELETES_LOST: &str = "points that were deleted would come back";
