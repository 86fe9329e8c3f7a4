//! Bytes that are not compressed: which those are, and how they stand in a deflate stream.

/// Bytes of which it is decided at a time whether they are compressed: a column of a TSM file is
/// seldom much longer.
pub(super) const PIECE: usize = 64 << 10;
/// A piece that Huffman codes alone would make no smaller than this part of it need not be
/// compressed. Of TSM files, deflate finds little else to save, and no bytes take it longer.
const WORTHWHILE: f64 = 0.95;

/// Of each stride of a piece, the first bytes are looked at: an eighth tells as much as all. A stride
/// is a prime number of bytes, so that data of a fixed length are met at all places of them.
const STRIDE: usize = 521;
const SAMPLE: usize = 64;

/// The most bytes in a stored deflate block, and those before them.
pub(super) const MOST_STORED: usize = 0xffff;
pub(super) const STORED_HEADER: usize = 5;

/// Whether Huffman codes would make the bytes smaller, by the entropy of each for itself.
pub(super) fn is_worthwhile(piece: &[u8]) -> bool {
    let counts = counts(piece);
    let bytes = f64::from(counts.iter().sum::<u32>());
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) * (bytes / f64::from(*count)).log2())
        .sum();
    bits / 8.0 < bytes * WORTHWHILE
}

/// How often each byte is in the samples of a piece.
fn counts(piece: &[u8]) -> [u32; 256] {
    // To count equal neighbours in one place would be to wait for each.
    let mut counts = [[0_u32; 256]; 4];
    for stride in piece.chunks(STRIDE) {
        for quad in stride[..stride.len().min(SAMPLE)].chunks(4) {
            for (counts, byte) in counts.iter_mut().zip(quad) {
                counts[usize::from(*byte)] += 1;
            }
        }
    }
    std::array::from_fn(|byte| counts.iter().map(|counts| counts[byte]).sum())
}

/// Adds stored deflate blocks; `is_end` says whether the last ends the stream.
pub(super) fn store(plain: &[u8], is_end: bool, packed: &mut Vec<u8>) {
    let mut rest = plain;
    loop {
        let (stored, behind) = rest.split_at(rest.len().min(MOST_STORED));
        let size = stored.len() as u16;
        packed.push(u8::from(is_end && behind.is_empty()));
        packed.extend_from_slice(&size.to_le_bytes());
        packed.extend_from_slice(&(!size).to_le_bytes());
        packed.extend_from_slice(stored);
        if behind.is_empty() {
            return;
        }
        rest = behind;
    }
}
