//! What can happen to a file that lies about.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use influx_snap::shard_tar::BLOCK;
use influx_snap::tsm::HEADER;

/// Flips a bit of the first byte from `at` on in which that is damage. In a compressed file it need
/// not be: a match within zeros is the same from another distance.
fn flip(bytes: &mut [u8], at: usize) {
    let content = decompressed(bytes);
    for at in at..bytes.len() {
        bytes[at] ^= 1;
        if content.is_none() || decompressed(bytes) != content {
            return;
        }
        bytes[at] ^= 1;
    }
    panic!("no bit of the file matters");
}

/// What is in a gzip file, if it is one and sound.
fn decompressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let read = GzDecoder::new(bytes).read_to_end(&mut content);
    read.is_ok().then_some(content)
}

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
        "flipped" => flip(&mut bytes, inside),
        "flipped at its beginning" => bytes[0] ^= 0x10,
        "flipped in the middle" => flip(&mut bytes, middle),
        "flipped at its end" => *bytes.last_mut().expect("a byte") ^= 0x10,
        "made longer" => bytes.extend(b"\xff\x00more"),
        "doubled" => bytes.extend_from_within(..),
        "deleted" => return fs::remove_file(file).expect("removing a file"),
        _ => panic!("no damage {how}"),
    }
    fs::write(file, bytes).expect("writing a file");
}
