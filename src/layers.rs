//! The order of modules in `lib.rs` is that of the layers: no module knows one that stands below it
//! there.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `lib.rs`, from the bottom up.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let modules = text.lines().filter_map(|line| {
        let name = line.trim_start_matches("pub ").strip_prefix("mod ")?;
        name.strip_suffix(';').map(str::to_owned)
    });
    modules.filter(|name| name != "layers").collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The `.rs` files of a module, but for those of its tests.
fn files(module: &str) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![source().join(module)]);
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => files.push(path),
        }
    }
    files.push(source().join(format!("{module}.rs")));
    files.retain(|path| path.is_file() && !is_of_tests(path));
    files
}

fn is_of_tests(path: &Path) -> bool {
    let path = path.to_string_lossy();
    ["_test", "/tests.rs", "/tests/"]
        .iter()
        .any(|part| path.contains(part))
}

/// The modules of `lib.rs` that code names, be it `crate::a::B` or `crate::{a, b::C}`.
fn known_in(code: &str) -> impl Iterator<Item = String> {
    let code: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let names = code.split("crate::").skip(1).flat_map(first_names);
    names.collect::<Vec<_>>().into_iter()
}

/// The names that stand first in a path, or in each path of a group.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
        return vec![path[..end.unwrap_or(path.len())].to_owned()];
    };
    let (mut names, mut depth, mut at) = (Vec::new(), 0, 0);
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(first_names(group[at..index].trim()));
                at = index + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn every_module_of_a_group_of_imports_is_seen() {
    let code = "use crate::{\n    a::{B, c::D},\n    e,\n};\n// crate::f\ncrate::g::H(crate::i)";
    let known: Vec<String> = known_in(code).collect();
    assert_eq!(known, ["a", "e", "", "g", "i"]);
}

#[test]
fn no_module_knows_one_of_a_higher_layer() {
    let layers = layers();
    assert!(layers.len() > 10, "{layers:?}");
    let mut upward = Vec::new();
    for (at, module) in layers.iter().enumerate() {
        let files = files(module);
        assert!(!files.is_empty(), "{module} has no file");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let known = known_in(code);
            let above = known.filter(|name| layers[at + 1..].contains(name));
            upward.extend(above.map(|name| format!("{}: {name}", file.display())));
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

/// What changes or locks names on a disk, or makes them last.
const STEPS: [&str; 11] = [
    "fs::rename(",
    "fs::hard_link(",
    "fs::remove_file(",
    "fs::remove_dir(",
    "fs::remove_dir_all(",
    "rustix::fs::rename",
    ".persist(",
    ".sync_all()",
    ".sync_data()",
    ".try_lock()",
    ".try_lock_shared()",
];

#[test]
fn names_on_a_disk_change_by_the_steps_that_tests_can_stop_at() {
    let mut found = Vec::new();
    for path in layers().iter().flat_map(|module| files(module)) {
        if path.ends_with("io/durable.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in lines.filter(|line| STEPS.iter().any(|step| line.contains(step))) {
            found.push(format!("{}: {}", path.display(), line.trim()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
