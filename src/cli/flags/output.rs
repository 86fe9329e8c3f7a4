//! The flags that say how much to print, and in which form.

use clap::Args;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Errors.
    Quiet,
    /// Progress and results too.
    Normal,
    /// Requests, retries and times too.
    Verbose,
}

/// Flags that say how much to print.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print errors only
    #[arg(long)]
    quiet: bool,
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

    /// How much to print; -quiet counts for more than -verbose.
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        }
    }
}
