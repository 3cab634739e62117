//! `rekindle config check`: one file against itself, and several against each other.

use crate::{error::CliError, exit::Exit, output::Output};
use std::path::PathBuf;

/// Checks files.
///
/// # Errors
/// [`CliError::Usage`] with everything that is wrong.
pub fn check(_files: &[PathBuf], _output: &Output) -> Result<Exit, CliError> {
    Err(CliError::failed("not yet"))
}
