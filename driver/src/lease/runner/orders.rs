//! Orders: to take a lease and to give it up, and what is answered.

use super::{
    super::{
        keeper::{Event, Record, State},
        keys::{TakeEnd, Taking},
        sink::LeaseSink,
        sites::OtherSites,
        slot::{Order, Reply, Slot},
    },
    Running,
};
use crate::lease::keeper::Moment;
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, lease::LeaseView, policy::IsolationResponse,
};
use rekindle_store::StoreError;
use std::{sync::Arc, time::Duration};

impl<L: LeaseSink, S: OtherSites> Running<L, S> {
    pub(super) fn took(
        group: &GroupName,
        slot: &mut Slot,
        now: Moment,
        taking: Taking,
        ordered: Option<Generation>,
    ) {
        slot.taking.end();
        // One that failed may have put the key all the same.
        if !matches!(taking.end, TakeEnd::Failed(_)) {
            slot.putting = None;
        }
        if let Some((record, revision)) = taking.record
            && slot.is_news(now, taking.began, revision)
        {
            let sent = taking.began;
            slot.apply(group, now, Event::RecordRead { sent, record });
        }
        if let Some(revision) = taking.changed {
            slot.is_news(now, taking.began, revision);
        }
        let ttl = slot.policy.terms().ttl();
        if let Some(granted) = taking.granted.map(|g| reckoned(g, now, taking.ttl, ttl)) {
            // The record comes before the order, and the order before what was granted on it.
            if let (Event::Taken { .. }, Some(generation)) = (granted, ordered) {
                slot.apply(group, now, Event::OrderedToTake { generation });
            }
            slot.apply(group, now, granted);
        }
        if matches!(
            taking.end,
            TakeEnd::Taken | TakeEnd::Failed(_) | TakeEnd::Raced
        ) {
            // A failure may have put the key all the same.
            slot.maybe_ours = true;
        }
        if let TakeEnd::Failed(error) = &taking.end {
            tracing::warn!(%group, %error, "the lease was not taken");
        }
        if let Some(generation) = ordered
            && let Some((waiting, reply)) = slot.ordered.take()
        {
            if waiting == generation {
                answer(
                    reply,
                    take_answer(group, slot, now, generation, &taking.end),
                );
            } else {
                // A newer order came meanwhile.
                slot.ordered = Some((waiting, reply));
            }
        }
    }

    pub(super) fn order(&mut self, order: Order) {
        let shared = Arc::clone(&self.shared);
        let mut slots = shared.slots();
        let now = self.now();
        match order {
            Order::Take {
                group,
                generation,
                reply,
            } => {
                let fresh = || self.new_slot(now, false, IsolationResponse::Demote);
                let slot = slots.entry(group).or_insert_with(fresh);
                if let Some((older, waiting)) = slot.ordered.replace((generation, reply)) {
                    let what =
                        format!("another order to take it came before that of {older} began");
                    answer(waiting, Err(ApiError::new(ErrorCode::Busy, what)));
                }
            }
            Order::GiveUp {
                group,
                generation,
                reply,
            } => {
                let Some(slot) = slots.get_mut(&group) else {
                    answer(reply, Ok(LeaseView::NotHeld));
                    return;
                };
                if let State::Held { generation: g, .. }
                | State::KeptByFailsafe { generation: g, .. } = slot.keeper.state()
                    && generation < g
                {
                    let what = format!("{group} is held under generation {g}, not {generation}");
                    answer(reply, Err(ApiError::new(ErrorCode::StaleGeneration, what)));
                    return;
                }
                slot.apply(&group, now, Event::OrderedToRelease { generation });
                slot.giving_up.push(reply);
            }
        }
    }
}

/// A grant on another time to live than the keeper reckons with by now, so that it ends when its own lease does, and no later than one
/// that was asked for now.
fn reckoned(granted: Event, now: Moment, on: u32, ttl: u32) -> Event {
    let shift = |sent: Moment| {
        let end = sent + Duration::from_secs(u64::from(on));
        end.saturating_sub(Duration::from_secs(u64::from(ttl)))
            .min(now)
    };
    match granted {
        Event::Taken { sent, generation } => Event::Taken {
            sent: shift(sent),
            generation,
        },
        Event::HeldByPeer { sent, generation } => Event::HeldByPeer {
            sent: shift(sent),
            generation,
        },
        Event::Tick
        | Event::Looked { .. }
        | Event::RecordRead { .. }
        | Event::PeerVouched { .. }
        | Event::Renewed { .. }
        | Event::Gone
        | Event::SitesConfirmed { .. }
        | Event::OrderedToTake { .. }
        | Event::OrderedToRelease { .. } => granted,
    }
}

fn answer(reply: Reply, result: Result<LeaseView, ApiError>) {
    // Whoever asked may have gone.
    let _ = reply.send(result);
}

fn take_answer(
    group: &GroupName,
    slot: &Slot,
    now: Moment,
    generation: Generation,
    end: &TakeEnd,
) -> Result<LeaseView, ApiError> {
    let refuse = |code, what: String| Err(ApiError::new(code, what));
    match end {
        TakeEnd::Taken => {
            let view = slot.keeper.view(now);
            if crate::leases::holds(&view, generation) {
                Ok(view)
            } else {
                let what = format!("{group}: the lease was taken and not held: {view:?}");
                refuse(ErrorCode::LeaseNotHeld, what)
            }
        }
        TakeEnd::Peer { holder } => refuse(
            ErrorCode::LeaseNotHeld,
            format!("{group}: the lease is held by {holder}"),
        ),
        TakeEnd::NotRecorded { record } => match record {
            Some(Record::Ours { generation: g } | Record::Theirs { generation: g })
                if *g > generation =>
            {
                let what = format!("{group} is recorded under generation {g}, not {generation}");
                refuse(ErrorCode::StaleGeneration, what)
            }
            Some(Record::Ours { .. } | Record::Theirs { .. } | Record::Absent) => refuse(
                ErrorCode::LeaseNotHeld,
                format!("{group}: this zone is not recorded under generation {generation}"),
            ),
            None => refuse(
                ErrorCode::CorruptRecord,
                format!("{group}: the primary record cannot be read"),
            ),
        },
        TakeEnd::Raced | TakeEnd::Free => refuse(
            ErrorCode::Busy,
            format!("{group}: the record changed meanwhile: try again"),
        ),
        TakeEnd::Failed(e) => Err(e.into()),
    }
}

pub(super) fn released(slot: &mut Slot, now: Moment, result: Result<(), StoreError>) {
    slot.releasing.end();
    let end = match result {
        Ok(()) => {
            slot.maybe_ours = false;
            Ok(slot.keeper.view(now))
        }
        Err(error) => {
            tracing::warn!(%error, "the lease's key was not deleted; trying again");
            slot.maybe_ours = true;
            Err(ApiError::from(&error))
        }
    };
    for reply in slot.giving_up.drain(..) {
        answer(reply, end.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_ends_with_the_lease_that_it_was_made_on() {
        let secs = Duration::from_secs;
        let generation = Generation(1);
        for (on, ttl, sent) in [
            (30, 30, 1000),
            // Reckoned with 120 s from then it ends at 1030.
            (30, 120, 910),
            // It ends at 1120, and no right is longer than one that is asked for now.
            (120, 30, 1005),
        ] {
            for event in [
                |sent, generation| Event::Taken { sent, generation },
                |sent, generation| Event::HeldByPeer { sent, generation },
            ] {
                let granted = event(secs(1000), generation);
                let expected = event(secs(sent), generation);
                assert_eq!(
                    reckoned(granted, secs(1005), on, ttl),
                    expected,
                    "{on} {ttl}"
                );
            }
        }
    }
}
