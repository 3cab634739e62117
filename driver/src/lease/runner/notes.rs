//! Keeping the group's deletion policy on its primaries, as its spec says it; nobody's safety hangs on the moment.

use super::{Done, NOTE_PAUSE, Running};
use crate::lease::{
    keeper::Moment,
    sink::LeaseSink,
    sites::OtherSites,
    slot::{Carried, Slot},
};
use rekindle_common::{GroupName, deletion::OnDelete};
use std::sync::Arc;
use tokio::time::Instant;

impl<L: LeaseSink, S: OtherSites> Running<L, S> {
    /// Writes it where a primary carries another one or none: new members, and all of them after it was changed.
    pub(super) fn note_on_delete(
        &mut self,
        group: &GroupName,
        slot: &mut Slot,
        now: Moment,
        wanted: OnDelete,
    ) {
        match slot.on_delete {
            Carried::NoPrimary => return,
            Carried::All(carried) if carried == wanted => return,
            Carried::All(_) | Carried::Mixed => {}
        }
        if slot.noting_on_delete.begin(now, NOTE_PAUSE) {
            let (sink, group) = (Arc::clone(&self.sink), group.clone());
            let deadline = Instant::now() + NOTE_PAUSE;
            self.tasks.spawn(async move {
                let result = sink.note_on_delete(&group, wanted, deadline).await;
                Done::NotedOnDelete { group, result }
            });
        }
    }
}
