//! What a backup asks for: which shards of a server, how much of each, and what of earlier sets it builds on.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::download::Want;
use super::incremental::{Base, Earlier, IncrementalMode};
use super::names::refuse_names;
use super::{Backup, MetaStore};
use crate::error::ErrorKind;
use crate::metastore::{Data, Shard};
use crate::ops::selection::{list, plural, select};
use crate::progress::Event;
use crate::repository::{
    Catalog, Content, Selection, SetId, ShardRecord, ShardState, UnreadableFile,
};
use crate::shard::ShardPath;
use crate::time::{self, Bounds};
use crate::wire::{Dialect, InfoReply};

/// How often the meta store is fetched again because the server made a shard meanwhile.
const CATCH_UPS: u32 = 5;

/// What is asked for.
pub struct Plan {
    /// What the server says of itself.
    pub meta: MetaStore,
    /// What is taken, with the time that `-since last` stands for.
    pub selection: Selection,
    /// The shards, the largest first.
    pub shards: Vec<Planned>,
}

/// A shard on the way into the set.
pub struct Planned {
    pub shard: Shard,
    pub want: Want,
    /// The times of the points that are kept, where what comes can hold others.
    pub cut: Option<Bounds>,
    /// Bytes of its tar in an earlier run.
    pub known: Option<u64>,
    /// What is not downloaded again, if the server has nothing newer.
    pub base: Option<Box<Base>>,
    /// Whether the server has it open.
    pub held: bool,
}

impl Planned {
    /// How much of the shard is taken.
    pub fn content(&self) -> Content {
        if self.cut.is_some() {
            Content::Range
        } else {
            self.want.content()
        }
    }

    /// What a set's record says of it, without a file.
    pub fn record(&self, state: ShardState) -> ShardRecord {
        ShardRecord {
            database: self.shard.path.database.clone(),
            retention_policy: self.shard.path.retention_policy.clone(),
            id: self.shard.path.id,
            start_time: time::from_nanos(self.shard.start),
            end_time: time::from_nanos(self.shard.end),
            state,
            content: self.content(),
            file: None,
            tar_size: None,
            shared_with: None,
            members: Vec::new(),
            deletes_applied: false,
            error: None,
            unproven: None,
        }
    }
}

/// What an increment builds on.
#[derive(Default)]
struct Last {
    /// What is modified after this time is not in it.
    since: Option<Timestamp>,
    /// The shards that are in it.
    shards: HashSet<ShardPath>,
}

impl Backup<'_> {
    /// Fetches the meta store and decides what to ask for.
    pub fn plan(&self) -> Result<Plan> {
        let mut meta = self.meta_store()?;
        // What is damaged there must not stop a backup; but it is not built on, and that is said.
        let contents = Catalog::read_past_all(&self.options.directory);
        let contents = contents.ok().map(|(contents, unreadable)| {
            for UnreadableFile { file, error } in unreadable {
                self.progress.report(&Event::Warning(&format!(
                    "{file} is not built on: {error:#}"
                )));
            }
            contents
        });
        let now = Timestamp::now();
        let earlier = contents
            .as_ref()
            .map(|contents| Earlier::of(contents, meta.data.cluster_id, now));
        self.say_ahead(earlier.as_ref(), now);
        let last = self.newest_set(earlier.as_ref());
        let selection = Selection {
            since: last.since.or(self.options.selection.since),
            ..self.options.selection.clone()
        };
        let margin = self.margin(earlier.as_ref());
        let dialect = self
            .client
            .dialect()
            .context("the server's dialect was not found out")?;
        self.progress.report(&Event::Detail(&format!(
            "{} speaks dialect {dialect}",
            self.client.address()
        )));
        refuse_what_the_dialect_lacks(&selection, dialect)?;
        let holder = &self.options.source;
        let mut shards = select(&meta.data, &selection, holder)?;
        if selection.meta_only {
            return Ok(Plan {
                meta,
                selection,
                shards: Vec::new(),
            });
        }
        let mut held = self.held(&meta.data, &selection)?;
        // A shard made since the meta store was fetched would be restored to nowhere.
        for _ in 0..CATCH_UPS {
            let named: HashSet<ShardPath> = meta.data.shards().map(|shard| shard.path).collect();
            if held.is_subset(&named) {
                break;
            }
            self.progress.report(&Event::Detail(
                "the server made or dropped a shard meanwhile: fetching the meta store again",
            ));
            meta = self.meta_store()?;
            shards = select(&meta.data, &selection, holder)?;
            held = self.held(&meta.data, &selection)?;
        }
        let sizes = contents
            .as_ref()
            .map(|contents| earlier_sizes(contents, meta.data.cluster_id))
            .unwrap_or_default();
        if let (Some(earlier), Some(_)) = (&earlier, margin) {
            self.say_vanished(earlier, &selection, &meta.data);
        }
        let mut planned: Vec<Planned> = Vec::new();
        for shard in shards {
            if let Some(deleted_at) = shard.deleted_at {
                let when = time::from_nanos(deleted_at);
                let why = format!(
                    "shard {} was deleted by its retention policy or by hand at {when}",
                    shard.path
                );
                if selection.shard.is_some() {
                    return Err(ErrorKind::Failed.error(why).into());
                }
                self.progress.report(&Event::Status(&why));
                continue;
            }
            let Some(want) = want(&selection, &shard, dialect) else {
                continue;
            };
            let is_new = matches!(self.options.building, IncrementalMode::SinceLast { .. })
                && !last.shards.contains(&shard.path);
            let want = if is_new { Want::Whole } else { want };
            let is_cut = |bounds: &Bounds| !selection.coarse && bounds.cuts(shard.start, shard.end);
            let cut = selection.bounds().filter(is_cut);
            let known = sizes.get(&shard.path).copied();
            let held = held.contains(&shard.path);
            let base = margin.and_then(|margin| {
                earlier
                    .as_ref()?
                    .base(&shard.path, &selection, self.options.layout, margin)
            });
            let base = base.map(|base| Box::new(base.below(&self.options.directory)));
            planned.push(Planned {
                known,
                want,
                cut,
                base,
                held,
                shard,
            });
        }
        refuse_names(
            planned.iter().map(|planned| &planned.shard.path),
            self.options.layout,
            &self.options.directory,
        )?;
        planned.sort_by_key(|planned| std::cmp::Reverse(planned.known));
        self.say_not_held(&planned);
        Ok(Plan {
            meta,
            selection,
            shards: planned,
        })
    }

    fn meta_store(&self) -> Result<MetaStore> {
        let blob = self.retry("the meta store", || self.client.meta_store())?;
        let data = Data::read(&blob.meta)?;
        Ok(MetaStore { blob, data })
    }

    /// The shards that the server has open, of the databases that are asked for.
    fn held(&self, data: &Data, selection: &Selection) -> Result<HashSet<ShardPath>> {
        let mut held = HashSet::new();
        for database in data
            .databases
            .iter()
            .filter(|database| selection.takes_database(&database.name))
        {
            let asked = format!("the shards of database '{}'", database.name);
            let shards = self.retry(&asked, || match self.client.shards_of(&database.name)? {
                InfoReply::Shards(shards) => Ok(Some(shards)),
                // Dropped meanwhile, or a failure: the meta store tells.
                InfoReply::Nothing
                    if Data::read(&self.client.meta_store()?.meta)?
                        .database(&database.name)
                        .is_none() =>
                {
                    Ok(None)
                }
                InfoReply::Nothing => anyhow::bail!(
                    "{} did not answer when asked for {asked}",
                    self.client.address()
                ),
            })?;
            held.extend(
                shards
                    .into_iter()
                    .flatten()
                    .filter(|path| selection.takes(path)),
            );
        }
        Ok(held)
    }

    /// Warns of shards that should hold points by now and are not open: influxd does so quietly when a file is damaged.
    fn say_not_held(&self, planned: &[Planned]) {
        let now = time::to_nanos(Timestamp::now());
        let absent: Vec<String> = planned
            .iter()
            .filter(|p| !p.held && p.shard.start <= now)
            .map(|p| p.shard.path.to_string())
            .collect();
        if !absent.is_empty() {
            self.progress.report(&Event::Warning(&format!(
                "the meta store names {} that the server does not have open (never written to, or failed to open at \
                 its start; its log tells): {}",
                plural(absent.len(), "shard"),
                list(&absent)
            )));
        }
    }

    /// Says which sets are not built on because the clock is behind them.
    fn say_ahead(&self, earlier: Option<&Earlier<'_>>, now: Timestamp) {
        let ahead: Vec<String> = earlier
            .iter()
            .flat_map(|earlier| earlier.ahead())
            .map(SetId::to_string)
            .collect();
        if !ahead.is_empty() && self.options.building != IncrementalMode::Not {
            self.progress.report(&Event::Warning(&format!(
                "it is {now:.0}, and sets were begun later: the clock of this machine was set back, and they are not built on: {}",
                list(&ahead)
            )));
        }
    }

    /// Says which shards of the last set the server no longer names.
    fn say_vanished(&self, earlier: &Earlier<'_>, selection: &Selection, data: &Data) {
        let named: HashSet<ShardPath> = data
            .shards()
            .filter(|shard| shard.deleted_at.is_none())
            .map(|shard| shard.path)
            .collect();
        let vanished = earlier.vanished(selection, |path| named.contains(path));
        if !vanished.is_empty() {
            let holder = &self.options.source;
            let message = format!(
                "gone from {holder} since the last set, expired or dropped: {}",
                list(&vanished)
            );
            self.progress.report(&Event::Status(&message));
        }
    }

    /// What `-since last` stands for.
    fn newest_set(&self, earlier: Option<&Earlier<'_>>) -> Last {
        let IncrementalMode::SinceLast { margin } = self.options.building else {
            return Last::default();
        };
        let set = earlier.and_then(|earlier| earlier.last(&self.options.selection));
        let message = match set {
            Some(set) => {
                format!(
                    "taking what changed after the newest complete set was begun, {}, and somewhat before",
                    set.id
                )
            }
            None => {
                "there is no complete set of the same selection to build on: taking all".to_owned()
            }
        };
        self.progress.report(&Event::Status(&message));
        // What the server did not have open then is in no set, however old it is.
        let known =
            |shard: &&ShardRecord| matches!(shard.state, ShardState::Stored | ShardState::Empty);
        Last {
            since: set.and_then(|set| set.started.checked_sub(margin).ok()),
            shards: set
                .iter()
                .flat_map(|set| &set.shards)
                .filter(known)
                .map(ShardRecord::path)
                .collect(),
        }
    }

    /// How old a shard's newest file must be for the shard to be shared; `None` where none is.
    fn margin(&self, earlier: Option<&Earlier<'_>>) -> Option<Duration> {
        let IncrementalMode::Incremental { full_every, margin } = self.options.building else {
            return None;
        };
        if full_every.is_some_and(|every| {
            earlier.is_none_or(|earlier| earlier.is_full_due(&self.options.selection, every))
        }) {
            self.progress.report(&Event::Status(
                "a full set is due: all shards are downloaded",
            ));
            return None;
        }
        Some(margin)
    }
}

/// What to ask for of a shard; `None` where it lies outside the range asked for.
fn want(selection: &Selection, shard: &Shard, dialect: Dialect) -> Option<Want> {
    if let Some(since) = selection.since {
        return Some(Want::Since(since));
    }
    let Some(bounds) = selection.bounds() else {
        return Some(Want::Whole);
    };
    let asked = range(bounds, shard.start, shard.end)?;
    // Servers before 1.5 have no export.
    Some(if dialect == Dialect::V1_0 {
        Want::Whole
    } else {
        asked
    })
}

/// What to ask for of a shard group from `start` to `end` (exclusive), so that no point within `bounds` can be missing.
///
/// influxd's export drops files without a word when a range has two inner ends and one file has no block between them, so
/// only one end is ever put inside a group: the one that leaves out more. It also takes the maximum of a file with only
/// negative timestamps for 0, so groups that begin before 1970 are taken whole.
fn range(bounds: Bounds, start: i64, end: i64) -> Option<Want> {
    if bounds.misses(start, end) {
        return None;
    }
    if start < 0 || !bounds.cuts(start, end) {
        return Some(Want::Whole);
    }
    let last = end.saturating_sub(1);
    let left_out_at_start = i128::from(bounds.start) - i128::from(start);
    let left_out_at_end = i128::from(last) - i128::from(bounds.end);
    Some(Want::Range(if left_out_at_start > left_out_at_end {
        Bounds {
            start: bounds.start,
            ..Bounds::ALL
        }
    } else {
        Bounds {
            end: bounds.end,
            ..Bounds::ALL
        }
    }))
}

fn refuse_what_the_dialect_lacks(selection: &Selection, dialect: Dialect) -> Result<()> {
    if dialect == Dialect::V1_5 {
        return Ok(());
    }
    if selection.coarse && selection.bounds().is_some() {
        return Err(ErrorKind::Usage
            .error("the server is of version 1.0 to 1.4, which cannot export a time range")
            .hint("leave out -coarse: then shards are taken whole and cut here")
            .into());
    }
    if selection.shard.is_some()
        && (selection.database.is_none() || selection.retention_policy.is_none())
    {
        return Err(ErrorKind::Usage
            .error(
                "the server is of version 1.0 to 1.4, where -shard needs -database and -retention",
            )
            .hint("write: snap backup -database DB -retention RP -shard ID")
            .into());
    }
    Ok(())
}

/// How large the shards of a server were in earlier sets, in bytes of their tars.
fn earlier_sizes(contents: &Catalog, cluster_id: u64) -> HashMap<ShardPath, u64> {
    let mut sizes = HashMap::new();
    for shard in contents
        .records()
        .filter(|set| set.cluster_id == Some(cluster_id))
        .flat_map(|set| &set.shards)
    {
        match (shard.state, shard.tar_bytes()) {
            (ShardState::Stored, Some(bytes)) => {
                sizes.insert(shard.path(), bytes);
            }
            // It was found empty since.
            (ShardState::Empty, _) if shard.content == Content::Whole => {
                sizes.remove(&shard.path());
            }
            _ => {}
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_asks_for_whole_groups_inside_and_one_ended_exports_at_its_edges() {
        let bounds = Bounds {
            start: 150,
            end: 450,
        };
        assert_eq!(range(bounds, 0, 100), None);
        assert_eq!(
            range(bounds, 100, 200),
            Some(Want::Range(Bounds {
                start: 150,
                ..Bounds::ALL
            }))
        );
        assert_eq!(range(bounds, 200, 300), Some(Want::Whole));
        assert_eq!(
            range(bounds, 400, 500),
            Some(Want::Range(Bounds {
                end: 450,
                ..Bounds::ALL
            }))
        );
        assert_eq!(range(bounds, 451, 500), None);
        assert_eq!(
            range(
                Bounds {
                    start: 450,
                    end: 450
                },
                450,
                500
            ),
            Some(Want::Range(Bounds {
                end: 450,
                ..Bounds::ALL
            }))
        );
        assert_eq!(
            range(bounds, 0, 1000),
            Some(Want::Range(Bounds {
                end: 450,
                ..Bounds::ALL
            }))
        );
        assert_eq!(
            range(
                Bounds {
                    start: 900,
                    end: 950
                },
                0,
                1000
            ),
            Some(Want::Range(Bounds {
                start: 900,
                ..Bounds::ALL
            }))
        );
        assert_eq!(range(bounds, -100, 200), Some(Want::Whole));
        assert_eq!(range(Bounds::ALL, 0, i64::MAX), Some(Want::Whole));
        assert_eq!(
            range(
                Bounds {
                    start: 5,
                    ..Bounds::ALL
                },
                0,
                i64::MAX
            ),
            Some(Want::Range(Bounds {
                start: 5,
                ..Bounds::ALL
            }))
        );
    }
}
