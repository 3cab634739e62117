//! `rekindle demo-writer`: the application of the demonstration, one process a zone, one thread a volume.
//!
//! It runs inside its zone, is killed with it, and goes on where the volume ends. What a zone acknowledges goes into the ledger,
//! after the acknowledgement and before the next record: the ledger never claims more than was written.

use super::{
    ledger::{Ack, Ledger, LedgerWriter},
    rbd,
    record::{self, Record, SLOT},
};
use crate::{args::DemoWriterArgs, error::CliError, exit::Exit};
use rbd_rs::{Cluster, Image};
use rekindle_common::{ImageSpec, Timestamp, telemetry};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs until it is told to end, or no volume takes writes any more.
///
/// # Errors
/// [`CliError`] where the zone cannot be reached at all. A volume that stops taking writes ends its thread, with a log line.
pub fn run(args: &DemoWriterArgs) -> Result<Exit, CliError> {
    telemetry::init(telemetry::LogFormat::Text, "info");
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(&stop)
        .map_err(|e| CliError::failed(format!("no signal handler could be set: {e}")))?;
    let ledger = Ledger::at(&args.ledger)
        .map_err(|e| CliError::failed(format!("{}: {e}", args.ledger.display())))?;
    let cluster = connect(&args.ceph_conf, &args.client_id)?;
    let every = args.every.get();
    let ended: Vec<bool> = thread::scope(|scope| {
        let threads: Vec<_> = args
            .volumes
            .iter()
            .map(|v| {
                let (cluster, ledger, stop) = (&cluster, &ledger, &*stop);
                scope.spawn(move || {
                    let ended = one(cluster, v, ledger, args.generation, every, stop);
                    if let Err(e) = &ended {
                        tracing::warn!(volume.id = %v, error = %e, "the volume takes no more writes");
                    }
                    ended.is_ok()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or(false))
            .collect()
    });
    Ok(if ended.iter().all(|ok| *ok) {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

fn connect(conf: &Path, client: &str) -> Result<Cluster, CliError> {
    rbd::connect(conf, client).map_err(|e| CliError::Unreachable {
        message: format!("the zone's cluster is not reached: {e}"),
        advice: "see that its monitor runs".to_owned(),
    })
}

/// SIGTERM and Ctrl-C end it in order: what is in flight is acknowledged, the images' locks are given back.
fn watch_signals(stop: &Arc<AtomicBool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stop = Arc::clone(stop);
    let (mut term, mut int) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        });
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

fn one(
    cluster: &Cluster,
    volume: &ImageSpec,
    ledger: &Ledger,
    generation: u64,
    every: Duration,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let image = cluster.pool(volume.pool())?.open(volume.image())?;
    let size = image.size()?;
    let first = record::first_blank(size, |at, buffer| rbd::fill(&image, at, buffer))?;
    let mut last_us = newest_time(&image, volume, first)?;
    let mut acks = ledger.writer(volume)?;
    tracing::info!(volume.id = %volume, generation, first, "writing");
    let mut next = Instant::now();
    for seq in first..record::slots(size) {
        if stop.load(Ordering::Relaxed) {
            image.close()?;
            return Ok(());
        }
        last_us = write(
            &image,
            volume,
            &mut acks,
            Record {
                seq,
                generation,
                at_us: last_us,
            },
        )?;
        next += every;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Err("the volume is full".into())
}

/// The time of the record before the first blank slot: times within a volume never go back, whatever the clock does.
fn newest_time(image: &Image, volume: &ImageSpec, first: u64) -> Result<i64, Failure> {
    let Some(newest) = first.checked_sub(1) else {
        return Ok(0);
    };
    let mut slot = vec![0; SLOT];
    rbd::fill(image, record::offset(newest), &mut slot)?;
    match Record::decode(volume, newest, &slot) {
        record::Slot::Good(r) => Ok(r.at_us),
        record::Slot::Blank => Err(format!("slot {newest} went blank").into()),
        record::Slot::Damaged(d) => Err(format!("slot {newest} {d}: not writing behind it").into()),
    }
}

/// Writes the record at a time after its own, and enters it once it is acknowledged. Returns its time.
fn write(
    image: &Image,
    volume: &ImageSpec,
    acks: &mut LedgerWriter,
    before: Record,
) -> Result<i64, Failure> {
    let at_us = Timestamp::now().as_microsecond().max(before.at_us + 1);
    let record = Record { at_us, ..before };
    let slot = record.encode(volume);
    let written = image.write(record::offset(record.seq), &slot)?;
    if written != slot.len() {
        return Err(format!("{written} of {} bytes were taken", slot.len()).into());
    }
    image.flush()?;
    let acked_us = Timestamp::now().as_microsecond();
    acks.add(&Ack { record, acked_us })?;
    Ok(at_us)
}
