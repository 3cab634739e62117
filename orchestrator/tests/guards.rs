//! What holds a decision back, and what lets it go: approvals, the blocking period, maintenance, promises, cut links.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod common;

use common::{COUNT_IMAGES, Rig, eventually, group, policy, site, well, zone_a, zone_b};
use jiff::SignedDuration;
use rekindle_common::{
    ErrorCode, Generation,
    duration::Span,
    lease::{LeaseTiming, LeaseView},
    policy::{FailoverMode, GroupPolicy, IsolationResponse, OnReturn},
    volume::{Known, Role},
};
use rekindle_core::{
    decision::{Ask, Decision, Hold, Request},
    plan::PlanKind,
    snapshot::{Approved, GroupState, LeaseSight, LossAccepted, Vouch},
};
use rekindle_orchestrator::wire::{ApproveRequest, GroupStatus, Run, Status, View};
use std::time::Duration;
use tokio::time::sleep;

fn asks(g: &GroupStatus, which: impl Fn(&Ask) -> bool) -> bool {
    match g.decision.as_ref().map(|d| &d.decision) {
        Some(Decision::AskOperator { why }) => which(why),
        Some(Decision::Hold { .. } | Decision::MarkProtection { .. } | Decision::Begin { .. })
        | None => false,
    }
}
fn holds(g: &GroupStatus, which: fn(&Hold) -> bool) -> bool {
    match g.decision.as_ref().map(|d| &d.decision) {
        Some(Decision::Hold { why }) => which(why),
        Some(
            Decision::AskOperator { .. } | Decision::MarkProtection { .. } | Decision::Begin { .. },
        )
        | None => false,
    }
}
fn primary_in(g: &GroupStatus, zone: &rekindle_common::ZoneName) -> bool {
    g.primary.as_ref().is_some_and(|p| p.zone == *zone) && g.active_plan.is_none()
}
fn approval(what: Approved) -> ApproveRequest {
    ApproveRequest {
        what,
        by: "ann".to_owned(),
        generation: None,
    }
}
const FAILOVER: Approved = Approved::Failover {
    vouch: Vouch::No,
    loss: LossAccepted::WithinLimit,
};

/// Nothing happens for that long that would change who is primary.
async fn stays_put(rig: &Rig, seconds: u64) {
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        let g = rig.group().await;
        assert!(
            g.is_none_or(|g| g.primary.is_none_or(|p| p.zone == zone_a())),
            "it failed over"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_waits_for_a_persons_yes_and_uses_it_up() {
    let policy = GroupPolicy {
        failover: FailoverMode::Approved,
        ..policy()
    };
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    rig.world.kill_zone(&zone_a());
    rig.until("it asks", |g| {
        asks(g, |a| {
            matches!(
                a,
                Ask::Approve {
                    kind: PlanKind::Failover,
                    ..
                }
            )
        })
    })
    .await;
    stays_put(&rig, 30).await;
    let mut stale = approval(FAILOVER);
    stale.generation = Some(Generation(7));
    let e = rig.client().approve(&group(), &stale).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::StaleGeneration);
    rig.client()
        .approve(&group(), &approval(FAILOVER))
        .await
        .unwrap();
    let g = rig
        .until("it has failed over", |g| primary_in(g, &zone_b()))
        .await;
    assert_eq!(g.approval, None, "the approval is left for a later event");
}

#[tokio::test(start_paused = true)]
async fn hard_case_07_a_second_failover_is_blocked_until_acknowledged() {
    let policy = GroupPolicy {
        blocking_period: Span::secs(3600),
        ..policy()
    };
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    rig.world.kill_zone(&zone_a());
    rig.until("zone-b has taken over", |g| primary_in(g, &zone_b()))
        .await;
    rig.world.start_zone(&zone_a());
    rig.until("it is protected again", |g| {
        well(g, COUNT_IMAGES) && primary_in(g, &zone_b())
    })
    .await;
    rig.world.kill_zone(&zone_b());
    rig.until("it asks", |g| asks(g, |a| matches!(a, Ask::Blocked { .. })))
        .await;
    sleep(Duration::from_secs(60)).await;
    assert!(primary_in(&rig.group().await.unwrap(), &zone_b()));
    let memory = rig.client().acknowledge(&group(), "ann").await.unwrap();
    assert!(memory.acknowledged);
    let g = rig
        .until("zone-a has taken over", |g| primary_in(g, &zone_a()))
        .await;
    assert_eq!(g.primary.unwrap().generation, Generation(3));
}

#[tokio::test(start_paused = true)]
async fn maintenance_keeps_everything_as_it_is() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.client().set_maintenance("new switches").await.unwrap();
    rig.world.kill_zone(&zone_a());
    stays_put(&rig, 60).await;
    let status = rig.status().await;
    assert_eq!(status.maintenance.unwrap().reason, "new switches");
    rig.client().clear_maintenance().await.unwrap();
    rig.until("it has failed over", |g| primary_in(g, &zone_b()))
        .await;
}

#[tokio::test(start_paused = true)]
async fn without_proof_a_person_is_asked_with_the_evidence() {
    let policy = GroupPolicy {
        isolation_response: IsolationResponse::Keep,
        ..policy()
    };
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    rig.world.kill_zone(&zone_a());
    rig.until("it asks", |g| asks(g, |a| matches!(a, Ask::NoProof { .. })))
        .await;
    stays_put(&rig, 60).await;
    let vouched = Approved::Failover {
        vouch: Vouch::CannotWrite,
        loss: LossAccepted::Any,
    };
    rig.client()
        .approve(&group(), &approval(vouched))
        .await
        .unwrap();
    rig.until("it has failed over", |g| primary_in(g, &zone_b()))
        .await;
}

/// What the copies show is by the zones' clocks, and the moment of the loss by the leader's.
#[tokio::test(start_paused = true)]
async fn hard_case_12_a_skewed_clock_is_named_and_a_loss_that_hangs_on_it_is_asked() {
    let policy = GroupPolicy {
        rpo_limit: Some(Span::secs(300)),
        ..policy()
    };
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    let clocks = |s: &Status| -> Vec<String> {
        let skewed = s.problems.iter().filter(|p| p.code == ErrorCode::ClockSkew);
        skewed.map(ToString::to_string).collect()
    };
    assert_eq!(clocks(&rig.status().await), [""; 0]);
    let seconds = SignedDuration::from_secs;
    // Behind: said, and nothing is hidden by it. Ahead, and not beyond the limit of what may be: not said.
    for (ahead, says) in [
        (seconds(-65), Some(["zone-a's sidecar is 1m", "behind"])),
        (seconds(4), None),
        (seconds(3605), Some(["zone-a's sidecar is 1h", "ahead of"])),
    ] {
        rig.world.skew_zone(&zone_a(), ahead);
        eventually("the status says so", || async {
            let said = clocks(&rig.status().await);
            match (says, &said[..]) {
                (None, []) => Some(()),
                (Some(words), [one]) => words.iter().all(|w| one.contains(w)).then_some(()),
                (None | Some(_), _) => None,
            }
        })
        .await;
        rig.until("it serves on", |g| well(g, COUNT_IMAGES)).await;
    }
    // Leases count elapsed time: an hour's difference neither ended this one nor made it longer.
    assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES);

    rig.world.kill_zone(&zone_a());
    let g = rig
        .until("it asks", |g| {
            let hour = |a: &Option<Span>| a.is_some_and(|a| a >= Span::secs(3600));
            asks(
                g,
                |a| matches!(a, Ask::ClockSkew { zone, ahead, .. } if *zone == zone_a() && hour(ahead)),
            )
        })
        .await;
    assert!(g.decision.unwrap().text.contains("--accept-loss"));
    stays_put(&rig, 60).await;
    let accepted = Approved::Failover {
        vouch: Vouch::No,
        loss: LossAccepted::Any,
    };
    rig.client()
        .approve(&group(), &approval(accepted))
        .await
        .unwrap();
    rig.until("it has failed over", |g| primary_in(g, &zone_b()))
        .await;
}

/// Every site looks at the clocks, not the leader alone. And the limit by itself, with clocks that are right, asks nobody.
#[tokio::test(start_paused = true)]
async fn hard_case_12_a_new_leader_knows_the_clock_of_a_zone_that_died_before_it_led() {
    let policy = GroupPolicy {
        rpo_limit: Some(Span::secs(300)),
        ..policy()
    };
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    rig.world.kill_zone(&zone_a());
    let mut leader = rig.status().await.leader.unwrap().site;
    // Somebody who has seen the zone alive is to lead: the one that leads now would come back with no memory of it.
    if leader != site(&zone_b()) {
        rig.world.stop_orchestrator(&leader).await;
        let before = leader.clone();
        leader = eventually("another leads", || async {
            let l = rig.client().leader().await.ok()?.leader?.site;
            (l != before).then_some(l)
        })
        .await;
        rig.world.start_orchestrator(&before);
    }
    assert_eq!(leader, site(&zone_b()));
    rig.until("it has failed over", |g| primary_in(g, &zone_b()))
        .await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_01_a_cut_between_the_zones_alone_changes_nothing() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.network().cut(&site(&zone_a()), &site(&zone_b()));
    rig.world.fabric().link().cut();
    stays_put(&rig, 60).await;
    assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES);
    assert_eq!(rig.primaries(&zone_b()), 0);
}

#[tokio::test(start_paused = true)]
async fn an_isolated_zone_demotes_itself_before_the_other_takes_over_and_goes_on_as_its_copy() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.isolate(&zone_a());
    // At no moment do both take writes.
    eventually("zone-b has taken over", || async {
        let (a, b) = (rig.primaries(&zone_a()), rig.primaries(&zone_b()));
        assert!(a == 0 || b == 0, "{a} primaries in zone-a, {b} in zone-b");
        let g = rig.group().await?;
        primary_in(&g, &zone_b()).then_some(())
    })
    .await;
    rig.world.rejoin(&zone_a());
    rig.until("zone-a is its copy", |g| {
        well(g, COUNT_IMAGES) && primary_in(g, &zone_b())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_02_etcd_lost_to_all_keeps_the_zone_serving_by_the_other_sites_word() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.store("any").lose_majority();
    let sidecar = rig.world.volumes(&zone_a()).unwrap();
    eventually("it is kept by the failsafe", || async {
        let report = sidecar.zone().await;
        let ours = report.groups.iter().find(|g| g.group == group())?;
        matches!(ours.lease, LeaseView::KeptByFailsafe { .. }).then_some(())
    })
    .await;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.primaries(&zone_a()), COUNT_IMAGES, "it demoted itself");
    }
    // Everybody says what the matter is, and what was promised.
    let status = rig.client().status().await.unwrap();
    assert_eq!(status.view, View::SiteOnly);
    assert!(
        status
            .problems
            .iter()
            .any(|p| p.code == ErrorCode::StoreUnavailable)
    );
    assert!(status.promised_for.is_some());
    rig.world.store("any").regain_majority();
    rig.until("all is as it was", |g| {
        well(g, COUNT_IMAGES) && primary_in(g, &zone_a())
    })
    .await;
    // The promise outlives the outage: nothing is moved while it stands.
    let e = rig
        .client()
        .plan_for(&group(), Request::Move { to: zone_b() }, Run::Begin)
        .await;
    if let Err(e) = e {
        assert_eq!(e.code, ErrorCode::Held, "{e}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_holds_a_failover_back_until_it_is_over() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.store("any").lose_majority();
    let sidecar = rig.world.volumes(&zone_a()).unwrap();
    eventually("it is kept by the failsafe", || async {
        let report = sidecar.zone().await;
        let ours = report.groups.iter().find(|g| g.group == group())?;
        matches!(ours.lease, LeaseView::KeptByFailsafe { .. }).then_some(())
    })
    .await;
    let promised = tokio::time::Instant::now();
    rig.world.kill_zone(&zone_a());
    rig.world.store("any").regain_majority();
    rig.until("zone-b has taken over", |g| primary_in(g, &zone_b()))
        .await;
    assert!(
        promised.elapsed() >= policy().lease.ttl.get(),
        "before the promise was over: {:?}",
        promised.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn hard_case_60_a_zone_whose_storage_is_ill_is_not_lost() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.fabric().a().set_full(true);
    eventually("it is seen", || async {
        let s = rig.status().await;
        let a = s.zones.iter().find(|z| z.zone == zone_a())?;
        let full = a.report.as_ref()?.ceph.writable == Known::No;
        (full && a.text.contains("storage ill")).then_some(())
    })
    .await;
    stays_put(&rig, 30).await;
}

#[tokio::test(start_paused = true)]
async fn hard_case_17_a_split_brain_that_is_not_ours_is_never_resynced_by_itself() {
    let policy = GroupPolicy {
        on_return: OnReturn::Stay,
        ..policy()
    };
    let rig = Rig::with(COUNT_IMAGES, policy).await;
    // Somebody promotes a copy behind our back.
    let b = rig.world.fabric().b();
    let backend = rekindle_driver::backend::Backend::Memory(b.clone());
    let deadline = || tokio::time::Instant::now() + Duration::from_secs(5);
    let image = &rig.volumes[0];
    let id = b.image_id(image);
    let session = backend
        .open(image, rekindle_driver::backend::Access::Write, deadline())
        .await
        .unwrap();
    session
        .promote(rekindle_driver::backend::Force::Yes, deadline())
        .await
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        b.image_id(image),
        id,
        "it was made anew: what was written there is gone"
    );
    let g = rig.group().await.unwrap();
    let plans = rig.client().plans(None, 10).await.unwrap();
    assert!(plans.is_empty(), "{plans:?}");
    let copy = g.volumes.iter().find(|z| z.zone == zone_b()).unwrap();
    assert!(copy.volumes.iter().all(|v| v.role != Role::NotMirrored));
}

#[tokio::test(start_paused = true)]
async fn the_return_of_a_zone_waits_for_a_yes_where_policy_says_ask() {
    let policy = GroupPolicy {
        on_return: OnReturn::Ask,
        ..policy()
    };
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    rig.world.kill_zone(&zone_a());
    rig.until("zone-b has taken over", |g| primary_in(g, &zone_b()))
        .await;
    rig.world.start_zone(&zone_a());
    let g = rig
        .until("it asks", |g| {
            asks(g, |a| {
                matches!(
                    a,
                    Ask::Approve {
                        kind: PlanKind::Reprotect,
                        ..
                    }
                )
            })
        })
        .await;
    assert!(
        g.unprotected.is_some(),
        "hard case 56: it must say so until it is protected"
    );
    rig.client()
        .approve(&group(), &approval(Approved::Reprotect))
        .await
        .unwrap();
    rig.until("it is protected", |g| well(g, COUNT_IMAGES))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_site_that_does_not_lead_says_who_does() {
    let rig = Rig::with(COUNT_IMAGES, policy()).await;
    let leader = rig.status().await.leader.unwrap().site;
    for s in rig.world.sites() {
        let endpoint = rig.world.endpoint(&s).unwrap();
        let client = rekindle_orchestrator::client::OrchestratorClient::new(vec![endpoint]);
        let answer = client.leader().await.unwrap();
        assert_eq!(answer.leader.map(|l| l.site), Some(leader.clone()));
        let groups = client.groups().await;
        if s == leader {
            assert_eq!(groups.unwrap().len(), 1);
        } else {
            let e = groups.unwrap_err();
            assert_eq!(e.code, ErrorCode::NotLeader);
            assert!(e.message.contains(leader.as_str()), "{e}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_says_why() {
    let mut rig = Rig::with(COUNT_IMAGES, policy()).await;
    rig.world.kill_zone(&zone_b());
    // The copies are gone: nothing protects the group, and it says so.
    let g = rig
        .until("it says so", |g| {
            g.unprotected.is_some() && holds(g, |h| matches!(h, Hold::Unprotected { .. }))
        })
        .await;
    assert!(g.decision.unwrap().text.contains("UNPROTECTED"));
    rig.world.start_zone(&zone_b());
    rig.until("it is protected", |g| well(g, COUNT_IMAGES))
        .await;
}

/// Its sidecar died alone and nobody demoted. A leader that comes later counts the time without a lease from its own first look,
/// and must not take the lease to have ended with the zone.
#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_before_its_zone_was_lost_is_no_proof_for_the_next_leader() {
    let mut rig = led_from_zone_a(policy()).await;
    rig.world.kill_sidecar(&zone_a());
    eventually("it is forgotten", || async {
        state(&rig).await.last_lease.is_none().then_some(())
    })
    .await;
    is_no_proof_for_the_next_leader(rig).await;
}

/// With times as they are in earnest nothing is waited for: a zone that is cut off right after its lease has ended is not taken over either.
#[tokio::test(start_paused = true)]
async fn hard_case_01_a_zone_that_is_cut_off_right_after_its_lease_ended_alone_is_not_taken_over() {
    let in_earnest = GroupPolicy {
        hold_off: GroupPolicy::default().hold_off,
        lease: LeaseTiming::default(),
        ..policy()
    };
    let mut rig = led_from_zone_a(in_earnest).await;
    rig.world.kill_sidecar(&zone_a());
    rig.until("its lease is gone", |g| {
        matches!(g.lease, LeaseSight::Gone { .. })
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    is_no_proof_for_the_next_leader(rig).await;
}

async fn state(rig: &Rig) -> GroupState {
    let store = rekindle_store::Store::from(rig.world.store("witness"));
    let key = rekindle_common::keys::group_state(&group());
    let kv = store.get(&key).await.unwrap();
    kv.unwrap().json().unwrap()
}

/// Who leads is cut off with its zone, and the sites that see it gone go on as they are.
async fn led_from_zone_a(policy: GroupPolicy) -> Rig {
    let mut rig = Rig::with(COUNT_IMAGES, policy).await;
    let mut others = rig.world.sites();
    others.retain(|s| *s != site(&zone_a()));
    for s in &others {
        rig.world.stop_orchestrator(s).await;
    }
    let leader = rig.status().await.leader.unwrap().site;
    assert_eq!(leader, site(&zone_a()));
    for s in &others {
        rig.world.start_orchestrator(s);
    }
    // They have just started, and are bound as if they had promised.
    sleep(Duration::from_secs(60)).await;
    rig
}

async fn is_no_proof_for_the_next_leader(rig: Rig) {
    rig.world.isolate(&zone_a());
    let next = eventually("another site leads", || async {
        let leader = rig.client().status().await.ok()?.leader?.site;
        (leader != site(&zone_a())).then_some(leader)
    })
    .await;
    rig.until("it asks", |g| asks(g, |a| matches!(a, Ask::NoProof { .. })))
        .await;
    stays_put(&rig, 60).await;
    assert_eq!(rig.primaries(&zone_b()), 0, "{next}");
}
