//! A small file system for one script, which goes away with it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs a script of `sh` with a file system of that size (`4m`) in memory mounted at `at`, which
/// nobody else sees; in the script `$snap` is the program and `$disk` the mount point. Panics where
/// this user may not have one.
pub fn on_small_disk(size: &str, at: &Path, script: &str) -> Output {
    let script = format!(r#"mount -t tmpfs -o size={size} tmpfs "$disk" || exit 99; {script}"#);
    let run = |flags: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(flags)
            .args(["sh", "-c", &script])
            .env("disk", at)
            .env("snap", env!("CARGO_BIN_EXE_snap"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SNAP_"))
        {
            command.env_remove(name);
        }
        command
            .env("SNAP_CONFIG", "")
            .output()
            .expect("unshare, of util-linux")
    };
    // As the user one is, with a namespace in which that is root; else as root.
    let output = run(&["--map-root-user", "--mount"]);
    let output = if output.status.success() {
        output
    } else {
        run(&["--mount"])
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "mounting a small disk takes root or user namespaces: {}\n{said}",
        output.status
    );
    output
}
