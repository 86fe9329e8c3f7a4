//! What a directory holds, for comparing directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every regular file below `dir`, hidden ones too: its path relative to `dir` and its content.
pub fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    collect(dir, "", &mut found);
    found
}

/// The files of a backup directory that influxd would see.
pub fn visible_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(dir);
    files.retain(|name, _| !name.starts_with(".snap/"));
    files
}

/// The names of all entries of `dir` itself, hidden ones too, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = entries(dir).map(|entry| name_of(&entry)).collect();
    names.sort();
    names
}

/// Adds the files below `dir`, whose own path relative to the top is `prefix`.
fn collect(dir: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in entries(dir) {
        let path = format!("{prefix}{}", name_of(&entry));
        let kind = entry
            .file_type()
            .unwrap_or_else(|error| panic!("the type of {path}: {error}"));
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else if kind.is_file() {
            let content =
                fs::read(entry.path()).unwrap_or_else(|error| panic!("reading {path}: {error}"));
            found.insert(path, content);
        }
    }
}

/// The entries of `dir`, in no particular order.
fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    let read =
        fs::read_dir(dir).unwrap_or_else(|error| panic!("listing {}: {error}", dir.display()));
    read.map(|entry| entry.expect("a directory entry"))
}

/// The name of an entry as text.
fn name_of(entry: &fs::DirEntry) -> String {
    entry
        .file_name()
        .into_string()
        .expect("a file name in UTF-8")
}
