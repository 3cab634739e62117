//! A server as it is found: read, held, started and taken away.

use super::*;
use rekindle_common::servers::PowerWish;

#[tokio::test]
async fn a_server_is_seen_by_its_id_or_by_its_mark() {
    let stub = Stub::new()
        .with(Srv::new("s1", "ACTIVE"))
        .with(ours("s2", "SHUTOFF"));
    let bench = up(stub).await;
    let seen = bench
        .servers
        .look(&wanted(Some("s1")), WITHIN)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (seen.id.as_str(), seen.state, seen.held),
        ("s1", ServerState::Running, false)
    );
    // One that was built again, and the word of it lost.
    for id in [None, Some("gone")] {
        let seen = bench
            .servers
            .look(&wanted(id), WITHIN)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((seen.id.as_str(), seen.state), ("s2", ServerState::Stopped));
    }
    let nobody = Wanted {
        counterpart: None,
        ..wanted(Some("gone"))
    };
    assert_eq!(bench.servers.look(&nobody, WITHIN).await, Ok(None));
    let bad = Wanted {
        counterpart: Some("zone-b".to_owned()),
        ..wanted(None)
    };
    refused(bench.servers.look(&bad, WITHIN).await);
}

/// Side by side, as a level's are, they share what is listed.
#[tokio::test]
async fn many_that_are_looked_for_by_their_marks_are_few_lists_of_the_cloud() {
    const N: usize = 40;
    let mut stub = Stub::new();
    for n in 0..N {
        let server = Srv::new(&format!("s{n}"), "SHUTOFF").marked(&format!("zone-b/o{n}"));
        stub = stub.with(server.on("v8"));
    }
    let bench = up(stub).await;
    let looks = (0..N).map(|n| {
        let wanted = Wanted {
            counterpart: Some(format!("zone-b/o{n}")),
            ..wanted(None)
        };
        let servers = &bench.servers;
        async move { servers.look(&wanted, WITHIN).await }
    });
    for (n, seen) in futures::future::join_all(looks)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(seen.unwrap().unwrap().id, format!("s{n}"));
    }
    let asked = bench.fake.asked("all_tenants=1");
    let lists = asked.len();
    assert!((1..=4).contains(&lists), "{lists} requests for {N} servers");
}

/// With a `reclaim_instance_interval` Nova keeps for a time what its users deleted.
#[tokio::test]
async fn hard_case_55_what_is_deleted_softly_is_not_there() {
    let stub = Stub::new()
        .with(Srv::new("s1", "SOFT_DELETED"))
        .with(ours("s2", "SOFT_DELETED"));
    let bench = up(stub).await;
    for id in [Some("s1"), Some("s2"), None] {
        let some = wanted(id);
        assert_eq!(bench.servers.look(&some, WITHIN).await, Ok(None), "{id:?}");
        let held = bench.servers.hold(&some, "it moves", WITHIN).await;
        assert_eq!(held, Ok(None), "{id:?}");
        assert_eq!(bench.servers.record(&some, WITHIN).await, Ok(None));
    }
    assert!(
        bench.fake.asked("POST /compute").is_empty(),
        "it was ordered"
    );
    // What we built and began to remove is removed to its end: its volumes are its until then.
    bench
        .servers
        .remove(&wanted(Some("s2")), WITHIN)
        .await
        .unwrap();
    let left: Vec<String> = bench.stub.servers().into_iter().map(|s| s.id).collect();
    assert_eq!(left, ["s1"]);
}

#[tokio::test]
async fn hard_case_53_a_nova_that_hangs_leaves_it_unknown_and_in_time() {
    let stub = Stub::new().with(Srv::new("s1", "ACTIVE")).fault(
        "/servers",
        1000,
        Fault::Instead(Say::Silence),
    );
    let bench = up(stub).await;
    let begun = std::time::Instant::now();
    let short = Span::millis(300);
    let (some, order) = (wanted(Some("s1")), order(StandbyPolicy::Shutoff, json!({})));
    not_now(bench.servers.look(&some, short).await);
    not_now(bench.servers.hold(&some, "it came back", short).await);
    not_now(bench.servers.start(&some, short).await);
    not_now(bench.servers.remove(&some, short).await);
    not_now(bench.servers.record(&some, short).await);
    not_now(bench.servers.build(&order, short).await);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        bench.fake.asked("POST /network").is_empty(),
        "ports were made for a server of which nothing is known"
    );
}

#[tokio::test]
async fn it_is_held_and_started_again() {
    let bench = up(Stub::new().with(Srv::new("s1", "ACTIVE"))).await;
    let held = bench
        .servers
        .hold(&wanted(Some("s1")), "its zone came back", WITHIN)
        .await
        .unwrap()
        .unwrap();
    assert!(held.held && held.state == ServerState::Stopped, "{held:?}");
    let lock = bench.stub.servers()[0].lock.clone().unwrap();
    assert!(lock.starts_with("rekindle: its zone came back"), "{lock}");
    let started = bench
        .servers
        .start(&wanted(Some("s1")), WITHIN)
        .await
        .unwrap();
    assert!(
        !started.held && started.state == ServerState::Running,
        "{started:?}"
    );
    // What is not there needs no holding, and cannot be started.
    let nobody = Wanted {
        counterpart: None,
        ..wanted(Some("gone"))
    };
    assert_eq!(bench.servers.hold(&nobody, "x", WITHIN).await, Ok(None));
    let words = refused(bench.servers.start(&nobody, WITHIN).await);
    assert!(
        words.contains("web-1 of group shop is not there"),
        "{words}"
    );
}

#[tokio::test]
async fn what_we_built_goes_with_its_ports_and_nothing_else_does() {
    let bench = up(Stub::new().with(Srv::new("s1", "ACTIVE"))).await;
    // A user's server, whatever id we are given.
    let words = refused(bench.servers.remove(&wanted(Some("s1")), WITHIN).await);
    assert!(words.contains("left alone"), "{words}");
    bench.build(StandbyPolicy::Shutoff).await.unwrap();
    // Another server's port with our name on it, one of ours that something has, and another project's that bears all that ours do.
    let mark = "rekindle:shop/web-1/7";
    for (id, project, description, device) in [
        ("another", "p1", "somebody else's", ""),
        ("used", "p1", mark, "s1"),
        ("strange", "p2", mark, ""),
    ] {
        bench.net.0.lock().unwrap().push(json!({ "id": id, "project_id": project, "name": "rekindle-shop-web-1", "description": description, "network_id": "n1", "device_id": device, "status": "DOWN" }));
    }
    bench.servers.remove(&wanted(None), WITHIN).await.unwrap();
    let left: Vec<String> = bench.stub.servers().iter().map(|s| s.id.clone()).collect();
    assert_eq!(left, ["s1"]);
    let ports: Vec<String> = bench
        .net
        .ports()
        .iter()
        .map(|p| p["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ports, ["another", "used", "strange"]);
    // Again, and where it never was.
    bench.servers.remove(&wanted(None), WITHIN).await.unwrap();
    let words = refused(
        bench
            .servers
            .remove(
                &Wanted {
                    counterpart: None,
                    ..wanted(None)
                },
                WITHIN,
            )
            .await,
    );
    assert!(words.contains("left alone"), "{words}");
}

#[tokio::test]
async fn a_record_is_taken_with_names() {
    let mut server = Srv::new("s1", "ACTIVE").named("web-1");
    server.volumes = vec![("v1".to_owned(), true)];
    let bench = up(Stub::new().with(server)).await;
    bench.net.0.lock().unwrap().push(json!({
        "id": "port-9", "network_id": "n1", "mac_address": "fa:16:3e:00:00:09", "device_id": "s1", "status": "ACTIVE",
        "fixed_ips": [{ "subnet_id": "n1-4", "ip_address": "10.0.0.9" }], "security_groups": ["g1"],
    }));
    let some = Wanted {
        counterpart: None,
        ..wanted(Some("s1"))
    };
    let record = bench.servers.record(&some, WITHIN).await.unwrap().unwrap();
    assert_eq!(
        (
            record.name.as_str(),
            record.flavor.name.as_str(),
            record.power
        ),
        ("web-1", "small", PowerWish::Running)
    );
    assert_eq!(
        (
            record.disks[0].volume.id.as_str(),
            record.disks[0].delete_on_termination
        ),
        ("v1", true)
    );
    let port = &record.ports[0];
    assert_eq!(
        (
            port.network.as_str(),
            port.fixed_ips[0].subnet.as_deref(),
            port.security_groups.as_slice()
        ),
        ("front", Some("four"), &["web".to_owned()][..])
    );
    // Names are of the whole cloud, and are not read again for each server.
    bench.servers.record(&some, WITHIN).await.unwrap();
    assert_eq!(bench.fake.asked("GET /network/v2.0/networks").len(), 1);
    let nobody = Wanted {
        counterpart: None,
        ..wanted(Some("gone"))
    };
    assert_eq!(bench.servers.record(&nobody, WITHIN).await, Ok(None));
}
