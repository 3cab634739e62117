//! Demote: look which volumes are primary in the zone, and demote those.

use super::{Context, Pass, Result, Tally, orders};
use rekindle_common::{Generation, ZoneName, action::VolumeAction, volume::Role};

pub(super) async fn run(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    tally: &mut Tally,
) -> Result<Pass> {
    let seen = ctx.look(zone).await?;
    for volume in tally.open() {
        match seen.get(&volume).map(|v| v.role) {
            Some(Role::Secondary) => tally.done(&volume),
            Some(Role::NotMirrored) => tally.fail(&volume, "is not mirrored"),
            // The sidecar knows best what it does not list.
            Some(Role::Primary | Role::Unknown) | None => {}
        }
    }
    orders::give(
        ctx,
        zone,
        generation,
        tally,
        |_| VolumeAction::Demote,
        orders::by_advice,
    )
    .await
}
