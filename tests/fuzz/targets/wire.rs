//! The messages of the protocol: what can be read can be written, and is then read as the same.

use influx_snap::time::{GREATEST, LEAST};
use influx_snap::wire::{
    Accept, Dialect, InfoReply, MetaBlob, Request, read_info, read_shard_ids, write_info,
    write_shard_ids,
};

/// Bytes as a request, to servers of either dialect.
pub fn request(bytes: &[u8]) {
    for accept in [
        Accept::Both,
        Accept::Only(Dialect::V1_0),
        Accept::Only(Dialect::V1_5),
    ] {
        let read_only = Request::read_from(&mut &bytes[..], accept, false);
        let Ok((dialect, request)) = Request::read_from(&mut &bytes[..], accept, true) else {
            assert!(read_only.is_err());
            continue;
        };
        let changes = matches!(request, Request::Import(_) | Request::Upload { .. });
        assert_eq!(read_only.is_err(), changes);
        let mut written = Vec::new();
        request
            .write_to(&mut written, dialect)
            .expect("a request of its dialect");
        let again = Request::read_from(&mut &written[..], accept, true).expect("a request");
        if has_times_of_influxd(&request) {
            assert_eq!(again, (dialect, request));
        }
    }
}

/// Others are written as the nearest of them.
fn has_times_of_influxd(request: &Request) -> bool {
    let Request::Shard {
        since: Some(since), ..
    } = request
    else {
        return true;
    };
    (LEAST.into()..=GREATEST.into()).contains(&since.as_nanosecond())
}

/// Bytes as a metastore in its frame, which has one form alone.
pub fn meta_blob(bytes: &[u8]) {
    if let Ok(blob) = MetaBlob::read_from(bytes) {
        let mut written = Vec::new();
        blob.write_to(&mut written).expect("memory is written");
        assert_eq!(written, bytes);
    }
}

/// Bytes as a list of shards.
pub fn info(bytes: &[u8]) {
    let Ok(InfoReply::Shards(shards)) = read_info(bytes) else {
        return;
    };
    let mut written = Vec::new();
    write_info(&mut written, &shards).expect("memory is written");
    let again = read_info(&written[..]).expect("a list of shards");
    assert_eq!(again, InfoReply::Shards(shards));
}

/// Bytes as the reply to an import.
pub fn shard_ids(bytes: &[u8]) {
    let Ok(ids) = read_shard_ids(&mut &bytes[..]) else {
        return;
    };
    let mut written = Vec::new();
    write_shard_ids(&mut written, &ids).expect("memory is written");
    assert_eq!(read_shard_ids(&mut &written[..]).ok(), Some(ids));
}
