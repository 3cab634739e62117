//! What is to be done next so that a server comes to be as it is wished: pure, and looked at anew each time.
//!
//! ```text
//!   wish        at rest, and fits    does not fit                       a task is going on, or Nova does not know
//!   Active      ACTIVE               SHUTOFF: start; SHELVED…: unshelve       wait
//!   Stopped     SHUTOFF, SHELVED…    ACTIVE, ERROR: stop                      wait
//!   Offloaded   SHELVED_OFFLOADED    ACTIVE, SHUTOFF: shelve; SHELVED: offload   wait
//!   Absent      not found            anything: delete                         wait while it is being deleted
//! ```
//!
//! A server that is held in memory (paused, suspended) is in none of these and is not brought there: it would go on with what it knew of its
//! disks before, and write that. A person decides.

use super::{
    server::Server,
    states::{PowerState, Status, TaskState},
};
use std::fmt;

/// How a server is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It runs.
    Active,
    /// It does not run. Shelved is well.
    Stopped,
    /// It does not run and takes no host.
    Offloaded,
    /// It is not there.
    Absent,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Stopped => "stopped",
            Self::Offloaded => "shelved and on no host",
            Self::Absent => "gone",
        })
    }
}

/// What Nova can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Start one that is off.
    Start,
    /// Stop one that runs.
    Stop,
    /// Shelve it; one that boots from a volume leaves its host with that.
    Shelve,
    /// Take a shelved one from its host.
    ShelveOffload,
    /// Start a shelved one.
    Unshelve,
    /// Delete it.
    Delete,
    /// Delete one that was deleted and may still be restored.
    ForceDelete,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// It is so.
    Done,
    /// Look again later.
    Wait,
    /// Tell Nova, then look again.
    Order(Verb),
    /// It failed: see its fault.
    Failed,
    /// It was deleted.
    Gone,
    /// It will not come there by itself, and we do not take it there: what a person can do.
    Never(&'static str),
}

const PAUSED: &str = "it is held in memory and would go on with what it knew of its disks: `openstack server unpause` and stop it, or delete it";
const SUSPENDED: &str = "its memory is on disk and would go on with what it knew of its disks: `openstack server resume` and stop it, or delete it";
const RESCUED: &str =
    "it runs from another disk: `openstack server unrescue`, then it can be told again";
const RESIZED: &str = "its resize waits for an answer: `openstack server resize confirm` or `revert`, then it can be told again";
const HALF_UP: &str = "its build failed, its domain runs all the same, and Nova stops none that it does not know to have run: `openstack server delete`, or stop its domain on its host";

/// What comes next for a server that is like that.
#[must_use]
pub fn next(server: &Server, wish: Wish) -> Next {
    match wish {
        Wish::Active => to_active(server),
        Wish::Stopped => to_stopped(server),
        Wish::Offloaded => to_offloaded(server),
        Wish::Absent => to_absent(server),
    }
}

fn to_active(server: &Server) -> Next {
    if server.task_state.is_some() {
        return Next::Wait;
    }
    match &server.status {
        Status::Active => match server.power_state {
            // Nova has seen that it fell over, or was switched off from inside, and will say so in its status.
            Some(
                PowerState::Shutdown
                | PowerState::Crashed
                | PowerState::Paused
                | PowerState::Suspended,
            ) => Next::Wait,
            Some(PowerState::Running | PowerState::NoState | PowerState::Other(_)) | None => {
                Next::Done
            }
        },
        Status::Shutoff => Next::Order(Verb::Start),
        Status::Shelved | Status::ShelvedOffloaded => Next::Order(Verb::Unshelve),
        Status::Error => Next::Failed,
        Status::Deleted | Status::SoftDeleted => Next::Gone,
        Status::Paused => Next::Never(PAUSED),
        Status::Suspended => Next::Never(SUSPENDED),
        Status::Rescue => Next::Never(RESCUED),
        Status::VerifyResize => Next::Never(RESIZED),
        Status::Build
        | Status::HardReboot
        | Status::Migrating
        | Status::Password
        | Status::Reboot
        | Status::Rebuild
        | Status::Resize
        | Status::RevertResize
        | Status::Unknown
        | Status::Other(_) => Next::Wait,
    }
}

fn to_stopped(server: &Server) -> Next {
    if server.task_state.is_some() {
        return Next::Wait;
    }
    match &server.status {
        Status::Shutoff => match server.power_state {
            // Somebody started it behind Nova's back: Nova stops such a one when it notices. Until then it may write.
            Some(PowerState::Running) => Next::Wait,
            Some(
                PowerState::NoState
                | PowerState::Paused
                | PowerState::Shutdown
                | PowerState::Crashed
                | PowerState::Suspended
                | PowerState::Other(_),
            )
            | None => Next::Done,
        },
        Status::Shelved | Status::ShelvedOffloaded => Next::Done,
        Status::Active => Next::Order(Verb::Stop),
        // One that never ran is off, and Nova would refuse to stop it.
        Status::Error if server.never_came_up() => Next::Done,
        // Its domain came up, and Nova was cut off before it wrote that down.
        Status::Error if server.launched_at.is_none() => Next::Never(HALF_UP),
        Status::Error => Next::Order(Verb::Stop),
        Status::Deleted | Status::SoftDeleted => Next::Gone,
        Status::Paused => Next::Never(PAUSED),
        Status::Suspended => Next::Never(SUSPENDED),
        Status::Rescue => Next::Never(RESCUED),
        Status::VerifyResize => Next::Never(RESIZED),
        Status::Build
        | Status::HardReboot
        | Status::Migrating
        | Status::Password
        | Status::Reboot
        | Status::Rebuild
        | Status::Resize
        | Status::RevertResize
        | Status::Unknown
        | Status::Other(_) => Next::Wait,
    }
}

fn to_offloaded(server: &Server) -> Next {
    if server.task_state.is_some() {
        return Next::Wait;
    }
    match &server.status {
        // Nova names the host a moment longer than the status.
        Status::ShelvedOffloaded if server.host.is_some() => Next::Wait,
        Status::ShelvedOffloaded => Next::Done,
        Status::Shelved => Next::Order(Verb::ShelveOffload),
        Status::Active | Status::Shutoff => Next::Order(Verb::Shelve),
        Status::Error => Next::Failed,
        Status::Deleted | Status::SoftDeleted => Next::Gone,
        Status::Paused => Next::Never(PAUSED),
        Status::Suspended => Next::Never(SUSPENDED),
        Status::Rescue => Next::Never(RESCUED),
        Status::VerifyResize => Next::Never(RESIZED),
        Status::Build
        | Status::HardReboot
        | Status::Migrating
        | Status::Password
        | Status::Reboot
        | Status::Rebuild
        | Status::Resize
        | Status::RevertResize
        | Status::Unknown
        | Status::Other(_) => Next::Wait,
    }
}

fn to_absent(server: &Server) -> Next {
    if let Some(TaskState::Deleting | TaskState::SoftDeleting) = &server.task_state {
        return Next::Wait;
    }
    match &server.status {
        Status::Deleted => Next::Done,
        Status::SoftDeleted => Next::Order(Verb::ForceDelete),
        // What Nova cannot see it cannot delete, and we cannot see which volumes would go with it.
        Status::Unknown => Next::Wait,
        Status::Active
        | Status::Build
        | Status::Error
        | Status::HardReboot
        | Status::Migrating
        | Status::Password
        | Status::Paused
        | Status::Reboot
        | Status::Rebuild
        | Status::Rescue
        | Status::Resize
        | Status::RevertResize
        | Status::Shelved
        | Status::ShelvedOffloaded
        | Status::Shutoff
        | Status::Suspended
        | Status::VerifyResize
        | Status::Other(_) => Next::Order(Verb::Delete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    const WISHES: [Wish; 4] = [Wish::Active, Wish::Stopped, Wish::Offloaded, Wish::Absent];

    fn server(status: &Status, task: Option<&TaskState>, power: i64, launched: bool) -> Server {
        let launched = launched.then_some("2026-11-25T22:00:10.000000");
        Server::deserialize(json!({
            "id": "s1", "status": status.as_str(), "OS-EXT-STS:task_state": task.map(TaskState::as_str),
            "OS-EXT-STS:power_state": power, "OS-SRV-USG:launched_at": launched,
        }))
        .unwrap()
    }

    fn at_rest(status: &str, power: i64, wish: Wish) -> Next {
        next(&server(&Status::from(status), None, power, true), wish)
    }

    #[test]
    fn the_table() {
        use Next::{Done, Failed, Gone, Order, Wait};
        use Verb::{Delete, ForceDelete, Shelve, ShelveOffload, Start, Stop, Unshelve};
        for (status, active, stopped, offloaded, absent) in [
            ("ACTIVE", Done, Order(Stop), Order(Shelve), Order(Delete)),
            ("SHUTOFF", Order(Start), Done, Order(Shelve), Order(Delete)),
            (
                "SHELVED",
                Order(Unshelve),
                Done,
                Order(ShelveOffload),
                Order(Delete),
            ),
            (
                "SHELVED_OFFLOADED",
                Order(Unshelve),
                Done,
                Done,
                Order(Delete),
            ),
            ("ERROR", Failed, Order(Stop), Failed, Order(Delete)),
            ("BUILD", Wait, Wait, Wait, Order(Delete)),
            ("DELETED", Gone, Gone, Gone, Done),
            ("SOFT_DELETED", Gone, Gone, Gone, Order(ForceDelete)),
            ("UNKNOWN", Wait, Wait, Wait, Wait),
            ("NEW_IN_2030", Wait, Wait, Wait, Order(Delete)),
        ] {
            let power = if status == "ACTIVE" { 1 } else { 4 };
            let seen = WISHES.map(|wish| at_rest(status, power, wish));
            assert_eq!(seen, [active, stopped, offloaded, absent], "{status}");
        }
        for (status, word) in [
            ("PAUSED", "unpause"),
            ("SUSPENDED", "resume"),
            ("RESCUE", "unrescue"),
            ("VERIFY_RESIZE", "confirm"),
        ] {
            for wish in [Wish::Active, Wish::Stopped, Wish::Offloaded] {
                let Next::Never(advice) = at_rest(status, 3, wish) else {
                    panic!("{status} {wish}");
                };
                assert!(advice.contains(word), "{advice}");
            }
            assert_eq!(at_rest(status, 3, Wish::Absent), Order(Delete));
        }
    }

    #[test]
    fn a_server_that_runs_behind_novas_back_is_not_stopped() {
        assert_eq!(at_rest("SHUTOFF", 1, Wish::Stopped), Next::Wait);
        assert_eq!(at_rest("ACTIVE", 4, Wish::Active), Next::Wait);
        // One that is leaving its host has not left it yet.
        let mut leaving = server(&Status::ShelvedOffloaded, None, 4, true);
        assert_eq!(next(&leaving, Wish::Offloaded), Next::Done);
        leaving.host = Some("h1".to_owned());
        assert_eq!(next(&leaving, Wish::Offloaded), Next::Wait);
        assert_eq!(next(&leaving, Wish::Stopped), Next::Done);
        // One that never ran is off.
        for power in [0, 4, 6] {
            let failed = server(&Status::Error, None, power, false);
            assert_eq!(next(&failed, Wish::Stopped), Next::Done, "{power}");
        }
        // Unless Nova saw its domain up: its build was cut off between that and the word of it.
        for power in [1, 3] {
            let half_up = server(&Status::Error, None, power, false);
            let Next::Never(advice) = next(&half_up, Wish::Stopped) else {
                panic!("{power}");
            };
            assert!(advice.contains("server delete"), "{advice}");
        }
    }

    #[test]
    fn while_something_is_done_to_it_nothing_else_is_ordered_but_its_end() {
        for status in Status::KNOWN {
            for task in TaskState::KNOWN {
                let server = server(status, Some(task), 1, true);
                for wish in [Wish::Active, Wish::Stopped, Wish::Offloaded] {
                    assert_eq!(next(&server, wish), Next::Wait, "{status} {task} {wish}");
                }
                let ends = matches!(task, TaskState::Deleting | TaskState::SoftDeleting);
                let absent = next(&server, Wish::Absent);
                assert!(!ends || absent == Next::Wait, "{status} {task} {absent:?}");
            }
        }
    }

    /// Each order, carried out, leads to a state in which that wish is met or another order is due: nothing goes round.
    #[test]
    fn orders_come_to_an_end() {
        for wish in WISHES {
            for begin in Status::KNOWN {
                let mut status = begin.clone();
                for step in 0.. {
                    assert!(step < 4, "{begin} goes round on its way to {wish}");
                    let power = if status == Status::Active { 1 } else { 4 };
                    let Next::Order(verb) = next(&server(&status, None, power, true), wish) else {
                        break;
                    };
                    status = match verb {
                        Verb::Start | Verb::Unshelve => Status::Active,
                        Verb::Stop => Status::Shutoff,
                        // The worst case: one that boots from a volume skips this.
                        Verb::Shelve => Status::Shelved,
                        Verb::ShelveOffload => Status::ShelvedOffloaded,
                        Verb::Delete => Status::SoftDeleted,
                        Verb::ForceDelete => Status::Deleted,
                    };
                }
            }
        }
    }
}
