//! Rolling a restore back: what the journal says was moved goes where it was.

use std::path::Path;

use anyhow::{Context, Result};

use super::journal::{Move, Replaced, SwapJournal, write_owned};
use crate::io::durable;
use crate::io::open::read_bounded;
use crate::wire::MAX_META_BYTES;

impl SwapJournal {
    /// Puts everything back.
    ///
    /// # Errors
    ///
    /// When something cannot be moved.
    pub(crate) fn roll_back(&self) -> Result<()> {
        self.files.iter().try_for_each(Replaced::put_back)?;
        self.moves.iter().rev().try_for_each(Move::put_back)
    }
}

impl Replaced {
    fn put_back(&self) -> Result<()> {
        let Some(old) = &self.old else {
            return durable::remove_if_there(&self.place);
        };
        let content = read_bounded(old, MAX_META_BYTES)
            .with_context(|| format!("reading {}", old.display()))?;
        write_owned(&self.place, &content)
    }
}

impl Move {
    fn put_back(&self) -> Result<()> {
        let back = |from: &Path, to: &Path| durable::rename(from, to).context("moving back");
        // The new directory is in its place if it is no longer where it was prepared. Where what it
        // replaced is gone, it stays.
        if let Some(new) = &self.new
            && !new.exists()
            && self.place.exists()
            && (!self.replaces || self.old.exists())
        {
            back(&self.place, new)?;
        }
        if self.old.exists() {
            back(&self.old, &self.place)?;
        }
        Ok(())
    }
}
