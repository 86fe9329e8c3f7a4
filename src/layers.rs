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
    files.retain(|path| path.is_file() && !path.to_string_lossy().contains("_test"));
    files
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
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code.filter(|line| line.contains("crate::")) {
                let named = line.split("crate::").skip(1);
                let names = named.map(|rest| {
                    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .next()
                        .unwrap()
                });
                let above = names.filter(|name| layers[at + 1..].iter().any(|layer| layer == name));
                upward.extend(above.map(|name| format!("{}: {name}", file.display())));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}
