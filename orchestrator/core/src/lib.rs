//! The decision of Rekindle's orchestrator, as a crate that cannot do I/O.
//!
//! ```text
//!   observe/*  ->  Observation  ->  Snapshot  ->  detector  ->  Diagnosis  ->  decision  ->  Decision
//!                                                                                              |
//!                                    saga  <-  Plan (steps as data)  <-  plan  <---------------+
//! ```
//!
//! * [`observation`]: what a site sees of a zone, three-valued, with how long it has been so.
//! * [`snapshot`]: the world as it was read once, with its reference time. Decisions look at nothing else.
//! * [`detector`]: from many observations to one [`detector::Diagnosis`] of a zone.
//! * [`decision`]: what is to be done about a group now, or why nothing is.
//! * [`plan`]: a decision as an immutable list of steps, with what to do should one fail.
//! * [`saga`]: where a plan stands, replayed from its journal, and what comes next.
//! * [`alone`]: volumes that stand in one zone alone, which no failover helps.
//! * [`catalogue`]: each zone's volumes as volumes of the other zone's Cinder: what is to be written, and what a person must see to.
//! * [`servers`]: each protected server's record and its stand-by: what is to be kept and mended.
//! * [`daily`]: when a group's turn comes for what is done once a day.
//! * [`skew`]: how far a zone's clock is from ours, which only the figure of a loss needs to know.
//! * [`standing`]: whether what a failover was decided on is so still, right before its record.
//! * [`overtaken`]: when a zone's loss makes a plan's waiting vain, and the plan make way.
//!
//! The rules on who may write are in [`rekindle_common::lease`] and in [`decision`]'s choice of a [`plan::Proof`].

// A `_` arm in a test is a failed assertion, not a swept-up state.
#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm))]

pub mod alone;
pub mod catalogue;
pub mod daily;
pub mod decision;
pub mod detector;
pub mod observation;
pub mod overtaken;
pub mod plan;
pub mod saga;
pub mod servers;
pub mod skew;
pub mod snapshot;
pub mod standing;

#[cfg(test)]
mod fixture;
