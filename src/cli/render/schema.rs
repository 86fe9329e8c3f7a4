//! The JSON schemas of what is printed and stored, made from the types.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::messages::check::CheckResult;
use super::messages::copy::{CopySet, CopySummary};
use super::messages::diff::DiffSummary;
use super::messages::export::ExportSummary;
use super::messages::forget::{ForgetSet, ForgetSummary};
use super::messages::info::{ServerDetails, SetDetails};
use super::messages::keep::KeepSummary;
use super::messages::rebuild::RebuildSummary;
use super::messages::run::RunSummary;
use super::messages::serve::ServeSummary;
use super::messages::stats::StatsSummary;
use super::messages::trial::TrialResult;
use super::messages::verify::VerifySummary;
use super::messages::{ExitError, Message, ServedRequest, ShardProgress, Status};
use crate::ops::{
    DatabaseStats, Lost, MeasurementDiff, MeasurementStats, PolicyDiff, PolicyStats, SetFault,
    SetGap, SetSummary, ShardSummary, StatsDamage, live_journal_schema,
};
use crate::repository::SetRecord;

/// Makes the schema of one kind of line.
type LineSchema = fn(&mut SchemaGenerator) -> Schema;

/// What every command prints.
const COMMON: [LineSchema; 2] = [line::<Status>, line::<ExitError>];

/// The commands that print JSON, and the lines of each but for the common ones.
const COMMANDS: [(&str, &[LineSchema]); 13] = [
    (
        "backup",
        &[
            line::<ShardProgress>,
            line::<ServedRequest>,
            line::<RunSummary>,
        ],
    ),
    (
        "restore",
        &[
            line::<ShardProgress>,
            line::<Lost>,
            line::<RunSummary>,
            line::<RebuildSummary>,
        ],
    ),
    ("serve", &[line::<ServedRequest>, line::<ServeSummary>]),
    ("list", &[line::<SetSummary>]),
    (
        "info",
        &[
            line::<SetDetails>,
            line::<ServerDetails>,
            line::<ShardSummary>,
        ],
    ),
    (
        "stats",
        &[
            line::<ShardProgress>,
            line::<DatabaseStats>,
            line::<PolicyStats>,
            line::<MeasurementStats>,
            line::<StatsDamage>,
            line::<StatsSummary>,
        ],
    ),
    (
        "verify",
        &[
            line::<ShardProgress>,
            line::<SetFault>,
            line::<SetGap>,
            line::<PolicyDiff>,
            line::<MeasurementDiff>,
            line::<TrialResult>,
            line::<VerifySummary>,
        ],
    ),
    ("check", &[line::<CheckResult>]),
    ("forget", &[line::<ForgetSet>, line::<ForgetSummary>]),
    ("keep", &[line::<KeepSummary>]),
    (
        "copy",
        &[line::<ShardProgress>, line::<CopySet>, line::<CopySummary>],
    ),
    ("export", &[line::<ShardProgress>, line::<ExportSummary>]),
    (
        "diff",
        &[
            line::<ShardProgress>,
            line::<PolicyDiff>,
            line::<MeasurementDiff>,
            line::<DiffSummary>,
        ],
    ),
];

/// Every schema as the text of a file, by the file's name without `.json`.
pub fn schemas() -> Vec<(&'static str, String)> {
    let of_lines = COMMANDS.iter().map(|(command, lines)| {
        let kinds: Vec<LineSchema> = lines.iter().chain(&COMMON).copied().collect();
        let title = format!("A line of snap {command} -json");
        (
            *command,
            document(&title, |generator| one_of(generator, &kinds)),
        )
    });
    let record = document(
        "The record of a set, .snap/<id>.json",
        SetRecord::json_schema,
    );
    let journal = document(
        "A line of the journal of a live restore, .snap/restore-<host>-<sum>.journal",
        live_journal_schema,
    );
    of_lines
        .chain([("record", record), ("restore-journal", journal)])
        .collect()
}

fn document(title: &str, root: impl FnOnce(&mut SchemaGenerator) -> Schema) -> String {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(RecursiveTransform(describe_in_one_line))
        .with_transform(RecursiveTransform(ask_for_utc));
    let mut generator = settings.into_generator();
    let mut schema = root(&mut generator);
    let dialect = generator.settings().meta_schema.as_deref();
    schema.insert("$schema".to_owned(), dialect.into());
    schema.insert("title".to_owned(), title.into());
    let definitions = generator.take_definitions(false);
    if !definitions.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    // Definitions and the root alike.
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    format!("{:#}\n", schema.to_value())
}

/// A doc comment's lines end where the source is as wide as it may be.
fn describe_in_one_line(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

/// Times are RFC 3339 of all zones to the type, and UTC as they are written.
fn ask_for_utc(schema: &mut Schema) {
    if schema
        .get("format")
        .is_some_and(|format| format == "date-time")
    {
        schema.insert("pattern".to_owned(), "Z$".into());
    }
}

fn one_of(generator: &mut SchemaGenerator, kinds: &[LineSchema]) -> Schema {
    let kinds: Vec<Schema> = kinds.iter().map(|kind| kind(generator)).collect();
    json_schema!({ "oneOf": kinds })
}

fn line<M: Message>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = M::json_schema(generator);
    schema.insert("title".to_owned(), M::TITLE.into());
    let fields = schema.ensure_object();
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        let kind = json!({ "description": "The kind of line.", "const": M::TYPE });
        properties.insert("message_type".to_owned(), kind);
    }
    if let Some(Value::Array(required)) = fields.get_mut("required") {
        required.insert(0, "message_type".into());
    }
    schema
}
