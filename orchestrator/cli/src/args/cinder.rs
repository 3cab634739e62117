//! `rekindle cinder …`, as clap sees it.

use clap::{Args, Subcommand};
use rekindle_common::duration::Span;
use std::path::PathBuf;

/// `rekindle cinder …`
#[derive(Debug, Subcommand)]
pub enum CinderCommand {
    /// Put right what Cinder marked at a failover; on cinder-volume's host. Without --apply it only says what it would do.
    Repair(CinderRepair),
}

/// `rekindle cinder repair`
#[derive(Debug, Clone, Args)]
pub struct CinderRepair {
    /// Carry the plan out.
    #[arg(long)]
    pub apply: bool,
    /// The cinder.conf that cinder-volume runs with; more than once where it has more [default: Cinder's own places].
    #[arg(long, value_name = "FILE")]
    pub config_file: Vec<PathBuf>,
    /// One of its enabled_backends [default: the only one].
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// A failover is over when its cinder-volume has been silent for so long [default: 10m].
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<Span>,
    /// Give volumes that are not replicated back also while the backend is failed over, without their images.
    #[arg(long)]
    pub away_too: bool,
    /// What does it; installed with the Cinder driver.
    #[arg(long, value_name = "PATH", default_value = "rekindle-cinder-repair")]
    pub program: PathBuf,
    /// It is stopped after that long.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub timeout: Span,
}
