//! Telling what a peer is that does not answer as a snapshotter does.

use super::{Endpoint, Silence};
use crate::error::{Error, ErrorKind};
use crate::wire::{DEFAULT_PORT, Dialect};

/// Where InfluxDB answers HTTP, unless that is changed.
const INFLUXDB_HTTP_PORT: u16 = 8086;

/// The error for a peer whose reply begins with `first` in place of the metastore's magic.
pub(super) fn not_a_snapshotter(address: &Endpoint, first: &[u8]) -> Error {
    let port_hint = format!(
        "name the address of the snapshotter: bind-address at the top of influxdb.conf, port {DEFAULT_PORT} unless it is changed"
    );
    if first.starts_with(b"HTTP/") {
        return ErrorKind::Unreachable
            .error(format!(
                "{address} speaks HTTP, not the snapshotter protocol"
            ))
            .hint(format!("{}; {port_hint}", http_port(address)));
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

/// What port it is that was connected to, where HTTP is spoken there.
fn http_port(address: &Endpoint) -> String {
    match address {
        Endpoint::Tcp(address) if address.port() == INFLUXDB_HTTP_PORT => {
            format!("{INFLUXDB_HTTP_PORT} is InfluxDB's HTTP port")
        }
        Endpoint::Tcp(address) => format!("{} is an HTTP port", address.port()),
        Endpoint::Local(_) => "this is HTTP".to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Address;

    #[test]
    fn a_web_server_is_told_by_the_port_that_was_typed() {
        let hint = |address: &str| {
            let address = Endpoint::Tcp(address.parse::<Address>().unwrap());
            not_a_snapshotter(&address, b"HTTP/1.1 400").hint.unwrap()
        };
        assert!(hint("db:8086").starts_with("8086 is InfluxDB's HTTP port; name the"));
        assert!(hint("db:18086").starts_with("18086 is an HTTP port; name the"));
    }
}
