//! A group's volumes, moved by the plan of an orchestrator that does as the test says.

use super::*;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rekindle_common::{
    DemotionToken, Generation, GroupName, SiteName, lease::PrimaryRecord, plan::PlanRequest,
};
use serde_json::{Value, json};
use std::sync::{Mutex, OnceLock};

/// What the orchestrator does when it is asked for a plan.
#[derive(Debug, Clone)]
enum Will {
    /// Moves the group, and leaves out what is named.
    Move { but: Vec<ImageSpec> },
    /// Refuses.
    Refuse(&'static str),
    /// The plan fails in its first step.
    Unwind,
    /// The plan waits for a person.
    Stick,
}

/// An orchestrator that leads, on a socket.
#[derive(Debug)]
struct Fake {
    will: Mutex<Will>,
    /// A plan that somebody else began.
    active: Mutex<Option<&'static str>>,
    asked: Mutex<Vec<PlanRequest>>,
    zones: OnceLock<(Volumes, Volumes)>,
    volumes: OnceLock<Vec<ImageSpec>>,
    primary: Mutex<ZoneName>,
}

type On = State<Arc<Fake>>;
const PLAN: &str = "p1";

fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}
fn db() -> GroupName {
    GroupName::new("db").unwrap()
}

async fn leader() -> Json<Value> {
    Json(json!({"site": "witness", "leader": {"site": "witness", "instance": "1", "url": null}}))
}

async fn group(State(fake): On, Path(group): Path<String>) -> Response {
    if group != "db" {
        let e = ApiError::new(
            ErrorCode::UnknownGroup,
            format!("there is no group {group}"),
        );
        return (StatusCode::NOT_FOUND, Json(e)).into_response();
    }
    let primary = PrimaryRecord {
        zone: fake.primary.lock().unwrap().clone(),
        generation: Generation(1),
        since: rekindle_common::Timestamp::UNIX_EPOCH,
        plan: None,
    };
    let active = fake
        .active
        .lock()
        .unwrap()
        .map(|id| json!({"id": id, "text": "at work"}));
    Json(json!({"primary": primary, "active_plan": active})).into_response()
}

async fn plan(State(fake): On, Json(request): Json<PlanRequest>) -> Response {
    fake.asked.lock().unwrap().push(request);
    let will = fake.will.lock().unwrap().clone();
    if let Will::Refuse(why) = will {
        let e = ApiError::new(ErrorCode::Held, why);
        return (StatusCode::CONFLICT, Json(e)).into_response();
    }
    let begun = json!({"run": "begin", "plan": {"id": PLAN, "steps": []}});
    (StatusCode::ACCEPTED, Json(begun)).into_response()
}

async fn watch(State(fake): On, Path(plan): Path<String>) -> String {
    let failed = json!({"line": "record", "seq": 1, "record": {"at": "2026-01-01T00:00:00Z", "by": "witness",
        "event": {"event": "step_failed", "step": 0, "error": "the application did not stop", "left": "nothing"}}});
    let will = fake.will.lock().unwrap().clone();
    let last = match (plan.as_str(), will) {
        (PLAN, Will::Unwind) => json!({"line": "ended", "end": "unwound", "not_helped": []}),
        (PLAN, Will::Stick) => {
            json!({"line": "waiting", "state": {"state": "stuck", "step": 2, "undo": null, "error": "zone-b is frozen"}})
        }
        (_, Will::Move { but }) => {
            fake.carry_out(&but).await;
            let not_helped: Vec<_> = but
                .iter()
                .map(|v| json!({"volume": v, "why": "its copy was given up"}))
                .collect();
            json!({"line": "ended", "end": "partial", "not_helped": not_helped})
        }
        (_, Will::Refuse(_) | Will::Unwind | Will::Stick) => {
            json!({"line": "ended", "end": "succeeded", "not_helped": []})
        }
    };
    *fake.active.lock().unwrap() = None;
    format!(
        "{failed}\n{}\n{last}\n",
        json!({"line": "progress", "progress": {"step": 0}})
    )
}

impl Fake {
    async fn carry_out(&self, but: &[ImageSpec]) {
        let (a, b) = self.zones.get().unwrap();
        let token = DemotionToken::new("plan-1").unwrap();
        b.take_lease(&db(), Generation(2)).await.unwrap();
        let order = |action, generation| Order {
            action,
            generation: Some(Generation(generation)),
        };
        for v in self
            .volumes
            .get()
            .unwrap()
            .iter()
            .filter(|v| !but.contains(v))
        {
            let demote = VolumeAction::Demote {
                token: Some(token.clone()),
            };
            a.act(v, order(demote, 1)).await.unwrap();
            let promotion = Promotion::After {
                token: token.clone(),
            };
            let promote = VolumeAction::Promote { promotion };
            // It travels.
            let end = Instant::now() + Duration::from_secs(10);
            while b.act(v, order(promote.clone(), 2)).await.is_err() {
                assert!(Instant::now() < end, "{v} does not arrive");
                sleep(Duration::from_millis(20)).await;
            }
        }
        *self.primary.lock().unwrap() = zone("zone-b");
    }
}

/// Two volumes of group db and one of none, and the orchestrator that has the group.
struct Grouped {
    bench: Bench,
    fake: Arc<Fake>,
    volumes: Vec<CinderVolume>,
    _dir: tempfile::TempDir,
}

async fn grouped(will: Will) -> Grouped {
    let fake = Arc::new(Fake {
        will: Mutex::new(will),
        active: Mutex::new(None),
        asked: Mutex::new(Vec::new()),
        zones: OnceLock::new(),
        volumes: OnceLock::new(),
        primary: Mutex::new(zone("zone-a")),
    });
    let router = Router::new()
        .route("/v1/leader", get(leader))
        .route("/v1/groups/{group}", get(group))
        .route("/v1/groups/{group}/plans", post(plan))
        .route("/v1/plans/{plan}/watch", get(watch))
        .with_state(Arc::clone(&fake));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orchestrator.sock");
    let mut server = rekindle_net::Server::new(rekindle_net::Limits::default());
    let at = ListenConfig::Unix {
        path: path.clone(),
        options: SocketOptions {
            mode: 0o600,
            group: None,
        },
    };
    server.listen(&at, router).await.unwrap();
    tokio::spawn(server.run(CancellationToken::new()));
    let limits = ClientLimits::default();
    let known = [("zone-b", dir.path().join("nobody")), ("witness", path)];
    let known = known.map(|(site, at)| {
        let site = SiteName::new(site).unwrap();
        (site, Client::unix(at, limits).into())
    });
    let bench = bench_with(Orchestrators::new(known.into(), None)).await;
    bench.a.take_lease(&db(), Generation(1)).await.unwrap();
    let mut volumes = bench.replicated(2, &[("rekindle:group", "db")]).await;
    fake.volumes
        .set(volumes.iter().map(|v| v.image.clone()).collect())
        .unwrap();
    fake.zones.set((bench.a.clone(), bench.b.clone())).unwrap();
    volumes.extend(bench.replicated(1, &[]).await);
    Grouped {
        bench,
        fake,
        volumes,
        _dir: dir,
    }
}

impl Grouped {
    async fn away(&self) -> Vec<VolumeEnd> {
        let volumes = &self.volumes;
        let answer = self
            .bench
            .failover(None, Some(PEER), volumes)
            .await
            .unwrap();
        let lone = &answer.volumes[2];
        assert_eq!(
            lone.replication_status,
            ReplicationStatus::FailedOver,
            "the group decides nothing for others: {lone:?}"
        );
        answer.volumes
    }

    async fn refused(&self, code: ErrorCode, words: &[&str]) {
        for end in &self.away().await[..2] {
            let error = error_of(end);
            assert_eq!(error.code, code, "{error}");
            for word in words {
                assert!(error.message.contains(word), "{word}: {error}");
            }
            assert_eq!(end.replication_status, ReplicationStatus::FailoverError);
        }
        for v in &self.volumes[..2] {
            assert_eq!(self.bench.role(&self.bench.a, v).await, Role::Primary);
            assert_eq!(self.bench.role(&self.bench.b, v).await, Role::Secondary);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_groups_volumes_go_by_one_plan_and_one_that_it_left_out_says_so() {
    let g = grouped(Will::Move { but: vec![] }).await;
    let left_out = g.volumes[1].image.clone();
    *g.fake.will.lock().unwrap() = Will::Move {
        but: vec![left_out],
    };
    let ends = g.away().await;
    assert_eq!(
        ends[0].end,
        End::Ok {
            effect: Effect::Done
        }
    );
    assert_eq!(ends[0].status, Some(VolumeStatus::ActivePrimary));
    let error = error_of(&ends[1]);
    assert!(error.message.contains("its copy was given up"), "{error}");
    let asked = g.fake.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(
        serde_json::to_value(&asked[0]).unwrap(),
        json!({"request": {"request": "move", "to": "zone-b"}, "run": "begin"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_08_a_plan_that_is_at_work_is_waited_for_and_no_second_one_is_made() {
    let g = grouped(Will::Move { but: vec![] }).await;
    *g.fake.active.lock().unwrap() = Some("p0");
    for end in &g.away().await[..2] {
        assert_eq!(
            end.end,
            End::Ok {
                effect: Effect::Done
            }
        );
    }
    assert_eq!(g.fake.asked.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_orchestrator_refuses_is_each_volumes_reason() {
    let g = grouped(Will::Refuse("1 volumes are not in step: x")).await;
    g.refused(ErrorCode::Held, &["group db", "not in step"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_was_put_back_or_is_stuck_is_named_with_its_reason() {
    let words = [
        "plan p1 ended as put back",
        "the application did not stop",
        "`rekindle plan show p1`",
    ];
    grouped(Will::Unwind)
        .await
        .refused(ErrorCode::Held, &words)
        .await;
    let words = ["plan p1 waits for a person", "zone-b is frozen"];
    grouped(Will::Stick)
        .await
        .refused(ErrorCode::Held, &words)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_zones_group_is_asked_to_fail_over_and_never_forced() {
    let g = grouped(Will::Refuse(
        "the primary lease is still renewed by host in zone-a",
    ))
    .await;
    g.bench.fabric.a().kill();
    for end in &g.away().await[..2] {
        let error = error_of(end);
        assert!(error.message.contains("still renewed"), "{error}");
    }
    let asked = g.fake.asked.lock().unwrap().clone();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.request, rekindle_common::plan::Request::Failover);
    }
    for v in &g.volumes[..2] {
        assert_eq!(g.bench.role(&g.bench.b, v).await, Role::Secondary);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_orchestrator_a_groups_volumes_say_so_and_the_others_go_on() {
    let bench = bench().await;
    let mut volumes = bench.replicated(1, &[("rekindle:group", "db")]).await;
    volumes.extend(bench.replicated(1, &[]).await);
    let away = bench.failover(None, None, &volumes).await.unwrap();
    let error = error_of(&away.volumes[0]);
    let command = "rekindle move db --to zone-b";
    assert!(error.message.contains(command), "{error}");
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
    assert_eq!(bench.role(&bench.b, &volumes[1]).await, Role::Primary);

    let nobody = std::path::Path::new("/nonexistent/orchestrator.sock");
    let known = vec![(
        SiteName::new("witness").unwrap(),
        Client::unix(nobody, ClientLimits::default()).into(),
    )];
    let bench = bench_with(Orchestrators::new(known, None)).await;
    let mut volumes = bench.replicated(1, &[("rekindle:group", "db")]).await;
    volumes.extend(bench.replicated(1, &[]).await);
    let begun = Instant::now();
    let away = bench.failover(None, None, &volumes).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "in time");
    let error = error_of(&away.volumes[0]);
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    assert!(
        error
            .message
            .contains("no orchestrator was reached (witness"),
        "{error}"
    );
    assert_eq!(bench.role(&bench.a, &volumes[0]).await, Role::Primary);
    assert_eq!(bench.role(&bench.b, &volumes[1]).await, Role::Primary);
}

/// A type says all of how a volume is replicated: one without a group takes it out of its own, as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retype_to_a_type_without_a_group_leaves_the_group() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[("rekindle:group", "db")]).await;
    let group = async || bench.a.volume(&volumes[0].image).await.unwrap().group;
    let db: GroupName = "db".parse().unwrap();
    assert_eq!(group().await, Some(db.clone()));
    // By hand, without a word about the group, it stays; its type has the last word.
    let by_hand = VolumeAction::Replicate {
        mode: ReplicationMode::Instant,
        group: None,
        leave_group: false,
        anew: false,
        cinder: None,
    };
    bench.by_hand(&bench.a, &volumes[0], by_hand).await;
    assert_eq!(group().await, Some(db.clone()));
    for (pairs, is) in [(&[][..], None), (&[("rekindle:group", "db")][..], Some(db))] {
        let answer = bench.replicate(&volumes, pairs).await;
        assert_eq!(
            answer.volumes[0].replication_status,
            ReplicationStatus::Enabled,
            "{answer:?}"
        );
        assert_eq!(group().await, is);
    }
}
