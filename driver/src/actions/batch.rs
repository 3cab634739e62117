//! Many orders at once: parallel on a bounded pool, one line as each ends, and one volume's failure decides nothing for
//! another (hard case 20).
//!
//! Items wait for a slot, so that a batch may go on for minutes. Its demotions must not outlive the step that ordered them: where that failed
//! the plan is undone and what was demoted is promoted again, and a demotion that came after that would take the disks from under
//! running servers. Nor must its resyncs, which destroy what is here: the zone may be the primary's by then. So none of these is begun once
//! its reader is gone, nor once the group's lease was ordered to be taken after the batch came.

use super::{
    Inner, Volumes,
    records::{GroupRecord, Records, Seen},
};
use crate::replication::ReplicationError;
use futures::{StreamExt, stream};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName,
    action::{BatchItem, BatchLine, BatchRequest, BatchResult, MAX_BATCH, VolumeAction},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};

/// The lines of a batch, as they come. Dropping it stops no item that was begun, and no other but demotions and resyncs.
pub type BatchStream = mpsc::Receiver<BatchLine>;

type Checked = Result<Option<GroupRecord>, ReplicationError>;

/// A batch checks each (group, generation) against the zone's record once, not once a volume; a resync looks for itself.
#[derive(Debug, Default)]
pub(super) struct GenerationMemo {
    checked: Mutex<BTreeMap<(GroupName, Generation, Seen), Checked>>,
    /// How many orders to take a lease had come when the batch did; `None` for an order that waits for nothing.
    takes: Option<u64>,
}

/// The orders to take a lease, counted.
#[derive(Debug, Default)]
pub(super) struct Takes {
    count: u64,
    last: BTreeMap<GroupName, u64>,
}

impl Takes {
    /// Another one, of this group's.
    pub(super) fn note(&mut self, group: &GroupName) {
        self.count += 1;
        self.last.insert(group.clone(), self.count);
    }

    /// Whether one of this group's came after that batch.
    pub(super) fn since(&self, group: &GroupName, batch: &GenerationMemo) -> bool {
        let last = self.last.get(group).copied().unwrap_or_default();
        batch.takes.is_some_and(|before| last > before)
    }
}

/// Whether an action must not be begun once whoever ordered it may mean it no more: it takes a right away, or destroys a copy.
pub(super) fn goes_with_its_order(action: &VolumeAction) -> bool {
    match action {
        VolumeAction::Demote { .. } | VolumeAction::Resync { .. } => true,
        VolumeAction::Replicate { .. }
        | VolumeAction::Describe { .. }
        | VolumeAction::RecordServer { .. }
        | VolumeAction::MarkDeleted { .. }
        | VolumeAction::Undelete
        | VolumeAction::Unreplicate
        | VolumeAction::Promote { .. } => false,
    }
}

impl Inner {
    pub(super) fn takes(&self) -> MutexGuard<'_, Takes> {
        self.takes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GenerationMemo {
    pub(super) async fn check(
        &self,
        records: &Records,
        group: &GroupName,
        generation: Generation,
        seen: Seen,
        deadline: Instant,
    ) -> Checked {
        // Held over the call: the others wait for the first one's answer, which is the point.
        let mut checked = self.checked.lock().await;
        let key = (group.clone(), generation, seen);
        if let Some(known) = checked.get(&key) {
            return known.clone();
        }
        let result = records.check(group, generation, seen, deadline).await;
        checked.insert(key, result.clone());
        result
    }
}

impl Volumes {
    /// Carries out many orders. Lines come as volumes end, in no order.
    ///
    /// # Errors
    /// [`ApiError`] `invalid_field` where the batch is empty, too long, or names a volume twice: nothing was begun.
    pub fn batch(&self, request: BatchRequest) -> Result<BatchStream, ApiError> {
        let bad = |text: String, field: String| {
            Err(ApiError::new(ErrorCode::InvalidField, text).at(field))
        };
        let items = request.items;
        if items.is_empty() {
            return bad("a batch of nothing".to_owned(), "items".to_owned());
        }
        if items.len() > MAX_BATCH {
            let text = format!("{} items; at most {MAX_BATCH} go in one batch", items.len());
            return bad(text, "items".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            if !seen.insert(&item.volume) {
                let text = format!("{} stands in this batch twice", item.volume);
                return bad(text, format!("items[{i}].volume"));
            }
        }
        drop(seen);
        let (lines, stream) = mpsc::channel(items.len());
        let this = self.clone();
        let memo = Arc::new(GenerationMemo {
            takes: Some(self.inner.takes().count),
            ..GenerationMemo::default()
        });
        self.inner.tasks.spawn(rekindle_net::carried(async move {
            let (this, memo, lines) = (&this, &memo, &lines);
            let parallel = this.inner.limits.parallel.max(1);
            stream::iter(items)
                .for_each_concurrent(parallel, |item| async move {
                    if let Some(line) = this.batch_item(item, memo.clone(), lines).await {
                        // The reader may be gone; what was begun goes on.
                        let _ = lines.send(line).await;
                    }
                })
                .await;
        }));
        Ok(stream)
    }

    async fn batch_item(
        &self,
        item: BatchItem,
        memo: Arc<GenerationMemo>,
        lines: &mpsc::Sender<BatchLine>,
    ) -> Option<BatchLine> {
        // The zone's bound on all batches together. It is never closed.
        let _slot = self.inner.slots.acquire().await;
        if lines.is_closed() && goes_with_its_order(&item.order.action) {
            tracing::info!(zone = %self.inner.zone, volume.id = %item.volume, action = item.order.action.name(), "not done: whoever ordered it is gone, and it had not begun");
            return None;
        }
        let result = match self.act_in(&item.volume, item.order, memo).await {
            Ok(outcome) => BatchResult::Ok {
                outcome: Box::new(outcome),
            },
            Err(error) => BatchResult::Failed { error },
        };
        Some(BatchLine {
            volume: item.volume,
            result,
        })
    }
}
