//! A small S3 client: one signed request at a time, for what rclone cannot do.

use std::net::SocketAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::http::{self, Response};

/// Who signs requests.
#[derive(Clone, Copy, Debug)]
pub struct Credentials {
    /// The access key.
    pub key: &'static str,
    /// The secret key.
    pub secret: &'static str,
}

/// Sends a request signed as AWS wants it (version 4). `path` begins with the bucket; of the
/// query, a name without a value ends in `=`, and its names are sorted.
pub fn request(
    to: SocketAddr,
    who: Credentials,
    method: &str,
    (path, query): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let hash = hex(&Sha256::digest(body));
    let host = to.to_string();
    let mut signed = headers.to_vec();
    signed.extend([
        ("host", host.as_str()),
        ("x-amz-content-sha256", &hash),
        ("x-amz-date", &time),
    ]);
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = signed
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!("{method}\n/{path}\n{query}\n{lines}\n{names}\n{hash}");

    let date = &time[..8];
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let key = [date, "us-east-1", "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", who.secret).into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        });
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        who.key,
        hex(&hmac(&key, to_sign.as_bytes()))
    );

    let mut sent = headers.to_vec();
    sent.extend([
        ("x-amz-content-sha256", hash.as_str()),
        ("x-amz-date", &time),
        ("authorization", &authorization),
    ]);
    let target = format!("/{path}?{query}");
    http::request_with(to, method, &target, &sent, body)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// The texts between a tag and its end in an XML document.
pub fn elements(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned()))
        .collect()
}

/// HMAC with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// Bytes in lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
