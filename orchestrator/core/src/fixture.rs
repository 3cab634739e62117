//! A two-zone world for tests: healthy at first, then changed by verbs.

use crate::observation::{Observation, Signal, SignalKind, SiteObservations};
use crate::skew::Skew;
use crate::snapshot::{
    Approval, Approved, FailoverMemory, GroupState, GroupView, LastLease, LeaseSight, Snapshot,
};
use jiff::Timestamp;
use rekindle_common::{
    Generation, GroupName, ImageSpec, PlanId, SiteName, ZoneName,
    duration::Span,
    lease::{LeaseRecord, LeaseView, PrimaryRecord},
    mode::ReplicationMode,
    policy::{FailoverMode, GroupPolicy, GroupSpec, IsolationResponse},
    runbook::Runbook,
    status::VolumeStatus,
    volume::{Known, Lag, LastSync, Role, VolumeReport},
    zone::{CephReport, GroupReport, MirrorReport, ZoneReport},
};
use std::collections::BTreeMap;

pub(crate) fn zone(s: &str) -> ZoneName {
    ZoneName::new(s).unwrap()
}
pub(crate) fn site(s: &str) -> SiteName {
    SiteName::new(s).unwrap()
}
pub(crate) fn group() -> GroupName {
    GroupName::new("db").unwrap()
}
pub(crate) fn plan_id() -> PlanId {
    PlanId::new("p-1").unwrap()
}
pub(crate) fn volume(n: usize) -> ImageSpec {
    format!("volumes/volume-{n}").parse().unwrap()
}
pub(crate) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
}

impl World {
    /// Zone A primary at generation 1 with its lease, zone B holding `n` instant copies in step, three sites that see all up.
    pub(crate) fn healthy(n: usize) -> Self {
        let policy = GroupPolicy {
            failover: FailoverMode::Automatic,
            application: Some("app".to_owned()),
            ..GroupPolicy::default()
        };
        let spec = GroupSpec {
            name: group(),
            home: zone("zone-a"),
            away: zone("zone-b"),
            policy,
            runbook: Runbook::default(),
        };
        let view = GroupView {
            primary: Some(PrimaryRecord {
                zone: zone("zone-a"),
                generation: Generation(1),
                since: now(),
                plan: None,
            }),
            lease: LeaseSight::Held(lease("zone-a", 1, IsolationResponse::Demote)),
            state: GroupState {
                last_lease: Some(LastLease {
                    zone: zone("zone-a"),
                    generation: Generation(1),
                    isolation_response: IsolationResponse::Demote,
                }),
                ..GroupState::default()
            },
            active_plan: None,
            approval: None,
            seen: None,
            volumes: BTreeMap::from([
                (
                    zone("zone-a"),
                    (0..n).map(|i| original("zone-a", i)).collect(),
                ),
                (zone("zone-b"), (0..n).map(|i| copy("zone-b", i)).collect()),
            ]),
            spec,
        };
        let mut world = Self {
            snapshot: Snapshot {
                reference_time: now(),
                sites: ["zone-a", "zone-b", "witness"].map(site).to_vec(),
                observations: BTreeMap::new(),
                zones: BTreeMap::new(),
                clocks: ["zone-a", "zone-b"]
                    .map(|z| (zone(z), Skew::measured(now(), now(), now())))
                    .into(),
                groups: BTreeMap::from([(group(), view)]),
                maintenance: None,
                promised_for: None,
            },
        };
        for s in ["zone-a", "zone-b", "witness"] {
            for z in ["zone-a", "zone-b"] {
                world.sees(s, z, Signal::Up, Signal::Up, 600);
            }
        }
        world.lease_view(
            "zone-a",
            LeaseView::Held {
                generation: Generation(1),
                left: Span::secs(20),
            },
        );
        world.lease_view("zone-b", LeaseView::NotHeld);
        world
    }

    pub(crate) fn view(&mut self) -> &mut GroupView {
        self.snapshot.groups.get_mut(&group()).unwrap()
    }
    pub(crate) fn policy(&mut self) -> &mut GroupPolicy {
        &mut self.view().spec.policy
    }

    /// A site's direct view of a zone, held for that many seconds.
    pub(crate) fn sees(&mut self, s: &str, z: &str, mon: Signal, sidecar: Signal, held: u64) {
        let entry = self
            .snapshot
            .observations
            .entry(site(s))
            .or_insert_with(|| SiteObservations {
                site: site(s),
                at: now(),
                observations: Vec::new(),
            });
        entry.observations.retain(|o| o.zone != zone(z));
        let reported = if sidecar == Signal::Up {
            Signal::Up
        } else {
            Signal::Unknown
        };
        for (kind, signal) in [
            (SignalKind::CephMon, mon),
            (SignalKind::Sidecar, sidecar),
            (SignalKind::CephWrite, reported),
            (SignalKind::MirrorDaemon, reported),
        ] {
            entry.observations.push(Observation {
                zone: zone(z),
                kind,
                signal,
                held_for: Span::secs(held),
                detail: String::new(),
            });
        }
    }
    pub(crate) fn sees_write(&mut self, s: &str, z: &str, signal: Signal) {
        let seen = self.snapshot.observations.get_mut(&site(s)).unwrap();
        for o in &mut seen.observations {
            if o.zone == zone(z) && o.kind == SignalKind::CephWrite {
                o.signal = signal;
            }
        }
    }

    pub(crate) fn lease_view(&mut self, z: &str, lease: LeaseView) {
        self.snapshot.zones.insert(
            zone(z),
            ZoneReport {
                zone: zone(z),
                sidecar: format!("{z}-sidecar"),
                version: "0".to_owned(),
                now: now(),
                ceph: CephReport {
                    writable: Known::Yes,
                    health: None,
                    osds_up: Some(1),
                    osds: Some(1),
                    fsid: None,
                },
                mirror: MirrorReport {
                    daemon_up: Known::Yes,
                    peer_site: None,
                },
                frozen: None,
                groups: vec![GroupReport {
                    group: group(),
                    generation: Some(Generation(1)),
                    lease,
                    volumes: BTreeMap::new(),
                    unread: 0,
                }],
            },
        );
    }

    /// Every process of zone A is dead, for that long; its lease has been seen gone for `gone`.
    pub(crate) fn kill_a(&mut self, lost: u64, gone: u64) {
        self.kill("zone-a", "zone-b", lost, gone);
    }
    /// The same of one zone, which the other sees.
    pub(crate) fn kill(&mut self, z: &str, other: &str, lost: u64, gone: u64) {
        self.snapshot.observations.remove(&site(z));
        for s in [other, "witness"] {
            self.sees(s, z, Signal::Down, Signal::Down, lost);
        }
        self.snapshot.zones.remove(&zone(z));
        self.view().volumes.remove(&zone(z));
        self.view().lease = LeaseSight::Gone {
            seen_gone_for: Span::secs(gone),
        };
    }

    /// Zone A's Ceph is dead, for that long; its hosts live, its sidecar says so, and renews the lease.
    pub(crate) fn lose_ceph_of_a(&mut self, lost: u64) {
        for s in ["zone-a", "zone-b", "witness"] {
            self.sees(s, "zone-a", Signal::Down, Signal::Up, lost);
            self.sees_write(s, "zone-a", Signal::Down);
        }
        self.view().volumes.remove(&zone("zone-a"));
    }

    /// Zone B took over at generation 2, zone A is back with all its images still primary.
    pub(crate) fn after_failover(n: usize) -> Self {
        let mut w = Self::healthy(n);
        let v = w.view();
        v.primary = Some(PrimaryRecord {
            zone: zone("zone-b"),
            generation: Generation(2),
            since: now(),
            plan: Some(plan_id()),
        });
        v.lease = LeaseSight::Held(lease("zone-b", 2, IsolationResponse::Demote));
        v.state = GroupState {
            last_lease: None,
            last_failover: Some(FailoverMemory {
                plan: plan_id(),
                from: zone("zone-a"),
                generation: Generation(2),
                at: now(),
                acknowledged: false,
            }),
            unprotected: Some(crate::snapshot::Unprotected {
                since: now(),
                why: "lost".to_owned(),
            }),
        };
        v.volumes.insert(
            zone("zone-b"),
            (0..n).map(|i| original("zone-b", i)).collect(),
        );
        w.lease_view("zone-a", LeaseView::NotHeld);
        w.lease_view(
            "zone-b",
            LeaseView::Held {
                generation: Generation(2),
                left: Span::secs(20),
            },
        );
        w
    }

    pub(crate) fn each_copy(&mut self, z: &str, f: impl Fn(&mut VolumeReport)) {
        self.view()
            .volumes
            .get_mut(&zone(z))
            .unwrap()
            .iter_mut()
            .for_each(f);
    }

    pub(crate) fn approve(&mut self, what: Approved, generation: u64) {
        self.view().approval = Some(Approval {
            what,
            generation: Generation(generation),
            by: "the operator on duty".to_owned(),
            at: now(),
        });
    }
}

pub(crate) fn lease(z: &str, generation: u64, response: IsolationResponse) -> LeaseRecord {
    LeaseRecord {
        zone: zone(z),
        generation: Generation(generation),
        holder: format!("{z}-sidecar"),
        isolation_response: response,
        ttl: Span::secs(30),
    }
}

pub(crate) fn original(z: &str, n: usize) -> VolumeReport {
    VolumeReport {
        status: VolumeStatus::ActivePrimary,
        role: Role::Primary,
        peer_primary: Known::No,
        demotion: None,
        forced: None,
        ..copy(z, n)
    }
}

pub(crate) fn copy(z: &str, n: usize) -> VolumeReport {
    VolumeReport {
        volume: volume(n),
        zone: zone(z),
        group: Some(group()),
        status: VolumeStatus::ActiveSecondary,
        role: Role::Secondary,
        mode: Some(ReplicationMode::Instant),
        mirror_mode: None,
        size: Some(1 << 30),
        last_sync: Some(LastSync {
            at: now(),
            took: None,
            bytes: None,
        }),
        lag: Lag::None,
        complete_copy: Known::Yes,
        local: None,
        peer: None,
        peer_primary: Known::Yes,
        demotion: None,
        forced: None,
        cinder: None,
        on_delete: None,
        deletion: None,
        concerns: Vec::new(),
        in_flight: None,
    }
}
