//! What snap prints as text: help, the answers to mistakes, and the commands that look at a backup
//! directory.
//!
//! The files in `tests/cmd` are run as they stand. To write them anew: TRYCMD=overwrite cargo test
//! --test cli snapshots

#[test]
fn text_is_as_the_snapshots_say() {
    trycmd::TestCases::new()
        // None of the machine's own configuration, and lines as wide as where there is no terminal.
        .env("SNAP_CONFIG", "")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}
