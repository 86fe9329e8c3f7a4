//! Asking the HTTP API of an influxd.

use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Request, StatusCode, Url};
use tokio::time::timeout;

use super::answer::{AnswerFault, dropped_in, is_of_influxd, said_in, series_in};
use super::{HttpOptions, HttpUrl, Series, Written};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::retry::{self, Attempts};
use crate::web::{self, Unanswered, runtime};

/// The largest answer that is taken, in bytes.
const LARGEST: usize = 64 << 20;
/// How many rows a server puts into a document of an answer.
const ROWS_OF_DOCUMENT: &str = "5000";
/// The header in which an influxd says its version.
const VERSION: &str = "x-influxdb-version";
/// The largest error of a server that is kept.
const LARGEST_REFUSAL: usize = 64 << 10;

/// influxd's HTTP API at one URL.
#[derive(Debug)]
pub struct HttpApi {
    options: HttpOptions,
    base: Url,
    client: Client,
    cancel: Cancel,
}

/// Which attempts may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// All that may pass: what is asked for can be done twice.
    Any,
    /// Those of which the server saw nothing.
    IfUnseen,
}

/// An answer that came whole.
struct Received {
    status: StatusCode,
    version: Option<String>,
    body: Vec<u8>,
}

/// Why none came.
enum Fault {
    Unanswered {
        unanswered: Unanswered,
        was_seen: bool,
    },
    TooLong,
}

impl HttpApi {
    /// The API that `options` name. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for a URL that names no host.
    pub fn new(options: &HttpOptions, cancel: Cancel) -> Result<Self> {
        let url = &options.url;
        let base = Url::parse(url.as_str()).ok().filter(Url::has_host);
        let base = base.ok_or_else(|| ErrorKind::Usage.error(format!("{url} names no host")))?;
        let client = web::builder(options.timeouts.connect)
            // As to the snapshotter, which is on the same machine: there are passwords in requests.
            .no_proxy()
            .build()
            .map_err(|error| {
                let why = Unanswered::new(url.as_str(), &error).why;
                ErrorKind::Failed.error(format!("setting up TLS for {url}: {why}"))
            })?;
        Ok(Self {
            options: options.clone(),
            base,
            client,
            cancel,
        })
    }

    /// Where it is.
    pub fn url(&self) -> &HttpUrl {
        &self.options.url
    }

    /// The version of the server, by its answer to `/ping`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreachable`] where no influxd answers; where it refuses the credentials.
    pub fn version(&self) -> Result<String> {
        let received = self.ask(Repeat::Any, || self.request(Method::GET, "ping", &[]))?;
        let status = received.status;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // With ping-auth-enabled, it wants them here too.
            return Err(self.refused(&received).into());
        }
        let version = received.version.filter(|_| status.is_success());
        Ok(version.ok_or_else(|| self.no_influxd("it does not say a version of influxd"))?)
    }

    /// Asks a question, one that changes nothing, and gives the series of the answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreachable`] where no influxd answers; when the answer breaks off; what the
    /// server says about the statement.
    pub fn query(&self, text: &str) -> Result<Vec<Series>> {
        self.ask_query(Repeat::Any, text)
    }

    /// Has a statement done that makes, changes or drops something. The statement is in no message:
    /// it may have a password in it.
    ///
    /// # Errors
    ///
    /// As for [`query`](Self::query). Where the server was reached and did not answer, nobody knows
    /// whether it was done.
    pub fn statement(&self, text: &str) -> Result<()> {
        self.ask_query(Repeat::IfUnseen, text).map(drop)
    }

    fn ask_query(&self, repeat: Repeat, text: &str) -> Result<Vec<Series>> {
        let form = [
            ("q", text),
            ("epoch", "ns"),
            ("chunked", "true"),
            ("chunk_size", ROWS_OF_DOCUMENT),
        ];
        let form = self.encoded(&form);
        let mut attempts = Attempts::default();
        loop {
            let received = self.ask(repeat, || {
                let mut request = self.request(Method::POST, "query", &[])?;
                let kind = "application/x-www-form-urlencoded";
                let kind = reqwest::header::HeaderValue::from_static(kind);
                request.headers_mut().insert(CONTENT_TYPE, kind);
                *request.body_mut() = Some(form.clone().into());
                Ok(request)
            })?;
            if !received.status.is_success() {
                return Err(self.refused(&received).into());
            }
            let fault = match series_in(&received.body) {
                Ok(series) => return Ok(series),
                Err(fault) => fault,
            };
            if fault == AnswerFault::CutOff
                && repeat == Repeat::Any
                && let Some(wait) = attempts.failed(self.options.retries)
            {
                retry::pause(wait, &self.cancel)?;
                continue;
            }
            let url = self.url();
            return Err(match fault {
                AnswerFault::Statement(why) => {
                    ErrorKind::Refused.error(format!("{url} refused a statement: {why}"))
                }
                AnswerFault::CutOff => ErrorKind::Failed.error(format!("{url}: {fault}")),
                AnswerFault::Nonsense(what) => self.no_influxd(what),
            }
            .into());
        }
    }

    /// Writes points, which are lines of line protocol with times in nanoseconds, into a retention
    /// policy of a database. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unreachable`] where no influxd answers; what the server says about the points,
    /// none of which it has then.
    pub fn write(&self, database: &str, policy: &str, lines: &[u8]) -> Result<Written> {
        let target = [("db", database), ("rp", policy), ("precision", "ns")];
        let received = self.ask(Repeat::Any, || {
            let mut request = self.request(Method::POST, "write", &target)?;
            *request.body_mut() = Some(lines.to_vec().into());
            Ok(request)
        })?;
        if received.status == StatusCode::NO_CONTENT {
            return Ok(Written::All);
        }
        if received.status == StatusCode::PAYLOAD_TOO_LARGE {
            return Ok(Written::TooLarge);
        }
        if received.status.is_success() {
            return Err(self
                .no_influxd("it does not answer as influxd does to points")
                .into());
        }
        let why = said_in(&received.body);
        if received.status == StatusCode::BAD_REQUEST && why.starts_with("partial write") {
            let dropped = dropped_in(&why);
            return Ok(Written::Partial { dropped, why });
        }
        Err(self.refused(&received).into())
    }

    /// A request for a path below the URL.
    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<Request> {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{path}",
            self.base.path().trim_end_matches('/')
        ));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url);
        if let Some(credentials) = &self.options.credentials {
            request = request.basic_auth(&credentials.username, Some(&credentials.password));
        }
        Ok(request.build()?)
    }

    /// Names and values as a form.
    fn encoded(&self, form: &[(&str, &str)]) -> String {
        let mut url = self.base.clone();
        url.set_query(None);
        url.query_pairs_mut().extend_pairs(form);
        url.query().unwrap_or_default().to_owned()
    }

    /// Sends requests until one is answered with something that may not pass.
    fn ask(&self, repeat: Repeat, make: impl Fn() -> Result<Request>) -> Result<Received> {
        let mut attempts = Attempts::default();
        loop {
            self.cancel.check()?;
            let answered = self.attempt(make()?)?;
            let may_pass = match &answered {
                Ok(received) => repeat == Repeat::Any && is_passing(received.status),
                Err(Fault::Unanswered {
                    unanswered,
                    was_seen,
                }) => unanswered.may_pass && (repeat == Repeat::Any || !was_seen),
                Err(Fault::TooLong) => false,
            };
            if may_pass && let Some(wait) = attempts.failed(self.options.retries) {
                retry::pause(wait, &self.cancel)?;
                continue;
            }
            return answered.map_err(|fault| self.unanswered(&fault).into());
        }
    }

    /// Sends a request and waits for the whole answer.
    fn attempt(&self, request: Request) -> Result<Result<Received, Fault>, Error> {
        let (client, url) = (self.client.clone(), self.url().to_string());
        let timeouts = self.options.timeouts;
        let deadline = Instant::now() + timeouts.attempt;
        let exchange = async move {
            let lost = |error: &reqwest::Error| Fault::Unanswered {
                unanswered: Unanswered::new(&url, error),
                was_seen: !error.is_connect(),
            };
            let late = |after: Duration| Fault::Unanswered {
                unanswered: Unanswered::timed_out(&url, after),
                was_seen: true,
            };
            let patience = || {
                let left = deadline.saturating_duration_since(Instant::now());
                left.min(timeouts.idle)
            };
            let mut response = timeout(patience(), client.execute(request))
                .await
                .map_err(|_| late(timeouts.idle))?
                .map_err(|error| lost(&error))?;
            let status = response.status();
            let version = response.headers().get(VERSION);
            let version = version.and_then(|version| version.to_str().ok());
            let version = version.map(str::to_owned);
            let mut body = Vec::new();
            while let Some(piece) = timeout(patience(), response.chunk())
                .await
                .map_err(|_| late(timeouts.idle))?
                .map_err(|error| lost(&error))?
            {
                // Of an error, its beginning says all.
                if !status.is_success() && body.len() + piece.len() > LARGEST_REFUSAL {
                    break;
                }
                if body.len() + piece.len() > LARGEST {
                    return Err(Fault::TooLong);
                }
                body.extend_from_slice(&piece);
            }
            Ok(Received {
                status,
                version,
                body,
            })
        };
        runtime::wait(&self.cancel, exchange)
    }

    fn unanswered(&self, fault: &Fault) -> Error {
        let url = self.url();
        let Fault::Unanswered { unanswered, .. } = fault else {
            return self.no_influxd("its answer is too long");
        };
        let why = &unanswered.why;
        let hint = if unanswered.is_untrusted {
            "the certificate has to be one that this machine trusts"
        } else {
            "influxd's HTTP API listens on port 8086 unless [http] bind-address says otherwise; -http names another URL"
        };
        ErrorKind::Unreachable
            .error(format!("cannot reach {url}: {why}"))
            .hint(hint)
    }

    fn no_influxd(&self, why: &str) -> Error {
        ErrorKind::Unreachable
            .error(format!("{} is no HTTP API of influxd: {why}", self.url()))
            .hint("-http names the URL, such as http://HOST:8086")
    }

    /// The error for an answer that refuses.
    fn refused(&self, received: &Received) -> Error {
        let (url, status) = (self.url(), received.status);
        let said = match said_in(&received.body) {
            empty if empty.is_empty() => status
                .canonical_reason()
                .unwrap_or("it says no more")
                .to_owned(),
            said => said,
        };
        let number = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (what, hint) = match self.options.credentials {
                    None => (
                        "wants credentials, and there were none",
                        "set INFLUX_USERNAME and INFLUX_PASSWORD to those of an administrator",
                    ),
                    Some(_) => (
                        "refused the credentials",
                        "INFLUX_USERNAME and INFLUX_PASSWORD have to be those of an administrator",
                    ),
                };
                ErrorKind::Failed
                    .error(format!("{url} {what} ({number}): {said}"))
                    .hint(hint)
            }
            status if status.is_redirection() => self.no_influxd("it sends elsewhere"),
            StatusCode::NOT_FOUND if !is_of_influxd(&received.body) => {
                self.no_influxd("404 page not found")
            }
            _ => ErrorKind::Failed.error(format!("{url} answered {number}: {said}")),
        }
    }
}

/// Whether a status may be another when the same is asked again.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}
