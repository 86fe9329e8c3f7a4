//! Requests over HTTP: how connections are set up ([`builder`]), where requests run ([`runtime`]),
//! and why one got no answer ([`Unanswered`]). Object storage and the HTTP API of influxd are asked
//! through this.

pub(crate) mod runtime;
#[cfg(test)]
pub(crate) mod scripted_peer;
mod unanswered;

use std::time::Duration;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

pub(crate) use unanswered::Unanswered;

/// How a client begins: it trusts the certificates of the system, and follows no redirection.
/// `connect` is how long a connection may take.
pub(crate) fn builder(connect: Duration) -> ClientBuilder {
    // Refused where there is one, as in the next test of a process: then that is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("snap/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(connect)
}
