//! Resync: discard the zone's copies and make them anew. The sidecar's guards decide whether it may (hard case 18), and it measures what
//! is given up by it (hard cases 16, 31).

use super::{
    Context, Pass, Result, Tally,
    orders::{self, Means},
};
use rekindle_common::{
    ApiError, ErrorCode, Generation, ResyncToken, ZoneName,
    action::{SafetyCopy, VolumeAction},
    given_up::in_words,
};

pub(super) async fn run(
    ctx: &Context<'_>,
    zone: &ZoneName,
    token: &ResyncToken,
    safety: SafetyCopy,
    generation: Generation,
    tally: &mut Tally,
) -> Result<Pass> {
    let resync = |_: &_| VolumeAction::Resync {
        token: token.clone(),
        safety,
    };
    let pass = orders::give(ctx, zone, generation, tally, resync, meaning).await?;
    Ok(match pass {
        Pass::Done { note } if !tally.given_up().is_empty() => Pass::Done {
            note: format!("{note}; {}", in_words(zone, tally.given_up())),
        },
        other @ (Pass::Done { .. } | Pass::NotYet { .. } | Pass::Bound { .. }) => other,
    })
}

/// That the peer is primary is a fact of this plan; the zone, just back, may not have seen it yet. Asked again, the guard stays
/// the sidecar's.
fn meaning(e: &ApiError) -> Means {
    if e.code == ErrorCode::PeerNotPrimary {
        Means::TryAgain
    } else {
        orders::by_advice(e)
    }
}
