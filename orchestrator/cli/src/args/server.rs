//! `rekindle server …`, as clap sees it.

use clap::Subcommand;
use rekindle_common::{GroupName, ServerKey};

/// `rekindle server …`
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// All of them, or a group's: where each serves, what stands by for it, how old its record is.
    List {
        /// Of this group only.
        #[arg(long, value_name = "GROUP")]
        group: Option<GroupName>,
    },
    /// One of them, with its ids in both zones and what is in the way.
    Show {
        /// Its name in the runbook.
        server: ServerKey,
        /// Of this group: needed where several have a server of that name.
        #[arg(long, value_name = "GROUP")]
        group: Option<GroupName>,
    },
}
