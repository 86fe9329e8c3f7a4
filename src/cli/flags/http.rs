//! The flag of the HTTP API of an influxd, and who asks it.

use std::env;

use clap::Args;

use super::server::ConnectionArgs;
use super::values;
use crate::client::Address;
use crate::error::{Error, ErrorKind};
use crate::http_api::{Credentials, HttpOptions, HttpUrl};

/// Where the HTTP API is.
#[derive(Debug, Args)]
pub(crate) struct HttpArgs {
    /// With -merge or -with, the HTTP API [default: http at port 8086 of -host]
    ///
    /// It is asked with the credentials in the variables INFLUX_USERNAME and INFLUX_PASSWORD, if
    /// these are set.
    #[arg(
        long,
        value_name = "URL",
        value_parser = values::http_url,
        conflicts_with_all = ["metadir", "datadir"],
        help_heading = "Where to",
        hide_short_help = true
    )]
    http: Option<HttpUrl>,
}

impl HttpArgs {
    /// Refuses the flag, for what asks no HTTP API.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] where it is given.
    pub(crate) fn ensure_absent(&self) -> Result<(), Error> {
        match self.http {
            None => Ok(()),
            Some(_) => Err(ErrorKind::Usage
                .error("-http needs -merge, -with or -users-password-file")
                .hint("the points of a restore go to -host alone")),
        }
    }

    /// How to ask the server whose snapshotter is at `host`.
    ///
    /// # Errors
    ///
    /// For half of the credentials.
    pub(crate) fn options(
        &self,
        host: &Address,
        connection: &ConnectionArgs<false>,
    ) -> Result<HttpOptions, Error> {
        let default = || HttpUrl::of_host(host.host());
        Ok(HttpOptions {
            url: self.http.clone().unwrap_or_else(default),
            credentials: Credentials::of(&|name| env::var_os(name))?,
            timeouts: connection.timeouts(),
            retries: connection.retries,
        })
    }
}
