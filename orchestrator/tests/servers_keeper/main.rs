//! The keeper of servers on two zones, etcd and a leader in this process: records are kept, stand-bys follow, and nothing is done where
//! something is unknown or somebody else is at work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

mod both_ours;
#[path = "../common/mod.rs"]
mod common;
mod daily;
mod fake;
mod half_built;
mod outside;
mod returned;

use common::{Rig, eventually, group, image, policy, well, witness, zone_a, zone_b};
use fake::{FakeCloud, Mode};
use jiff::Timestamp;
use rekindle_common::{
    ServerKey, ZoneName,
    action::{Effect, Order, VolumeAction},
    duration::Span,
    keys,
    lease::PrimaryRecord,
    mode::ReplicationMode,
    policy::GroupSpec,
    runbook::{Level, Runbook, RunbookServer, StandbyPolicy},
    schedule::Schedule,
    servers::{Build, KeptServer, ServerRecord},
};
use rekindle_core::{
    catalogue::mapping::{Entry, Kind, Mapping},
    decision::Request,
    servers::Built,
};
use rekindle_orchestrator::{
    build,
    catalogue::volumes::{Mapped, VolumeFeed, VolumeMap},
    client::OrchestratorClient,
    clock::Clock,
    coordination::{Coordinator, Lead, LeadError, Standing},
    servers::{
        control::ServerState,
        keeper::{ServersKeeper, ServersPart, ServersTiming},
    },
    wire::{GroupStatus, Maintenance, Run, ServerView},
    zone::Zone,
};
use rekindle_store::{Election, LeaderRecord, Op, Store, Txn};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TIMING: ServersTiming = ServersTiming {
    every: Duration::from_secs(30),
    deadline: Span::secs(2),
    build: Span::secs(60),
    at_once: 2,
    watch: Duration::from_millis(200),
    again: Duration::from_secs(30),
    longest: Duration::from_secs(120),
    fresh: Span::secs(1_000_000),
};

/// A group of three volumes with one server on the first two, and a keeper that is driven by hand.
struct Play {
    rig: Rig,
    a: Arc<FakeCloud>,
    b: Arc<FakeCloud>,
    feed: VolumeFeed,
    keeper: ServersKeeper,
    hand: Hand,
    store: Store,
    clock: Clock,
}

/// A leader that does nothing by itself.
struct Hand {
    lead: Lead,
    cancel: CancellationToken,
    coordinator: JoinHandle<()>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.coordinator.abort();
    }
}

impl Hand {
    async fn new(store: &Store) -> Self {
        let me = LeaderRecord {
            site: witness(),
            instance: "by-hand".to_owned(),
        };
        let every = Duration::from_secs(1);
        let election = Election::new(store.clone(), me, Default::default());
        let coordinator = Coordinator::new(election, store.clone(), every, every);
        let mut standing = coordinator.standing();
        let cancel = CancellationToken::new();
        let coordinator = tokio::spawn(coordinator.run(cancel.clone()));
        let leads = standing
            .wait_for(|s| matches!(s, Standing::Leader { .. }))
            .await
            .unwrap()
            .clone();
        let Standing::Leader { lead } = leads else {
            unreachable!()
        };
        Self {
            lead,
            cancel,
            coordinator,
        }
    }
}

fn key() -> ServerKey {
    ServerKey::new("web-1").unwrap()
}

fn runbook(standby: StandbyPolicy) -> Runbook {
    let server = RunbookServer {
        key: key(),
        server: Some("s1".to_owned()),
        standby: None,
        after: Vec::new(),
        wait: Vec::new(),
        within: Span::secs(600),
    };
    Runbook {
        standby,
        levels: vec![Level {
            pause: None,
            servers: vec![server],
        }],
        ..Runbook::default()
    }
}

fn record(more: Value) -> ServerRecord {
    let disk = |n: u32| json!({ "volume": { "id": format!("vol-{n}-zone-a") }, "delete_on_termination": false });
    let mut root = disk(0);
    root["boot_index"] = json!(0);
    let mut all = json!({
        "version": 1, "name": "web-1", "zone": "zone-a", "flavor": { "name": "small" }, "disks": [root, disk(1)], "ports": [], "security_groups": [],
        "config_drive": false, "locked": false, "power": "running", "taken_at": "2026-11-26T10:00:00Z", "source": { "type": "nova" },
    });
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn mapping() -> Mapping {
    let entry =
        |a: &str, b: &str| Entry::from([(zone_a(), a.to_owned()), (zone_b(), b.to_owned())]);
    Mapping {
        same_name: [Kind::Networks].into(),
        flavors: vec![entry("small", "s1.small"), entry("large", "s1.large")],
        ..Mapping::default()
    }
}

/// What the catalogue says: each image is a volume of both zones.
fn volumes(at: Timestamp) -> VolumeMap {
    let of = |zone: &ZoneName| {
        let one = |n: usize| {
            (
                format!("vol-{n}-{zone}"),
                Mapped {
                    image: image(n),
                    peer: None,
                },
            )
        };
        (zone.clone(), (0..3).map(one).collect())
    };
    VolumeMap {
        at,
        zones: BTreeMap::from([of(&zone_a()), of(&zone_b())]),
    }
}

impl Play {
    async fn with(standby: StandbyPolicy) -> Self {
        let schedule = Schedule {
            start: Timestamp::UNIX_EPOCH,
            interval: Span::secs(10),
        };
        Self::on(standby, ReplicationMode::Periodic(schedule)).await
    }

    async fn on(standby: StandbyPolicy, mode: ReplicationMode) -> Self {
        let mut rig = Rig::with_mode(3, policy(), mode).await;
        for s in rig.world.sites() {
            rig.world.stop_orchestrator(&s).await;
        }
        let parts = rig.world.parts(&witness());
        let (a, b) = (
            Arc::new(FakeCloud::new(zone_a())),
            Arc::new(FakeCloud::new(zone_b())),
        );
        a.put("s1", record(json!({})));
        let feed = VolumeFeed::default();
        let clock = parts.clock;
        feed.tell(Some(volumes(clock.now())));
        let part = ServersPart {
            servers: BTreeMap::from([(zone_a(), a.clone() as _), (zone_b(), b.clone() as _)]),
            mapping: mapping(),
            volumes: feed.clone(),
            timing: TIMING,
        };
        let zones = parts
            .zones
            .into_iter()
            .map(|z| Arc::new(Zone::new(z.name, z.sidecar)))
            .collect();
        let keeper = ServersKeeper::new(witness(), part, zones, clock, Arc::default());
        let store = Store::from(rig.world.store(witness().as_str()));
        let hand = Hand::new(&store).await;
        let play = Self {
            rig,
            a,
            b,
            feed,
            keeper,
            hand,
            store,
            clock,
        };
        // These orchestrators have no Nova: they would refuse it.
        play.runbook(runbook(standby)).await;
        play
    }

    async fn new() -> Self {
        Self::with(StandbyPolicy::Shutoff).await
    }

    /// With its stand-by built.
    async fn settled() -> Self {
        let play = Self::new().await;
        play.round().await;
        assert_eq!(play.b.orders(), ["build built-1"]);
        play
    }

    async fn round(&self) -> Vec<ServerView> {
        self.keeper.round(&self.hand.lead).await.unwrap();
        self.keeper.shown().unwrap().servers.clone()
    }

    /// The one server's trouble after a round.
    async fn trouble(&self) -> String {
        self.round().await[0].trouble.clone().unwrap_or_default()
    }

    async fn kept(&self) -> Option<KeptServer> {
        let kv = self
            .store
            .get(&keys::kept_server(&group(), &key()))
            .await
            .unwrap();
        kv.map(|kv| kv.json().unwrap())
    }

    async fn built(&self) -> Option<Built> {
        self.built_in(&zone_b()).await
    }

    async fn built_in(&self, zone: &ZoneName) -> Option<Built> {
        let at = keys::built_standby(&group(), &key(), zone);
        let kv = self.store.get(&at).await.unwrap();
        kv.map(|kv| kv.json().unwrap())
    }

    async fn put<T: serde::Serialize>(&self, key: String, value: &T) {
        let put = Txn::new().then(Op::put_json(key, value, None).unwrap());
        self.store.txn(put).await.unwrap();
    }

    async fn delete(&self, key: String) {
        self.store
            .txn(Txn::new().then(Op::Delete { key }))
            .await
            .unwrap();
    }

    async fn runbook(&self, runbook: Runbook) {
        let spec = GroupSpec {
            runbook,
            ..self.rig.spec(policy())
        };
        self.put(keys::group_spec(&group()), &spec).await;
    }

    /// The group is primary in the other zone now, moved by its orchestrators; nobody has told its servers.
    async fn moved(&mut self) {
        self.moved_to(&zone_b()).await;
    }

    async fn moved_to(&mut self, zone: &ZoneName) {
        self.hand.cancel.cancel();
        self.runbook(Runbook::default()).await;
        for s in self.rig.world.sites() {
            self.rig.world.start_orchestrator(&s);
        }
        eventually("the move begins", || async {
            let to = Request::Move { to: zone.clone() };
            self.rig
                .client()
                .plan_for(&group(), to, Run::Begin)
                .await
                .ok()
        })
        .await;
        let there = |g: &GroupStatus| well(g, 3) && g.primary.as_ref().unwrap().zone == *zone;
        self.rig.until("it has moved", there).await;
        for s in self.rig.world.sites() {
            self.rig.world.stop_orchestrator(&s).await;
        }
        self.runbook(runbook(StandbyPolicy::Shutoff)).await;
        self.hand = Hand::new(&self.store).await;
    }

    /// Whether the record stands with the root volume in that zone: writing it again changes nothing.
    async fn is_described(&self, zone: &ZoneName, record: Option<&ServerRecord>) -> bool {
        let action = VolumeAction::RecordServer {
            record: record.cloned().map(Box::new),
        };
        let order = Order {
            action,
            generation: None,
        };
        let sidecar = self.rig.world.volumes(zone).unwrap();
        sidecar.act(&image(0), order).await.unwrap().effect == Effect::AlreadySo
    }
}

#[tokio::test(start_paused = true)]
async fn on_copies_that_are_mirrored_through_their_journal_the_record_stands_by() {
    let play = Play::on(StandbyPolicy::Shutoff, ReplicationMode::Instant).await;
    let trouble = play.trouble().await;
    assert!(trouble.contains("built from its record"), "{trouble}");
    assert_eq!(play.b.orders(), [""; 0]);
    assert!(play.kept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_is_kept_and_its_stand_by_is_built_and_then_left_alone() {
    let play = Play::new().await;
    let shown = play.round().await;
    assert_eq!(shown[0].trouble, None, "{shown:?}");
    let kept = play.kept().await.unwrap();
    assert_eq!(
        kept.record,
        ServerRecord {
            id: Some("s1".to_owned()),
            ..record(json!({}))
        }
    );
    assert_eq!(kept.instances[&zone_a()].build, Build::Users);
    assert_eq!(
        (
            kept.instances[&zone_b()].id.as_str(),
            kept.instances[&zone_b()].build
        ),
        (
            "built-1",
            Build::Standby {
                policy: StandbyPolicy::Shutoff
            }
        )
    );
    let standby = play.b.servers().remove(0);
    assert_eq!(standby.mark.as_deref(), Some("zone-a/s1"));
    assert_eq!(standby.record.flavor.name, "s1.small");
    let volumes: Vec<&str> = standby
        .record
        .disks
        .iter()
        .map(|d| d.volume.id.as_str())
        .collect();
    assert_eq!(volumes, ["vol-0-zone-b", "vol-1-zone-b"]);
    assert!(play.is_described(&zone_a(), Some(&kept.record)).await);
    assert_eq!(play.built().await.unwrap().id, "built-1");

    assert_eq!(play.b.orders(), ["build built-1"]);
    let before = play
        .store
        .get(&keys::kept_server(&group(), &key()))
        .await
        .unwrap();
    let shown = play.round().await;
    assert_eq!(
        (shown[0].trouble.as_deref(), shown[0].serving.as_deref()),
        (None, Some("running"))
    );
    assert_eq!(
        play.store
            .get(&keys::kept_server(&group(), &key()))
            .await
            .unwrap(),
        before,
        "it was written again for nothing"
    );
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn each_policy_has_its_own_stand_by_and_a_change_is_followed() {
    for policy in [StandbyPolicy::Record, StandbyPolicy::None] {
        let play = Play::with(policy).await;
        assert_eq!(play.trouble().await, "");
        assert!(
            play.kept().await.is_some() && play.b.orders().is_empty(),
            "{policy:?}"
        );
    }
    let play = Play::with(StandbyPolicy::Shelved).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["build built-1 shelved"]);
    play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
    play.runbook(runbook(StandbyPolicy::Record)).await;
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-2"]);
    play.round().await;
    assert_eq!(
        play.kept()
            .await
            .unwrap()
            .instances
            .keys()
            .collect::<Vec<_>>(),
        [&zone_a()]
    );
    assert_eq!(play.built().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_changes_on_the_server_changes_its_stand_by() {
    let play = Play::settled().await;
    play.a.change("s1", |s| {
        s.record = ServerRecord {
            id: Some("s1".to_owned()),
            ..record(json!({ "flavor": { "name": "large" } }))
        }
    });
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["remove built-1", "build built-2"]);
    assert_eq!(play.b.servers()[0].record.flavor.name, "s1.large");
    // A volume more.
    play.a.change("s1", |s| {
        let mut more = s.record.disks[1].clone();
        more.volume.id = "vol-2-zone-a".to_owned();
        s.record.disks.push(more);
    });
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-2", "build built-3"]);
    assert_eq!(play.b.servers()[0].record.disks.len(), 3);
    let kept = play.kept().await.unwrap();
    assert!(play.is_described(&zone_a(), Some(&kept.record)).await);
    // A gap is said, and what stands by goes on standing by.
    play.a
        .change("s1", |s| s.record.flavor.name = "huge".to_owned());
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("flavor.name") && trouble.contains("huge"),
        "{trouble}"
    );
    assert_eq!(play.b.orders(), Vec::<String>::new());
    assert_eq!(play.kept().await.unwrap().trouble, Some(trouble));
}

#[tokio::test(start_paused = true)]
async fn hard_case_53_a_nova_that_hangs_changes_nothing() {
    let play = Play::settled().await;
    for (cloud, word) in [
        (&play.a, "cannot be followed now"),
        (&play.b, "cannot be seen now"),
    ] {
        cloud.mode(Mode::Hangs);
        let trouble = play.trouble().await;
        assert!(trouble.contains(word), "{trouble}");
        assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
        cloud.mode(Mode::Well);
    }
    assert_eq!(play.kept().await.unwrap().instances.len(), 2);
    assert_eq!(play.trouble().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_stand_by_is_not_built_where_its_copies_are_not_seen() {
    let mut play = Play::new().await;
    play.rig.world.kill_sidecar(&zone_b());
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("its volumes in zone-b cannot be seen now"),
        "{trouble}"
    );
    assert_eq!(play.b.orders(), Vec::<String>::new());
    play.rig.world.start_sidecar(&zone_b());
    eventually("it is built", || async {
        play.round().await[0].trouble.is_none().then_some(())
    })
    .await;

    // Nor without the catalogue, or where that is too old.
    let play = Play::new().await;
    play.feed.tell(None);
    let trouble = play.trouble().await;
    assert!(trouble.contains("not known now what volume"), "{trouble}");
    play.feed.tell(Some(VolumeMap {
        at: Timestamp::UNIX_EPOCH,
        ..volumes(play.clock.now())
    }));
    assert!(play.trouble().await.contains("not known now what volume"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_zone_takes_no_stand_by() {
    let play = Play::new().await;
    play.rig
        .world
        .volumes(&zone_b())
        .unwrap()
        .freeze("disk swap".to_owned())
        .await;
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("may not be attached in zone-b") && trouble.contains("disk swap"),
        "{trouble}"
    );
    assert_eq!(play.b.orders(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_while_a_plan_is_at_work_or_in_maintenance() {
    let play = Play::new().await;
    play.put(keys::group_active_plan(&group()), &"p-1").await;
    assert!(play.trouble().await.contains("plan p-1 is at work"));
    play.delete(keys::group_active_plan(&group())).await;
    play.put(
        keys::MAINTENANCE.to_owned(),
        &Maintenance {
            reason: "new switches".to_owned(),
        },
    )
    .await;
    assert!(play.trouble().await.contains("maintenance"));
    play.delete(keys::MAINTENANCE.to_owned()).await;
    let primary = play
        .store
        .get(&keys::group_primary(&group()))
        .await
        .unwrap()
        .unwrap();
    play.delete(keys::group_primary(&group())).await;
    assert!(play.trouble().await.contains("primary is not recorded"));
    assert_eq!(
        (play.a.orders(), play.b.orders(), play.kept().await),
        (vec![], vec![], None)
    );
    play.put(
        keys::group_primary(&group()),
        &primary.json::<PrimaryRecord>().unwrap(),
    )
    .await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["build built-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_is_given_up_the_moment_a_plan_begins() {
    let play = Play::new().await;
    play.b.mode(Mode::BuildsHang);
    let begun = tokio::time::Instant::now();
    let plan = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        play.put(keys::group_active_plan(&group()), &"p-1").await;
    };
    let (trouble, ()) = tokio::join!(play.trouble(), plan);
    assert!(
        trouble.contains("somebody else works on the group now"),
        "{trouble}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    // Its record was kept before; that a build was begun is found by its mark.
    assert_eq!(play.kept().await.unwrap().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_is_lost_ends_it_within_a_build() {
    let play = Play::new().await;
    play.b.mode(Mode::BuildsHang);
    let resign = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        play.hand.cancel.cancel();
    };
    let (end, ()) = tokio::join!(play.keeper.round(&play.hand.lead), resign);
    assert!(matches!(end, Err(LeadError::Lost)), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn hard_case_52_a_quota_is_said_and_tried_again_less_and_less_often() {
    let play = Play::new().await;
    play.b
        .mode(Mode::BuildsFail("zone-b: over quota: instances".to_owned()));
    assert!(play.trouble().await.contains("over quota"));
    let before = play.trouble().await;
    assert!(
        before.contains("over quota") && before.contains("tried again"),
        "{before}"
    );
    play.b.mode(Mode::Well);
    assert!(play.trouble().await.contains("over quota"), "it waits");
    assert_eq!(play.b.orders(), Vec::<String>::new());
    tokio::time::sleep(TIMING.again).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["build built-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_built_and_not_written_down_is_adopted() {
    let play = Play::settled().await;
    for key in [
        keys::kept_server(&group(), &key()),
        keys::built_standby(&group(), &key(), &zone_b()),
    ] {
        play.delete(key).await;
    }
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["adopt built-1"]);
    assert_eq!(
        play.kept().await.unwrap().instances[&zone_b()].id,
        "built-1"
    );
    assert_eq!(play.b.servers().len(), 1);
}

/// Somebody's server with our mark, which was once taken for ours: it is forgotten, and nothing is done to it.
#[tokio::test(start_paused = true)]
async fn hard_case_51_what_bears_the_mark_on_other_volumes_is_not_taken_away() {
    let play = Play::settled().await;
    play.b.change("built-1", |s| {
        s.record.disks[0].volume.id = "vol-9-zone-b".to_owned();
    });
    play.runbook(runbook(StandbyPolicy::Record)).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), Vec::<String>::new());
    assert!(!play.kept().await.unwrap().instances.contains_key(&zone_b()));
    // Nor is it in the way of the one that is wanted.
    play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    assert_eq!(play.trouble().await, "");
    assert_eq!(play.b.orders(), ["build built-2"]);
    assert_eq!(play.b.servers().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn hypervisors_that_start_a_stand_by_do_not_leave_it_running() {
    let play = Play::settled().await;
    play.b.change("built-1", |s| {
        (s.state, s.held) = (ServerState::Running, false)
    });
    play.round().await;
    assert_eq!(play.b.orders(), ["hold built-1"]);
    // Its users' own in the primary zone is never touched, whatever it does.
    play.a.change("s1", |s| s.state = ServerState::Failed);
    play.round().await;
    assert_eq!(play.a.orders(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_its_user_deleted_is_said_and_nothing_else_is_lost() {
    let play = Play::settled().await;
    play.a.remove_by_hand("s1");
    assert!(play.trouble().await.contains("take it out of the runbook"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
    assert!(play.kept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn protection_that_ends_takes_what_we_built_and_what_was_kept() {
    let play = Play::settled().await;
    play.runbook(Runbook::default()).await;
    // While a plan is at work it waits.
    play.put(keys::group_active_plan(&group()), &"p-1").await;
    assert!(play.trouble().await.contains("a plan is at work"));
    play.delete(keys::group_active_plan(&group())).await;
    // And while its stand-by serves somebody.
    play.b.change("built-1", |s| s.state = ServerState::Running);
    assert!(play.trouble().await.contains("is not at rest"));
    assert_eq!(play.b.orders(), Vec::<String>::new());
    play.b.change("built-1", |s| s.state = ServerState::Stopped);
    play.round().await;
    assert_eq!(play.b.orders(), ["remove built-1"]);
    assert_eq!(play.round().await, []);
    assert_eq!((play.kept().await, play.built().await), (None, None));
    assert!(
        play.is_described(&zone_a(), None).await,
        "its record is still with its volume"
    );
    assert_eq!(play.a.servers().len(), 1);
    // A group that cannot be read is no group that is gone.
    let play = Play::settled().await;
    play.put(keys::group_spec(&group()), &"rubbish").await;
    assert!(play.trouble().await.contains("cannot be read"));
    assert_eq!(
        (play.b.orders(), play.kept().await.is_some()),
        (vec![], true)
    );
}

/// With its group go its stand-by, the record with its volume, and at last what is kept of it.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_deleted_leaves_nothing_of_its_servers() {
    let play = Play::settled().await;
    play.delete(keys::group_spec(&group())).await;
    let shown = play.round().await;
    assert!(
        shown[0].trouble.as_ref().unwrap().contains("was removed"),
        "{shown:?}"
    );
    assert_eq!(play.b.orders(), ["remove built-1"]);
    assert_eq!(play.round().await, []);
    assert_eq!((play.kept().await, play.built().await), (None, None));
    assert!(play.is_described(&zone_a(), None).await);
    assert_eq!(play.a.servers().len(), 1, "its users' own");
}

#[tokio::test(start_paused = true)]
async fn after_a_failover_it_is_the_other_way_round_and_nothing_is_renamed() {
    let mut play = Play::settled().await;
    play.moved().await;
    play.b.change("built-1", |s| {
        (s.state, s.held) = (ServerState::Running, false)
    });
    eventually("zone-a has copies", || async {
        let trouble = play.round().await[0].trouble.clone();
        trouble.is_none().then_some(())
    })
    .await;
    let kept = play.kept().await.unwrap();
    assert_eq!(
        (kept.record.zone.clone(), kept.record.id.as_deref()),
        (zone_b(), Some("built-1"))
    );
    assert_eq!(kept.record.flavor.name, "s1.small");
    assert_eq!(kept.instances[&zone_a()].build, Build::Users);
    assert_eq!(
        kept.instances[&zone_b()].build,
        Build::Standby {
            policy: StandbyPolicy::Shutoff
        }
    );
    assert_eq!(
        play.b.orders(),
        Vec::<String>::new(),
        "what serves was touched"
    );
    // Its users' own stands by now: held, and never taken away.
    assert_eq!(play.a.orders(), ["hold s1"]);
    assert!(play.is_described(&zone_b(), Some(&kept.record)).await);
    // A volume that was attached since is named.
    play.b.change("built-1", |s| {
        let mut more = s.record.disks[1].clone();
        more.volume.id = "vol-2-zone-b".to_owned();
        s.record.disks.push(more);
    });
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("vol-2-zone-a") && trouble.contains("attach"),
        "{trouble}"
    );
    assert_eq!((play.a.orders(), play.b.orders()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn it_runs_beside_a_term_and_is_shown() {
    let mut rig = Rig::with(3, policy()).await;
    for s in rig.world.sites() {
        rig.world.stop_orchestrator(&s).await;
    }
    let orchestrator = build(rig.world.parts(&witness()));
    let client = OrchestratorClient::new(vec![orchestrator.endpoint()]);
    tokio::spawn(orchestrator.run(CancellationToken::new()));
    let e = eventually("it leads", || async {
        client
            .servers()
            .await
            .err()
            .filter(|e| e.code == rekindle_common::ErrorCode::Unsupported)
    })
    .await;
    assert!(e.message.contains("[catalogue]"), "{e}");
}
