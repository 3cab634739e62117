//! A planned move: demoted in one zone, promoted plainly in the other.
//!
//! Between the two the demotion has to be replayed. That wait is rbd-mirror's, the same for both and watched by the same
//! eyes, so it is measured and left out of the comparison. Each round moves the volumes there and back, once by the
//! sidecars and once by the loop; who goes first changes with each round, and with it the direction.

use crate::{
    Progress,
    report::{Leg, Planned},
    volumes::{Send, Volume, mark, token, wait_demoted, wait_in_step},
    world::World,
};
use anyhow::{bail, ensure};
use rekindle_common::action::{Promotion, VolumeAction};
use rekindle_lab::Site;
use std::time::{Duration, Instant};

/// For promotions that the daemon holds up for a moment.
const HELD_UP: Duration = Duration::from_secs(60);
/// The loop's promotion. It, too, is given again where the daemon still holds the image.
const PROMOTE: &str = "for t in {1..100}; do rbd mirror image promote \"$v\" >/dev/null 2>&1 && break; [ $t -lt 100 ]; done";
const DEMOTE: &str = "rbd mirror image demote \"$v\" >/dev/null";

#[derive(Debug, Clone, Copy)]
enum Who {
    Sidecar,
    Shell,
}

/// Moves the volumes to zone-b and back, `rounds` times.
pub(crate) fn measure(
    world: &World,
    volumes: &[Volume],
    rounds: usize,
    say: &Progress,
) -> anyhow::Result<Planned> {
    let mut planned = Planned {
        volumes: volumes.len(),
        rounds,
        waiting: "until the demotion is replayed: measured, and in neither figure",
        sidecar: Leg::default(),
        shell: Leg::default(),
    };
    for round in 0..rounds {
        let order = if round % 2 == 0 {
            [Who::Sidecar, Who::Shell]
        } else {
            [Who::Shell, Who::Sidecar]
        };
        let ways = [(Site::ZoneA, Site::ZoneB), (Site::ZoneB, Site::ZoneA)];
        for (who, (from, to)) in order.into_iter().zip(ways) {
            let leg = match who {
                Who::Sidecar => &mut planned.sidecar,
                Who::Shell => &mut planned.shell,
            };
            let took = move_all(world, volumes, from, to, who, leg)?;
            let name = match who {
                Who::Sidecar => "sidecar",
                Who::Shell => "shell loop",
            };
            say.line(&format!(
                "planned, {} volumes, round {}, {from} to {to}: {name} {:.2} s",
                volumes.len(),
                round + 1,
                took.as_secs_f64()
            ));
        }
    }
    Ok(planned)
}

fn move_all(
    world: &World,
    volumes: &[Volume],
    from: Site,
    to: Site,
    who: Who,
    leg: &mut Leg,
) -> anyhow::Result<Duration> {
    let token = token();
    mark(&world.admin(from)?, volumes, &token, Send::WithDemotion)?;
    let demote = match who {
        Who::Sidecar => {
            let batch = world.batch(from, volumes, |_| VolumeAction::Demote { token: None })?;
            if let Some((volume, error)) = batch.refused.first() {
                bail!("{volume} was not demoted: {error}");
            }
            batch.took
        }
        Who::Shell => world.shell(from, volumes, DEMOTE)?,
    };
    let wait = wait_demoted(world, volumes, to, &token)?;
    let promote = match who {
        Who::Sidecar => promote(world, volumes, to)?,
        Who::Shell => world.shell(to, volumes, PROMOTE)?,
    };
    leg.demote.add(demote);
    leg.wait.add(wait);
    leg.promote.add(promote);
    leg.both.add(demote + promote);
    wait_in_step(world, volumes, to, from)?;
    Ok(demote + promote)
}

/// All of them; what is refused for a reason that passes is ordered again, and that counts.
fn promote(world: &World, volumes: &[Volume], site: Site) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut left = volumes.to_vec();
    loop {
        let batch = world.batch(site, &left, |_| VolumeAction::Promote {
            promotion: Promotion::Plain,
        })?;
        let Some((volume, error)) = batch.refused.first() else {
            return Ok(begun.elapsed());
        };
        ensure!(
            batch.refused.iter().all(|(_, e)| e.retryable()) && begun.elapsed() < HELD_UP,
            "{volume} was not promoted: {error}"
        );
        left.retain(|v| batch.refused.iter().any(|(spec, _)| spec.image() == v.name));
    }
}
