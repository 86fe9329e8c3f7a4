//! What is left out of a file: ranges that were deleted, and whole keys.

use std::io;

use super::super::index::Key;
use super::super::sought_series::{SoughtMatcher, SoughtSeries};
use super::super::tombstone::{DeletedRange, Deletes};
use super::new_types::{NewTypes, has_other_type};

/// Deletes, and with them all of keys whose series are not meant, or whose fields have another type
/// now.
#[derive(Debug)]
pub(crate) struct LeftOut<'a, D> {
    deletes: D,
    new_types: &'a NewTypes,
    series: SoughtMatcher<'a>,
    /// Whether the whole key is to go, and that was not said yet.
    whole: Option<bool>,
}

impl<'a, D: Deletes> LeftOut<'a, D> {
    /// Adds to `deletes`.
    pub(crate) fn new(deletes: D, new_types: &'a NewTypes, series: &'a SoughtSeries) -> Self {
        Self {
            deletes,
            new_types,
            series: series.matcher(),
            whole: None,
        }
    }
}

impl<D: Deletes> Deletes for LeftOut<'_, D> {
    fn begin(&mut self, key: &Key<'_>) -> io::Result<()> {
        let is_left_out = !self.series.takes(key.bytes) || has_other_type(key, self.new_types);
        self.whole = is_left_out.then_some(true);
        self.deletes.begin(key)
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        match &mut self.whole {
            Some(to_say) => Ok(std::mem::take(to_say).then_some((i64::MIN, i64::MAX))),
            None => self.deletes.next_range(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::super::fields::Field;
    use super::super::super::fields::tests::file as fields_file;
    use super::super::super::series_filter::SeriesFilter;
    use super::super::super::tombstone::DeletedRanges;
    use super::super::super::values::ValueType;
    use super::super::new_types::living_fields;
    use super::super::rewrite;
    use super::*;
    use crate::time::Bounds;

    #[test]
    fn what_was_deleted_is_of_no_type_and_what_is_of_another_goes_whole() {
        use ValueType::{Float, Integer};
        let file = fields_file(&[
            ("m,h=a#!~#v", Float),
            ("m,h=b#!~#v", Integer),
            ("n#!~#v", Float),
        ]);
        let field = Field::of(b"m#!~#v").unwrap();
        let fields = BTreeSet::from([field.clone()]);
        let living = |max| {
            let deletes: DeletedRanges = [(&b"m,h=a#!~#v"[..], (0, max))].into_iter().collect();
            let mut found = Vec::new();
            living_fields(
                &file[..],
                &fields,
                &mut deletes.reader(),
                |_, value_type| found.push(value_type),
            )
            .unwrap();
            found
        };
        assert_eq!(living(6), [Float, Integer]);
        assert_eq!(living(7), [Integer]);
        let new_types = NewTypes::from([(field, Integer)]);
        let mut out = Vec::new();
        let all = SoughtSeries::default();
        let mut left_out = LeftOut::new((), &new_types, &all);
        rewrite(&file[..], &mut left_out, Bounds::ANY, &mut out).unwrap();
        assert!(out == fields_file(&[("m,h=b#!~#v", Integer), ("n#!~#v", Float)]));
    }

    #[test]
    fn series_that_are_not_meant_go_whole_and_the_others_stay_as_they_are() {
        use ValueType::{Float, Integer};
        let keys = [
            ("cpu#!~#v", Float),
            ("cpu,h=a#!~#v", Float),
            ("cpu,h=a#!~#w", Integer),
            ("cpu,h=b#!~#v", Float),
            ("mem,h=a#!~#v", Float),
        ];
        let file = fields_file(&keys);
        let left = |measurements: &[&str], conditions: &[&str]| {
            let series = SoughtSeries::of(SeriesFilter {
                measurements: measurements
                    .iter()
                    .map(|one| one.parse().unwrap())
                    .collect(),
                conditions: conditions.iter().map(|one| one.parse().unwrap()).collect(),
            });
            let none = NewTypes::default();
            let mut out = Vec::new();
            let mut left_out = LeftOut::new((), &none, &series);
            rewrite(&file[..], &mut left_out, Bounds::ANY, &mut out).unwrap();
            out
        };
        assert!(left(&["cpu"], &[]) == fields_file(&keys[..4]));
        assert!(left(&["/./"], &["h=a"]) == fields_file(&[keys[1], keys[2], keys[4]]));
        assert!(left(&["cpu"], &["h=a"]) == fields_file(&keys[1..3]));
        assert!(left(&["cpu", "mem"], &[]) == file);
        assert!(left(&["disk"], &[]).is_empty());
    }
}
