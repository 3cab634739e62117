//! Servers within plans: what goes wrong with them, and what then becomes of the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is a failed assertion"
)]

mod anew;
#[path = "../common/mod.rs"]
mod common;
mod disks;
mod hard_cases;
mod hooks;
mod kept;
mod processes;
mod returns;
mod starting;

use common::{
    Servers,
    bench::{Bench, Kind},
    group,
    pass::fresh_pass,
};
use rekindle_common::PlanId;
use rekindle_core::{
    plan::{Plan, Step},
    saga::{End, Event, HooksFailed, Saga},
};
use rekindle_orchestrator::{
    executor::Over,
    journal,
    servers::control::ServersError,
    steps::{Pass, StepError, Tally},
};
use std::{collections::BTreeMap, time::Duration};

async fn bench(kind: Kind) -> Bench {
    Bench::prepared_with(kind, Servers::Some).await
}

async fn run(bench: &Bench) -> (PlanId, Over) {
    let id = bench.begin(&bench.plan().await).await;
    let over = bench.hand.work(&id, None).await;
    (id, over)
}

/// Servers that the plan names, with the reason.
async fn failed(bench: &Bench, id: &PlanId) -> BTreeMap<String, String> {
    let plan = journal::read_plan(&bench.store(), id).await.unwrap();
    let records = bench.records(id).await;
    let saga = Saga::replay(&plan, &records).unwrap();
    let servers = saga.failed_servers().iter();
    servers
        .map(|f| (f.server.to_string(), f.why.clone()))
        .collect()
}

fn ended(end: End) -> Over {
    Over::Ended { end }
}

/// The plan did all of it; or the failure names what it could not help.
async fn assert_well(bench: &Bench, id: &PlanId, over: Over) {
    assert_eq!(over, ended(End::Succeeded), "{:?}", failed(bench, id).await);
}

fn refused(why: &str) -> ServersError {
    ServersError::Refused(why.to_owned())
}

/// Each record's time since the first, by what it says.
fn when(over: &[rekindle_core::saga::Record], plan: &Plan, name: &str) -> Duration {
    let done = |e: &Event| matches!(e, Event::StepDone { step, .. } if plan.steps[*step].step.name() == name);
    let at = over.iter().find(|r| done(&r.event)).unwrap().at;
    at.duration_since(over[0].at).try_into().unwrap()
}

/// As the leader shows it.
async fn hooks_failed(bench: &Bench) -> Option<HooksFailed> {
    let world = bench.hand.term.look().await.unwrap();
    world.groups[&group()].hooks_failed.clone()
}

async fn one_pass(bench: &Bench, plan: &Plan, step: &Step) -> (Result<Pass, StepError>, Tally) {
    fresh_pass(bench, plan, step, &[]).await
}
