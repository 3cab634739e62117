//! What all benches do beside measuring: tell how far they are, and leave their report in a file.

use anyhow::Context;
use serde::Serialize;
use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

/// Lines for the person who waits, each with the time since the beginning.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
}

impl Progress {
    /// It begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    /// One line to standard error.
    pub fn line(&self, text: &str) {
        let at = self.begun.elapsed().as_secs();
        // Nobody may be reading; that is no reason to stop.
        let _ = writeln!(std::io::stderr(), "[{:>2}:{:02}] {text}", at / 60, at % 60);
    }

    /// The time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Writes the report as JSON, with the folders that it needs.
///
/// # Errors
/// The file cannot be written; the path is in the message.
pub fn write(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).with_context(context)?;
    }
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(path, text + "\n").with_context(context)
}
