//! What a backup or a restore falls short by, and why.

use std::fmt;

use crate::repository::Missing;
use crate::text::{few_names, plural};

/// What is missing, or may be, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The shard, as it is told; none where the reason says of what it is.
    pub shard: Option<String>,
    /// Why, and where there is no shard, what.
    pub reason: String,
}

impl Shortfall {
    /// That of a shard.
    pub(crate) fn of_shard(shard: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            shard: Some(shard.to_string()),
            reason: reason.to_string(),
        }
    }
}

impl From<&Missing> for Shortfall {
    fn from(missing: &Missing) -> Self {
        Self {
            shard: missing.shard.as_ref().map(ToString::to_string),
            reason: missing.gap.to_string(),
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard) = &self.shard {
            write!(f, "shard {shard}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// What is to be told of many: shards with the same reason together, in the order of the first of
/// them.
pub(crate) fn grouped(shortfalls: &[Shortfall]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Shortfall>)> = Vec::new();
    for shortfall in shortfalls {
        let reason = shortfall.reason.as_str();
        match groups.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, group)) => group.push(shortfall),
            None => groups.push((reason, vec![shortfall])),
        }
    }
    let told = |(reason, group): (&str, Vec<&Shortfall>)| match group[..] {
        [one] => one.to_string(),
        _ => {
            let names: Vec<&str> = group
                .iter()
                .filter_map(|shortfall| shortfall.shard.as_deref())
                .collect();
            let shards = plural(group.len(), "shard");
            format!("{shards} ({}): {reason}", few_names(names.into_iter()))
        }
    };
    groups.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_that_fell_short_for_the_same_reason_are_told_together() {
        let gone = |id: u32| Shortfall::of_shard(format!("db/autogen/{id}"), "no answer");
        let other = Shortfall::of_shard("db/autogen/9", "the tar ends at offset 512");
        let free = Shortfall {
            shard: None,
            reason: "the metastore names no shard 4".to_owned(),
        };
        let mut all: Vec<Shortfall> = (1..=7).map(gone).collect();
        all.insert(1, other);
        all.push(free);
        assert_eq!(
            grouped(&all),
            [
                "7 shards (db/autogen/1, db/autogen/2, db/autogen/3, db/autogen/4, db/autogen/5 \
                 and 2 more): no answer",
                "shard db/autogen/9: the tar ends at offset 512",
                "the metastore names no shard 4",
            ]
        );
        assert_eq!(grouped(&[]), [""; 0]);
    }
}
