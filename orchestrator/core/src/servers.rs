//! The groups' servers: what is kept of each, and what stands by for it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@mapped`] | a record in the other zone's names |
//! | [`built`] | what a stand-by was built from, or is being built from |
//! | [`follow`] | what is to be done about a server, by what is seen and kept of it |
//! | [`leave`] | the same about one that is protected no more |

pub mod built;
pub mod follow;
pub mod leave;
pub mod mapped;

pub use built::{Begun, Built};
pub use mapped::{Counterpart, Gap, Way, mapped};

#[cfg(test)]
mod samples;
