//! Promotion by force with the other zone dead.
//!
//! One death serves both: of two equal sets of volumes one is promoted by the sidecar, the other by the loop. Which set,
//! and who goes first, change with each round.

use crate::{
    Progress,
    report::{Forced, Restore},
    volumes::{self, Volume, each, wait_all, wait_in_step, wait_reported},
    world::World,
};
use anyhow::{Context, bail, ensure};
use rbd_rs::Role;
use rekindle_common::action::{Promotion, VolumeAction};
use rekindle_lab::Site;
use rekindle_tests::samples::Samples;
use std::{
    collections::BTreeMap,
    mem::ManuallyDrop,
    sync::Mutex,
    time::{Duration, Instant},
};

/// For the daemon to delete a copy that is to be made anew, and make it.
const MADE_ANEW: Duration = Duration::from_secs(240);

/// Two equal sets of volumes, primary in zone-a.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    one: Vec<Volume>,
    two: Vec<Volume>,
}

impl Sets {
    /// Adds volumes up to `count` in each, and waits until all copies are in step.
    pub(crate) fn grow(&mut self, world: &World, count: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let mut new = Vec::new();
        for (set, name) in [(&mut self.one, "one"), (&mut self.two, "two")] {
            let made = volumes::create(world, name, set.len(), count)?;
            new.extend_from_slice(&made);
            set.extend(made);
        }
        wait_in_step(world, &new, Site::ZoneA, Site::ZoneB)?;
        Ok(begun.elapsed())
    }

    /// The first set.
    pub(crate) fn first(&self) -> &[Volume] {
        &self.one
    }
}

/// Kills zone-a, promotes both sets in zone-b, and puts all back, `rounds` times.
pub(crate) fn measure(
    world: &mut World,
    sets: &Sets,
    rounds: usize,
    say: &Progress,
) -> anyhow::Result<Forced> {
    let mut forced = Forced::new(sets.one.len(), rounds);
    for set in [&sets.one, &sets.two] {
        wait_reported(world, set, Site::ZoneB)?;
    }
    for round in 0..rounds {
        let (mine, theirs) = if round % 2 == 0 {
            (&sets.one, &sets.two)
        } else {
            (&sets.two, &sets.one)
        };
        world.kill(Site::ZoneA)?;
        let (sidecar, shell) = if round % 2 == 0 {
            let first = by_sidecar(world, mine)?;
            (first, by_shell(world, theirs)?)
        } else {
            let first = by_shell(world, theirs)?;
            (by_sidecar(world, mine)?, first)
        };
        let all: Vec<Volume> = mine.iter().chain(theirs).cloned().collect();
        all_primary(world, &all)?;
        forced.sidecar.add(sidecar);
        forced.shell.add(shell);
        say.line(&format!(
            "forced, {} volumes, round {}: sidecar {:.2} s, shell loop {:.1} s",
            mine.len(),
            round + 1,
            sidecar.as_secs_f64(),
            shell.as_secs_f64()
        ));
        let restore = put_back(world, &all)?;
        say.line(&format!(
            "  zone-a is back and all copies in zone-b were made anew ({:.0} s)",
            restore.total_s
        ));
        forced.restores.push(restore);
    }
    Ok(forced)
}

fn by_sidecar(world: &World, volumes: &[Volume]) -> anyhow::Result<Duration> {
    let batch = world.batch(Site::ZoneB, volumes, |_| VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "zone-a was killed".to_owned(),
            accept_torn: false,
        },
    })?;
    if let Some((volume, error)) = batch.refused.first() {
        let n = batch.refused.len();
        bail!(
            "{n} of {} volumes were not promoted; {volume}: {error}",
            volumes.len()
        );
    }
    Ok(batch.took)
}

fn by_shell(world: &World, volumes: &[Volume]) -> anyhow::Result<Duration> {
    world.shell(
        Site::ZoneB,
        volumes,
        "rbd mirror image promote --force \"$v\" >/dev/null",
    )
}

/// A measurement of promotions that did not happen would be worth nothing.
fn all_primary(world: &World, volumes: &[Volume]) -> anyhow::Result<()> {
    let pool = world.admin(Site::ZoneB)?;
    each(volumes, |v| {
        let role = pool.open_read_only(&v.name)?.mirror_info()?.role;
        ensure!(role == Role::Primary, "it is {role:?} after its promotion");
        Ok(())
    })
}

/// Zone-a comes back; it was primary and stays it, so zone-b's images, promoted meanwhile, are given up: demoted, and made
/// anew from zone-a's.
///
/// The quickest correct way that was found. Both need the daemon to delete and copy each image, and a demotion first, for
/// a primary is not resynced.
fn put_back(world: &mut World, volumes: &[Volume]) -> anyhow::Result<Restore> {
    let begun = Instant::now();
    world.start(Site::ZoneA)?;
    let zone_up_s = begun.elapsed().as_secs_f64();
    let pool = world.admin(Site::ZoneA)?;
    // What a resync copies must be there and primary (hard case 18).
    each(volumes, |v| {
        let role = pool.open_read_only(&v.name)?.mirror_info()?.role;
        ensure!(role == Role::Primary, "in zone-a it is {role:?}");
        Ok(())
    })?;
    let pool = world.admin(Site::ZoneB)?;
    let old = Mutex::new(BTreeMap::new());
    each(volumes, |v| {
        let image = pool.open(&v.name)?;
        let id = image.id()?;
        image.mirror_demote()?;
        image.mirror_resync()?;
        old.lock()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))?
            .insert(v.name.clone(), (id, image));
        Ok(())
    })?;
    let flagged_s = begun.elapsed().as_secs_f64();
    let old = old
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    // Never closed: librbd 16 may abort the process where an image is deleted while, or shortly before, it is (`AsyncOpTracker.cc`).
    let (given_up, _images): (BTreeMap<_, _>, Vec<_>) = old
        .into_iter()
        .map(|(name, (id, image))| ((name, id), ManuallyDrop::new(image)))
        .unzip();
    wait_all(
        world,
        Site::ZoneB,
        "a copy is made anew",
        volumes,
        MADE_ANEW,
        |v| {
            let id = pool
                .open_read_only(&v.name)
                .and_then(|image| image.id())
                .map_err(|e| e.to_string())?;
            match given_up.get(&v.name) {
                Some(old) if *old == id => Err("it is still the old one".to_owned()),
                Some(_) | None => Ok(()),
            }
        },
    )?;
    let made_anew_s = begun.elapsed().as_secs_f64();
    wait_in_step(world, volumes, Site::ZoneA, Site::ZoneB).context("after zone-a came back")?;
    let in_step_s = begun.elapsed().as_secs_f64();
    wait_reported(world, volumes, Site::ZoneB)?;
    Ok(Restore {
        volumes: volumes.len(),
        zone_up_s,
        flagged_s,
        made_anew_s,
        in_step_s,
        total_s: begun.elapsed().as_secs_f64(),
    })
}

impl Forced {
    fn new(volumes: usize, rounds: usize) -> Self {
        Self {
            volumes,
            rounds,
            sidecar: Samples::default(),
            shell: Samples::default(),
            restores: Vec::new(),
        }
    }
}
