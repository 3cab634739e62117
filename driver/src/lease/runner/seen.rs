//! What was read of etcd and seen of the images, told to the keepers.

use super::{Done, NOTE_PAUSE, Running, TICK};
use crate::lease::{
    keeper::{Event, Images, Moment, Record, State},
    keys::{Adopt, Found, GroupKeys, Reading},
    policy::Next,
    sink::{LeaseSink, SeenImage},
    sites::OtherSites,
    slot::{Carried, Slot, Slots, by_group},
};
use rekindle_common::{ApiError, GroupName, policy::IsolationResponse};
use rekindle_store::LeaseId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::time::Instant;

impl<L: LeaseSink, S: OtherSites> Running<L, S> {
    /// What is not known before a group was first seen is counted from the process's start: the other zone counts from its end.
    pub(super) fn new_slot(&self, now: Moment, first: bool, noted: IsolationResponse) -> Slot {
        let since = if first { self.started } else { now };
        Slot::new(since, self.config.timing, noted)
    }

    /// One reading of everything that stands in etcd.
    pub(super) fn read(
        &mut self,
        slots: &mut Slots,
        now: Moment,
        renewed: &BTreeMap<u32, (LeaseId, Moment)>,
        reading: &Reading,
    ) {
        let Reading {
            began,
            revision,
            groups,
        } = reading;
        for (group, found) in groups {
            if !slots.contains_key(group) {
                if !found.concerns(&self.config.zone) {
                    continue;
                }
                let slot = self.new_slot(now, !self.read_once, IsolationResponse::Demote);
                slots.insert(group.clone(), slot);
            }
            if let Some(slot) = slots.get_mut(group)
                && slot.is_news(now, *began, *revision)
            {
                self.read_group(group, slot, now, *began, renewed, found);
            }
        }
        let gone: BTreeSet<GroupName> = slots
            .keys()
            .filter(|g| !groups.contains_key(*g))
            .cloned()
            .collect();
        for group in gone {
            if let Some(slot) = slots.get_mut(&group)
                && slot.is_news(now, *began, *revision)
            {
                slot.maybe_ours = false;
                let (sent, record) = (*began, Record::Absent);
                slot.apply(&group, now, Event::RecordRead { sent, record });
            }
        }
    }

    fn read_group(
        &mut self,
        group: &GroupName,
        slot: &mut Slot,
        now: Moment,
        began: Moment,
        renewed: &BTreeMap<u32, (LeaseId, Moment)>,
        found: &GroupKeys,
    ) {
        let ttl = slot.policy.terms().ttl();
        let renewal = renewed.get(&ttl).copied();
        let ours =
            self.keys.is_ours(&found.lease, renewal.map(|(id, _)| id)) && slot.stands_on(ttl);
        slot.maybe_ours = self.keys.is_of_us(&found.lease);
        if let Found::Is { value: spec, .. } = &found.spec {
            let recorded = match &found.lease {
                Found::Is { value, .. } if slot.maybe_ours => Some(value.isolation_response),
                Found::Is { .. } | Found::Absent | Found::Corrupt => None,
            };
            let mut timing = spec.policy.lease;
            if let Err(error) = timing.check() {
                tracing::warn!(%group, %error, "the group's lease timing is unsound; going on with the one before");
                timing = slot.policy.terms().timing;
            }
            // By the terms that it was granted on: a longer time to live is not had before the key stands on its lease.
            if let (true, Some((_, sent))) = (ours, renewal) {
                slot.apply(group, now, Event::Renewed { sent });
            }
            let next = slot
                .policy
                .follow(timing, spec.policy.isolation_response, recorded);
            let terms = slot.policy.terms();
            slot.keeper.set_policy(now, terms.timing, terms.response);
            // What is left of a right on another time to live is short by now: the key moves at once.
            self.cycle_now |= terms.ttl() != ttl;
            self.change_policy(group, slot, now, next);
            self.note_on_delete(group, slot, now, spec.policy.on_delete);
        }
        if let Some(record) = found.record(&self.config.zone) {
            if let Found::Is { value, .. } = &found.primary {
                slot.recorded = Some(value.zone.clone());
            }
            let sent = began;
            slot.apply(group, now, Event::RecordRead { sent, record });
        }
        match (ours, renewal) {
            // With a new time to live it was applied above, by the old one.
            (true, Some((_, sent))) if slot.policy.terms().ttl() == ttl => {
                slot.apply(group, now, Event::Renewed { sent });
            }
            (true, Some(_)) => {}
            // A renewal that failed says nothing of the key; one that went through, and no key under it, does.
            (false, Some(_)) if slot.keeper.wants_renewal() && !slot.taking.is_busy() => {
                slot.apply(group, now, Event::Gone);
            }
            (false, Some(_)) | (_, None) => {}
        }
    }

    fn change_policy(&mut self, group: &GroupName, slot: &mut Slot, now: Moment, next: Next) {
        match next {
            Next::Settled => {}
            Next::Note(response) => {
                if slot.noting.begin(now, NOTE_PAUSE) {
                    let (sink, group) = (Arc::clone(&self.sink), group.clone());
                    let deadline = Instant::now() + NOTE_PAUSE;
                    self.tasks.spawn(async move {
                        let result = sink.note(&group, response, deadline).await;
                        Done::Noted {
                            group,
                            response,
                            result,
                        }
                    });
                }
            }
            Next::Rewrite(terms) => {
                let State::Held { generation, .. } = slot.keeper.state() else {
                    return;
                };
                if slot.taking.begin(now, TICK) {
                    slot.puts(terms);
                    tracing::info!(%group, response = ?terms.response, "the lease's record is changed to a new policy");
                    let (keys, group) = (Arc::clone(&self.keys), group.clone());
                    self.tasks.spawn(async move {
                        let taking = keys.take(&group, generation, Adopt::IfLate, terms).await;
                        Done::Took {
                            group,
                            taking,
                            ordered: None,
                        }
                    });
                }
            }
        }
    }

    /// One look at all images.
    pub(super) fn looked(
        &mut self,
        slots: &mut Slots,
        now: Moment,
        sent: Moment,
        seen: Result<Vec<SeenImage>, ApiError>,
    ) {
        let (seen, others) = match seen {
            Ok(seen) => by_group(&seen),
            Err(error) => {
                tracing::warn!(zone = %self.config.zone, %error, "the images cannot be looked at");
                for (group, slot) in slots.iter_mut() {
                    let images = Images::Unknown;
                    slot.apply(group, now, Event::Looked { sent, images });
                }
                return;
            }
        };
        for (group, look) in &seen {
            slots
                .entry(group.clone())
                .or_insert_with(|| self.new_slot(now, !self.looked_once, look.noted))
                .policy
                .saw_metadata(look.noted);
        }
        self.looked_once = true;
        for (group, slot) in slots.iter_mut() {
            let images = seen.get(group).map_or(others, |l| l.images);
            slot.on_delete = seen.get(group).map_or(Carried::NoPrimary, |l| l.on_delete);
            slot.apply(group, now, Event::Looked { sent, images });
        }
    }
}
