//! What was counted of all shards so far.

use std::collections::BTreeMap;

use super::report::{DatabaseStats, MeasurementStats, PolicyStats, StatsAmount};
use crate::shard::{Name, ShardPath};
use crate::tsm::schema::{Amount, Cardinality, Distinct, HashBudget, Schema, ShardSeries};

/// What was counted so far.
#[derive(Default)]
pub(super) struct Tally {
    policies: BTreeMap<(Name, Name), PolicyTally>,
    /// The series of each database.
    databases: BTreeMap<Name, Distinct>,
    budget: HashBudget,
}

#[derive(Default)]
struct PolicyTally {
    schema: Schema,
    shards: u64,
}

/// What was counted, by database, policy and measurement.
pub(super) struct Counted {
    pub databases: Vec<DatabaseStats>,
    pub retention_policies: Vec<PolicyStats>,
    pub measurements: Vec<MeasurementStats>,
}

impl Tally {
    /// Begins with a shard.
    pub(super) fn begin(&mut self, shard: &ShardPath) {
        self.policy(shard).shards += 1;
    }

    /// Adds a series of the shard.
    pub(super) fn add(&mut self, shard: &ShardPath, series: &ShardSeries) {
        let key = (shard.database.clone(), shard.retention_policy.clone());
        let policy = self.policies.entry(key).or_default();
        if policy.schema.add(shard.id, series, &mut self.budget) {
            let database = self.databases.entry(shard.database.clone()).or_default();
            series.count_into(database, &mut self.budget);
        }
    }

    fn policy(&mut self, shard: &ShardPath) -> &mut PolicyTally {
        let key = (shard.database.clone(), shard.retention_policy.clone());
        self.policies.entry(key).or_default()
    }

    /// All that was counted.
    pub(super) fn counted(self) -> Counted {
        let mut counted = Counted {
            databases: Vec::new(),
            retention_policies: Vec::new(),
            measurements: Vec::new(),
        };
        let mut amounts: BTreeMap<Name, (u64, Amount)> = BTreeMap::new();
        for ((database, policy), tally) in self.policies {
            let (mut amount, mut points) = (Amount::default(), 0.0);
            let mut series = Cardinality::default();
            for (name, totals) in &tally.schema.measurements {
                amount.join(&totals.amount);
                points += totals.points;
                let of_measurement = totals.series.cardinality();
                series.count += of_measurement.count;
                series.is_estimate |= of_measurement.is_estimate;
                let measurement = MeasurementStats::of(&database, &policy, name, totals);
                counted.measurements.push(measurement);
            }
            let of_database = amounts.entry(database.clone()).or_default();
            of_database.0 += tally.shards;
            of_database.1.join(&amount);
            counted.retention_policies.push(PolicyStats {
                database: database.to_string(),
                retention_policy: policy.to_string(),
                shards: tally.shards,
                measurements: tally.schema.measurements.len() as u64,
                series: series.count,
                series_is_estimate: series.is_estimate,
                points: f64::round(points) as u64,
                amount: StatsAmount::of(&amount),
            });
        }
        for (database, (shards, amount)) in amounts {
            let series = self.databases.get(&database);
            let series = series.map(Distinct::cardinality).unwrap_or_default();
            counted.databases.push(DatabaseStats {
                database: database.to_string(),
                shards,
                series: series.count,
                series_is_estimate: series.is_estimate,
                amount: StatsAmount::of(&amount),
            });
        }
        counted
    }
}
