//! Promote, each volume as the plan says: plainly or by force. Volumes that are primary already are ordered too: the order
//! makes the zone remember the generation, and the sidecar looks before it acts.

use super::{Context, Pass, Result, Tally, orders};
use rekindle_common::{
    Generation, ImageSpec, ZoneName,
    action::{Promotion, VolumeAction},
};
use rekindle_core::plan::VolumePromotion;
use std::collections::BTreeMap;

pub(super) async fn run(
    ctx: &Context<'_>,
    zone: &ZoneName,
    volumes: &[VolumePromotion],
    generation: Generation,
    tally: &mut Tally,
) -> Result<Pass> {
    let how: BTreeMap<&ImageSpec, &Promotion> =
        volumes.iter().map(|v| (&v.volume, &v.promotion)).collect();
    let promotion = |volume: &ImageSpec| VolumeAction::Promote {
        // Each is in the list, for the tally was made of it; plain is what can do no harm.
        promotion: how.get(volume).map_or(Promotion::Plain, |p| (*p).clone()),
    };
    orders::give(ctx, zone, generation, tally, promotion, orders::by_advice).await
}
