//! `snap serve` as it is typed.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values;
use super::render::messages::Seconds;
use super::render::messages::serve::ServeSummary;
use super::render::output::Output;
use super::render::request_log::RequestLog;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{Directories, serve};
use crate::server::ServiceOptions;
use crate::wire::{Accept, Dialect};

/// Serve a stopped influxd's directories over the snapshotter protocol
///
/// Every client of the protocol can take backups from it, in both dialects: snap and `influxd
/// backup`. With -writable, `snap restore -online` and `influxd restore` can put backups into it.
/// It runs until SIGTERM or Ctrl-C, then finishes the requests under way.
///
/// The protocol has no passwords and no encryption: mind who can reach the port.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// The meta directory
    #[arg(long, value_name = "DIR")]
    metadir: PathBuf,
    /// The data directory
    #[arg(long, value_name = "DIR")]
    datadir: PathBuf,
    /// The WAL directory [default: wal beside -datadir]
    ///
    /// What only the WAL holds is served as TSM files.
    #[arg(long, value_name = "DIR")]
    waldir: Option<PathBuf>,
    /// Leave out what only the WAL holds
    #[arg(long)]
    ignore_wal: bool,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8088", value_name = "HOST:PORT")]
    bind: String,
    /// The dialects to answer in
    #[arg(long, default_value = "both", value_name = "both|1.0|1.5", value_parser = accept)]
    dialect: AcceptArg,
    /// Accept restores, which change the directories
    #[arg(long)]
    writable: bool,
    /// How many connections to serve at a time
    #[arg(
        long,
        default_value_t = 64,
        value_name = "N",
        value_parser = values::whole_number(1, u16::MAX),
    )]
    connections: u16,
    /// How long to wait at the end for requests under way
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = values::wait)]
    grace: Duration,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap serve -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data
  snap serve -metadir M -datadir D -bind 127.0.0.1:0     a free port, printed";

/// A set of dialects. (A type of its own, for clap.)
#[derive(Debug, Clone, Copy)]
struct AcceptArg(Accept);

fn accept(text: &str) -> Result<AcceptArg, String> {
    match text {
        "both" => Ok(AcceptArg(Accept::Both)),
        _ => text
            .parse::<Dialect>()
            .map(|dialect| AcceptArg(Accept::Only(dialect))),
    }
}

impl ServeArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let listener = self.listen()?;
        let options = ServiceOptions {
            accept: self.dialect.0,
            writable: self.writable,
            connections: self.connections.into(),
            ..ServiceOptions::default()
        };
        let directories = Directories {
            metadir: self.metadir.clone(),
            datadir: self.datadir.clone(),
            waldir: self.waldir.clone(),
            ignore_wal: self.ignore_wal,
        };
        let service = serve(
            &directories,
            listener,
            Box::new(RequestLog::new(output)),
            options,
        )?;
        let address = service.address();
        if !address.ip().is_loopback() {
            output.warning(&format!(
                "{address} can be reached from other machines, and the protocol has no \
                 authentication"
            ));
        }
        let how = if self.writable {
            "writable"
        } else {
            "read only"
        };
        let wal = match directories.wal() {
            _ if self.ignore_wal => ", without what is in the WAL,".to_owned(),
            Some(waldir) => format!(" with the WAL in {}", waldir.display()),
            None => ", which have no WAL,".to_owned(),
        };
        output.opening(&format!(
            "serving {} and {}{wal} on {address}, {how}",
            self.metadir.display(),
            self.datadir.display()
        ));
        let opened = Instant::now();
        while !cancel.is_cancelled() {
            thread::sleep(Duration::from_millis(100));
        }
        let (counts, cut_off) = service.close(self.grace);
        let summary = ServeSummary::new(counts, cut_off, Seconds(opened.elapsed()));
        output.closing(&summary, &summary.line())?;
        Ok(None)
    }

    fn listen(&self) -> Result<TcpListener> {
        let refused = || ErrorKind::Failed.error(format!("cannot listen on {}", self.bind));
        let addresses: Vec<SocketAddr> =
            self.bind.to_socket_addrs().with_context(refused)?.collect();
        TcpListener::bind(&addresses[..]).with_context(refused)
    }
}
