//! The harness and the scenarios.
