//! The `rekindle` command.
//!
//! ```text
//!   args -> config -> connect -> commands/* -> output
//!                                demo/*     -> output     one story, in this process or on the lab
//! ```
//!
//! Nothing here decides: the orchestrators and the sidecars do, and their refusals are passed on with what to do about them.

pub mod args;
pub mod config;
pub mod error;
pub mod exit;
pub mod output;
