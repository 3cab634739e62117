//! What the zone keeps in RADOS objects, in the state pool, by compare-and-write.
//!
//! | object | content | why not image metadata |
//! |---|---|---|
//! | `rekindle.group.<group>` | `{"v":1,"generation":7,"promoted":5}` | one for all of a group's volumes; must not be mirrored: it says what *this* zone has seen |
//! | `rekindle.resync.<pool>.<image>` | `{"token":"…","image_id":"…","given_up":{…}}` | a resync deletes the image |
//! | `rekindle.copies.<pool>` | `{"<image>":"<image id>"}` | journal mode: which copies were once seen complete, told by nobody else while their daemon is dead |
//! | `rekindle.sidecars` | `{"v":1,"questions":{…},"answers":{…}}` | between the zone's sidecars, see `lease/vouch.rs`; nothing is lost with it |
//! | `rekindle.freeze` | `{"reason":"…","since":"…"}` | outlives the sidecar |
//! | `rekindle.thaw` | `"…"`, the time of the last thaw | a freeze that a sidecar could not write in time does not come after it |
//!
//! `generation` is the highest that an order came with; `promoted` the highest that a volume was promoted under here.
//! Both only grow. Anything else in them is a corrupt record: nothing is done on it (never guessed at).

use crate::{
    backend::{Backend, BackendError, BackendErrorKind, Op},
    lease::{Board, BoardChange},
    replication::{LastResync, Refusal, ReplicationError},
};
use rekindle_common::{Generation, GroupName, ImageSpec, Timestamp, zone::Freeze};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// How often a lost race is run again: each loss means that another one won.
const RACES: u32 = 8;

/// What a zone has seen of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecord {
    /// The form of this record.
    pub v: u32,
    /// The highest generation that an order came with.
    pub generation: Generation,
    /// The highest generation that a volume of it was promoted under in this zone.
    pub promoted: Option<Generation>,
}

/// The records of a zone.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    backend: Backend,
    pool: String,
}

/// What an order does to the group's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// It came.
    Order,
    /// It came, and promotes.
    Promotion,
}

impl Records {
    pub(crate) fn new(backend: Backend, pool: String) -> Self {
        Self { backend, pool }
    }

    async fn read<T: for<'a> Deserialize<'a>>(
        &self,
        oid: &str,
        deadline: Instant,
    ) -> Result<Option<(T, Vec<u8>)>, BackendError> {
        let Some(bytes) = self.backend.read_object(&self.pool, oid, deadline).await? else {
            return Ok(None);
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some((value, bytes))),
            Err(e) => Err(BackendError::new(
                Op::ReadObject,
                None,
                BackendErrorKind::Corrupt,
                format!("object {}/{oid}: {e}", self.pool),
            )),
        }
    }

    async fn write<T: Serialize>(
        &self,
        oid: &str,
        expected: Option<&[u8]>,
        value: &T,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let new = serde_json::to_vec(value).map_err(|e| {
            let text = format!("object {oid}: {e}");
            BackendError::new(Op::WriteObject, None, BackendErrorKind::Other, text)
        })?;
        self.backend
            .swap_object(&self.pool, oid, expected, &new, deadline)
            .await
    }

    /// What this zone has seen of a group.
    pub(crate) async fn group(
        &self,
        group: &GroupName,
        deadline: Instant,
    ) -> Result<Option<GroupRecord>, BackendError> {
        Ok(self
            .read::<GroupRecord>(&format!("rekindle.group.{group}"), deadline)
            .await?
            .map(|(r, _)| r))
    }

    /// Refuses an older generation than the zone has seen, records a newer one. The answer is the record **before** this
    /// order.
    pub(crate) async fn check(
        &self,
        group: &GroupName,
        ordered: Generation,
        seen: Seen,
        deadline: Instant,
    ) -> Result<Option<GroupRecord>, ReplicationError> {
        let oid = format!("rekindle.group.{group}");
        for _ in 0..RACES {
            let (before, bytes) = match self.read::<GroupRecord>(&oid, deadline).await? {
                Some((r, b)) => (Some(r), Some(b)),
                None => (None, None),
            };
            if let Some(r) = &before
                && ordered < r.generation
            {
                return Err(Refusal::StaleGeneration {
                    ordered,
                    seen: r.generation,
                }
                .into());
            }
            let promoted = before.as_ref().and_then(|r| r.promoted);
            let after = GroupRecord {
                v: 1,
                generation: ordered,
                promoted: match seen {
                    Seen::Order => promoted,
                    Seen::Promotion => Some(ordered),
                },
            };
            if before.as_ref() == Some(&after) {
                return Ok(before);
            }
            match self.write(&oid, bytes.as_deref(), &after, deadline).await {
                Ok(()) => {
                    tracing::info!(%group, generation = %ordered, "generation recorded");
                    return Ok(before);
                }
                Err(e) if e.kind == BackendErrorKind::Changed => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(raced(&oid).into())
    }

    /// Changes what the zone's sidecars tell each other, and gives what stands there then.
    pub(crate) async fn board(
        &self,
        change: &BoardChange,
        deadline: Instant,
    ) -> Result<Board, BackendError> {
        let oid = "rekindle.sidecars";
        for _ in 0..RACES {
            let (before, bytes) = match self.read::<Board>(oid, deadline).await? {
                Some((board, bytes)) => (board, Some(bytes)),
                None => (Board::default(), None),
            };
            let mut after = before.clone();
            after.change(change);
            if after == before {
                return Ok(after);
            }
            match self.write(oid, bytes.as_deref(), &after, deadline).await {
                Ok(()) => return Ok(after),
                Err(e) if e.kind == BackendErrorKind::Changed => {}
                Err(e) => return Err(e),
            }
        }
        Err(raced(oid))
    }

    fn resync_oid(spec: &ImageSpec) -> String {
        format!("rekindle.resync.{}.{}", spec.pool(), spec.image())
    }

    /// A volume's last resync.
    pub(crate) async fn last_resync(
        &self,
        spec: &ImageSpec,
        deadline: Instant,
    ) -> Result<Option<LastResync>, BackendError> {
        let oid = Self::resync_oid(spec);
        Ok(self.read(&oid, deadline).await?.map(|(r, _)| r))
    }

    /// Records a resync before it is begun.
    pub(crate) async fn record_resync(
        &self,
        spec: &ImageSpec,
        record: &LastResync,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        self.put(&Self::resync_oid(spec), record, deadline).await
    }

    /// The copies of a pool that were once seen complete, by image name.
    pub(crate) async fn copies(
        &self,
        pool: &str,
        deadline: Instant,
    ) -> Result<BTreeMap<String, String>, BackendError> {
        let oid = format!("rekindle.copies.{pool}");
        Ok(self
            .read(&oid, deadline)
            .await?
            .map(|(copies, _)| copies)
            .unwrap_or_default())
    }

    /// Keeps them for the next sidecar.
    pub(crate) async fn set_copies(
        &self,
        pool: &str,
        copies: &BTreeMap<String, String>,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        self.put(&format!("rekindle.copies.{pool}"), copies, deadline)
            .await
    }

    /// The freeze that outlived the last sidecar.
    pub(crate) async fn freeze(&self, deadline: Instant) -> Result<Option<Freeze>, BackendError> {
        Ok(self
            .read::<Option<Freeze>>("rekindle.freeze", deadline)
            .await?
            .and_then(|(f, _)| f))
    }

    /// When the zone was last thawed.
    pub(crate) async fn thawed(
        &self,
        deadline: Instant,
    ) -> Result<Option<Timestamp>, BackendError> {
        let at = self.read::<Timestamp>("rekindle.thaw", deadline).await?;
        Ok(at.map(|(at, _)| at))
    }

    /// Keeps it, or its absence since `asked`, for the next sidecar.
    pub(crate) async fn set_freeze(
        &self,
        freeze: Option<&Freeze>,
        asked: Timestamp,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        // The time first: the other way round a freeze from before it could come between.
        if freeze.is_none() {
            self.put("rekindle.thaw", &asked, deadline).await?;
        }
        self.put("rekindle.freeze", &freeze, deadline).await
    }

    async fn put<T: Serialize + Sync>(
        &self,
        oid: &str,
        value: &T,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let before = self.backend.read_object(&self.pool, oid, deadline).await?;
        self.write(oid, before.as_deref(), value, deadline).await
    }
}

fn raced(oid: &str) -> BackendError {
    let text = format!("object {oid} changed {RACES} times while it was being changed");
    BackendError::new(Op::WriteObject, None, BackendErrorKind::InUse, text)
}
