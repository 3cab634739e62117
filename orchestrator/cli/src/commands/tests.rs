//! What a person sees, as snapshots; and that JSON is the wire's own form.

use super::{
    approved,
    catalogue::CataloguePage,
    group::GroupPage,
    history::{DetailPage, History, HistoryPage, PlanList},
    status::StatusPage,
};
use crate::{
    args::Approvable,
    output::{Document, Page},
};
use insta::assert_snapshot;
use rekindle_core::{
    saga::{Event, Record, State, StepOutcome},
    snapshot::{Approved, LossAccepted, Vouch},
};
use rekindle_orchestrator::wire::{CatalogueStatus, GroupStatus, PlanDetail, PlanSummary, Status};
use serde_json::{Value, json};

fn text(d: &impl Document) -> String {
    let mut page = Page::new(false);
    d.text(&mut page);
    page.into_text()
}

fn group() -> Value {
    json!({
        "spec": { "name": "db", "home": "zone-a", "away": "zone-b", "policy": { "failover": "automatic", "application": "shop" } },
        "primary": { "zone": "zone-b", "generation": 2, "since": "2026-01-02T03:04:05Z", "plan": "p-1" },
        "lease": { "lease": "held", "zone": "zone-b", "generation": 2, "holder": "s1", "isolation_response": "demote", "ttl": "30s" },
        "unprotected": { "since": "2026-01-02T03:04:06Z", "why": "zone-a was lost; zone-b is primary since generation 2 and has no copy" },
        "last_failover": { "plan": "p-1", "from": "zone-a", "generation": 2, "at": "2026-01-02T03:04:05Z", "acknowledged": false },
        "approval": null,
        "decision": {
            "decision": { "decision": "hold", "why": { "why": "syncing", "behind": 1 } },
            "text": "UNPROTECTED: 1 copies are catching up",
            "since": "2026-01-02T03:09:00Z",
        },
        "active_plan": null,
        "volumes": [
            { "zone": "zone-b", "counts": { "active - primary": 1 }, "volumes": [] },
            { "zone": "zone-a", "counts": { "error - split brain": 1 }, "volumes": [{
                "volume": "volumes/v1", "zone": "zone-a", "group": "db", "status": "error - split brain", "role": "secondary",
                "mode": { "mode": "instant" }, "mirror_mode": "journal", "size": 1_073_741_824u64, "last_sync": null,
                "lag": { "kind": "unknown" }, "complete_copy": "unknown", "local": null, "peer": null, "peer_primary": "yes",
                "concerns": ["the mirror daemon says: split-brain detected"], "in_flight": null,
            }] },
        ],
        "problems": [],
    })
}

fn status() -> Status {
    let value = json!({
        "site": "zone-b", "version": "0.1.0", "at": "2026-01-02T03:10:00Z", "view": "whole",
        "leader": { "site": "zone-b", "instance": "i", "url": null },
        "maintenance": { "reason": "new switches" },
        "promised_for": null,
        "sites": [
            { "site": "zone-a", "sees": null },
            { "site": "witness", "sees": { "site": "witness", "at": "2026-01-02T03:09:58.5Z", "observations": [
                { "zone": "zone-a", "kind": "ceph_mon", "signal": "down", "held_for": "42s", "detail": "refused" },
                { "zone": "zone-b", "kind": "ceph_mon", "signal": "up", "held_for": "1h", "detail": "" },
            ] } },
        ],
        "zones": [
            { "zone": "zone-a", "diagnosis": { "diagnosis": "suspect", "seen_by": ["zone-b", "witness"], "left": "4s" },
              "text": "suspected lost by zone-b, witness; 4s of the hold-off left", "report": null, "silent": "connection refused" },
            { "zone": "zone-b", "diagnosis": { "diagnosis": "healthy" }, "text": "healthy", "silent": null, "report": {
                "zone": "zone-b", "sidecar": "s1", "version": "0.1.0", "now": "2026-01-02T03:09:59Z",
                "ceph": { "writable": "yes", "health": "HEALTH_OK", "osds_up": 1, "osds": 1, "fsid": "f" },
                "mirror": { "daemon_up": "no", "peer_site": "zone-a" },
                "frozen": { "reason": "disk swap", "since": "2026-01-02T03:00:00Z" }, "groups": [],
            } },
        ],
        "groups": [group()],
        "problems": [{ "code": "corrupt_record", "about": "/rekindle/v1/groups/x/spec", "message": "is not JSON" }],
    });
    serde_json::from_value(value).unwrap()
}

fn detail() -> PlanDetail {
    let plan = json!({
        "id": "p-1", "parent": null, "group": "db", "kind": "failover", "from": "zone-a", "to": "zone-b", "made_for": 1,
        "at": "2026-01-02T03:04:05Z", "why": "zone-a is lost for 31s, say zone-b and witness",
        "proof": { "proof": "lease_expired", "margin": "20s" }, "expected_loss": [], "left_out": [{ "volume": "volumes/v9", "why": "no complete copy has arrived yet" }],
        "steps": [
            { "step": "await_lease_end", "zone": "zone-a", "generation": 1, "margin": "20s", "deadline": "2m" },
            { "step": "promote", "zone": "zone-b", "generation": 2, "deadline": "10m",
              "volumes": [{ "volume": "volumes/v1", "promotion": "forced", "reason": "lost" }] },
        ],
    });
    let at = |ms: i64| jiff::Timestamp::from_millisecond(1_767_323_045_000 + ms).unwrap();
    let record = |ms, event| Record {
        at: at(ms),
        by: "zone-b".to_owned(),
        event,
    };
    let outcome = |note: &str| StepOutcome {
        note: note.to_owned(),
        ..StepOutcome::default()
    };
    PlanDetail {
        plan: serde_json::from_value(plan).unwrap(),
        state: Some(State::Stuck {
            step: 1,
            undo: None,
            error: "no".to_owned(),
        }),
        journal: vec![
            record(0, Event::Begun),
            record(10, Event::StepBegun { step: 0 }),
            record(
                1510,
                Event::StepDone {
                    step: 0,
                    outcome: outcome("gone for 24s"),
                },
            ),
            record(1520, Event::StepBegun { step: 1 }),
            record(
                61_520,
                Event::StepFailed {
                    step: 1,
                    error: "zone-b does not answer".to_owned(),
                    left: rekindle_core::saga::Left::MaybeSomething,
                },
            ),
        ],
        failed: Vec::new(),
        failed_servers: Vec::new(),
        problem: None,
    }
}

#[test]
fn status_says_loudly_what_must_not_be_overlooked() {
    let page = text(&StatusPage(status()));
    assert!(page.contains("UNPROTECTED since"), "{page}");
    assert!(page.contains("MAINTENANCE"), "{page}");
    assert!(page.contains("FROZEN"), "{page}");
    assert_snapshot!(page);
}

#[test]
fn a_group_in_full() {
    let group: GroupStatus = serde_json::from_value(group()).unwrap();
    // How long ago something was depends on when it is asked.
    let page = text(&GroupPage(group));
    let page: Vec<&str> = page.lines().filter(|l| !l.contains(" ago)")).collect();
    assert_snapshot!(page.join("\n"));
}

#[test]
fn history_gives_every_step_its_times() {
    let history = History::new(detail());
    assert_eq!(history.steps.len(), 2);
    assert_eq!(
        history.steps[0].took,
        Some(rekindle_common::duration::Span::millis(1500))
    );
    assert_snapshot!(text(&HistoryPage(vec![history])));
}

#[test]
fn a_plan_with_its_journal() {
    assert_snapshot!(text(&DetailPage(detail())));
}

#[test]
fn plans_in_a_list() {
    let d = detail();
    let summary = PlanSummary {
        id: d.plan.id.clone(),
        group: d.plan.group.clone(),
        kind: d.plan.kind,
        from: d.plan.from.clone(),
        to: d.plan.to.clone(),
        at: d.plan.at,
        updated: None,
        state: d.state,
        not_helped: 1,
        problem: None,
    };
    assert_snapshot!(text(&PlanList(vec![summary])));
    assert_eq!(text(&PlanList(Vec::new())), "no plans yet\n");
}

#[test]
fn json_is_the_wires_own_form() {
    let s = status();
    assert_eq!(
        serde_json::to_value(StatusPage(s.clone())).unwrap(),
        serde_json::to_value(s).unwrap()
    );
    let history = serde_json::to_value(History::new(detail())).unwrap();
    assert_eq!(history["plan"]["id"], "p-1");
    assert_eq!(history["steps"][0]["took"], "1s 500ms");
}

#[test]
fn a_vouch_belongs_to_a_failover_alone() {
    assert!(approved(Approvable::Reprotect, true, false).is_err());
    assert!(approved(Approvable::Failback, false, true).is_err());
    assert_eq!(
        approved(Approvable::Failover, false, false).unwrap(),
        Approved::Failover {
            vouch: Vouch::No,
            loss: LossAccepted::WithinLimit
        }
    );
}

#[test]
fn the_catalogue_names_both_volumes_and_what_is_to_be_done() {
    let side = |volume: Option<&str>, name: Option<&str>, status: &str| json!({ "volume": volume, "name": name, "status": status });
    let gap = |image: &str| {
        json!({
            "since": "2026-01-02T03:00:00Z", "lasts": true, "zone": "zone-b", "kind": "project", "image": image, "record": null,
            "text": "projects of the mapping has no entry for \"shop\" of zone-a: add one that says what it is in zone-b",
        })
    };
    let value = json!({
        "site": "witness", "at": "2026-01-02T03:10:00Z", "last_good": "2026-01-02T03:09:50Z",
        "zones": [
            { "zone": "zone-a", "images": { "seen": "seen", "count": 2 }, "records": { "seen": "missing", "count": 0, "why": "no answer" } },
            { "zone": "zone-b", "images": { "seen": "seen", "count": 2 }, "records": { "seen": "seen", "count": 1 } },
        ],
        "volumes": [{
            "image": "volumes/volume-1",
            "sides": {
                "zone-a": side(Some("1"), Some("žluť\u{1b}[2J"), "active - primary"),
                "zone-b": side(None, None, "active - secondary"),
            },
        }],
        "more_volumes": 1,
        "findings": [gap("volumes/volume-1"), gap("volumes/volume-2")],
        "more_findings": 0, "written": 0, "waiting": 1,
    });
    let status: CatalogueStatus = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&status).unwrap(), value);
    assert_snapshot!("the_catalogue", text(&CataloguePage(status)));
}

/// Whoever reads that a plan was partial has to find which servers, why, and what to do; and of thousands not all.
#[test]
fn servers_that_were_not_helped_are_named_with_what_to_do() {
    use rekindle_core::saga::{End, FailedServer};
    let failed = |n: usize| FailedServer {
        server: format!("web-{n}").parse().unwrap(),
        why: "quota exceeded: 20 of 20 cores".to_owned(),
    };
    let mut d = detail();
    d.state = Some(State::Ended { end: End::Partial });
    d.failed_servers = (0..30).map(failed).collect();
    let outcome = StepOutcome {
        note: "0 of 30 servers serve".to_owned(),
        servers: d.failed_servers.clone(),
        ..StepOutcome::default()
    };
    let done = Event::StepDone { step: 1, outcome };
    d.journal.last_mut().unwrap().event = done;
    let shown = text(&DetailPage(d.clone()));
    for line in [
        "server web-0: quota exceeded: 20 of 20 cores",
        "and 10 servers more; --output json has them all",
        "`rekindle group resume db` starts what does not serve",
        "0 of 30 servers serve; FAILED for 30 servers",
    ] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
    assert!(!shown.contains("server web-20"), "{shown}");
    let history = text(&HistoryPage(vec![History::new(d)]));
    assert!(history.contains("FAILED for 30 servers"), "{history}");
}

/// What the old primary had written alone stands in the plan's page, and loudly where it is gone.
#[test]
fn hard_case_16_what_a_resync_gives_up_is_told() {
    use rekindle_common::given_up::{Bound, GivenUp, Written};
    use rekindle_core::saga::VolumeGivenUp;
    let volume = |n: usize| {
        format!("volumes/v{n}")
            .parse::<rekindle_common::ImageSpec>()
            .unwrap()
    };
    let given_up = |n: usize, bytes, kept: bool| VolumeGivenUp {
        volume: volume(n),
        given_up: GivenUp {
            written: Written::Measured {
                bytes,
                extents: u64::from(bytes > 0),
                bound: Bound::AtMost,
            },
            kept_as: kept.then(|| volume(1000 + n)),
        },
    };
    let page = |given_up: Vec<VolumeGivenUp>| {
        let mut d = detail();
        d.plan.steps[1].step = serde_json::from_value(json!({
            "step": "resync", "zone": "zone-a", "volumes": ["volumes/v1"], "token": "p-1",
            "safety": "keep", "generation": 2,
        }))
        .unwrap();
        let outcome = StepOutcome {
            given_up,
            ..StepOutcome::default()
        };
        d.journal.last_mut().unwrap().event = Event::StepDone { step: 1, outcome };
        let page = text(&DetailPage(d.clone()));
        let history = text(&HistoryPage(vec![History::new(d)]));
        let lines = |t: &str| {
            let told = t.lines().skip_while(|l| !l.contains("after the split:"));
            told.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&page), lines(&history));
        lines(&page).join("\n")
    };
    assert_eq!(
        page(vec![given_up(1, 8192, true)]),
        "  what zone-a wrote after the split: at most 8.0 KiB in 1 extent, kept as volumes/v1001"
    );
    let some = page(vec![given_up(1, 8192, false), given_up(2, 0, false)]);
    for line in [
        "at most 8.0 KiB in 1 extent of 1 volume, nothing of 1 volume; discarded",
        "    volumes/v1: at most 8.0 KiB in 1 extent, discarded",
    ] {
        assert!(some.contains(line), "{line:?} is not in:\n{some}");
    }
    assert!(!some.contains("volumes/v2"), "{some}");
    let many = page((0..25).map(|n| given_up(n, 4096, true)).collect());
    assert!(many.contains("and 5 more; --output json"), "{many}");
    assert!(!many.contains("volumes/v20:"), "{many}");
}

#[test]
fn a_pause_is_loud() {
    let mut group: GroupStatus = serde_json::from_value(group()).unwrap();
    group.active_plan = Some(
        serde_json::from_value(json!({
            "id": "p9", "kind": "failover", "state": { "state": "running", "step": 7 },
            "text": "step 8 of 12: wait for `rekindle approve` before level 2: look at the database",
            "progress": { "step": 7, "name": "pause", "done": 0, "of": 0, "note": "" },
        }))
        .unwrap(),
    );
    let page = text(&GroupPage(group));
    assert!(
        page.contains("PAUSED: `rekindle approve db --by NAME`"),
        "{page}"
    );
}
