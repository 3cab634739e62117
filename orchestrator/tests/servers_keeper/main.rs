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
mod ending;
mod fake;
mod following;
mod half_built;
mod outside;
mod returned;
mod waiting;

use common::{Rig, eventually, group, image, policy, well, witness, zone_a, zone_b};
use fake::FakeCloud;
use jiff::Timestamp;
use rekindle_common::{
    ServerKey, ZoneName,
    action::{Effect, Order, VolumeAction},
    duration::Span,
    keys,
    mode::ReplicationMode,
    policy::GroupSpec,
    runbook::{Level, Runbook, RunbookServer, StandbyPolicy},
    schedule::Schedule,
    servers::{KeptServer, ServerRecord},
};
use rekindle_core::{
    catalogue::mapping::{Entry, Kind, Mapping},
    decision::Request,
    servers::Built,
};
use rekindle_orchestrator::{
    catalogue::volumes::{Mapped, VolumeFeed, VolumeMap},
    clock::Clock,
    coordination::{Coordinator, Lead, LeadError, Standing},
    servers::{
        control::ServerState,
        keeper::{ServersKeeper, ServersPart, ServersTiming},
    },
    wire::{GroupStatus, Run, ServerView},
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
