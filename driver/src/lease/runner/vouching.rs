//! Between a zone's sidecars: a holder answers those who have lost etcd, and who has lost it asks.

use super::{
    super::{
        keeper::{Event, Holder, Moment, Record, State},
        keys::Reading,
        sink::LeaseSink,
        sites::OtherSites,
        slot::Slots,
        vouch::{Board, BoardChange, HeldThere, Questions},
    },
    Done, Running, TICK,
};
use rekindle_common::{ApiError, GroupName, duration::Span, policy::IsolationResponse};
use rekindle_store::LeaseId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

impl<L: LeaseSink, S: OtherSites> Running<L, S> {
    /// Reads what the others ask, and asks where etcd is silent. Also before it has first answered: the grace of a start is short.
    pub(super) fn talk(&mut self, slots: &Slots, now: Moment) {
        let without_etcd = !self.read_once || self.store_well == Some(false);
        let holds = slots
            .values()
            .any(|s| matches!(s.keeper.state(), State::Held { by: Holder::Us, .. }));
        if !(without_etcd || holds) || !self.board.begin(now, TICK) {
            return;
        }
        let every = Self::renew_every(slots, self.config.timing) / 2;
        let question = without_etcd.then(|| self.asker.ask(now, every)).flatten();
        let change = match question {
            Some(question) => BoardChange::Ask {
                name: self.config.name.clone(),
                question,
            },
            None => BoardChange::None,
        };
        let sink = Arc::clone(&self.sink);
        self.tasks.spawn(async move {
            let board = sink.board(change).await;
            Done::Board { board }
        });
    }

    pub(super) fn board_read(
        &mut self,
        slots: &mut Slots,
        now: Moment,
        board: Result<Board, ApiError>,
    ) {
        self.board.end();
        let board = match board {
            Ok(board) => board,
            Err(error) => {
                tracing::debug!(zone = %self.config.zone, %error, "the zone's other sidecars cannot be heard");
                return;
            }
        };
        for (group, held, asked) in self.asker.hear(&self.config.name, &board) {
            let slot = slots.entry(group.clone()).or_insert_with(|| {
                self.new_slot(now, !self.looked_once, IsolationResponse::Demote)
            });
            // It may be held on another time to live than this sidecar reckons with.
            let end = asked + held.ttl.get();
            let sent = end.saturating_sub(slot.policy.terms().timing.ttl.get());
            let generation = held.generation;
            slot.apply(&group, now, Event::PeerVouched { sent, generation });
        }
        let open = board.unanswered(&self.config.name);
        if !open.is_empty() && open != self.questions {
            // They are answered with what a renewal that is sent from now on finds.
            self.questions = open;
            self.cycle_now = true;
        }
    }

    /// Answers what was asked before that reading's renewals were sent.
    pub(super) fn answer(
        &mut self,
        slots: &Slots,
        questions: Questions,
        renewed: &BTreeMap<u32, (LeaseId, Moment)>,
        reading: &Reading,
    ) {
        let mut groups: BTreeMap<GroupName, HeldThere> = BTreeMap::new();
        for (group, found) in &reading.groups {
            let Some(slot) = slots.get(group) else {
                continue;
            };
            let ttl = slot.policy.terms().ttl();
            let lease = renewed.get(&ttl).map(|(id, _)| *id);
            if let Some(Record::Ours { generation }) = found.record(&self.config.zone)
                && self.keys.is_ours(&found.lease, lease)
                && slot.stands_on(ttl)
            {
                let ttl = Span(Duration::from_secs(u64::from(ttl)));
                groups.insert(group.clone(), HeldThere { generation, ttl });
            }
        }
        if questions.is_empty() || groups.is_empty() {
            return;
        }
        tracing::info!(zone = %self.config.zone, askers = ?questions.keys(), "another sidecar of this zone has no etcd: it is told what is held here");
        let answer = BoardChange::Answer {
            name: self.config.name.clone(),
            questions,
            groups,
        };
        let sink = Arc::clone(&self.sink);
        self.tasks.spawn(async move {
            let result = sink.board(answer).await.map(drop);
            Done::Answered { result }
        });
    }
}
