//! The HTTP surface: real requests through the router and through a unix socket, each held against `openapi.yaml`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/cinder_calls.rs"]
mod cinder_calls;
#[path = "support/openapi.rs"]
mod openapi;

use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt;
use rekindle_common::{
    ErrorCode, Generation, GroupName, ImageSpec, PlanId, ZoneName,
    action::*,
    mode::ReplicationMode,
    plan::{PlanAtWork, PlanInSight, PlanKind},
};
use rekindle_driver::{
    actions::{Limits, Parts, Volumes},
    backend::{
        Backend, Op,
        memory::{Fabric, FabricConfig},
    },
    cinder::{self, Cinder, CinderLimits, Side},
    leases::FixedLeases,
    routes::{self, Ready},
    sidecar::Sidecar,
};
use rekindle_net::{
    Client, ClientLimits, Drained, ListenConfig, Orchestrators, SidecarClient, SocketOptions,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

fn fabric() -> Fabric {
    let zone = |n: &str| ZoneName::new(n).unwrap();
    let config = FabricConfig {
        poll: Duration::from_millis(10),
        first_sync: Duration::from_millis(20),
        replay_delay: Duration::from_millis(10),
        ..FabricConfig::default()
    };
    Fabric::new(zone("zone-a"), zone("zone-b"), config)
}

fn volumes(cluster: &rekindle_driver::backend::memory::Cluster) -> Volumes {
    volumes_on(cluster, Arc::default())
}

fn volumes_on(
    cluster: &rekindle_driver::backend::memory::Cluster,
    leases: Arc<FixedLeases>,
) -> Volumes {
    Volumes::new(Parts {
        zone: cluster.zone(),
        backend: Backend::Memory(cluster.clone()),
        state_pool: "volumes".to_owned(),
        leases,
        clock: cluster.clock(),
        limits: Limits {
            action: rekindle_common::duration::Span::secs(2),
            ..Limits::default()
        },
    })
}

struct Api {
    fabric: Fabric,
    leases: Arc<FixedLeases>,
    router: Router,
}

impl Api {
    fn new() -> Self {
        let fabric = fabric();
        let ready = Ready::default();
        ready.set(true);
        let leases = Arc::<FixedLeases>::default();
        Self {
            router: routes::api(volumes_on(&fabric.a(), leases.clone()), ready),
            leases,
            fabric,
        }
    }

    /// With Cinder's calls too; the other zone listens in that folder.
    async fn with_cinder(dir: &std::path::Path) -> Self {
        let mut api = Self::new();
        let at = ListenConfig::Unix {
            path: dir.join("b.sock"),
            options: SocketOptions {
                mode: 0o600,
                group: None,
            },
        };
        let there = volumes(&api.fabric.b());
        let mut sidecar = Sidecar::of(there, rekindle_net::Limits::default());
        sidecar.listen(&at).await.unwrap();
        let ready = sidecar.ready();
        ready.set(true);
        tokio::spawn(sidecar.run(CancellationToken::new()));
        let client = Client::unix(dir.join("b.sock"), ClientLimits::default());
        let peer = Side::other(api.fabric.b().zone(), client.into());
        let own = Side::own(volumes(&api.fabric.a()), ready);
        let cinder = Cinder::new(
            own,
            Some(("zone-b".to_owned(), peer)),
            Orchestrators::default(),
            CinderLimits::default(),
        );
        api.router = api.router.merge(cinder::routes::api(cinder));
        api
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        let sent = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = request.body(sent).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        openapi::check_answer(method, path, status, &kind, &bytes);
        (status, bytes.to_vec())
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        // What is taken is described, and the other way round.
        let described = openapi::request_fits(method, path, &body);
        let (status, bytes) = self.call(method, path, &body).await;
        if status == 200 {
            assert!(described, "{method} {path} took {body}");
        }
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

#[tokio::test]
async fn the_whole_surface_is_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let api = Api::with_cinder(dir.path()).await;
    for n in [0, 1, 2, 7] {
        let spec = ImageSpec::new("volumes", format!("volume-{n}")).unwrap();
        api.fabric.a().create_image(&spec, 1 << 30);
    }
    assert_eq!(api.call("GET", "/healthz", &Value::Null).await.0, 200);
    assert_eq!(api.call("GET", "/readyz", &Value::Null).await.0, 200);
    let lease = "/v1/groups/db/lease";
    let (status, group) = api.json("POST", lease, json!({"generation": 1})).await;
    assert_eq!((status, &group["lease"]["state"]), (200, &json!("held")));
    let actions = |n: u32| format!("/v1/volumes/volumes/volume-{n}/actions");
    for (n, mode) in [
        json!({"type": "replicate", "mode": "instant", "group": "db"}),
        json!({"type": "replicate", "mode": "once", "group": "db"}),
        json!({"type": "replicate", "mode": "periodic", "start": "2026-01-01T00:00:00Z", "interval": "15m", "group": "db"}),
    ]
    .into_iter()
    .enumerate()
    {
        let path = actions(u32::try_from(n).unwrap());
        let (status, outcome) = api.json("POST", &path, json!({"action": mode})).await;
        assert_eq!(status, 200, "{outcome}");
        assert_eq!(outcome["report"]["status"], "active - primary");
    }
    let record = json!({
        "version": 1, "name": "web-1", "zone": "zone-a", "flavor": { "name": "small" },
        "disks": [{ "volume": { "id": "0" }, "boot_index": 0, "delete_on_termination": false }], "ports": [], "security_groups": [],
        "config_drive": false, "locked": false, "power": "running", "taken_at": "2026-11-26T10:00:00Z", "source": { "type": "nova" },
    });
    for record in [record, Value::Null] {
        let order = json!({"action": {"type": "record_server", "record": record}});
        let (status, outcome) = api.json("POST", &actions(0), order).await;
        assert_eq!(
            (status, &outcome["effect"]),
            (200, &json!("done")),
            "{outcome}"
        );
    }
    let grant = "/v1/volumes/volumes/volume-0/standby-grant";
    let (status, granted) = api
        .json("POST", grant, json!({"within": "10m", "generation": 1}))
        .await;
    assert_eq!(status, 200, "{granted}");
    let (_, page) = api
        .json("GET", "/v1/volumes?group=db&limit=2", Value::Null)
        .await;
    assert_eq!(page["volumes"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let (_, rest) = api
        .json("GET", &format!("/v1/volumes?after={next}"), Value::Null)
        .await;
    assert_eq!(
        (rest["volumes"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );
    let (_, one) = api
        .json("GET", "/v1/volumes/volumes/volume-2", Value::Null)
        .await;
    assert_eq!(one["mode"]["interval"], "15m");
    let (_, zone) = api.json("GET", "/v1/zone", Value::Null).await;
    assert_eq!(zone["groups"][0]["volumes"]["active - primary"], 3);
    let (_, zone) = api.json("GET", "/v1/zone?parts=ceph", Value::Null).await;
    assert_eq!(zone["ceph"]["writable"], "yes");
    assert_eq!(zone["groups"], json!([]));
    let (_, metrics) = api.call("GET", "/metrics", &Value::Null).await;
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "rekindle_driver_primary{zone=\"zone-a\",pool=\"volumes\",image=\"volume-0\"} 1",
        "rekindle_driver_actions_total{zone=\"zone-a\",action=\"replicate\",code=\"ok\"} 3",
        "rekindle_driver_lease_left_seconds{zone=\"zone-a\",group=\"db\"}",
        "rekindle_driver_call_threads_lost",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    let item = |n: u32, action: Value| json!({"volume": format!("volumes/volume-{n}"), "order": {"action": action, "generation": 2}});
    let batch = json!({"items": [
        item(0, json!({"type": "demote"})),
        item(1, json!({"type": "promote", "promotion": "plain"})),
        item(9, json!({"type": "demote"})),
    ]});
    assert!(openapi::request_fits("POST", "/v1/batch", &batch));
    let (status, lines) = api.call("POST", "/v1/batch", &batch).await;
    assert_eq!(status, 200);
    assert_eq!(
        lines
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .count(),
        3
    );
    let (status, refused) = api.json("DELETE", lease, json!({"generation": 2})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("is_primary")));
    let (status, fenced) = api
        .json("POST", "/v1/groups/db/fence", json!({"generation": 2}))
        .await;
    assert_eq!((status, &fenced["clients"]), (200, &json!([])));
    let (status, _) = api.json("DELETE", lease, json!({"generation": 2})).await;
    assert_eq!(status, 200);
    let (status, _) = api
        .json("POST", "/v1/freeze", json!({"reason": "maintenance"}))
        .await;
    assert_eq!(status, 200);
    let order = json!({"action": {"type": "unreplicate"}});
    let (status, frozen) = api.json("POST", &actions(0), order).await;
    assert_eq!((status, &frozen["code"]), (423, &json!("frozen")));
    let outlook = "/v1/volumes/volumes/volume-0/outlook";
    let what = async || {
        let (status, outlook) = api.json("GET", outlook, Value::Null).await;
        assert_eq!(status, 200, "{outlook}");
        assert_eq!(outlook["report"]["volume"], "volumes/volume-0");
        let each = outlook["under_way"].as_array().unwrap().clone();
        let each = each.iter().map(|w| w["what"].as_str().unwrap().to_owned());
        each.collect::<Vec<_>>()
    };
    assert_eq!(what().await, ["frozen", "stand_by"]);
    let (status, _) = api.json("POST", "/v1/thaw", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(what().await, ["stand_by"]);
    let at_work = PlanAtWork {
        id: PlanId::new("p-1").unwrap(),
        kind: PlanKind::Move,
        from: ZoneName::new("zone-a").unwrap(),
        to: ZoneName::new("zone-b").unwrap(),
    };
    let db = GroupName::new("db").unwrap();
    for (plan, word) in [
        (PlanInSight::AtWork(at_work), "plan"),
        (PlanInSight::Unknown, "plan_unknown"),
    ] {
        api.leases.set_plan(&db, plan);
        assert_eq!(what().await, [word, "stand_by"]);
    }
    cinder_calls::all(&api).await;
    let left: Vec<_> = openapi::operations()
        .difference(&openapi::used())
        .cloned()
        .collect();
    assert_eq!(left, Vec::<String>::new(), "described and not tried");
}

#[tokio::test]
async fn bad_input_gets_a_code_and_the_field_at_fault() {
    let api = Api::new();
    let spec = ImageSpec::new("volumes", "volume-0").unwrap();
    api.fabric.a().create_image(&spec, 1 << 30);
    let path = "/v1/volumes/volumes/volume-0/actions";
    let periodic = |start: &str, interval: &str| json!({"action": {"type": "replicate", "mode": "periodic", "start": start, "interval": interval}});
    let start = "2026-01-01T00:00:00Z";
    for (body, status, code, field) in [
        (
            json!({"action": {"type": "explode"}}),
            400,
            "invalid_field",
            Some("action"),
        ),
        (
            json!({"action": {"type": "replicate", "mode": "daily"}}),
            400,
            "invalid_field",
            Some("action"),
        ),
        (
            periodic(start, "0s"),
            400,
            "invalid_field",
            Some("action.interval"),
        ),
        (
            periodic(start, "365d"),
            400,
            "invalid_field",
            Some("action.interval"),
        ),
        (
            periodic("noon", "15m"),
            400,
            "invalid_field",
            Some("action"),
        ),
        (
            json!({"action": {"type": "demote"}, "generation": -1}),
            400,
            "invalid_field",
            Some("generation"),
        ),
        (
            json!({"action": {"type": "demote"}, "force": true}),
            400,
            "invalid_field",
            Some("force"),
        ),
        (json!({"generation": 1}), 400, "invalid_field", None),
        (
            json!({"action": {"type": "demote"}}),
            409,
            "not_replicated",
            None,
        ),
    ] {
        let (got, answer) = api.json("POST", path, body.clone()).await;
        assert_eq!(
            (got, answer["code"].as_str()),
            (status, Some(code)),
            "{body}: {answer}"
        );
        if let Some(field) = field {
            let named = answer["field"].as_str().unwrap_or_default();
            assert!(named.starts_with(field), "{body}: {answer}");
        }
    }
    for (method, path, status, code) in [
        ("GET", "/v1/volumes/volumes/no-such", 404, "unknown_volume"),
        ("GET", "/v1/volumes/volumes/a%2Fb", 400, "invalid_field"),
        ("GET", "/v1/volumes?limit=0", 400, "invalid_field"),
        ("GET", "/v1/zone?parts=some", 400, "invalid_field"),
        ("GET", "/v1/volumes?limit=x", 400, "invalid_field"),
        ("GET", "/v1/volumes?colour=red", 400, "invalid_field"),
        ("GET", "/v1/volumes?after=nowhere", 400, "invalid_field"),
        ("GET", "/v2/zone", 404, "unknown_path"),
        ("DELETE", "/v1/zone", 405, "method_not_allowed"),
    ] {
        let (got, answer) = api.json(method, path, Value::Null).await;
        assert_eq!(
            (got, answer["code"].as_str()),
            (status, Some(code)),
            "{path}: {answer}"
        );
    }
    let (status, answer) = api
        .json(
            "POST",
            "/v1/groups/No%20Group/lease",
            json!({"generation": 1}),
        )
        .await;
    assert_eq!((status, answer["field"].as_str()), (400, Some("group")));
    for reason in [String::new(), "x".repeat(501)] {
        let (status, answer) = api
            .json("POST", "/v1/freeze", json!({"reason": reason}))
            .await;
        assert_eq!((status, answer["field"].as_str()), (400, Some("reason")));
    }
    for (items, field) in [
        (json!([]), "items"),
        (
            json!([{"volume": "nowhere", "order": {"action": {"type": "demote"}}}]),
            "items[0].volume",
        ),
    ] {
        let (status, answer) = api.json("POST", "/v1/batch", json!({"items": items})).await;
        assert_eq!(
            (status, answer["field"].as_str()),
            (400, Some(field)),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn until_it_is_ready_it_looks_and_does_not_act() {
    let fabric = fabric();
    let router = routes::api(volumes(&fabric.a()), Ready::default());
    let api = Api {
        fabric,
        leases: Arc::default(),
        router,
    };
    assert_eq!(api.call("GET", "/healthz", &Value::Null).await.0, 200);
    assert_eq!(api.call("GET", "/v1/zone", &Value::Null).await.0, 200);
    for (method, path, body) in [
        ("GET", "/readyz", Value::Null),
        (
            "POST",
            "/v1/volumes/volumes/v/actions",
            json!({"action": {"type": "demote"}}),
        ),
        ("POST", "/v1/groups/db/fence", json!({"generation": 1})),
    ] {
        let (status, answer) = api.json(method, path, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (503, &json!("unavailable")),
            "{path}"
        );
    }
}

fn order(action: VolumeAction, generation: u64) -> Order {
    Order {
        action,
        generation: Some(Generation(generation)),
    }
}

/// A whole sidecar on a unix socket.
struct Running {
    fabric: Fabric,
    client: SidecarClient,
    socket: std::path::PathBuf,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<Drained>,
    _dir: tempfile::TempDir,
}

async fn running() -> Running {
    let fabric = fabric();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("driver.sock");
    let limits = rekindle_net::Limits {
        drain_time: Duration::from_secs(5),
        ..rekindle_net::Limits::default()
    };
    let mut sidecar = Sidecar::of(volumes(&fabric.a()), limits);
    let at = ListenConfig::Unix {
        path: socket.clone(),
        options: SocketOptions::default(),
    };
    sidecar.listen(&at).await.unwrap();
    let (stop, ready) = (CancellationToken::new(), sidecar.ready());
    let run = tokio::spawn(sidecar.run(stop.clone()));
    while !ready.get() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Running {
        client: Client::unix(&socket, ClientLimits::default()).into(),
        fabric,
        socket,
        stop,
        run,
        _dir: dir,
    }
}

#[tokio::test]
async fn the_typed_client_and_the_sidecar_speak_the_same() {
    let s = running().await;
    let group = GroupName::new("db").unwrap();
    let spec = ImageSpec::new("volumes", "volume-0").unwrap();
    s.fabric.a().create_image(&spec, 1 << 30);
    s.client.healthy().await.unwrap();
    s.client.ready().await.unwrap();
    let taken = s.client.take_lease(&group, Generation(1)).await.unwrap();
    assert_eq!(taken.generation, Some(Generation(1)));
    let replicate = Order {
        action: VolumeAction::Replicate {
            mode: ReplicationMode::Instant,
            group: Some(group.clone()),
            leave_group: false,
            anew: false,
            cinder: None,
        },
        generation: None,
    };
    let outcome = s.client.act(&spec, &replicate).await.unwrap();
    assert_eq!(outcome.effect, Effect::Done);
    assert_eq!(s.client.volume(&spec).await.unwrap().volume, spec);
    assert_eq!(
        s.client.all_volumes(Some(&group), 10).await.unwrap().len(),
        1
    );
    assert_eq!(s.client.zone().await.unwrap().groups.len(), 1);
    let request = BatchRequest {
        items: vec![BatchItem {
            volume: spec.clone(),
            order: order(VolumeAction::Demote { token: None }, 2),
        }],
    };
    let mut lines = s.client.batch(&request).await.unwrap();
    let line = lines.next().await.unwrap().unwrap();
    assert!(matches!(line.result, BatchResult::Ok { .. }));
    let refused = s
        .client
        .act(&spec, &order(VolumeAction::Demote { token: None }, 1))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleGeneration);
    assert!(refused.request_id.is_some());
    s.client.fence(&group, Generation(2)).await.unwrap();
    s.client.freeze("maintenance").await.unwrap();
    s.client.thaw().await.unwrap();
    s.client.release_lease(&group, Generation(2)).await.unwrap();
    assert!(s.client.metrics().await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_body_that_is_too_large_or_cut_off_is_refused_and_the_sidecar_lives_on() {
    let s = running().await;
    let mut raw = tokio::net::UnixStream::connect(&s.socket).await.unwrap();
    let size = 100 << 20;
    let head = format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
    raw.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..100 {
        if raw.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = raw.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");

    let mut raw = tokio::net::UnixStream::connect(&s.socket).await.unwrap();
    let cut = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"items\": [";
    raw.write_all(cut).await.unwrap();
    raw.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = raw.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    // A client that is gone need not be answered.
    assert!(
        answer.is_empty() || answer.contains("malformed_body"),
        "{answer}"
    );
    s.client.healthy().await.unwrap();
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_leaves_the_socket_gone() {
    let s = running().await;
    let spec = ImageSpec::new("volumes", "volume-0").unwrap();
    s.fabric.a().create_image(&spec, 1);
    s.fabric.a().slow(Op::Enable, Duration::from_millis(700));
    let replicate = Order {
        action: VolumeAction::Replicate {
            mode: ReplicationMode::Instant,
            group: None,
            leave_group: false,
            anew: false,
            cinder: None,
        },
        generation: None,
    };
    let client = s.client.clone();
    let target = spec.clone();
    let acting = tokio::spawn(async move { client.act(&target, &replicate).await });
    while !s.fabric.a().calls().iter().any(|(op, _)| *op == Op::Enable) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    s.stop.cancel();
    assert_eq!(s.run.await.unwrap(), Drained::Clean);
    assert_eq!(acting.await.unwrap().unwrap().effect, Effect::Done);
    assert!(s.fabric.a().is_primary(&spec));
    assert!(!s.socket.exists());
}
