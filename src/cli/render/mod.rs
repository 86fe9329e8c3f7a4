//! How results and progress are shown: text, JSON lines, bars, tables and metrics.

mod bars;
pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod output;
pub(crate) mod table;
pub(crate) mod terminal;
mod text;
