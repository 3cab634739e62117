//! Everything that `rekindle status` shows.

use super::{Service, plans};
use crate::{
    decide::{Picture, Term},
    wire::{
        ActivePlan, GroupStatus, Maintenance, PlanDetail, Problem, SiteStatus, Status, View,
        ZoneStatus, ZoneVolumes,
    },
};
use rekindle_common::{ApiError, ErrorCode, GroupName, PlanId, policy::GroupPolicy};
use rekindle_core::{detector::diagnose, saga, snapshot::GroupView};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long a new leader is given to make its first look.
const FIRST_LOOK: Duration = Duration::from_secs(10);

pub(super) async fn status(s: &Service) -> Status {
    match s.term() {
        Ok(term) => match picture(&term).await {
            Ok(picture) => whole(s, &term, &picture).await,
            Err(e) => site_only(s, Some(e)),
        },
        Err(_) => site_only(s, None),
    }
}

pub(super) async fn groups(s: &Service, term: &Term) -> Result<Vec<GroupStatus>, ApiError> {
    let picture = picture(term).await?;
    Ok(all_groups(s, term, &picture).await)
}

/// The leader's picture; a new leader is waited for.
async fn picture(term: &Term) -> Result<Arc<Picture>, ApiError> {
    let mut pictures = term.pictures();
    let seen = timeout(FIRST_LOOK, pictures.wait_for(Option::is_some)).await;
    match seen {
        Ok(Ok(p)) => p.clone(),
        Ok(Err(_)) | Err(_) => None,
    }
    .ok_or_else(|| {
        ApiError::new(
            ErrorCode::Unavailable,
            "the leader has not seen the world yet",
        )
    })
}

async fn whole(s: &Service, term: &Term, picture: &Picture) -> Status {
    let world = &picture.world;
    let snapshot = &world.snapshot;
    let sites = snapshot.sites.iter().map(|site| SiteStatus {
        site: site.clone(),
        sees: snapshot.observations.get(site).cloned(),
    });
    let zones = term.means().assembler.zones.iter().map(|zone| {
        let zone = zone.name();
        // The first group that would act on it; each group's decision stands on its own.
        let hold_off = snapshot
            .groups
            .values()
            .filter(|g| g.spec.other(zone).is_some())
            .map(|g| g.spec.policy.hold_off)
            .min()
            .unwrap_or(GroupPolicy::default().hold_off);
        let diagnosis = diagnose(snapshot, zone, hold_off);
        ZoneStatus {
            zone: zone.clone(),
            text: diagnosis.to_string(),
            diagnosis,
            report: snapshot.zones.get(zone).cloned(),
            silent: world.silent.get(zone).cloned(),
        }
    });
    Status {
        site: s.means.site.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: snapshot.reference_time,
        view: View::Whole,
        leader: s.leader(),
        maintenance: snapshot
            .maintenance
            .clone()
            .map(|reason| Maintenance { reason }),
        promised_for: snapshot.promised_for,
        sites: sites.collect(),
        zones: zones.collect(),
        groups: all_groups(s, term, picture).await,
        problems: problems(s, picture),
    }
}

fn problems(s: &Service, picture: &Picture) -> Vec<Problem> {
    let mut problems = picture.world.problems.clone();
    if let Some(shown) = s.keeper.as_ref().and_then(|k| k.shown()) {
        problems.extend(shown.problems());
    }
    if let Some(shown) = s.servers.as_ref().and_then(|k| k.shown()) {
        problems.extend(shown.problems());
    }
    if let Some(Err(e)) = &*s.records.borrow() {
        problems.push(Problem {
            code: e.code,
            about: "etcd".to_owned(),
            message: e.message.clone(),
        });
    }
    problems
}

fn site_only(s: &Service, error: Option<ApiError>) -> Status {
    let mut problems = Vec::new();
    let mut maintenance = None;
    let mut observations = BTreeMap::new();
    match &*s.records.borrow() {
        Some(Ok(records)) => {
            problems.extend(records.problems.iter().cloned());
            maintenance.clone_from(&records.maintenance);
            observations.clone_from(&records.observations);
        }
        Some(Err(e)) => problems.push(Problem {
            code: e.code,
            about: "etcd".to_owned(),
            message: e.message.clone(),
        }),
        None => {}
    }
    problems.extend(error.map(|e| Problem {
        code: e.code,
        about: s.means.site.to_string(),
        message: e.message,
    }));
    // This site's own view, also where etcd could not take it.
    if let Some(seen) = s.seen.borrow().clone() {
        observations.insert(seen.site.clone(), seen);
    }
    Status {
        site: s.means.site.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: s.means.clock.now(),
        view: View::SiteOnly,
        leader: s.leader(),
        maintenance,
        promised_for: s.failsafe.bound(),
        sites: s
            .means
            .assembler
            .sites
            .iter()
            .map(|site| SiteStatus {
                site: site.clone(),
                sees: observations.get(site).cloned(),
            })
            .collect(),
        zones: Vec::new(),
        groups: Vec::new(),
        problems,
    }
}

async fn all_groups(s: &Service, term: &Term, picture: &Picture) -> Vec<GroupStatus> {
    let checks = s.preflight.as_ref().and_then(|p| p.shown());
    let mut groups = Vec::new();
    for (name, view) in &picture.world.snapshot.groups {
        let preflight = checks.as_ref().and_then(|c| c.get(name).cloned());
        let group = group(term, picture, name, view).await;
        groups.push(GroupStatus { preflight, ..group });
    }
    groups
}

async fn group(term: &Term, picture: &Picture, name: &GroupName, view: &GroupView) -> GroupStatus {
    let mut problems = Vec::new();
    let active_plan = match &view.active_plan {
        Some(id) => Some(active_plan(term, id, &mut problems).await),
        None => None,
    };
    let volumes = view.volumes.iter().map(|(zone, volumes)| {
        let mut counts = BTreeMap::new();
        for v in volumes {
            *counts.entry(v.status).or_insert(0u32) += 1;
        }
        ZoneVolumes {
            zone: zone.clone(),
            counts,
            volumes: volumes.clone(),
        }
    });
    GroupStatus {
        spec: view.spec.clone(),
        primary: view.primary.clone(),
        lease: view.lease.clone(),
        unprotected: view.state.unprotected.clone(),
        last_failover: view.state.last_failover.clone(),
        hooks_failed: picture
            .world
            .groups
            .get(name)
            .and_then(|g| g.hooks_failed.clone()),
        approval: view.approval.clone(),
        decision: picture.decisions.get(name).cloned(),
        active_plan,
        volumes: volumes.collect(),
        alone: rekindle_core::alone::alone(view),
        preflight: None,
        problems,
    }
}

async fn active_plan(term: &Term, id: &PlanId, problems: &mut Vec<Problem>) -> ActivePlan {
    let work = term.work_on(id);
    let progress = work.as_ref().and_then(|w| w.progress.borrow().clone());
    problems.extend(work.and_then(|w| w.state.problem().cloned()));
    let mut active = ActivePlan {
        id: id.clone(),
        kind: None,
        state: None,
        text: "it cannot be read".to_owned(),
        progress,
    };
    match plans::detail(term.lead.store(), id).await {
        Ok(detail) => {
            if let Some(p) = detail.problem.as_ref().filter(|p| !problems.contains(p)) {
                problems.push(p.clone());
            }
            active.kind = Some(detail.plan.kind);
            active.text = describe(&detail);
            active.state = detail.state;
        }
        Err(e) => {
            let problem = Problem {
                code: e.code,
                about: id.to_string(),
                message: e.message,
            };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    active
}

/// Where a plan stands, in words.
fn describe(detail: &PlanDetail) -> String {
    let of = detail.plan.steps.len();
    let step = |n: usize| match detail.plan.steps.get(n) {
        Some(s) => format!("step {} of {of}: {}", n + 1, s.step),
        None => format!("all {of} steps are done"),
    };
    let undo = |failed: usize, n: usize| {
        let entry = detail
            .plan
            .steps
            .get(failed)
            .and_then(|s| s.unwind.get(n))
            .map_or_else(
                || "nothing is left to put back".to_owned(),
                ToString::to_string,
            );
        format!("step {} failed; putting back: {entry}", failed + 1)
    };
    match &detail.state {
        None => "its journal is corrupted: nothing is done on it".to_owned(),
        Some(saga::State::Fresh) => "about to begin".to_owned(),
        Some(saga::State::Between { next }) => step(*next),
        Some(saga::State::Running { step: n }) => step(*n),
        Some(saga::State::Unwinding { failed, next }) => undo(*failed, *next),
        Some(saga::State::RunningUnwind { failed, undo: n }) => undo(*failed, *n),
        Some(saga::State::Stuck {
            step: n,
            undo: None,
            error,
        }) => format!("waits for a person at {}: {error}", step(*n)),
        Some(saga::State::Stuck {
            step: n,
            undo: Some(u),
            error,
        }) => format!("waits for a person: {}: {error}", undo(*n, *u)),
        Some(saga::State::Ended { end }) => format!("ended: {end:?}").to_lowercase(),
    }
}
