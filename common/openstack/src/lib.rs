//! A small typed client of Keystone and Cinder: what keeping the other zone's catalogue needs, and no more.
//!
//! ```text
//!   Cloud ── Scope ── Cinder ── volumes, snapshots, types, limits
//!     |                  |
//!     |   token (cached for each scope) ── endpoint, from the token's own catalogue ── microversion
//!     |
//!   http ── one connection a call ── TLS with ring, or in the clear ── deadline, bound on the answer
//! ```
//!
//! * [`config`]: how a cloud is reached; secrets stay in their files until they are sent.
//! * [`error`]: what went wrong, sorted by what the caller should do.
//! * [`cloud`]: one zone's OpenStack: tokens, endpoints, retries of reads.
//! * [`keystone`]: who we are, and the projects.
//! * [`cinder`]: everything of Cinder.
//!
//! What it is not: a general client. It follows no redirect, knows no proxy, and keeps no connection open.

pub mod cinder;
pub mod cloud;
pub mod config;
pub mod error;
mod http;
pub mod keystone;
mod roots;
mod url;

pub use cinder::{
    Attachment, BackendPool, Cinder, Made, ManageSnapshot, ManageVolume, Microversion, Quota,
    QuotaSet, Service, Snapshot, Texts, TypeEncryption, Volume, VolumeType,
};
pub use cloud::{Cloud, Scope};
pub use config::{CloudConfig, InvalidConfig};
pub use error::{Call, CloudError};
pub use keystone::{Clock, Identity, Project};
