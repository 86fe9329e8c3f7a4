//! The tar of a shard: it is read alike in whatever pieces it comes, and what was read can be
//! written.

use std::io::{self, Read, Write};

use influx_snap::shard::ShardPath;
use influx_snap::shard_tar::{Ending, Member, MemberHeader, ShardTarReader, TarWriter};

/// Bytes as the tar of the shard `db/autogen/1`.
pub fn shard_tar(bytes: &[u8]) {
    let whole = read(bytes);
    assert_eq!(read(Pieces { bytes, next: 1 }), whole);
    let Ok(members) = whole else { return };
    if members.iter().any(|(member, _)| member.directory) {
        return;
    }
    let tar = write(&members).expect("memory is written");
    let again = read(&tar[..]).expect("a tar that was written");
    let content = |members: &Members| -> Vec<_> {
        let content = members
            .iter()
            .map(|(member, content)| (member.name.clone(), member.modified, content.clone()));
        content.collect()
    };
    assert_eq!(content(&again), content(&members));
}

/// Members, each with its content.
type Members = Vec<(Member, Vec<u8>)>;

fn shard() -> ShardPath {
    ShardPath {
        database: "db".into(),
        retention_policy: "autogen".into(),
        id: 1,
    }
}

/// The members of a tar, or what is wrong with it. A stream without a byte has none.
fn read(tar: impl Read) -> Result<Members, String> {
    let mut reader = ShardTarReader::new(tar, &shard());
    let mut found = Vec::new();
    while let Some(member) = reader.next_member().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        let read = reader.read_to_end(&mut content);
        read.map_err(|error| error.to_string())?;
        assert_eq!(member.size, content.len() as u64);
        assert!(!member.name.is_empty() && !member.name.split('/').any(|part| part == ".."));
        found.push((member, content));
    }
    let ending = reader.finish().map_err(|error| error.to_string())?;
    if let Ending::Whole { members } = ending {
        assert_eq!(members, found.len() as u64);
    }
    Ok(found)
}

fn write(members: &Members) -> io::Result<Vec<u8>> {
    let mut writer = TarWriter::new(Vec::new());
    for (member, content) in members {
        let path = format!("{}/{}", shard(), member.name);
        writer.begin(&MemberHeader::of_file(&path, member.size, member.modified))?;
        writer.write_all(content)?;
        writer.end()?;
    }
    writer.finish()
}

/// Gives one byte, then two, and so on.
struct Pieces<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.next.min(buffer.len());
        self.next += 1;
        self.bytes.read(&mut buffer[..count])
    }
}
