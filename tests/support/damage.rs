//! What can happen to a file that lies about.

use std::fs;
use std::path::Path;

use influx_snap::shard_tar::BLOCK;
use influx_snap::tsm::HEADER;

/// Does one kind of damage to a file.
pub fn damage(file: &Path, how: &str) {
    let mut bytes = fs::read(file).expect("a file");
    let middle = bytes.len() / 2;
    // In a tar it is in the first block of the TSM file.
    let inside = if bytes.len() > 2 * BLOCK {
        BLOCK + HEADER.len() + 4
    } else {
        bytes.len() / 4
    };
    match how {
        "cut to half" => bytes.truncate(middle),
        "cut by a byte" => drop(bytes.pop()),
        "emptied" => bytes.clear(),
        "flipped" => bytes[inside] ^= 1,
        "flipped at its beginning" => bytes[0] ^= 0x10,
        "flipped in the middle" => bytes[middle] ^= 1,
        "flipped at its end" => *bytes.last_mut().expect("a byte") ^= 0x10,
        "made longer" => bytes.extend(b"\xff\x00more"),
        "doubled" => bytes.extend_from_within(..),
        "deleted" => return fs::remove_file(file).expect("removing a file"),
        _ => panic!("no damage {how}"),
    }
    fs::write(file, bytes).expect("writing a file");
}
