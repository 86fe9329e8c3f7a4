//! Which set is meant by what was typed, and what is said where there is none.

use std::ffi::OsStr;

use super::super::location::Location;
use super::super::set::Set;
use super::super::{manifest, names};
use super::Catalog;
use super::found_sets::id_of;
use crate::error::{Error, ErrorKind};
use crate::text::few_names;

impl Catalog {
    /// Finds a set by its id, the beginning of it, or as `latest`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where there is none of that name; [`ErrorKind::Usage`] where there
    /// are several.
    pub fn find(&self, name: &str) -> Result<usize, Error> {
        let directory = self.place();
        if name == "latest" {
            return self.latest();
        }
        let known: Vec<usize> = (0..self.sets.len())
            .filter(|at| self.sets[*at].is_known())
            .collect();
        if let Some(exact) = known.iter().find(|at| self.sets[**at].id == name) {
            return Ok(*exact);
        }
        let ids = |sets: &[usize]| {
            let newest_first = sets.iter().rev();
            few_names(newest_first.map(|at| self.sets[*at].id.as_str()))
        };
        let lost = |file: &&String| !name.is_empty() && id_of(file).starts_with(name);
        if let Some(lost) = self.damaged.iter().find(lost) {
            let fault = ErrorKind::Damage.error(format!(
                "'{name}' may mean the set of {directory}/{lost}, which is damaged"
            ));
            return Err(fault.hint(format!("there are: {}", ids(&known))));
        }
        let close: Vec<usize> = known
            .iter()
            .copied()
            .filter(|at| !name.is_empty() && self.sets[*at].id.as_str().starts_with(name))
            .collect();
        match close[..] {
            [one] => Ok(one),
            [] if known.is_empty() => Err(self.nothing()),
            [] => Err(ErrorKind::NoBackup
                .error(format!("{directory} has no set '{name}'"))
                .hint(format!("there are: {}", ids(&known)))),
            _ => Err(ErrorKind::Usage
                .error(format!("'{name}' is the beginning of more than one set"))
                .hint(format!("there are: {}", ids(&close)))),
        }
    }

    /// The newest set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where there is none.
    pub fn latest(&self) -> Result<usize, Error> {
        self.sets
            .iter()
            .rposition(Set::is_known)
            .ok_or_else(|| self.nothing())
    }

    fn nothing(&self) -> Error {
        let is_sign = |name: &&String| {
            names::meta_number(name).is_some() || manifest::stamp_of_manifest(name).is_some()
        };
        if let Some(name) = self.others.keys().find(is_sign) {
            let (directory, what) = (self.place(), self.absence(name));
            let fault =
                ErrorKind::NoBackup.error(format!("{directory} holds no backup: {name} {what}"));
            return fault.hint("name the directory that the files are in");
        }
        ErrorKind::NoBackup
            .error(format!(
                "{} holds no backup: there is no meta.NN and no manifest",
                self.place()
            ))
            .hint(where_backups_are(&self.place()))
    }
}

/// What to name as PATH instead of a place that holds no backup.
pub(crate) fn where_backups_are(place: &str) -> &'static str {
    match Location::is_url(OsStr::new(place)) {
        true => {
            "PATH is the URL that `snap backup` wrote to, with its whole prefix; there may also be \
             nothing yet"
        }
        false => "PATH is the directory that `snap backup` or `influxd backup` wrote into",
    }
}
