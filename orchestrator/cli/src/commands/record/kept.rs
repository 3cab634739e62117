//! Records that are kept of a group's servers, from any orchestrator.

use crate::{connect::Peers, error::CliError};
use rekindle_common::{GroupName, ServerKey, servers::ServerRecord};
use std::path::Path;

/// The record of what was said where a file's name may stand too.
///
/// # Errors
/// [`CliError::Usage`] where that is no server's name; [`CliError::Api`] where there is no such group, server or record, or it cannot be read.
pub(super) async fn read(
    peers: &Peers,
    group: &GroupName,
    server: &Path,
) -> Result<ServerRecord, CliError> {
    let key = named(server)?;
    let kept = peers
        .orchestrator()?
        .kept_server(group, &key)
        .await
        .map_err(CliError::Api)?;
    Ok(kept.record)
}

fn named(server: &Path) -> Result<ServerKey, CliError> {
    server.to_string_lossy().parse().map_err(|e| {
        CliError::usage(format!("SERVER: {} is no server's name", server.display()))
            .caused_by(e)
            .advise("with --group say the server's name in the runbook (`rekindle server list`); a file's record is read without --group")
    })
}
