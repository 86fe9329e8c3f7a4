//! What of the points another database cannot take, found out while they pass.

use std::collections::BTreeMap;

use crate::shard::ShardPath;
use crate::text::{few_names, plural};
use crate::tsm::series::split_key;
use crate::tsm::values::ValueType;

/// A database that reads line protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportDatabase {
    /// InfluxDB 1.x.
    InfluxDb1,
    /// InfluxDB 2.x.
    InfluxDb2,
    /// InfluxDB 3 Core and Enterprise.
    InfluxDb3,
    /// VictoriaMetrics.
    VictoriaMetrics,
    /// QuestDB.
    QuestDb,
}

/// What a database cannot take. docs/export.md says where each is known from.
struct Limits {
    name: &'static str,
    /// Types of values that it refuses or drops.
    types: &'static [ValueType],
    /// Names that no tag may have.
    tags: &'static [&'static str],
    /// Whether a name is a tag or a field, and a field of one type, in all of a measurement.
    is_one_column: bool,
    /// The most tags and fields of a measurement, and the most tags.
    most_columns: usize,
    most_tags: usize,
    /// The nanoseconds of its shortest step of time.
    step: i64,
    /// Whether it has no times before 1970.
    begins_in_1970: bool,
}

const NONE: Limits = Limits {
    name: "",
    types: &[],
    tags: &[],
    is_one_column: false,
    most_columns: usize::MAX,
    most_tags: usize::MAX,
    step: 1,
    begins_in_1970: false,
};

impl ExportDatabase {
    /// Those of the times that it cannot take as they are.
    pub(super) fn bad_times(self, times: &[i64]) -> BadTimes {
        let Limits {
            step,
            begins_in_1970,
            ..
        } = self.limits();
        let count = |is_bad: &dyn Fn(i64) -> bool| {
            let bad = times.iter().filter(|time| is_bad(**time));
            bad.count() as u64
        };
        BadTimes {
            cut: if step > 1 {
                count(&|time| time % step != 0)
            } else {
                0
            },
            early: if begins_in_1970 {
                count(&|time| time < 0)
            } else {
                0
            },
        }
    }

    fn limits(self) -> Limits {
        match self {
            Self::InfluxDb1 => Limits {
                name: "InfluxDB 1.x",
                types: &[ValueType::Unsigned],
                ..NONE
            },
            Self::InfluxDb2 => Limits {
                name: "InfluxDB 2.x",
                tags: &["_field", "_measurement", "time"],
                ..NONE
            },
            Self::InfluxDb3 => Limits {
                name: "InfluxDB 3",
                is_one_column: true,
                most_columns: 500,
                most_tags: 250,
                ..NONE
            },
            Self::VictoriaMetrics => Limits {
                name: "VictoriaMetrics",
                types: &[ValueType::String],
                step: 1_000_000,
                begins_in_1970: true,
                ..NONE
            },
            Self::QuestDb => Limits {
                name: "QuestDB",
                types: &[ValueType::Unsigned],
                is_one_column: true,
                step: 1000,
                ..NONE
            },
        }
    }
}

/// How many times another database cannot take as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BadTimes {
    /// Those that it would cut.
    cut: u64,
    /// Those before 1970.
    early: u64,
}

/// Bytes of names that are remembered.
const MOST_BYTES: usize = 16 << 20;
/// What a name takes in memory beside its bytes.
const NAME_BYTES: usize = 64;

/// Marks a name as that of a tag, beside the types that it has as a field.
const TAG: u8 = 1 << 7;

/// The names of the tags and fields of a measurement, and what each is.
type Columns = BTreeMap<Vec<u8>, u8>;

/// Looks at points on their way into another database.
pub(super) struct TargetCheck {
    limits: Limits,
    /// By database, policy and measurement.
    measurements: BTreeMap<(String, String, Vec<u8>), Columns>,
    bytes: usize,
    is_full: bool,
    bad_times: BadTimes,
}

impl TargetCheck {
    pub(super) fn new(target: ExportDatabase) -> Self {
        Self {
            limits: target.limits(),
            measurements: BTreeMap::new(),
            bytes: 0,
            is_full: false,
            bad_times: BadTimes::default(),
        }
    }

    /// Looks at a series, and what it has as fields.
    pub(super) fn see_series<'f>(
        &mut self,
        shard: &ShardPath,
        series: &[u8],
        fields: impl Iterator<Item = (&'f [u8], ValueType)>,
    ) {
        let (series, _) = split_key(series);
        let place = (
            shard.database.to_string(),
            shard.retention_policy.to_string(),
            series.measurement().into_owned(),
        );
        let columns = self.measurements.entry(place).or_default();
        let tags = series.tags().map(|(name, _)| (name, TAG));
        let fields = fields.map(|(name, of_type)| (name.into(), 1 << of_type as u8));
        for (name, what) in tags.chain(fields) {
            if let Some(known) = columns.get_mut(&*name) {
                *known |= what;
                continue;
            }
            self.bytes += name.len() + NAME_BYTES;
            self.is_full |= self.bytes > MOST_BYTES;
            if !self.is_full {
                columns.insert(name.into_owned(), what);
            }
        }
    }

    /// Adds what was found of the times of points.
    pub(super) fn add_times(&mut self, found: BadTimes) {
        self.bad_times.cut += found.cut;
        self.bad_times.early += found.early;
    }

    /// What the database cannot take of all that was seen, a sentence each.
    pub(super) fn findings(&self) -> Vec<String> {
        let limits = &self.limits;
        let name = limits.name;
        let mut found = Vec::new();
        let mut tell = |count: &[String], noun: &str, what: String| {
            if !count.is_empty() {
                let names = few_names(count.iter().map(String::as_str));
                let count = plural(count.len(), noun);
                found.push(format!("{count} {what} ({names})"));
            }
        };
        for of_type in limits.types {
            let of = self.names(|_, what| what & 1 << *of_type as u8 != 0);
            tell(
                &of,
                "field",
                format!("of type {of_type}, which {name} does not take"),
            );
        }
        let reserved = self.names(|name, what| {
            what & TAG != 0 && limits.tags.iter().any(|tag| tag.as_bytes() == name)
        });
        tell(
            &reserved,
            "tag",
            format!("with a name that {name} keeps for itself"),
        );
        if limits.is_one_column {
            let both = self.names(|_, what| what & TAG != 0 && what != TAG);
            tell(
                &both,
                "tag",
                format!("with the name of a field, which {name} does not take"),
            );
            let types = self.names(|_, what| (what & !TAG).count_ones() > 1);
            tell(
                &types,
                "field",
                format!("of several types, of which {name} takes one"),
            );
        }
        let (most, tags) = (limits.most_columns, limits.most_tags);
        let wide = self.measurements(|columns| columns.len() > most);
        tell(
            &wide,
            "measurement",
            format!("with more tags and fields than the {most} of {name}"),
        );
        let is_tag = |what: &&u8| **what & TAG != 0;
        let wide = self.measurements(|columns| columns.values().filter(is_tag).count() > tags);
        tell(
            &wide,
            "measurement",
            format!("with more tags than the {tags} of {name}"),
        );
        let BadTimes { cut, early } = self.bad_times;
        if early > 0 {
            let points = plural(early, "point");
            found.push(format!("{points} before 1970, which {name} drops"));
        }
        if cut > 0 {
            let unit = match limits.step {
                1000 => "microsecond",
                _ => "millisecond",
            };
            let points = plural(cut, "point");
            found.push(format!("{points} with times that {name} cuts to a {unit}"));
        }
        if self.is_full {
            found.push(format!(
                "more names of tags and fields than can be held: not all were compared with what \
                 {name} takes"
            ));
        }
        found
    }

    /// The names of tags and fields that are so.
    fn names(&self, is: impl Fn(&[u8], u8) -> bool) -> Vec<String> {
        let columns = self
            .measurements
            .iter()
            .flat_map(|((_, _, measurement), columns)| {
                let columns = columns.iter();
                columns.map(move |(name, what)| (measurement, name, *what))
            });
        let found = columns.filter(|(_, name, what)| is(name, *what));
        let mut names: Vec<String> = found
            .map(|(measurement, name, _)| format!("{}.{}", words(measurement), words(name)))
            .collect();
        // One of several policies counts once.
        names.sort();
        names.dedup();
        names
    }

    /// The measurements whose columns are so.
    fn measurements(&self, are: impl Fn(&Columns) -> bool) -> Vec<String> {
        let found = self.measurements.iter().filter(|(_, columns)| are(columns));
        found
            .map(|((_, _, measurement), _)| words(measurement))
            .collect()
    }
}

fn words(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(target: ExportDatabase) -> Vec<String> {
        let shard = ShardPath {
            database: "d".into(),
            retention_policy: "autogen".into(),
            id: 1,
        };
        let mut check = TargetCheck::new(target);
        let mut see = |series: &str, fields: &[(&str, ValueType)]| {
            let fields = fields.iter().map(|(name, of)| (name.as_bytes(), *of));
            check.see_series(&shard, series.as_bytes(), fields);
        };
        see(
            "cpu,host=a",
            &[("idle", ValueType::Float), ("note", ValueType::String)],
        );
        see(
            "cpu,host=b",
            &[("idle", ValueType::Integer), ("total", ValueType::Unsigned)],
        );
        see("cpu,idle=x,_field=y", &[("load", ValueType::Float)]);
        let tags: String = (0..251).map(|nth| format!(",t{nth:03}=x")).collect();
        let fields: Vec<String> = (0..250).map(|nth| format!("f{nth}")).collect();
        let fields: Vec<_> = fields
            .iter()
            .map(|name| (&**name, ValueType::Float))
            .collect();
        see(&format!("wide{tags}"), &fields);
        check.add_times(target.bad_times(&[0, 1_000_000, 1_000_001, 2_001_000, -1]));
        check.findings()
    }

    #[test]
    fn each_database_is_told_by_what_it_cannot_take() {
        assert_eq!(
            findings(ExportDatabase::InfluxDb1),
            ["1 field of type unsigned, which InfluxDB 1.x does not take (cpu.total)"]
        );
        assert_eq!(
            findings(ExportDatabase::InfluxDb2),
            ["1 tag with a name that InfluxDB 2.x keeps for itself (cpu._field)"]
        );
        assert_eq!(
            findings(ExportDatabase::InfluxDb3),
            [
                "1 tag with the name of a field, which InfluxDB 3 does not take (cpu.idle)",
                "1 field of several types, of which InfluxDB 3 takes one (cpu.idle)",
                "1 measurement with more tags and fields than the 500 of InfluxDB 3 (wide)",
                "1 measurement with more tags than the 250 of InfluxDB 3 (wide)",
            ]
        );
        assert_eq!(
            findings(ExportDatabase::VictoriaMetrics),
            [
                "1 field of type string, which VictoriaMetrics does not take (cpu.note)",
                "1 point before 1970, which VictoriaMetrics drops",
                "3 points with times that VictoriaMetrics cuts to a millisecond",
            ]
        );
        assert_eq!(
            findings(ExportDatabase::QuestDb),
            [
                "1 field of type unsigned, which QuestDB does not take (cpu.total)",
                "1 tag with the name of a field, which QuestDB does not take (cpu.idle)",
                "1 field of several types, of which QuestDB takes one (cpu.idle)",
                "2 points with times that QuestDB cuts to a microsecond",
            ]
        );
    }
}
