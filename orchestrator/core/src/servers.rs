//! The groups' servers: what is kept of each, and what stands by for it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mapped`] | a record in the other zone's names |

pub mod mapped;

pub use mapped::{Counterpart, Gap, Way, mapped};

#[cfg(test)]
mod samples;
