//! The harness and the scenarios.
//!
//! * [`protocol`]: the decision and lease protocol as coded, explored exhaustively within a horizon.
//! * [`samples`]: what a bench measures.
//! * [`scenario`]: both zones on a lab, our real programs in them, faults as verbs.

pub mod protocol;
pub mod samples;
pub mod scenario;
