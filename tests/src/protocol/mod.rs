//! The rule that two zones never both write, explored.
//!
//! The world is small: two zones with one volume, a witness, etcd, two orchestrators that can lead. What decides in it is
//! the shipped code: each zone's [`rekindle_driver::lease::keeper::Keeper`], [`rekindle_core::decision::decide`],
//! [`rekindle_core::plan::Plan`] and [`rekindle_core::saga::Saga`]. What is modelled is what they act on: etcd, images, links,
//! and time in ticks.
//!
//! [`explore`] visits every state that can be reached within a horizon of ticks under a budget of faults (a cut link, a lost
//! reply, a crash, a power failure in either zone, an etcd outage, a paused leader, an operator's move, each at any tick) and looks for
//! one in which both zones' images can be written to. [`Guards`] takes a guard out, to show that the search would find it.
//!
//! | file | what |
//! |---|---|
//! | `world.rs` | the state, and what is true in it |
//! | `zone.rs` | a zone's sidecar for one tick |
//! | `leader.rs` | an orchestrator for one tick |
//! | `view.rs` | the state as a [`rekindle_core::snapshot::Snapshot`] |
//! | `explore.rs` | the search |

mod explore;
mod leader;
mod view;
mod world;
mod zone;

pub use explore::{Found, explore};
pub use world::{Fault, Guards, Pace, World};
