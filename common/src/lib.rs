//! The words that Rekindle's driver, orchestrator and command share.
//!
//! Everything here is data and rules on data: no network, no clock, no files. A type that crosses a wire (the
//! sidecar's HTTP API, a value in etcd, RBD image metadata) is defined here once, with its JSON form and its
//! bounds, so that the two ends cannot drift apart.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | names and numbers: zone, group, image spec, plan, generation |
//! | [`mode`], [`schedule`] | how a volume is replicated, and when |
//! | [`status`], [`volume`] | what a user sees of a volume |
//! | [`action`] | what can be asked of a volume: the sidecar's whole surface |
//! | [`given_up`] | what a resync gives up, measured |
//! | [`error`] | the codes that a refusal carries, and what the caller should do |
//! | [`plan`] | what is asked of an orchestrator about plans, and how one ends |
//! | [`policy`] | what an operator decides for a protection group |
//! | [`runbook`] | a group's servers: in which order they start, and what is waited for |
//! | [`lease`] | the primary record, the primary lease, and their timing |
//! | [`zone`] | what a sidecar says of its zone |
//! | [`keys`] | where everything stands in etcd |
//! | [`tls`] | where certificates are |
//! | [`facts`], [`deletion`] | what Cinder says of a volume, and what becomes of one that was deleted there |
//! | [`servers`] | what is needed to build a server again, and its other forms |
//! | [`metadata`] | where a volume's policy stands in its image's metadata |

pub mod action;
pub mod deletion;
pub mod duration;
pub mod error;
pub mod facts;
pub mod given_up;
pub mod ids;
pub mod keys;
pub mod lease;
pub mod metadata;
pub mod mode;
pub mod plan;
pub mod policy;
pub mod runbook;
pub mod schedule;
pub mod servers;
pub mod status;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod tls;
pub mod volume;
pub mod zone;

pub use error::{ApiError, ErrorCode};
pub use ids::{
    DemotionToken, Generation, GroupName, ImageSpec, PlanId, ResyncToken, ServerKey, SiteName,
    ZoneName,
};
pub use jiff::Timestamp;
