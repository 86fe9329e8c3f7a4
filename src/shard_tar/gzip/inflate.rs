//! The content of one block, from the deflate blocks it was made.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::END;

thread_local! {
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Puts the content of a block into `plain`, of which no more is taken than `size` asks for.
/// `packed` are the bytes of the block and behind them [`END`]. `false` where they do not end there
/// and nowhere else, or make more than `size` bytes.
pub(super) fn unpack(packed: &[u8], size: usize, plain: &mut Vec<u8>) -> bool {
    debug_assert!(packed.ends_with(&END));
    plain.clear();
    // One more, to see that there is none.
    plain.reserve_exact(size + 1);
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let status = inflate.decompress_vec(packed, plain, FlushDecompress::Finish);
        let is_at_end = inflate.total_in() == packed.len() as u64;
        matches!(status, Ok(Status::StreamEnd)) && is_at_end && plain.len() <= size
    })
}
