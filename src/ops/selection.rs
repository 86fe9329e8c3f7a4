//! Finding in a metastore what was asked for by name, and saying well what is not there.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::metastore::{Data, Shard};
use crate::repository::Selection;
use crate::text::{name_list, plural};
use crate::time::{self, Bounds};
use crate::tsm::sought_series::SoughtSeries;

/// The shards that `selection` takes, those of deleted groups included, in the order of the
/// metastore.
///
/// # Errors
///
/// When a database, policy or shard that is named is not in the metastore of `holder`; with the
/// names that are.
pub(crate) fn select(
    data: &Data,
    selection: &Selection,
    holder: &str,
) -> Result<Vec<Shard>, Error> {
    if let Some(name) = &selection.database {
        let names = || data.databases.iter().map(|database| database.name.as_str());
        let Some(database) = data.database(name) else {
            return Err(missing(
                &format!("{holder} has no database '{name}'"),
                name,
                names(),
            ));
        };
        if let Some(policy) = &selection.retention_policy
            && database.retention_policy(policy).is_none()
        {
            let names = database
                .retention_policies
                .iter()
                .map(|policy| policy.name.as_str());
            return Err(missing(
                &format!("database '{name}' of {holder} has no retention policy '{policy}'"),
                policy,
                names,
            ));
        }
    }
    let shards: Vec<Shard> = data
        .shards()
        .filter(|shard| selection.takes(&shard.path))
        .collect();
    if let (Some(id), []) = (selection.shard, shards.as_slice()) {
        return Err(missing_shard(data, selection, id, holder));
    }
    Ok(shards)
}

fn missing_shard(data: &Data, selection: &Selection, id: u64, holder: &str) -> Error {
    if let Some(shard) = data.shards().find(|shard| shard.path.id == id) {
        return ErrorKind::Failed
            .error(format!(
                "shard {id} of {holder} is not where it was asked for"
            ))
            .hint(format!("it is {}", shard.path));
    }
    let wider = Selection {
        shard: None,
        ..selection.clone()
    };
    let taken = data.shards().filter(|shard| wider.takes(&shard.path));
    let ids: BTreeSet<u64> = taken.map(|shard| shard.path.id).collect();
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ErrorKind::Failed
        .error(format!("{holder} has no shard {id}"))
        .hint(format!("there are: {}", name_list(&ids)))
}

/// Refuses a filter of which a measurement, or every series, was nowhere in what `holder` has in
/// `bounds`, where such are given.
///
/// # Errors
///
/// With the measurements that are there.
pub(crate) fn ensure_series_found(
    sought: &SoughtSeries,
    bounds: Option<Bounds>,
    holder: &str,
) -> Result<(), Error> {
    if sought.takes_all() {
        return Ok(());
    }
    let names = sought.names();
    // What has no shard of these times says nothing of measurements.
    if let (Some(bounds), []) = (bounds, &names[..]) {
        return Err(ErrorKind::Failed
            .error(format!("{holder} has no points {bounds}"))
            .hint("other -start and -end find more; what measurements there are at other times was not looked at"));
    }
    if let Some(absent) = sought.absent().first() {
        let text = absent.text();
        let place = match bounds {
            Some(bounds) => format!("in the shards with points {bounds}"),
            None => "in what was asked for".to_owned(),
        };
        let message = match absent.name() {
            Some(name) => format!("{holder} has no measurement '{name}' {place}"),
            None => format!("{holder} has no measurement that matches {text} {place}"),
        };
        return Err(missing(&message, text, names.iter().map(String::as_str)));
    }
    if sought.found_any() {
        return Ok(());
    }
    Err(ErrorKind::Failed
        .error(format!("{holder} has no series for {}", sought.filter()))
        .hint("a value of a tag is compared whole, a tag that a series lacks is empty"))
}

/// That there is nothing of a name, with the names that are there.
pub(crate) fn missing<'a>(
    message: &str,
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
) -> Error {
    let names: Vec<&str> = names.collect();
    let close = names
        .iter()
        .map(|name| {
            (
                strsim::jaro_winkler(&name.to_lowercase(), &wanted.to_lowercase()),
                *name,
            )
        })
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let there = match quoted.is_empty() {
        true => "there are none".to_owned(),
        false => format!("there are: {}", name_list(&quoted)),
    };
    ErrorKind::Failed.error(message).hint(match close {
        Some((_, name)) => format!("did you mean '{name}'? {there}"),
        None => there,
    })
}

/// Warns of shards that should hold points by now and are not open: influxd does so quietly when a
/// file is damaged.
pub(super) fn warn_not_open<'a>(shards: impl Iterator<Item = &'a Shard>, context: Context<'_>) {
    let now = time::to_nanos(Timestamp::now());
    let begun = shards.filter(|shard| shard.start <= now);
    let absent: Vec<String> = begun.map(|shard| shard.path.to_string()).collect();
    if !absent.is_empty() {
        context.warn(format!(
            "the metastore names {} that the server does not have open (never written to, or \
             failed to open at its start; its log tells): {}",
            plural(absent.len(), "shard"),
            name_list(&absent)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore::{DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
    use crate::tsm::series_filter::SeriesFilter;

    fn data() -> Data {
        let group = |id| ShardGroupInfo {
            shards: vec![ShardInfo {
                id,
                ..Default::default()
            }],
            ..Default::default()
        };
        let database = |name: &str, first: u64| DatabaseInfo {
            name: name.into(),
            retention_policies: vec![
                RetentionPolicyInfo {
                    name: "autogen".into(),
                    shard_groups: vec![group(first)],
                    ..Default::default()
                },
                RetentionPolicyInfo {
                    name: "week".into(),
                    shard_groups: vec![group(first + 1)],
                    ..Default::default()
                },
            ],
            ..Default::default()
        };
        Data {
            databases: vec![
                database("telegraf", 1),
                database("_internal", 10),
                database("db", 20),
            ],
            ..Default::default()
        }
    }

    fn ids(selection: &Selection) -> Result<Vec<u64>, String> {
        let shards = select(&data(), selection, "h:8088")
            .map_err(|fault| format!("{fault}; {}", fault.hint.as_deref().unwrap_or_default()))?;
        Ok(shards.iter().map(|shard| shard.path.id).collect())
    }

    #[test]
    fn internal_is_taken_only_when_it_is_asked_for() {
        assert_eq!(ids(&Selection::default()), Ok(vec![1, 2, 20, 21]));
        assert_eq!(
            ids(&Selection {
                include_internal: true,
                ..Default::default()
            }),
            Ok(vec![1, 2, 10, 11, 20, 21])
        );
        assert_eq!(
            ids(&Selection {
                database: Some("_internal".into()),
                ..Default::default()
            }),
            Ok(vec![10, 11])
        );
    }

    #[test]
    fn a_measurement_that_is_not_there_is_said_and_so_are_conditions_without_a_series() {
        let said = |measurements: &[&str], condition: &str| {
            let sought = SoughtSeries::of(SeriesFilter {
                measurements: measurements
                    .iter()
                    .map(|one| one.parse().unwrap())
                    .collect(),
                conditions: vec![condition.parse().unwrap()],
            });
            let mut matcher = sought.matcher();
            for key in ["cpu,host=a#!~#v", "disk,host=b#!~#v"] {
                matcher.takes(key.as_bytes());
            }
            let said = ensure_series_found(&sought, None, "set x");
            said.map_err(|fault| format!("{fault}; {}", fault.hint.as_deref().unwrap_or_default()))
        };
        assert_eq!(said(&["cpu"], "host=a"), Ok(()));
        assert_eq!(
            said(&["cpu", "dsk"], "host=a").unwrap_err(),
            "set x has no measurement 'dsk' in what was asked for; did you mean 'disk'? \
             there are: 'cpu', 'disk'"
        );
        assert_eq!(
            said(&["/^m/"], "host=a").unwrap_err(),
            "set x has no measurement that matches /^m/ in what was asked for; there are: 'cpu', 'disk'"
        );
        assert!(
            said(&["cpu"], "host=b")
                .unwrap_err()
                .starts_with("set x has no series for -measurement 'cpu' -where 'host=b'; ")
        );
        let all = SoughtSeries::default();
        assert_eq!(ensure_series_found(&all, None, "x"), Ok(()));
        let nothing_seen = SoughtSeries::of(SeriesFilter {
            measurements: vec!["cpu".parse().unwrap()],
            ..SeriesFilter::default()
        });
        let hour = Bounds {
            start: 0,
            end: 3_600_000_000_000,
        };
        let said = ensure_series_found(&nothing_seen, Some(hour), "set x").unwrap_err();
        assert_eq!(
            said.to_string(),
            "set x has no points from 1970-01-01T00:00:00Z to 1970-01-01T01:00:00Z"
        );
    }

    #[test]
    fn a_name_that_is_not_there_is_said_with_those_that_are() {
        let of = |database: &str, policy: Option<&str>, shard| Selection {
            database: Some(database.into()),
            retention_policy: policy.map(Into::into),
            shard,
            ..Default::default()
        };
        assert_eq!(
            ids(&of("Telegraph", None, None)).unwrap_err(),
            "h:8088 has no database 'Telegraph'; did you mean 'telegraf'? there are: 'telegraf', '_internal', 'db'"
        );
        assert_eq!(
            ids(&of("db", Some("month"), None)).unwrap_err(),
            "database 'db' of h:8088 has no retention policy 'month'; there are: 'autogen', 'week'"
        );
        assert_eq!(
            ids(&of("db", Some("week"), Some(99))).unwrap_err(),
            "h:8088 has no shard 99; there are: 21"
        );
        assert_eq!(
            ids(&of("db", None, Some(1))).unwrap_err(),
            "shard 1 of h:8088 is not where it was asked for; it is telegraf/autogen/1"
        );
    }
}
