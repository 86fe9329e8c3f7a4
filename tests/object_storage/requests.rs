//! How many requests a run makes, which cost money and time.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::fixture::{LAYOUTS, Sample, backup, summary};
use crate::support::object_storage::{Repository, seaweedfs};
use crate::support::proxy::{Proxy, Request};

/// How many requests there are of each operation.
fn counted(requests: &[Request]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.operation()).or_default() += 1;
    }
    counts
}

/// A backup.
struct Made {
    requests: Vec<Request>,
    shards: usize,
    /// How many of them it has uploaded.
    changed: usize,
    /// How many objects its notes may be: three, and one for every few seconds.
    notes: usize,
}

fn make(repository: &Repository, flags: &[&str]) -> Made {
    let proxy = Proxy::start(seaweedfs().address);
    let through = repository.through(proxy.address);
    let started = Instant::now();
    let run = backup(Sample::get().server(), &through, flags)
        .run()
        .expect(0);
    let notes = 3 + started.elapsed().as_secs() as usize / 4;
    let summary = summary(&run);
    let number = |name: &str| summary[name].as_u64().expect("a number") as usize;
    Made {
        requests: proxy.take_requests(),
        shards: number("shards"),
        changed: number("shards") - number("shared"),
        notes,
    }
}

#[test]
fn a_backup_makes_no_more_requests_than_the_documentation_says() {
    for (name, layout) in LAYOUTS {
        let repository = seaweedfs().repository(name);
        for flags in [layout.to_vec(), [layout, &["-incremental"]].concat()] {
            let made = make(&repository, &flags);
            let counts = counted(&made.requests);
            let count = |operation| counts.get(operation).copied().unwrap_or_default();
            let noted = |operation| {
                let is_noted = |request: &&Request| {
                    request.operation() == operation && request.key.contains(".files/")
                };
                made.requests.iter().filter(is_noted).count()
            };
            let said = format!("{name}, {} changed: {counts:?}", made.changed);
            assert!((1..=made.notes).contains(&noted("put")), "{said}");
            assert_eq!(noted("delete"), noted("put"), "{said}");
            // Beside the shards, the claim, the metastore, the manifest and the record.
            let written = count("put") - noted("put") + count("complete");
            assert_eq!(written, made.changed + 3 + layout.len(), "{said}");
            assert_eq!(count("delete"), noted("delete") + 1, "{said}");
            assert!(count("list") + count("list uploads") <= 25, "{said}");
            let heads = 2 * made.shards + 16;
            assert!(count("head") + count("get") <= heads, "{said}");
        }
    }
}
