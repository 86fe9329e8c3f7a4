//! Tests of the reader: what a server sends passes whole in any split, and every kind of damage is
//! seen.

use proptest::prelude::*;
use tar::Builder;

use super::*;

/// The members that were read: each with its content, and whether it was whole.
type Seen = Vec<(Member, Vec<u8>, bool)>;

/// Gives no more than so many bytes at a time.
struct Drip<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..most])
    }
}

fn shard() -> ShardPath {
    ShardPath {
        database: "db.dot".into(),
        retention_policy: "a'b \"c".into(),
        id: 10,
    }
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in members {
        add(&mut builder, path, content, EntryType::Regular);
    }
    builder.into_inner().unwrap()
}

fn add(builder: &mut Builder<Vec<u8>>, path: &str, content: &[u8], kind: EntryType) {
    let mut header = Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mtime(1_600_000_000);
    header.set_entry_type(kind);
    // Written by hand: the library refuses the names a hostile peer would send.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

/// Reads bytes as a file of which the contents of members are read at their places.
fn read_placed(bytes: &[u8]) -> (Result<(Ending, u64), TarError>, Seen) {
    let mut reader = ShardTarReader::in_place(io::Cursor::new(bytes), &shard());
    let mut seen = Seen::new();
    let mut read_all = || {
        while let Some(member) = reader.next_member()? {
            seen.push((member.clone(), Vec::new(), false));
            reader.pass_content()?;
            let content = &bytes[member.offset as usize..][..member.size as usize];
            seen.pop();
            seen.push((member, content.to_owned(), true));
        }
        Ok((reader.finish()?, reader.offset()))
    };
    (read_all(), seen)
}

fn read_steps(bytes: &[u8], step: usize) -> (Result<Ending, TarError>, Seen) {
    read_from(Drip { bytes, step }, &shard())
}

fn read_from(source: impl Read, shard: &ShardPath) -> (Result<Ending, TarError>, Seen) {
    let mut reader = ShardTarReader::new(source, shard);
    let mut seen = Seen::new();
    let result = read_all(&mut reader, &mut seen);
    (result, seen)
}

fn read_all(reader: &mut ShardTarReader<impl Read>, seen: &mut Seen) -> Result<Ending, TarError> {
    let mut buffer = [0; 300];
    while let Some(member) = reader.next_member()? {
        seen.push((member, Vec::new(), false));
        let (_, content, is_whole) = seen.last_mut().unwrap();
        loop {
            match reader.read_content(&mut buffer)? {
                0 => break,
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
        *is_whole = true;
    }
    reader.finish()
}

fn fault(bytes: &[u8]) -> String {
    read_steps(bytes, 333).0.unwrap_err().to_string()
}

const TSM: &str = "db.dot/a'b \"c/10/000000001-000000001.tsm";

#[test]
fn the_members_come_out_whole_however_the_bytes_are_split() {
    let content = vec![7u8; 1300];
    let bytes = archive(&[
        ("db.dot/a'b \"c/10/000000001-000000001.tombstone", b""),
        (TSM, &content),
    ]);
    for step in [1, 2, 511, 512, 513, 1024, bytes.len()] {
        let (result, seen) = read_steps(&bytes, step);
        assert_eq!(result.unwrap(), Ending::Whole { members: 2 });
        assert_eq!(seen[0].0.name, "000000001-000000001.tombstone");
        assert!(!seen[0].0.is_tsm() && seen[1].0.is_tsm());
        assert!(seen[0].0.is_tombstone() && !seen[1].0.is_tombstone());
        assert_eq!((&seen[1].1, seen[1].2), (&content, true));
        let (result, placed) = read_placed(&bytes);
        assert_eq!(
            result.unwrap(),
            (Ending::Whole { members: 2 }, bytes.len() as u64)
        );
        assert_eq!(placed, seen);
    }
}

#[test]
fn no_bytes_an_empty_tar_and_a_cut_one_are_three_different_things() {
    assert_eq!(read_steps(b"", 1).0.unwrap(), Ending::Nothing);
    assert_eq!(
        read_steps(&[0; 1024], 100).0.unwrap(),
        Ending::Whole { members: 0 }
    );
    let bytes = archive(&[(TSM, &[7; 700]), (TSM, b"x")]);
    for end in 1..bytes.len() {
        let error = read_steps(&bytes[..end], 97).0.unwrap_err();
        assert!(
            matches!(error, TarError::CutOff { offset, .. } if offset == end as u64),
            "cut at {end}: {error}"
        );
        assert_eq!(
            read_placed(&bytes[..end]).0.unwrap_err().to_string(),
            error.to_string()
        );
    }
}

#[test]
fn a_cut_says_in_the_middle_of_what_it_is_and_leaves_no_member_whole_but_those_before_it() {
    let bytes = archive(&[(TSM, &[7; 700]), (TSM, b"x")]);
    let padding = format!("in the padding of {TSM}");
    let content = format!("100 bytes before the end of {TSM}");
    for (end, inside, whole) in [
        (511, "in a header", 0),
        (1112, &content, 0),
        (1212, &padding, 0),
        (1535, &padding, 0),
        (1536, "without the two zero blocks that end it", 1),
        (1537, "in a header", 1),
        (2560, "without the two zero blocks that end it", 2),
        (3072, "in the two zero blocks that end it", 2),
    ] {
        let (result, seen) = read_steps(&bytes[..end], 97);
        let error = result.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the tar breaks off after {end} bytes, {inside}")
        );
        assert_eq!(
            seen.iter().filter(|(.., is_whole)| *is_whole).count(),
            whole
        );
    }
}

#[test]
fn an_interrupted_read_is_tried_again() {
    struct Interrupted<'a>(Drip<'a>, bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.read(buffer)
        }
    }
    let bytes = archive(&[(TSM, &[7; 700])]);
    let drip = Drip {
        bytes: &bytes,
        step: 100,
    };
    let (result, seen) = read_from(Interrupted(drip, false), &shard());
    assert_eq!(result.unwrap(), Ending::Whole { members: 1 });
    assert_eq!(seen[0].1, [7; 700]);
}

#[test]
fn bytes_after_the_trailer_are_refused() {
    let bytes = [archive(&[(TSM, b"x")]), vec![0]].concat();
    assert!(fault(&bytes).contains("behind the end"));
}

#[test]
fn a_flipped_header_byte_is_seen() {
    let bytes = archive(&[(TSM, b"content")]);
    // Up to 500: the header's last bytes are padding that the checksum covers too.
    for at in 0..BLOCK {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x01;
        assert!(read_steps(&damaged, 512).0.is_err(), "byte {at} flipped");
    }
}

#[test]
fn names_that_lead_elsewhere_and_odd_types_are_refused() {
    for path in [
        "/etc/passwd",
        "../db.dot/a'b \"c/10/x.tsm",
        "db.dot/a'b \"c/10/../../x.tsm",
        "db.dot/a'b \"c/10/./x.tsm",
        "db.dot/a'b \"c/10//x.tsm",
        "db.dot/a'b \"c/100/x.tsm",
        "db.dot/a'b \"c/1/x.tsm",
        "db.dot/a'b \"c/10",
        "db.dot/a'b \"c/10/",
        "other/a'b \"c/10/x.tsm",
        "db.dot/a'b \"c/10/a/b/c/d",
        "db.dot/a'b \"c/10/a\\..\\b",
    ] {
        assert!(
            fault(&archive(&[(path, b"x")])).contains("is not inside"),
            "{path}"
        );
    }
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Fifo,
        EntryType::GNULongName,
    ] {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, TSM, b"", kind);
        assert!(
            fault(&builder.into_inner().unwrap()).contains("neither a regular file"),
            "{kind:?}"
        );
    }
}

#[test]
fn the_nul_type_of_old_servers_and_directories_are_taken() {
    let mut builder = Builder::new(Vec::new());
    add(
        &mut builder,
        "db.dot/a'b \"c/10/index",
        b"",
        EntryType::Directory,
    );
    add(
        &mut builder,
        "db.dot/a'b \"c/10/index/MANIFEST",
        b"{}",
        EntryType::new(0),
    );
    let (result, seen) = read_steps(&builder.into_inner().unwrap(), 512);
    assert_eq!(result.unwrap(), Ending::Whole { members: 2 });
    assert!(seen[0].0.directory);
    assert_eq!(seen[0].0.name, "index");
    assert_eq!(seen[1].0.name, "index/MANIFEST");
}

#[test]
fn the_directory_of_the_shard_has_no_name_and_what_lies_in_it_lies_three_deep_at_most() {
    let mut builder = Builder::new(Vec::new());
    for (path, kind) in [
        ("db.dot/a'b \"c/10", EntryType::Directory),
        ("db.dot/a'b \"c/10/", EntryType::Directory),
        ("db.dot/a'b \"c/10/a.tsm/", EntryType::Directory),
        ("db.dot/a'b \"c/10/a.tsm/b/c", EntryType::Regular),
    ] {
        add(&mut builder, path, b"", kind);
    }
    let (result, seen) = read_steps(&builder.into_inner().unwrap(), 512);
    result.unwrap();
    let names: Vec<&str> = seen.iter().map(|(member, ..)| &*member.name).collect();
    assert_eq!(names, ["", "", "a.tsm", "a.tsm/b/c"]);
    assert!(!seen[2].0.is_tsm());
}

#[test]
fn backslashes_of_windows_servers_are_separators() {
    let shard = ShardPath {
        database: "db".into(),
        retention_policy: "rp".into(),
        id: 3,
    };
    let bytes = archive(&[("db\\rp\\3\\000000001-000000001.tsm", b"x")]);
    let (result, seen) = read_from(&bytes[..], &shard);
    result.unwrap();
    assert_eq!(seen[0].0.name, "000000001-000000001.tsm");
}

#[test]
fn a_pax_path_replaces_the_name_and_a_huge_pax_header_is_refused() {
    let shard = ShardPath {
        database: "名前 db".into(),
        retention_policy: "autogen".into(),
        id: 1,
    };
    let record = "path=名前 db/autogen/1/000000001-000000001.tsm\n";
    let mut length = record.len() + 3;
    if length > 99 {
        length += 1;
    }
    let pax = format!("{length} {record}");
    let with_header = |pax: &[u8]| {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "PaxHeaders.0/x", pax, EntryType::XHeader);
        add(
            &mut builder,
            " db/autogen/1/000000001-000000001.tsm",
            b"abc",
            EntryType::Regular,
        );
        builder.into_inner().unwrap()
    };
    let bytes = with_header(pax.as_bytes());
    for end in 1..2 * BLOCK {
        let (result, _) = read_from(&bytes[..end], &shard);
        let error = result.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the tar breaks off after {end} bytes, in a header")
        );
    }

    // As long as it may be, with a comment, and a byte longer.
    let comment = |length: usize| {
        let record = format!("{length} comment=");
        format!("{record}{}\n{pax}", "c".repeat(length - record.len() - 1))
    };
    let longest = comment((64 << 10) - pax.len());
    assert_eq!(longest.len(), 64 << 10);
    for pax in [&pax, &longest] {
        let bytes = with_header(pax.as_bytes());
        let (result, seen) = read_from(&bytes[..], &shard);
        assert_eq!(result.unwrap(), Ending::Whole { members: 1 });
        assert_eq!(seen[0].0.name, "000000001-000000001.tsm");
    }
    let too_long = with_header(comment((64 << 10) - pax.len() + 1).as_bytes());
    assert!(fault(&too_long).contains("a PAX header of 65537 bytes"));
}

#[test]
fn a_size_that_reaches_past_the_end_of_counting_is_refused() {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..TSM.len()].copy_from_slice(TSM.as_bytes());
    header.set_entry_type(EntryType::Regular);
    // With the header before it and the rest of its last block, it ends where counting does.
    let most = i64::MAX as u64 - 512 - 512;
    for (size, why) in [
        (most, "breaks off"),
        (most + 1, "claims 9223372036854774784 bytes"),
        (u64::MAX - 1, "claims"),
    ] {
        header.set_size(size);
        header.set_cksum();
        let error = fault(header.as_bytes());
        assert!(error.contains(why), "{size}: {error}");
    }
}

/// The header of a member of that shard, with these bytes as its size.
fn header_with_size(kind: EntryType, path: &str, size: [u8; 12]) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mtime(0);
    header.as_old_mut().size = size;
    header.set_cksum();
    header
}

#[test]
fn a_size_of_more_than_64_bits_is_not_read_as_a_smaller_one() {
    let content = [7; BLOCK];
    let with_size = |size| {
        let header = header_with_size(EntryType::Regular, TSM, size);
        [header.as_bytes(), &content[..], &[0; 1024][..]].concat()
    };
    let sized = with_size([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(
        read_steps(&sized, 512).0.unwrap(),
        Ending::Whole { members: 1 }
    );
    // 2 to the power of 64 more; and a negative one.
    let huge = fault(&with_size([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0]));
    assert!(huge.contains("more than 64 bits"), "{huge}");
    let negative = fault(&with_size([0xff; 12]));
    assert!(negative.contains("negative"), "{negative}");
}

#[test]
fn a_pax_size_replaces_that_of_the_header_and_must_be_a_number_that_can_be() {
    let pax = |records: &str| {
        let mut builder = Builder::new(Vec::new());
        add(
            &mut builder,
            "PaxHeaders.0/x",
            records.as_bytes(),
            EntryType::XHeader,
        );
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes
    };
    let member = header_with_size(EntryType::Regular, TSM, *b"00000000000\0");
    let rest = [member.as_bytes(), &[7; BLOCK][..], &[0; 1024][..]].concat();
    let (result, seen) = read_steps(&[pax("12 size=512\n"), rest.clone()].concat(), 100);
    assert_eq!(result.unwrap(), Ending::Whole { members: 1 });
    assert_eq!(seen[0].0.size, 512);
    for (records, why) in [
        ("29 size=18446744073709552128\n", "a PAX size"),
        ("13 size=+512\n", "a PAX size"),
        ("11 size=-1\n", "a PAX size"),
        ("28 size=9223372036854775807\n", "claims"),
        ("\n12 size=512\n", "malformed"),
    ] {
        let said = fault(&[pax(records), rest.clone()].concat());
        assert!(said.contains(why), "{records:?}: {said}");
    }
    // Headers without end are none of a member.
    let twice = [pax("12 size=512\n"), pax("12 size=512\n"), rest].concat();
    assert!(fault(&twice).contains("without its member"));
}

#[test]
fn an_error_of_the_source_is_told_apart_from_damage() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::from_raw_os_error(5)),
                count => Ok(count),
            }
        }
    }
    let bytes = archive(&[(TSM, &[7; 700])]);
    for end in [0, 1, 512, 600, 1212, 1536, 2048, 2560] {
        let failing = || Failing(&bytes[..end]);
        let (result, _) = read_from(failing(), &shard());
        let error = result.unwrap_err();
        assert!(matches!(error, TarError::Source(_)), "{end}: {error}");
        assert_eq!(error.offset(), None);
        let passed = ShardTarReader::new(failing(), &shard()).finish();
        assert!(matches!(passed.unwrap_err(), TarError::Source(_)), "{end}");
        let error = io::Error::from(error);
        assert_eq!(error.raw_os_error(), Some(5));
    }
    // Damage says where it is, and a cut how far the tar goes.
    let (cut, _) = read_from(&bytes[..600], &shard());
    assert_eq!(cut.unwrap_err().offset(), Some(600));
    let (damaged, _) = read_from(
        &[bytes[..1536].to_vec(), vec![1; 512]].concat()[..],
        &shard(),
    );
    assert_eq!(damaged.unwrap_err().offset(), Some(1536));
}

#[test]
fn what_follows_the_end_is_left_where_it_is_until_the_reader_is_asked_to_finish() {
    let bytes = [archive(&[(TSM, b"x")]), b"more".to_vec()].concat();
    let mut source = &bytes[..];
    let mut reader = ShardTarReader::new(&mut source, &shard());
    assert!(reader.next_member().unwrap().is_some());
    assert!(reader.next_member().unwrap().is_none());
    assert_eq!(reader.ending(), Ending::Whole { members: 1 });
    assert_eq!(source, b"more");
}

#[test]
fn the_content_is_read_to_its_end_and_no_further() {
    let bytes = archive(&[(TSM, &[7; 700]), (TSM, b"x")]);
    let mut reader = ShardTarReader::new(&bytes[..], &shard());
    assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
    for expected in [&[7; 700][..], b"x"] {
        reader.next_member().unwrap().unwrap();
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert_eq!(content, expected);
    }
    assert_eq!(reader.finish().unwrap(), Ending::Whole { members: 2 });
    let mut cut = ShardTarReader::new(&bytes[..600], &shard());
    cut.next_member().unwrap();
    let error = cut.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("breaks off after 600 bytes, 612 bytes before the end")
    );
}

#[test]
fn a_tar_has_as_many_members_as_are_accepted_and_no_more() {
    let members = |count: u64| {
        let mut builder = Builder::new(Vec::new());
        (0..count).for_each(|_| add(&mut builder, TSM, b"", EntryType::Regular));
        let bytes = builder.into_inner().unwrap();
        ShardTarReader::new(&bytes[..], &shard()).finish()
    };
    let most = MAX_MEMBERS;
    assert_eq!(members(most).unwrap(), Ending::Whole { members: most });
    let error = members(most + 1).unwrap_err().to_string();
    assert!(error.contains("more than 20000 members"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_result_that_does_not_depend_on_their_split(
        noise in prop::collection::vec(any::<u8>(), 0..1500),
        at in 0usize..2048,
        step in 1usize..700,
    ) {
        let mut bytes = archive(&[(TSM, &[7; 700])]);
        let at = at.min(bytes.len());
        let end = (at + noise.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        let (whole, seen_whole) = read_steps(&bytes, bytes.len());
        let (split, seen_split) = read_steps(&bytes, step);
        let (placed, seen_placed) = read_placed(&bytes);
        let passed = ShardTarReader::new(&bytes[..], &shard()).finish();
        prop_assert_eq!(format!("{whole:?}"), format!("{split:?}"));
        prop_assert_eq!(format!("{whole:?}"), format!("{passed:?}"));
        prop_assert_eq!(format!("{whole:?}"), format!("{:?}", placed.map(|(ending, _)| ending)));
        if whole.is_ok() {
            prop_assert_eq!(&seen_whole, &seen_split);
            prop_assert_eq!(seen_whole, seen_placed);
        }
    }
}
