//! The tars of a scripted snapshotter's shards, as right or as wrong as a test wants them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use influx_snap::shard::ShardPath;
use tar::{Builder, Header};

/// When the files of every shard were modified, in seconds since 1970: 2024-01-15T08:00:00Z.
pub const MODIFIED: u64 = 1_705_305_600;

/// Bytes in a tar block.
pub(super) const BLOCK: usize = 512;

/// The content of a shard.
#[derive(Clone, Debug)]
pub enum Tar {
    /// These bytes.
    Bytes(Vec<u8>),
    /// One TSM file of this size, made while it is sent.
    Large(u64),
}

impl Tar {
    /// Writes the whole tar.
    pub fn write_to(&self, path: &ShardPath, out: &mut impl Write) -> io::Result<()> {
        let size = match self {
            Self::Bytes(bytes) => return out.write_all(bytes),
            Self::Large(size) => *size,
        };
        out.write_all(
            Member::new(format!("{path}/000000001-000000001.tsm"), Vec::new())
                .header(size)
                .as_bytes(),
        )?;
        let pattern = noise(path.id, 1 << 16);
        let begin = influx_snap::tsm::HEADER;
        out.write_all(&begin)?;
        let end = tsm_end(size);
        let mut left = size - begin.len() as u64 - end.len() as u64;
        while left > 0 {
            let piece = usize::try_from(left).map_or(pattern.len(), |left| left.min(pattern.len()));
            out.write_all(&pattern[..piece])?;
            left -= piece as u64;
        }
        out.write_all(&end)?;
        let padding =
            usize::try_from(size.next_multiple_of(BLOCK as u64) - size).expect("less than a block");
        out.write_all(&vec![0; padding + 2 * BLOCK])
    }

    /// Whether a file holds exactly this tar; reads it in pieces.
    pub fn is_in(&self, path: &ShardPath, file: &Path) -> bool {
        let Ok(file) = File::open(file) else {
            return false;
        };
        let mut expected = Expected(file);
        self.write_to(path, &mut expected).is_ok()
            && expected.0.read(&mut [0]).is_ok_and(|count| count == 0)
    }
}

/// A tombstone file that deletes points of a key that no file has, another of each shard.
pub(super) fn tombstone(shard: u64) -> Vec<u8> {
    let key = format!("never,shard={shard:050}#!~#v");
    [
        b"\x00\x00\x15\x02",
        &(key.len() as u32).to_be_bytes()[..],
        key.as_bytes(),
        &0_i64.to_be_bytes(),
        &1_i64.to_be_bytes(),
    ]
    .concat()
}

/// A file that fails to be "written" anything but what it holds.
struct Expected(File);

impl Write for Expected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = vec![0; bytes.len()];
        self.0.read_exact(&mut held)?;
        if held == bytes {
            Ok(bytes.len())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A member of a tar, as wrong as a test wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The whole name, at most 100 bytes.
    pub name: String,
    /// The content.
    pub content: Vec<u8>,
    /// The type flag.
    pub flag: u8,
    /// Where it leads, if it is a link.
    pub link: String,
    /// When it was modified, in seconds since 1970.
    pub modified: u64,
}

impl Member {
    /// A regular file.
    pub fn new(name: impl Into<String>, content: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            content,
            flag: b'0',
            link: String::new(),
            modified: MODIFIED,
        }
    }

    /// The same, modified then.
    pub fn modified(self, modified: u64) -> Self {
        Self { modified, ..self }
    }

    /// The same with another type flag.
    pub fn flag(self, flag: u8) -> Self {
        Self { flag, ..self }
    }

    /// The same as a link to `to`.
    pub fn link(self, to: &str) -> Self {
        Self {
            link: to.to_owned(),
            ..self
        }
    }

    pub(super) fn header(&self, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(self.modified);
        let block = header.as_mut_bytes();
        // Written as they are: the crate refuses the names that a test wants to see refused.
        block[..self.name.len()].copy_from_slice(self.name.as_bytes());
        block[156] = self.flag;
        block[157..157 + self.link.len()].copy_from_slice(self.link.as_bytes());
        header.set_cksum();
        header
    }
}

/// A tar with these members and its trailer.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        builder
            .append(
                &member.header(member.content.len() as u64),
                &member.content[..],
            )
            .expect("writing to memory");
    }
    builder.into_inner().expect("writing to memory")
}

/// What ends a TSM file of `size` bytes with one block of one key: its index and its footer.
fn tsm_end(size: u64) -> Vec<u8> {
    let index = size - 42;
    let mut end = b"\x00\x01k\x00\x00\x01".to_vec();
    let times = [1_600_000_000_000_000_000_u64, 1_600_000_000_000_000_001, 5];
    times
        .iter()
        .for_each(|number| end.extend(number.to_be_bytes()));
    end.extend(
        u32::try_from(index - 5)
            .expect("the size of a block")
            .to_be_bytes(),
    );
    end.extend(index.to_be_bytes());
    end
}

/// A file with the outside and the index of a TSM file, `size` bytes long. Its block is noise.
pub fn tsm(seed: u64, size: usize) -> Vec<u8> {
    let end = tsm_end(size as u64);
    let mut bytes = influx_snap::tsm::HEADER.to_vec();
    bytes.extend(noise(seed, size - bytes.len() - end.len()));
    bytes.extend(end);
    bytes
}

/// Bytes that look like nothing in particular, the same for the same seed.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Where in a tar a cut is worth a test: in and at the ends of headers, contents, paddings and the
/// blocks of the trailer.
pub fn offsets(tar: &[u8]) -> Vec<usize> {
    let mut offsets = BTreeSet::from([0, 1]);
    let mut at = 0;
    while tar[at] != 0 {
        let header = Header::from_byte_slice(&tar[at..at + BLOCK]);
        let size = usize::try_from(header.entry_size().expect("a size")).expect("a small size");
        let content = at + BLOCK;
        let next = content + size.next_multiple_of(BLOCK);
        offsets.extend([
            at + BLOCK / 2,
            content - 1,
            content,
            content + 1,
            content + size / 2,
        ]);
        offsets.extend([
            content + size - 1,
            content + size,
            (content + size).midpoint(next),
            next - 1,
            next,
        ]);
        at = next;
    }
    offsets.extend([
        at + 1,
        at + BLOCK - 1,
        at + BLOCK,
        at + BLOCK + 1,
        tar.len() - 1,
    ]);
    offsets.into_iter().collect()
}
