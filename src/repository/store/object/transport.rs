//! One request over HTTP, and what came of it as a typed error: `object_store` is given this in
//! place of a transport of its own, and never tries again by itself.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::Body as _;
use md5::{Digest, Md5};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, IF_NONE_MATCH, RANGE};
use reqwest::{Body, Certificate, Client, Method, StatusCode, Url};
use tokio::time::timeout;

use super::answer::{Answer, Nonsense, clock_ahead};
use crate::web::{self, Unanswered};

/// What an upload says of its body, for a service that does not compare that with what was signed.
const CONTENT_MD5: &str = "content-md5";

tokio::task_local! {
    /// That of the upload which a task sends.
    static BODY_MD5: BodyMd5;
}

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(60);
/// The slowest that an upload may be, in bytes a second.
const SLOWEST: u64 = 16 << 10;
/// The longest body that is taken: more than a chunk of an object, and than a page of a listing.
const LONGEST_BODY: usize = 32 << 20;
/// Where the credentials of machines in a cloud come from: near, or nowhere.
const METADATA: [&str; 4] = [
    "169.254.169.254",
    "169.254.170.2",
    "metadata.google.internal",
    "metadata",
];

/// Sends requests.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client,
    /// Whether uploads carry the MD5 of their bodies.
    sends_md5: bool,
    /// How far the service's clock is ahead of ours, in seconds.
    clock_ahead: Arc<AtomicI64>,
}

/// The MD5 of the body of an upload.
#[derive(Debug, Clone)]
pub(super) struct BodyMd5 {
    length: usize,
    md5: HeaderValue,
}

impl BodyMd5 {
    fn of(body: &[u8]) -> Result<Self, HttpError> {
        let md5 = STANDARD.encode(Md5::digest(body));
        Ok(Self {
            length: body.len(),
            md5: HeaderValue::try_from(md5).map_err(unknown)?,
        })
    }
}

/// Sends an upload of whose body the MD5 is known already. To make it takes 2 ms for each MB: on
/// the one thread that sends all, nothing would be sent meanwhile.
pub(super) async fn with_known_md5<T>(md5: Option<BodyMd5>, upload: impl Future<Output = T>) -> T {
    match md5 {
        Some(md5) => BODY_MD5.scope(md5, upload).await,
        None => upload.await,
    }
}

impl Transport {
    /// A transport that trusts the certificates of the system, and those of a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn new(ca_bundle: Option<&Path>) -> Result<Self> {
        let mut builder = web::builder(CONNECT);
        if let Some(path) = ca_bundle {
            let reading = || format!("reading the certificates in {}", path.display());
            let pem = std::fs::read(path).with_context(reading)?;
            builder =
                builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).with_context(reading)?);
        }
        Ok(Self {
            client: builder.build().context("setting up TLS")?,
            sends_md5: false,
            clock_ahead: Arc::default(),
        })
    }

    /// The same, whose uploads carry the MD5 of their bodies or do not.
    pub(super) fn with_md5(self, sends_md5: bool) -> Self {
        Self { sends_md5, ..self }
    }

    /// The MD5 of a body that is to be uploaded, if uploads carry it.
    pub(super) fn md5_of(&self, body: &[u8]) -> Option<BodyMd5> {
        self.sends_md5.then(|| BodyMd5::of(body).ok()).flatten()
    }

    /// How far the service's clock is ahead of ours, in seconds.
    pub(super) fn clock_ahead(&self) -> i64 {
        self.clock_ahead.load(Ordering::Relaxed)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let is_completion = parts.method == Method::POST && has_query(&parts.uri, "uploadId=");
        let is_listing = parts.method == Method::GET && has_query(&parts.uri, "list-type=2");
        let url: Url = parts.uri.to_string().parse().map_err(unknown)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let patience = match METADATA.contains(&host.as_str()) {
            true => Duration::from_secs(2),
            false => SILENCE + Duration::from_secs(body.content_length() as u64 / SLOWEST),
        };
        let range = parts.headers.get(RANGE).cloned();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if is_completion {
            // No object is overwritten; those that do not know the header ignore it.
            let any = HeaderValue::from_static("*");
            request.headers_mut().insert(IF_NONE_MATCH, any);
        }
        let says_md5 =
            self.sends_md5 && request.method() == Method::PUT && !METADATA.contains(&host.as_str());
        give_body(&mut request, body, says_md5).await?;

        let unanswered = |error| no_answer(Unanswered::new(&host, &error));
        let late = |after| no_answer(Unanswered::timed_out(&host, after));
        let mut response = timeout(patience, self.client.execute(request))
            .await
            .map_err(|_| late(patience))?
            .map_err(unanswered)?;
        let mut headers = std::mem::take(response.headers_mut());
        let mut received = Vec::new();
        while let Some(piece) = timeout(SILENCE, response.chunk())
            .await
            .map_err(|_| late(SILENCE))?
            .map_err(unanswered)?
        {
            if received.len() + piece.len() > LONGEST_BODY {
                return Err(nonsense("it sends more than was asked for"));
            }
            received.extend_from_slice(&piece);
        }
        let status = match range {
            Some(range) => status_of_range(&range, response.status(), &mut headers, received.len()),
            None => response.status(),
        };
        self.note_clock(&headers, &host);
        let is_refused = status.is_client_error() || status.is_server_error();
        let is_moved = status.is_redirection() && status.as_u16() != 304;
        let text = || String::from_utf8_lossy(&received);
        // Amazon answers 200 before it has put the parts together.
        let is_failed_completion =
            is_completion && status.is_success() && text().contains("<Error>");
        if is_refused || is_moved || is_failed_completion {
            let told = match is_failed_completion {
                true => 500,
                false => status.as_u16(),
            };
            let answer = Answer::new(told, &headers, &text(), &host);
            return Err(unknown(answer));
        }
        if is_listing && is_cut_short(&text()) {
            return Err(nonsense(
                "its listing is said to go on, and does not say where",
            ));
        }
        let mut answered = HttpResponse::new(HttpResponseBody::from(received));
        *answered.status_mut() = status;
        *answered.headers_mut() = headers;
        Ok(answered)
    }

    fn note_clock(&self, headers: &HeaderMap, host: &str) {
        if let Some(ahead) = clock_ahead(headers).filter(|_| !METADATA.contains(&host)) {
            self.clock_ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

/// Gives a request its body, and says the MD5 of that, where it is wanted.
async fn give_body(
    request: &mut reqwest::Request,
    body: HttpRequestBody,
    says_md5: bool,
) -> Result<(), HttpError> {
    if !says_md5 {
        *request.body_mut() = Some(Body::wrap(body));
        return Ok(());
    }
    let bytes = whole(body).await?;
    let known = BODY_MD5.try_with(Clone::clone).ok();
    let md5 = match known.filter(|known| known.length == bytes.len()) {
        Some(known) => known,
        None => BodyMd5::of(&bytes)?,
    };
    request.headers_mut().insert(CONTENT_MD5, md5.md5);
    *request.body_mut() = Some(Body::from(bytes));
    Ok(())
}

/// All of a body, which is one piece where it is ours.
async fn whole(mut body: HttpRequestBody) -> Result<Bytes, HttpError> {
    let mut whole = Bytes::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let piece = frame?.into_data().unwrap_or_default();
        whole = match whole.is_empty() {
            true => piece,
            false => [whole, piece].concat().into(),
        };
    }
    Ok(whole)
}

fn has_query(uri: &impl ToString, key: &str) -> bool {
    let uri = uri.to_string();
    uri.split_once('?')
        .is_some_and(|(_, query)| query.split('&').any(|pair| pair.starts_with(key)))
}

/// The status of an answer to a request for a range, as it should be: some say 200 of a part, and
/// some send an object that is no longer than the range as a whole.
fn status_of_range(
    range: &HeaderValue,
    status: StatusCode,
    headers: &mut HeaderMap,
    length: usize,
) -> StatusCode {
    if status != StatusCode::OK || headers.contains_key(CONTENT_RANGE) {
        return match status {
            StatusCode::OK => StatusCode::PARTIAL_CONTENT,
            status => status,
        };
    }
    let last_asked = range
        .to_str()
        .ok()
        .and_then(|range| range.strip_prefix("bytes=0-")?.parse::<usize>().ok());
    let Some(last) = length.checked_sub(1) else {
        return StatusCode::RANGE_NOT_SATISFIABLE;
    };
    match HeaderValue::try_from(format!("bytes 0-{last}/{length}")) {
        Ok(whole) if last_asked.is_some_and(|asked| last <= asked) => {
            headers.insert(CONTENT_RANGE, whole);
            StatusCode::PARTIAL_CONTENT
        }
        _ => status,
    }
}

/// Whether a page of a listing says that there are more, but not how to get them.
fn is_cut_short(page: &str) -> bool {
    page.contains("<IsTruncated>true</IsTruncated>") && !page.contains("<NextContinuationToken>")
}

fn no_answer(unanswered: Unanswered) -> HttpError {
    unknown(unanswered)
}

fn nonsense(what: &str) -> HttpError {
    unknown(Nonsense(what.to_owned()))
}

/// An error of which `object_store` is told nothing but the cause.
fn unknown(cause: impl StdError + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, cause)
}

/// Whether a host only gives credentials to machines in a cloud.
pub(super) fn is_metadata_host(host: &str) -> bool {
    METADATA.contains(&host)
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request).await
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_and_a_whole_that_is_no_longer_than_the_part_are_taken_for_the_range() {
        let range = HeaderValue::from_static("bytes=0-99");
        let status = |said, content_range: Option<&'static str>, length| {
            let mut headers = HeaderMap::new();
            if let Some(told) = content_range {
                headers.insert(CONTENT_RANGE, HeaderValue::from_static(told));
            }
            let status = status_of_range(&range, said, &mut headers, length);
            let told = headers.get(CONTENT_RANGE).cloned();
            (
                status.as_u16(),
                told.map(|told| told.to_str().unwrap().to_owned()),
            )
        };
        let part = Some("bytes 0-99/500");
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(
            status(StatusCode::PARTIAL_CONTENT, part, 100),
            (206, told("bytes 0-99/500"))
        );
        assert_eq!(
            status(StatusCode::OK, part, 100),
            (206, told("bytes 0-99/500"))
        );
        assert_eq!(
            status(StatusCode::OK, None, 100),
            (206, told("bytes 0-99/100"))
        );
        assert_eq!(status(StatusCode::OK, None, 7), (206, told("bytes 0-6/7")));
        assert_eq!(status(StatusCode::OK, None, 101), (200, None));
        assert_eq!(status(StatusCode::OK, None, 0), (416, None));
        assert_eq!(status(StatusCode::NOT_FOUND, None, 7), (404, None));
    }
}
