//! Digests of files: how they are made, and how records hold them.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// How a digest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// Records of form 1 have it, and files that newer sets share with theirs.
    Sha256,
    /// New files have it.
    Blake3,
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Blake3 => "BLAKE3",
        })
    }
}

/// The bytes of a digest; records have them in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum([u8; 32]);

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<[u8; 32]> for Sum {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Sum {
    type Err = NotSum;

    fn from_str(text: &str) -> Result<Self, NotSum> {
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(NotSum);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| match digit {
                b'0'..=b'9' => Ok(digit - b'0'),
                b'a'..=b'f' => Ok(digit - b'a' + 10),
                _ => Err(NotSum),
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 digits in lower-case hexadecimal")]
pub struct NotSum;

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The digest of a file, in lower-case hexadecimal. Those of two algorithms are never equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileDigest {
    /// SHA-256 of the file as it lies there, in lower-case hexadecimal.
    Sha256(#[schemars(with = "String", regex(pattern = "^[0-9a-f]{64}$"))] Sum),
    /// BLAKE3 of the file as it lies there, in lower-case hexadecimal.
    Blake3(#[schemars(with = "String", regex(pattern = "^[0-9a-f]{64}$"))] Sum),
}

impl FileDigest {
    /// How it was made.
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self {
            Self::Sha256(_) => DigestAlgorithm::Sha256,
            Self::Blake3(_) => DigestAlgorithm::Blake3,
        }
    }

    /// Whether it is the digest of these bytes.
    pub(crate) fn is_of(&self, bytes: &[u8]) -> bool {
        Self::of(self.algorithm(), bytes) == *self
    }

    /// The digest of these bytes.
    pub(crate) fn of(algorithm: DigestAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Makes the digest of what it is given, piece by piece.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The digest of all the bytes.
    pub(crate) fn finish(self) -> FileDigest {
        match self {
            Self::Sha256(hasher) => FileDigest::Sha256(Sum(hasher.finalize().into())),
            Self::Blake3(hasher) => FileDigest::Blake3(Sum(hasher.finalize().into())),
        }
    }
}

/// Makes the digest of what is read, where that is asked for.
#[derive(Debug)]
pub(crate) struct HashReader<R> {
    inner: R,
    hasher: Option<Hasher>,
}

impl<R> HashReader<R> {
    pub(crate) fn new(inner: R, algorithm: Option<DigestAlgorithm>) -> Self {
        Self {
            inner,
            hasher: algorithm.map(Hasher::new),
        }
    }

    /// The digest of the bytes so far.
    pub(crate) fn digest(&self) -> Option<FileDigest> {
        self.hasher.clone().map(Hasher::finish)
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALGORITHMS: [DigestAlgorithm; 2] = [DigestAlgorithm::Sha256, DigestAlgorithm::Blake3];

    #[test]
    fn digests_are_those_that_b3sum_and_sha256sum_print() {
        let of = |algorithm, bytes: &[u8]| FileDigest::of(algorithm, bytes);
        let [sha256, blake3] = ALGORITHMS;
        for (found, printed) in [
            (
                of(blake3, b""),
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            ),
            (
                of(blake3, b"abc"),
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ] {
            assert_eq!(found, FileDigest::Blake3(printed.parse().unwrap()));
        }
        for (found, printed) in [
            (
                of(sha256, b""),
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                of(sha256, b"abc"),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            assert_eq!(found, FileDigest::Sha256(printed.parse().unwrap()));
        }
    }

    #[test]
    fn a_digest_is_that_of_the_bytes_that_were_read() {
        for algorithm in ALGORITHMS {
            let mut reader = HashReader::new(&b"content"[..], Some(algorithm));
            assert_eq!(reader.read(&mut [0; 3]).unwrap(), 3);
            assert!(reader.digest().unwrap().is_of(b"con"));
            assert!(!reader.digest().unwrap().is_of(b"content"));
        }
        assert_eq!(HashReader::new(&b""[..], None).digest(), None);
    }

    #[test]
    fn a_digest_is_read_as_it_is_printed_and_nothing_else() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<Sum>().unwrap().to_string(), text);
        for other in [
            "",
            "00",
            &text.to_uppercase(),
            &text.replace('0', "g"),
            &(text.clone() + "0"),
        ] {
            assert_eq!(other.parse::<Sum>(), Err(NotSum), "{other}");
        }
    }

    #[test]
    fn the_same_value_of_another_algorithm_is_another_digest() {
        let value = Sum::from([0; 32]);
        assert_ne!(FileDigest::Sha256(value), FileDigest::Blake3(value));
    }

    proptest! {
        /// Whatever the pieces are: chunks, and the trees over them, end anywhere.
        #[test]
        fn pieces_have_the_digest_of_the_whole(
            pieces in proptest::collection::vec((any::<u8>(), 0_usize..40_000), 0..8),
        ) {
            let (mut sha256, mut blake3) = (
                Hasher::new(DigestAlgorithm::Sha256),
                Hasher::new(DigestAlgorithm::Blake3),
            );
            let mut whole = Vec::new();
            for (byte, count) in pieces {
                let piece: Vec<u8> = (0..count).map(|at| byte.wrapping_add(at as u8)).collect();
                sha256.update(&piece);
                blake3.update(&piece);
                whole.extend(piece);
            }
            let one_shot: [u8; 32] = blake3::hash(&whole).into();
            prop_assert_eq!(blake3.finish(), FileDigest::Blake3(one_shot.into()));
            let one_shot: [u8; 32] = Sha256::digest(&whole).into();
            prop_assert_eq!(sha256.finish(), FileDigest::Sha256(one_shot.into()));
        }
    }
}
