//! The keys of TSM files, taken apart: the measurement and the tags of a series, and a field.
//!
//! A key is `measurement,tag=value,…#!~#field`. The measurement, the tags and their values are
//! escaped as in line protocol: `\,` and `\ `, and `\=` in tags alone. The field is not. Names are
//! bytes: nobody makes sure that they are UTF-8. What influxd would not write is read as it reads
//! it.

use std::borrow::Cow;

/// What parts the series from the field in a key.
pub const SEPARATOR: &[u8] = b"#!~#";

/// The series of a key, and its field; none where the key names none.
pub fn split_key(key: &[u8]) -> (SeriesKey<'_>, Option<&[u8]>) {
    let at = key
        .windows(SEPARATOR.len())
        .position(|window| window == SEPARATOR);
    match at {
        Some(at) => (SeriesKey(&key[..at]), Some(&key[at + SEPARATOR.len()..])),
        None => (SeriesKey(key), None),
    }
}

/// A series: a measurement with tags, all of them escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesKey<'a>(&'a [u8]);

impl<'a> SeriesKey<'a> {
    /// All of it, escaped.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The measurement.
    pub fn measurement(self) -> Cow<'a, [u8]> {
        unescaped(self.escaped_measurement(), b", ")
    }

    /// The measurement as the key has it.
    pub fn escaped_measurement(self) -> &'a [u8] {
        let ends = |byte| byte == b',' || byte == b' ';
        // A space in the first place is a part of it.
        let end = match self.0.first() {
            None | Some(b',') => 0,
            Some(_) => self.find(1, ends),
        };
        &self.0[..end]
    }

    /// The tags with their values, in the order of the key.
    pub fn tags(self) -> Tags<'a> {
        let comma = self.find(0, |byte| byte == b',');
        Tags {
            series: self,
            // Where there is no measurement, influxd sees no tags.
            at: if comma == 0 { self.0.len() } else { comma + 1 },
        }
    }

    /// The value of a tag; empty where the series has no such tag, as queries have it.
    pub fn tag(self, name: &[u8]) -> Cow<'a, [u8]> {
        let mut tags = self.tags();
        tags.find(|(tag, _)| **tag == *name)
            .map_or(Cow::Borrowed(&[]), |(_, value)| value)
    }

    /// Where the first byte at `from` or later stands that is wanted and has no backslash before
    /// it; else the end.
    fn find(self, from: usize, is_wanted: impl Fn(u8) -> bool) -> usize {
        let is_escaped = |at: usize| at > 0 && self.0[at - 1] == b'\\';
        let mut places = from..self.0.len();
        places
            .find(|&at| is_wanted(self.0[at]) && !is_escaped(at))
            .unwrap_or(self.0.len())
    }
}

/// The tags of a series with their values.
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    series: SeriesKey<'a>,
    /// Where the next tag begins.
    at: usize,
}

impl<'a> Iterator for Tags<'a> {
    type Item = (Cow<'a, [u8]>, Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.series.0;
        while self.at < bytes.len() {
            let equals = self.series.find(self.at, |byte| byte == b'=');
            let tag = &bytes[self.at..equals];
            let start = (equals + 1).min(bytes.len());
            let end = self.series.find(start, |byte| byte == b',');
            if start < end {
                self.at = end + 1;
                return Some((
                    unescaped(tag, b", ="),
                    unescaped(&bytes[start..end], b", ="),
                ));
            }
            // influxd passes a tag without a value, and takes the comma for a part of the next.
            self.at = end;
        }
        None
    }
}

/// Without the backslashes before those `special` bytes.
fn unescaped<'a>(text: &'a [u8], special: &[u8]) -> Cow<'a, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    for (at, &byte) in text.iter().enumerate() {
        let next = text.get(at + 1);
        if byte != b'\\' || next.is_none_or(|next| !special.contains(next)) {
            plain.push(byte);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Measurement, tags and field as text.
    fn parts(key: &str) -> (String, Vec<(String, String)>, Option<String>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (series, field) = split_key(key.as_bytes());
        let tags = series
            .tags()
            .map(|(tag, value)| (text(&tag), text(&value)))
            .collect();
        (text(&series.measurement()), tags, field.map(text))
    }

    fn expected(
        measurement: &str,
        tags: &[(&str, &str)],
        field: Option<&str>,
    ) -> (String, Vec<(String, String)>, Option<String>) {
        let tags = tags
            .iter()
            .map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned()));
        (
            measurement.to_owned(),
            tags.collect(),
            field.map(str::to_owned),
        )
    }

    #[test]
    fn a_key_comes_apart_into_measurement_tags_and_field() {
        assert_eq!(parts("m#!~#v"), expected("m", &[], Some("v")));
        assert_eq!(
            parts("cpu,dc=eu,host=web 1#!~#load 1"),
            expected("cpu", &[("dc", "eu"), ("host", "web 1")], Some("load 1"))
        );
        // Seen on 1.6.7.
        assert_eq!(
            parts(r"my\ m\,x,tag\ k=v\,1\ 2\=3#!~#f 1"),
            expected("my m,x", &[("tag k", "v,1 2=3")], Some("f 1"))
        );
    }

    #[test]
    fn what_influxd_would_not_write_is_read_as_it_reads_it() {
        assert_eq!(parts("m,h=a"), expected("m", &[("h", "a")], None));
        assert_eq!(parts(""), expected("", &[], None));
        assert_eq!(parts("#!~#v"), expected("", &[], Some("v")));
        assert_eq!(parts(",h=a#!~#v"), expected("", &[], Some("v")));
        assert_eq!(
            parts("m,h=a#!~#v#!~#w"),
            expected("m", &[("h", "a")], Some("v#!~#w"))
        );
        assert_eq!(
            parts("m,a=,b=1#!~#v"),
            expected("m", &[(",b", "1")], Some("v"))
        );
        assert_eq!(parts("m,a,b#!~#v"), expected("m", &[], Some("v")));
        assert_eq!(parts("m,#!~#v"), expected("m", &[], Some("v")));
        assert_eq!(
            parts("m,a=b=c,d=e#!~#v"),
            expected("m", &[("a", "b=c"), ("d", "e")], Some("v"))
        );
        // A backslash escapes what follows, and is itself when that needs no escape.
        assert_eq!(
            parts(r"m\,h=a,x=\y\#!~#v"),
            expected("m,h=a", &[("x", r"\y\")], Some("v"))
        );
        assert_eq!(parts(r"m\=n#!~#v"), expected(r"m\=n", &[], Some("v")));
        assert_eq!(parts(" m#!~#v"), expected(" m", &[], Some("v")));
        assert_eq!(
            parts("m n,h=a#!~#v"),
            expected("m", &[("h", "a")], Some("v"))
        );
    }

    #[test]
    fn names_need_not_be_text() {
        let (series, field) = split_key(b"m\xff,t\xfe=\xfd#!~#\xfc");
        assert_eq!(&*series.measurement(), b"m\xff");
        assert_eq!(&*series.tag(b"t\xfe"), b"\xfd");
        assert_eq!(field, Some(&b"\xfc"[..]));
    }

    #[test]
    fn a_tag_that_a_series_lacks_is_empty() {
        let (series, _) = split_key(b"m,a=1,b=2#!~#v");
        assert_eq!(&*series.tag(b"b"), b"2");
        assert_eq!(&*series.tag(b"c"), b"");
    }

    /// As influxd writes it.
    fn escaped(text: &str, special: &[char]) -> String {
        let mut out = String::new();
        for character in text.chars() {
            if special.contains(&character) {
                out.push('\\');
            }
            out.push(character);
        }
        out
    }

    proptest! {
        #[test]
        fn what_influxd_writes_comes_back(
            measurement in "[a-c, =é]{1,6}",
            tags in prop::collection::vec(("[a-c, =é]{1,4}", "[a-c, =é]{1,4}"), 0..4),
            field in "[a-c, =\\\\]{0,4}",
        ) {
            let in_tags = [',', ' ', '='];
            let mut key = escaped(&measurement, &[',', ' ']);
            for (tag, value) in &tags {
                key.push_str(&format!(",{}={}", escaped(tag, &in_tags), escaped(value, &in_tags)));
            }
            key.push_str(&format!("#!~#{field}"));
            prop_assert_eq!(parts(&key), (measurement, tags, Some(field)));
        }

        #[test]
        fn no_key_is_too_odd(key in prop::collection::vec(prop::sample::select(&b"ab,=\\ #!~\xff"[..]), 0..24)) {
            let (series, field) = split_key(&key);
            let separator = if field.is_some() { SEPARATOR.len() } else { 0 };
            let length = series.bytes().len() + separator + field.map_or(0, <[u8]>::len);
            prop_assert_eq!(length, key.len());
            prop_assert!(series.tags().count() <= key.len());
            prop_assert!(series.tags().all(|(_, value)| !value.is_empty()));
        }
    }
}
