//! A checker for the part of JSON Schema (draft 2020-12) that `docs/schema` uses, which also knows what of it was ever used.
//!
//! The schemas are open, because readers must ignore what they do not know. This checker closes them: a property that no schema
//! names is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Keywords that say nothing about a value.
const SILENT: [&str; 4] = ["$schema", "title", "description", "$defs"];

/// Keywords that are looked at; a schema with any other is refused.
const KNOWN: [&str; 15] = [
    "$ref",
    "oneOf",
    "allOf",
    "type",
    "const",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "format",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "propertyNames",
];

/// All schemas of a folder, and what of them was used.
pub struct Schemas {
    documents: BTreeMap<String, Value>,
    used: Mutex<BTreeSet<Use>>,
}

/// Something in a schema that a value can make use of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// A property, in the values of one document.
    Property(String, Node),
    /// One of several types, values or branches, or the items of a list, in the values of any document.
    Choice(Node, String),
}

/// A schema: its document, and its place in there as a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    document: String,
    pointer: String,
}

/// What became of a value, or of a part of its schema.
#[derive(Default)]
struct Verdict {
    errors: Vec<String>,
    uses: Vec<Use>,
    /// The properties that some schema names.
    named: BTreeSet<String>,
    /// Whether any does.
    closed: bool,
}

impl Schemas {
    /// Reads a folder; panics where a schema is wrong or uses what this checker does not know.
    pub fn read(folder: &Path) -> Self {
        let entries = fs::read_dir(folder)
            .expect("a folder of schemas")
            .map(|entry| entry.expect("an entry").path());
        let document = |path: &Path| {
            let text = fs::read_to_string(path).expect("a schema");
            let schema = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (
                path.file_stem()
                    .and_then(|stem| stem.to_str())
                    .expect("a name")
                    .to_owned(),
                schema,
            )
        };
        let documents = entries.filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        Self::of(documents.map(|path| document(&path)).collect())
    }

    /// These documents by their names.
    pub fn of(documents: BTreeMap<String, Value>) -> Self {
        let schemas = Self {
            documents,
            used: Mutex::default(),
        };
        for (name, document) in &schemas.documents {
            let node = Node {
                document: name.clone(),
                pointer: String::new(),
            };
            schemas.vet(&node);
            let definitions = document["$defs"]
                .as_object()
                .into_iter()
                .flat_map(Map::keys);
            definitions.for_each(|name| schemas.vet(&node.below(&["$defs", name])));
        }
        schemas
    }

    /// The names of the documents.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }

    /// What is wrong with a value by a document.
    pub fn faults(&self, document: &str, value: &Value) -> Vec<String> {
        let mut verdict = Verdict::default();
        self.value(
            document,
            &Node {
                document: document.to_owned(),
                pointer: String::new(),
            },
            value,
            "",
            &mut verdict,
        );
        if verdict.errors.is_empty() {
            self.used
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(verdict.uses);
        }
        verdict.errors
    }

    /// What no value so far made use of: properties as `document: place`, and of all documents together the choices.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut usable = BTreeSet::new();
        for name in self.names().filter(|name| {
            !self.documents[*name]["oneOf"].is_null() || self.documents[*name]["type"].is_string()
        }) {
            let node = Node {
                document: name.to_owned(),
                pointer: String::new(),
            };
            self.usable(name, node, &mut BTreeSet::new(), &mut usable);
        }
        usable.difference(&used).map(ToString::to_string).collect()
    }

    /// Panics where a schema, or one below it, has an unknown keyword, a property without a description, or a dead reference.
    fn vet(&self, node: &Node) {
        let schema = self.get(node);
        for keyword in schema.keys().map(String::as_str) {
            assert!(
                SILENT.contains(&keyword) || KNOWN.contains(&keyword),
                "{node:?}: the keyword {keyword} is not known"
            );
        }
        if let Some(target) = node.target(schema) {
            self.get(&target);
        }
        for (keyword, child) in node.children(schema) {
            let description = self.get(&child).get("description").and_then(Value::as_str);
            let described = description.is_some_and(|text| text.ends_with('.'));
            assert!(
                keyword != "properties" || described,
                "{child:?} has no description that is a sentence"
            );
            self.vet(&child);
        }
    }

    fn get(&self, node: &Node) -> &Map<String, Value> {
        let found = self
            .documents
            .get(&node.document)
            .and_then(|document| document.pointer(&node.pointer));
        found
            .and_then(Value::as_object)
            .unwrap_or_else(|| panic!("there is no schema {node:?}"))
    }

    /// Holds a value against a schema, and refuses properties that it does not name.
    fn value(&self, root: &str, node: &Node, value: &Value, at: &str, verdict: &mut Verdict) {
        let mut own = Verdict::default();
        self.apply(root, node, value, at, &mut own);
        let unknown = value
            .as_object()
            .filter(|_| own.closed)
            .into_iter()
            .flat_map(Map::keys);
        let unknown = unknown
            .filter(|name| !own.named.contains(*name))
            .map(|name| format!("{at}/{name} is in no schema"));
        verdict.errors.extend(unknown);
        verdict.errors.append(&mut own.errors);
        verdict.uses.append(&mut own.uses);
    }

    /// Holds a value against a schema and what it refers to.
    fn apply(&self, root: &str, node: &Node, value: &Value, at: &str, verdict: &mut Verdict) {
        let schema = self.get(node);
        self.plain(node, schema, value, at, verdict);
        if let Some(target) = node.target(schema) {
            self.apply(root, &target, value, at, verdict);
        }
        for (keyword, child) in node.children(schema) {
            match (keyword, value) {
                ("allOf", _) => self.apply(root, &child, value, at, verdict),
                ("properties", Value::Object(fields)) => {
                    let name = child.name();
                    verdict.closed = true;
                    if let Some(field) = fields.get(&name) {
                        verdict
                            .uses
                            .push(Use::Property(root.to_owned(), child.clone()));
                        self.value(root, &child, field, &format!("{at}/{name}"), verdict);
                    }
                    verdict.named.insert(name);
                }
                ("additionalProperties", Value::Object(fields)) => {
                    let listed = schema.get("properties").and_then(Value::as_object);
                    for (name, field) in fields
                        .iter()
                        .filter(|(name, _)| listed.is_none_or(|listed| !listed.contains_key(*name)))
                    {
                        self.value(root, &child, field, &format!("{at}/{name}"), verdict);
                        verdict.named.insert(name.clone());
                    }
                }
                ("propertyNames", Value::Object(fields)) => {
                    fields.keys().for_each(|name| {
                        self.value(root, &child, &name.as_str().into(), at, verdict)
                    });
                }
                ("items", Value::Array(items)) => {
                    for (nth, item) in items.iter().enumerate() {
                        verdict
                            .uses
                            .push(Use::Choice(child.clone(), "item".to_owned()));
                        self.value(root, &child, item, &format!("{at}/{nth}"), verdict);
                    }
                }
                _ => {}
            }
        }
        self.one_of(root, node, schema, value, at, verdict);
    }

    /// Exactly one branch must fit; where none does, what the nearest says is told.
    fn one_of(
        &self,
        root: &str,
        node: &Node,
        schema: &Map<String, Value>,
        value: &Value,
        at: &str,
        verdict: &mut Verdict,
    ) {
        let branches = node
            .children(schema)
            .into_iter()
            .filter(|(keyword, _)| *keyword == "oneOf");
        let tried = branches.map(|(_, branch)| {
            let mut own = Verdict::default();
            self.apply(root, &branch, value, at, &mut own);
            own.uses.push(Use::Choice(branch, "branch".to_owned()));
            own
        });
        let (mut fitting, others): (Vec<Verdict>, Vec<Verdict>) =
            tried.partition(|own| own.errors.is_empty());
        match (
            fitting.len(),
            others.into_iter().min_by_key(|own| own.errors.len()),
        ) {
            (0, Some(nearest)) => verdict.errors.extend(nearest.errors),
            (0 | 1, _) => {}
            (count, _) => verdict
                .errors
                .push(format!("{at} fits {count} branches of {node:?}")),
        }
        if let Some(own) = fitting.pop() {
            verdict.uses.extend(own.uses);
            verdict.named.extend(own.named);
            verdict.closed |= own.closed;
        }
    }

    /// What a schema says without others.
    fn plain(
        &self,
        node: &Node,
        schema: &Map<String, Value>,
        value: &Value,
        at: &str,
        verdict: &mut Verdict,
    ) {
        let text = value.as_str();
        for (keyword, said) in schema {
            let choice = |of: &str| Some(Use::Choice(node.clone(), of.to_owned()));
            let (fits, used) = match (keyword.as_str(), said) {
                ("type", Value::String(kind)) => (is_a(value, kind), None),
                ("type", Value::Array(kinds)) => {
                    let kind = kinds
                        .iter()
                        .filter_map(Value::as_str)
                        .find(|kind| is_a(value, kind));
                    (kind.is_some(), kind.and_then(choice))
                }
                ("const", said) => (value == said, None),
                ("enum", Value::Array(values)) => {
                    (values.contains(value), choice(&value.to_string()))
                }
                ("minimum", said) => (
                    value
                        .as_f64()
                        .is_none_or(|number| said.as_f64() <= Some(number)),
                    None,
                ),
                ("maximum", said) => (
                    value
                        .as_f64()
                        .is_none_or(|number| Some(number) <= said.as_f64()),
                    None,
                ),
                ("pattern", Value::String(pattern)) => {
                    (text.is_none_or(|text| matches(pattern, text)), None)
                }
                ("format", Value::String(format)) => {
                    assert_eq!(format, "date-time", "{node:?}: only this format is known");
                    (
                        text.is_none_or(|text| text.parse::<Timestamp>().is_ok()),
                        None,
                    )
                }
                ("required", Value::Array(names)) => {
                    let absent = |name: &&Value| {
                        value.is_object()
                            && name.as_str().and_then(|name| value.get(name)).is_none()
                    };
                    let absent = names.iter().filter(absent);
                    verdict
                        .errors
                        .extend(absent.map(|name| format!("{at} has no {name}")));
                    (true, None)
                }
                _ => continue,
            };
            verdict.uses.extend(used);
            if !fits {
                verdict
                    .errors
                    .push(format!("{at} is {value}, against {keyword} {said}"));
            }
        }
    }

    /// Adds what values of the document `root` can use of a schema.
    fn usable(&self, root: &str, node: Node, met: &mut BTreeSet<Node>, usable: &mut BTreeSet<Use>) {
        if !met.insert(node.clone()) {
            return;
        }
        let schema = self.get(&node);
        let types = schema
            .get("type")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        usable.extend(
            types
                .filter_map(Value::as_str)
                .map(|kind| Use::Choice(node.clone(), kind.to_owned())),
        );
        let values = schema
            .get("enum")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        usable.extend(values.map(|value| Use::Choice(node.clone(), value.to_string())));
        for (keyword, child) in node.children(schema) {
            match keyword {
                "properties" => drop(usable.insert(Use::Property(root.to_owned(), child.clone()))),
                "oneOf" => drop(usable.insert(Use::Choice(child.clone(), "branch".to_owned()))),
                "items" => drop(usable.insert(Use::Choice(child.clone(), "item".to_owned()))),
                _ => {}
            }
            self.usable(root, child, met, usable);
        }
        if let Some(target) = node.target(schema) {
            self.usable(root, target, met, usable);
        }
    }
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Property(root, node) => write!(f, "{root}: {}#{}", node.document, node.pointer),
            Self::Choice(node, of) => write!(f, "{}#{} as {of}", node.document, node.pointer),
        }
    }
}

impl Node {
    fn below(&self, names: &[&str]) -> Self {
        let mut pointer = self.pointer.clone();
        for name in names {
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        Self {
            document: self.document.clone(),
            pointer,
        }
    }

    /// The last part of the pointer.
    fn name(&self) -> String {
        self.pointer
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .replace("~1", "/")
            .replace("~0", "~")
    }

    /// What `$ref` leads to: a place in a document of the same folder.
    fn target(&self, schema: &Map<String, Value>) -> Option<Self> {
        let (document, pointer) = schema
            .get("$ref")?
            .as_str()?
            .split_once('#')
            .expect("a place in a document");
        let document = document
            .strip_suffix(".json")
            .unwrap_or(&self.document)
            .to_owned();
        Some(Self {
            document,
            pointer: pointer.to_owned(),
        })
    }

    /// The schemas right below, but for definitions, each with the keyword it stands under.
    fn children(&self, schema: &Map<String, Value>) -> Vec<(&'static str, Self)> {
        let mut children = Vec::new();
        for keyword in KNOWN {
            match (keyword, schema.get(keyword)) {
                ("properties", Some(Value::Object(properties))) => {
                    children.extend(
                        properties
                            .keys()
                            .map(|name| (keyword, self.below(&[keyword, name]))),
                    );
                }
                ("oneOf" | "allOf", Some(Value::Array(branches))) => {
                    children.extend(
                        (0..branches.len())
                            .map(|nth| (keyword, self.below(&[keyword, &nth.to_string()]))),
                    );
                }
                ("items" | "additionalProperties" | "propertyNames", Some(_)) => {
                    children.push((keyword, self.below(&[keyword])));
                }
                _ => {}
            }
        }
        children
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("no type {kind}"),
    }
}

/// Whether a text matches a pattern of letters and of classes such as `[0-9a-f]`, each of them with `{n}` or `+` or neither,
/// and of `^` and `$` at its ends.
fn matches(pattern: &str, text: &str) -> bool {
    let (begins, rest) = pattern
        .strip_prefix('^')
        .map_or((false, pattern), |rest| (true, rest));
    let (ends, mut rest) = rest
        .strip_suffix('$')
        .map_or((false, rest), |rest| (true, rest));
    let mut parts = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (class, behind) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').expect("the end of a class"),
            None => rest.split_at(first.len_utf8()),
        };
        assert!(
            !"\\.*?()|{}".contains(first),
            "the pattern {pattern} is not known"
        );
        let (least, most, behind) = match (behind.strip_prefix('{'), behind.strip_prefix('+')) {
            (Some(counted), _) => {
                let (count, behind) = counted.split_once('}').expect("the end of a count");
                let count: usize = count.parse().expect("a count");
                (count, count, behind)
            }
            (None, Some(behind)) => (1, usize::MAX, behind),
            (None, None) => (1, 1, behind),
        };
        parts.push((class.chars().collect::<Vec<char>>(), least, most));
        rest = behind;
    }
    let text: Vec<char> = text.chars().collect();
    (0..=if begins { 0 } else { text.len() }).any(|from| follow(&parts, &text[from..], ends))
}

fn follow(parts: &[(Vec<char>, usize, usize)], text: &[char], ends: bool) -> bool {
    let Some(((class, least, most), rest)) = parts.split_first() else {
        return !ends || text.is_empty();
    };
    let within = |c: &&char| match class[..] {
        [one] => one == **c,
        _ => class
            .chunks(3)
            .any(|range| matches!(range, [first, '-', last] if (*first..=*last).contains(*c))),
    };
    let run = text.iter().take(*most).take_while(within).count();
    (*least..=run)
        .rev()
        .any(|count| follow(rest, &text[count..], ends))
}
