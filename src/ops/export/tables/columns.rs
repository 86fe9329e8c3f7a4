//! Which tables and columns a schema makes, after what is to become of conflicts in it.

use std::collections::{BTreeMap, BTreeSet};

use super::conflicts::Conflicts;
use super::layout::{FieldColumn, TableLayout, TagColumn, can_be_written, text};
use super::resolve::{Resolution, ResolveRule};
use super::schema::{ExportSchema, FieldSchema, MeasurementSchema};
use crate::error::{Error, ErrorKind};
use crate::ops::selection::missing;
use crate::text::name_list;
use crate::tsm::values::ValueType;

/// The tables of a schema, by their measurements, and warnings about their columns.
///
/// # Errors
///
/// [`ErrorKind::Refused`] for conflicts that are not resolved; when a resolution names nothing.
pub(super) fn layouts(
    schema: &ExportSchema,
    resolutions: &[Resolution],
) -> Result<(Vec<TableLayout>, Vec<String>), Error> {
    ensure_found(schema, resolutions)?;
    let mut conflicts = Conflicts::default();
    let mut tables = Vec::new();
    for ((database, policy), measurements) in &schema.policies {
        for (measurement, of) in measurements {
            let name = text(measurement);
            let own = resolutions.iter().filter(|one| one.measurement == name);
            let columns = ColumnRules::of(own);
            let table = TableLayout {
                database: database.clone(),
                policy: policy.clone(),
                measurement: measurement.clone(),
                tags: columns.tags(of),
                fields: columns.fields(&name, of, &mut conflicts)?,
            };
            conflicts.look_for_names(&table);
            tables.push(table);
        }
    }
    Ok((tables, conflicts.finish()?))
}

/// Refuses resolutions of what is not in the schema.
fn ensure_found(schema: &ExportSchema, resolutions: &[Resolution]) -> Result<(), Error> {
    for resolution in resolutions {
        let all = schema.policies.values().flatten();
        let named = all
            .clone()
            .filter(|(name, _)| text(name) == resolution.measurement);
        let tags: Vec<&Box<[u8]>> = named.clone().flat_map(|(_, of)| &of.tags).collect();
        let columns: BTreeSet<String> = named
            .clone()
            .flat_map(|(_, of)| of.fields.keys().chain(&of.tags).map(|name| text(name)))
            .collect();
        let (measurement, column) = (&resolution.measurement, &resolution.column);
        if columns.is_empty() {
            let names: BTreeSet<String> = all.map(|(name, _)| text(name)).collect();
            return Err(missing(
                &format!("-resolve {resolution}: no measurement '{measurement}' is exported"),
                measurement,
                names.iter().map(String::as_str),
            ));
        }
        if !columns.contains(column) {
            return Err(missing(
                &format!("-resolve {resolution}: '{measurement}' has no field or tag '{column}'"),
                column,
                columns.iter().map(String::as_str),
            ));
        }
        let mut fields = named.flat_map(|(_, of)| of.fields.keys());
        let is_field = fields.any(|name| text(name) == *column);
        if !is_field && !matches!(resolution.rule, ResolveRule::Rename(_)) {
            let tags: BTreeSet<String> = tags.iter().map(|name| text(name)).collect();
            let tags: Vec<String> = tags.into_iter().collect();
            return Err(ErrorKind::Refused
                .error(format!(
                    "-resolve {resolution}: '{column}' is a tag of '{measurement}', and tags are \
                     strings; its tags are {}",
                    name_list(&tags)
                ))
                .hint("name a field, or give the tag another name: M.TAG=>NAME"));
        }
    }
    Ok(())
}

/// What the resolutions say of the columns of a measurement.
#[derive(Default)]
struct ColumnRules<'a> {
    types: BTreeMap<&'a str, &'a ResolveRule>,
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> ColumnRules<'a> {
    fn of(resolutions: impl Iterator<Item = &'a Resolution>) -> Self {
        let mut rules = Self::default();
        for resolution in resolutions {
            let column = resolution.column.as_str();
            match &resolution.rule {
                ResolveRule::Rename(name) => drop(rules.names.insert(column, name)),
                rule => drop(rules.types.insert(column, rule)),
            }
        }
        rules
    }

    /// A new name is that of the field, where there is a field and a tag.
    fn tags(&self, of: &MeasurementSchema) -> Vec<TagColumn> {
        let tags = of.tags.iter().map(|key| {
            let own = text(key);
            let name = match of.fields.contains_key(key) {
                true => own,
                false => self.renamed(own),
            };
            TagColumn {
                key: key.clone(),
                name,
            }
        });
        tags.collect()
    }

    fn fields(
        &self,
        measurement: &str,
        of: &MeasurementSchema,
        conflicts: &mut Conflicts,
    ) -> Result<Vec<FieldColumn>, Error> {
        let mut columns = Vec::new();
        for (key, field) in &of.fields {
            let own = text(key);
            let types = self.column_types(measurement, &own, field, conflicts)?;
            let is_split = matches!(self.types.get(&*own), Some(ResolveRule::Split));
            let name = self.renamed(own);
            columns.extend(types.into_iter().map(|value_type| FieldColumn {
                key: key.clone(),
                name: match is_split {
                    true => format!("{name}_{value_type}"),
                    false => name.clone(),
                },
                value_type,
                is_split,
            }));
        }
        Ok(columns)
    }

    fn renamed(&self, own: String) -> String {
        self.names.get(&*own).map_or(own, |name| (*name).to_owned())
    }

    /// The types of the columns of a field.
    fn column_types(
        &self,
        measurement: &str,
        own: &str,
        field: &FieldSchema,
        conflicts: &mut Conflicts,
    ) -> Result<Vec<ValueType>, Error> {
        let types: Vec<ValueType> = field.types.keys().copied().collect();
        match self.types.get(own) {
            Some(ResolveRule::As(to)) => {
                match types.iter().find(|from| !can_be_written(**from, *to)) {
                    Some(from) => Err(ErrorKind::Refused
                        .error(format!(
                            "{measurement}.{own} has values of type {from}, which are no {to}"
                        ))
                        .hint("write them as string, or split them into a column for each type")),
                    None => Ok(vec![*to]),
                }
            }
            Some(_) => Ok(types),
            None => {
                if types.len() > 1 {
                    conflicts.add_types(measurement, own, field);
                }
                Ok(types.into_iter().take(1).collect())
            }
        }
    }
}
