//! That -json is one language: what has one name has one type, in every line of every command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::tree;

/// The schemas of what is stored. They have other words for some things, which cannot change: the
/// records that there are have them.
const STORED: [&str; 2] = ["record", "restore-journal"];

/// The properties of these that have another type in lines of -json, where `set` and `shard` are
/// ids, `shards` counts, `file` is a name, and `unproven` lists shards.
const STORED_OTHERWISE: [(&str, &str); 4] = [
    ("record", "file"),
    ("record", "id"),
    ("record", "shards"),
    ("record", "unproven"),
];

/// What is a point in time, beside names that end in `_time`.
const TIMES: [&str; 7] = [
    "end",
    "finished",
    "kept_since",
    "modified",
    "since",
    "start",
    "started",
];

/// What is a number of bytes, beside names that end in `_size`.
const SIZES: [&str; 5] = ["added", "bytes", "freed", "offset", "size"];

/// The schemas of `docs/schema`, by their names.
fn schemas() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let names = tree::names(&folder).into_iter();
    let names = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()));
    names
        .map(|name| {
            let text = fs::read_to_string(folder.join(format!("{name}.json")));
            let schema = serde_json::from_str(&text.expect("a schema")).expect("JSON");
            (name, schema)
        })
        .collect()
}

/// Calls `visit` with the name and the schema of every property below.
fn walk<'a>(below: &'a Value, visit: &mut dyn FnMut(&'a str, &'a Value)) {
    match below {
        Value::Object(fields) => {
            let properties = fields.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                visit(name, property);
            }
            fields.values().for_each(|field| walk(field, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

/// The types of a property but null, each with its format.
fn types(root: &Value, property: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Some(reference) = property["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("in the same file");
        found.extend(types(root, root.pointer(pointer).expect("a definition")));
    }
    for choice in ["anyOf", "oneOf"] {
        let choices = property[choice].as_array().into_iter().flatten();
        found.extend(choices.flat_map(|choice| types(root, choice)));
    }
    let stated = match &property["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ if property["const"].is_string() => vec!["string"],
        _ => Vec::new(),
    };
    for stated in stated.into_iter().filter(|stated| *stated != "null") {
        let format = match (stated, &property["format"]) {
            ("array", _) => types(root, &property["items"])
                .into_iter()
                .collect::<Vec<_>>()
                .join(" or "),
            ("string", Value::String(format)) => format.clone(),
            _ => String::new(),
        };
        found.insert(format!("{stated} {format}").trim_end().to_owned());
    }
    found
}

#[test]
fn what_has_one_name_has_one_type() {
    let schemas = schemas();
    let mut known: BTreeMap<&str, (BTreeSet<String>, String)> = BTreeMap::new();
    let mut faults = Vec::new();
    // What is printed says which type it is, and what is stored is held against that.
    let (stored, lines): (Vec<_>, Vec<_>) = schemas
        .iter()
        .partition(|(name, _)| STORED.contains(&name.as_str()));
    for (schema, root) in lines.into_iter().chain(stored) {
        walk(root, &mut |name, property| {
            if STORED_OTHERWISE.contains(&(schema, name)) {
                return;
            }
            let types = types(root, property);
            if types.len() != 1 {
                faults.push(format!("{schema}: {name} is {types:?}"));
            }
            let (first, place) = known
                .entry(name)
                .or_insert_with(|| (types.clone(), schema.clone()));
            if *first != types {
                faults.push(format!(
                    "{name} is {first:?} in {place}, {types:?} in {schema}"
                ));
            }
        });
    }
    assert!(known.len() > 100, "{known:?}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn times_sizes_and_lengths_of_time_are_what_their_names_say() {
    let mut seen = [0; 3];
    for (schema, root) in &schemas() {
        walk(root, &mut |name, property| {
            let what = format!("{schema}: {name}: {property}");
            let types = types(root, property);
            let is = |type_: &str| types.iter().eq([type_]);
            // The one list of sizes that is stored.
            if (schema.as_str(), name) == ("record", "compressed") {
                return;
            }
            let is_time = TIMES.contains(&name) || name.ends_with("_time");
            assert_eq!(is("string date-time"), is_time, "{what}");
            if is_time {
                assert_eq!(property["pattern"], "Z$", "{what}");
                seen[0] += 1;
            }
            if SIZES.contains(&name) || name.ends_with("_size") {
                assert!(is("integer") && property["minimum"] == 0, "{what}");
                seen[1] += 1;
            }
            if name == "seconds" || name.ends_with("_seconds") {
                assert!(is("number") || is("integer"), "{what}");
                assert_eq!(property["minimum"], 0, "{what}");
                seen[2] += 1;
            }
        });
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn every_line_has_a_message_type_and_every_property_a_description() {
    for (schema, root) in &schemas() {
        if STORED.contains(&schema.as_str()) {
            continue;
        }
        let lines = root["oneOf"].as_array().expect("kinds of lines");
        assert!(lines.len() > 1, "{schema}");
        for line in lines {
            let kind = &line["properties"]["message_type"]["const"];
            assert!(kind.is_string(), "{schema}: {line}");
            let required = line["required"].as_array().expect("a list");
            assert!(
                required.contains(&"message_type".into()),
                "{schema}: {line}"
            );
        }
        walk(root, &mut |name, property| {
            let is_const = !property["const"].is_null();
            assert!(
                is_const || property["description"].is_string(),
                "{schema}: {name}: {property}"
            );
        });
    }
}
