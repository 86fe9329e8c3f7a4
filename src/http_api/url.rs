//! The URL of an HTTP API.

use std::fmt;
use std::str::FromStr;

/// The URL of an HTTP API, without a slash at its end: `http://db1:8086`,
/// `https://proxy.example/influx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// Where influxd has it unless its configuration says otherwise, on the host of a snapshotter.
    pub fn of_host(host: &str) -> Self {
        match host.contains(':') {
            true => Self(format!("http://[{host}]:8086")),
            false => Self(format!("http://{host}:8086")),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['@', '?']) {
            // Not repeated: there may be a password in it.
            return Err(
                "the URL has a user or a query in it; put user and password into INFLUX_USERNAME \
                 and INFLUX_PASSWORD, and write http://HOST:8086"
                    .to_owned(),
            );
        }
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
            .unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '#' | '\\');
        if authority.is_empty() || rest.contains(is_odd) {
            return Err(format!(
                "'{}' is no URL of an HTTP API; write http://HOST:8086 or https://HOST:8086",
                text.escape_debug()
            ));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_of_http_without_user_and_query() {
        for (text, read) in [
            ("http://db1:8086", "http://db1:8086"),
            ("https://[::1]:8086/", "https://[::1]:8086"),
            ("https://p.example/influx/", "https://p.example/influx"),
        ] {
            assert_eq!(text.parse::<HttpUrl>().unwrap().as_str(), read);
        }
        for text in [
            "db1:8086",
            "http://",
            "http:///query",
            "ftp://db1",
            "http://db1/?q=x",
            "http://d b1",
            "http://d\nb1",
        ] {
            let error = text.parse::<HttpUrl>().unwrap_err();
            assert!(!error.contains('\n'), "{error}");
        }
        for text in [
            "http://u:hush@db1",
            "u:hush@db1:8086",
            "HTTP://u:hush@db1",
            "http:/u:hush@db1",
            "http://db1/?u=u&p=hush",
        ] {
            let refusal = text.parse::<HttpUrl>().unwrap_err();
            assert!(!refusal.contains("hush"), "{refusal}");
            assert!(refusal.contains("INFLUX_PASSWORD"), "{refusal}");
        }
        assert_eq!(HttpUrl::of_host("db1").as_str(), "http://db1:8086");
        assert_eq!(HttpUrl::of_host("::1").as_str(), "http://[::1]:8086");
    }
}
