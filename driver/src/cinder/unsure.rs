//! A failover out of a zone of which it is not known whether its cluster still takes writes: refused as a whole, before anything is
//! moved. Each volume would be refused by itself, and Cinder makes of that a service that serves from the other zone with all of its
//! volumes in error, while they are well where they were.
//!
//! A zone that is lost with its sidecar is unknown for good, and what was promoted since in the zone that takes over, by a person or by
//! a group's plan, is to be served there. So the call goes on where nothing of it rests on a guess.

use super::{
    Cinder,
    failover::{Reports, both},
    health::Health,
    sides::Side,
    wire::CinderVolume,
};
use rekindle_common::{
    ApiError, ErrorCode, ImageSpec,
    volume::{Role, VolumeReport},
};
use tokio::time::Instant;

impl Cinder {
    /// Nothing is decided on a guess. Changes nothing.
    pub(super) async fn refuse_a_guess(
        &self,
        volumes: &[CinderVolume],
        (from, to): (&Side, &Side),
        health: Health,
        by: Instant,
    ) -> Result<(), ApiError> {
        match health {
            Health::Writes | Health::Dead { .. } => return Ok(()),
            Health::Unknown => {}
        }
        let specs: Vec<ImageSpec> = volumes.iter().map(|v| v.image.clone()).collect();
        let (_, taken) = both(&specs, from, to, health, by).await?;
        let guessed = guessed(&specs, &taken);
        let Some(first) = guessed.first() else {
            return Ok(());
        };
        Err(ApiError::new(
            ErrorCode::Held,
            format!(
                "whether {}'s cluster still takes writes is not known, and {} of {} volumes ({} first) were not promoted in {} by force: nothing is decided on a guess, and nothing was changed. Call failover-host again when that zone's sidecar answers",
                from.zone(),
                guessed.len(),
                specs.len(),
                first.image(),
                to.zone(),
            ),
        ))
    }
}

fn guessed<'a>(specs: &'a [ImageSpec], taken: &Reports) -> Vec<&'a ImageSpec> {
    let guess = |s: &&ImageSpec| taken.get(*s).is_some_and(is_a_guess);
    specs.iter().filter(guess).collect()
}

/// Whether what is to become of it rests on how the zone is that does not say.
fn is_a_guess(taken: &VolumeReport) -> bool {
    match taken.role {
        // One that came back stale says primary too, while the other zone's is the one in use. It has no such note.
        Role::Primary => taken.forced.is_none(),
        Role::Secondary | Role::Unknown => true,
        // It is in error whatever the other zone says, and keeps no other from where it is.
        Role::NotMirrored => false,
    }
}
