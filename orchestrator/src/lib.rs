//! The orchestrator: observes both zones, leads by an etcd lease, decides, plans, executes, resumes.

pub mod agent;
pub mod client;
pub mod clock;
pub mod coordination;
pub mod decide;
pub mod executor;
pub mod journal;
pub mod metrics;
pub mod observe;
mod plan_id;
pub mod steps;
pub mod wire;
pub mod world;
pub mod zone;
