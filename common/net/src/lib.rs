//! HTTP over a unix socket or mutual TLS: one server, one client, with limits and deadlines.
//!
//! ```text
//!   accept ─┬─ unix, loopback ─────────────────────────┬─ connections limit ── header time ── request id ── access log
//!           └─ few at the door: TLS, both certificates ─┘  ── deadline, panics ── router ── ApiJson (body limit, field paths) ── handler
//!   Err(ApiError) ── one mapping to status and {code, message, field, request_id}
//! ```
//!
//! Who may connect is decided by the socket's mode and group, or by the certificate authority and [`AllowedNames`]; the [`Peer`] is in the
//! request's extensions. What is served is the caller's router: this crate knows no path, but [`SidecarClient`] and
//! [`OrchestratorClient`] know all of the other side's.

mod client;
mod extract;
mod ids;
mod orchestrators;
mod peers;
mod server;
pub mod supervisor;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;

pub use client::{Client, ClientLimits, NdjsonStream};
pub use extract::{ApiJson, ApiPath, ApiQuery, ApiResult, Failure, ndjson, with_fallbacks};
pub use ids::{RequestId, RequestIds, carried, in_request};
pub use orchestrators::Orchestrators;
pub use peers::{
    FencedClients, FreezeRequest, GenerationBody, GrantRequest, Granted, OrchestratorClient,
    SidecarClient, VolumeList, VolumePage,
};
pub use rekindle_common::tls::TlsFiles;
pub use server::{
    AllowedNames, Bound, Drained, InvalidPattern, Limits, ListenConfig, Peer, ServeError, Server,
    SocketOptions,
};
pub use tls::{ServerTls, TlsError, TrustedServers};
