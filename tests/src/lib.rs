//! The harness and the scenarios.
//!
//! * [`protocol`]: the decision and lease protocol as coded, explored exhaustively within a horizon.

pub mod protocol;
