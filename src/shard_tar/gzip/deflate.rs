//! One block of content as deflate blocks (RFC 1951) that refer to nothing before it and end with a
//! byte.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::BLOCK;

/// How hard deflate works, 0 to 9. TSM files are compressed already: more takes far longer and
/// saves next to nothing.
const LEVEL: u32 = 2;
/// The window is 2 to this power, in bytes. A full one, 2^15, saves 2 % of a TSM file, and its
/// tables leave the processor's nearest cache: that costs a third of the speed.
const WINDOW_BITS: u8 = 12;

/// Bytes of which it is decided at a time whether they are compressed: a column of a TSM file is
/// seldom much longer.
const PIECE: usize = 64 << 10;
/// A piece that Huffman codes alone would make no smaller than this part of it is stored as it is.
/// Of TSM files, deflate finds little else to save, and no bytes take it longer.
const WORTHWHILE: f64 = 0.95;

/// The most bytes in a stored deflate block, and those before them.
const MOST_STORED: usize = 0xffff;
const STORED_HEADER: usize = 5;

/// The most bytes that a block of content becomes: all its pieces stored.
pub(super) const MOST_PACKED: usize =
    BLOCK + BLOCK / PIECE * PIECE.div_ceil(MOST_STORED) * STORED_HEADER;

thread_local! {
    static DEFLATE: RefCell<Compress> = {
        let level = Compression::new(LEVEL);
        RefCell::new(Compress::new_with_window_bits(level, false, WINDOW_BITS))
    };
}

/// Adds a block of content to `packed`, which has room for [`MOST_PACKED`] bytes more.
pub(super) fn pack(plain: &[u8], packed: &mut Vec<u8>) {
    for piece in plain.chunks(PIECE) {
        if !is_worthwhile(piece) || !deflate(piece, packed) {
            store(piece, packed);
        }
    }
}

/// Whether Huffman codes would make the bytes smaller, by the entropy of each for itself.
fn is_worthwhile(piece: &[u8]) -> bool {
    let bytes = piece.len() as f64;
    let bits: f64 = counts(piece)
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) * (bytes / f64::from(*count)).log2())
        .sum();
    bits / 8.0 < bytes * WORTHWHILE
}

/// How often each byte is there.
fn counts(piece: &[u8]) -> [u32; 256] {
    // To count equal neighbours in one place would be to wait for each.
    let mut counts = [[0_u32; 256]; 4];
    let mut quads = piece.chunks_exact(4);
    for quad in &mut quads {
        for (counts, byte) in counts.iter_mut().zip(quad) {
            counts[usize::from(*byte)] += 1;
        }
    }
    for byte in quads.remainder() {
        counts[0][usize::from(*byte)] += 1;
    }
    std::array::from_fn(|byte| counts.iter().map(|counts| counts[byte]).sum())
}

/// Compresses a piece; `false`, and nothing added, where it would not get smaller.
fn deflate(piece: &[u8], packed: &mut Vec<u8>) -> bool {
    let begin = packed.len();
    packed.resize(begin + piece.len(), 0);
    let count = DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let status = deflate.compress(piece, &mut packed[begin..], FlushCompress::Full);
        let is_whole = deflate.total_in() == piece.len() as u64;
        // Where all room is used, a part may be left inside.
        let count = usize::try_from(deflate.total_out()).unwrap_or(usize::MAX);
        (matches!(status, Ok(Status::Ok)) && is_whole && count < piece.len()).then_some(count)
    });
    packed.truncate(begin + count.unwrap_or(0));
    count.is_some()
}

fn store(piece: &[u8], packed: &mut Vec<u8>) {
    for stored in piece.chunks(MOST_STORED) {
        let size = stored.len() as u16;
        packed.push(0);
        packed.extend_from_slice(&size.to_le_bytes());
        packed.extend_from_slice(&(!size).to_le_bytes());
        packed.extend_from_slice(stored);
    }
}
