//! Which sets of a group a policy keeps, and for what. Nothing here touches a disk.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::error::{Error, ErrorKind};
use crate::repository::SetId;

/// What to keep. Each rule keeps by itself; what none keeps is removed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The newest sets.
    pub last: Limit,
    /// The newest set of each of the newest hours that have sets.
    pub hourly: Limit,
    /// … days.
    pub daily: Limit,
    /// … weeks, from Monday on, as ISO 8601 counts them.
    pub weekly: Limit,
    /// … months.
    pub monthly: Limit,
    /// … years.
    pub yearly: Limit,
    /// All sets that were begun no longer than this before the newest complete one.
    pub within: Option<Within>,
    /// Where hours, days, weeks, months and years begin.
    pub zone: TimeZone,
    /// Sets of which no file is left are kept by no other rule. Without another rule, all that have
    /// files are.
    pub lost: bool,
}

impl Default for Policy {
    /// A policy that keeps nothing, in UTC.
    fn default() -> Self {
        let none = Limit::default();
        Self {
            last: none,
            hourly: none,
            daily: none,
            weekly: none,
            monthly: none,
            yearly: none,
            within: None,
            zone: TimeZone::UTC,
            lost: false,
        }
    }
}

impl Policy {
    /// Whether it says of no set that it is to be kept.
    pub fn is_empty(&self) -> bool {
        !self.lost && !self.has_rules()
    }

    /// Refuses a policy that would remove all.
    pub(crate) fn ensure_keeps_something(&self) -> Result<(), Error> {
        if !self.is_empty() {
            return Ok(());
        }
        let error = ErrorKind::Usage.error("the policy keeps no set at all");
        Err(error.hint(
            "name at least one of -keep-last, -keep-daily … and -keep-within, and not as 0; or \
             -lost",
        ))
    }

    /// Whether it says what to keep.
    fn has_rules(&self) -> bool {
        !(self.within.is_none()
            && self
                .rules()
                .iter()
                .all(|(limit, ..)| *limit == Limit::Newest(0)))
    }

    fn rules(&self) -> [(Limit, Reason, Bucket); 6] {
        [
            (self.last, Reason::Last, |at, _| GroupKey {
                number: at,
                ..GroupKey::default()
            }),
            (self.hourly, Reason::Hourly, |_, time| GroupKey {
                number: usize::try_from(time.hour()).unwrap_or_default(),
                // The hour that a clock shows twice, when it is set back, is two hours.
                offset: time.offset().seconds(),
                ..day(time)
            }),
            (self.daily, Reason::Daily, |_, time| day(time)),
            (self.weekly, Reason::Weekly, |_, time| {
                let week = time.date().iso_week_date();
                GroupKey {
                    year: week.year(),
                    day: i16::from(week.week()),
                    ..GroupKey::default()
                }
            }),
            (self.monthly, Reason::Monthly, |_, time| GroupKey {
                day: time.month().into(),
                year: time.year(),
                ..GroupKey::default()
            }),
            (self.yearly, Reason::Yearly, |_, time| GroupKey {
                year: time.year(),
                ..GroupKey::default()
            }),
        ]
    }
}

/// The calendar bucket of a set by its place and its time.
type Bucket = fn(usize, &Zoned) -> GroupKey;

/// Tells buckets of one rule apart.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct GroupKey {
    year: i16,
    day: i16,
    number: usize,
    offset: i32,
}

fn day(time: &Zoned) -> GroupKey {
    GroupKey {
        year: time.year(),
        day: time.day_of_year(),
        ..GroupKey::default()
    }
}

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many, counted from the newest.
    Newest(u32),
    /// All.
    Unlimited,
}

impl Default for Limit {
    fn default() -> Self {
        Self::Newest(0)
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" | "-1" => Ok(Self::Unlimited),
            _ => text
                .parse()
                .map(Self::Newest)
                .map_err(|_| format!("'{text}' is not a number; write one, or unlimited")),
        }
    }
}

/// A length of time in the calendar's units.
#[derive(Debug, Clone)]
pub struct Within {
    span: Span,
    text: String,
}

impl FromStr for Within {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let complaint = || {
            format!(
                "'{text}' is not a length of time; write years, months, weeks, days and hours: \
                 1y5m7d2h, 2w"
            )
        };
        let mut span = Span::new();
        let mut seen = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: i64 = rest[..digits].parse().ok().with_context(complaint)?;
            let Some(unit) = rest[digits..].chars().next() else {
                bail!(complaint())
            };
            ensure!(!seen.contains(unit), complaint());
            span = match unit {
                'y' => span.try_years(number),
                'm' => span.try_months(number),
                'w' => span.try_weeks(number),
                'd' => span.try_days(number),
                'h' => span.try_hours(number),
                _ => bail!(complaint()),
            }
            .with_context(complaint)?;
            seen.push(unit);
            rest = &rest[digits + unit.len_utf8()..];
        }
        ensure!(span.is_positive(), complaint());
        Ok(Self {
            span,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A set, as far as the rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// When it was begun.
    pub started: Timestamp,
    /// Whether all that was asked for is there.
    pub complete: bool,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Whether nothing is left of it but its record.
    pub lost: bool,
}

/// Why a set is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is pinned.
    Pinned,
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// Young enough.
    Within(String),
    /// Nothing complete is newer.
    Newest,
    /// Only what is lost was to be removed, and it is not.
    NotLost,
    /// A restore, say, reads its files just now.
    Read,
    /// The storage does not let go of its record.
    Refused,
    /// A set that is kept cannot be restored without it.
    Needed {
        /// That set.
        by: SetId,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "snap keep",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within(span) => return write!(f, "within {span}"),
            Self::Newest => "nothing complete is newer",
            Self::NotLost => "not lost",
            Self::Read => "being read",
            Self::Refused => "kept by the storage",
            Self::Needed { by } => return write!(f, "needed by {by}"),
        })
    }
}

/// For each set of a group, oldest first, why it is kept; no reason: it is to be removed.
///
/// Only complete sets are kept by the rules and use up what a rule keeps. The newest complete set
/// and those after it are always kept. Sets are newer or older by their place, not by their time: a
/// clock can go backwards.
pub(super) fn apply(policy: &Policy, group: &[Candidate]) -> Vec<Vec<Reason>> {
    let times: Vec<Zoned> = group
        .iter()
        .map(|set| set.started.to_zoned(policy.zone.clone()))
        .collect();
    let mut kept = vec![Vec::new(); group.len()];
    for (reasons, _) in kept.iter_mut().zip(group).filter(|(_, set)| set.pinned) {
        reasons.push(Reason::Pinned);
    }
    let complete = || (0..group.len()).rev().filter(|at| group[*at].complete);
    for (limit, reason, bucket) in policy.rules() {
        let mut seen = HashSet::new();
        for at in complete() {
            if let Limit::Newest(count) = limit
                && seen.len() >= count as usize
            {
                break;
            }
            if seen.insert(bucket(at, &times[at])) {
                kept[at].push(reason.clone());
            }
        }
    }
    let newest = complete().next();
    if let (Some(within), Some(newest)) = (&policy.within, newest) {
        // Before the beginning of the calendar there is no set.
        let since = times[newest].checked_sub(within.span).ok();
        for at in complete().filter(|at| since.as_ref().is_none_or(|since| times[*at] >= *since)) {
            kept[at].push(Reason::Within(within.text.clone()));
        }
    }
    // A rule keeps the newest, whichever there is; but that it stays must not hang on this.
    for reasons in kept[newest.unwrap_or(0)..]
        .iter_mut()
        .filter(|reasons| reasons.is_empty())
    {
        reasons.push(Reason::Newest);
    }
    for (reasons, set) in kept.iter_mut().zip(group).filter(|_| policy.lost) {
        if set.lost {
            reasons.retain(|reason| *reason == Reason::Pinned);
        } else if !policy.has_rules() {
            *reasons = vec![Reason::NotLost];
        }
    }
    kept
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
