//! One block of content as a part of a member: deflate blocks (RFC 1951) that refer to nothing before
//! it and end with a byte.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::stored::{PIECE, is_worthwhile, store};

/// How hard deflate works, 0 to 9.
const LEVEL: u32 = 3;
/// The window is 2 to this power, in bytes. A full one, 2^15, would save 1 % more, and its tables
/// leave the processor's nearest cache.
const WINDOW_BITS: u8 = 13;

thread_local! {
    static DEFLATE: RefCell<Compress> = {
        let level = Compression::new(LEVEL);
        RefCell::new(Compress::new_with_window_bits(level, false, WINDOW_BITS))
    };
}

/// Adds a block of content.
pub(super) fn pack(plain: &[u8], packed: &mut Vec<u8>) {
    for piece in plain.chunks(PIECE) {
        if !is_worthwhile(piece) || !deflate(piece, packed) {
            store(piece, false, packed);
        }
    }
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
