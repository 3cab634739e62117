//! The way back, and what a zone does when it returns after a failover that went on without it.
//!
//! ```text
//!   its cluster takes writes again -> what is primary there, and was promoted elsewhere by a failover of ours since: demoted at once
//!   failover-host --backend_id default -> demoted, resynced (with a safety copy), waited for -> in step? -> the planned move
//! ```
//!
//! What a resync discards is only ever the loser of a failover that was ordered, which the winner's metadata shows; a split
//! that came about otherwise is left to a person (hard cases 16, 17, 18).

use super::{
    Cinder,
    failover::{Reports, Trip, both, order},
    health::Health,
    rules::{Seen, TOKEN, is_left_alone, not_in_step},
    sides::Side,
    wire::CinderVolume,
};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, ImageSpec, ResyncToken,
    action::{SafetyCopy, VolumeAction},
    volume::{Role, VolumeReport},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks for stale primaries while nothing happens.
const CALM: Duration = Duration::from_secs(30);
/// The most volumes that a refusal names.
const NAMED: usize = 3;

/// What stands between a volume and its way home.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gap {
    /// Nothing, or it is there already.
    None,
    /// Both say primary, and the home side is the loser of a failover of ours.
    Stale,
    /// Demoted, and with a history of its own: it must be made anew.
    Diverged,
    /// It gets there by itself, or a person must look.
    Wait(String),
}

impl Cinder {
    /// Makes the way home ready as far as that needs no decision, waits a little, and refuses with the figure where it is not.
    ///
    /// `away`: Cinder's service is in the other zone. Then it is to come home also where all volumes are there: plans brought them, an answer
    /// was lost behind them, or they are one part of many.
    pub(super) async fn way_back(
        &self,
        volumes: &[CinderVolume],
        trip: Trip<'_>,
        away: bool,
    ) -> Result<(), ApiError> {
        let Trip {
            from,
            to,
            health,
            by,
        } = trip;
        if !matches!(health, Health::Writes) {
            // Nothing can be in step with a zone that is dead; going home then is a failover, volume by volume.
            return Ok(());
        }
        let specs: Vec<ImageSpec> = volumes.iter().map(|v| v.image.clone()).collect();
        let give_up = (Instant::now() + self.inner.limits.back_wait.get()).min(by);
        let token = ResyncToken::new(super::token(TOKEN)?.as_str())
            .map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))?;
        let mut first = true;
        loop {
            let (left, taken) = both(&specs, from, to, health, by).await?;
            let is_ours = |v: &&CinderVolume| {
                let seen = Seen {
                    from: (from.zone(), health),
                    left: left.get(&v.image),
                    to: to.zone(),
                    taken: taken.get(&v.image),
                };
                !is_left_alone(v, &seen, to.zone())
            };
            // The other zone's own stay there, whatever they are: nobody waits for them.
            let ours: Vec<&ImageSpec> = volumes.iter().filter(is_ours).map(|v| &v.image).collect();
            let all_home = !ours.is_empty() && ours.iter().all(|s| is_home(s, &left, &taken));
            if first && !away && all_home {
                return Err(ApiError::new(
                    ErrorCode::InvalidField,
                    format!(
                        "nothing has failed over: every volume is primary in {}",
                        to.zone()
                    ),
                )
                .at("target"));
            }
            first = false;
            let gaps: Vec<(&ImageSpec, Gap)> = ours
                .iter()
                .map(|s| (*s, gap(left.get(*s), taken.get(*s), to)))
                .filter(|(_, g)| *g != Gap::None)
                .collect();
            if gaps.is_empty() {
                return Ok(());
            }
            let items = gaps.iter().filter_map(|(spec, gap)| match gap {
                Gap::Stale => Some(order(spec, VolumeAction::Demote { token: None })),
                Gap::Diverged => Some(order(
                    spec,
                    VolumeAction::Resync {
                        token: token.clone(),
                        safety: SafetyCopy::Keep,
                    },
                )),
                Gap::None | Gap::Wait(_) => None,
            });
            for (spec, end) in to.batch(items.collect(), by).await {
                if let Err(e) = end {
                    tracing::info!(volume.id = %spec, zone = %to.zone(), code = %e.code, error = %e.message, "the way back is not ready");
                }
            }
            if Instant::now() + POLL >= give_up {
                return Err(figure(&gaps, ours.len(), to));
            }
            sleep(POLL).await;
        }
    }

    /// Until `stop`: whenever this zone's cluster is back, what is primary here and was taken over since is demoted, before
    /// anybody writes to it for long (hard cases 4, 31).
    pub(super) async fn demote_stale(&self, stop: &CancellationToken) {
        let mut was = Health::Unknown;
        let mut next = Instant::now();
        loop {
            let is = self.inner.own.health();
            let back = is == Health::Writes && was != Health::Writes;
            was = is;
            if is == Health::Writes && (back || Instant::now() >= next) {
                match self.demote_stale_once().await {
                    Ok(()) => next = Instant::now() + CALM,
                    Err(e) => {
                        tracing::debug!(zone = %self.inner.own.zone(), error = %e, "stale primaries could not be looked for");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(POLL) => {}
            }
        }
    }

    pub(super) async fn demote_stale_once(&self) -> Result<(), ApiError> {
        let inner = &self.inner;
        let Some((_, peer)) = &inner.peer else {
            return Ok(());
        };
        let by = Instant::now() + inner.limits.call_time.get();
        let here: Reports = inner.own.list(by).await?;
        let mine = |r: &&VolumeReport| r.role == Role::Primary && r.group.is_none();
        if !here.values().any(|r| mine(&r)) {
            return Ok(());
        }
        let there = peer.list(by).await?;
        let stale: Vec<_> = here
            .values()
            .filter(mine)
            .filter(|r| there.get(&r.volume).is_some_and(|p| lost_to(r, p)))
            .map(|r| order(&r.volume, VolumeAction::Demote { token: None }))
            .collect();
        if stale.is_empty() {
            return Ok(());
        }
        tracing::warn!(zone = %inner.own.zone(), volumes = stale.len(), "failed over while this zone was away: demoting what is stale here");
        for (spec, end) in inner.own.batch(stale, by).await {
            if let Err(e) = end {
                tracing::error!(volume.id = %spec, zone = %inner.own.zone(), code = %e.code, error = %e.message, "a stale primary could not be demoted: stop what writes to it");
            }
        }
        Ok(())
    }
}

fn is_home(spec: &ImageSpec, left: &Reports, taken: &Reports) -> bool {
    taken.get(spec).is_some_and(|r| r.role == Role::Primary)
        && left.get(spec).is_none_or(|r| r.role != Role::Primary)
}

/// Whether the other zone's primary was promoted by a failover of ours that this zone's missed.
fn lost_to(here: &VolumeReport, there: &VolumeReport) -> bool {
    let (Some(note), Role::Primary) = (&there.forced, there.role) else {
        return false;
    };
    let ours = note.reason.starts_with(super::failover::REASON);
    // Forced here too, and later: then this zone is the winner.
    let later = here.forced.as_ref().map(|f| f.at) < Some(note.at);
    ours && later
}

/// What is in the way of one volume.
fn gap(left: Option<&VolumeReport>, taken: Option<&VolumeReport>, to: &Side) -> Gap {
    let Some(taken) = taken else {
        return Gap::Wait(format!("has no image in {}", to.zone()));
    };
    let Some(left) = left else {
        return match taken.role {
            // It never left: mirroring was taken off it, say. That keeps no other volume from going home.
            Role::Primary | Role::NotMirrored => Gap::None,
            Role::Secondary | Role::Unknown => {
                Gap::Wait("is not in the zone that is left".to_owned())
            }
        };
    };
    if let Some(group) = left.group.as_ref().or(taken.group.as_ref()) {
        return groups_gap(group, left, taken);
    }
    match (taken.role, left.role) {
        (Role::Primary, Role::Primary) if lost_to(taken, left) => Gap::Stale,
        (Role::Primary, Role::Primary) => {
            Gap::Wait("is primary in both zones, and by no failover of ours".to_owned())
        }
        (Role::Primary, _) => Gap::None,
        // Demoted in both zones by an earlier call: that one's demotion is what is waited for.
        (Role::Secondary, Role::Secondary) => Gap::None,
        (Role::Secondary, _) => {
            let diverged = taken.status == rekindle_common::status::VolumeStatus::ErrorSplitBrain;
            match not_in_step(taken) {
                None => Gap::None,
                Some(_) if diverged && lost_to(taken, left) => Gap::Diverged,
                Some(why) => Gap::Wait(why),
            }
        }
        (Role::NotMirrored | Role::Unknown, _) => Gap::Wait(format!("is \"{}\"", taken.status)),
    }
}

/// Of a group's volume: its plans demote and resync, and here it is only waited for.
fn groups_gap(group: &GroupName, left: &VolumeReport, taken: &VolumeReport) -> Gap {
    let why = match (taken.role, left.role) {
        (Role::Primary, Role::Primary) => Some("is primary in both zones".to_owned()),
        (Role::Primary, _) | (Role::Secondary, Role::Secondary) => None,
        (Role::Secondary, Role::Primary | Role::NotMirrored | Role::Unknown) => not_in_step(taken),
        (Role::NotMirrored | Role::Unknown, _) => Some(format!("is \"{}\"", taken.status)),
    };
    match why {
        None => Gap::None,
        Some(why) => Gap::Wait(format!("{why} (`rekindle group show {group}`)")),
    }
}

fn figure(gaps: &[(&ImageSpec, Gap)], all: usize, to: &Side) -> ApiError {
    let words = |g: &Gap| match g {
        Gap::None => String::new(),
        Gap::Stale => "is still primary there too".to_owned(),
        Gap::Diverged => "is being made anew from the primary".to_owned(),
        Gap::Wait(why) => why.clone(),
    };
    let mut named: Vec<String> = gaps
        .iter()
        .take(NAMED)
        .map(|(s, g)| format!("{} {}", s.image(), words(g)))
        .collect();
    if gaps.len() > NAMED {
        named.push(format!("and {} more", gaps.len() - NAMED));
    }
    ApiError::new(
        ErrorCode::Held,
        format!(
            "the way back is not in step: {} of {all} volumes are ready in {}; {}. Nothing was moved: call again when they are",
            all - gaps.len(),
            to.zone(),
            named.join("; "),
        ),
    )
}
