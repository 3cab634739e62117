//! The application of the simulated zones: a task for each volume, on the runtime of its zone.

use crate::demo::{
    ledger::{Ack, Ledger},
    record::{self, Record},
};
use futures::{FutureExt, future::BoxFuture, future::join_all};
use rekindle_common::{Generation, ImageSpec, ZoneName};
use rekindle_driver::backend::memory::Cluster;
use rekindle_orchestrator::agent::{AgentAction, AgentError, AgentOrder, InProcessAgent};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Between two records of a volume.
const EVERY: Duration = Duration::from_millis(20);

/// A zone that an application can run in.
#[derive(Debug, Clone)]
pub(super) struct Lights {
    pub(super) zone: ZoneName,
    pub(super) runtime: Handle,
    pub(super) cluster: Cluster,
}

/// The application: at most one run of it in each zone.
#[derive(Debug)]
pub(super) struct Application {
    ledger: Ledger,
    zones: Mutex<BTreeMap<ZoneName, Zone>>,
}

#[derive(Debug)]
struct Zone {
    lights: Lights,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    generation: Generation,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Application {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            zones: Mutex::default(),
        }
    }

    fn zones(&self) -> MutexGuard<'_, BTreeMap<ZoneName, Zone>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn zone_is_up(&self, lights: Lights) {
        let zone = lights.zone.clone();
        self.zones().insert(
            zone,
            Zone {
                lights,
                running: None,
            },
        );
    }

    /// Its tasks end with the zone's runtime.
    pub(super) fn zone_is_gone(&self, zone: &ZoneName) {
        self.zones().remove(zone);
    }

    /// Ends it in order: what is in flight is acknowledged first.
    pub(super) async fn stop(&self, zone: &ZoneName) {
        let running = self.zones().get_mut(zone).and_then(|z| z.running.take());
        if let Some(running) = running {
            running.stop.cancel();
            // A task that was cut off with its runtime has ended too.
            drop(join_all(running.tasks).await);
        }
    }

    pub(super) async fn carry_out(&self, order: AgentOrder) -> Result<(), AgentError> {
        match order.action {
            AgentAction::Fence => return Err(AgentError::Failed("it fences nothing".to_owned())),
            AgentAction::Before | AgentAction::After | AgentAction::Ready => {
                return Err(AgentError::Failed("it is no hook".to_owned()));
            }
            AgentAction::Stop => {
                self.stop(&order.zone).await;
                return Ok(());
            }
            AgentAction::Start => {}
        }
        let so_already = self
            .zones()
            .get(&order.zone)
            .and_then(|z| z.running.as_ref())
            .is_some_and(|r| r.generation == order.generation);
        if so_already {
            return Ok(());
        }
        self.stop(&order.zone).await;
        let mut zones = self.zones();
        let zone = zones
            .get_mut(&order.zone)
            .ok_or_else(|| AgentError::NotNow(format!("{} is down", order.zone)))?;
        let stop = CancellationToken::new();
        let tasks = order
            .volumes
            .iter()
            .map(|v| {
                let (cluster, ledger) = (zone.lights.cluster.clone(), self.ledger.clone());
                let writing = write(cluster, v.clone(), ledger, order.generation, stop.clone());
                zone.lights.runtime.spawn(writing)
            })
            .collect();
        zone.running = Some(Running {
            generation: order.generation,
            stop,
            tasks,
        });
        Ok(())
    }
}

impl InProcessAgent for Application {
    fn run(&self, order: AgentOrder) -> BoxFuture<'_, Result<(), AgentError>> {
        self.carry_out(order).boxed()
    }
}

/// Writes until it is stopped, or the volume takes no more.
async fn write(
    cluster: Cluster,
    volume: ImageSpec,
    ledger: Ledger,
    generation: Generation,
    stop: CancellationToken,
) {
    let clock = cluster.clock();
    let ended: Result<(), Box<dyn std::error::Error + Send + Sync>> = async {
        let writer = cluster.open(&volume).await?;
        let there = cluster.records(&volume).unwrap_or_default();
        let mut seq = there.len() as u64;
        let mut last_us =
            there
                .last()
                .map_or(0, |r| match Record::decode(&volume, r.seq, &r.payload) {
                    record::Slot::Good(r) => r.at_us,
                    record::Slot::Blank | record::Slot::Damaged(_) => 0,
                });
        let mut acks = ledger.writer(&volume)?;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let at_us = clock.now().as_microsecond().max(last_us + 1);
            let record = Record {
                seq,
                generation: generation.0,
                at_us,
            };
            writer.write(seq, record.encode(&volume)).await?;
            acks.add(&Ack {
                record,
                acked_us: clock.now().as_microsecond(),
            })?;
            (seq, last_us) = (seq + 1, at_us);
            ticks.tick().await;
        }
        Ok(())
    }
    .await;
    if let Err(error) = ended {
        tracing::debug!(volume.id = %volume, %error, "the volume takes no more writes");
    }
}
