//! `snap info` as it is typed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::server::ServerArgs;
use super::flags::values;
use super::render::json;
use super::render::messages::info::{ServerDetails, SetDetails};
use super::render::output::Output;
use super::render::sets::{
    asked_for, complaint, kind, meta_counts, nothing_newer, number_in_names, state_of, unproven,
    versions,
};
use super::render::table::{Cell, Column, Table, ends, fields, time};
use super::render::width::columns;
use crate::cancel::Cancel;
use crate::client::Address;
use crate::ops::{SetInfo, SetSummary, ShardSummary, info, server_info};
use crate::repository::Location;
use crate::sizes::total;
use crate::text::{plural, size};

/// Show what a set holds, or with -host what a server holds
///
/// Without -host, PATH and SET are looked at, and no server is asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InfoArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location(), conflicts_with = "host")]
    pub(crate) path: Option<Location>,
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
        let repository = values::repository(self.path.as_ref());
        let set = self.set.as_deref();
        let info = output.while_running(cancel, |context| info(&repository, set, context))?;
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
        let limit = columns();
        let described = fields(&described(&info, &repository), limit);
        output.lines(&format!(
            "{described}\n{}",
            self.tables(&info.shards, limit)
        ))
    }

    fn of_server(&self, host: &Address, cancel: &Cancel, output: &Output) -> Result<()> {
        let client = self.server.client(host.clone(), cancel);
        let retries = self.server.connection.retries;
        let info =
            output.while_running(cancel, |context| server_info(&client, retries, context))?;
        let server = ServerDetails::new(&info, host);
        if output.is_json() {
            json::print(&server)?;
            return info.shards.iter().try_for_each(json::print);
        }
        if output.is_quiet() {
            return Ok(());
        }
        let limit = columns();
        let described = [
            (
                "server",
                format!("{}, {}", server.host, versions(&server.dialect)),
            ),
            ("cluster", server.cluster_id.to_string()),
            ("metastore", meta_counts(&server.meta)),
            ("shards", of_server(&info.shards)),
        ];
        let described = fields(&described, limit);
        output.lines(&format!(
            "{described}\n{}",
            self.tables(&info.shards, limit)
        ))
    }

    /// The shards by database and policy, and with -verbose one by one.
    fn tables(&self, shards: &[ShardSummary], limit: Option<usize>) -> String {
        if shards.is_empty() {
            return "no shards\n".to_owned();
        }
        let mut text = policies_table(shards).print(limit).text;
        if self.output.is_verbose() {
            text.push('\n');
            text.push_str(&shards_table(shards).print(limit).text);
        }
        text
    }
}

fn described(info: &SetInfo, repository: &Location) -> Vec<(&'static str, String)> {
    let summary = &info.summary;
    let mut described = vec![
        ("set", summary.id.to_string()),
        ("directory", repository.to_string()),
        ("layout", layout(summary)),
        ("state", state_of(summary).to_owned()),
        ("kind", kind(summary.kind).to_owned()),
        ("started", format!("{} UTC", time(summary.started))),
    ];
    if let Some(finished) = summary.finished {
        described.push(("finished", format!("{} UTC", time(finished))));
    }
    if let Some(since) = summary.kept_since {
        let note = summary.note.iter().map(|note| format!(": {note}"));
        let note: String = note.collect();
        described.push(("kept", format!("since {} UTC{note}", time(since))));
    }
    if let Some(host) = &summary.host {
        described.push(("server", server(host, info.dialect.as_deref())));
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
    let shards = match nothing_newer(summary) {
        Some([nothing, ..]) => format!("none {nothing}"),
        None => format!("{}, {}", plural(summary.shards, "shard"), size(tars)),
    };
    described.push(("shards", shards));
    described.push(("on disk", size(summary.size)));
    if let Some((start, end)) = summary.start_time.zip(summary.end_time) {
        let [from, to] = ends(start, end);
        described.push(("groups", format!("{from} to {to} UTC")));
    }
    described
}

/// The layout, and how its files are called that have a number.
fn layout(set: &SetSummary) -> String {
    match number_in_names(set) {
        Some(number) => {
            let files = format!("meta.{number} and DATABASE.POLICY.SHARD.{number}");
            format!("{}, NN {number}: {files}", set.layout)
        }
        None => set.layout.to_string(),
    }
}

/// How many shards a server has, and how many of them it can send.
fn of_server(shards: &[ShardSummary]) -> String {
    let open = shards.iter().filter(|shard| shard.state == "open").count();
    format!("{}, {open} of them open", shards.len())
}

/// The server of a set. Directories of a stopped one are read by snap itself, so the dialect tells
/// nothing of it.
fn server(host: &str, dialect: Option<&str>) -> String {
    let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match (port, dialect) {
        (Some(Ok(_)), Some(dialect)) => format!("{host}, {}", versions(dialect)),
        (Some(Ok(_)), None) => host.to_owned(),
        _ => format!("stopped, its data in {host}"),
    }
}

/// Which states shards have, the most frequent first; how many of each where there are several.
fn states<'a>(shards: impl IntoIterator<Item = &'a ShardSummary>) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in shards {
        *counts.entry(state_word(shard)).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    match counts[..] {
        [(state, _)] => vec![state.to_owned()],
        _ => {
            let each = counts.into_iter();
            each.map(|(state, count)| format!("{count} {state}"))
                .collect()
        }
    }
}

fn state_word(shard: &ShardSummary) -> &'static str {
    match shard.state {
        "not_open" => "not open",
        "stored" if shard.unproven.is_some() => "unproven",
        other => other,
    }
}

/// The shards of each retention policy together.
fn policies_table(shards: &[ShardSummary]) -> Table {
    let mut policies: BTreeMap<(&str, &str), Vec<&ShardSummary>> = BTreeMap::new();
    for shard in shards {
        let policy = (&*shard.database, &*shard.retention_policy);
        policies.entry(policy).or_default().push(shard);
    }
    let has_sizes = shards.iter().any(|shard| shard.size.is_some());
    let mut table = Table::new(vec![
        Column::text("DATABASE").shrinks_to(12),
        Column::text("POLICY").shrinks_to(8),
        Column::number("SHARDS"),
        Column::number("SIZE").goes(4).shown_if(has_sizes),
        Column::text("FROM").goes(2),
        Column::text("TO").goes(1),
        Column::text("STATE").shrinks_to(10).goes(3),
    ]);
    for ((database, policy), shards) in policies {
        let start = shards.iter().map(|shard| shard.start_time).min();
        let end = shards.iter().map(|shard| shard.end_time).max();
        let [from, to] = start
            .zip(end)
            .map_or_else(Default::default, |times| ends(times.0, times.1));
        table.row(vec![
            database.into(),
            policy.into(),
            shards.len().to_string().into(),
            size(total(shards.iter().filter_map(|shard| shard.size))).into(),
            from.into(),
            to.into(),
            states(shards.iter().copied()).join(", ").into(),
        ]);
    }
    table
}

/// Every shard.
fn shards_table(shards: &[ShardSummary]) -> Table {
    let has_files = shards.iter().any(|shard| shard.file.is_some());
    let mut table = Table::new(vec![
        Column::text("DATABASE").shrinks_to(12),
        Column::text("POLICY").shrinks_to(8),
        Column::number("SHARD"),
        Column::text("FROM").goes(3),
        Column::text("TO").goes(2),
        Column::text("STATE").goes(6),
        Column::number("FILES").goes(1).shown_if(has_files),
        Column::number("TAR").goes(4).shown_if(has_files),
        Column::text("FILE").goes(5).shown_if(has_files),
    ]);
    let or_dash = |value: Option<String>| Cell::from(value.unwrap_or_else(|| "-".to_owned()));
    for shard in shards {
        let [from, to] = ends(shard.start_time, shard.end_time);
        table.row(vec![
            shard.database.as_str().into(),
            shard.retention_policy.as_str().into(),
            shard.id.to_string().into(),
            from.into(),
            to.into(),
            state_word(shard).into(),
            or_dash(shard.files.map(|files| files.to_string())),
            or_dash(shard.tar_size.map(size)),
            or_dash(shard.file.clone()),
        ]);
    }
    table
}
