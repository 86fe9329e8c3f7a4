//! Tests of what an incremental backup builds on.
