//! The flags that say how much to print, and in which form.

use clap::Args;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Results too.
    Summary,
    /// Progress too.
    Normal,
    /// Requests, retries and times too.
    Verbose,
}

/// Flags that say how much to print.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print warnings and errors only
    #[arg(long)]
    quiet: bool,
    /// Print warnings, errors and the result only, no progress
    #[arg(long)]
    summary: bool,
    /// Print requests, retries and times too
    #[arg(long)]
    verbose: bool,
    /// Print JSON lines on standard output
    ///
    /// Each is an object with a message_type; docs/schema holds their schemas.
    #[arg(long)]
    pub(crate) json: bool,
}

impl OutputArgs {
    /// Whether details were asked for.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity() == Verbosity::Verbose
    }

    /// How much to print. -summary adds its line to -quiet; both count for more than -verbose.
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.summary, self.quiet, self.verbose) {
            (true, _, _) => Verbosity::Summary,
            (_, true, _) => Verbosity::Quiet,
            (_, _, true) => Verbosity::Verbose,
            (false, false, false) => Verbosity::Normal,
        }
    }
}
