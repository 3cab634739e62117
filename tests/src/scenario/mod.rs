//! The harness of the scenarios: both zones on a lab, our real programs in them, faults as verbs.
//!
//! ```text
//!   Cloud::play ── a lab, lent or made ── sidecars in both zones, orchestrators at all sites
//!       │              zone(a).kill(), etcd(b).pause(), orchestrator(w).resume(), lab.partition(a, b)
//!       ├── CinderZone  a real cinder-volume with our driver, by the clients that people use
//!       ├── NovaZone  a real Nova, and guests that boot from replicated volumes
//!       ├── Gateway   in front of it, in Keystone's catalogue
//!       ├── Group     volumes under replication, their statuses and plans, waits with deadlines
//!       ├── Writer    numbered, timed, checksummed records from inside a zone; what was acknowledged
//!       └── the scenario's own assertions; then everything is put back
//! ```
//!
//! A scenario is told what it waits for and what was there instead. Its programs' logs are in the lab's folder, under its name.

mod beside;
mod bytes;
mod cinder;
mod cinder_api;
mod cinder_cluster;
mod cinder_looks;
mod cloud;
pub mod config;
mod faults;
mod gateway;
mod group;
mod http;
mod nova;
mod programs;
mod wait;
mod writer;

pub use beside::Beside;
pub use cinder::{BACKEND, CinderZone, Service};
pub use cinder_cluster::{Cluster, Of};
pub use cinder_looks::{Holder, expect};
pub use cloud::Cloud;
pub use faults::{Member, Program, Zone};
pub use gateway::{Gateway, page, without_fields};
pub use group::{Group, Volume, by_force, decision, plainly, resync, step_begun};
pub use http::Answer;
pub use nova::{BOOT, Guest, NovaZone};
pub use wait::{Look, never, until};
pub use writer::Writer;
