//! The state as a snapshot, as a leader would have read it.

use super::leader::Orchestrator;
use super::world::{A, B, Guards, HOLD_OFF, Link, Tick, World, policy};
use jiff::Timestamp;
use rekindle_common::{
    GroupName, ImageSpec, SiteName, ZoneName,
    duration::Span,
    lease::{LeaseRecord, LeaseTiming, LeaseView, PrimaryRecord},
    mode::ReplicationMode,
    policy::{GroupPolicy, GroupSpec, IsolationResponse},
    runbook::Runbook,
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
    zone::{CephReport, GroupReport, MirrorReport, ZoneReport},
};
use rekindle_core::{
    observation::{Observation, Signal, SignalKind, SiteObservations},
    snapshot::{
        Approval, Approved, FailoverMemory, GroupState, GroupView, LastLease, LeaseSight,
        LossAccepted, Snapshot, Unprotected, Vouch,
    },
};
use std::{collections::BTreeMap, sync::LazyLock};

/// The third site, beside [`A`] and [`B`].
const WITNESS: usize = 2;

/// For so long a decision grants that a trouble is there before it is seen.
const SEEN_WITHIN: Span = Span::secs(10);

/// Names are looked at letter by letter where they are made, and each state has dozens.
static GROUP: LazyLock<GroupName> =
    LazyLock::new(|| GroupName::new("db").unwrap_or_else(|_| unreachable!("a group name")));
static VOLUME: LazyLock<ImageSpec> = LazyLock::new(|| {
    ImageSpec::new("volumes", "volume-1").unwrap_or_else(|_| unreachable!("an image spec"))
});
static SITES: LazyLock<[SiteName; 3]> = LazyLock::new(|| {
    ["zone-a", "zone-b", "witness"]
        .map(|name| SiteName::new(name).unwrap_or_else(|_| unreachable!("a site name")))
});

pub(super) fn group() -> GroupName {
    GROUP.clone()
}
pub(super) fn volume() -> ImageSpec {
    VOLUME.clone()
}
fn time(tick: Tick) -> Timestamp {
    Timestamp::from_second(i64::try_from(tick).unwrap_or(i64::MAX)).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl World {
    /// What this leader reads in this tick.
    pub(super) fn snapshot(&self, leader: &Orchestrator, guards: Guards) -> Snapshot {
        let sites = SITES.to_vec();
        let observations = sites
            .iter()
            .enumerate()
            .filter_map(|(n, s)| Some((s.clone(), self.seen_by(n, s)?)));
        let promised = leader.promised_until.saturating_sub(self.now);
        Snapshot {
            reference_time: time(self.now),
            observations: observations.collect(),
            sites,
            zones: [A, B]
                .into_iter()
                .filter_map(|z| Some((Self::name(z), self.zone_report(z)?)))
                .collect(),
            groups: BTreeMap::from([(group(), self.group_view(leader, guards))]),
            clocks: BTreeMap::new(),
            maintenance: None,
            promised_for: (promised > 0).then(|| Span::secs(promised)),
        }
    }

    /// A site's fresh observations; none of a site that is dark to etcd.
    fn seen_by(&self, n: usize, name: &SiteName) -> Option<SiteObservations> {
        let of_a_zone = n == A || n == B;
        if of_a_zone && !self.reaches_etcd(n) {
            return None;
        }
        let observations = [A, B]
            .into_iter()
            .flat_map(|zone| self.signals(n, zone))
            .collect();
        Some(SiteObservations {
            site: name.clone(),
            at: time(self.now),
            observations,
        })
    }

    /// Site `n` (0 and 1 are the zones) has a way to that zone.
    fn path(&self, n: usize, zone: usize) -> bool {
        match self.link {
            Link::Whole => true,
            Link::AOff => (n == A) == (zone == A),
            Link::LineCut => n == zone || n == WITNESS,
        }
    }

    /// The witness takes note since when it does not see a zone.
    pub(super) fn look_around(&mut self) {
        for zone in [A, B] {
            let path = self.path(WITNESS, zone);
            for (seen, since) in [
                (path && self.zones[zone].stores(), &mut self.dark[zone]),
                (path && self.zones[zone].runs(), &mut self.mute[zone]),
            ] {
                *since = (!seen).then(|| since.unwrap_or(self.now));
            }
        }
    }

    /// What a site sees of a zone. What is down counts as down for the hold-off longer than it has been: that only ever delays.
    fn signals(&self, n: usize, zone: usize) -> Vec<Observation> {
        let path = self.path(n, zone);
        let lasts = |since: Option<Tick>| since.map_or(0, |since| self.now - since);
        let (dark_for, mute_for) = (lasts(self.dark[zone]), lasts(self.mute[zone]));
        let signal = |up: bool| if up { Signal::Up } else { Signal::Down };
        let stores = self.zones[zone].stores();
        let mon = signal(path && stores);
        let sidecar = signal(path && self.zones[zone].runs());
        let inner = match sidecar {
            Signal::Up => signal(stores),
            Signal::Down | Signal::Unknown => Signal::Unknown,
        };
        [
            (SignalKind::CephMon, mon, dark_for),
            (SignalKind::Sidecar, sidecar, mute_for),
            (SignalKind::CephWrite, inner, dark_for),
            (SignalKind::MirrorDaemon, inner, dark_for),
        ]
        .into_iter()
        .map(|(kind, signal, held)| Observation {
            zone: Self::name(zone),
            kind,
            signal,
            held_for: Span::secs(held + HOLD_OFF),
            detail: String::new(),
        })
        .collect()
    }

    fn zone_report(&self, zone: usize) -> Option<ZoneReport> {
        if !self.reached(zone) || !self.zones[zone].runs() {
            return None;
        }
        Some(ZoneReport {
            zone: Self::name(zone),
            sidecar: String::new(),
            version: String::new(),
            now: time(self.now),
            ceph: CephReport {
                writable: Known::Yes,
                health: None,
                osds_up: None,
                osds: None,
                fsid: None,
            },
            mirror: MirrorReport {
                daemon_up: Known::Yes,
                peer_site: None,
            },
            frozen: None,
            groups: vec![GroupReport {
                group: group(),
                generation: Some(self.zones[zone].seen),
                lease: self.lease_view(zone),
                volumes: BTreeMap::new(),
                unread: 0,
            }],
        })
    }

    /// As the sidecar that is asked has it: one that stands by does not say that the zone holds it.
    fn lease_view(&self, zone: usize) -> LeaseView {
        let view = self.zones[zone].view(self.now);
        match view {
            LeaseView::Held { .. } | LeaseView::KeptByFailsafe { .. }
                if !self.holds_by_order(zone) =>
            {
                LeaseView::NotHeld
            }
            LeaseView::Held { .. }
            | LeaseView::KeptByFailsafe { .. }
            | LeaseView::Isolated { .. }
            | LeaseView::NotHeld => view,
        }
    }

    fn group_view(&self, leader: &Orchestrator, guards: Guards) -> GroupView {
        let e = &self.etcd;
        let lease = match e.lease {
            Some((zone, generation, _)) => LeaseSight::Held(LeaseRecord {
                zone: Self::name(zone),
                generation,
                holder: String::new(),
                isolation_response: self.response(guards),
                ttl: Span::secs(0),
            }),
            None => LeaseSight::Gone {
                seen_gone_for: Span::secs(
                    leader.gone_since.map_or(0, |t| self.now.saturating_sub(t)),
                ),
            },
        };
        let last_lease = e.last_lease.map(|(zone, generation, seen)| LastLease {
            zone: Self::name(zone),
            generation,
            // Without its guard a lease proves something whatever its holder does; the model's holder then does nothing.
            isolation_response: if guards.proof_needs_demotion && guards.ill_storage_is_no_proof {
                seen
            } else if guards.proof_needs_demotion {
                self.response(guards)
            } else {
                IsolationResponse::Demote
            },
        });
        let failover = e.failed_over.map(|(from, generation)| FailoverMemory {
            plan: super::world::plan_id(0),
            from: Self::name(from),
            generation,
            at: time(0),
            acknowledged: true,
        });
        GroupView {
            spec: GroupSpec {
                name: group(),
                home: Self::name(A),
                away: Self::name(B),
                policy: self.policy_as_read(guards),
                runbook: Runbook::default(),
            },
            primary: Some(PrimaryRecord {
                zone: Self::name(e.primary),
                generation: e.generation,
                since: time(0),
                plan: None,
            }),
            lease,
            state: GroupState {
                last_lease,
                last_failover: failover,
                unprotected: None::<Unprotected>,
            },
            active_plan: None,
            approval: self.word(guards),
            seen: None,
            volumes: [A, B]
                .into_iter()
                .filter(|z| self.reached(*z) && self.zones[*z].runs() && self.zones[*z].stores())
                .map(|z| (Self::name(z), vec![self.report(z)]))
                .collect(),
        }
    }

    /// A cut is seen at once here: a lease is not too short for what it takes elsewhere.
    fn policy_as_read(&self, guards: Guards) -> GroupPolicy {
        let policy = policy(guards, self.agent);
        let ttl = Span(policy.lease.ttl.get() + SEEN_WITHIN.get());
        GroupPolicy {
            lease: LeaseTiming {
                ttl,
                ..policy.lease
            },
            ..policy
        }
    }

    /// What is seen of a zone counts as longer by the hold-off than it was, so a word's age does too. And a trouble is seen at once here: a word is not
    /// granted the time that it takes elsewhere.
    fn word(&self, guards: Guards) -> Option<Approval> {
        let (generation, at) = self.etcd.word?;
        let at = if guards.words_have_an_age {
            let earlier = SEEN_WITHIN.get() + Span::secs(HOLD_OFF).get();
            time(at).checked_sub(earlier).unwrap_or(Timestamp::MIN)
        } else {
            time(self.now)
        };
        Some(Approval {
            what: Approved::Failover {
                vouch: Vouch::CannotWrite,
                loss: LossAccepted::Any,
            },
            generation,
            by: String::new(),
            at,
        })
    }

    /// What the modelled holder does when it cannot renew.
    fn response(&self, guards: Guards) -> IsolationResponse {
        if guards.isolated_demotes {
            IsolationResponse::Demote
        } else {
            IsolationResponse::Keep
        }
    }

    fn report(&self, zone: usize) -> VolumeReport {
        let other = &self.zones[1 - zone];
        let me = &self.zones[zone];
        let (role, status) = match (me.primary, other.primary, other.demotion_seen) {
            (true, _, _) => (Role::Primary, VolumeStatus::ActivePrimary),
            (false, true, _) => (Role::Secondary, VolumeStatus::ActiveSecondary),
            (false, false, true) => (Role::Secondary, VolumeStatus::PendingPromotion),
            (false, false, false) => (Role::Secondary, VolumeStatus::PendingDemotion),
        };
        VolumeReport {
            volume: volume(),
            zone: ZoneName::clone(&Self::name(zone)),
            group: Some(group()),
            status,
            role,
            mode: Some(ReplicationMode::Instant),
            mirror_mode: None,
            size: None,
            last_sync: None,
            lag: Lag::None,
            complete_copy: Known::Yes,
            local: None,
            peer: None,
            peer_primary: Known::Unknown,
            demotion: None,
            forced: None,
            cinder: None,
            on_delete: None,
            deletion: None,
            concerns: Vec::new(),
            in_flight: None,
        }
    }
}
