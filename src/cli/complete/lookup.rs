//! What only a disk or a server knows: sets, databases, profiles. Whoever waits at a prompt waits
//! for a moment only, and is told nothing of what went wrong.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::{Arg, Command};
use jiff::tz;

use super::Candidate;
use super::typed::Typed;
use crate::cancel::Cancel;
use crate::cli::flags::argv::CommandLine;
use crate::cli::flags::config::{ConfigValue, Profile};
use crate::cli::flags::defaults::{Defaults, profiles};
use crate::cli::flags::known::find;
use crate::cli::flags::profiles::PATH;
use crate::cli::flags::values;
use crate::cli::render::sets::{kind, state_of};
use crate::client::{Address, Client, Timeouts};
use crate::context::Context;
use crate::error::Error;
use crate::influxd_dir::LocalMeta;
use crate::metastore::Data;
use crate::ops::{SetSummary, list};
use crate::repository::Location;
use crate::server::MetaStore;
use crate::text::{plural, size};

/// How long a disk or a server is waited for; longer in a debug build, of which tests run many at a
/// time.
const MOMENT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 300 });

/// What was typed, and what holds beside it.
pub(super) struct Lookup<'a> {
    /// With what the environment and the configuration add.
    line: Typed<'a>,
    profiles: Vec<Profile>,
}

impl<'a> Lookup<'a> {
    /// Reads the configuration, where there is one.
    pub(super) fn new(root: &'a Command, typed: &Typed<'a>) -> Self {
        let (owned_root, words) = (root.clone(), typed.words());
        // The file can lie on a disk that does not answer, and need not be a file.
        let configured = in_a_moment(move || Ok(configured(&owned_root, words)?));
        let (profiles, completed) = configured.unwrap_or_default();
        Self {
            line: match &completed {
                Some(words) => Typed::read(root, words),
                None => typed.clone(),
            },
            profiles,
        }
    }

    /// The profiles, each with the server and directory that it names.
    pub(super) fn profiles(&self) -> Vec<Candidate> {
        let named = |profile: &Profile| {
            let values = ["host", PATH]
                .iter()
                .flat_map(|key| values_of(profile, key));
            let about: Vec<&str> = values.collect();
            Candidate::new(&profile.name, about.join(", "))
        };
        self.profiles.iter().map(named).collect()
    }

    /// The servers that are named somewhere.
    pub(super) fn hosts(&self, flag: &Arg) -> Vec<Candidate> {
        let mut hosts = Vec::new();
        for profile in &self.profiles {
            let about = format!("of profile {}", profile.name);
            let of_profile = values_of(profile, "host");
            hosts.extend(of_profile.map(|host| Candidate::new(host, &about)));
        }
        let host = env::var("SNAP_HOST").ok().filter(|host| !host.is_empty());
        hosts.extend(host.map(|host| Candidate::new(host, "SNAP_HOST")));
        let default = flag.get_default_values().first();
        let default = default.map(|host| Candidate::new(host.to_string_lossy(), "the default"));
        hosts.extend(default);
        let mut seen = HashSet::new();
        hosts.retain(|host| seen.insert(host.word.clone()));
        hosts
    }

    /// The sets of the backup directory, newest first, by their ids.
    pub(super) fn sets(&self) -> Vec<Candidate> {
        let repository = self.repository();
        let sets = summaries(repository.clone());
        let mut candidates: Vec<Candidate> = match sets {
            Some(sets) => sets.iter().rev().map(described).collect(),
            None => {
                let ids = recorded_ids(repository).into_iter().rev();
                ids.map(Candidate::bare).collect()
            }
        };
        if !candidates.is_empty() {
            candidates.insert(0, Candidate::new("latest", "the newest"));
        }
        candidates
    }

    /// The sets of the directory that holds where none is typed, for a command that takes a set
    /// without one.
    pub(super) fn sets_of_default(&self, command: &Command) -> Vec<Candidate> {
        let is_named = self.line.argument(PATH).is_some()
            || env::var_os("SNAP_DIR").is_some_and(|path| !path.is_empty());
        match is_named || command.is_allow_missing_positional_set() {
            true => self.sets(),
            false => Vec::new(),
        }
    }

    /// The databases that can be taken or brought back.
    pub(super) fn databases(&self) -> Vec<Candidate> {
        sorted(self.held().into_iter().map(|(database, _)| database))
    }

    /// The retention policies of the database that was typed, or of all.
    pub(super) fn retention_policies(&self) -> Vec<Candidate> {
        let typed = self.line.value("database");
        let is_meant = |name: &str| typed.is_none_or(|typed| typed == OsStr::new(name));
        let held = self.held().into_iter();
        let meant = held.filter(|(database, _)| is_meant(database));
        sorted(meant.flat_map(|(_, policies)| policies))
    }

    pub(super) fn time_zones(&self) -> Vec<Candidate> {
        let zones = tz::db().available();
        zones.map(|zone| Candidate::bare(zone.as_str())).collect()
    }

    fn repository(&self) -> Location {
        // Sets are copied from the first of two.
        let named = self.line.argument(PATH);
        let typed = named.or_else(|| self.line.argument("source"));
        let typed = typed.map(expanded);
        let read = typed.and_then(|typed| Location::parse(typed).ok());
        values::repository(read.as_ref())
    }

    /// Databases, each with its retention policies: those of the server for a backup, and else those
    /// of the backup directory.
    fn held(&self) -> Vec<(String, Vec<String>)> {
        if self.line.scope().get_name() == "backup" {
            let data = self.server_metastore();
            let databases = data.into_iter().flat_map(|data| data.databases);
            let named = databases.map(|database| {
                let policies = database.retention_policies.into_iter();
                (database.name, policies.map(|policy| policy.name).collect())
            });
            return named.collect();
        }
        let mut held = Vec::new();
        for set in self.chosen_sets() {
            let databases = set.databases.iter();
            held.extend(databases.map(|name| (name.clone(), policies_of(&set, name))));
        }
        held
    }

    fn server_metastore(&self) -> Option<Data> {
        let metadir = self.line.value("metadir").map(expanded);
        let default = find(self.line.scope(), "host")?
            .get_default_values()
            .first();
        let host = self
            .line
            .value("host")
            .or(default.map(|host| host.as_os_str()));
        let host = host?.to_str()?.to_owned();
        in_a_moment(move || match metadir {
            Some(metadir) => Data::read(&LocalMeta::open(&metadir)?.data()?),
            None => running_metastore(&host),
        })
    }

    /// The sets of the backup directory, or the one that was typed.
    fn chosen_sets(&self) -> Vec<SetSummary> {
        let mut sets = summaries(self.repository()).unwrap_or_default();
        let id = self.line.argument("set").and_then(OsStr::to_str);
        if let Some(id) = id.filter(|id| *id != "latest") {
            sets.retain(|set| set.id.to_string().starts_with(id));
        }
        sets
    }
}

/// The profiles of the configuration, and the words of a command line with what the configuration
/// and the environment add; none where these do not go together.
fn configured(
    root: &Command,
    words: Vec<OsString>,
) -> Result<(Vec<Profile>, Option<Vec<OsString>>), Error> {
    let line = CommandLine::read(root, words)?;
    let profiles = profiles(&line).map_or_else(|_| Vec::new(), |(_, profiles)| profiles);
    let defaults = Defaults::of(root, &line).ok();
    let completed = defaults.map(|defaults| line.for_clap(&defaults.words).split_off(1));
    Ok((profiles, completed))
}

/// What comes of it, unless it fails or takes longer than a moment. A name that does not resolve
/// and a disk that does not answer cannot be interrupted: they are left behind.
fn in_a_moment<T: Send + 'static>(look: impl FnOnce() -> Result<T> + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(look()));
    receiver.recv_timeout(MOMENT).ok()?.ok()
}

fn running_metastore(host: &str) -> Result<Data> {
    let address: Address = host.parse().map_err(anyhow::Error::msg)?;
    let timeouts = Timeouts {
        connect: MOMENT,
        idle: MOMENT,
        attempt: MOMENT,
    };
    let client = Client::new(address, None, timeouts, Cancel::default());
    Data::read(&client.metastore()?.meta)
}

/// The sets of a directory, oldest first.
fn summaries(repository: Location) -> Option<Vec<SetSummary>> {
    in_a_moment(move || Ok(list(&repository, Context::silent())?.sets))
}

/// The ids of the sets that have a record or a manifest, by the names of these alone: the records
/// of many large sets take longer than a moment to read.
fn recorded_ids(repository: Location) -> BTreeSet<String> {
    let ids = in_a_moment(move || {
        let Some(directory) = repository.directory() else {
            return Ok(BTreeSet::new());
        };
        let mut ids = ids_in(&directory.join(".snap"), ".json");
        ids.extend(ids_in(directory, ".manifest"));
        Ok(ids)
    });
    ids.unwrap_or_default()
}

fn ids_in(folder: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned));
    // A document that is being written has a name that begins with a dot.
    ids.filter(|id| !id.starts_with('.')).collect()
}

fn described(set: &SetSummary) -> Candidate {
    let about = format!(
        "{}, {}, {}, {}",
        kind(set.kind),
        state_of(set),
        plural(set.shards, "shard"),
        size(set.size)
    );
    Candidate::new(set.id.to_string(), about)
}

/// The policies that a set has of a database. Both names can hold dots: `a.b.c` is of `a.b`, where
/// the set has that, and else of `a`.
fn policies_of(set: &SetSummary, database: &str) -> Vec<String> {
    let policy_in = |name: &str, database: &str| -> Option<String> {
        Some(name.strip_prefix(database)?.strip_prefix('.')?.to_owned())
    };
    let longer: Vec<&String> = set
        .databases
        .iter()
        .filter(|other| other.len() > database.len())
        .collect();
    let names = set.retention_policies.iter();
    let own = names.filter(|name| longer.iter().all(|other| policy_in(name, other).is_none()));
    own.filter_map(|name| policy_in(name, database)).collect()
}

/// A path as the shell will pass it on: it has not put the home directory in the place of `~` yet.
fn expanded(path: &OsStr) -> PathBuf {
    let path = Path::new(path);
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path.to_owned(),
    }
}

/// The values that a profile gives a flag.
fn values_of<'a>(profile: &'a Profile, key: &'a str) -> impl Iterator<Item = &'a str> {
    let entries = profile.entries.iter().filter(move |entry| entry.key == key);
    entries.filter_map(|entry| match &entry.value {
        ConfigValue::Text(text) => Some(text.as_str()),
        ConfigValue::Switch(_) | ConfigValue::Other(_) => None,
    })
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<Candidate> {
    let names: BTreeSet<String> = names.collect();
    names.into_iter().map(Candidate::bare).collect()
}
