//! The sidecar beside cinder-volume: volume actions over RBD mirroring.
//!
//! The folders are the stages of a request, in order:
//!
//! ```text
//!   server -> routes (the last place that knows HTTP) -> actions (VolumeAction is the whole surface)
//!          -> replication (pure rules) -> backend (Rbd, Memory) -> rbd-rs -> librbd
//! ```

pub mod actions;
pub mod backend;
pub mod build;
pub mod cinder;
pub mod clock;
pub mod config;
pub mod lease;
pub mod leases;
pub mod metrics;
pub mod replication;
pub mod routes;
pub mod schedule;
pub mod sidecar;
