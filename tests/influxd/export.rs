//! What `snap export` writes of a backup gives a fresh influxd the points of the one that was backed
//! up, through `/write` and the statements before them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::data::{START, delete_some, flush};
use crate::support::influxd::{Index, Influxd, influx_binary, quote};
use crate::support::process::{Run, Snap};
use crate::support::source::{Source, assert_same, back_up};
use crate::support::time::SECOND;
use crate::support::utf8;

/// Bytes of lines in one request.
const REQUEST: usize = 4 << 20;

/// The export of a backup.
fn export(backup: &Path, flags: &[&str]) -> Snap {
    Snap::new(["export"]).args(flags).args([utf8(backup)])
}

/// Does what an export says: its statements, and its points under the contexts they stand in.
fn import(server: &Influxd, text: &str) {
    let (statements, points) = text.split_once("# DML\n").expect("points");
    let statements = statements.strip_prefix("# DDL\n").expect("statements");
    server.execute(&statements.replace('\n', ";"));
    let (mut database, mut policy, mut lines) = (String::new(), String::new(), String::new());
    // A line feed in a string makes no new line of a point: it is not told apart here, as the
    // sample has none at the beginning of a line that begins with a hash.
    for line in points.split_inclusive('\n') {
        let context = line.strip_prefix("# CONTEXT-").map(str::trim_end);
        if context.is_some()
            || lines.len() > REQUEST && !line.starts_with('#') && lines.ends_with('\n')
        {
            write(server, &database, &policy, &mut lines);
        }
        match context.and_then(|context| context.split_once(':')) {
            Some(("DATABASE", name)) => database = name.to_owned(),
            Some((_, name)) => policy = name.to_owned(),
            None => lines.push_str(line),
        }
    }
    write(server, &database, &policy, &mut lines);
}

fn write(server: &Influxd, database: &str, policy: &str, lines: &mut String) {
    if !lines.is_empty() {
        server.write(database, policy, lines);
        lines.clear();
    }
}

/// What makes a difference between policies.
fn policies(server: &Influxd) -> Vec<String> {
    let databases = server.databases().into_iter();
    let answers = databases.map(|database| {
        let answer = server.query(
            "",
            &format!("SHOW RETENTION POLICIES ON {}", quote(&database)),
        );
        let mut rows: Vec<String> = answer["results"][0]["series"][0]["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        rows.sort();
        format!("{database}: {rows:?}")
    });
    answers.collect()
}

/// A point of everything that is hard to write.
pub fn odd_points() -> String {
    let mut lines = String::new();
    let names = [
        r"m\ \,=x,t\ \,\==v\ \,\=x",
        "größe,名前=値",
        "emoji,t=🦀",
        "hash#!~x,t=#",
        r#"quo"te,t="q""#,
        r"back\slash,t=a\b",
        "tab\tbed,t=x",
    ];
    let fields = [
        r#"s="a \"quoted\" \\ back""#,
        r#"f\ 1\,\==1.5"#,
        "i=-9223372036854775808i",
        "i2=9223372036854775807i",
        "b=true,c=false",
        "s2=\"line1\nline2\n\nline4\"",
        "s3=\"\"",
        "s4=\"nul \0 and \u{1} and 🦀\"",
        "f2=-0,f3=5e-324,f4=1.7976931348623157e308,f5=123456789.125",
        "größe=0.1",
        r#"na"me=1"#,
    ];
    for name in names {
        for (nth, field) in fields.iter().enumerate() {
            lines.push_str(&format!("{name} {field} {}\n", START + nth as i64));
        }
        lines.push_str(&format!("{name} {} {}\n", fields.join(","), START + SECOND));
    }
    let big = "x".repeat(900_000);
    lines.push_str(&format!("big s=\"{big}\" {START}\n"));
    for time in [i64::MIN + 2, i64::MAX - 1, 0, -1] {
        lines.push_str(&format!("ends v=1 {time}\n"));
    }
    let many: Vec<String> = (0..10_000).map(|nth| format!("f{nth}={nth}i")).collect();
    lines.push_str(&format!("wide {} {START}\n", many.join(",")));
    lines
}

/// Writes points of every odd kind into a database of their own, some in two files.
pub fn load_odd(server: &Influxd) {
    server.execute(
        "CREATE DATABASE odd WITH DURATION INF REPLICATION 1 SHARD DURATION 52w NAME \"r p\"",
    );
    server.write("odd", "", &odd_points());
    flush(server);
    // Values that take the place of others, in another file.
    server.write(
        "odd",
        "",
        &format!("emoji,t=🦀 f2=2,new=1i {START}\nwide f7=8i {START}"),
    );
}

fn an_export(index: Index) {
    let source = Source::new(index);
    let server = &source.server;
    load_odd(server);
    let points = server.points();
    let backup = source.path("backup");
    back_up(server, &backup, &[]);
    let rules = policies(server);

    let run = export(&backup, &[]).run().expect(0);
    assert!(
        run.stderr.contains("strings with line feeds"),
        "{}",
        run.stderr
    );
    let target = Influxd::start(&source.path("target"), index);
    import(&target, &run.stdout);
    assert_same(&target.points(), &points);
    assert_eq!(policies(&target), rules);
    target.expect_no_errors();
}

#[test]
fn an_export_of_an_inmem_server_gives_another_all_its_points_and_policies() {
    an_export(Index::Inmem);
}

#[test]
fn an_export_of_a_tsi1_server_gives_another_all_its_points_and_policies() {
    an_export(Index::Tsi1);
}

#[test]
fn a_chain_is_exported_as_it_is_restored_and_parts_of_it_are_what_was_asked_for() {
    let source = Source::loaded(Index::Inmem);
    let server = &source.server;
    let backup = source.path("backup");
    flush(server);
    back_up(server, &backup, &[]);
    server.write(
        "plain",
        "autogen",
        &format!("cpu,host=a,zone=z0 idle=-1 {START}\ncpu,host=late idle=1 {START}"),
    );
    back_up(server, &backup, &["-since", "last"]);
    let points = server.points();
    let whole = source.path("whole.lp.gz");
    export(&backup, &["-o", utf8(&whole)]).run().expect(0);
    let mut text = String::new();
    let file = fs::File::open(&whole).expect("the export");
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text)
        .expect("text");
    let target = Influxd::start(&source.path("target"), Index::Inmem);
    import(&target, &text);
    assert_same(&target.points(), &points);

    let part = |flags: &[&str]| -> Run { export(&backup, flags).run().expect(0) };
    let flags = [
        "-lponly",
        "-database",
        "plain",
        "-measurement",
        "cpu",
        "-where",
        "host=a",
    ];
    let found = part(&flags).stdout;
    let selected: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("cpu,host=a"))
        .collect();
    assert!(!selected.is_empty());
    assert_eq!(found.lines().collect::<Vec<_>>(), selected);
    let flags = [
        &flags[..],
        &[
            "-start",
            "2018-06-04T00:00:05Z",
            "-end",
            "2018-06-04T00:00:07Z",
        ],
    ]
    .concat();
    let found = part(&flags).stdout;
    let seconds = |line: &str| {
        line.rsplit_once(' ').is_some_and(|(_, time)| {
            let time: i64 = time.parse().expect("a time");
            (START + 5 * SECOND..=START + 7 * SECOND).contains(&time)
        })
    };
    let selected: Vec<&str> = selected.into_iter().filter(|line| seconds(line)).collect();
    assert_eq!(selected.len(), 3);
    assert_eq!(found.lines().collect::<Vec<_>>(), selected);
}

#[test]
fn a_stopped_server_is_exported_with_what_stands_in_its_wal_only() {
    let Source { folder, server, .. } = Source::loaded(Index::Inmem);
    let points = server.points();
    server.kill();
    let root = folder.path().join("source");
    let run = Snap::new(["export"]).directories(&root).run().expect(0);
    let target = Influxd::start(&folder.path().join("target"), Index::Inmem);
    import(&target, &run.stdout);
    assert_same(&target.points(), &points);
}

/// Exports from a running server of which some points are in its cache alone.
fn a_running_server(index: Index) {
    let source = Source::loaded(index);
    let server = &source.server;
    flush(server);
    delete_some(server);
    let late =
        format!("cpu,host=late idle=1,note=\"in the cache\" {START}\nmem,host=a used=-1i {START}");
    server.write("plain", "autogen", &late);
    let points = server.points();
    let host = server.host();
    let run = Snap::new(["export", "-host", &host]).run().expect(0);
    assert!(run.stdout.contains("in the cache"));
    let target = Influxd::start(&source.path("target"), index);
    import(&target, &run.stdout);
    assert_same(&target.points(), &points);

    // Nothing else than from a backup of the same.
    let backup = source.path("backup");
    back_up(server, &backup, &[]);
    for flags in [
        &[][..],
        &[
            "-lponly",
            "-database",
            "plain",
            "-measurement",
            "cpu",
            "-where",
            "host=late",
        ],
    ] {
        let of_backup = export(&backup, flags).run().expect(0);
        let of_server = Snap::new(["export", "-host", &host])
            .args(flags)
            .run()
            .expect(0);
        assert!(of_server.stdout == of_backup.stdout);
    }
    assert_eq!(
        Snap::new(["export", "-host", &host, "-database", "nowhere"])
            .run()
            .code,
        Some(1)
    );
}

#[test]
fn a_running_inmem_server_is_exported_with_what_its_cache_holds() {
    a_running_server(Index::Inmem);
}

#[test]
fn a_running_tsi1_server_is_exported_with_what_its_cache_holds() {
    a_running_server(Index::Tsi1);
}

/// Imports a file with influxd's own shell; panics unless it took every point.
fn influx_import(server: &Influxd, file: &Path) {
    let address = server.http_address();
    let (host, port) = address.rsplit_once(':').expect("an address");
    let mut influx = Command::new("timeout");
    influx.args(["-k", "5", "60"]).arg(influx_binary());
    influx.args(["-host", host, "-port", port, "-import", "-path", utf8(file)]);
    if file.extension().is_some_and(|extension| extension == "gz") {
        influx.arg("-compressed");
    }
    let output = influx
        .env("HOME", file.parent().expect("a folder"))
        .output()
        .expect("influx runs");
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let told = told.concat();
    assert!(
        output.status.success() && told.contains("Failed 0 inserts"),
        "{told}"
    );
}

#[test]
fn influx_takes_what_is_exported_plain_compressed_and_in_parts() {
    let source = Source::loaded(Index::Inmem);
    let server = &source.server;
    server.execute("CREATE DATABASE odd WITH DURATION INF REPLICATION 1 NAME \"r p\"");
    server.write("odd", "", &odd_points());
    let points = server.points();
    let backup = source.path("backup");
    back_up(server, &backup, &[]);
    // What influx makes of a line feed in a string is another string.
    let expected: Vec<String> = points
        .iter()
        .map(|point| point.replace("\\n", "\\\\n"))
        .collect();
    assert!(expected != points);
    let rules = policies(server);
    let parts = ["-max-lines", "2000", "-max-bytes", "200KiB"];
    for (name, flags) in [
        ("plain.lp", &[][..]),
        ("packed.lp.gz", &[]),
        ("part.lp", &parts),
    ] {
        let file = source.path(name);
        let flags = [&["-json", "-newline", "escape", "-o", utf8(&file)], flags].concat();
        let run = export(&backup, &flags).run().expect(0);
        let summary = run.last_message();
        let files = summary["output_files"].as_array().expect("files");
        assert_eq!(files.len() > 2, name == "part.lp", "{summary}");
        let (folder, target) = Influxd::empty(Index::Inmem);
        // In whatever order: each is complete by itself.
        for file in files.iter().rev() {
            influx_import(&target, Path::new(file.as_str().expect("a path")));
        }
        assert_same(&target.points(), &expected);
        assert_eq!(policies(&target), rules, "{name}");
        drop((target, folder));
    }
}
