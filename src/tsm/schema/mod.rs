//! What is in TSM files, by their indexes: measurements, series, fields with their types, tags, and
//! how much of each there is.
//!
//! The files of a shard are walked in step ([`merge`]), so that what several of them hold counts
//! once. How many values a block has, the index does not tell: a [`sample`] of the blocks gives an
//! estimate, or all are read ([`count`]). What is counted of shards comes together in a [`Schema`].
//! It takes memory for each measurement, field and tag, and a bounded amount for their series and
//! the values of tags ([`distinct`]).

mod count;
mod distinct;
mod index_copy;
mod merge;
mod sample;
mod shard;
#[cfg(test)]
mod shard_tests;
mod spans;
mod totals;

pub(crate) use distinct::{Cardinality, Distinct, HashBudget, hash};
pub(crate) use index_copy::IndexCopy;
pub(crate) use sample::BlockSample;
pub(crate) use shard::{SeriesWalk, ShardFile, ShardSeries};
pub(crate) use totals::{Amount, FieldTotals, MeasurementTotals, Schema};
