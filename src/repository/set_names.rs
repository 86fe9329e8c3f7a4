//! What the files of a set are called.

use super::layout::Layout;
use super::set_id::SetId;
use super::{manifest, names};
use crate::shard::ShardPath;

/// What the names of a set's own files follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetNames {
    pub layout: Layout,
    pub id: SetId,
    pub number: u32,
}

impl SetNames {
    /// The name of the metastore.
    pub(super) fn meta(&self) -> String {
        match self.layout {
            Layout::Legacy => names::meta_file(self.number),
            Layout::Portable => manifest::meta_file(self.id.as_str()),
        }
    }

    /// The name of the manifest, which the portable layout alone has.
    pub(super) fn manifest(&self) -> Option<String> {
        let is_portable = self.layout == Layout::Portable;
        is_portable.then(|| manifest::manifest_file(self.id.as_str()))
    }

    /// The name of a shard's file.
    pub(super) fn shard(&self, shard: &ShardPath) -> String {
        match self.layout {
            Layout::Legacy => names::shard_file(shard, self.number),
            Layout::Portable => manifest::shard_file(self.id.as_str(), shard.id),
        }
    }

    /// Whether a name can be that of one of the set's own files.
    pub(super) fn is_own(&self, name: &str) -> bool {
        !name.contains('/')
            && match self.layout {
                Layout::Legacy => names::split_number(name)
                    .is_some_and(|(stem, number)| number == self.number && names::is_stem(stem)),
                Layout::Portable => {
                    let of_shard = manifest::is_shard_file(name)
                        && name.split_once('.').map(|(stamp, _)| stamp) == Some(self.id.as_str());
                    of_shard || name == self.meta() || self.manifest().as_deref() == Some(name)
                }
            }
    }
}

/// Whether a name can be that of a file of some set.
#[cfg(feature = "object-store")]
pub(super) fn is_of_some_set(name: &str) -> bool {
    let is_legacy = || names::split_number(name).is_some_and(|(stem, _)| names::is_stem(stem));
    let is_portable = || {
        manifest::is_shard_file(name)
            || manifest::is_meta_file(name)
            || manifest::stamp_of_manifest(name).is_some()
    };
    !name.contains('/') && (is_legacy() || is_portable())
}

/// Whether a name is that of the shard's file in some set of that layout.
pub(super) fn is_of_shard(name: &str, layout: Layout, shard: &ShardPath) -> bool {
    !name.contains('/')
        && match layout {
            Layout::Legacy => {
                names::split_number(name).is_some_and(|(stem, _)| stem == names::shard_stem(shard))
            }
            Layout::Portable => {
                manifest::is_shard_file(name) && manifest::is_file_of_shard(name, shard.id)
            }
        }
}
