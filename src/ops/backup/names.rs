//! Whether the files of a set can have the names they are to get: asked before anything is
//! downloaded, not when all is there.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::error::{Error, ErrorKind};
use crate::influxd_dir::nearest_existing;
use crate::repository::names;
use crate::repository::{Layout, Location, next_number};
use crate::shard::ShardPath;

/// Bytes that a path may have, with the end that the system adds.
const LONGEST_PATH: usize = 4096;

/// Bytes that the name of an object may have, in any storage.
const LONGEST_KEY: usize = 1024;

/// Bytes that a name may have where nothing else is known: what is in object storage can be copied
/// to a directory too.
const LONGEST_NAME: usize = 255;

/// What to do where a shard cannot have its file in the legacy layout.
const PORTABLE: &str = "with -portable the file is named by the shard's id alone";

/// Refuses shards whose files could not all lie in the directory: two of one name, or a name that
/// it cannot hold.
///
/// # Errors
///
/// [`ErrorKind::Refused`] with the shards.
pub(crate) fn ensure_names<'a>(
    shards: impl Iterator<Item = &'a ShardPath> + Clone,
    layout: Layout,
    location: &Location,
) -> Result<()> {
    ensure_unique(shards.clone(), layout)?;
    if layout == Layout::Portable {
        return Ok(());
    }
    let longest = match location.directory() {
        Some(directory) => longest_name(directory)?,
        None => LONGEST_NAME,
    };
    let number = next_number(location)?;
    for shard in shards {
        let name = names::shard_file(shard, number);
        ensure_name(shard, &name, longest, location)?;
    }
    Ok(())
}

/// Bytes that a name in a directory may have, which need not be there yet.
fn longest_name(directory: &Path) -> Result<usize> {
    let there = nearest_existing(directory);
    let longest = rustix::fs::statvfs(&there)
        .with_context(|| format!("asking for the longest name in {}", there.display()))?
        .f_namemax;
    // Some file systems do not say.
    let longest = usize::try_from(longest).ok().filter(|most| *most > 0);
    Ok(longest.unwrap_or(LONGEST_NAME))
}

fn ensure_unique<'a>(
    shards: impl Iterator<Item = &'a ShardPath>,
    layout: Layout,
) -> Result<(), Error> {
    let mut taken: HashMap<String, &ShardPath> = HashMap::new();
    for shard in shards {
        let name = match layout {
            Layout::Legacy => names::shard_stem(shard),
            Layout::Portable => shard.id.to_string(),
        };
        let Some(other) = taken.insert(name, shard) else {
            continue;
        };
        if other == shard {
            return Err(ErrorKind::Refused
                .error(format!(
                    "the server's metastore names shard {shard} more than once"
                ))
                .hint(
                    "a backup could hold it only once: the metastore is damaged, or no influxd's",
                ));
        }
        let fault = ErrorKind::Refused.error(format!(
            "the files of shard {other} and shard {shard} would have the same name"
        ));
        return Err(fault.hint(match layout {
            Layout::Legacy => PORTABLE,
            Layout::Portable => {
                "the server's metastore gives both one id; without -portable their names differ"
            }
        }));
    }
    Ok(())
}

fn ensure_name(
    shard: &ShardPath,
    name: &str,
    longest: usize,
    location: &Location,
) -> Result<(), Error> {
    let refused = |why: String| {
        Err(ErrorKind::Refused
            .error(format!("shard {shard} cannot have its file {name}: {why}"))
            .hint(PORTABLE))
    };
    if name.contains(['/', '\0']) {
        return refused("no file can be called that".to_owned());
    }
    if name.len() > longest {
        return refused(format!(
            "the name has {} bytes, and {location} takes {longest}",
            name.len()
        ));
    }
    if let Some(url) = location.url() {
        let key = url.prefix().len() + 1 + name.len();
        if key > LONGEST_KEY {
            return refused(format!("with its prefix, it has {key} bytes"));
        }
        return Ok(());
    }
    let path = location.as_os_str().len() + 1 + name.len();
    if path >= LONGEST_PATH {
        return refused(format!("with its directory, it has {path} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint, kind_of};

    fn path(database: &str, retention_policy: &str, id: u64) -> ShardPath {
        ShardPath {
            database: database.into(),
            retention_policy: retention_policy.into(),
            id,
        }
    }

    fn refusal(shards: &[ShardPath], layout: Layout) -> Option<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        let error = ensure_names(shards.iter(), layout, &directory.path().into()).err()?;
        assert_eq!(kind_of(&error), ErrorKind::Refused);
        Some((error.to_string(), hint(&error).unwrap().into_owned()))
    }

    #[test]
    fn two_shards_of_one_file_name_are_refused_with_the_layout_in_which_their_names_differ() {
        let same_id = [path("a", "rp", 1), path("b", "rp", 1)];
        assert_eq!(refusal(&same_id, Layout::Legacy), None);
        let (message, hint) = refusal(&same_id, Layout::Portable).unwrap();
        assert!(
            message.contains("shard a/rp/1 and shard b/rp/1"),
            "{message}"
        );
        assert!(hint.contains("without -portable"), "{hint}");

        let same_name = [path("a.b", "c", 1), path("a", "b.c", 1)];
        let (message, hint) = refusal(&same_name, Layout::Legacy).unwrap();
        assert!(
            message.contains("shard a.b/c/1 and shard a/b.c/1"),
            "{message}"
        );
        assert!(hint.starts_with("with -portable"), "{hint}");

        for layout in [Layout::Legacy, Layout::Portable] {
            let twice = [path("a", "rp", 1), path("a", "rp", 2), path("a", "rp", 1)];
            let (message, _) = refusal(&twice, layout).unwrap();
            assert!(message.contains("shard a/rp/1 more than once"), "{message}");
        }
    }

    #[test]
    fn a_name_that_the_directory_cannot_hold_is_refused_to_the_byte() {
        // `.rp.00001.00` has twelve bytes, and names on Linux 255.
        let legacy = |database: &str| refusal(&[path(database, "rp", 1)], Layout::Legacy);
        assert_eq!(legacy(&"d".repeat(243)), None);
        let (message, hint) = legacy(&"ä".repeat(122)).unwrap();
        assert!(message.contains("the name has 256 bytes"), "{message}");
        assert!(hint.starts_with("with -portable"), "{hint}");
        for name in ["a/b", "../../etc/x"] {
            assert!(legacy(name).is_some(), "{name}");
        }
        let long = [path(&"d".repeat(300), "rp", 1), path("../x", "rp", 2)];
        assert_eq!(refusal(&long, Layout::Portable), None);
    }
}
