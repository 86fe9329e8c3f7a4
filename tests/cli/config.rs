//! Flags that were not typed: which of them hold, and what is said of those that mean nothing.

use std::fs;
use std::path::PathBuf;

use crate::support::fixture::Fixture;
use crate::support::process::{Run, Snap};
use crate::support::{tree, utf8};
use influx_snap::repository::{Catalog, Layout};

/// A server with a shard each of the databases `a` to `e`.
fn five_databases() -> Fixture {
    Fixture::holding(&[
        ("a", "rp", 1),
        ("b", "rp", 2),
        ("c", "rp", 3),
        ("d", "rp", 4),
        ("e", "rp", 5),
    ])
}

impl Fixture {
    /// Writes the configuration; `HOST` in it is the server's.
    fn configure(&self, text: &str) -> PathBuf {
        let path = self.path("config.toml");
        fs::write(&path, text.replace("HOST", &self.peer.host())).expect("writing a configuration");
        path
    }

    /// Runs with this configuration.
    fn run_configured(&self, args: &[&str], environment: &[(&str, &str)]) -> Run {
        let prepared = Snap::new(args)
            .dir(self.folder.path())
            .env("SNAP_CONFIG", self.path("config.toml"));
        environment
            .iter()
            .fold(prepared, |run, (name, value)| run.env(name, value))
            .run()
    }

    /// Database and layout of the only set in a folder, which is removed.
    fn made_in(&self, folder: &str) -> (Option<String>, Layout) {
        let contents = Catalog::read(self.path(folder)).expect("a backup");
        let record = contents.records().next().expect("a set");
        let made = (record.selection.database.clone(), record.layout);
        fs::remove_dir_all(self.path(folder)).expect("removing a backup");
        made
    }
}

/// Arguments, environment, and the folder, database and layout of the set that they make.
type Case<'a> = (
    &'a [&'a str],
    &'a [(&'a str, &'a str)],
    &'a str,
    &'a str,
    Layout,
);

#[test]
fn what_is_typed_counts_most_and_then_the_environment_the_profile_and_the_default() {
    let fixture = five_databases();
    fixture.configure(
        "[default]\nhost = \"HOST\"\ndatabase = \"a\"\npath = \"from default\"\n\
         [prod]\ndatabase = \"b\"\npath = \"from profile\"\nretries = 0\n\
         [prod.backup]\ndatabase = \"c\"\nportable = true\n[prod.verify]\ndeep = true\n",
    );
    let prod = ["-profile", "prod", "backup"];
    let variable = [
        ("SNAP_DATABASE", "d"),
        ("SNAP_PORTABLE", "0"),
        ("SNAP_DIR", "from environment"),
    ];
    let cases: [Case; 7] = [
        (&["backup"], &[], "from default", "a", Layout::Legacy),
        (&prod, &[], "from profile", "c", Layout::Portable),
        (
            &["backup", "-profile=prod"],
            &[],
            "from profile",
            "c",
            Layout::Portable,
        ),
        (
            &["backup"],
            &[("SNAP_PROFILE", "prod")],
            "from profile",
            "c",
            Layout::Portable,
        ),
        (&prod, &variable, "from environment", "d", Layout::Legacy),
        (
            &[&prod[..], &["-db", "e", "-portable", "typed"]].concat(),
            &variable,
            "typed",
            "e",
            Layout::Portable,
        ),
        (
            &[&prod[..], &["-portable=false", "--", "-typed"]].concat(),
            &[],
            "-typed",
            "c",
            Layout::Legacy,
        ),
    ];
    for (args, environment, folder, database, layout) in cases {
        fixture.run_configured(args, environment).expect(0);
        assert_eq!(
            fixture.made_in(folder),
            (Some(database.to_owned()), layout),
            "{args:?} {environment:?}"
        );
    }
    // Empty variables are none, and so is a profile without a name.
    fixture
        .run_configured(
            &["backup"],
            &[
                ("SNAP_DATABASE", ""),
                ("SNAP_DIR", ""),
                ("SNAP_PROFILE", ""),
            ],
        )
        .expect(0);
    assert_eq!(fixture.made_in("from default").0.as_deref(), Some("a"));
    assert_eq!(tree::names(fixture.folder.path()), ["config.toml"]);
}

#[test]
fn the_file_is_the_one_that_was_named_or_lies_in_the_home() {
    let fixture = five_databases();
    let typed = fixture.configure("[default]\nhost = \"HOST\"\ndatabase = \"a\"\n");
    let text = fs::read_to_string(&typed).expect("a configuration");
    for (folder, database) in [("home/.config/snap", "b"), ("xdg/snap", "c")] {
        fs::create_dir_all(fixture.path(folder)).expect("a folder");
        let text = text.replace("database = \"a\"", &format!("database = \"{database}\""));
        fs::write(fixture.path(folder).join("config.toml"), text).expect("writing a configuration");
    }
    // The variable that tests run with names no file.
    let unset = |args: &[&str]| {
        let mut all = vec!["-u", "SNAP_CONFIG", env!("CARGO_BIN_EXE_snap")];
        all.extend(args);
        let mut command = std::process::Command::new("env");
        command
            .args(all)
            .current_dir(fixture.folder.path())
            .env("HOME", fixture.path("home"))
            .env_remove("XDG_CONFIG_HOME");
        command
    };
    assert!(unset(&["backup"]).output().expect("env").status.success());
    assert_eq!(fixture.made_in("backup").0.as_deref(), Some("b"));
    assert!(
        unset(&["backup"])
            .env("XDG_CONFIG_HOME", fixture.path("xdg"))
            .output()
            .expect("env")
            .status
            .success()
    );
    assert_eq!(fixture.made_in("backup").0.as_deref(), Some("c"));
    assert!(
        unset(&["backup", "-config", utf8(&typed)])
            .output()
            .expect("env")
            .status
            .success()
    );
    assert_eq!(fixture.made_in("backup").0.as_deref(), Some("a"));
    fixture
        .run_configured(
            &["backup", "-config", "", "-host", &fixture.peer.host()],
            &[],
        )
        .expect(0);
    assert_eq!(fixture.made_in("backup").0, None);
}

#[test]
fn a_restore_takes_from_a_profile_how_and_from_where_but_not_what_and_where_to() {
    let fixture = five_databases();
    fixture.configure(
        "[p]\nhost = \"HOST\"\npath = \"b\"\ndatabase = \"a\"\nportable = true\nmetadir = \"m\"\ndatadir = \"d\"\n\
         [q]\npath = \"b\"\n[q.restore]\nonline = true\n",
    );
    fixture
        .run_configured(
            &["backup", "-profile", "p", "-host", &fixture.peer.host()],
            &[],
        )
        .expect(0);
    let refused = fixture
        .run_configured(
            &["restore", "-profile", "p"],
            &[("SNAP_PORTABLE", "1"), ("SNAP_DATABASE", "a")],
        )
        .expect(2);
    assert!(refused.stderr.contains("-metadir"), "{}", refused.stderr);
    // What was typed puts aside what cannot go with it.
    let run = fixture
        .run_configured(
            &["restore", "-profile", "q", "-metadir", "m2", "-dry-run"],
            &[],
        )
        .expect(0);
    assert!(run.stdout.starts_with("dry run: "), "{}", run.stdout);
    assert_eq!(tree::names(fixture.folder.path()), ["b", "config.toml"]);
    // Nor does the host of a profile turn a look at a set into one at a server.
    let info = fixture
        .run_configured(&["info", "-profile", "p"], &[])
        .expect(0);
    assert!(info.stdout.contains("portable"), "{}", info.stdout);
}

#[test]
fn what_means_nothing_is_named_with_its_place_and_what_there_is() {
    let fixture = five_databases();
    let file = fixture.path("config.toml");
    let place = |line: u32| format!("{}:{line}", file.display());
    let cases: [(&str, &[&str], &str, &str); 11] = [
        (
            "[prod]\n",
            &["-profile", "prd"],
            "has no profile 'prd'",
            "did you mean 'prod'? there are: prod",
        ),
        (
            "[p]\n\nprtable = true\n",
            &["-profile", "p"],
            "[p] has an unknown key 'prtable'",
            "did you mean 'portable'?",
        ),
        (
            "[p.backup]\nforce = true\n",
            &["-profile", "p"],
            "[p.backup] has an unknown key 'force'",
            "database",
        ),
        (
            "[p]\nforce = true\n",
            &["-profile", "p"],
            "cannot be said of all commands",
            "[p.restore]",
        ),
        (
            "[p.bakcup]\njobs = 1\n",
            &["-profile", "p"],
            "[p.bakcup] is of no command",
            "did you mean 'backup'?",
        ),
        (
            "jobs = 1\n",
            &[],
            "'jobs' stands outside of a profile",
            "[default]",
        ),
        (
            "[default]\nportable = \"yes\"\n",
            &[],
            "must be true or false",
            "",
        ),
        ("[default]\nhost = true\n", &[], "must be text", ""),
        (
            "[default]\ndatabase = [\"a\"]\n",
            &[],
            "must be text, not of type array",
            "",
        ),
        ("[default]\nhost =\n", &[], "config.toml:2", ""),
        ("[default]\njobs = 0\n", &[], "-jobs", "hint: -jobs is from"),
    ];
    for (text, flags, message, hint) in cases {
        fixture.configure(text);
        let run = fixture
            .run_configured(&[flags, &["backup"]].concat(), &[])
            .expect(2);
        assert!(
            run.stderr.contains(message) && run.stderr.contains(hint),
            "{text}: {}",
            run.stderr
        );
        fixture
            .run_configured(&[flags, &["backup", "-help"]].concat(), &[])
            .expect(0);
    }
    fixture.configure("[p]\n\nprtable = true\n");
    assert!(
        fixture
            .run_configured(&["backup", "-profile", "p"], &[])
            .expect(2)
            .stderr
            .contains(&place(3))
    );
    // Other profiles are not looked into.
    fixture.run_configured(&["list"], &[]).expect(10);
    let run = fixture
        .run_configured(&["backup"], &[("SNAP_LIMIT_RATE", "fast")])
        .expect(2);
    assert!(
        run.stderr.contains("-limit-rate is from SNAP_LIMIT_RATE"),
        "{}",
        run.stderr
    );
    // A flag that is typed is from nowhere else.
    let typed = &["backup", "-limit-rate", "faster"];
    let run = fixture
        .run_configured(typed, &[("SNAP_LIMIT_RATE", "1MiB")])
        .expect(2);
    assert!(!run.stderr.contains("is from"), "{}", run.stderr);
    let run = fixture
        .run_configured(&["backup", "-config", "nowhere.toml"], &[])
        .expect(2);
    assert!(run.stderr.contains("nowhere.toml"), "{}", run.stderr);
    let run = fixture
        .run_configured(&["backup", "-profile", "p", "-config", ""], &[])
        .expect(2);
    assert!(
        run.stderr.contains("there is no configuration") && run.stderr.contains("/etc/snap.toml"),
        "{}",
        run.stderr
    );
    assert_eq!(tree::names(fixture.folder.path()), ["config.toml"]);
}

#[test]
fn hooks_and_metrics_come_from_a_profile_too_and_the_metrics_name_it() {
    let fixture = five_databases();
    fixture.configure("[prod]\nhost = \"HOST\"\nmetrics-file = \"x.prom\"\non-success = \"touch \\\"ran $SNAP_COMMAND\\\"\"\n");
    fixture
        .run_configured(&["-profile", "prod", "backup"], &[])
        .expect(0);
    assert!(fixture.path("ran backup").exists());
    let metrics = fs::read_to_string(fixture.path("x.prom")).expect("metrics");
    assert!(
        metrics.contains("snap_last_exit_code{command=\"backup\",profile=\"prod\"} 0"),
        "{metrics}"
    );
    let environment = [
        ("SNAP_ON_SUCCESS", "touch hooked"),
        ("SNAP_METRICS_FILE", "y.prom"),
    ];
    fixture
        .run_configured(
            &["backup", "-host", &fixture.peer.host(), "other"],
            &environment,
        )
        .expect(0);
    assert!(fixture.path("hooked").exists() && fixture.path("y.prom").exists());
}

#[test]
fn tables_of_object_storage_are_read_and_what_means_nothing_in_them_is_named() {
    let fixture = five_databases();
    let list = |text: &str, args: &[&str]| {
        fixture.configure(text);
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        fixture.run_configured(&[&["list"], args].concat(), &keys.map(|name| (name, "x")))
    };
    // Nobody listens there.
    let closed = "[default.storage]\nretries = 0\n[p]\npath = \"s3://bucket/p\"\n[p.s3]\n\
                  endpoint = \"http://127.0.0.1:1\"\npath-style = true\nregion = \"r\"\n";
    let run = list(closed, &["-profile", "p"]).expect(5);
    assert!(
        run.stderr.contains("cannot reach 127.0.0.1: "),
        "{}",
        run.stderr
    );
    let file = fixture.path("config.toml");
    for (text, line, message, hint) in [
        (
            "[default.s3]\n\nendpont = \"x\"\n",
            3,
            "[default.s3] has an unknown key 'endpont'",
            "did you mean 'endpoint'?",
        ),
        (
            "[default.s3]\nsecret-access-key = \"hidden\"\n",
            2,
            "has an unknown key 'secret-access-key'",
            "they come from the environment",
        ),
        (
            "[default.s3]\npath-style = \"yes\"\n",
            2,
            "'path-style': ",
            "",
        ),
        ("[default.storage]\npart-size = 1.5\n", 2, "float", ""),
        (
            "[default.s4]\nregion = \"x\"\n",
            2,
            "[default.s4]",
            "gs, s3, storage",
        ),
        (
            "[s3]\nregion = \"x\"\n",
            2,
            "[s3] stands outside of a profile",
            "[default.s3]",
        ),
    ] {
        let run = list(text, &["s3://bucket/p"]).expect(2);
        let place = format!("{}:{line}: ", file.display());
        for said in [&place, message, hint] {
            assert!(run.stderr.contains(said), "{text}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("hidden"), "{}", run.stderr);
    }
}

#[test]
fn who_did_not_type_path_is_told_where_it_is_from() {
    let fixture = five_databases();
    fixture.configure("[p]\npath = \"nowhere\"\n[q]\npath = \"s3://b//x\"\n");
    let file = fixture.path("config.toml");
    for (args, environment, code, origin) in [
        (
            &["list"][..],
            &[("SNAP_DIR", "nowhere")][..],
            10,
            "(PATH is from SNAP_DIR)".to_owned(),
        ),
        (
            &["verify", "-profile", "p"],
            &[],
            10,
            format!("(PATH is from {}:2)", file.display()),
        ),
        (
            &["list", "-profile", "q"],
            &[],
            2,
            format!("(PATH is from {}:4)", file.display()),
        ),
    ] {
        let run = fixture.run_configured(args, environment).expect(code);
        assert_eq!(run.stderr.matches(&origin).count(), 1, "{}", run.stderr);
    }
    let typed = fixture
        .run_configured(&["list", "elsewhere"], &[("SNAP_DIR", "nowhere")])
        .expect(10);
    assert!(!typed.stderr.contains("is from"), "{}", typed.stderr);
}
