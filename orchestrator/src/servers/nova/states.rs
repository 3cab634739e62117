//! What a server does, by all that Nova says of it.

use crate::servers::control::ServerState;
use rekindle_openstack::nova::{PowerState, Server, Status};

pub(super) fn state(server: &Server) -> ServerState {
    if server.is_hidden() {
        return ServerState::Unknown;
    }
    if server.task_state.is_some() {
        return ServerState::Changing;
    }
    match &server.status {
        Status::Paused | Status::Suspended | Status::Rescue => ServerState::Frozen,
        // With another flavor that may be taken back: it serves meanwhile.
        Status::VerifyResize => ServerState::Running,
        Status::Active => match server.power_state {
            // Nova has not yet taken notice.
            Some(PowerState::Shutdown | PowerState::Crashed) => ServerState::Changing,
            Some(PowerState::Paused | PowerState::Suspended) => ServerState::Frozen,
            Some(PowerState::NoState | PowerState::Running | PowerState::Other(_)) | None => {
                ServerState::Running
            }
        },
        Status::Shutoff => match server.power_state {
            Some(PowerState::Running) => ServerState::Changing,
            Some(
                PowerState::NoState
                | PowerState::Paused
                | PowerState::Shutdown
                | PowerState::Crashed
                | PowerState::Suspended
                | PowerState::Other(_),
            )
            | None => ServerState::Stopped,
        },
        Status::Shelved | Status::ShelvedOffloaded => ServerState::Stopped,
        Status::Error | Status::SoftDeleted | Status::Deleted => ServerState::Failed {
            off: server.never_came_up() || was_seen_off(server.power_state.as_ref()),
        },
        Status::Build
        | Status::HardReboot
        | Status::Migrating
        | Status::Password
        | Status::Reboot
        | Status::Rebuild
        | Status::Resize
        | Status::RevertResize => ServerState::Changing,
        Status::Unknown | Status::Other(_) => ServerState::Unknown,
    }
}

/// By the domain's own state as Nova last saw it. Where it found no domain it may not have seen the host.
fn was_seen_off(power: Option<&PowerState>) -> bool {
    match power {
        Some(PowerState::Shutdown | PowerState::Crashed) => true,
        Some(
            PowerState::NoState
            | PowerState::Running
            | PowerState::Paused
            | PowerState::Suspended
            | PowerState::Other(_),
        )
        | None => false,
    }
}
