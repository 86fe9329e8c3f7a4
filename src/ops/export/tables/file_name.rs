//! The names of files and folders that say which database, policy or measurement they are of: such
//! names may have any bytes, and those of files may not.

/// The most bytes that a file system takes in a name.
const MOST_BYTES: usize = 255;
/// Bytes of a name that is too long which are kept, and what stands between them and its hash.
const KEPT_BYTES: usize = 160;
const CUT: &str = "%~";
/// What has no name.
const NO_NAME: &str = "%";

/// The name of a file for something of that name: bytes that cannot be in it are written as `%2F`,
/// so that it can be read back. What would be too long with `ending`, which comes behind it, ends
/// in a hash.
pub(super) fn file_name(name: &[u8], ending: &str) -> String {
    if name.is_empty() {
        return format!("{NO_NAME}{ending}");
    }
    let mut escaped = String::new();
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match is_plain(letter) && !(escaped.is_empty() && letter == '.') {
                true => escaped.push(letter),
                false => escape(letter.encode_utf8(&mut [0; 4]).as_bytes(), &mut escaped),
            }
        }
        escape(chunk.invalid(), &mut escaped);
    }
    if escaped.len() + ending.len() > MOST_BYTES {
        let mut kept = (0..=KEPT_BYTES).rev();
        let kept = kept.find(|&at| escaped.is_char_boundary(at));
        escaped.truncate(kept.unwrap_or(0));
        escaped.push_str(CUT);
        escaped.push_str(&blake3::hash(name).to_hex()[..32]);
    }
    escaped + ending
}

/// Whether it can stand in a name, also on systems that take less than Linux does.
fn is_plain(letter: char) -> bool {
    !letter.is_control() && !r#"%/\:*?"<>|"#.contains(letter)
}

fn escape(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        out.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_elsewhere_and_each_has_a_file_of_its_own() {
        for (name, expected) in [
            (&b"cpu"[..], "cpu.csv"),
            (b"", "%.csv"),
            (b"%", "%25.csv"),
            (b"..", "%2E..csv"),
            (b"../../etc", "%2E.%2F..%2Fetc.csv"),
            (b"a/b\\c\0\n", "a%2Fb%5Cc%00%0A.csv"),
            ("größe 🦀".as_bytes(), "größe 🦀.csv"),
            (b"m\xff", "m%FF.csv"),
            ("m\u{85}".as_bytes(), "m%C2%85.csv"),
        ] {
            assert_eq!(file_name(name, ".csv"), expected);
        }
        let long = |last: char| format!("{}{last}", "é".repeat(300));
        let [one, other] = ['a', 'b'].map(|last| file_name(long(last).as_bytes(), ".csv"));
        assert_ne!(one, other);
        assert!(
            one.len() <= 255 && one.starts_with("éé") && one.contains("%~"),
            "{one}"
        );
        let fits = "x".repeat(251);
        assert_eq!(file_name(fits.as_bytes(), ".csv"), format!("{fits}.csv"));
    }
}
