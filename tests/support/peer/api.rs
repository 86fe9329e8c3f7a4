//! The HTTP API beside a scripted snapshotter: both have one state.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use influx_snap::tsm::index::IndexWalk;
use serde_json::{Value, json};

use super::super::http::form_value;
use super::super::listener::{End, Service, finish, lock};
use super::super::proxy;
use super::super::tsm::of_lines;
use super::model::{Model, Shard};
use super::tars::Member;
use super::{Peer, State};

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum HttpReply {
    /// As a server does.
    Done,
    /// With this status and error, and nothing is done.
    Instead(u16, String),
    /// It is done, and answered with this status and error.
    DoneBut(u16, String),
    /// It is done, once the server was changed so.
    Once(fn(&mut Model)),
    /// The connection is closed, and so is each that follows.
    GoesAway,
}

/// What is kept of the requests, and how they are answered.
#[derive(Debug, Default)]
pub(super) struct Http {
    /// The replies to writes, or to statements that begin so, one a request.
    scripts: Vec<(&'static str, VecDeque<HttpReply>)>,
    lines: Vec<String>,
    statements: Vec<String>,
    subscriptions: Vec<Value>,
    is_away: bool,
}

/// The API of a [`Peer`].
pub struct Api {
    service: Service,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Peer {
    /// Starts its HTTP API.
    pub fn api(&self) -> Api {
        let shared = Arc::clone(&self.shared);
        let served = Arc::clone(&shared);
        let service = Service::start(move |stream, _| serve(stream, &served.0));
        Api { service, shared }
    }
}

impl Api {
    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.service.address)
    }

    /// Sets the replies to statements that begin so, or to a `write`, one a request; all that
    /// follow are answered as a server does.
    pub fn script(&self, begin: &'static str, replies: impl IntoIterator<Item = HttpReply>) {
        let replies = replies.into_iter().collect();
        lock(&self.shared.0).http.scripts.push((begin, replies));
    }

    /// The points that were written so far, a line each.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.0).http.lines.clone()
    }

    /// The statements that were done so far, without questions.
    pub fn statements(&self) -> Vec<String> {
        lock(&self.shared.0).http.statements.clone()
    }

    /// Has it have a subscription: the row of `db`.`autogen` that shows it.
    pub fn subscribe(&self, row: Value) {
        lock(&self.shared.0).http.subscriptions.push(row);
    }

    /// Answers again after [`HttpReply::GoesAway`].
    pub fn come_back(&self) {
        lock(&self.shared.0).http.is_away = false;
    }
}

/// Answers one connection.
fn serve(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut client = BufReader::new(stream);
    let Some(request) = proxy::read_request(&mut client)? else {
        return Ok(());
    };
    let stream = client.into_inner();
    let body = String::from_utf8(request.body.clone()).map_err(io::Error::other)?;
    let statement = form_value(&body, "q").unwrap_or_default();
    let what = match request.path() {
        "/write" => "write",
        _ => &statement,
    };
    let mut state = lock(state);
    let mut scripts = state.http.scripts.iter_mut();
    let script = scripts.find(|(begin, left)| what.starts_with(begin) && !left.is_empty());
    let reply = script.and_then(|(_, left)| left.pop_front());
    let reply = reply.unwrap_or(HttpReply::Done);
    state.http.is_away |= matches!(reply, HttpReply::GoesAway);
    if state.http.is_away {
        drop(state);
        return finish(stream, End::Fin);
    }
    if let HttpReply::Once(change) = reply {
        change(&mut state.model);
    }
    let done = |state: &mut State| match request.path() {
        "/ping" => (204, None),
        "/write" => write(state, &request.query, &body),
        _ => (200, Some(query(state, &statement))),
    };
    let (status, answer) = match reply {
        HttpReply::Instead(status, error) => (status, Some(json!({ "error": error }))),
        HttpReply::DoneBut(status, error) => {
            done(&mut state);
            (status, Some(json!({ "error": error })))
        }
        _ => done(&mut state),
    };
    let version = state.model.version.number();
    drop(state);
    answer_with(stream, status, version, answer)
}

fn answer_with(
    mut stream: TcpStream,
    status: u16,
    version: &str,
    answer: Option<Value>,
) -> io::Result<()> {
    let body = answer.map_or_else(String::new, |answer| answer.to_string());
    let length = match status {
        204 => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nX-Influxdb-Version: {version}\r\nConnection: close\r\n{length}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    finish(stream, End::Fin)
}

/// Writes points as a server does: each into its shard's cache.
fn write(state: &mut State, query: &str, body: &str) -> (u16, Option<Value>) {
    let refused = |status: u16, error: String| (status, Some(json!({ "error": error })));
    let value = |name: &str| form_value(query, name).unwrap_or_default();
    let (database, policy) = (value("db"), value("rp"));
    let model = &mut state.model;
    if body.len() > model.max_body_size {
        return refused(413, "Request Entity Too Large".to_owned());
    }
    let of = |shard: &&Shard| shard.path.database == *database;
    if !model.shards.iter().any(|shard| of(&shard)) {
        return refused(404, format!("database not found: \"{database}\""));
    }
    for line in body.lines() {
        let time = line.rsplit_once(' ').expect("a time").1;
        let time = time.parse().expect("nanoseconds");
        let id = model.shard_for(&database, &policy, time).path.id;
        if model.finds_disabled(id) {
            return refused(500, format!("[shard {id}] shard is disabled"));
        }
        let shard = model.shard(id);
        shard.open = true;
        let folder = shard.path.to_string();
        let cache = shard.cache.get_or_insert_default();
        let numbers = cache.members().filter_map(|member| {
            let name = member.name.rsplit('/').next()?;
            name[..9].parse::<u32>().ok()
        });
        let next = numbers.max().unwrap_or(0) + 1;
        let name = format!("{folder}/{next:09}-000000001.tsm");
        cache.cached.push(Member::new(name, of_lines(&[line])));
        state.http.lines.push(line.to_owned());
    }
    (204, None)
}

/// Answers a statement as a server does.
fn query(state: &mut State, statement: &str) -> Value {
    let series = |name: &str, columns: &[&str], values: Vec<Value>| json!({ "name": name, "columns": columns, "values": values });
    let (model, http) = (&state.model, &mut state.http);
    let live = model
        .shards
        .iter()
        .filter(|shard| shard.named && shard.deleted_at == 0);
    let shown = if statement == "SHOW SHARDS" {
        let rows = live
            .map(|Shard { path, .. }| json!([path.id, &*path.database, &*path.retention_policy]));
        series("", &["id", "database", "retention_policy"], rows.collect())
    } else if statement == "SHOW DATABASES" {
        let names: BTreeSet<&str> = model.shards.iter().map(|of| &*of.path.database).collect();
        let rows = names.into_iter().map(|name| json!([name]));
        series("databases", &["name"], rows.collect())
    } else if statement == "SHOW SUBSCRIPTIONS" {
        let columns = ["retention_policy", "name", "mode", "destinations"];
        series("db", &columns, http.subscriptions.clone())
    } else if statement.starts_with("SHOW FIELD KEYS ON ") {
        return json!({"results": [{"statement_id": 0, "series": field_keys(live)}]});
    } else {
        if !statement.starts_with("SHOW ") {
            http.statements.push(statement.to_owned());
        }
        return json!({"results": [{"statement_id": 0}]});
    };
    json!({"results": [{"statement_id": 0, "series": [shown]}]})
}

/// The fields of all that shards have, and their types.
fn field_keys<'a>(shards: impl Iterator<Item = &'a Shard>) -> Vec<Value> {
    let mut found = BTreeSet::new();
    let caches = shards.filter_map(|shard| shard.cache.as_ref());
    for member in caches.flat_map(|cache| cache.members()) {
        let mut walk = IndexWalk::open(&member.content[..]).expect("a TSM file");
        while let Some(key) = walk.next_key().expect("an index") {
            let text = std::str::from_utf8(key.bytes).expect("a key in UTF-8");
            let (series, field) = text.split_once("#!~#").expect("a field");
            let measurement = series.split(',').next().expect("a measurement");
            let names = (measurement.to_owned(), field.to_owned());
            found.insert((names, key.value_type.to_string()));
        }
    }
    let one = |((measurement, field), of_type): ((String, String), String)| json!({"name": measurement, "columns": ["fieldKey", "fieldType"], "values": [[field, of_type]]});
    found.into_iter().map(one).collect()
}
