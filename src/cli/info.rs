//! `snap info` as it is typed.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::flags::server::ServerArgs;
use super::flags::values;
use super::list::{complaint, kind, state_of, unproven};
use super::render::json;
use super::render::output::{Output, bytes, plural};
use super::render::table::{fields, interval, table, time};
use super::render::terminal::print_lines;
use super::{Ending, OutputArgs};
use crate::cancel::Cancel;
use crate::client::Address;
use crate::ops::{MetaCounts, SetInfo, ShardInfo, info, server_info};
use crate::repository::{Catalog, Selection, steadily};

/// Show what one set holds, shard by shard; with -host, what a server holds
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", conflicts_with = "host")]
    path: Option<PathBuf>,
    /// The set: its id, the beginning of it, or latest [default: latest]
    #[arg(value_name = "SET", conflicts_with = "host")]
    set: Option<String>,

    /// Ask the snapshotter at this address instead
    #[arg(long, value_name = "HOST", value_parser = values::address)]
    host: Option<Address>,
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl InfoArgs {
    /// Runs the command.
    pub fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        match &self.host {
            Some(host) => self.of_server(host, cancel, output)?,
            None => self.of_set(output)?,
        }
        Ok(None)
    }

    fn of_set(&self, output: &Output) -> Result<()> {
        let directory = values::directory(self.path.as_ref());
        let warnings = RefCell::new(Vec::new());
        let read = || {
            warnings.borrow_mut().clear();
            Catalog::read_for(&directory, self.set.as_deref(), &mut |text| {
                warnings.borrow_mut().push(text.to_owned());
            })
        };
        let found = steadily(&directory, read, |contents| {
            let at = self
                .set
                .as_deref()
                .map_or_else(|| contents.latest(), |name| contents.find(name))?;
            Ok(info(contents, at))
        });
        warnings
            .borrow()
            .iter()
            .for_each(|text| output.warning(text));
        let (_, info) = found?;
        if self.output.json {
            let mut document = serde_json::to_value(&info.summary)?;
            document["dialect"] = json!(info.dialect);
            document["cluster_id"] = json!(info.cluster_id);
            document["selection"] = json!(info.selection);
            document["meta"] = json!(info.meta);
            json::document("set", &document)?;
            return info
                .shards
                .iter()
                .try_for_each(|shard| json::document("shard", shard));
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
        let text = format!(
            "{}\n{}",
            fields(&described(&info, &directory)),
            shards(&info.shards, true)
        );
        print_lines(&text).context("writing to standard output")
    }

    fn of_server(&self, host: &Address, cancel: &Cancel, output: &Output) -> Result<()> {
        let info = server_info(&self.server.client(host.clone(), cancel))?;
        let dialect = info
            .dialect
            .map(|dialect| dialect.to_string())
            .unwrap_or_default();
        if self.output.json {
            let document = json!({
                "host": host.to_string(), "dialect": dialect, "cluster_id": info.cluster_id, "meta": info.meta,
            });
            json::document("server", &document)?;
            return info
                .shards
                .iter()
                .try_for_each(|shard| json::document("shard", shard));
        }
        if output.is_quiet() {
            return Ok(());
        }
        let open = info
            .shards
            .iter()
            .filter(|shard| shard.state == "open")
            .count();
        let described = [
            ("server", host.to_string()),
            ("dialect", dialect),
            ("cluster", info.cluster_id.to_string()),
            ("meta store", counts(&info.meta)),
            (
                "shards",
                format!("{}, {open} of them open", info.shards.len()),
            ),
        ];
        print_lines(&format!(
            "{}\n{}",
            fields(&described),
            shards(&info.shards, false)
        ))
        .context("writing to standard output")
    }
}

fn described(info: &SetInfo, directory: &Path) -> Vec<(&'static str, String)> {
    let summary = &info.summary;
    let mut described = vec![
        ("set", summary.id.clone()),
        ("directory", directory.display().to_string()),
        ("format", summary.layout.to_string()),
        ("state", state_of(summary).to_owned()),
        ("kind", kind(summary.kind).to_owned()),
        ("started", format!("{} UTC", time(summary.started))),
    ];
    if let Some(finished) = summary.finished {
        described.push(("finished", format!("{} UTC", time(finished))));
    }
    if let Some(since) = summary.kept {
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
        described.push(("meta store", counts(meta)));
    }
    let tars: u64 = info
        .shards
        .iter()
        .filter(|shard| shard.file.is_some())
        .filter_map(|shard| shard.tar_size)
        .fold(0, u64::saturating_add);
    described.push((
        "shards",
        format!("{}, {}", plural(summary.shards, "shard"), bytes(tars)),
    ));
    described.push(("on disk", bytes(summary.size)));
    if let Some((start, end)) = summary.start_time.zip(summary.end_time) {
        described.push(("groups", format!("{} UTC", interval(start, end))));
    }
    described
}

pub(super) fn asked_for(selection: &Selection) -> String {
    let mut parts = Vec::new();
    match &selection.database {
        Some(database) => parts.push(format!("database '{database}'")),
        None if selection.include_internal => parts.push("all databases, _internal too".to_owned()),
        None => parts.push("all databases but _internal".to_owned()),
    }
    parts.extend(
        selection
            .retention_policy
            .iter()
            .map(|policy| format!("policy '{policy}'")),
    );
    parts.extend(selection.shard.iter().map(|id| format!("shard {id}")));
    parts.extend(
        selection
            .since
            .iter()
            .map(|since| format!("files changed after {since}")),
    );
    parts.extend(
        selection
            .start
            .iter()
            .map(|start| format!("points from {start} on")),
    );
    parts.extend(
        selection
            .end
            .iter()
            .map(|end| format!("points up to {end}")),
    );
    if selection.meta_only {
        parts.push("the meta store alone".to_owned());
    }
    parts.join(", ")
}

fn counts(meta: &MetaCounts) -> String {
    let MetaCounts {
        databases,
        users,
        continuous_queries,
        subscriptions,
    } = *meta;
    let queries = if continuous_queries == 1 {
        "1 continuous query".to_owned()
    } else {
        format!("{continuous_queries} continuous queries")
    };
    format!(
        "{}, {}, {queries}, {}",
        plural(databases, "database"),
        plural(users, "user"),
        plural(subscriptions, "subscription")
    )
}

fn shards(shards: &[ShardInfo], of_set: bool) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |shard: &ShardInfo| {
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
            row.push(or_dash(shard.tar_size.map(bytes)));
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
