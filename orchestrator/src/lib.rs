//! The orchestrator: observes both zones, leads by an etcd lease, decides, plans, executes, resumes.
//!
//! The modules are the stages of the flow, in order:
//!
//! ```text
//!   observe ──> coordination ──> world ──> decide ──> journal ──> executor ──> steps
//!                                                        run (puts it together), admin (shows it, takes requests)
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`observe`] | looks at both zones, publishes what this site sees |
//! | [`coordination`] | who leads, and what a site promises to a zone that etcd has lost |
//! | [`world`] | reads everything once, into core's `Snapshot` |
//! | [`decide`] | the leader's loop, and how a plan is begun |
//! | [`journal`], [`executor`], [`steps`] | a plan carried out, step by step, whoever leads |
//! | [`catalogue`] | beside all that: the other zone's Cinder is kept |
//! | [`servers`] | the groups' servers: what is asked of a zone's Nova |
//! | [`zone`], [`agent`] | what orders go to: sidecars, and the operator's commands |
//! | [`run`], [`config`], [`start`] | an orchestrator put together from its parts, or from a file |
//! | [`admin`], [`wire`], [`client`] | its API, its words, and its client |
//! | [`preflight`] | whether the other zone would take what is replicated |
//!
//! What is decided and in what order a plan goes is not here: it is in `rekindle-core`, which cannot do I/O.

pub mod admin;
pub mod agent;
pub mod catalogue;
pub mod client;
pub mod clock;
pub mod config;
pub mod coordination;
pub mod decide;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod executor;
pub mod journal;
pub mod metrics;
pub mod observe;
mod plan_id;
pub mod preflight;
pub mod run;
pub mod servers;
pub mod start;
pub mod steps;
pub mod wire;
pub mod world;
pub mod zone;

pub use run::{Orchestrator, Parts, SitePart, Timing, ZonePart, build};
