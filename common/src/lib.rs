//! The words that Rekindle's driver, orchestrator and command share.
