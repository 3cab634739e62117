//! The rules of replication. Pure: no I/O, no clock; every match on a state names all of them.
//!
//! ```text
//!   ImageView + Hints --Look::derive--> Look (status, lag, complete copy, concerns)
//!   Look + VolumeAction + Context --next--> Step, or the Refusal that says why not
//!   Step, done by `actions` on a backend; looked at again --confirm--> Effect
//! ```

pub mod error;
mod look;
mod policy;
mod rules;

pub use error::{Refusal, ReplicationError};
pub use look::{CLAIM_MARGIN, Hints, Look};
pub(crate) use policy::{KEEPING, ends_keeping, group_after, is_of_a_keeping, needs_lineage};
pub use rules::{Context, LastResync, Promote, SAFETY_INFIX, Step, confirm, next, plain_refused};

#[cfg(test)]
mod tests;
