//! How results and progress are shown: text, JSON lines, bars, tables and metrics.

mod bars;
pub(crate) mod differences;
pub(crate) mod json;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod output;
pub(crate) mod request_log;
mod rows;
mod run_state;
mod schema;
mod screen;
pub(crate) mod sets;
pub(crate) mod table;
mod tally;
pub(crate) mod terminal;
mod text;
pub(crate) mod width;

pub use schema::schemas;
pub(crate) use tally::Tally;
