//! Demote: look which volumes are primary in the zone, and demote those.

use super::{Context, Pass, Result, Tally, orders};
use rekindle_common::{DemotionToken, Generation, ZoneName, action::VolumeAction, volume::Role};

pub(super) async fn run(
    ctx: &Context<'_>,
    zone: &ZoneName,
    generation: Generation,
    token: Option<&DemotionToken>,
    tally: &mut Tally,
) -> Result<Pass> {
    let seen = ctx.look(zone).await?;
    for volume in tally.open() {
        match seen.get(&volume).map(|v| v.role) {
            Some(Role::Secondary) if token.is_none() => tally.done(&volume),
            Some(Role::NotMirrored) => tally.fail(&volume, "is not mirrored"),
            // The sidecar knows best what it does not list, and whether a demotion was this one.
            Some(Role::Primary | Role::Secondary | Role::Unknown) | None => {}
        }
    }
    orders::give(
        ctx,
        zone,
        generation,
        tally,
        |_| VolumeAction::Demote {
            token: token.cloned(),
        },
        orders::by_advice,
    )
    .await
}
