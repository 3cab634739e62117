//! Servers are brought to where they are wished, whatever Nova does meanwhile, and what stands in the way is said.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;

use fake::{
    Fake, Say,
    nova::{Fault, Srv, Stub},
};
use rekindle_common::duration::Span;
use rekindle_openstack::{
    Nova, Scope, ServerError, each,
    nova::{
        Because, Disk, How, Mark, Network, Patience, Refusal, Rest, ServerRequest, Standby, Status,
        Wish,
    },
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

const PATIENCE: Patience = Patience {
    within: Span::secs(20),
    poll: Span::millis(2),
};
const SHORT: Patience = Patience {
    within: Span::millis(200),
    poll: Span::millis(5),
};

async fn up(stub: &Stub) -> (Fake, Nova) {
    let fake = Fake::cinder(stub.script()).await;
    let nova = fake.cloud("timeout = \"1s\"").nova(Scope::Home);
    (fake, nova)
}

fn mark() -> Mark {
    Mark {
        zone: "zone-a".into(),
        server: "s0".into(),
    }
}

fn request(volume: &str) -> ServerRequest {
    ServerRequest {
        name: "shop".into(),
        flavor: "f1".into(),
        disks: vec![Disk {
            volume: volume.into(),
            boot_index: Some(0),
            device: None,
            tag: None,
        }],
        network: Network::None,
        security_groups: Vec::new(),
        key_name: None,
        availability_zone: None,
        metadata: BTreeMap::from([("rekindle:group".to_owned(), "shop".to_owned())]),
        tags: BTreeSet::new(),
        user_data: None,
        config_drive: false,
        server_group: None,
        description: None,
    }
}

/// A stand-by of `zone-a/s0` on `v9`.
async fn standby(nova: &Nova, rest: Rest) -> Result<Standby, ServerError> {
    let new = request("v9");
    nova.ensure_standby(&new, &mark(), rest, 100, PATIENCE)
        .await
}

#[tokio::test]
async fn each_wish_is_met_from_where_the_server_is_and_is_met_again_for_nothing() {
    for (begin, wish, orders, end) in [
        ("ACTIVE", Wish::Stopped, 1, "SHUTOFF"),
        ("ERROR", Wish::Stopped, 1, "SHUTOFF"),
        ("SHELVED", Wish::Stopped, 0, "SHELVED"),
        ("SHUTOFF", Wish::Active, 1, "ACTIVE"),
        ("SHELVED", Wish::Active, 1, "ACTIVE"),
        ("SHELVED_OFFLOADED", Wish::Active, 1, "ACTIVE"),
        ("ACTIVE", Wish::Offloaded, 1, "SHELVED_OFFLOADED"),
        ("SHELVED", Wish::Offloaded, 1, "SHELVED_OFFLOADED"),
    ] {
        let stub = Stub::new().with(Srv::new("s1", begin)).slow(3);
        let (fake, nova) = up(&stub).await;
        for _ in 0..2 {
            let server = match wish {
                Wish::Active => nova.ensure_active("s1", PATIENCE).await,
                Wish::Stopped => nova.ensure_stopped("s1", PATIENCE).await,
                _ => nova.ensure_offloaded("s1", PATIENCE).await,
            };
            assert_eq!(server.unwrap().status.as_str(), end, "{begin} to {wish}");
        }
        assert_eq!(fake.asked("/s1/action").len(), orders, "{begin} to {wish}");
    }
    // What does not boot from a volume keeps its host at first.
    let stub = Stub::new()
        .with(Srv::new("s1", "ACTIVE"))
        .shelves("SHELVED");
    let (fake, nova) = up(&stub).await;
    nova.ensure_offloaded("s1", PATIENCE).await.unwrap();
    let told: Vec<String> = fake
        .asked("/s1/action")
        .into_iter()
        .map(|a| a.body)
        .collect();
    assert_eq!(told, [r#"{"shelve":null}"#, r#"{"shelveOffload":null}"#]);
}

#[tokio::test]
async fn an_order_is_given_again_only_for_what_was_seen() {
    // The answer is lost, and it was carried out: seen, and not ordered again.
    let lost = Fault::After(Say::Truncated);
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE")).slow(3);
    let (fake, nova) = up(&stub.clone().fault("/s1/action", 1, lost)).await;
    nova.ensure_stopped("s1", PATIENCE).await.unwrap();
    assert_eq!(fake.asked("/s1/action").len(), 1);

    // It never came, was too much for the moment, or Nova's own database did not answer: given again.
    for say in [
        Say::Truncated,
        Say::status(409, "{}"),
        Say::status(500, "{}"),
        Say::Json(429, vec![("Retry-After", "0".into())], String::new()),
    ] {
        let fault = Fault::Instead(say);
        let stub = Stub::new().with(Srv::new("s1", "ACTIVE"));
        let (fake, nova) = up(&stub.fault("/s1/action", 2, fault)).await;
        let server = nova.ensure_stopped("s1", PATIENCE).await.unwrap();
        assert_eq!(server.status, Status::Shutoff);
        assert_eq!(fake.asked("/s1/action").len(), 3);
    }
}

#[tokio::test]
async fn an_order_that_comes_to_nothing_is_not_given_for_ever() {
    let stub = Stub::new().with(Srv::new("s1", "SHUTOFF"));
    let nothing = Fault::Instead(Say::status(202, ""));
    let (fake, nova) = up(&stub.fault("/s1/action", 999, nothing)).await;
    // Pauses grow from the poll's length, and there is time for many more.
    let patience = Patience {
        within: Span::secs(2),
        poll: Span::millis(1),
    };
    match nova.ensure_active("s1", patience).await {
        Err(e @ ServerError::Late { .. }) => {
            let text = e.to_string();
            assert!(text.contains("ACTIVE after 2s and 5 orders"), "{text}");
            assert!(text.contains("last seen as SHUTOFF"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("/s1/action").len(), 5);
}

#[tokio::test]
async fn hard_case_53_a_nova_that_hangs_ends_at_the_deadline() {
    for part in ["/servers/s1 ", "/s1/action"] {
        let stub = Stub::new().with(Srv::new("s1", "ACTIVE"));
        let stub = stub.fault(part, 999, Fault::Instead(Say::Silence));
        let fake = Fake::cinder(stub.script()).await;
        // One call may take longer than the whole is given.
        let nova = fake.cloud("timeout = \"60s\"").nova(Scope::Home);
        let begun = Instant::now();
        let e = nova.ensure_stopped("s1", SHORT).await.unwrap_err();
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{part}: {:?}",
            begun.elapsed()
        );
        assert!(
            matches!(e, ServerError::Late { .. }) && e.is_passing(),
            "{part}: {e:?}"
        );
        assert!(e.in_full().contains("no answer within"), "{}", e.in_full());
    }
}

#[tokio::test]
async fn a_wait_ends_with_its_reason() {
    // It fails: Nova's own words and code, and what to do.
    let message = "No valid host was found. There are not enough hosts available.";
    let mut failing = Srv::new("s1", "BUILD");
    failing.fault = Some((500, message));
    (failing.launched, failing.task, failing.then) =
        (false, Some("scheduling"), Some((2, "ERROR")));
    let (_fake, nova) = up(&Stub::new().with(failing)).await;
    match nova.wait("s1", Wish::Active, PATIENCE).await {
        Err(
            e @ ServerError::Failed {
                because: Because::NoHost,
                ..
            },
        ) => {
            let text = e.to_string();
            assert!(
                text.contains("500 No valid host") && text.contains("free capacity"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    // Its user deletes it in the middle.
    let mut leaving = Srv::new("s1", "BUILD");
    leaving.then = Some((2, "gone"));
    let (_fake, nova) = up(&Stub::new().with(leaving)).await;
    match nova.wait("s1", Wish::Active, PATIENCE).await {
        Err(ServerError::Gone { last, .. }) => assert_eq!(last.unwrap().status, Status::Build),
        other => panic!("{other:?}"),
    }
    // It stays where it is: what it was last seen as and doing. Nothing is ordered by who only waits.
    let mut stuck = Srv::new("s1", "ACTIVE");
    stuck.task = Some("powering-off");
    let (fake, nova) = up(&Stub::new().with(stuck).with(Srv::new("s2", "ACTIVE"))).await;
    for (id, seen) in [
        ("s1", "ACTIVE, powering-off, running"),
        ("s2", "ACTIVE, running"),
    ] {
        let e = nova.wait(id, Wish::Stopped, SHORT).await.unwrap_err();
        assert!(e.to_string().contains(seen), "{e}");
    }
    assert_eq!(fake.asked("POST /compute").len(), 0);
    // It was deleted to be restored perhaps.
    let (_fake, nova) = up(&Stub::new().with(Srv::new("s1", "SOFT_DELETED"))).await;
    let e = nova.wait("s1", Wish::Stopped, SHORT).await.unwrap_err();
    assert!(matches!(e, ServerError::Gone { .. }), "{e:?}");
}

#[tokio::test]
async fn a_server_held_in_memory_is_left_to_a_person() {
    let (fake, nova) = up(&Stub::new().with(Srv::new("s1", "PAUSED"))).await;
    let e = nova.ensure_stopped("s1", PATIENCE).await.unwrap_err();
    assert!(e.to_string().contains("openstack server unpause"), "{e}");
    assert_eq!(fake.asked("POST /compute").len(), 0);
}

#[tokio::test]
async fn what_runs_behind_novas_back_is_not_called_stopped() {
    let mut runs = Srv::new("s1", "SHUTOFF");
    runs.power = 1;
    let (_fake, nova) = up(&Stub::new().with(runs)).await;
    let e = nova.ensure_stopped("s1", SHORT).await.unwrap_err();
    assert!(e.to_string().contains("SHUTOFF, running"), "{e}");
}

#[tokio::test]
async fn locks_are_ours_or_respected() {
    let mut ours = Srv::new("s1", "SHUTOFF");
    ours.lock = Some("rekindle: stand-by of zone-a/s0".into());
    let mut theirs = Srv::new("s2", "SHUTOFF");
    theirs.lock = Some("do not touch".into());
    let stub = Stub::new().with(ours.clone()).with(theirs.clone());
    let (_fake, nova) = up(&stub).await;
    for id in ["s1", "s2"] {
        nova.ensure_active(id, PATIENCE).await.unwrap();
    }
    let locks: Vec<bool> = stub.servers().iter().map(|s| s.lock.is_some()).collect();
    assert_eq!(locks, [false, true], "ours is off, theirs stays");

    // Who is no administrator may not act on theirs, and is told whose word stands in the way.
    let stub = Stub::new().with(theirs).member();
    let (_fake, nova) = up(&stub).await;
    match nova.ensure_active("s2", PATIENCE).await {
        Err(e @ ServerError::Locked { .. }) => {
            assert!(e.to_string().contains("do not touch"), "{e}");
        }
        other => panic!("{other:?}"),
    }

    // Held: locked first, then stopped; once.
    let stub = Stub::new().with(Srv::new("s3", "ACTIVE"));
    let (fake, nova) = up(&stub).await;
    for _ in 0..2 {
        nova.ensure_held("s3", "zone-b serves now", PATIENCE)
            .await
            .unwrap();
    }
    let told: Vec<String> = fake
        .asked("/s3/action")
        .into_iter()
        .map(|a| a.body)
        .collect();
    assert!(told[0].contains("rekindle: zone-b serves now"), "{told:?}");
    assert_eq!(told[1..], [r#"{"os-stop":null}"#]);
}

/// Its owner does not want it touched: what we held for a while is his again, with his words.
#[tokio::test]
async fn what_its_owner_had_locked_is_locked_again_once_it_serves() {
    for (owners, again) in [
        (
            "do not touch (Ana)",
            r#"{"lock":{"locked_reason":"do not touch (Ana)"}}"#,
        ),
        ("", r#"{"lock":null}"#),
    ] {
        let mut server = Srv::new("s1", "ACTIVE");
        server.lock = Some(owners.to_owned());
        let stub = Stub::new().with(server);
        let (fake, nova) = up(&stub).await;
        let held = nova.ensure_held("s1", "zone-b serves now", PATIENCE).await;
        let held = held.unwrap().locked_reason.unwrap();
        assert_eq!(
            held,
            format!("rekindle: zone-b serves now (it was locked: {owners})")
        );
        nova.ensure_active("s1", PATIENCE).await.unwrap();
        let lock = stub.servers()[0].lock.clone();
        assert_eq!(lock.as_deref(), Some(owners));
        let told = fake.asked("/s1/action").into_iter().map(|a| a.body);
        let told: Vec<String> = told.skip(2).collect();
        // Before its start: who dies in between has not lost it.
        let start = r#"{"os-start":null}"#;
        assert_eq!(told, [r#"{"unlock":null}"#, again, start]);
    }
}

#[tokio::test]
async fn hard_case_52_an_unshelving_over_the_quota_is_named() {
    let quota = json!({ "quota_set": { "cores": { "limit": 4, "in_use": 4, "reserved": 0 } } });
    let stub = Stub::new()
        .with(Srv::new("s1", "SHELVED_OFFLOADED"))
        .says("/os-quota-sets/p1/detail", quota)
        .fault("/s1/action", 9, Fault::Instead(Say::status(403, "{}")));
    let (fake, nova) = up(&stub).await;
    match nova.ensure_active("s1", PATIENCE).await {
        Err(ServerError::Refused {
            why: Refusal::OverQuota(over),
            ..
        }) => {
            assert_eq!(
                (over[0].what.as_str(), over[0].wanted, over[0].left),
                ("cores", 1, 0)
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("/s1/action").len(), 1);
}

#[tokio::test]
async fn a_stand_by_is_built_stopped_and_locked_and_then_adopted() {
    for (rest, end) in [
        (Rest::Shutoff, "SHUTOFF"),
        (Rest::Shelved, "SHELVED_OFFLOADED"),
    ] {
        let stub = Stub::new().slow(2);
        let (fake, nova) = up(&stub).await;
        for how in [How::Built, How::Adopted] {
            let done = standby(&nova, rest).await.unwrap();
            assert_eq!((done.server.status.as_str(), done.how), (end, how));
            assert_eq!(done.server.mark(), Some(mark()));
            assert_eq!(done.server.metadata["rekindle:group"], "shop");
            let reason = done.server.locked_reason.unwrap();
            assert_eq!(reason, "rekindle: stand-by of zone-a/s0");
        }
        assert_eq!(fake.asked("POST /compute/v2.1/servers ").len(), 1);
        assert_eq!(stub.servers().len(), 1);
    }
}

#[tokio::test]
async fn hard_case_51_a_create_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() {
    let create = "POST /compute/v2.1/servers ";
    let built = async |stub: &Stub| {
        let (fake, nova) = up(stub).await;
        let done = standby(&nova, Rest::Shutoff).await;
        (done, fake.asked(create).len())
    };
    // It was made.
    let stub = Stub::new().fault(create, 1, Fault::After(Say::Truncated));
    let (done, sent) = built(&stub).await;
    assert_eq!(
        (done.unwrap().how, sent, stub.servers().len()),
        (How::Built, 1, 1)
    );
    // A proxy gave up on it, and it is made some looks later.
    let stub = Stub::new().fault(create, 1, Fault::Later(6, Say::status(504, "")));
    let (done, sent) = built(&stub).await;
    assert_eq!(
        (done.unwrap().how, sent, stub.servers().len()),
        (How::Built, 1, 1)
    );
    // It never came: sent once more, after a look.
    let stub = Stub::new().fault(create, 1, Fault::Instead(Say::Truncated));
    let (done, sent) = built(&stub).await;
    assert_eq!(
        (done.unwrap().how, sent, stub.servers().len()),
        (How::Built, 2, 1)
    );
    // It never comes: twice is enough.
    let stub = Stub::new().fault(create, 9, Fault::Instead(Say::Truncated));
    let (done, sent) = built(&stub).await;
    let e = done.unwrap_err();
    assert!(e.is_passing() && sent == 2, "{e:?}");
    assert_eq!(stub.servers().len(), 0);
}

#[tokio::test]
async fn hard_case_51_a_server_with_the_same_name_is_neither_taken_nor_doubled() {
    let stub = Stub::new().with(Srv::new("theirs", "ACTIVE").named("shop"));
    let (fake, nova) = up(&stub).await;
    let e = standby(&nova, Rest::Shutoff).await;
    let e = e.unwrap_err();
    let text = e.to_string();
    assert!(matches!(e, ServerError::NameTaken { .. }), "{e:?}");
    for part in [
        "\"shop\"",
        "theirs",
        "--property rekindle:standby-of=zone-a/s0 theirs",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(fake.asked("POST /compute").len(), 0);
    assert_eq!(stub.servers()[0].status, "ACTIVE");
}

#[tokio::test]
async fn hard_case_51_two_that_stand_by_for_one_are_both_named() {
    let two = |id: &str, name: &str| {
        let one = Srv::new(id, "ACTIVE").named(name);
        one.marked("zone-a/s0").on("v9")
    };
    let stub = Stub::new().with(two("s1", "one")).with(two("s2", "two"));
    let (fake, nova) = up(&stub).await;
    let e = standby(&nova, Rest::Shutoff).await;
    let text = e.unwrap_err().to_string();
    assert!(
        text.contains("one (s1) and two (s2) all stand by for zone-a/s0"),
        "{text}"
    );
    assert_eq!(fake.asked("POST /compute").len(), 0);
}

#[tokio::test]
async fn hard_case_51_a_half_created_stand_by_is_gone_on_with_or_built_again() {
    // Of every state that a former run may have left, one stand-by comes, and it is at rest.
    let half = |status| {
        let one = Srv::new("half", status).named("shop");
        one.marked("zone-a/s0").on("v9")
    };
    let mut building = half("BUILD");
    (building.launched, building.task, building.then) =
        (false, Some("spawning"), Some((4, "ACTIVE")));
    let mut failed = half("ERROR");
    (failed.launched, failed.volumes) = (false, vec![("v9".to_owned(), true)]);
    failed.fault = Some((500, "No valid host was found."));
    let mut stopping = half("ACTIVE");
    (stopping.task, stopping.then) = (Some("powering-off"), Some((2, "SHUTOFF")));
    for (begin, how) in [
        (building, How::Adopted),
        (half("ACTIVE"), How::Adopted),
        (stopping, How::Adopted),
        (half("SHUTOFF"), How::Adopted),
        (failed, How::Built),
    ] {
        let stub = Stub::new().with(begin.clone());
        let (fake, nova) = up(&stub).await;
        let done = standby(&nova, Rest::Shutoff).await.unwrap();
        assert_eq!(
            (done.server.status.as_str(), done.how),
            ("SHUTOFF", how),
            "{begin:?}"
        );
        assert_eq!(stub.servers().len(), 1, "{begin:?}");
        let kept = fake.asked("PUT /compute/v2.1/servers/half/os-volume_attachments/v9 ");
        // Its volume would have gone with it.
        assert_eq!(kept.len(), usize::from(how == How::Built));
    }
}

/// Who has it serve does so on volumes that are primary by now; what is up already came up before.
#[tokio::test]
async fn hard_case_51_what_is_found_up_is_stopped_before_it_is_to_serve() {
    let half = |status| {
        let half = Srv::new("half", status).named("shop");
        half.marked("zone-a/s0").on("v9")
    };
    let mut building = half("BUILD");
    (building.launched, building.task, building.then) =
        (false, Some("spawning"), Some((4, "ACTIVE")));
    let (stop, start) = (r#"{"os-stop":null}"#, r#"{"os-start":null}"#);
    for (begin, orders) in [
        (building, vec![stop, start]),
        (half("ACTIVE"), vec![stop, start]),
        (half("SHUTOFF"), vec![start]),
    ] {
        let stub = Stub::new().with(begin.clone());
        let (fake, nova) = up(&stub).await;
        let done = standby(&nova, Rest::Running).await.unwrap();
        assert_eq!(
            (done.server.status.as_str(), done.how),
            ("ACTIVE", How::Adopted),
            "{begin:?}"
        );
        let told: Vec<String> = fake
            .asked("/half/action")
            .into_iter()
            .map(|a| a.body)
            .collect();
        assert_eq!(told, orders, "{begin:?}");
    }
}

/// The mark is a property: everybody may write it on servers of his own.
#[tokio::test]
async fn hard_case_51_what_bears_the_mark_on_other_volumes_is_no_stand_by() {
    let stub = Stub::new().with(Srv::new("copied", "ACTIVE").marked("zone-a/s0").on("v1"));
    let (_fake, nova) = up(&stub).await;
    let done = standby(&nova, Rest::Shutoff).await.unwrap();
    assert_eq!(done.how, How::Built);
    let theirs = stub.servers().remove(0);
    assert_eq!(
        (theirs.id.as_str(), theirs.status, theirs.lock),
        ("copied", "ACTIVE", None)
    );
    // The genuine one beside it is adopted.
    let again = standby(&nova, Rest::Shutoff).await.unwrap();
    assert_eq!((again.how, again.server.id), (How::Adopted, done.server.id));

    // As Nova shows one that no cell has yet: it may be the one whose answer was lost, and no other is asked for.
    let mut begun = Srv::new("begun", "BUILD").marked("zone-a/s0").on("v9");
    begun.volumes.clear();
    let stub = Stub::new().with(begun);
    let (fake, nova) = up(&stub).await;
    let e = standby(&nova, Rest::Shutoff).await.unwrap_err();
    assert!(e.is_passing() && e.to_string().contains("(begun)"), "{e}");
    assert_eq!(fake.asked("POST /compute").len(), 0);
}

#[tokio::test]
async fn a_build_that_fails_is_said_and_not_tried_for_ever() {
    let stub = Stub::new().builds("ERROR", Some((500, "No valid host was found.")));
    let (fake, nova) = up(&stub).await;
    let e = standby(&nova, Rest::Shutoff).await;
    assert!(
        matches!(
            &e,
            Err(ServerError::Failed {
                because: Because::NoHost,
                ..
            })
        ),
        "{e:?}"
    );
    assert_eq!(fake.asked("POST /compute/v2.1/servers ").len(), 1);
}

#[tokio::test]
async fn what_is_not_ours_is_never_deleted_and_no_volume_goes_with_what_is() {
    let mut ours = Srv::new("s1", "SHUTOFF").marked("zone-a/s0");
    ours.volumes = vec![("v1".into(), true), ("v2".into(), false)];
    ours.lock = Some("rekindle: stand-by of zone-a/s0".into());
    let stub = Stub::new()
        .with(ours)
        .with(Srv::new("s2", "SHUTOFF").marked("zone-a/other"))
        .with(Srv::new("s3", "UNKNOWN"));
    let (fake, nova) = up(&stub).await;
    for _ in 0..2 {
        nova.ensure_absent("s1", &mark(), PATIENCE).await.unwrap();
    }
    let kept = fake.asked("PUT");
    assert_eq!(kept.len(), 1);
    assert!(
        kept[0].line.contains("/s1/os-volume_attachments/v1 "),
        "{kept:?}"
    );
    let e = nova
        .ensure_absent("s2", &mark(), PATIENCE)
        .await
        .unwrap_err();
    assert!(matches!(e, ServerError::NotOurs { .. }), "{e:?}");
    let e = nova
        .ensure_absent("s3", &mark(), PATIENCE)
        .await
        .unwrap_err();
    assert!(e.is_passing() && e.to_string().contains("cell"), "{e:?}");
    assert_eq!(fake.asked("DELETE").len(), 1);
    assert_eq!(stub.servers().len(), 2);
}

/// Nova shows a server for a moment longer than what is attached to it.
#[tokio::test]
async fn what_goes_while_it_is_taken_away_is_gone() {
    let gone = || {
        Fault::Instead(Say::status(
            404,
            r#"{"itemNotFound": {"code": 404, "message": "no"}}"#,
        ))
    };
    let mut going = Srv::new("s1", "SHUTOFF").marked("zone-a/s0");
    going.then = Some((1, "gone"));
    let stub = Stub::new().with(going).fault(
        "GET /compute/v2.1/servers/s1/os-volume_attachments",
        1,
        gone(),
    );
    let (fake, nova) = up(&stub).await;
    nova.ensure_absent("s1", &mark(), PATIENCE).await.unwrap();
    assert_eq!(fake.asked("DELETE").len(), 0);

    // It is there all the same: nothing is deleted before its volumes are kept.
    let mut ours = Srv::new("s1", "SHUTOFF").marked("zone-a/s0");
    ours.volumes = vec![("v1".into(), true)];
    let stub = Stub::new().with(ours).fault(
        "GET /compute/v2.1/servers/s1/os-volume_attachments",
        1,
        gone(),
    );
    let (fake, nova) = up(&stub).await;
    nova.ensure_absent("s1", &mark(), PATIENCE).await.unwrap();
    assert_eq!(
        (fake.asked("PUT").len(), fake.asked("DELETE").len()),
        (1, 1)
    );
}

#[tokio::test]
async fn many_stand_bys_are_built_at_once_within_a_bound() {
    let stub = Stub::new().slow(2);
    let (_fake, nova) = up(&stub).await;
    let done = each(NonZeroUsize::new(8).unwrap(), 0..40, async |n: u32| {
        let mark = Mark {
            server: format!("s{n}"),
            ..mark()
        };
        let new = ServerRequest {
            name: format!("n{n}"),
            ..request(&format!("v{n}"))
        };
        nova.ensure_standby(&new, &mark, Rest::Shutoff, 100, PATIENCE)
            .await
    })
    .await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let servers = stub.servers();
    let marks: BTreeSet<&String> = servers
        .iter()
        .map(|s| &s.metadata["rekindle:standby-of"])
        .collect();
    assert_eq!((servers.len(), marks.len()), (40, 40));
    assert!(
        servers
            .iter()
            .all(|s| s.status == "SHUTOFF" && s.lock.is_some())
    );
}
