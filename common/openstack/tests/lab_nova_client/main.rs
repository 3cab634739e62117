//! Each call against a real Nova and Neutron. Guests boot without KVM: minutes, so this is not a part of `make test`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests; how long each part took is worth a line"
)]

mod ports;
mod recorded;
mod refusals;
mod services;
mod standby;
mod zone;
