//! Resync: discard the zone's copies and make them anew. The sidecar's guards decide whether it may (hard case 18), and it measures what
//! is given up by it (hard cases 16, 31).
//!
//! What is discarded is kept first, and a copy takes hours where a volume is large: while the sidecar says that copies get on, the
//! step has all of its time before it.

use super::{
    Context, Pass, Result, StepError, Tally,
    orders::{self, Means},
};
use rekindle_common::{
    ApiError, ErrorCode, Generation, ResyncToken, ZoneName,
    action::{SAFETY_FIELD, SafetyCopy, VolumeAction},
    given_up::in_words,
};
use std::sync::atomic::{AtomicBool, Ordering};

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
    let moves = AtomicBool::new(false);
    let noted = |e: &ApiError| {
        moves.fetch_or(is_copying(e), Ordering::Relaxed);
        meaning(e)
    };
    match orders::give(ctx, zone, generation, tally, resync, noted).await {
        Err(StepError::NotNow(note)) if moves.load(Ordering::Relaxed) => Ok(Pass::Moves { note }),
        Ok(Pass::Done { note }) if !tally.given_up().is_empty() => Ok(Pass::Done {
            note: format!("{note}; {}", in_words(zone, tally.given_up())),
        }),
        other => other,
    }
}

fn is_copying(e: &ApiError) -> bool {
    e.code == ErrorCode::Busy && e.field.as_deref() == Some(SAFETY_FIELD)
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
