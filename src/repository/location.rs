//! Where a repository lies, as it was named: a directory, or a URL of object storage.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;

use super::hidden::HIDDEN;
use super::store::object::{self, ObjectSettings, ObjectUrl, Provider};
use super::store::{LocalStore, OnWait, WritableStore};
use crate::error::{Error, ErrorKind};

/// What can be written in place of a URL that is not understood.
const FORMS: &str = "PATH is a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
                     az://CONTAINER/PREFIX";

/// Where a repository lies: a directory, or a prefix in object storage. It is shown as it was
/// named. Clones share what was opened.
#[derive(Clone)]
pub struct Location(Arc<Named>);

struct Named {
    text: OsString,
    place: Place,
    /// How object storage is reached.
    settings: OnceLock<ObjectSettings>,
    /// Who is told that it is waited for.
    on_wait: OnceLock<OnWait>,
    /// Opened when it is first asked for.
    store: OnceLock<Arc<dyn WritableStore>>,
}

enum Place {
    Directory(PathBuf),
    Url(ObjectUrl),
}

impl Location {
    /// Reads what was typed for PATH. What has a scheme is a URL; a directory that is called so can
    /// be named as `./s3:`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for a URL of no known storage, or with more in it than a bucket and a
    /// prefix. What may be a secret is not repeated.
    pub fn parse(text: impl Into<OsString>) -> Result<Self, Error> {
        let text = text.into();
        let place = match Scheme::of(&text) {
            None => Place::Directory(PathBuf::from(&text)),
            Some(scheme) => scheme.place(text.to_str())?,
        };
        Ok(Self::new(text, place))
    }

    fn new(text: OsString, place: Place) -> Self {
        Self(Arc::new(Named {
            text,
            place,
            settings: OnceLock::new(),
            on_wait: OnceLock::new(),
            store: OnceLock::new(),
        }))
    }

    /// The place of a store that a test has made.
    #[cfg(test)]
    pub(super) fn of_store(name: &str, store: Arc<dyn WritableStore>) -> Self {
        let text = format!("s3://{name}");
        let location = Self::parse(text).unwrap();
        location.0.store.set(store).unwrap();
        location
    }

    /// Whether a word is meant for a URL, a sound one or not.
    pub(crate) fn is_url(word: &OsStr) -> bool {
        Scheme::of(word).is_some()
    }

    /// The directory, where it is one of this machine.
    pub fn directory(&self) -> Option<&Path> {
        match &self.0.place {
            Place::Directory(directory) => Some(directory),
            Place::Url(_) => None,
        }
    }

    /// The URL, where it is in object storage.
    pub fn url(&self) -> Option<&ObjectUrl> {
        match &self.0.place {
            Place::Directory(_) => None,
            Place::Url(url) => Some(url),
        }
    }

    /// Makes sure that what is written there is not among the files that snap keeps for itself in a
    /// repository. Read it can be: a file system may show its own snapshots under that name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] where it is.
    pub(crate) fn ensure_not_hidden(&self) -> Result<(), Error> {
        let is_hidden = match &self.0.place {
            Place::Directory(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                path.components().any(|part| part.as_os_str() == HIDDEN)
            }
            Place::Url(url) => url.prefix().split('/').any(|part| part == HIDDEN),
        };
        match is_hidden {
            true => Err(ErrorKind::Usage
                .error(format!(
                    "{self} is inside {HIDDEN}, where snap keeps its own files"
                ))
                .hint("backups go into a directory, or a prefix, of their own")),
            false => Ok(()),
        }
    }

    /// As it was named.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0.text
    }

    /// Sets how object storage is reached. The first settings hold, and none that come after it was
    /// opened.
    pub fn configure(&self, settings: ObjectSettings) {
        let _ = self.0.settings.set(settings);
    }

    /// Has somebody told, in words, while object storage fails and is asked again: after a second,
    /// and then once a minute. Whoever is told must not block for long.
    pub fn on_wait(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.0.on_wait.set(Arc::new(tell));
    }

    /// How old a file that no set names must be before it is removed; zero where there is a lock.
    ///
    /// # Errors
    ///
    /// When the files cannot be reached at all.
    pub(crate) fn grace(&self) -> Result<Duration> {
        Ok(self.store()?.grace())
    }

    /// The files that lie there, or will.
    ///
    /// # Errors
    ///
    /// When they cannot be reached at all. That a directory is not there is no error yet.
    pub(super) fn store(&self) -> Result<Arc<dyn WritableStore>> {
        if let Some(store) = self.0.store.get() {
            return Ok(Arc::clone(store));
        }
        let opened: Arc<dyn WritableStore> = match &self.0.place {
            Place::Directory(directory) => Arc::new(LocalStore::new(directory)),
            Place::Url(url) => {
                let settings = self.0.settings.get_or_init(ObjectSettings::default);
                object::open(url, settings, self.0.on_wait.get().cloned())?
            }
        };
        Ok(Arc::clone(self.0.store.get_or_init(|| opened)))
    }
}

/// The beginning of what is meant for a URL.
struct Scheme {
    /// As it was typed.
    typed: String,
    /// Whether two slashes follow.
    has_slashes: bool,
}

impl Scheme {
    /// The scheme of a word that has one. One of object storage is seen without its slashes too.
    fn of(word: &OsStr) -> Option<Self> {
        let text = word.to_string_lossy();
        let (typed, rest) = text.split_once(':')?;
        let has_slashes = rest.starts_with("//");
        let is_scheme = typed.starts_with(|c: char| c.is_ascii_alphabetic())
            && typed
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let scheme = Self {
            typed: typed.to_owned(),
            has_slashes,
        };
        (is_scheme && (has_slashes || scheme.provider().is_some())).then_some(scheme)
    }

    fn provider(&self) -> Option<Provider> {
        let known = [Provider::S3, Provider::Gcs, Provider::Azure];
        let is_it = |provider: &Provider| self.typed.eq_ignore_ascii_case(provider.scheme());
        known.into_iter().find(is_it)
    }

    /// What the URL names; `text` is all of it, where that is UTF-8.
    fn place(&self, text: Option<&str>) -> Result<Place, Error> {
        let usage = |what: String| ErrorKind::Usage.error(what);
        let typed = &self.typed;
        if typed.eq_ignore_ascii_case("file") {
            return text
                .and_then(file_path)
                .map(Place::Directory)
                .ok_or_else(|| {
                    usage(format!("cannot read the {typed}:// URL of a directory"))
                        .hint("write the directory itself")
                });
        }
        let Some(provider) = self.provider() else {
            let fault = usage(format!("{typed}:// is no storage that snap knows"));
            return Err(fault.hint(self.meant()));
        };
        let (scheme, bucket) = (provider.scheme(), provider.bucket_word().to_uppercase());
        if !self.has_slashes {
            return Err(
                usage(format!("two slashes follow {typed}: in a URL")).hint(format!(
                    "write {scheme}://{bucket}/PREFIX; a directory of such a name is ./{typed}:"
                )),
            );
        }
        let rest = text.and_then(|text| text.get(typed.len() + "://".len()..));
        let Some(rest) = rest else {
            return Err(usage(format!("the {scheme}:// URL is not UTF-8")));
        };
        // An access key can hold a slash, so the first one may stand in the middle of it.
        let host = rest.split('/').find(|part| !part.is_empty());
        if host.is_some_and(|host| host.contains(['@', ':'])) {
            return Err(usage(format!(
                "{scheme}:// URLs take no user, no password and no port"
            ))
            .hint(format!(
                "write {scheme}://{bucket}/PREFIX; credentials and an endpoint come from the \
                 environment or from a profile"
            )));
        }
        if rest.contains(['?', '#']) {
            return Err(usage(format!("{scheme}:// URLs take no '?' and no '#'"))
                .hint(format!("write {scheme}://{bucket}/PREFIX")));
        }
        Ok(Place::Url(format!("{scheme}://{rest}").parse()?))
    }

    /// What was meant by a scheme that snap does not know.
    fn meant(&self) -> String {
        let instead = match self.typed.to_ascii_lowercase().as_str() {
            "http" | "https" => {
                "write the bucket, and its service as the endpoint in AWS_ENDPOINT_URL or in a \
                 profile; "
            }
            "s3a" | "s3n" => "write s3://; ",
            "gcs" => "write gs://; ",
            "abfs" | "abfss" | "wasb" | "wasbs" | "azure" | "adl" => "write az://; ",
            _ => "",
        };
        format!("{instead}{FORMS}")
    }
}

/// The directory that a `file://` URL names, where it is one of this machine and needs no decoding.
fn file_path(url: &str) -> Option<PathBuf> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let is_plain = path.starts_with('/') && !path.contains(['%', '?', '#']);
    is_plain.then(|| path.into())
}

impl From<PathBuf> for Location {
    fn from(directory: PathBuf) -> Self {
        Self::new(directory.clone().into(), Place::Directory(directory))
    }
}

impl From<&PathBuf> for Location {
    fn from(directory: &PathBuf) -> Self {
        directory.clone().into()
    }
}

impl From<&Path> for Location {
    fn from(directory: &Path) -> Self {
        directory.to_owned().into()
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text.display().fmt(f)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The URL or the directory that a text names.
    fn read(text: &str) -> Result<String, Error> {
        let location = Location::parse(text)?;
        assert_eq!(location.to_string(), text);
        Ok(match (location.directory(), location.url()) {
            (Some(directory), None) => directory.display().to_string(),
            (None, Some(url)) => url.to_string(),
            _ => panic!("{text} is one of both"),
        })
    }

    #[test]
    fn what_has_a_scheme_is_a_url_and_all_else_a_directory() {
        for (text, is) in [
            ("backup", "backup"),
            ("/srv/a:b", "/srv/a:b"),
            ("./s3:/x", "./s3:/x"),
            ("./s3://b/p", "./s3://b/p"),
            ("db1:backup", "db1:backup"),
            ("C:/x", "C:/x"),
            ("://x", "://x"),
            ("file:///srv/b", "/srv/b"),
            ("FILE://localhost/srv/b/", "/srv/b/"),
            ("s3://b", "s3://b"),
            ("S3://b/p//", "s3://b/p"),
            ("s3://my.bucket/", "s3://my.bucket"),
            ("gs://b/influx/db1", "gs://b/influx/db1"),
            ("Az://c/a b/ü+&@", "az://c/a b/ü+&@"),
        ] {
            assert_eq!(read(text).unwrap(), is, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_prefix_is_refused_with_what_to_write() {
        for (text, said, advised) in [
            ("s3://", "no name of a bucket", "s3://BUCKET/PREFIX"),
            ("az:///p", "no name of a container", "az://CONTAINER/PREFIX"),
            ("s3:/b/p", "two slashes follow s3:", "./s3:"),
            ("GS:b", "two slashes follow GS:", "gs://BUCKET/PREFIX"),
            ("s3://b//p", "a part of the prefix", "s3://BUCKET/PREFIX"),
            ("s3://b/../p", "a part of the prefix", "s3://BUCKET/PREFIX"),
            ("s3://b/p?versions", "take no '?'", "s3://BUCKET/PREFIX"),
            ("s3://b/p#x", "no '#'", "s3://BUCKET/PREFIX"),
            ("s3://host:9000/b", "no port", "an endpoint"),
            (
                "https://s3.example/b",
                "https:// is no storage",
                "AWS_ENDPOINT_URL",
            ),
            (
                "abfs://c@a.example/p",
                "abfs:// is no storage",
                "write az://",
            ),
            ("s3a://b/p", "s3a:// is no storage", "write s3://"),
            ("ftp://h/p", "ftp:// is no storage", "gs://BUCKET/PREFIX"),
            ("file://host/x", "file:// URL", "the directory itself"),
            ("file:///a%20b", "file:// URL", "the directory itself"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{text}");
            assert!(error.message.contains(said), "{text}: {}", error.message);
            let hint = error.hint.unwrap();
            assert!(hint.contains(advised), "{text}: {hint}");
        }
    }

    #[test]
    fn no_secret_in_a_url_is_repeated() {
        for text in [
            "s3://key:secret@bucket/p",
            "s3://key:se/secret@bucket/p",
            "s3://secret@bucket/p",
            "s3:///key:secret@bucket/p",
            "s3:////key:se/secret@bucket",
            "az://c/p?sig=secret",
            "https://key:secret@host/b",
            "https://a.blob.core.windows.net/c?sig=secret",
        ] {
            let error = read(text).unwrap_err();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn nothing_is_written_among_the_files_that_snap_keeps_for_itself() {
        let refusal = |text: &str| Location::parse(text).unwrap().ensure_not_hidden();
        for text in ["/b/.snap", "b/.snap/x", "s3://b/.snap", "gs://b/p/.snap/x"] {
            let error = refusal(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{text}");
            assert!(error.message.starts_with(text), "{error}");
        }
        for text in ["/b/snap", "b.snap/x", "s3://b/p.snap", "az://c/.snapshot"] {
            refusal(text).unwrap();
        }
    }

    #[test]
    fn a_location_opens_its_files_once_and_shares_them_with_its_clones() {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::from(directory.path());
        let (one, other) = (location.clone().store(), location.store());
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    }
}
