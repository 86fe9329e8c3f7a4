//! Telling what a peer is that does not answer as a snapshotter does.

use super::{Endpoint, Silence};
use crate::error::{Error, ErrorKind};
use crate::wire::{DEFAULT_PORT, Dialect};

/// The error for a peer whose reply begins with `first` in place of the metastore's magic.
pub(super) fn not_a_snapshotter(address: &Endpoint, first: &[u8]) -> Error {
    let port_hint = format!(
        "point -host at the snapshotter: bind-address at the top of influxdb.conf, port {DEFAULT_PORT} unless it is changed"
    );
    if first.starts_with(b"HTTP/") {
        return ErrorKind::Unreachable
            .error(format!(
                "{address} speaks HTTP, not the snapshotter protocol"
            ))
            .hint(format!("8086 is InfluxDB's HTTP port; {port_hint}"));
    }
    // A TLS record: alert or handshake, major version 3.
    if matches!(first, [0x15 | 0x16, 0x03, ..]) {
        return ErrorKind::Unreachable
            .error(format!("{address} speaks TLS, not the snapshotter protocol"))
            .hint(format!("no InfluxDB 1.x snapshotter uses TLS; {port_hint}, or at the near end of your tunnel"));
    }
    ErrorKind::Unreachable
        .error(format!(
            "{address} is not a snapshotter: its answer begins with \"{}\"",
            first.escape_ascii()
        ))
        .hint(port_hint)
}

/// The error for a peer that ended the connection without a byte, in each of the dialects tried.
pub(super) fn silent(address: &Endpoint, tried: &[Dialect], silence: Silence) -> anyhow::Error {
    let how = match silence {
        Silence::Closed => "closed",
        Silence::Reset => "reset",
    };
    let error = match tried {
        [dialect] => ErrorKind::Unreachable
            .error(format!("{address} {how} the connection without an answer, asked in dialect {dialect}"))
            .hint("without -dialect, both dialects are tried"),
        _ => ErrorKind::Unreachable
            .error(format!("{address} {how} the connection without an answer, in both dialects"))
            .hint("either it is not a snapshotter, or influxd is shutting down; influxd's log says which (service=snapshot)"),
    };
    error.into()
}
