//! The files of a backup directory: manifests, the metastore beside them, records, compressed
//! shards.

use std::io::{self, Read, Write};

use influx_snap::repository::SetRecord;
use influx_snap::repository::manifest::{Manifest, compress, decompress, read_meta, write_meta};
use influx_snap::shard_tar::gzip::{BlockReader, Blocks};

/// More bytes than a fuzzer should unpack.
const MANY: u64 = 1 << 20;

/// Bytes as a manifest.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::read(bytes) else {
        return;
    };
    let mut written = Vec::new();
    manifest.write_to(&mut written).expect("memory is written");
    assert_eq!(Manifest::read(&written).expect("a manifest"), manifest);
}

/// Bytes as the file of a metastore beside a manifest.
pub fn meta_file(bytes: &[u8]) {
    if let Ok(meta) = read_meta(bytes) {
        assert_eq!(read_meta(&write_meta(&meta)).expect("a metastore"), meta);
    }
}

/// Bytes as the record of a set.
pub fn record(bytes: &[u8]) {
    let _ = SetRecord::is_as_written(bytes);
    let Ok(record) = serde_json::from_slice::<SetRecord>(bytes) else {
        return;
    };
    let mut written = Vec::new();
    record.write_to(&mut written).expect("memory is written");
    assert!(SetRecord::is_as_written(&written[..]).expect("memory is read"));
    let again: SetRecord = serde_json::from_slice(&written).expect("a record");
    assert_eq!(again, record);
    if record.has_sound_names() {
        let names = record.files().map(|file| &file.name);
        names.for_each(|name| assert!(!name.contains('/'), "{name:?}"));
    }
    if record.is_consistent() {
        record.to_manifest();
    }
}

/// Bytes as a compressed file: what they unpack to comes back when packed.
pub fn gzip(bytes: &[u8]) {
    let mut plain = Vec::new();
    if decompress(bytes)
        .take(MANY)
        .read_to_end(&mut plain)
        .is_err()
    {
        return;
    }
    let packed = pack(&plain).expect("memory is written");
    let mut again = Vec::new();
    decompress(&packed[..])
        .read_to_end(&mut again)
        .expect("a compressed file");
    assert!(again == plain);
}

/// Bytes as a compressed file behind a line that says where its blocks are, `SIZE COMPRESSED`: they
/// are what they are without being known, or refused.
pub fn gzip_blocks(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (line, file) = (String::from_utf8_lossy(&bytes[..at]), &bytes[at + 1..]);
    let (size, compressed) = line.split_once(' ').unwrap_or((&line, ""));
    let Ok(size) = size.parse() else { return };
    let compressed = compressed.to_owned();
    let blocks = Blocks { size, compressed };
    let Some(whole) = unpack_blocks(file, &blocks, 64 << 10) else {
        return;
    };
    assert!(unpack_blocks(file, &blocks, 1).as_ref() == Some(&whole));
    let mut serial = Vec::new();
    let read = decompress(file).take(MANY).read_to_end(&mut serial);
    read.expect("blocks that can be read make a file");
    assert!(serial == whole);
}

/// What is in a file with blocks, read so many bytes at a time; none where it cannot be read.
fn unpack_blocks(file: &[u8], blocks: &Blocks, at_a_time: usize) -> Option<Vec<u8>> {
    let mut reader = BlockReader::new(file, file.len() as u64, blocks)?.take(MANY);
    let mut all = Vec::new();
    let mut buffer = vec![0; at_a_time];
    loop {
        match reader.read(&mut buffer).ok()? {
            0 => return Some(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

fn pack(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = compress("20260101T000000Z", 1, Vec::new());
    writer.write_all(plain)?;
    Ok(writer.finish()?.0)
}
