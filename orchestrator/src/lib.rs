//! The orchestrator: observes both zones, leads by an etcd lease, decides, plans, executes, resumes.

pub mod client;
pub mod wire;
