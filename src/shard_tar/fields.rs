//! Numbers and PAX records in tar headers, read strictly: a field that another reader could take
//! for something else is refused.

/// Reads a number of a header: octal digits, or base-256 where its first bit is set. `None` for a
/// negative one.
///
/// # Errors
///
/// When it is neither, or has more than 64 bits; the text says which.
pub(super) fn number(field: &[u8]) -> Result<Option<u64>, String> {
    let (Some(&first), rest) = (field.first(), field.get(1..).unwrap_or_default()) else {
        return Err("it is empty".to_owned());
    };
    if first & 0x80 == 0 {
        return octal(field).map(Some);
    }
    if first & 0x40 != 0 {
        return Ok(None);
    }
    let mut value = u64::from(first & 0x3f);
    for byte in rest {
        value = value
            .checked_mul(256)
            .ok_or_else(|| format!("{} has more than 64 bits", field.escape_ascii()))?
            | u64::from(*byte);
    }
    Ok(Some(value))
}

fn octal(field: &[u8]) -> Result<u64, String> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | b'\0');
    let begin = field.iter().position(|byte| !is_padding(byte));
    let digits = begin.map_or(&[][..], |begin| &field[begin..]);
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    let (digits, behind) = digits.split_at(end);
    let no_number = || format!("\"{}\" is no octal number", field.escape_ascii());
    if digits.is_empty() || !behind.iter().all(is_padding) {
        return Err(no_number());
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value
            .checked_mul(8)
            .map(|value| value | u64::from(digit - b'0'))
            .ok_or_else(|| format!("{} has more than 64 bits", field.escape_ascii())),
        _ => Err(no_number()),
    })
}

/// The records of a PAX header: `<length> <key>=<value>\n`, the length that of the whole record. A
/// value may hold any byte.
pub(super) struct PaxRecords<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for PaxRecords<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.record().ok_or("a malformed PAX header");
        if record.is_err() {
            self.0 = &[];
        }
        Some(record)
    }
}

impl<'a> PaxRecords<'a> {
    fn record(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let blank = self.0.iter().position(|byte| *byte == b' ')?;
        let digits = &self.0[..blank];
        // As Go and POSIX have it: digits alone. A sign would be another reader's end of the
        // header.
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length: usize = str::from_utf8(digits).ok()?.parse().ok()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        let text = record.get(blank + 1..)?.strip_suffix(b"\n")?;
        let equals = text.iter().position(|byte| *byte == b'=')?;
        self.0 = rest;
        Some((&text[..equals], &text[equals + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_of_more_than_64_bits_is_refused_and_not_cut() {
        let base_256 = |high: [u8; 4], low: u64| {
            let mut field = [0; 12];
            field[..4].copy_from_slice(&high);
            field[4..].copy_from_slice(&low.to_be_bytes());
            number(&field)
        };
        assert_eq!(base_256([0x80, 0, 0, 0], 1 << 40), Ok(Some(1 << 40)));
        assert_eq!(base_256([0x80, 0, 0, 0], u64::MAX), Ok(Some(u64::MAX)));
        // 2 to the power of 64, and 512.
        assert!(base_256([0x80, 0, 0, 1], 512).is_err());
        assert!(base_256([0x81, 0, 0, 0], 512).is_err());
        assert_eq!(base_256([0xff; 4], u64::MAX), Ok(None));
        assert_eq!(number(b"00000001750\0"), Ok(Some(1000)));
        assert_eq!(number(b"   1750 \0\0\0\0"), Ok(Some(1000)));
        assert_eq!(number(b"777777777777"), Ok(Some((1 << 36) - 1)));
        assert!(number(b"7777777777777777777777777").is_err());
        for odd in [
            &b""[..],
            b"\0\0\0\0",
            b"+0000001750\0",
            b"-1\0",
            b"18\0",
            b"17 50\0",
            b"0x10",
        ] {
            assert!(number(odd).is_err(), "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn a_pax_record_may_hold_line_feeds_and_nothing_ends_a_header_before_its_end() {
        let read = |bytes: &'static [u8]| PaxRecords(bytes).collect::<Result<Vec<_>, _>>();
        assert_eq!(
            read(b"14 path=a\nb=c\n12 size=512\n").unwrap(),
            [(&b"path"[..], &b"a\nb=c"[..]), (b"size", b"512")]
        );
        for odd in [
            &b"\n12 size=512\n"[..],
            b"12 size=512",
            b"13 size=512\n",
            b"11 size=512\n",
            b"+12 size=51\n",
            b"3 \n",
            b"99999999999999999999999 size=1\n",
            b"12 size=512\n\n",
            b"8 noval\n",
        ] {
            assert!(read(odd).is_err(), "{}", odd.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_field_is_read_or_refused_as_the_library_reads_it(field in any::<[u8; 12]>(), octal in "[0-7]{11}") {
            let _ = number(&field);
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().size[..11].copy_from_slice(octal.as_bytes());
            header.as_old_mut().size[11] = 0;
            prop_assert_eq!(number(&header.as_old().size).unwrap(), header.entry_size().ok());
        }

        #[test]
        fn any_bytes_are_records_or_none(bytes in any::<Vec<u8>>()) {
            let _ = PaxRecords(&bytes).count();
        }
    }
}
