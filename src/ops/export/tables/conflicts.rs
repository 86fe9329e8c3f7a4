//! What keeps measurements from being tables: fields of several types, and columns of one name.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{TIME, TableLayout, text};
use super::resolve::{Resolution, ResolveRule};
use super::schema::FieldSchema;
use crate::error::{Error, ErrorKind};
use crate::text::{name_list, plural};
use crate::tsm::values::ValueType;

/// Conflicts, and flags that would resolve them.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// A sentence each, in the order in which they came.
    found: Vec<String>,
    flags: Vec<String>,
    /// What is no conflict here, and is one elsewhere.
    warnings: Vec<String>,
}

impl Conflicts {
    /// Adds that a field has several types.
    pub(super) fn add_types(&mut self, measurement: &str, column: &str, field: &FieldSchema) {
        let places = field.types.iter();
        let places = places.map(|(value_type, places)| match places.shards {
            1 => format!("{value_type} in shard {}", places.last),
            shards => format!("{value_type} in {}", plural(shards, "shard")),
        });
        let places: Vec<String> = places.collect();
        let is_number = |value_type: &ValueType| {
            use ValueType::{Float, Integer, Unsigned};
            matches!(value_type, Float | Integer | Unsigned)
        };
        let rule = match field.types.keys().all(is_number) {
            true => ResolveRule::As(ValueType::Float),
            false => ResolveRule::Split,
        };
        let places = places.join(" and ");
        self.add(
            format!("{measurement}.{column} is {places}"),
            measurement,
            column,
            rule,
        );
    }

    /// Adds the columns of a table that have one name.
    pub(super) fn look_for_names(&mut self, table: &TableLayout) {
        let measurement = table.name();
        let mut taken: BTreeSet<String> = table.names().map(str::to_owned).collect();
        let mut seen = BTreeSet::from([TIME]);
        let tags = table.tags.iter().map(|tag| (&tag.key, &*tag.name, "tag"));
        let fields = table.fields.iter();
        let fields = fields.map(|field| (&field.key, &*field.name, "field"));
        for (key, name, kind) in tags.chain(fields) {
            if seen.insert(name) {
                continue;
            }
            let column = text(key);
            let mut free = format!("{name}_{kind}");
            while !taken.insert(free.clone()) {
                free.push('_');
            }
            let is_a_tag = table.tags.iter().any(|tag| tag.name == name);
            let what = match (name, kind) {
                (TIME, _) => format!("{measurement} has a {kind} named time"),
                (_, "field") if is_a_tag => format!("{measurement}.{name} is a tag and a field"),
                _ => format!("{measurement} has two columns named {name}"),
            };
            self.add(what, &measurement, &column, ResolveRule::Rename(free));
        }
        self.look_for_letters(table);
    }

    /// Warns of names that differ in nothing but the case of letters.
    fn look_for_letters(&mut self, table: &TableLayout) {
        let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in table.names() {
            alike.entry(name.to_lowercase()).or_default().push(name);
        }
        for names in alike.values() {
            let names: BTreeSet<&str> = names.iter().copied().collect();
            if names.len() > 1 {
                let names: Vec<&str> = names.into_iter().collect();
                self.warnings.push(format!(
                    "columns of {} differ in the case of letters only, which some readers ignore: {}",
                    table.place(),
                    names.join(", ")
                ));
            }
        }
    }

    fn add(&mut self, what: String, measurement: &str, column: &str, rule: ResolveRule) {
        if !self.found.contains(&what) {
            self.found.push(what);
        }
        let resolution = Resolution {
            measurement: measurement.to_owned(),
            column: column.to_owned(),
            rule,
        };
        let flag = resolution.flag();
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }

    /// The warnings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where there is a conflict.
    pub(super) fn finish(self) -> Result<Vec<String>, Error> {
        if self.found.is_empty() {
            return Ok(self.warnings);
        }
        Err(ErrorKind::Refused
            .error(format!(
                "these cannot be one column each: {}",
                name_list(&self.found)
            ))
            .hint(format!("say what they become: {}", self.flags.join(" "))))
    }
}
