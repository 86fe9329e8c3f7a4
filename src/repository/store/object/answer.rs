//! What a service says when it refuses a request.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The longest text of a service that is repeated.
const LONGEST: usize = 200;

/// A response that refuses a request.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{status}{}{}", spaced(.code), said(.message))]
pub(super) struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// What the service calls the error, `NoSuchBucket`; empty where it does not say.
    pub code: String,
    /// What it says about it.
    pub message: String,
    /// The region in which the bucket is, where the request went to another.
    pub region: Option<String>,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// How far its clock is ahead of ours, in seconds.
    pub clock_ahead: Option<i64>,
    /// Who answered.
    pub host: String,
}

fn spaced(code: &str) -> String {
    match code {
        "" => String::new(),
        code => format!(" {code}"),
    }
}

fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

impl Answer {
    pub(super) fn new(status: u16, headers: &HeaderMap, body: &str, host: &str) -> Self {
        let header = |name| headers.get(HeaderName::from_static(name))?.to_str().ok();
        let code = element(body, "Code").or_else(|| header("x-ms-error-code").map(str::to_owned));
        let message = element(body, "Message").unwrap_or_else(|| match body.contains("<Code>") {
            true => String::new(),
            false => body.trim().to_owned(),
        });
        let region = header("x-amz-bucket-region")
            .map(str::to_owned)
            .or_else(|| element(body, "Region"));
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|wait| wait.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Self {
            status,
            code: code.unwrap_or_default(),
            message: shortened(&message),
            region,
            retry_after,
            clock_ahead: clock_ahead(headers),
            host: host.to_owned(),
        }
    }
}

/// How far the clock of whoever answered is ahead of ours, in seconds.
pub(super) fn clock_ahead(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let ours = jiff::Timestamp::try_from(SystemTime::now()).ok()?;
    Some(theirs.as_second() - ours.as_second())
}

/// The text of the first element of this name; there are none within each other in errors.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let unescaped = quick_xml::escape::unescape(text.trim()).ok()?;
    Some(unescaped.into_owned())
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// An answer that cannot be right.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Nonsense(pub String);

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_words_of_a_refusal_are_found_in_its_body_and_its_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        headers.insert(
            "date",
            HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
        );
        let body = "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code>\
                    <Message>the region 'a' is wrong; expecting &apos;b&apos;</Message>\
                    <Region>b</Region></Error>";
        let answer = Answer::new(400, &headers, body, "h");
        assert_eq!(
            answer.to_string(),
            "400 AuthorizationHeaderMalformed: the region 'a' is wrong; expecting 'b'"
        );
        assert_eq!(answer.region.as_deref(), Some("b"));
        assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
        assert!(answer.clock_ahead.unwrap() < -1_000_000_000);

        headers.insert("x-ms-error-code", HeaderValue::from_static("BlobNotFound"));
        let bare = Answer::new(404, &headers, "", "h");
        assert_eq!(bare.to_string(), "404 BlobNotFound");
        let long = Answer::new(500, &HeaderMap::new(), &"x ".repeat(999), "h");
        assert!(long.message.len() < 300, "{}", long.message);
    }
}
