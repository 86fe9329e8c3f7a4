//! Tests of the rules: examples worked out by hand, and a slow model that says of each set by
//! itself whether it is kept.

use proptest::prelude::*;

use super::*;

/// Central European time, without asking the system's database.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn set(started: &str) -> Candidate {
    Candidate {
        started: started.parse().unwrap(),
        complete: true,
        pinned: false,
        lost: false,
    }
}

/// The times, cut to what tells them apart, of the sets that are kept, each with what for.
fn kept(policy: &Policy, group: &[Candidate]) -> Vec<String> {
    let reasons = apply(policy, group);
    let line = |(set, why): (&Candidate, &Vec<Reason>)| {
        let words: Vec<String> = why.iter().map(ToString::to_string).collect();
        (!why.is_empty()).then(|| {
            format!(
                "{}: {}",
                set.started.strftime("%m-%d %H:%M"),
                words.join(", ")
            )
        })
    };
    group.iter().zip(&reasons).filter_map(line).collect()
}

#[test]
fn each_rule_keeps_the_newest_of_the_last_buckets_that_have_sets() {
    // Two sets a day around a month's end, with days left out. 2026-11-01 is a Sunday.
    let group: Vec<Candidate> = [
        "2025-12-31T23:00:00Z",
        "2026-10-20T06:00:00Z",
        "2026-10-30T06:00:00Z",
        "2026-10-30T18:00:00Z",
        "2026-10-31T06:00:00Z",
        "2026-10-31T18:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-11-02T06:00:00Z",
        "2026-11-02T06:30:00Z",
    ]
    .map(set)
    .to_vec();
    let of = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        kept(&policy, &group)
    };
    assert_eq!(
        of(|policy| policy.last = Limit::Newest(2)),
        ["11-02 06:00: last", "11-02 06:30: last"]
    );
    assert_eq!(
        of(|policy| policy.hourly = Limit::Newest(3)),
        [
            "10-31 18:00: hourly",
            "11-01 06:00: hourly",
            "11-02 06:30: hourly"
        ]
    );
    assert_eq!(
        of(|policy| policy.daily = Limit::Newest(4)),
        [
            "10-30 18:00: daily",
            "10-31 18:00: daily",
            "11-01 06:00: daily",
            "11-02 06:30: daily"
        ]
    );
    // The Sunday ends the week before.
    assert_eq!(
        of(|policy| policy.weekly = Limit::Newest(3)),
        [
            "10-20 06:00: weekly",
            "11-01 06:00: weekly",
            "11-02 06:30: weekly"
        ]
    );
    assert_eq!(
        of(|policy| policy.monthly = Limit::Newest(2)),
        ["10-31 18:00: monthly", "11-02 06:30: monthly"]
    );
    assert_eq!(
        of(|policy| policy.yearly = Limit::Unlimited),
        ["12-31 23:00: yearly", "11-02 06:30: yearly"]
    );
    assert_eq!(
        of(|policy| policy.last = Limit::Unlimited).len(),
        group.len()
    );
    assert_eq!(
        of(|policy| policy.within = Some("2d".parse().unwrap())),
        [
            "10-31 18:00: within 2d",
            "11-01 06:00: within 2d",
            "11-02 06:00: within 2d",
            "11-02 06:30: within 2d"
        ]
    );
    // Rules are added up.
    let both = of(|policy| (policy.last, policy.monthly) = (Limit::Newest(1), Limit::Newest(12)));
    assert_eq!(
        both,
        [
            "12-31 23:00: monthly",
            "10-31 18:00: monthly",
            "11-02 06:30: last, monthly"
        ]
    );
}

#[test]
fn days_begin_where_the_time_zone_says_and_weeks_are_those_of_iso_8601() {
    let late = [
        "2026-01-01T12:00:00Z",
        "2026-11-20T22:30:00Z",
        "2026-11-20T23:30:00Z",
    ]
    .map(set);
    let policy = Policy {
        daily: Limit::Unlimited,
        ..Policy::default()
    };
    assert_eq!(
        kept(&policy, &late),
        ["01-01 12:00: daily", "11-20 23:30: daily"]
    );
    assert_eq!(
        kept(
            &Policy {
                zone: berlin(),
                ..policy
            },
            &late
        )
        .len(),
        3
    );

    // 2024-12-30 and 2025-01-05 are of the first week of 2025, 2027-01-01 is of the last of 2026.
    let weeks = [
        "2024-12-29T00:00:00Z",
        "2024-12-30T00:00:00Z",
        "2025-01-05T23:00:00Z",
        "2026-12-28T00:00:00Z",
        "2027-01-01T00:00:00Z",
    ];
    let policy = Policy {
        weekly: Limit::Unlimited,
        ..Policy::default()
    };
    assert_eq!(
        kept(&policy, &weeks.map(set)),
        [
            "12-29 00:00: weekly",
            "01-05 23:00: weekly",
            "01-01 00:00: weekly"
        ]
    );

    // Clocks go back at 01:00 UTC, and the hour from two to three is there twice.
    let twice = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"].map(set);
    assert_eq!(
        kept(
            &Policy {
                hourly: Limit::Unlimited,
                zone: berlin(),
                ..Policy::default()
            },
            &twice
        )
        .len(),
        2
    );
}

#[test]
fn a_length_of_time_is_counted_in_the_calendar_from_the_newest_complete_set() {
    let mut group = [
        "2026-02-27T12:00:00Z",
        "2026-02-28T12:00:00Z",
        "2026-03-30T12:00:00Z",
        "2026-05-01T00:00:00Z",
    ]
    .map(set);
    group[3].complete = false;
    let policy = |span: &str| Policy {
        within: Some(span.parse().unwrap()),
        ..Policy::default()
    };
    let newer = "05-01 00:00: nothing complete is newer";
    // A month before March 30 is the end of February.
    assert_eq!(
        kept(&policy("1m"), &group),
        ["02-28 12:00: within 1m", "03-30 12:00: within 1m", newer]
    );
    assert_eq!(
        kept(&policy("29d23h"), &group),
        ["03-30 12:00: within 29d23h", newer]
    );
    assert_eq!(kept(&policy("4w2d"), &group).len(), 3);
    assert_eq!(kept(&policy("1y"), &group).len(), 4);
    for text in [
        "",
        "0d",
        "7",
        "d",
        "7s",
        "1d1d",
        "-1d",
        "1 d",
        "99999999999999999999y",
        "9999999999y",
        "7ä",
    ] {
        assert!(text.parse::<Within>().is_err(), "{text:?}");
    }
    assert_eq!(kept(&policy("19000y"), &group).len(), 4);
}

#[test]
fn partial_sets_use_up_nothing_and_stay_only_while_nothing_complete_is_newer() {
    let mut group = [
        "2026-11-18T06:00:00Z",
        "2026-11-19T06:00:00Z",
        "2026-11-20T06:00:00Z",
        "2026-11-20T07:00:00Z",
    ]
    .map(set);
    (group[1].complete, group[3].complete) = (false, false);
    let policy = Policy {
        daily: Limit::Newest(2),
        ..Policy::default()
    };
    let newest = "11-20 07:00: nothing complete is newer";
    assert_eq!(
        kept(&policy, &group),
        ["11-18 06:00: daily", "11-20 06:00: daily", newest]
    );
    // Marked ones stay, whatever they are, and are counted like others.
    (group[0].pinned, group[1].pinned) = (true, true);
    let policy = Policy {
        last: Limit::Newest(1),
        ..Policy::default()
    };
    assert_eq!(
        kept(&policy, &group),
        [
            "11-18 06:00: snap keep",
            "11-19 06:00: snap keep",
            "11-20 06:00: last",
            newest
        ]
    );
    // Where nothing is complete, nothing is removed.
    group
        .iter_mut()
        .for_each(|set| (set.complete, set.pinned) = (false, false));
    assert_eq!(kept(&policy, &group).len(), 4);
}

#[test]
fn a_clock_that_was_once_wrong_does_not_cost_the_newest_sets() {
    let group = [
        "2026-11-19T06:00:00Z",
        "2036-01-01T00:00:00Z",
        "2026-11-20T06:00:00Z",
        "2026-11-21T06:00:00Z",
    ]
    .map(set);
    let policy = Policy {
        daily: Limit::Newest(2),
        ..Policy::default()
    };
    assert_eq!(
        kept(&policy, &group),
        ["11-20 06:00: daily", "11-21 06:00: daily"]
    );
}

#[test]
fn a_policy_that_keeps_nothing_is_known() {
    assert!(Policy::default().is_empty());
    assert!(
        !Policy {
            yearly: Limit::Unlimited,
            ..Policy::default()
        }
        .is_empty()
    );
    assert!(
        !Policy {
            within: Some("1h".parse().unwrap()),
            ..Policy::default()
        }
        .is_empty()
    );
}

#[test]
fn a_limit_is_a_number_or_none_at_all() {
    for (text, limit) in [
        ("0", Limit::Newest(0)),
        ("12", Limit::Newest(12)),
        ("unlimited", Limit::Unlimited),
        ("-1", Limit::Unlimited),
    ] {
        assert_eq!(text.parse(), Ok(limit), "{text}");
    }
    for text in ["", "-2", "1.5", "all", "4294967296"] {
        assert!(text.parse::<Limit>().is_err(), "{text}");
    }
}

#[test]
fn of_what_is_lost_only_the_pinned_stays_and_of_the_rest_all_or_what_the_rules_keep() {
    let mut group = [
        "2026-05-01T00:00:00Z",
        "2026-05-02T00:00:00Z",
        "2026-05-03T00:00:00Z",
        "2026-05-04T00:00:00Z",
    ]
    .map(set);
    for lost in &mut group[2..] {
        (lost.lost, lost.complete) = (true, false);
    }
    group[2].pinned = true;
    let mut policy = Policy {
        lost: true,
        ..Policy::default()
    };
    assert!(!policy.is_empty());
    assert_eq!(
        kept(&policy, &group),
        [
            "05-01 00:00: not lost",
            "05-02 00:00: not lost",
            "05-03 00:00: snap keep"
        ]
    );
    policy.last = Limit::Newest(1);
    assert_eq!(
        kept(&policy, &group),
        ["05-02 00:00: last", "05-03 00:00: snap keep"]
    );
}

/// What tells the buckets of a rule apart, by the set's place.
type Label<'a> = Box<dyn Fn(usize) -> String + 'a>;

/// Whether a rule keeps a set: nothing complete and newer is in its bucket, and fewer than `limit`
/// other buckets have some.
fn keeps(group: &[Candidate], at: usize, limit: Limit, label: &dyn Fn(usize) -> String) -> bool {
    let newer: Vec<String> = (at + 1..group.len())
        .filter(|other| group[*other].complete)
        .map(label)
        .collect();
    let mut buckets = newer.clone();
    buckets.sort();
    buckets.dedup();
    let fits = match limit {
        Limit::Unlimited => true,
        Limit::Newest(count) => buckets.len() < count as usize,
    };
    group[at].complete && !newer.contains(&label(at)) && fits
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![3 => Just(Limit::Newest(0)), 4 => (1..5_u32).prop_map(Limit::Newest), 1 => Just(Limit::Unlimited)]
}

fn policies() -> impl Strategy<Value = Policy> {
    let within = prop_oneof![2 => Just(None), 1 => "[1-9](y|m|w|d|h)".prop_map(|text| Some(text.parse().unwrap()))];
    (
        limit(),
        limit(),
        limit(),
        limit(),
        limit(),
        limit(),
        within,
        any::<bool>(),
    )
        .prop_map(
            |(last, hourly, daily, weekly, monthly, yearly, within, east)| {
                let zone = if east { berlin() } else { TimeZone::UTC };
                Policy {
                    last,
                    hourly,
                    daily,
                    weekly,
                    monthly,
                    yearly,
                    within,
                    zone,
                    lost: false,
                }
            },
        )
}

/// Sets from minutes to months apart, now and then by a clock that went back.
fn groups() -> impl Strategy<Value = Vec<Candidate>> {
    let step = prop_oneof![4 => 1..7200_i64, 4 => 3600..200_000_i64, 2 => 0..10_000_000_i64, 1 => -100_000..0_i64];
    let set = (step, prop::bool::weighted(0.8), prop::bool::weighted(0.1));
    prop::collection::vec(set, 1..40).prop_map(|sets| {
        let mut now = 1_700_000_000;
        let candidate = |(step, complete, marked)| {
            now += step;
            Candidate {
                started: Timestamp::from_second(now).unwrap(),
                complete,
                pinned: marked,
                lost: false,
            }
        };
        sets.into_iter().map(candidate).collect()
    })
}

proptest! {
    #[test]
    fn the_rules_agree_with_a_model_that_judges_each_set_by_itself(policy in policies(), group in groups()) {
        let reasons = apply(&policy, &group);
        let newest = (0..group.len()).rev().find(|at| group[*at].complete);
        for (at, set) in group.iter().enumerate() {
            let label = |form: &'static str| {
                let (group, zone) = (&group, &policy.zone);
                move |at: usize| group[at].started.to_zoned(zone.clone()).strftime(form).to_string()
            };
            let mut expected = Vec::new();
            if set.pinned {
                expected.push(Reason::Pinned);
            }
            let rules: [(Limit, Reason, Label); 6] = [
                (policy.last, Reason::Last, Box::new(|at| at.to_string())),
                (policy.hourly, Reason::Hourly, Box::new(label("%Y-%m-%d %H %z"))),
                (policy.daily, Reason::Daily, Box::new(label("%Y-%m-%d"))),
                (policy.weekly, Reason::Weekly, Box::new(label("%G week %V"))),
                (policy.monthly, Reason::Monthly, Box::new(label("%Y-%m"))),
                (policy.yearly, Reason::Yearly, Box::new(label("%Y"))),
            ];
            for (limit, reason, label) in rules {
                if keeps(&group, at, limit, &label) {
                    expected.push(reason);
                }
            }
            if let (Some(within), Some(newest)) = (&policy.within, newest) {
                let since = &group[newest].started.to_zoned(policy.zone.clone()) - within.span;
                if set.complete && set.started >= since.timestamp() {
                    expected.push(Reason::Within(within.to_string()));
                }
            }
            if expected.is_empty() && newest.is_none_or(|newest| at >= newest) {
                expected.push(Reason::Newest);
            }
            prop_assert_eq!(&reasons[at], &expected, "set {} of {:?}", at, group);
        }
    }

    #[test]
    fn a_second_run_removes_nothing_more(policy in policies(), group in groups()) {
        prop_assume!(!policy.is_empty());
        let reasons = apply(&policy, &group);
        let left: Vec<Candidate> = group.iter().zip(&reasons).filter(|(_, why)| !why.is_empty()).map(|(set, _)| *set).collect();
        prop_assert!(apply(&policy, &left).iter().all(|why| !why.is_empty()));
    }
}
