//! The other zone's catalogue: each replicated volume of a zone is a volume of the other's Cinder.
//!
//! * [`mapping`]: what is called what in which zone, as the operator says.

pub mod mapping;
