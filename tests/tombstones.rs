//! Tombstone files of a real influxd: read, carried out on their TSM files, and written for it to read.

mod support;

use std::fs::{self, File};
use std::path::Path;

use influx_snap::time::Bounds;
use influx_snap::tsm::deletes::DeletedRanges;
use influx_snap::tsm::filter::rewrite;
use influx_snap::tsm::tombstone::{Ending, Record, TombstoneWriter};
use support::data::{delete_some, load_sample, tombstones};
use support::folder;
use support::influxd::{Index, Influxd};

fn deletes_in(tombstone: &Path) -> DeletedRanges {
    let file = File::open(tombstone).expect("a tombstone file");
    let (deletes, ending) = DeletedRanges::read(file).expect("reading a tombstone file");
    assert_eq!(ending, Ending::Clean, "{}", tombstone.display());
    assert!(!deletes.is_empty(), "{}", tombstone.display());
    deletes
}

/// The sample with deletes that nothing has carried out yet: what the server answers, and its tombstone files.
fn deleted(root: &Path) -> (Vec<String>, Vec<std::path::PathBuf>) {
    let server = Influxd::start(root, Index::Inmem);
    load_sample(&server);
    delete_some(&server);
    let points = server.points();
    // A compaction takes some seconds to come; killed, the server makes none on its way out.
    let found = tombstones(&server);
    server.kill();
    let found: Vec<_> = found.into_iter().filter(|path| path.exists()).collect();
    assert!(found.len() > 3, "{} tombstone files", found.len());
    (points, found)
}

#[test]
fn deletes_carried_out_on_the_files_are_those_of_influxd() {
    let own = folder();
    let (points, found) = deleted(own.path());
    for tombstone in found {
        let (tsm, rewritten) = (
            tombstone.with_extension("tsm"),
            tombstone.with_extension("new"),
        );
        let source = File::open(&tsm).expect("a TSM file");
        let out = File::create(&rewritten).expect("a file");
        let (_, written) = rewrite(&source, &mut &deletes_in(&tombstone), Bounds::ALL, out)
            .expect("rewriting a file");
        fs::remove_file(&tombstone).expect("removing the tombstone");
        match written {
            Some(_) => fs::rename(&rewritten, &tsm).expect("moving the file"),
            None => [&rewritten, &tsm]
                .iter()
                .for_each(|path| fs::remove_file(path).expect("removing the file")),
        }
    }
    let after = Influxd::start(own.path(), Index::Inmem).points();
    assert!(
        after == points,
        "{} points in place of {}",
        after.len(),
        points.len()
    );
}

#[test]
fn influxd_reads_the_tombstones_that_are_written_here() {
    let own = folder();
    let (points, found) = deleted(own.path());
    for tombstone in found {
        let deletes = deletes_in(&tombstone);
        let mut writer = TombstoneWriter::new(File::create(&tombstone).expect("a file"))
            .expect("beginning a file");
        for (key, (min, max)) in deletes.iter() {
            writer
                .record(Record { key, min, max })
                .expect("writing a record");
        }
        writer.finish().expect("ending a file");
    }
    let after = Influxd::start(own.path(), Index::Inmem).points();
    assert!(
        after == points,
        "{} points in place of {}",
        after.len(),
        points.len()
    );
}
