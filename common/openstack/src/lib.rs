//! A small typed client of Keystone, Cinder, Nova, Neutron, Placement and Barbican: what keeping the other zone's catalogue and servers needs, and no more.
//!
//! ```text
//!   Cloud ── Scope ── Cinder ── volumes, snapshots, types, limits
//!     |           |── Nova ── servers, their volumes, what building one needs; ensure_…: look, order, look again
//!     |           |── Neutron ── networks, subnets, ports, security groups
//!     |           |── Placement ── what room its hosts have
//!     |           └── Barbican ── whether a key is there
//!     |                  |
//!     |   token (cached for each scope) ── endpoint, from the token's own catalogue ── microversion
//!     |
//!   http ── one connection a call ── TLS with ring, or in the clear ── deadline, bound on the answer
//! ```
//!
//! * [`config`]: how a cloud is reached; secrets stay in their files until they are sent.
//! * [`login`]: the same, whether our own fields say it, a `clouds.yaml` or the usual variables.
//! * [`error`]: what went wrong, sorted by what the caller should do.
//! * [`cloud`]: one zone's OpenStack: tokens, endpoints, retries of reads.
//! * [`keystone`]: who we are, and the projects.
//! * [`cinder`]: everything of Cinder.
//! * [`nova`]: everything of Nova.
//! * [`neutron`]: the few things of Neutron that a server needs.
//! * [`placement`]: what room its hosts have.
//! * [`barbican`]: whether a key is there; never what is in it.
//! * [`probe`]: whether some web server answers.
//! * [`each`]: many at once, and never more than so many.
//!
//! What it is not: a general client. It follows no redirect, knows no proxy, and keeps no connection open.

pub mod barbican;
mod bounded;
pub mod cinder;
pub mod cloud;
pub mod config;
pub mod error;
mod http;
pub mod keystone;
mod login;
pub mod neutron;
pub mod nova;
pub mod placement;
pub mod probe;
mod roots;
mod service;
mod url;
mod version;
mod wire;
mod yaml;

pub use barbican::{Barbican, KeyMetadata};
pub use bounded::each;
pub use cinder::{
    Attachment, BackendPool, Cinder, Made, ManageSnapshot, ManageVolume, Microversion, Quota,
    QuotaSet, Service, Snapshot, Texts, TypeEncryption, Volume, VolumeType,
};
pub use cloud::{Cloud, Scope};
pub use config::{CloudConfig, InvalidConfig};
pub use error::{Call, CloudError};
pub use keystone::{Clock, Holder, Identity, Project};
pub use neutron::Neutron;
pub use nova::{Nova, ServerError};
pub use placement::Placement;
