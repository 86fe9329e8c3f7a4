//! The flags that say how to deal with a server, common to the commands that ask one.

use std::time::Duration;

use clap::Args;

use super::values::{self, DialectArg, RateArg};
use crate::cancel::Cancel;
use crate::client::{Client, Endpoint, Timeouts};

/// How to deal with a server, and with how many of its shards at a time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ServerArgs {
    /// How many shards to work on at a time
    #[arg(
        long,
        default_value_t = 2,
        value_name = "N",
        value_parser = values::whole_number(1, 64_u8),
        help_heading = "How",
    )]
    pub(crate) jobs: u8,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs<false>,
}

impl ServerArgs {
    /// A client of the server at `address`.
    pub(crate) fn client(&self, address: impl Into<Endpoint>, cancel: &Cancel) -> Client {
        self.connection.client(address, cancel)
    }
}

/// How to deal with a server. Where `HIDDEN` is set, the short help leaves all of it out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs<const HIDDEN: bool> {
    /// The protocol: of servers 1.0 to 1.4, or of later ones
    ///
    /// auto asks the server.
    #[arg(
        long,
        default_value = "auto",
        value_name = "auto|1.0|1.5",
        value_parser = values::dialect, hide_short_help = true)]
    dialect: DialectArg,
    /// How long to wait for a connection
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    connect_timeout: Duration,
    /// How long to wait for the next byte
    ///
    /// influxd flushes a shard's cache before it sends the first one.
    #[arg(long, default_value = "2m", value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    idle_timeout: Duration,
    /// How long one attempt at one shard may take
    #[arg(long, default_value = "12h", value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    attempt_timeout: Duration,
    /// How often to try a failed shard again
    #[arg(
        long,
        default_value_t = 5,
        value_name = "N",
        value_parser = values::whole_number(0, u32::MAX), hide_short_help = true)]
    pub(crate) retries: u32,
    /// Bytes per second at the most, as 20MiB
    ///
    /// All shards together. 20M is 20 million bytes; none is no limit.
    #[arg(long, default_value = "none", value_name = "RATE", value_parser = values::rate,
          help_heading = "How", hide_short_help = HIDDEN)]
    limit_rate: RateArg,
}

impl<const HIDDEN: bool> ConnectionArgs<HIDDEN> {
    /// A client of the server at `address`.
    pub(crate) fn client(&self, address: impl Into<Endpoint>, cancel: &Cancel) -> Client {
        Client::new(address, self.dialect.0, self.timeouts(), cancel.clone())
            .limited(self.limit_rate.0)
    }

    /// How long to wait for a server.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.connect_timeout,
            idle: self.idle_timeout,
            attempt: self.attempt_timeout,
        }
    }
}
