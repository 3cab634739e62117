//! Whose stand-by a server is, by its mark and its root volume: what is not certainly ours is neither taken nor doubled.

use super::*;

#[tokio::test]
async fn hard_case_51_two_with_one_mark_are_both_named() {
    let stub = Stub::new()
        .with(ours("s1", "SHUTOFF"))
        .with(ours("s2", "SHUTOFF"));
    let bench = up(stub).await;
    let words = refused(bench.servers.look(&wanted(None), WITHIN).await);
    assert!(words.contains("s1") && words.contains("s2"), "{words}");
}

/// The mark is a property, which everybody may write on servers of his own, or copy there: what has it and not the root volume is nobody's
/// stand-by, whoever's it is.
#[tokio::test]
async fn hard_case_51_what_bears_the_mark_without_the_root_volume_is_neither_taken_nor_in_the_way()
{
    let copied = || Srv::new("copied", "ACTIVE").marked("zone-b/s9").on("v1");
    let bench = up(Stub::new().with(copied())).await;
    assert_eq!(bench.servers.look(&wanted(None), WITHIN).await, Ok(None));
    let held = bench.servers.hold(&wanted(None), "x", WITHIN).await;
    assert_eq!(held, Ok(None));
    let built = bench.build(StandbyPolicy::Shutoff).await.unwrap();
    assert_ne!(built.id, "copied");
    // The two are not taken for twins.
    let seen = bench.servers.look(&wanted(None), WITHIN).await.unwrap();
    assert_eq!(seen.unwrap().id, built.id);

    // Also where it was once written down as ours it is neither built upon nor taken away, whatever its state.
    for status in ["ACTIVE", "SOFT_DELETED"] {
        let mut theirs = copied();
        theirs.status = status;
        let bench = up(Stub::new().with(theirs)).await;
        let some = wanted(Some("copied"));
        bench.servers.remove(&some, WITHIN).await.unwrap();
        let order = BuildOrder {
            wanted: some,
            ..order(StandbyPolicy::Record, json!({}))
        };
        let built = bench.servers.build(&order, WITHIN).await.unwrap();
        assert_ne!(built.id, "copied");
        assert!(bench.fake.asked("/action").is_empty(), "{status}");
        assert_eq!(bench.fake.asked("DELETE").len(), 0, "{status}");
        assert_eq!(bench.stub.servers().len(), 2, "{status}");
    }
}

/// What is not known is waited for: which root volume it has to have, or what volumes Nova does not show of one that is only just begun.
#[tokio::test]
async fn hard_case_51_where_it_cannot_be_told_whether_it_is_the_one_nothing_is_done() {
    let bench = up(Stub::new().with(ours("s2", "SHUTOFF"))).await;
    let unknown = Wanted {
        root: None,
        ..wanted(None)
    };
    let words = not_now(bench.servers.look(&unknown, WITHIN).await);
    assert!(
        words.contains("(s2)") && words.contains("root volume"),
        "{words}"
    );
    let by_id = Wanted {
        id: Some("s2".to_owned()),
        ..unknown
    };
    refused(bench.servers.remove(&by_id, WITHIN).await);
    assert_eq!(bench.stub.servers().len(), 1);

    let begun = || {
        let mut begun = ours("s2", "BUILD");
        begun.volumes.clear();
        begun
    };
    let root_of = |project: &str| json!({ "volume": { "id": "v8", "status": "in-use", "size": 1, "os-vol-tenant-attr:tenant_id": project } });
    let stub = Stub::new().says("/volume/v3/p1/volumes/v8", root_of("p1"));
    let bench = up(stub.with(begun())).await;
    let words = not_now(bench.servers.look(&wanted(None), WITHIN).await);
    assert!(words.contains("(s2)"), "{words}");
    not_now(bench.build(StandbyPolicy::Shutoff).await);
    assert_eq!(bench.fake.asked("POST /compute/v2.1/servers ").len(), 0);
    // Of another project it is certain that it is not.
    let stub = Stub::new().says("/volume/v3/p1/volumes/v8", root_of("p2"));
    let bench = up(stub.with(begun())).await;
    assert_eq!(bench.servers.look(&wanted(None), WITHIN).await, Ok(None));
}

/// The word of what it was built from was lost, and meanwhile another serves: it is neither taken for that one's, nor doubled.
#[tokio::test]
async fn hard_case_51_one_that_bears_another_mark_is_named_with_both() {
    for (other, bears) in [
        (Srv::new("s2", "SHUTOFF").marked("zone-b/s1"), "zone-b/s1"),
        (Srv::new("s2", "SHUTOFF"), "none"),
    ] {
        let bench = up(Stub::new().with(other)).await;
        let order = BuildOrder {
            wanted: wanted(Some("s2")),
            ..order(StandbyPolicy::Shutoff, json!({}))
        };
        let words = refused(bench.servers.build(&order, WITHIN).await);
        let said = format!("rekindle:standby-of is {bears} where zone-b/s9 is due");
        assert!(words.contains("s2") && words.contains(&said), "{words}");
        assert_eq!(bench.stub.servers().len(), 1);
        assert!(bench.net.ports().is_empty());
    }
}

#[tokio::test]
async fn hard_case_51_a_namesake_is_neither_taken_nor_doubled() {
    let bench = up(Stub::new().with(Srv::new("s1", "ACTIVE").named("web-1"))).await;
    let words = refused(bench.build(StandbyPolicy::Shutoff).await);
    assert!(
        words.contains("s1") && words.contains("nobody's stand-by"),
        "{words}"
    );
    assert_eq!(bench.stub.servers().len(), 1);
}
