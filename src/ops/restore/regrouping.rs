//! The shards of the target: which shards of the backup each is made of, where they are regrouped,
//! and what their files are called in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::checked_shard::ShardFiles;
use super::selection::RestoreSelection;
use super::source::Source;
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::metastore::RetentionPolicyInfo;
use crate::metastore::regroup::{GroupPart, NewGroup, regroup};
use crate::shard::ShardPath;
use crate::text::{age, few_names, name_list, plural};
use crate::time::{from_nanos, to_nanos};
use crate::tsm::{file_name, generation, stem};

/// A shard of the target, made of shards of the backup or parts of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetShard {
    /// What it is called in the target.
    pub path: ShardPath,
    /// Its id in the metastore that is restored, for which the target may give another.
    pub id: u64,
    /// First nanosecond of its group.
    pub start: i64,
    /// First nanosecond behind its group.
    pub end: i64,
    /// Where its points come from; of several values at one time, the last counts.
    pub parts: Vec<GroupPart>,
}

impl TargetShard {
    /// One as tests need it.
    #[cfg(test)]
    pub(super) fn of_test(parts: Vec<GroupPart>) -> Self {
        Self {
            path: ShardPath {
                database: "db".into(),
                retention_policy: "rp".into(),
                id: 1,
            },
            id: 1,
            start: 0,
            end: 10,
            parts,
        }
    }

    /// The ids of the shards in the backup.
    pub(super) fn sources(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().map(|part| part.shard)
    }

    /// `shard 3`, `a part of shard 3`, `28 shards (1, 2, 3, 4, 5 and 23 more; 2 of them in part)`.
    pub(super) fn made_of(&self) -> String {
        let cut = self.parts.iter().filter(|part| part.bounds.is_some());
        let cut = cut.count();
        if let [only] = &self.parts[..] {
            let part = if cut > 0 { "a part of " } else { "" };
            return format!("{part}shard {}", only.shard);
        }
        let ids: Vec<String> = self.sources().map(|id| id.to_string()).collect();
        let in_part = match cut {
            0 => String::new(),
            cut => format!("; {cut} of them in part"),
        };
        let shown = few_names(ids.iter().map(String::as_str));
        format!("{} ({shown}{in_part})", plural(ids.len(), "shard"))
    }
}

impl Source {
    /// Gives the policy that is meant its new durations in the metastore that is restored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] where it is not clear which policy that is, or for durations that
    /// influxd refuses.
    pub(super) fn regroup(&mut self, what: &RestoreSelection) -> Result<()> {
        let Some((durations, database)) = what.durations().zip(what.database.as_deref()) else {
            return Ok(());
        };
        let policy = self.only_policy(what, database)?;
        if durations.shard_group.is_some() {
            self.ensure_unique_ids()?;
        }
        let regrouped = regroup(&self.blob.meta, database, &policy, durations)?;
        self.blob.meta = regrouped.meta;
        self.groups = regrouped.groups;
        Ok(())
    }

    /// The policy that is restored, if it is but one, or but one has shards.
    fn only_policy(&self, what: &RestoreSelection, database: &str) -> Result<String, Error> {
        if let Some(policy) = &what.retention_policy {
            return Ok(policy.clone());
        }
        let policies = self.data.database(database).into_iter();
        let policies = policies.flat_map(|database| &database.retention_policies);
        let names = |of: &mut dyn Iterator<Item = &RetentionPolicyInfo>| -> Vec<String> {
            of.map(|policy| policy.name.clone()).collect()
        };
        let all = names(&mut policies.clone());
        let has_shards = |policy: &&RetentionPolicyInfo| {
            let mut groups = policy.shard_groups.iter();
            groups.any(|group| group.deleted_at == 0)
        };
        let with_shards = names(&mut policies.filter(has_shards));
        if let ([policy], _) | (_, [policy]) = (&all[..], &with_shards[..]) {
            return Ok(policy.clone());
        }
        Err(ErrorKind::Usage
            .error(format!(
                "-shard-duration and -duration are for one retention policy, and '{database}' has {}: {}",
                all.len(),
                name_list(&all)
            ))
            .hint("name one with -retention; the others are restored by runs of their own"))
    }

    /// The shards of the target, where shards are regrouped, with what of the backup is there;
    /// `new_id` finds the id that a shard of the metastore gets.
    ///
    /// # Errors
    ///
    /// When one gets none.
    pub(super) fn regrouped(
        &self,
        what: &RestoreSelection,
        new_id: impl Fn(u64) -> Option<u64>,
    ) -> Result<Option<Vec<TargetShard>>> {
        let Some(groups) = &self.groups else {
            return Ok(None);
        };
        let found = self.chains.found.iter();
        let found: HashMap<u64, &ShardPath> = found.map(|(path, _)| (path.id, path)).collect();
        let mut targets = Vec::new();
        for group in groups {
            let is_meant = what
                .bounds()
                .is_none_or(|bounds| !bounds.misses(group.start, group.end));
            let parts = group.parts.iter().copied();
            let parts: Vec<GroupPart> = parts
                .filter(|part| is_meant && found.contains_key(&part.shard))
                .collect();
            let Some(path) = parts.first().and_then(|part| found.get(&part.shard)) else {
                continue;
            };
            let id = new_id(group.shard).with_context(|| {
                format!("shard {} has no place in the new metastore", group.shard)
            })?;
            targets.push(TargetShard {
                path: what.target(path, id),
                id: group.shard,
                start: group.start,
                end: group.end,
                parts,
            });
        }
        Ok(Some(targets))
    }

    /// The ids of the shards that the points of one come into, in the metastore that is restored.
    pub(super) fn regrouped_ids(&self, id: u64) -> BTreeSet<u64> {
        let Some(groups) = &self.groups else {
            return BTreeSet::from([id]);
        };
        let of = |group: &&NewGroup| group.parts.iter().any(|part| part.shard == id);
        groups.iter().filter(of).map(|group| group.shard).collect()
    }

    /// The shards of the target under the ids that they have in the metastore that is restored.
    ///
    /// # Errors
    ///
    /// Those of [`Source::regrouped`].
    pub(super) fn targets(&self, what: &RestoreSelection) -> Result<Vec<TargetShard>> {
        if let Some(targets) = self.regrouped(what, Some)? {
            return Ok(targets);
        }
        let found = self.chains.found.iter();
        let found: BTreeSet<u64> = found.map(|(path, _)| path.id).collect();
        let restored = self
            .live
            .iter()
            .filter(|shard| found.contains(&shard.path.id));
        let targets = restored.map(|shard| TargetShard {
            path: what.target(&shard.path, shard.path.id),
            id: shard.path.id,
            start: shard.start,
            end: shard.end,
            parts: vec![GroupPart {
                shard: shard.path.id,
                bounds: None,
            }],
        });
        Ok(targets.collect())
    }

    /// Tells how shards are regrouped, where they are.
    ///
    /// # Errors
    ///
    /// Those of [`Source::regrouped`].
    pub(super) fn report_regrouping(
        &self,
        what: &RestoreSelection,
        context: Context<'_>,
    ) -> Result<()> {
        if self.groups.is_none() {
            return Ok(());
        }
        let targets = self.targets(what)?;
        if let Some(target) = targets.first() {
            let (database, policy) = (&target.path.database, &target.path.retention_policy);
            context.status(format!("{} of {database}/{policy}", told(&targets)));
        }
        Ok(())
    }

    /// Warns of the shards that influxd will delete soon, because their policies keep points for a
    /// shorter time than has passed: with another duration, or an old backup, that may be all.
    ///
    /// # Errors
    ///
    /// Those of [`Source::regrouped`].
    pub(super) fn warn_of_expired(
        &self,
        what: &RestoreSelection,
        context: Context<'_>,
    ) -> Result<()> {
        let now = to_nanos(Timestamp::now());
        let given = what.durations().and_then(|durations| durations.retention);
        let policies: HashMap<u64, &ShardPath> = self
            .live
            .iter()
            .map(|shard| (shard.path.id, &shard.path))
            .collect();
        let retention = |target: &TargetShard| {
            let path = policies.get(&target.sources().next()?)?;
            let database = self.data.database(&path.database)?;
            Some(database.retention_policy(&path.retention_policy)?.duration)
        };
        let targets = self.targets(what)?;
        let mut of_policies: BTreeMap<(&str, &str), ExpiredShards> = BTreeMap::new();
        for target in &targets {
            let retention = given.or_else(|| retention(target)).unwrap_or(0);
            let policy = (&*target.path.database, &*target.path.retention_policy);
            let shards = of_policies.entry(policy).or_default();
            shards.all += 1;
            if retention > 0 && target.end <= now.saturating_sub(retention) {
                shards.expired += 1;
                shards.retention = retention;
            }
        }
        for ((database, policy), shards) in of_policies {
            let ExpiredShards {
                all,
                expired,
                retention,
            } = shards;
            if expired > 0 {
                let kept_from = from_nanos(now.saturating_sub(retention));
                context.warn(format!(
                    "influxd will delete {expired} of {} of {database}/{policy} when it next enforces retention policies: all their \
                     points are from before {}, and the policy keeps points for {}; -duration INF keeps them",
                    plural(all, "restored shard"),
                    kept_from.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    age(Duration::from_nanos(retention.unsigned_abs()))
                ));
            }
        }
        Ok(())
    }
}

/// How many shards of a policy are older than it keeps them.
#[derive(Default)]
struct ExpiredShards {
    all: usize,
    expired: usize,
    /// For how long it keeps them, in nanoseconds.
    retention: i64,
}

/// The ids of the shards of the backup that are cut.
pub(super) fn cut_shards<'a>(targets: impl Iterator<Item = &'a TargetShard>) -> BTreeSet<u64> {
    let parts = targets.flat_map(|target| &target.parts);
    let cut = parts.filter(|part| part.bounds.is_some());
    cut.map(|part| part.shard).collect()
}

/// `regrouping 30 shards (3 are cut) into at most 2`: parts may turn out to hold no points.
fn told(targets: &[TargetShard]) -> String {
    let sources: BTreeSet<u64> = targets.iter().flat_map(TargetShard::sources).collect();
    let cut = match cut_shards(targets.iter()).len() {
        0 => String::new(),
        1 => " (1 is cut)".to_owned(),
        cut => format!(" ({cut} are cut)"),
    };
    let most = if cut.is_empty() { "" } else { "at most " };
    let sources = plural(sources.len(), "shard");
    format!("regrouping {sources}{cut} into {most}{}", targets.len())
}

/// What the files of a shard are called in a shard of the target.
#[derive(Debug, Default)]
pub(crate) struct NewNames(
    /// By the names without their endings, where they change.
    Option<HashMap<String, String>>,
);

impl NewNames {
    /// Those of the shards that a shard of the target is made of. The files of one keep their
    /// names. Of several, each file of another generation gets the next generation of all: influxd
    /// reads files in the order of their names, and a file's sequence says how compacted it is.
    pub(super) fn of<'a>(parts: impl ExactSizeIterator<Item = &'a ShardFiles>) -> Vec<Self> {
        if parts.len() == 1 {
            return vec![Self::default()];
        }
        Self::behind(0, parts)
    }

    /// Those of shards whose files come after all others, which have generations up to `last`.
    pub(super) fn behind<'a>(
        mut last: u32,
        parts: impl Iterator<Item = &'a ShardFiles>,
    ) -> Vec<Self> {
        parts.map(|files| Self::after(&mut last, files)).collect()
    }

    /// Those of shards whose files get generation 0, and the sequences from `next` on.
    pub(super) fn of_generation_zero<'a>(
        mut next: u32,
        parts: impl Iterator<Item = &'a ShardFiles>,
    ) -> Vec<Self> {
        let named = parts.map(|files| {
            let names = files.iter().filter(|(name, _)| name.ends_with(".tsm"));
            let names = names.map(|(name, _)| {
                let new = file_name(0, next);
                next += 1;
                (stem(name).to_owned(), stem(&new).to_owned())
            });
            Self(Some(names.collect()))
        });
        named.collect()
    }

    /// Those of a shard whose files come after others, up to the generation `last`.
    fn after(last: &mut u32, files: &ShardFiles) -> Self {
        let mut names = HashMap::new();
        let mut previous = None;
        for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".tsm")) {
            let sequence = sequence(name);
            let follows =
                previous.is_some_and(|(of, before)| of == generation(name) && before < sequence);
            if !follows {
                *last += 1;
            }
            previous = Some((generation(name), sequence));
            let new = file_name(*last, sequence);
            names.insert(stem(name).to_owned(), stem(&new).to_owned());
        }
        Self(Some(names))
    }

    /// What a file is called. None where it does not come: influxd makes what is neither a TSM file
    /// nor its tombstone anew.
    pub(super) fn get<'a>(&self, name: &'a str) -> Option<Cow<'a, str>> {
        let Some(names) = &self.0 else {
            return Some(Cow::Borrowed(name));
        };
        let new = names.get(stem(name))?;
        Some(Cow::Owned(format!("{new}{}", &name[stem(name).len()..])))
    }
}

/// The sequence in the name of a TSM file.
pub(super) fn sequence(name: &str) -> u32 {
    let (_, sequence) = stem(name).split_once('-').unwrap_or_default();
    sequence.parse().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Bounds;

    fn new_names(parts: &[&[&str]]) -> Vec<Vec<String>> {
        let shards: Vec<ShardFiles> = parts
            .iter()
            .map(|names| ShardFiles::of_test(names))
            .collect();
        let new = NewNames::of(shards.iter());
        let each = new.iter().zip(&shards).map(|(new, shard)| {
            let names = shard.iter().filter_map(|(name, _)| new.get(name));
            names.map(Cow::into_owned).collect()
        });
        each.collect()
    }

    #[test]
    fn files_of_several_shards_get_generations_of_their_own_and_keep_order_and_sequence() {
        let parts: [&[&str]; 3] = [
            &[
                "000000003-000000002.tombstone",
                "000000003-000000002.tsm",
                "000000003-000000003.tsm",
                "000000007-000000001.tsm",
                "fields.idx",
            ],
            &["000000001-000000001.tsm"],
            &["000000003-000000004.tsm", "000000009-000000001.tsm"],
        ];
        let expected: [&[&str]; 3] = [
            &[
                "000000001-000000002.tombstone",
                "000000001-000000002.tsm",
                "000000001-000000003.tsm",
                "000000002-000000001.tsm",
            ],
            &["000000003-000000001.tsm"],
            &["000000004-000000004.tsm", "000000005-000000001.tsm"],
        ];
        assert_eq!(new_names(&parts), expected);
    }

    #[test]
    fn no_name_is_given_twice_whatever_the_old_ones_are() {
        // In the order of the names, which is influxd's, and not of their numbers.
        let parts: [&[&str]; 2] = [
            &["000000005-000000001.tsm", "10-1.tsm", "5-1.tsm", "5-2.tsm"],
            &["5-1.tsm"],
        ];
        let expected: [&[&str]; 2] = [
            &[
                "000000001-000000001.tsm",
                "000000002-000000001.tsm",
                "000000003-000000001.tsm",
                "000000003-000000002.tsm",
            ],
            &["000000004-000000001.tsm"],
        ];
        assert_eq!(new_names(&parts), expected);
    }

    #[test]
    fn the_files_of_one_shard_keep_their_names() {
        let parts: [&[&str]; 1] = [&["000000003-000000002.tsm", "5-1.tsm", "fields.idx"]];
        assert_eq!(new_names(&parts), parts);
    }

    #[test]
    fn a_plan_is_told_in_counts_and_the_first_few_shards() {
        let target = |parts: &[(u64, bool)]| {
            let parts = parts.iter().map(|(shard, is_cut)| GroupPart {
                shard: *shard,
                bounds: is_cut.then_some(Bounds::ALL),
            });
            TargetShard::of_test(parts.collect())
        };
        let many: Vec<(u64, bool)> = (1..=7).map(|id| (id, id == 7)).collect();
        let (many, one, part) = (target(&many), target(&[(8, false)]), target(&[(7, true)]));
        let said = "7 shards (1, 2, 3, 4, 5 and 2 more; 1 of them in part)";
        assert_eq!(many.made_of(), said);
        assert_eq!(
            [one.made_of(), part.made_of()],
            ["shard 8", "a part of shard 7"]
        );
        let said = told(&[many, one, part]);
        assert_eq!(said, "regrouping 8 shards (1 is cut) into at most 3");
        assert_eq!(
            told(&[target(&[(1, false), (2, false)])]),
            "regrouping 2 shards into 1"
        );
    }
}
