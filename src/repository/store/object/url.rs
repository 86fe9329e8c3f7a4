//! The address of a repository in object storage: `s3://bucket/prefix`, `gs://bucket/prefix`,
//! `az://container/prefix`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Whose protocol the storage speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// How the URLs of it begin, before `://`.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }

    /// What it calls a bucket.
    pub(crate) fn bucket_word(self) -> &'static str {
        match self {
            Self::S3 | Self::Gcs => "bucket",
            Self::Azure => "container",
        }
    }
}

/// A bucket, and what the names of all objects of a repository in it begin with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectUrl {
    provider: Provider,
    bucket: String,
    /// Without slashes around it; empty where the repository is the whole bucket.
    prefix: String,
}

impl ObjectUrl {
    /// Whether a text is meant for a URL rather than for a path: it has a scheme.
    pub fn is_url(text: &str) -> bool {
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        text.split_once("://")
            .is_some_and(|(scheme, _)| is_scheme(scheme))
    }

    /// Whose protocol the storage speaks.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The bucket, or Azure's container.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What the names of all objects begin with, without slashes around it; it may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a file of the repository.
    #[cfg(any(test, feature = "object-store"))]
    pub(super) fn key(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// The URL of a file of the repository.
    #[cfg(any(test, feature = "object-store"))]
    pub(super) fn of(&self, name: &str) -> String {
        format!(
            "{}://{}/{}",
            self.provider.scheme(),
            self.bucket,
            self.key(name)
        )
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.provider.scheme(), self.bucket)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl FromStr for ObjectUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| {
            ErrorKind::Usage
                .error(format!("cannot read the URL {text}: {why}"))
                .hint("write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("it has no scheme".to_owned()))?;
        let provider = Provider::ALL
            .into_iter()
            .find(|provider| provider.scheme() == scheme)
            .ok_or_else(|| wrong(format!("{scheme}:// is no storage that snap knows")))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            // It is not repeated: what stands before the @ may be a secret.
            return Err(ErrorKind::Usage
                .error(format!("a {scheme}:// URL takes no user and no password"))
                .hint("credentials come from the environment or from a profile"));
        }
        let is_of_a_bucket = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
        if bucket.is_empty() || !bucket.chars().all(is_of_a_bucket) {
            let word = provider.bucket_word();
            return Err(wrong(format!("{bucket:?} is no name of a {word}")));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_sound = |part: &str| !matches!(part, "" | "." | "..");
        if !prefix.is_empty() && !prefix.split('/').all(is_sound) {
            return Err(wrong(
                "a part of the prefix is empty, '.' or '..'".to_owned(),
            ));
        }
        if prefix.contains(|c: char| c.is_control()) {
            return Err(wrong("there are control characters in it".to_owned()));
        }
        // Some services store an object under a name with slashes in their place, and then do not
        // list it under its own.
        if prefix.contains('\\') {
            return Err(wrong("there is a backslash in it".to_owned()));
        }
        Ok(Self {
            provider,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_provider_the_bucket_and_the_prefix() {
        for (text, provider, bucket, prefix) in [
            ("s3://b", Provider::S3, "b", ""),
            ("s3://my.bucket/", Provider::S3, "my.bucket", ""),
            ("gs://b/influx", Provider::Gcs, "b", "influx"),
            ("az://c/a b/ü+&?#/", Provider::Azure, "c", "a b/ü+&?#"),
        ] {
            let url: ObjectUrl = text.parse().unwrap();
            assert_eq!(
                (url.provider(), url.bucket(), url.prefix()),
                (provider, bucket, prefix)
            );
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        let url: ObjectUrl = "s3://b/p/q".parse().unwrap();
        assert_eq!(url.of("meta.00"), "s3://b/p/q/meta.00");
        let whole: ObjectUrl = "s3://b".parse().unwrap();
        assert_eq!(whole.of(".snap/x.json"), "s3://b/.snap/x.json");
        assert_eq!(whole.key("meta.00"), "meta.00");
    }

    #[test]
    fn what_names_no_bucket_is_refused_and_no_password_is_repeated() {
        for text in [
            "s3:/b",
            "ftp://b/p",
            "s3://",
            "s3:///p",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/p\n",
            "s3://b/p\\q",
            "s3://b?x/p",
        ] {
            let error = text.parse::<ObjectUrl>().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{text}");
        }
        let error = "s3://key:secret@bucket/p".parse::<ObjectUrl>().unwrap_err();
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_path_is_no_url() {
        for path in ["backup", "./s3://b", "/srv/a:b", "C:/x", "://x"] {
            assert!(!ObjectUrl::is_url(path), "{path}");
        }
        assert!(ObjectUrl::is_url("s3://b") && ObjectUrl::is_url("http+x://b"));
    }
}
