//! influxd's HTTP API: InfluxQL through `/query`, points through `/write`.
//!
//! [`HttpApi`] asks, and asks again where that is safe: a query and a write can be repeated, for
//! a point that is written twice is one point; a statement is sent again only where no connection
//! was made. Nothing a server answers is trusted: an answer has a largest size, and one that breaks
//! off is an error. Credentials are in no message.

#[cfg(not(feature = "http"))]
mod absent;
#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod api;
#[cfg(all(test, feature = "http"))]
mod tests;
mod url;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use serde_json::Value;

#[cfg(not(feature = "http"))]
pub use absent::HttpApi;
#[cfg(feature = "http")]
pub use api::HttpApi;
pub use url::HttpUrl;

use crate::client::Timeouts;
use crate::error::{Error, ErrorKind};

/// Who asks. Its `Debug` form shows neither name nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of a user.
    pub username: String,
    /// Its password; may be empty.
    pub password: String,
}

impl Credentials {
    /// Those that the variables INFLUX_USERNAME and INFLUX_PASSWORD hold, as for the influx shell;
    /// none where there is no name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for a password without a name, or what is not UTF-8.
    pub fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Self>, Error> {
        let text = |name: &str| match variable(name).map(OsString::into_string) {
            None => Ok(String::new()),
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => Err(ErrorKind::Usage.error(format!("{name} is not UTF-8"))),
        };
        let (username, password) = (text("INFLUX_USERNAME")?, text("INFLUX_PASSWORD")?);
        match (username.is_empty(), password.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => Err(ErrorKind::Usage
                .error("INFLUX_PASSWORD is set, and INFLUX_USERNAME is not")
                .hint("set both, or neither")),
            (false, _) => Ok(Some(Self { username, password })),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// How to ask.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Where the API is.
    pub url: HttpUrl,
    /// Who asks; nobody where the server wants no names.
    pub credentials: Option<Credentials>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How many attempts follow a failed one.
    pub retries: u32,
}

/// A series of an answer: rows with the same tags.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// The measurement, or what stands for it; often empty.
    pub name: String,
    /// The tags that the rows have in common.
    pub tags: BTreeMap<String, String>,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows; each has as many values as there are columns. Times are nanoseconds since 1970.
    pub rows: Vec<Vec<Value>>,
}

impl Series {
    /// The text that a row has in a column; none where it has none, or something else.
    pub fn text<'a>(&self, row: &'a [Value], column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|name| name == column)?;
        row.get(at)?.as_str()
    }
}

/// What a server did with points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It has all of them.
    All,
    /// It dropped some: of another type than their field has, or older than the retention policy
    /// keeps. It has the others.
    Partial {
        /// How many; none where it does not say.
        dropped: Option<u64>,
        /// Why, in its words.
        why: String,
    },
    /// It has none of them: they are more bytes than it takes at a time.
    TooLarge,
}
