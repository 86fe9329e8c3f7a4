//! A filter of series, and what of it was found in the files that it was applied to: a name that is
//! nowhere was mistyped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::series::split_key;
use super::series_filter::{MeasurementPattern, SeriesFilter, SeriesMatcher};

/// The most bytes of names of measurements that are held, to be told.
const MOST_NAME_BYTES: usize = 64 << 10;

/// A filter, and what of it was found.
#[derive(Debug, Default)]
pub(crate) struct SoughtSeries {
    filter: SeriesFilter,
    found: Mutex<FoundSeries>,
}

#[derive(Debug, Default)]
struct FoundSeries {
    /// Which of the filter's measurements were found.
    measurements: Vec<bool>,
    /// Whether any series is meant.
    any: bool,
    /// The names of measurements, those that are meant and others, as far as they are held.
    names: BTreeSet<String>,
    bytes: usize,
}

impl SoughtSeries {
    /// Nothing of the filter was found yet.
    pub(crate) fn of(filter: SeriesFilter) -> Self {
        let measurements = vec![false; filter.measurements.len()];
        Self {
            filter,
            found: Mutex::new(FoundSeries {
                measurements,
                ..FoundSeries::default()
            }),
        }
    }

    /// The filter.
    pub(crate) fn filter(&self) -> &SeriesFilter {
        &self.filter
    }

    /// Whether all series are meant.
    pub(crate) fn takes_all(&self) -> bool {
        self.filter.takes_all()
    }

    /// To be asked of the keys of a file, one after the other.
    pub(crate) fn matcher(&self) -> SoughtMatcher<'_> {
        SoughtMatcher {
            sought: self,
            matcher: self.filter.matcher(),
            measurement: None,
            any: false,
        }
    }

    /// The measurements of the filter that were not found.
    pub(crate) fn absent(&self) -> Vec<&MeasurementPattern> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let patterns = self.filter.measurements.iter().zip(&found.measurements);
        let absent = patterns.filter(|(_, found)| !**found);
        absent.map(|(pattern, _)| pattern).collect()
    }

    /// Whether a series was found that is meant.
    pub(crate) fn found_any(&self) -> bool {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.any
    }

    /// The names of measurements that were found, meant or not; of very many some.
    pub(crate) fn names(&self) -> Vec<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.names.iter().cloned().collect()
    }

    fn passed(&self, measurement: &[u8]) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (pattern, found) in self.filter.measurements.iter().zip(&mut found.measurements) {
            *found |= pattern.matches(measurement);
        }
        let name = String::from_utf8_lossy(measurement);
        if found.bytes + name.len() <= MOST_NAME_BYTES && !found.names.contains(&*name) {
            found.bytes += name.len();
            found.names.insert(name.into_owned());
        }
    }
}

/// Answers for key after key, and takes note of what is found.
#[derive(Debug)]
pub(crate) struct SoughtMatcher<'a> {
    sought: &'a SoughtSeries,
    matcher: SeriesMatcher<'a>,
    /// The measurement that was noted last, escaped.
    measurement: Option<Vec<u8>>,
    /// Whether it was noted that a series is meant.
    any: bool,
}

impl SoughtMatcher<'_> {
    /// Whether the series of a key is meant.
    pub(crate) fn takes(&mut self, key: &[u8]) -> bool {
        if self.sought.takes_all() {
            return true;
        }
        let (series, _) = split_key(key);
        let escaped = series.escaped_measurement();
        if self.measurement.as_deref() != Some(escaped) {
            self.measurement = Some(escaped.to_owned());
            self.sought.passed(&series.measurement());
        }
        let takes = self.matcher.takes(key);
        if takes && !self.any {
            self.any = true;
            let found = &self.sought.found;
            found.lock().unwrap_or_else(PoisonError::into_inner).any = true;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought(measurements: &[&str], conditions: &[&str]) -> SoughtSeries {
        SoughtSeries::of(SeriesFilter {
            measurements: measurements
                .iter()
                .map(|one| one.parse().unwrap())
                .collect(),
            conditions: conditions.iter().map(|one| one.parse().unwrap()).collect(),
        })
    }

    fn absent(sought: &SoughtSeries) -> Vec<&str> {
        let absent = sought.absent().into_iter();
        absent.map(MeasurementPattern::text).collect()
    }

    #[test]
    fn what_was_found_in_any_file_is_found() {
        let sought = sought(&["cpu", "mem", "/^d/"], &["host=a"]);
        assert_eq!(absent(&sought), ["cpu", "mem", "/^d/"]);
        let mut first = sought.matcher();
        assert!(!first.takes(b"cpu,host=b#!~#v") && !first.takes(b"net,host=a#!~#v"));
        assert_eq!(absent(&sought), ["mem", "/^d/"]);
        assert!(!sought.found_any());
        let mut second = sought.matcher();
        assert!(second.takes(b"disk,host=a#!~#v"));
        assert_eq!(absent(&sought), ["mem"]);
        assert!(sought.found_any());
        assert_eq!(sought.names(), ["cpu", "disk", "net"]);
    }

    #[test]
    fn not_every_name_of_very_many_is_held() {
        let sought = sought(&["x"], &[]);
        let mut matcher = sought.matcher();
        for nth in 0..20_000 {
            matcher.takes(format!("measurement{nth:05}#!~#v").as_bytes());
        }
        matcher.takes(b"x#!~#v");
        assert_eq!(sought.names().len(), MOST_NAME_BYTES / 16);
        assert!(absent(&sought).is_empty());
    }
}
