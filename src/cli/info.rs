//! `snap info` as it is typed.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::server::ServerArgs;
use super::flags::values;
use super::render::json;
use super::render::messages::info::{ServerDetails, SetDetails};
use super::render::output::Output;
use super::render::sets::{asked_for, complaint, kind, meta_counts, state_of, unproven};
use super::render::table::{fields, interval, table, time};
use crate::cancel::Cancel;
use crate::client::Address;
use crate::ops::{SetInfo, ShardSummary, info, server_info};
use crate::sizes::total;
use crate::text::{plural, size};

/// Show what a set holds, or with -host what a server holds
///
/// Without -host, PATH and SET are looked at, and no server is asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InfoArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", conflicts_with = "host")]
    path: Option<PathBuf>,
    /// The set: an id, the beginning of one, or latest [default: latest]
    #[arg(value_name = "SET", conflicts_with = "host")]
    set: Option<String>,

    /// Ask the snapshotter at this address instead
    #[arg(help_heading = "Server", long, value_name = "HOST", value_parser = values::address)]
    host: Option<Address>,
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap info /var/backups/influxdb              the newest set
  snap info /var/backups/influxdb 20261120     that of 20 November 2026
  snap info -host 127.0.0.1:8088               a running influxd";

impl InfoArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        match &self.host {
            Some(host) => self.of_server(host, cancel, output)?,
            None => self.of_set(cancel, output)?,
        }
        Ok(None)
    }

    fn of_set(&self, cancel: &Cancel, output: &Output) -> Result<()> {
        let directory = values::directory(self.path.as_ref());
        let set = self.set.as_deref();
        let info = output.while_running(cancel, |context| info(&directory, set, context))?;
        if output.is_json() {
            json::print(&SetDetails::new(&info))?;
            return info.shards.iter().try_for_each(json::print);
        }
        if output.is_quiet() {
            return Ok(());
        }
        if let Some(complaint) = complaint(&info.summary) {
            output.warning(complaint);
        }
        if let Some(text) = unproven(&info.summary) {
            output.warning(&text);
        }
        let described = fields(&described(&info, &directory));
        output.lines(&format!("{described}\n{}", shards(&info.shards, true)))
    }

    fn of_server(&self, host: &Address, cancel: &Cancel, output: &Output) -> Result<()> {
        let info = server_info(&self.server.client(host.clone(), cancel))?;
        let server = ServerDetails::new(&info, host);
        if output.is_json() {
            json::print(&server)?;
            return info.shards.iter().try_for_each(json::print);
        }
        if output.is_quiet() {
            return Ok(());
        }
        let open = info.shards.iter().filter(|shard| shard.state == "open");
        let open = open.count();
        let described = fields(&[
            ("server", server.host),
            ("dialect", server.dialect),
            ("cluster", server.cluster_id.to_string()),
            ("metastore", meta_counts(&server.meta)),
            (
                "shards",
                format!("{}, {open} of them open", info.shards.len()),
            ),
        ]);
        output.lines(&format!("{described}\n{}", shards(&info.shards, false)))
    }
}

fn described(info: &SetInfo, directory: &Path) -> Vec<(&'static str, String)> {
    let summary = &info.summary;
    let mut described = vec![
        ("set", summary.id.to_string()),
        ("directory", directory.display().to_string()),
        ("format", summary.layout.to_string()),
        ("state", state_of(summary).to_owned()),
        ("kind", kind(summary.kind).to_owned()),
        ("started", format!("{} UTC", time(summary.started))),
    ];
    if let Some(finished) = summary.finished {
        described.push(("finished", format!("{} UTC", time(finished))));
    }
    if let Some(since) = summary.pinned_at {
        described.push(("kept", format!("marked {} UTC", time(since))));
    }
    if let Some(host) = &summary.host {
        let dialect = info
            .dialect
            .as_ref()
            .map(|dialect| format!(", dialect {dialect}"))
            .unwrap_or_default();
        described.push(("server", format!("{host}{dialect}")));
    }
    if let Some(cluster) = info.cluster_id {
        described.push(("cluster", cluster.to_string()));
    }
    described.push(("written by", summary.written_by.clone()));
    if let Some(selection) = &info.selection {
        described.push(("asked for", asked_for(selection)));
    }
    if let Some(meta) = &info.meta {
        described.push(("metastore", meta_counts(meta)));
    }
    let stored = info.shards.iter().filter(|shard| shard.file.is_some());
    let tars = total(stored.filter_map(|shard| shard.tar_size));
    described.push((
        "shards",
        format!("{}, {}", plural(summary.shards, "shard"), size(tars)),
    ));
    described.push(("on disk", size(summary.size)));
    if let Some((start, end)) = summary.start_time.zip(summary.end_time) {
        described.push(("groups", format!("{} UTC", interval(start, end))));
    }
    described
}

fn shards(shards: &[ShardSummary], of_set: bool) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |shard: &ShardSummary| {
        let mut row = vec![
            shard.database.clone(),
            shard.retention_policy.clone(),
            shard.id.to_string(),
            interval(shard.start_time, shard.end_time),
            match &shard.unproven {
                Some(_) => format!("{}, unproven", shard.state),
                None => shard.state.to_owned(),
            },
        ];
        if of_set {
            row.push(or_dash(shard.files.map(|files| files.to_string())));
            row.push(or_dash(shard.tar_size.map(size)));
            row.push(or_dash(shard.file.clone()));
        }
        row
    };
    let rows: Vec<Vec<String>> = shards.iter().map(row).collect();
    let heading = [
        "DATABASE",
        "POLICY",
        "SHARD",
        "SHARD GROUP (UTC)",
        "STATE",
        "FILES",
        "SIZE",
        "FILE",
    ];
    table(if of_set { &heading } else { &heading[..5] }, &rows)
}
