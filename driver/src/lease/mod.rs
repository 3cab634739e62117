//! The zone's primary leases: the right to write, taken, renewed and given up in time.
//!
//! ```text
//!             etcd (one read of all groups a cycle)      Ceph (which images are primary)      other sites (failsafe)
//!                     |                                        |                                   |
//!   runner:  events ──┴────────────────────────────────────────┴───────────────────────────────────┘
//!               │  waits in one place, changes in one place; everything that can hang is a task of its own
//!               v
//!   keeper (pure, one a group) ──> actions: take, release, ask the sites, isolate ──> tasks ──> events …
//! ```
//!
//! Beside it [`Board`]: what the zone's sidecars tell each other while one of them has no etcd.
//!
//! [`keeper`] decides; [`runner`] waits and carries out; [`keys`] is all that is written to etcd; [`LeaseSink`] is all that is
//! done to images. [`LeaseHandle`] is what the sidecar's actions and its HTTP side see.
//!
//! What this is not: it never promotes, and it does not protect against a sidecar process that is stopped for longer than
//! `margin`. Its supervisor has to restart one that hangs: [`LeaseHandle::beats`] tells whether it does.

mod clock;
mod handle;
pub mod keeper;
mod keys;
mod policy;
mod runner;
mod sink;
mod sites;
mod slot;
mod vouch;

pub use clock::LeaseClock;
pub use handle::{LeaseConfig, LeaseHandle};
pub use runner::LeaseRunner;
pub use sink::{LeaseSink, SeenImage};
pub use sites::{OtherSite, OtherSites};
pub use vouch::{Answer, Board, BoardChange, HeldThere, Questions};
