//! How long batches take, and what the process weighs. Not part of the suite: `--ignored --nocapture`, VOLUMES=50.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod support;

use rekindle_common::{
    Generation, ImageSpec,
    action::{BatchItem, BatchRequest, BatchResult, VolumeAction},
    mode::ReplicationMode,
    status::VolumeStatus,
};
use rekindle_driver::actions::VolumeQuery;
use rekindle_lab::Site;
use std::time::{Duration, Instant};
use support::*;

fn rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |k: &str| {
        status
            .lines()
            .find(|l| l.starts_with(k))
            .unwrap()
            .to_owned()
    };
    format!("{} {}", line("VmRSS"), line("VmHWM"))
}

async fn batch(side: &Side, specs: &[ImageSpec], action: &VolumeAction, generation: u64) {
    let items = specs.iter().map(|s| BatchItem {
        volume: s.clone(),
        order: order(action.clone(), generation),
    });
    let request = BatchRequest {
        items: items.collect(),
    };
    let begun = Instant::now();
    let mut lines = side.volumes.batch(request).unwrap();
    let (mut ok, mut failed, mut took) = (0, Vec::new(), Vec::new());
    while let Some(line) = lines.recv().await {
        match line.result {
            BatchResult::Ok { outcome } => {
                ok += 1;
                took.push(outcome.took_ms);
            }
            BatchResult::Failed { error } => failed.push(error.to_string()),
        }
    }
    took.sort_unstable();
    println!(
        "{} {} volumes: {:?}; {ok} ok, {} failed {:?}; each {:?} to {:?} ms; {}",
        action.name(),
        specs.len(),
        begun.elapsed(),
        failed.len(),
        failed.first(),
        took.first(),
        took.last(),
        rss()
    );
}

async fn list(side: &Side, what: &str) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let page = side.volumes.volumes(&VolumeQuery::default()).await.unwrap();
    println!(
        "{what}: list of {} took {:?}; {}",
        page.volumes.len(),
        begun.elapsed(),
        rss()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed() {
    let n = std::env::var("VOLUMES").map_or(50, |v| v.parse().unwrap());
    let mode = match std::env::var("MODE").as_deref() {
        Ok("snapshot") => ReplicationMode::Once,
        _ => ReplicationMode::Instant,
    };
    let z = zones();
    println!("start {}", rss());
    let begun = Instant::now();
    let (group, specs) = z.replicated(n, mode).await;
    println!("replicated in {:?} {}", begun.elapsed(), rss());
    for what in ["first", "second", "third"] {
        list(&z.b, what).await;
    }
    batch(&z.a, &specs, &VolumeAction::Demote { token: None }, 2).await;
    z.b.volumes.take_lease(&group, Generation(2)).await.unwrap();
    batch(&z.b, &specs, &plain(), 2).await;
    batch(&z.b, &specs, &plain(), 2).await;
    for s in &specs {
        wait_for(&z.a, s, "in step", |r| {
            matches!(
                r.status,
                VolumeStatus::ActiveSecondary | VolumeStatus::ActiveUpdating
            )
        })
        .await;
    }
    list(&z.b, "moved").await;
    batch(&z.b, &specs, &VolumeAction::Demote { token: None }, 3).await;
    z.a.volumes.take_lease(&group, Generation(3)).await.unwrap();
    batch(&z.a, &specs, &plain(), 3).await;
    batch(&z.a, &specs, &plain(), 3).await;
    for s in &specs {
        wait(&z.b, s, VolumeStatus::ActiveSecondary).await;
    }
    z.lab.kill(Site::ZoneA).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    z.b.volumes.take_lease(&group, Generation(4)).await.unwrap();
    batch(&z.b, &specs, &forced(), 4).await;
    batch(&z.b, &specs, &forced(), 4).await;
    list(&z.b, "after").await;
}
