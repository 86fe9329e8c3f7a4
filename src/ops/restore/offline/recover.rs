//! Putting back what a restore that was killed had moved.

use std::path::Path;

use anyhow::Result;

use super::journal::{SwapJournal, Targets};
use super::options::RestoreOptions;
use super::staging::{HiddenFolders, STAGING};
use crate::context::Context;
use crate::error::ErrorKind;
use crate::io::durable;

/// Whether a run that was killed, or goes on, has files of its own in a data directory.
pub(in crate::ops) fn has_interrupted_restore(datadir: &Path) -> bool {
    datadir.join(STAGING).is_dir()
}

/// Puts back what a killed run had moved, and clears away what it had prepared.
///
/// # Errors
///
/// [`ErrorKind::Locked`] when that run still goes on.
pub(crate) fn recover(options: &RestoreOptions, context: Context<'_>) -> Result<()> {
    let Some(home) = options.home().filter(|home| home.join(STAGING).is_dir()) else {
        return Ok(());
    };
    let hidden = HiddenFolders::claim(options, home, context)?;
    if options.dry_run {
        context.warn(
            "an interrupted restore left its files here; a run without -dry-run puts them back",
        );
        return Ok(());
    }
    if let Some(journal) = SwapJournal::read(&hidden.journal(), &Targets::of(options))? {
        put_back(&journal, &hidden, context)?;
    }
    if let Some(metadir) = options.metadir.as_ref().filter(|metadir| metadir.is_dir()) {
        durable::remove_unfinished(metadir)?;
    }
    hidden.remove()
}

fn put_back(journal: &SwapJournal, hidden: &HiddenFolders<'_>, context: Context<'_>) -> Result<()> {
    if let Some(place) = journal.used() {
        return Err(ErrorKind::Refused
            .error(format!(
                "an interrupted restore left its journal, and {} was changed since",
                place.display()
            ))
            .hint(format!(
                "to keep what is there now, remove {}",
                hidden.main().display()
            ))
            .into());
    }
    context.status("putting back what an interrupted restore had moved");
    journal.roll_back()?;
    durable::remove_if_there(&hidden.journal())?;
    durable::sync_dir(hidden.main())
}
