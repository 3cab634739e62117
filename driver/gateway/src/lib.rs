//! The gateway in front of Cinder's API: all that is asked of volumes comes through one door.
//!
//! ```text
//!   client ── server (connections, TLS) ── client_io (times) ── framing (one reading, or none) ── hyper
//!          ── proxy ── headers ── upstream (pool, deadlines) ── Cinder
//!                ├─ actions ── Cinder, Keystone, rules ── the sidecar
//!                ├─ guards ── the sidecar: may Cinder do that to this volume?
//!                └─ showing ── status: the sidecar's words in Cinder's bodies
//!   anything in the way ── fault: Cinder's form, an id
//! ```
//!
//! It holds no state: any number of them may stand side by side.

mod actions;
mod admin;
mod body;
mod client_io;
pub mod config;
mod exchange;
mod fault;
pub mod framing;
mod gateway;
mod guarding;
mod guards;
mod headers;
mod metrics;
mod pause;
mod percent;
mod prefix;
mod proxy;
mod routes;
mod server;
mod showing;
mod status;
#[doc(hidden)]
pub mod targets;
mod trust;
mod upstream;
mod workers;

pub use actions::RulesError;
pub use gateway::{BuildError, Gateway, check_rules, paths};
