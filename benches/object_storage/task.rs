//! What is done by `snap` and by the others, and what each run must leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::data::{self, Database};
use super::measure::{self, DIR, Usage};
use super::report::{Line, Requests, Runs};
use super::servers;
use super::support::influxd::{Influxd, influxd_binary};
use super::support::object_storage::{Repository, binary, seaweedfs};
use super::support::proxy::Proxy;
use super::support::{tree, utf8};

/// What a live restore calls the database.
const COPY: &str = "copy";

/// How long the server may take to be done with a live restore.
const PATIENCE: Duration = Duration::from_secs(120);

/// Copies a set of influxd's up that it has just made, and down before it restores it. The first
/// three arguments are rclone, the directory and what rclone calls the repository; then comes what
/// influxd is run with.
const BACKUP: &str = r#"rclone=$1; dir=$2; remote=$3; shift 3
"$@" "$dir" && "$rclone" copy "$dir" "$remote""#;
const RESTORE: &str = r#"rclone=$1; dir=$2; remote=$3; shift 3
"$rclone" copy "$remote" "$dir" && "$@" "$dir""#;

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Legacy,
    Portable,
    Unchanged,
    Offline,
    Live,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Snap,
    Others,
}

/// Each of them, in the order of a round.
const CLIENTS: [Client; 2] = [Client::Snap, Client::Others];

impl Task {
    pub const ALL: [Self; 5] = [
        Self::Legacy,
        Self::Portable,
        Self::Unchanged,
        Self::Offline,
        Self::Live,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Legacy => "legacy backup",
            Self::Portable => "portable backup",
            Self::Unchanged => "-incremental, nothing changed / full legacy backup",
            Self::Offline => "offline restore of a legacy set",
            Self::Live => "live restore of a portable set",
        }
    }

    /// Whether it makes a set, of which layout.
    fn backup_flags(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Legacy | Self::Unchanged => Some(&[]),
            Self::Portable => Some(&["-portable"]),
            Self::Offline | Self::Live => None,
        }
    }
}

/// A server with a database, and sets of it in object storage.
pub struct Bench {
    server: Influxd,
    database: String,
    /// How many TSM files it has, and their bytes.
    tsm: (usize, u64),
    shards: usize,
    /// Where runs work.
    directory: PathBuf,
    /// A set of each client in each layout.
    sets: BTreeMap<(&'static str, bool), Repository<'static>>,
}

impl Bench {
    /// Starts a server below `root`, and makes sets of it, which warms all up that takes part.
    pub fn start(root: &Path, database: &Database) -> Self {
        fs::create_dir(root).expect("a fresh directory");
        let server = data::serve(&root.join("server"), std::slice::from_ref(database));
        let mut bench = Self {
            tsm: data::tsm_count_and_bytes(&server.data_dir().join(&database.name)),
            server,
            database: database.name.clone(),
            shards: database.shards.len(),
            directory: root.join("run"),
            sets: BTreeMap::new(),
        };
        for client in CLIENTS {
            for task in [Task::Legacy, Task::Portable] {
                let repository = seaweedfs().repository("set");
                bench.run(task, client, &repository);
                bench
                    .sets
                    .insert((client.name(), task == Task::Portable), repository);
            }
        }
        bench
    }

    /// Does a task so often with each client, and once more for its requests.
    pub fn compare(&self, task: Task, data: &'static str, rounds: usize) -> Line {
        let mut runs = [Runs::default(), Runs::default()];
        for round in 0..rounds {
            let mut order = [0, 1];
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let repository = self.repository(task, CLIENTS[at]);
                let before = servers::seconds(&self.server, seaweedfs());
                let (usage, on_disk) = self.run(task, CLIENTS[at], &repository);
                runs[at]
                    .servers
                    .push(servers::seconds(&self.server, seaweedfs()) - before);
                runs[at].usages.push(usage);
                runs[at].on_disk = on_disk;
                self.clear(task, &repository);
            }
        }
        for (client, runs) in CLIENTS.into_iter().zip(&mut runs) {
            let repository = self.repository(task, client);
            let proxy = Proxy::start(seaweedfs().address);
            self.run(task, client, &repository.through(proxy.address));
            runs.requests = Requests::of(&proxy.take_requests());
            self.clear(task, &repository);
        }
        let [snap, others] = runs;
        Line {
            title: task.title(),
            data,
            snap,
            others,
        }
    }

    /// The repository that a run uses.
    fn repository(&self, task: Task, client: Client) -> Repository<'static> {
        match task {
            Task::Offline => self.sets[&(client.name(), false)].clone(),
            Task::Live => self.sets[&(client.name(), true)].clone(),
            Task::Unchanged if client == Client::Snap => {
                let repository = seaweedfs().repository("incremental");
                self.run(Task::Legacy, client, &repository);
                repository
            }
            _ => seaweedfs().repository("run"),
        }
    }

    /// Removes what a backup has left in the storage.
    fn clear(&self, task: Task, repository: &Repository) {
        if task.backup_flags().is_some() {
            repository.purge();
        }
    }

    /// Does a task once; what it took, and the bytes that it left on the local disk beside what it
    /// restored.
    fn run(&self, task: Task, client: Client, repository: &Repository) -> (Usage, u64) {
        fs::create_dir_all(self.directory.join("tmp")).expect("a fresh directory");
        let command = self.command(task, client, repository);
        let usage = measure::run(&command, &self.directory);
        self.check(task, repository);
        for restored in ["meta", "data"] {
            let _ = fs::remove_dir_all(self.directory.join(restored));
        }
        let left: u64 = tree::files(&self.directory)
            .values()
            .map(|content| content.len() as u64)
            .sum();
        fs::remove_dir_all(&self.directory).expect("removing what a run left");
        (usage, left)
    }

    /// The command line of a run.
    fn command(&self, task: Task, client: Client, repository: &Repository) -> Vec<String> {
        let host = self.server.host();
        let mut words = match task {
            Task::Legacy | Task::Portable | Task::Unchanged => {
                let flags = task.backup_flags().unwrap_or_default();
                let common = ["backup", "-database", &self.database, "-host", &host];
                [&common, flags].concat()
            }
            Task::Offline => vec!["restore", "-metadir", META, "-datadir", DATA],
            Task::Live => vec!["restore", "-portable", "-host", &host, "-newdb", COPY],
        };
        if task.backup_flags().is_none() {
            words.extend(["-db", &self.database]);
        }
        let is_incremental = task == Task::Unchanged && client == Client::Snap;
        if is_incremental {
            words.push("-incremental");
        }
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let environment = [("HOME", DIR), ("TMPDIR", TMP)];
        let environment = environment.map(|(name, value)| format!("{name}={value}"));
        match client {
            Client::Snap => {
                let variables = repository.variables().into_iter();
                let variables = variables.map(|(name, value)| format!("{name}={value}"));
                ["env".to_owned()]
                    .into_iter()
                    .chain(environment)
                    .chain(variables)
                    .chain([env!("CARGO_BIN_EXE_snap").to_owned()])
                    .chain(words)
                    .chain([repository.url()])
                    .collect()
            }
            Client::Others => {
                let script = match task.backup_flags() {
                    Some(_) => BACKUP,
                    None => RESTORE,
                };
                let variables = repository.rclone_variables().into_iter();
                let variables = variables.map(|(name, value)| format!("{name}={value}"));
                let (rclone, influxd) = (binary("rclone"), influxd_binary());
                let shell = [
                    "sh",
                    "-c",
                    script,
                    "sh",
                    utf8(&rclone),
                    LOCAL,
                    &repository.remote(""),
                    utf8(&influxd),
                ]
                .map(str::to_owned);
                ["env".to_owned()]
                    .into_iter()
                    .chain(environment)
                    .chain(variables)
                    .chain(shell)
                    .chain(words)
                    .collect()
            }
        }
    }

    /// Panics unless what a run left is whole.
    fn check(&self, task: Task, repository: &Repository) {
        match task {
            Task::Legacy | Task::Portable | Task::Unchanged => {
                let names = repository.names();
                // Those of metastores and manifests have one dot.
                let shards = names
                    .iter()
                    .filter(|name| !name.contains('/') && name.split('.').count() == 4);
                assert_eq!(shards.count(), self.shards, "shards in {names:?}");
            }
            Task::Offline => {
                let restored = data::tsm_count_and_bytes(&self.directory.join("data"));
                assert_eq!(restored, self.tsm, "TSM files");
            }
            Task::Live => {
                self.expect_copy();
                self.server.execute(&format!("DROP DATABASE {COPY}"));
            }
        }
    }

    /// Waits until the copy in the server is whole: influxd ends before the server is done.
    fn expect_copy(&self) {
        let copy = self.server.data_dir().join(COPY);
        let started = Instant::now();
        while !copy.exists() || data::tsm_count_and_bytes(&copy) != self.tsm {
            assert!(started.elapsed() < PATIENCE, "not restored");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Where a run works, below its directory.
const META: &str = "{dir}/meta";
const DATA: &str = "{dir}/data";
const TMP: &str = "{dir}/tmp";
const LOCAL: &str = "{dir}/local";

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Snap => "snap",
            Self::Others => "influxd + rclone",
        }
    }
}
