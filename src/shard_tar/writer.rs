//! Writing a shard's tar as servers do: USTAR headers, a PAX header where a name needs one, two
//! zero blocks and nothing after.

use std::io::{self, Write};

use tar::{EntryType, Header};

use super::reader::{BLOCK, padding};

/// Writes the members of a tar one after the other: [`TarWriter::begin`], the content by [`Write`],
/// [`TarWriter::end`].
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    /// Bytes of the member's content that are still to come.
    left: u64,
    /// Zero bytes that follow them.
    padding: usize,
}

/// What the header of a member says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHeader<'a> {
    /// The whole name: `<database>/<policy>/<id>/<file>`.
    pub path: &'a str,
    /// Bytes of content.
    pub size: u64,
    /// Modification time in seconds since 1970.
    pub modified: u64,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Their names; empty where they have none.
    pub owner_names: (&'a str, &'a str),
}

impl<'a> MemberHeader<'a> {
    /// That of a file made anew: it is nobody's in particular.
    pub fn of_file(path: &'a str, size: u64, modified: u64) -> Self {
        Self {
            path,
            size,
            modified,
            mode: 0o644,
            owner: (0, 0),
            owner_names: ("", ""),
        }
    }
}

impl<W: Write> TarWriter<W> {
    /// A tar without members, so far.
    pub fn new(out: W) -> Self {
        Self {
            out,
            left: 0,
            padding: 0,
        }
    }

    /// Begins a member, whose content is written next.
    ///
    /// # Errors
    ///
    /// Those of the writer. The tar is of no use then.
    pub fn begin(&mut self, member: &MemberHeader<'_>) -> io::Result<()> {
        let mut header = Header::new_ustar();
        if !member.path.is_ascii() || header.set_path(member.path).is_err() {
            self.pax(member.path)?;
            set_plain_name(&mut header, member.path);
        }
        header.set_entry_type(EntryType::Regular);
        header.set_size(member.size);
        header.set_mtime(member.modified);
        header.set_mode(member.mode);
        header.set_uid(member.owner.0.into());
        header.set_gid(member.owner.1.into());
        // A name that does not fit is left out: the numbers stand.
        let _ = header
            .set_username(member.owner_names.0)
            .and_then(|()| header.set_groupname(member.owner_names.1));
        header.set_device_major(0)?;
        header.set_device_minor(0)?;
        set_checksum(&mut header);
        self.out.write_all(header.as_bytes())?;
        self.left = member.size;
        self.padding = padding(member.size);
        Ok(())
    }

    /// Ends a member.
    ///
    /// # Errors
    ///
    /// Those of the writer, and when the content is shorter than the header says. The tar is of no
    /// use then.
    pub fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(format!(
                "the content is {} bytes shorter than its header says",
                self.left
            )));
        }
        self.out
            .write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }

    /// Writes the end of the tar.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn pax(&mut self, path: &str) -> io::Result<()> {
        let record = pax_record("path", path);
        let mut header = Header::new_ustar();
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        set_plain_name(&mut header, &format!("{directory}/PaxHeaders.0/{file}"));
        header.set_entry_type(EntryType::XHeader);
        header.set_size(record.len() as u64);
        header.set_mtime(0);
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        set_checksum(&mut header);
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(record.as_bytes())?;
        self.out
            .write_all(&[0; BLOCK][..padding(record.len() as u64)])
    }
}

impl<W: Write> Write for TarWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other(
                "the content is longer than its header says",
            ));
        }
        let count = self.out.write(bytes)?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Sets a name without what is not ASCII, cut to what fits, as Go does beside a PAX header.
fn set_plain_name(header: &mut Header, path: &str) {
    let plain: Vec<u8> = path.bytes().filter(u8::is_ascii).take(100).collect();
    let name = &mut header.as_old_mut().name;
    name.fill(0);
    name[..plain.len()].copy_from_slice(&plain);
}

/// Sets the checksum as Go writes it: six octal digits, a zero byte and a blank.
fn set_checksum(header: &mut Header) {
    header.set_cksum();
    let sum = header.cksum().unwrap_or_default();
    header.as_old_mut().cksum = *format!("{sum:06o}\0 ")
        .as_bytes()
        .first_chunk()
        .unwrap_or(&[0; 8]);
}

/// A PAX record: its own length in decimal, a blank, the key, `=`, the value, a newline.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::super::{Ending, ShardTarReader};
    use super::*;
    use crate::shard::ShardPath;

    fn header(path: &str, size: u64) -> MemberHeader<'_> {
        MemberHeader {
            path,
            size,
            modified: 1_600_000_000,
            mode: 0o644,
            owner: (0, 0),
            owner_names: ("root", "root"),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_the_reader_reads(
            database in "[a-z名 ]{1,90}", policy in "[a-zé.]{1,90}x", content in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let shard = ShardPath { database: database.into(), retention_policy: policy.into(), id: 12_345_678 };
            let path = format!("{shard}/000000001-000000001.tombstone");
            let mut writer = TarWriter::new(Vec::new());
            writer.begin(&header(&path, content.len() as u64)).unwrap();
            writer.write_all(&content).unwrap();
            writer.end().unwrap();
            let bytes = writer.finish().unwrap();
            let mut reader = ShardTarReader::new(&bytes[..], &shard);
            let member = reader.next_member().unwrap().unwrap();
            prop_assert_eq!(&member.name, "000000001-000000001.tombstone");
            prop_assert_eq!(member.modified, 1_600_000_000);
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &content);
            prop_assert_eq!(reader.finish().unwrap(), Ending::Whole { members: 1 });
        }
    }

    #[test]
    fn content_of_another_size_than_the_header_says_is_an_error() {
        let mut writer = TarWriter::new(Vec::new());
        writer.begin(&header("a", 3)).unwrap();
        writer.write_all(b"ab").unwrap();
        assert!(writer.end().is_err());
        assert!(writer.write_all(b"cd").is_err());
    }

    #[test]
    fn a_member_with_a_name_outside_ascii_has_the_literal_headers_of_influxd() {
        let path = "名前 db/autogen/1/000000001-000000001.tsm";
        let mut writer = TarWriter::new(Vec::new());
        writer
            .begin(&MemberHeader {
                modified: 0o15300703327,
                ..header(path, 90)
            })
            .unwrap();
        writer.write_all(&[0; 90]).unwrap();
        writer.end().unwrap();
        let bytes = writer.finish().unwrap();
        // As influxd 1.6.7 sent them; what lies between is zero.
        let literal: [(usize, &[u8]); 12] = [
            (0, b" db/autogen/1/PaxHeaders.0/000000001-000000001.tsm\0"),
            (
                100,
                b"0000000\x000000000\x000000000\x0000000000064\x0000000000000\x00015073\0 x\0",
            ),
            (257, b"ustar\x0000\0"),
            (
                512,
                "52 path=名前 db/autogen/1/000000001-000000001.tsm\n\0".as_bytes(),
            ),
            (1024, b" db/autogen/1/000000001-000000001.tsm\0"),
            (
                1124,
                b"0000644\x000000000\x000000000\x0000000000132\x0015300703327\x00015722\0 0\0",
            ),
            (1281, b"ustar\x0000root\0"),
            (1321, b"root\0"),
            (1353, b"0000000\x000000000\0"),
            (1369, b"\0\0\0"),
            (1536, &[0; 90]),
            (2048, &[0; 1024]),
        ];
        for (at, expected) in literal {
            assert_eq!(
                bytes[at..at + expected.len()].escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "at {at}"
            );
        }
    }

    #[test]
    fn an_empty_tar_is_1024_zero_bytes() {
        assert_eq!(TarWriter::new(Vec::new()).finish().unwrap(), vec![0; 1024]);
    }
}
