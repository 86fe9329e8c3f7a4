//! One data set on a server of its own: its sets, and all that is compared with them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{influxd, on_each_file, raw_copy, snap, synced, unpacking};
use super::comparison::{CommandLine, Comparison};
use super::data::{self, Database};
use super::measure::{self, DIR};
use super::results::Line;
use super::rows;
use super::support::influxd::Influxd;
use super::support::{http, utf8};

/// What a live restore calls the database.
const COPY: &str = "copy";

/// How long the server may take to be done with a live restore.
const PATIENCE: Duration = Duration::from_secs(120);

/// Series that every shard holds: the one that made the server make it, and the first of the data.
const SAMPLES: [&str; 2] = ["seed", "agent WHERE host = 'h000000'"];

/// The sets, in directories of these names.
const SNAP_LEGACY: &str = "snap_legacy";
const SNAP_PORTABLE: &str = "snap_portable";
const INFLUXD_LEGACY: &str = "influxd_legacy";
const INFLUXD_PORTABLE: &str = "influxd_portable";

/// A server with one database, and a set of it by each client in each layout.
pub struct Subject {
    server: Influxd,
    host: String,
    database: String,
    /// How many TSM files it has, and their bytes.
    tsm: (usize, u64),
    sets: PathBuf,
}

impl Subject {
    /// Starts a server below `root` and makes the sets, which warms up all that takes part.
    pub fn start(root: &Path, database: &Database) -> Self {
        let server = data::serve(&root.join("server"), std::slice::from_ref(database));
        let sets = root.join("sets");
        fs::create_dir(&sets).expect("a fresh directory");
        let subject = Self {
            host: server.host(),
            tsm: data::tsm_count_and_bytes(&server.data_dir().join(&database.name)),
            server,
            database: database.name.clone(),
            sets,
        };
        for (name, command) in [
            (INFLUXD_LEGACY, subject.backup(influxd, &[])),
            (INFLUXD_PORTABLE, subject.backup(influxd, &["-portable"])),
            (SNAP_LEGACY, subject.backup(snap, &[])),
            (SNAP_PORTABLE, subject.backup(snap, &["-portable"])),
        ] {
            measure::run(&command, &subject.set(name));
            read_once(&subject.set(name));
        }
        subject
    }

    /// All comparisons.
    pub fn comparisons(&self) -> Vec<Comparison<'_>> {
        vec![
            self.legacy_backups(),
            self.portable_backups(),
            self.offline_restores(&rows::OFFLINE, INFLUXD_LEGACY),
            self.offline_restores(&rows::OFFLINE_OWN, SNAP_LEGACY),
            self.unpacking(&rows::UNPACK_OWN, SNAP_PORTABLE),
            self.unpacking(&rows::UNPACK_INFLUXD, INFLUXD_PORTABLE),
            self.live_restores(),
            self.verifying(&rows::VERIFY, SNAP_LEGACY, "*", &["sha256sum"]),
            self.verifying(&rows::VERIFY_OWN, SNAP_PORTABLE, "*.gz", &["gzip", "-t"]),
            self.verifying(
                &rows::VERIFY_INFLUXD,
                INFLUXD_PORTABLE,
                "*.gz",
                &["gzip", "-t"],
            ),
        ]
    }

    /// The size of a portable set of snap's, divided by that of influxd's.
    pub fn portable_size(&self, data: &str) -> Line {
        let size = |set| -> u64 { data::shard_files(&self.set(set)).values().sum() };
        let ratio = size(SNAP_PORTABLE) as f64 / size(INFLUXD_PORTABLE) as f64;
        Line::of_values(&rows::PORTABLE_SIZE, data, [ratio])
    }

    fn set(&self, name: &str) -> PathBuf {
        self.sets.join(name)
    }

    /// A backup into a fresh directory.
    fn backup(&self, client: fn(&[&str]) -> CommandLine, flags: &[&str]) -> CommandLine {
        let common = ["backup", "-database", &self.database, "-host", &self.host];
        client(&[&common, flags, &[DIR]].concat())
    }

    /// Backups in the legacy layout, whose files are influxd's to the byte.
    fn legacy_backups(&self) -> Comparison<'_> {
        let expected = data::shard_files(&self.set(INFLUXD_LEGACY));
        let shards: Vec<_> = expected
            .keys()
            .map(|name| (shard_id(name), name.clone()))
            .collect();
        Comparison::new(
            self.backup(snap, &[]),
            vec![
                (&rows::LEGACY, self.backup(influxd, &[])),
                (&rows::LEGACY_SYNCED, synced(self.backup(influxd, &[]))),
                (&rows::LEGACY_RAW, raw_copy(&self.host, &shards)),
            ],
            move |directory| {
                let found = data::shard_files(directory);
                assert!(found == expected, "{found:?} instead of {expected:?}");
            },
        )
    }

    fn portable_backups(&self) -> Comparison<'_> {
        let expected = data::shard_files(&self.set(INFLUXD_PORTABLE)).len();
        Comparison::new(
            self.backup(snap, &["-portable"]),
            vec![(&rows::PORTABLE, self.backup(influxd, &["-portable"]))],
            move |directory| {
                assert_eq!(data::shard_files(directory).len(), expected, "shard files")
            },
        )
    }

    /// Restores into fresh directories; influxd's are always of its own set.
    fn offline_restores(&self, row: &'static rows::Row, set: &str) -> Comparison<'_> {
        let theirs = self.set(INFLUXD_LEGACY);
        let (meta, data) = (format!("{DIR}/meta"), format!("{DIR}/data"));
        let target = ["restore", "-metadir", &meta, "-datadir", &data, "-db"];
        Comparison::new(
            self.offline_restore(set),
            vec![(
                row,
                influxd(&[&target[..], &[&self.database, utf8(&theirs)]].concat()),
            )],
            |directory| self.expect_tsm(directory),
        )
    }

    /// Restores of a portable set into fresh directories, beside unpacking it.
    fn unpacking(&self, row: &'static rows::Row, set: &str) -> Comparison<'_> {
        Comparison::new(
            self.offline_restore(set),
            vec![(row, unpacking(&self.set(set)))],
            |directory| self.expect_tsm(directory),
        )
    }

    /// A restore by `snap` into fresh directories, which nobody serves.
    fn offline_restore(&self, set: &str) -> CommandLine {
        let (meta, data) = (format!("{DIR}/meta"), format!("{DIR}/data"));
        let target = ["restore", "-metadir", &meta, "-datadir", &data];
        let source = ["-host", "127.0.0.1:1", "-db", &self.database];
        snap(&[&target[..], &source, &[utf8(&self.set(set))]].concat())
    }

    /// Restores of influxd's set into the running server.
    fn live_restores(&self) -> Comparison<'_> {
        let set = self.set(INFLUXD_PORTABLE);
        let args = [
            "restore",
            "-portable",
            "-host",
            &self.host,
            "-db",
            &self.database,
            "-newdb",
            COPY,
            utf8(&set),
        ];
        Comparison::new(snap(&args), vec![(&rows::LIVE, influxd(&args))], |_| {
            self.expect_copy();
            self.server.execute(&format!("DROP DATABASE {COPY}"));
        })
    }

    /// Looking through a set, beside another program that reads each of its files.
    fn verifying(
        &self,
        row: &'static rows::Row,
        set: &str,
        names: &str,
        program: &[&str],
    ) -> Comparison<'_> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let set = self.set(set);
        Comparison::new(
            snap(&["verify", "-deep", "-jobs", &cores.to_string(), utf8(&set)]),
            vec![(row, on_each_file(&set, names, program))],
            |_| {},
        )
    }

    /// Panics unless the TSM files below a directory are as many and as large as the server's.
    fn expect_tsm(&self, directory: &Path) {
        assert_eq!(data::tsm_count_and_bytes(directory), self.tsm, "TSM files");
    }

    /// Waits until the copy in the server is whole: influxd ends before the server is done.
    fn expect_copy(&self) {
        let started = Instant::now();
        while let Err(difference) = self.compare_copy() {
            assert!(started.elapsed() < PATIENCE, "not restored: {difference}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Holds the copy against the original; what differs.
    fn compare_copy(&self) -> Result<(), String> {
        let copy = self.server.data_dir().join(COPY);
        if !copy.exists() {
            return Err("no database".to_owned());
        }
        let tsm = data::tsm_count_and_bytes(&copy);
        if tsm != self.tsm {
            return Err(format!("TSM files: {tsm:?} instead of {:?}", self.tsm));
        }
        for series in SAMPLES {
            let (found, expected) = (self.count(COPY, series), self.count(&self.database, series));
            if found.is_none() || found != expected {
                return Err(format!("values: {found:?} instead of {expected:?}"));
            }
        }
        Ok(())
    }

    /// How many values the server counts in each field; `None` while it cannot answer, because a
    /// shard is being put in place.
    fn count(&self, database: &str, series: &str) -> Option<String> {
        let query = format!("SELECT count(*) FROM {series}");
        let target = format!("/query?db={database}&q={}", http::percent_encode(&query));
        let address = self.server.http_address().parse().expect("an address");
        let response = http::request(address, "POST", &target, "text/plain", b"").ok()?;
        let is_answer = response.status == 200 && !response.text().contains("\"error\"");
        is_answer.then(|| response.text().to_owned())
    }
}

/// Reads the files of a set, which are in the page cache then: a client may have written past it.
fn read_once(set: &Path) {
    for entry in fs::read_dir(set).expect("a set") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let mut file = File::open(path).expect("a file of a set");
            io::copy(&mut file, &mut io::sink()).expect("reading a file of a set");
        }
    }
}

/// The id in the name of a shard file, `<db>.<rp>.<id>.<nn>`.
fn shard_id(name: &str) -> u64 {
    let id = name.rsplit('.').nth(1).and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("no shard id in {name}"))
}
