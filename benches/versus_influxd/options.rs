//! The flags that benchmarks have in common.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub struct CommonOptions {
    /// Only the data sets whose names hold this
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub data: String,
    /// How often each client is run
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rounds: usize,
    /// Shards so much larger, or smaller
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub scale: f64,
    /// Write the results between the two marks of this file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    // Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}
