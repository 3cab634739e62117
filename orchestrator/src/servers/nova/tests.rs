use super::*;
use crate::servers::control::ServerState;
use serde::Deserialize;
use serde_json::json;

fn server(status: &str, task: Option<&str>, power: Option<i64>) -> Server {
    Server::deserialize(json!({
        "id": "s1", "status": status, "OS-EXT-STS:task_state": task, "OS-EXT-STS:power_state": power,
    }))
    .unwrap()
}

#[test]
fn its_own_address_is_told_and_none_that_floats() {
    let at = |ip: &str, kind: &str| json!({ "addr": ip, "version": 4, "OS-EXT-IPS:type": kind });
    let of = |addresses: serde_json::Value| {
        let server = json!({ "id": "s1", "status": "ACTIVE", "addresses": addresses });
        address(&Server::deserialize(server).unwrap()).map(|ip| ip.to_string())
    };
    let both = json!({
        "back": [at("192.0.2.9", "floating"), at("2001:db8::5", "fixed")],
        "front": [at("10.0.0.5", "fixed"), at("10.0.0.6", "fixed")],
    });
    assert_eq!(of(both).as_deref(), Some("10.0.0.5"));
    assert_eq!(of(json!({ "n": [at("192.0.2.9", "floating")] })), None);
    assert_eq!(of(json!({})), None);
}

#[test]
fn only_what_is_off_for_certain_is_stopped_and_only_what_can_serve_runs() {
    for (status, task, power, is) in [
        ("ACTIVE", None, Some(1), ServerState::Running),
        ("ACTIVE", None, None, ServerState::Running),
        ("ACTIVE", None, Some(3), ServerState::Frozen),
        ("ACTIVE", None, Some(7), ServerState::Frozen),
        ("ACTIVE", None, Some(4), ServerState::Changing),
        (
            "ACTIVE",
            Some("powering-off"),
            Some(1),
            ServerState::Changing,
        ),
        ("SHUTOFF", None, Some(4), ServerState::Stopped),
        ("SHUTOFF", None, Some(1), ServerState::Changing),
        ("SHELVED_OFFLOADED", None, None, ServerState::Stopped),
        ("PAUSED", None, Some(3), ServerState::Frozen),
        ("SUSPENDED", None, Some(4), ServerState::Frozen),
        ("RESCUE", None, Some(1), ServerState::Frozen),
        ("VERIFY_RESIZE", None, Some(1), ServerState::Running),
        ("ERROR", None, Some(4), ServerState::Failed { off: true }),
        (
            "SOFT_DELETED",
            None,
            None,
            ServerState::Failed { off: true },
        ),
        ("UNKNOWN", None, None, ServerState::Unknown),
        ("NEW_WORD", None, None, ServerState::Unknown),
    ] {
        assert_eq!(
            state(&server(status, task, power)),
            is,
            "{status} {task:?} {power:?}"
        );
    }
}

#[test]
fn what_failed_is_off_only_where_it_never_ran_or_was_seen_off() {
    let failed = |launched: Option<&str>, power: Option<i64>| {
        let server = json!({
            "id": "s1", "status": "ERROR", "OS-EXT-STS:power_state": power, "OS-SRV-USG:launched_at": launched,
        });
        state(&Server::deserialize(server).unwrap())
    };
    let once = Some("2026-11-25T22:00:10.000000");
    for (launched, power, off) in [
        (None, Some(0), true),
        (None, None, true),
        // Its build was cut off between its domain's start and the word of it.
        (None, Some(1), false),
        (None, Some(3), false),
        (once, Some(4), true),
        (once, Some(6), true),
        (once, Some(1), false),
        (once, Some(3), false),
        (once, Some(0), false),
        (once, None, false),
    ] {
        let is = failed(launched, power);
        assert_eq!(is, ServerState::Failed { off }, "{launched:?} {power:?}");
    }
}

#[test]
fn a_lock_is_ours_by_its_reason() {
    let mut some = server("SHUTOFF", None, Some(4));
    some.locked = true;
    some.locked_reason = Some("do not touch".to_owned());
    assert!(!seen(&some).held);
    some.locked_reason = Some("rekindle: stand-by of zone-a/s0".to_owned());
    assert!(seen(&some).held);
}
