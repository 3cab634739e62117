//! The two zones as Cinder's calls reach them: this sidecar's own volumes in process, the other zone's through its sidecar.

use super::health::{Health, ZoneHealth};
use crate::{
    actions::{FailsOver, VolumeQuery, Volumes},
    routes::Ready,
};
use rekindle_common::{
    ApiError, ErrorCode, ImageSpec, ZoneName,
    action::{ActionOutcome, BatchItem, BatchRequest, BatchResult, MAX_BATCH},
    volume::VolumeReport,
};
use rekindle_net::{SidecarClient, VolumePage};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};
use tokio::time::{Instant, timeout_at};

/// A zone.
#[derive(Debug, Clone)]
pub struct Side {
    zone: ZoneName,
    reach: Reach,
    health: ZoneHealth,
}

#[derive(Debug, Clone)]
enum Reach {
    /// In this process.
    Own(Volumes, Ready),
    /// Through its sidecar.
    Other(SidecarClient),
}

/// How an order ended. Every order has an end: what is not known by the deadline is `deadline_exceeded`.
pub(super) type EndOfOrder = Result<ActionOutcome, ApiError>;
/// How each order of a batch ended.
pub(super) type Ends = BTreeMap<ImageSpec, EndOfOrder>;

impl Side {
    /// This zone.
    #[must_use]
    pub fn own(volumes: Volumes, ready: Ready) -> Self {
        Self {
            zone: volumes.zone_name().clone(),
            reach: Reach::Own(volumes, ready),
            health: ZoneHealth::default(),
        }
    }

    /// The other zone.
    #[must_use]
    pub fn other(zone: ZoneName, client: SidecarClient) -> Self {
        Self {
            zone,
            reach: Reach::Other(client),
            health: ZoneHealth::default(),
        }
    }

    /// Which zone.
    #[must_use]
    pub fn zone(&self) -> &ZoneName {
        &self.zone
    }

    /// Whether a copy may be attached now: a stand-by is being built on it. Of the other zone's sidecar nobody asks that.
    pub(super) fn may_stand_by(&self, image: &ImageSpec) -> bool {
        match &self.reach {
            Reach::Own(volumes, _) => volumes.may_stand_by(image),
            Reach::Other(_) => false,
        }
    }

    /// Notes that a failover-host moves them, for who asks this zone's sidecar about one of them meanwhile. The other zone's hears of it
    /// with the first order.
    pub(super) fn fails_over(&self, images: Vec<ImageSpec>) -> Option<FailsOver> {
        match &self.reach {
            Reach::Own(volumes, _) => Some(volumes.fails_over(images)),
            Reach::Other(_) => None,
        }
    }

    /// Until no actions are at work in this zone, and for some seconds at most. Of the other zone's sidecar nobody asks that.
    pub(super) async fn calm(&self) {
        match &self.reach {
            Reach::Own(volumes, _) => volumes.calm().await,
            Reach::Other(_) => {}
        }
    }

    /// Looks at its cluster once.
    pub async fn look(&self) {
        match &self.reach {
            Reach::Own(volumes, _) => self.health.look_here(volumes).await,
            Reach::Other(client) => self.health.look_there(client).await,
        }
    }

    /// What is known of its cluster.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.get()
    }

    /// Gives the orders, and waits for their ends until `by`.
    pub(super) async fn batch(&self, items: Vec<BatchItem>, by: Instant) -> Ends {
        let mut ends = Ends::new();
        self.each(items, by, |volume, end| {
            ends.insert(volume, end);
        })
        .await;
        ends
    }

    /// Gives the orders, and tells each one's end as it comes, until `by`.
    pub(super) async fn each(
        &self,
        items: Vec<BatchItem>,
        by: Instant,
        mut tell: impl FnMut(ImageSpec, EndOfOrder) + Send,
    ) {
        let mut rest = items;
        while !rest.is_empty() {
            let more = rest.split_off(rest.len().min(MAX_BATCH));
            let mut open: BTreeSet<ImageSpec> = rest.iter().map(|i| i.volume.clone()).collect();
            let request = BatchRequest {
                items: std::mem::replace(&mut rest, more),
            };
            let mut take = |volume: ImageSpec, end| {
                open.remove(&volume);
                tell(volume, end);
            };
            let broke = match timeout_at(by, self.lines(request, &mut take)).await {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some(e),
                Err(_) => None,
            };
            for name in open {
                let error = broke.clone().unwrap_or_else(|| {
                    ApiError::new(
                        ErrorCode::DeadlineExceeded,
                        format!(
                            "{} gave no end of it in time: it may still take effect, look before asking again",
                            self.zone()
                        ),
                    )
                });
                tell(name, Err(error));
            }
        }
    }

    async fn lines(
        &self,
        request: BatchRequest,
        tell: &mut (dyn FnMut(ImageSpec, EndOfOrder) + Send),
    ) -> Result<(), ApiError> {
        let mut take = |volume, result| {
            let end = match result {
                BatchResult::Ok { outcome } => Ok(*outcome),
                BatchResult::Failed { error } => Err(error),
            };
            tell(volume, end);
        };
        match &self.reach {
            // A freeze that a former run left must be known before anything is done.
            Reach::Own(_, ready) if !ready.get() => {
                return Err(ApiError::new(
                    ErrorCode::Unavailable,
                    "the sidecar is starting up or draining",
                ));
            }
            Reach::Own(volumes, _) => {
                let mut lines = volumes.batch(request)?;
                while let Some(line) = lines.recv().await {
                    take(line.volume, line.result);
                }
            }
            Reach::Other(client) => {
                let mut lines = client.batch(&request).await?;
                while let Some(line) = lines.next().await? {
                    take(line.volume, line.result);
                }
            }
        }
        Ok(())
    }

    /// All volumes of the zone that are replicated, or that policy says are, however many there are: what is not in it counts as none.
    ///
    /// # Errors
    /// [`ApiError`]: the zone does not say.
    pub(super) async fn list(
        &self,
        by: Instant,
    ) -> Result<BTreeMap<ImageSpec, VolumeReport>, ApiError> {
        let listing = async {
            match &self.reach {
                Reach::Own(volumes, _) => {
                    whole(|query| async move { volumes.volumes(&query).await }).await
                }
                Reach::Other(client) => client.all_volumes(None, usize::MAX).await,
            }
        };
        let all = timeout_at(by, listing)
            .await
            .map_err(|_| self.no_answer())??;
        Ok(all.into_iter().map(|r| (r.volume.clone(), r)).collect())
    }

    /// One volume, looked at now.
    ///
    /// # Errors
    /// [`ApiError`] `unknown_volume`, or the zone does not say.
    pub async fn volume(&self, spec: &ImageSpec, by: Instant) -> Result<VolumeReport, ApiError> {
        let look = async {
            match &self.reach {
                Reach::Own(volumes, _) => volumes.volume(spec).await,
                Reach::Other(client) => client.volume(spec).await,
            }
        };
        timeout_at(by, look).await.map_err(|_| self.no_answer())?
    }

    /// Removes one volume that was deleted in Cinder, where that is due. The other zone's sidecar looks after its own.
    ///
    /// # Errors
    /// [`ApiError`]: it is due and cannot go now.
    pub(super) async fn remove_due(&self, spec: &ImageSpec, by: Instant) -> Result<(), ApiError> {
        match &self.reach {
            Reach::Own(_, ready) if !ready.get() => Ok(()),
            Reach::Own(volumes, _) => timeout_at(by, volumes.remove_due(spec))
                .await
                .map_err(|_| self.no_answer())?,
            Reach::Other(_) => Ok(()),
        }
    }

    /// Why it is frozen, if it is.
    ///
    /// # Errors
    /// [`ApiError`]: the other zone's sidecar does not say.
    pub async fn frozen(&self, by: Instant) -> Result<Option<String>, ApiError> {
        match &self.reach {
            Reach::Own(volumes, _) => Ok(volumes.frozen().map(|f| f.reason)),
            Reach::Other(client) => timeout_at(by, client.frozen())
                .await
                .map_err(|_| self.no_answer())?,
        }
    }

    /// Refuses every action until [`Self::thaw`].
    ///
    /// # Errors
    /// [`ApiError`]: the other zone's sidecar does not answer.
    pub async fn freeze(&self, reason: &str) -> Result<(), ApiError> {
        match &self.reach {
            Reach::Own(volumes, _) => {
                volumes.freeze(reason.to_owned()).await;
                Ok(())
            }
            Reach::Other(client) => client.freeze(reason).await,
        }
    }

    /// Takes actions again.
    ///
    /// # Errors
    /// As [`Self::freeze`].
    pub async fn thaw(&self) -> Result<(), ApiError> {
        match &self.reach {
            Reach::Own(volumes, _) => {
                volumes.thaw().await;
                Ok(())
            }
            Reach::Other(client) => client.thaw().await,
        }
    }

    fn no_answer(&self) -> ApiError {
        ApiError::new(
            ErrorCode::DeadlineExceeded,
            format!("{} did not answer in time", self.zone()),
        )
    }
}

/// Page by page, to the last one.
pub(super) async fn whole<F>(page: impl Fn(VolumeQuery) -> F) -> Result<Vec<VolumeReport>, ApiError>
where
    F: Future<Output = Result<VolumePage, ApiError>>,
{
    let mut all = Vec::new();
    let mut query = VolumeQuery::default();
    loop {
        let next = page(query.clone()).await?;
        all.extend(next.volumes);
        query.after = next.next;
        if query.after.is_none() {
            return Ok(all);
        }
    }
}
