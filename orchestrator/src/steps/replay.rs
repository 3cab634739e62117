//! Waiting for copies: until they have replayed a demotion, or until they are complete and in step.

use super::{Context, Pass, Result, Tally, volumes_of};
use rekindle_common::{
    DemotionToken, ImageSpec, ZoneName,
    status::VolumeStatus,
    volume::{Known, Lag, Role, VolumeReport},
};
use rekindle_core::plan::{PlannedStep, Step};
use std::collections::BTreeSet;

/// Until the copies in `zone` show that their primary was demoted under that name and have all of its data (hard cases 21 and 57).
pub(super) async fn await_demotion_replayed(
    ctx: &Context<'_>,
    zone: &ZoneName,
    token: &DemotionToken,
    tally: &mut Tally,
) -> Result<Pass> {
    let arrived = |v: &VolumeReport| {
        v.status == VolumeStatus::PendingPromotion && v.demotion.as_ref() == Some(token)
    };
    // The application stands still, and nothing was given away yet: what does not move is not waited for.
    let hopeless = |v: &VolumeReport| {
        let stands = matches!(
            v.status,
            VolumeStatus::ErrorMirrorDown | VolumeStatus::ErrorSplitBrain
        );
        stands.then(|| format!("is {}: the demotion does not arrive", v.status))
    };
    let mut pass = wait(ctx, zone, tally, arrived, hopeless).await?;
    // What bears the demotion's name has replayed all that was written before it, and nothing was written after.
    if let Pass::Done { note } = &mut pass {
        note.push_str(" have all that was written: nothing of them is lost");
    }
    Ok(pass)
}

/// Until the copies in `zone` are complete and follow their primary.
///
/// In step is what [`VolumeReport::is_in_step`] says: one that its daemon has only started on may still show that it has diverged.
///
/// A copy that shows only now that it has diverged is not waited for: it never comes by itself, and a plan cannot take a resync
/// up. It ends as failed, the plan as partial, and the next decision sees the copy for what it is.
pub(super) async fn await_replay(
    ctx: &Context<'_>,
    zone: &ZoneName,
    tally: &mut Tally,
) -> Result<Pass> {
    let resynced = resynced(ctx);
    let hopeless = |v: &VolumeReport| {
        // One that this plan has given up may look like that until it is made anew.
        let diverged = v.status == VolumeStatus::ErrorSplitBrain && v.role == Role::Secondary;
        (diverged && !resynced.contains(&v.volume))
            .then(|| "has diverged, and this plan does not resync it".to_owned())
    };
    wait(ctx, zone, tally, VolumeReport::is_in_step, hopeless).await
}

/// What this plan gives up and has made anew.
fn resynced(ctx: &Context<'_>) -> BTreeSet<ImageSpec> {
    let resync = |s: &PlannedStep| matches!(s.step, Step::Resync { .. });
    let steps = ctx.plan.steps.iter().filter(|s| resync(s));
    steps.flat_map(|s| volumes_of(&s.step)).collect()
}

async fn wait(
    ctx: &Context<'_>,
    zone: &ZoneName,
    tally: &mut Tally,
    arrived: impl Fn(&VolumeReport) -> bool,
    hopeless: impl Fn(&VolumeReport) -> Option<String>,
) -> Result<Pass> {
    let seen = ctx.look(zone).await?;
    for volume in tally.open() {
        let report = seen.get(&volume);
        match (report, report.and_then(&hopeless)) {
            (Some(v), _) if arrived(v) => tally.done(&volume),
            (Some(_), Some(why)) => tally.fail(&volume, why),
            (other, _) => tally.waits(&volume, describe(&volume, other)),
        }
    }
    ctx.show(tally, &tally.waits_for());
    let (done, of) = tally.progress();
    if tally.is_over() {
        return Ok(Pass::Done {
            note: format!("{done} of {of} volumes"),
        });
    }
    Ok(Pass::NotYet {
        note: tally.waits_for(),
    })
}

fn describe(_: &ImageSpec, v: Option<&VolumeReport>) -> String {
    match v {
        None => "no image of it is there yet".to_owned(),
        Some(v) if v.complete_copy != Known::Yes && v.role == Role::Secondary => {
            format!("{}, no complete copy yet", v.status)
        }
        Some(v) if v.status == VolumeStatus::ActiveUpdating && v.lag == Lag::Unknown => {
            format!(
                "{}, its mirror daemon has not said yet how far behind it is",
                v.status
            )
        }
        Some(v) => v.status.to_string(),
    }
}
