//! Fields that have several types in the files of a shard: which of them are to be left out, and
//! which cannot be told.
//!
//! On one server, a field gets another type when all its points were deleted. So of files of
//! several sets, those of the newest set say which type it has, and values of another type in files
//! of older sets were deleted in between. Within a set nothing tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anyhow::Result;

use super::members::ShardMembers;
use crate::shard::ShardPath;
use crate::text::name_list;
use crate::tsm::fields::Field;
use crate::tsm::filter::{LeftOut, NewTypes, living_fields};
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::stem;
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::values::ValueType;

/// What is to be done about fields with several types.
#[derive(Debug, Default)]
pub(crate) struct SettledTypes {
    /// The fields whose older values are left out, with their type.
    pub new_types: NewTypes,
    /// A sentence about them, where there are any.
    pub told: Option<String>,
    /// A sentence about those of which files of one set disagree, where there are any.
    pub undecided: Option<String>,
}

/// The newest file in which a field has values of a type.
struct Newest {
    source: usize,
    name: String,
}

/// Looks which of `fields` still have values of several types in `series`, besides what `deletes`
/// say was deleted.
///
/// # Errors
///
/// When the files cannot be read.
pub(super) fn settle_types(
    members: &ShardMembers<'_>,
    fields: &BTreeSet<Field>,
    deletes: &BTreeMap<String, BoundedDeletes>,
    series: &SoughtSeries,
) -> Result<SettledTypes> {
    let (none, no_types) = (BoundedDeletes::default(), NewTypes::default());
    let mut found: BTreeMap<Field, BTreeMap<u8, Newest>> = BTreeMap::new();
    members.each(
        |name| name.ends_with(".tsm"),
        |source, passed| {
            let name = passed.name;
            let deletes = deletes.get(stem(name)).unwrap_or(&none);
            let each = |field: &Field, value_type: ValueType| {
                let newest = found
                    .entry(field.clone())
                    .or_default()
                    .entry(value_type.byte())
                    .or_insert_with(|| Newest {
                        source,
                        name: name.to_owned(),
                    });
                if newest.source < source {
                    (newest.source, newest.name) = (source, name.to_owned());
                }
            };
            let mut left_out = LeftOut::new(deletes.reader(), &no_types, series);
            living_fields(passed.content, fields, &mut left_out, each).map_err(io::Error::other)
        },
    )?;
    let mut settled = SettledTypes::default();
    let (mut told, mut undecided) = (Vec::new(), Vec::new());
    for (field, types) in found {
        let Some(last) = types.values().map(|newest| newest.source).max() else {
            continue;
        };
        let (newest, older): (Vec<_>, Vec<_>) = types
            .into_iter()
            .filter_map(|(byte, newest)| Some((ValueType::from_byte(byte)?, newest)))
            .partition(|(_, newest)| newest.source == last);
        match &newest[..] {
            [_] if older.is_empty() => {}
            [(value_type, _)] => {
                let older: Vec<String> = older
                    .iter()
                    .map(|(value_type, _)| value_type.to_string())
                    .collect();
                told.push(format!(
                    "{field} (was {}, is {value_type})",
                    older.join(" and ")
                ));
                settled.new_types.insert(field, *value_type);
            }
            several => {
                let files: Vec<String> = several
                    .iter()
                    .map(|(value_type, newest)| format!("{value_type} in {}", newest.name))
                    .collect();
                undecided.push(format!("{field} ({})", files.join(", ")));
            }
        }
    }
    settled.told = (!told.is_empty()).then(|| left_out(members.shard, &told));
    settled.undecided = (!undecided.is_empty()).then(|| disagree(&undecided));
    Ok(settled)
}

fn left_out(shard: &ShardPath, fields: &[String]) -> String {
    format!(
        "shard {shard}: the type of a field changed between the sets, so that all older values were deleted; these are left \
         out: {}",
        name_list(fields)
    )
}

fn disagree(fields: &[String]) -> String {
    format!(
        "files of one set give a field several types, and influxd will hide some of its values or not open the \
         shard: {}",
        name_list(fields)
    )
}
