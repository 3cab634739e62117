//! Waiting for copies: until they have replayed a demotion, or until they are complete and in step.

use super::{Context, Pass, Result, Tally};
use rekindle_common::{
    ImageSpec, ZoneName,
    status::VolumeStatus,
    volume::{Known, Role, VolumeReport},
};

/// Until the copies in `zone` show that their primary was demoted and have all of its data (hard case 21).
pub(super) async fn await_demotion_replayed(
    ctx: &Context<'_>,
    zone: &ZoneName,
    tally: &mut Tally,
) -> Result<Pass> {
    wait(ctx, zone, tally, |v| {
        v.status == VolumeStatus::PendingPromotion
    })
    .await
}

/// Until the copies in `zone` are complete and follow their primary.
///
/// In step is what `active - secondary` says, or `active - updating` of a complete copy: a busy journal never has nothing behind.
pub(super) async fn await_replay(
    ctx: &Context<'_>,
    zone: &ZoneName,
    tally: &mut Tally,
) -> Result<Pass> {
    wait(ctx, zone, tally, |v| {
        let follows = matches!(
            v.status,
            VolumeStatus::ActiveSecondary | VolumeStatus::ActiveUpdating
        );
        v.role == Role::Secondary && follows && v.complete_copy == Known::Yes
    })
    .await
}

async fn wait(
    ctx: &Context<'_>,
    zone: &ZoneName,
    tally: &mut Tally,
    arrived: impl Fn(&VolumeReport) -> bool,
) -> Result<Pass> {
    let seen = ctx.look(zone).await?;
    for volume in tally.open() {
        match seen.get(&volume) {
            Some(v) if arrived(v) => tally.done(&volume),
            other => tally.waits(&volume, describe(&volume, other)),
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
        Some(v) => v.status.to_string(),
    }
}
