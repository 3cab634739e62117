//! A Terraform state: the servers in it, as records.
//!
//! ```text
//!   bytes --> header: is it a state of version 4?          no value of it is kept
//!         --> stream: one resource at a time --> secrets   what is marked as sensitive is taken out before anything else looks
//!                                            --> build     servers, with their volumes, ports and attachments
//! ```
//!
//! | resource | what is read of it |
//! |---|---|
//! | `openstack_compute_instance_v2` | the server |
//! | `openstack_blockstorage_volume_v3`, `_v2` | its volumes' names, and where they are attached |
//! | `openstack_compute_volume_attach_v2` | which volume is attached, and as which device |
//! | `openstack_networking_port_v2` | its ports' networks, addresses and security groups |
//! | `openstack_compute_interface_attach_v2` | ports that were attached later |
//!
//! All others are counted and ignored, data sources too; floating addresses are named, for a server without its own may be of no use.
//! **A state holds secrets in clear.** Of each resource only the attributes named in [`stream`] are kept, minus what the state marks
//! as sensitive, under every name that the value has; errors say where, and never what. A server's user data is not in a
//! state: there is its hash alone.

mod attributes;
mod build;
mod disks;
mod header;
mod ports;
mod secrets;
mod stream;

use super::record::ServerRecord;
use crate::ids::ZoneName;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of a state's format that is read.
pub const STATE_VERSION: u64 = 4;
/// The most bytes of a state: some 50,000 resources. A larger one is better split by whoever has it.
pub const MAX_STATE: usize = 64 * 1024 * 1024;
/// The most servers in one.
pub const MAX_SERVERS: usize = 10_000;
/// The most types of resource that are counted by name.
const MAX_TYPES: usize = 1000;

/// What a state does not say of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// The zone whose ids are in it.
    pub zone: ZoneName,
    /// When it was true.
    pub taken_at: Timestamp,
}

/// What a state came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Import {
    /// The servers that can be built again, by name and id.
    pub records: Vec<ServerRecord>,
    /// Those that cannot, each with the reason.
    pub refused: Vec<Refused>,
    /// What a person should know of the records.
    pub notes: Vec<Note>,
    /// How many instances of which resource types were of no use here. Data sources are under `data.TYPE`.
    pub ignored: BTreeMap<String, usize>,
}

/// A server of which no record could be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its address in the state.
    pub address: String,
    /// Its name, unless that is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why, and what to do.
    pub why: String,
}

/// What a person should know of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The server's address in the state.
    pub address: String,
    /// What it is.
    pub what: String,
}

/// A state that cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is larger than [`MAX_STATE`].
    #[error("the state has {bytes} bytes, {MAX_STATE} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It ends in the middle.
    #[error("the state is cut off: it ends at line {line}, column {column}")]
    CutOff {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// It is something else.
    #[error("this is no Terraform state: {why}")]
    NoState {
        /// What it is, or seems to be.
        why: String,
    },
    /// It was written in a newer format.
    #[error("the state has version {version}, and this release reads version {STATE_VERSION}")]
    Newer {
        /// Its version.
        version: u64,
    },
    /// It was written in an older format.
    #[error("the state has version {version}, and this release reads version {STATE_VERSION}")]
    Older {
        /// Its version.
        version: u64,
    },
    /// Its content is encrypted.
    #[error("the state is encrypted")]
    Encrypted,
    /// A part of it is not as Terraform writes it.
    #[error("the state's {part} is not as Terraform writes it (line {line}, column {column})")]
    Malformed {
        /// Which part: `resources[17]`.
        part: String,
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// There are more than [`MAX_SERVERS`].
    #[error("the state has more than {MAX_SERVERS} servers")]
    TooManyServers,
}

impl StateError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooManyServers => {
                "split the state (`terraform state mv -state-out=FILE ADDRESS ADDRESS`), or write the servers by a script: `--from script`"
            }
            Self::CutOff { .. } | Self::Malformed { .. } => {
                "write it anew: `terraform state pull > FILE`"
            }
            Self::NoState { .. } => {
                "`terraform state pull > FILE` writes one, from whatever backend it is kept in"
            }
            Self::Newer { .. } => {
                "use a newer release of Rekindle, or write the servers by a script: `--from script`"
            }
            Self::Older { .. } => {
                "it is of Terraform 0.11 or older: `terraform state pull > FILE` with Terraform 0.12 or newer writes it in the new form"
            }
            Self::Encrypted => "`tofu state pull > FILE`, where its key is, writes it in clear",
        }
    }
}

/// Reads a state.
///
/// # Errors
/// [`StateError`]: it is none that can be read. What is wrong with one server is in [`Import::refused`], and no other's fault.
pub fn read(state: &[u8], about: &About) -> Result<Import, StateError> {
    if state.len() > MAX_STATE {
        return Err(StateError::TooLarge { bytes: state.len() });
    }
    // Windows' editors put a mark there that JSON knows nothing of.
    let state = state.strip_prefix(b"\xef\xbb\xbf").unwrap_or(state);
    let header = header::read(state)?;
    let found = stream::read(state)?;
    Ok(build::import(&header, found, about))
}

#[cfg(test)]
mod tests;
