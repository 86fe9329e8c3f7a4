//! Output as JSON lines on standard output, each an object with a `message_type`. Fields are only ever added.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::output::Summary;
use super::terminal::print_exact;
use crate::progress::{Event, Outcome, Progress};
use crate::shard::ShardPath;

/// Prints events as JSON lines.
#[derive(Debug)]
pub struct Json {
    /// Details too.
    pub verbose: bool,
    /// Only what failed.
    pub quiet: bool,
}

impl Progress for Json {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Status(text) if !self.quiet => status("info", text),
            Event::Detail(text) if self.verbose && !self.quiet => status("detail", text),
            Event::Warning(text) => status("warning", text),
            Event::Retry {
                shard,
                attempt,
                wait,
                reason,
            } if !self.quiet => {
                let more = json!({ "state": "retry", "attempt": attempt, "wait_seconds": wait.as_secs_f64(), "reason": reason });
                emit(&shard_message(shard, more));
            }
            Event::Finished {
                shard,
                outcome,
                elapsed,
            } => {
                let more = match outcome {
                    Outcome::Failed(reason) => json!({ "state": "failed", "reason": reason }),
                    _ if self.quiet => return,
                    Outcome::Done { files, bytes } => {
                        json!({ "state": "done", "files": files, "bytes": bytes })
                    }
                    Outcome::Skipped(reason) => json!({ "state": "skipped", "reason": reason }),
                };
                let mut message = shard_message(shard, more);
                message["seconds"] = json!(elapsed.as_secs_f64());
                emit(&message);
            }
            _ => {}
        }
    }
}

fn shard_message(shard: &ShardPath, more: Value) -> Value {
    let mut message = json!({
        "message_type": "shard",
        "database": shard.database,
        "retention_policy": shard.retention_policy,
        "id": shard.id,
    });
    if let (Some(message), Value::Object(more)) = (message.as_object_mut(), more) {
        message.extend(more);
    }
    message
}

/// Prints a status message; `level` is `info`, `detail` or `warning`.
pub fn status(level: &str, text: &str) {
    emit(&json!({ "message_type": "status", "level": level, "message": text }));
}

/// Prints what a service did for one connection.
pub fn request(peer: &str, request: &str, bytes: Option<u64>, outcome: &str, elapsed: Duration) {
    emit(&json!({
        "message_type": "request",
        "peer": peer,
        "request": request,
        "answered": bytes.is_some(),
        "bytes": bytes,
        "message": outcome,
        "seconds": elapsed.as_secs_f64(),
    }));
}

/// Prints the error that ends the process.
pub fn exit_error(code: u8, message: &str, hint: Option<&str>) {
    emit(&json!({ "message_type": "exit_error", "code": code, "message": message, "hint": hint }));
}

/// Prints something with fields of its own.
///
/// # Errors
///
/// When it cannot be printed.
pub fn document(message_type: &str, fields: &impl Serialize) -> anyhow::Result<()> {
    let mut message = json!({ "message_type": message_type });
    if let (Some(message), Value::Object(fields)) =
        (message.as_object_mut(), serde_json::to_value(fields)?)
    {
        message.extend(fields);
    }
    Ok(print_exact(&format!("{message}\n"))?)
}

/// The summary as a line.
pub fn summary(summary: &Summary<'_>) -> String {
    let message = json!({
        "message_type": "summary",
        "command": summary.command,
        "set": summary.set.map(|set| &set.id),
        "number": summary.set.map(|set| set.number),
        "directory": summary.directory.to_string_lossy(),
        "dry_run": summary.dry_run,
        "shards": summary.shards,
        "shared": summary.shared,
        "empty": summary.empty,
        "files": summary.files,
        "bytes": summary.bytes,
        "metastore": summary.metastore.map(Path::to_string_lossy),
        "missing": summary.missing,
        "unproven": summary.unproven,
        "gaps": summary.gaps,
        "lost_shards": summary.losses.map(|losses| losses.shards),
        "lost_databases": summary.losses.map_or(&[][..], |losses| &losses.databases),
        "server_changed": summary.losses.map(|losses| losses.other_server.is_some()),
        "seconds": summary.elapsed.as_secs_f64(),
    });
    format!("{message}\n")
}

fn emit(message: &Value) {
    // A listener has nobody to tell that standard output went away; the summary's print reports it.
    let _ = print_exact(&format!("{message}\n"));
}
