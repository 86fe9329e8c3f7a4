//! That uploads keep to the memory that they may take, however many there are at once.

use influx_snap::shard::ShardPath;

use crate::fixture::LAYOUTS;
use crate::support::object_storage::seaweedfs;
use crate::support::peer::{Model, Peer, Shard, Tar, Version};

/// What all parts together may take with the default settings.
const PARTS: u64 = 96 << 20;

/// What else a run of so many shards may take, but for the pages of the program's own file; and one
/// that compresses.
const OTHERWISE: [u64; 2] = [16 << 20, 52 << 20];

/// The sizes of the shards: more in all than a run may take, though each is about a part.
const SIZES: std::ops::Range<u64> = 7..22;

#[test]
fn fifteen_shards_of_about_a_part_are_uploaded_at_once_in_the_memory_of_twelve_parts() {
    let path = |id| ShardPath {
        database: "db".into(),
        retention_policy: "autogen".into(),
        id,
    };
    let mut model = Model::new(Version::V1_6, &[]);
    let shards = SIZES.map(|id| {
        let size = (7 << 20) + (id - SIZES.start) * 350_000;
        Shard::with_tar(path(id), Tar::Large(size))
    });
    model.shards.extend(shards);
    let peer = Peer::start(model);
    for ((name, layout), otherwise) in LAYOUTS.into_iter().zip(OTHERWISE) {
        let repository = seaweedfs().repository(name);
        let host = peer.host();
        let flags = ["backup", "-quiet", "-jobs", "16", "-host", &host];
        let run = repository.snap(&[&flags, layout].concat()).run().expect(0);
        let used = run.peak_rss.saturating_sub(run.program_rss);
        let mebibytes = used >> 20;
        assert!(
            used <= PARTS + otherwise,
            "{name}: {mebibytes} MiB in {:?}",
            run.wall
        );
        let shards = repository.objects().into_values();
        assert_eq!(shards.filter(|size| *size > 7 << 20).count(), 15);
    }
}
