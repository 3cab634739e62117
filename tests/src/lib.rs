//! The harness and the scenarios.
//!
//! * [`mod@bench`]: what all benches do beside measuring.
//! * [`protocol`]: the decision and lease protocol as coded, explored exhaustively within a horizon.
//! * [`recorded`]: requests as data, for what is asked of Cinder and of the gateway alike.
//! * [`samples`]: what a bench measures.
//! * [`scenario`]: both zones on a lab, our real programs in them, faults as verbs.

pub mod bench;
pub mod protocol;
pub mod recorded;
pub mod samples;
pub mod scenario;
