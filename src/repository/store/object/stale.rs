//! Uploads that killed runs left: S3 keeps their parts, and charges for them, until somebody
//! aborts them. `object_store` cannot list them, so these requests are our own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody, HttpService};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::answer::Nonsense;
use super::client::Client;

/// An upload that is neither complete nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Unfinished {
    pub key: String,
    pub upload_id: String,
    initiated: String,
}

impl Unfinished {
    /// Whether it was begun that long ago; not where it does not say when.
    pub(super) fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let Ok(begun) = self.initiated.parse::<Timestamp>() else {
            return false;
        };
        let elapsed = now.duration_since(SystemTime::from(begun));
        elapsed.is_ok_and(|elapsed| elapsed >= age)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
    upload: Vec<Unfinished>,
}

/// All unfinished uploads whose keys begin with `prefix`.
pub(super) async fn unfinished(
    client: &Arc<Client>,
    prefix: &str,
) -> object_store::Result<Vec<Unfinished>> {
    let (mut all, mut markers) = (Vec::new(), (String::new(), String::new()));
    loop {
        let page = page(client, prefix, &markers).await?;
        all.extend(page.upload);
        let next = (page.next_key_marker, page.next_upload_id_marker);
        if !page.is_truncated || next == markers {
            return Ok(all);
        }
        markers = next;
    }
}

async fn page(
    client: &Arc<Client>,
    prefix: &str,
    (key, upload): &(String, String),
) -> object_store::Result<Page> {
    let (Some(s3), Some(transport)) = (&client.s3, &client.transport) else {
        return Ok(Page::default());
    };
    let mut url: Url = s3.bucket.parse().map_err(failed)?;
    let mut query = format!("uploads=&prefix={}", encoded(prefix));
    if !key.is_empty() {
        let markers = format!(
            "&key-marker={}&upload-id-marker={}",
            encoded(key),
            encoded(upload)
        );
        query.push_str(&markers);
    }
    url.set_query(Some(&query));
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url.as_str().parse().map_err(failed)?;
    let credential = s3.credentials.get_credential().await?;
    AwsAuthorizer::new(&credential, "s3", &s3.region).try_authorize(&mut request, None)?;
    let answered = transport.call(request).await.map_err(failed)?;
    let body = answered.into_body().bytes().await.map_err(failed)?;
    let text = String::from_utf8_lossy(&body);
    quick_xml::de::from_str(&text).map_err(|error| {
        failed(Nonsense(format!(
            "its list of uploads makes no sense: {error}"
        )))
    })
}

/// A text as it stands in a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "S3",
        source: Box::new(error),
    }
}
