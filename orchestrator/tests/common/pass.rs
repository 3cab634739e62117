//! One pass over one step, driven by hand.

use super::bench::Bench;
use rekindle_common::ImageSpec;
use rekindle_core::plan::{Plan, Step};
use rekindle_orchestrator::steps::{self, Context, Pass, StepError, Tally};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;

/// A fresh tally of the step's volumes and servers.
pub fn tally(plan: &Plan, step: &Step, failed_before: &BTreeSet<ImageSpec>) -> Tally {
    Tally::new(steps::volumes_of(step), failed_before).with_servers(steps::servers_of(plan, step))
}

/// One pass, by the leader that is driven by hand.
pub async fn pass(
    bench: &Bench,
    plan: &Plan,
    step: &Step,
    failed_before: &BTreeSet<ImageSpec>,
    tally: &mut Tally,
) -> Result<Pass, StepError> {
    let progress = watch::Sender::new(None);
    let ctx = Context {
        lead: &bench.hand.lead,
        plan,
        failed_before,
        failed_servers: &BTreeMap::new(),
        leases: bench.hand.term.leases(),
        assembler: &bench.hand.means().assembler,
        tools: &bench.hand.means().tools,
        progress: &progress,
        metrics: &bench.hand.means().metrics,
    };
    steps::attempt(&ctx, step, tally).await
}

/// One pass with a fresh tally, and the tally after it.
pub async fn fresh_pass(
    bench: &Bench,
    plan: &Plan,
    step: &Step,
    failed: &[ImageSpec],
) -> (Result<Pass, StepError>, Tally) {
    let failed = failed.iter().cloned().collect();
    let mut tally = tally(plan, step, &failed);
    let end = pass(bench, plan, step, &failed, &mut tally).await;
    (end, tally)
}
