//! Where a program's certificates are.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// PEM files for mutual TLS: both sides show a certificate of one authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate authority that the other side must be signed by.
    pub ca: PathBuf,
    /// Our certificate, and the chain to the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}
