//! The other programs' whole APIs, typed: the sidecar's, and what an orchestrator serves to sidecars.
//!
//! ```text
//! GET    /healthz, /readyz, /metrics
//! GET    /v1/zone?parts=                             ZoneReport
//! GET    /v1/volumes?group=&limit=&after=            VolumePage
//! GET    /v1/volumes/{pool}/{image}                  VolumeReport
//! GET    /v1/volumes/{pool}/{image}/outlook          Outlook
//! POST   /v1/volumes/{pool}/{image}/actions          Order -> ActionOutcome
//! POST   /v1/volumes/{pool}/{image}/standby-grant    GrantRequest -> Granted
//! POST   /v1/batch                                   BatchRequest -> BatchLine, one a line
//! POST   /v1/groups/{group}/lease                    GenerationBody -> GroupReport
//! DELETE /v1/groups/{group}/lease                    GenerationBody -> GroupReport
//! POST   /v1/groups/{group}/fence                    GenerationBody -> FencedClients
//! POST   /v1/freeze, /v1/thaw                        FreezeRequest -> null; null -> null
//! POST   /v1/failsafe  (orchestrators)               FailsafeQuestion -> FailsafeAnswer
//! GET    /v1/leader  (orchestrators)                 LeaderAnswer
//! GET    /v1/groups/{group}  (the leader)            GroupGlance
//! POST   /v1/groups/{group}/plans  (the leader)      PlanRequest -> PlanBegun
//! GET    /v1/plans/{plan}/watch  (orchestrators)     PlanLine, one a line
//! ```

use crate::{Client, NdjsonStream};
use rekindle_common::{
    ApiError, ErrorCode, Generation, GroupName, ImageSpec, PlanId, Timestamp,
    action::{ActionOutcome, BatchLine, BatchRequest, Order},
    duration::Span,
    plan::{GroupGlance, LeaderAnswer, PlanBegun, PlanLine, PlanRequest},
    volume::{Outlook, VolumeReport},
    zone::{CephReport, FailsafeAnswer, FailsafeQuestion, GroupReport, ZoneReport},
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One page of volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePage {
    /// In the order of their names.
    pub volumes: Vec<VolumeReport>,
    /// Where the next page starts: pass it as `after`. `None` on the last.
    pub next: Option<ImageSpec>,
}

/// As many volumes as were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeList {
    /// In the order of their names.
    pub volumes: Vec<VolumeReport>,
    /// There are more: what is not in it may be there all the same.
    pub more: bool,
}

impl VolumeList {
    /// Page by page, `most` at most.
    ///
    /// # Errors
    /// The first page's that fails.
    pub async fn read<F>(
        most: usize,
        page: impl Fn(Option<ImageSpec>) -> F,
    ) -> Result<Self, ApiError>
    where
        F: Future<Output = Result<VolumePage, ApiError>>,
    {
        let mut volumes = Vec::new();
        let mut after = None;
        loop {
            let page = page(after).await?;
            volumes.extend(page.volumes);
            after = page.next;
            if after.is_none() || volumes.len() >= most {
                let more = after.is_some() || volumes.len() > most;
                volumes.truncate(most);
                return Ok(Self { volumes, more });
            }
        }
    }

    /// All, for whom a part is of no use: what it does not see it would leave behind.
    ///
    /// # Errors
    /// `too_large` where there are more.
    pub fn whole(self) -> Result<Vec<VolumeReport>, ApiError> {
        if self.more {
            let text = format!(
                "there are more than {} volumes, the most that go into one list",
                self.volumes.len()
            );
            return Err(ApiError::new(ErrorCode::TooLarge, text));
        }
        Ok(self.volumes)
    }
}

/// The generation that an order about a group is given under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationBody {
    /// An older one than the zone has seen is refused.
    pub generation: Generation,
}

/// For how long a copy may be attached, so that a stand-by can be built on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// From now on: a second to 15 minutes.
    pub within: Span,
    /// The group's generation that the sender acts under; required where the volume is in a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// A grant that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Until then, by the sidecar's clock. It ends sooner with the sidecar's process, which keeps it in memory.
    pub until: Timestamp,
}

/// The Ceph clients that were blocklisted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedClients {
    /// Their addresses, as `ceph osd blocklist ls` shows them.
    pub clients: Vec<String>,
}

/// Why a sidecar is to refuse actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeRequest {
    /// In the operator's words.
    pub reason: String,
}

/// A zone's sidecar.
#[derive(Debug, Clone)]
pub struct SidecarClient {
    http: Client,
}

impl From<Client> for SidecarClient {
    fn from(http: Client) -> Self {
        Self { http }
    }
}

// Image names need no escaping: of what `ImageSpec` allows, all may stand in a path.
fn volume_path(volume: &ImageSpec) -> String {
    format!("/v1/volumes/{}/{}", volume.pool(), volume.image())
}

impl SidecarClient {
    /// The plain client, for another limit on time: `client.http().with_call_time(…).into()`.
    #[must_use]
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// Whether the process serves.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn healthy(&self) -> Result<(), ApiError> {
        self.http.text("/healthz").await.map(|_| ())
    }

    /// Whether it can do its work.
    ///
    /// # Errors
    /// `unavailable` with what is missing; see [`Client`].
    pub async fn ready(&self) -> Result<(), ApiError> {
        self.http.text("/readyz").await.map(|_| ())
    }

    /// Its metrics in Prometheus' text form.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn metrics(&self) -> Result<String, ApiError> {
        self.http.text("/metrics").await
    }

    /// What it says of its zone.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn zone(&self) -> Result<ZoneReport, ApiError> {
        self.http.get("/v1/zone").await
    }

    /// What it says of its zone's cluster alone: it looks at no volume for that, and may be asked every second. A sidecar that knows no
    /// parts yet answers with all of them.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn ceph(&self) -> Result<CephReport, ApiError> {
        Ok(self.without_volumes().await?.ceph)
    }

    /// Why it refuses actions; `None`: it takes them. As quick as [`Self::ceph`].
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn frozen(&self) -> Result<Option<String>, ApiError> {
        Ok(self.without_volumes().await?.frozen.map(|f| f.reason))
    }

    async fn without_volumes(&self) -> Result<ZoneReport, ApiError> {
        self.http.get("/v1/zone?parts=ceph").await
    }

    /// One page of its volumes.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn volumes(
        &self,
        group: Option<&GroupName>,
        limit: u32,
        after: Option<&ImageSpec>,
    ) -> Result<VolumePage, ApiError> {
        let mut path = format!("/v1/volumes?limit={limit}");
        // Writing to a string cannot fail.
        if let Some(group) = group {
            let _ = write!(path, "&group={group}");
        }
        if let Some(after) = after {
            let _ = write!(path, "&after={after}");
        }
        self.http.get(&path).await
    }

    /// The first volumes of a group, or of the zone, `most` at most, and whether there are more.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn first_volumes(
        &self,
        group: Option<&GroupName>,
        most: usize,
    ) -> Result<VolumeList, ApiError> {
        let page = |after: Option<ImageSpec>| async move {
            self.volumes(group, 500, after.as_ref()).await
        };
        VolumeList::read(most, page).await
    }

    /// All volumes of a group, or of the zone.
    ///
    /// # Errors
    /// `too_large` where there are more than `most`; see [`Client`].
    pub async fn all_volumes(
        &self,
        group: Option<&GroupName>,
        most: usize,
    ) -> Result<Vec<VolumeReport>, ApiError> {
        self.first_volumes(group, most).await?.whole()
    }

    /// One volume.
    ///
    /// # Errors
    /// `unknown_volume`; see [`Client`].
    pub async fn volume(&self, volume: &ImageSpec) -> Result<VolumeReport, ApiError> {
        self.http.get(&volume_path(volume)).await
    }

    /// One volume, and what is about to be done to it.
    ///
    /// # Errors
    /// `unknown_volume`; see [`Client`].
    pub async fn outlook(&self, volume: &ImageSpec) -> Result<Outlook, ApiError> {
        let path = format!("{}/outlook", volume_path(volume));
        self.http.get(&path).await
    }

    /// Gives an order to one volume.
    ///
    /// # Errors
    /// The sidecar's refusal; see [`Client`].
    pub async fn act(&self, volume: &ImageSpec, order: &Order) -> Result<ActionOutcome, ApiError> {
        let path = format!("{}/actions", volume_path(volume));
        self.http.post(&path, order).await
    }

    /// Lets Cinder attach an image for a while also as long as it is a copy.
    ///
    /// # Errors
    /// The sidecar's refusal; see [`Client`].
    pub async fn grant_standby(
        &self,
        image: &ImageSpec,
        request: &GrantRequest,
    ) -> Result<Granted, ApiError> {
        let path = format!("{}/standby-grant", volume_path(image));
        self.http.post(&path, request).await
    }

    /// Gives many orders; a line comes as each volume ends.
    ///
    /// # Errors
    /// The sidecar's refusal of the whole batch; see [`Client`].
    pub async fn batch(&self, request: &BatchRequest) -> Result<NdjsonStream<BatchLine>, ApiError> {
        self.http.post_ndjson("/v1/batch", request).await
    }

    /// Take the group's primary lease now. Asking twice does it once.
    ///
    /// # Errors
    /// `stale_generation`, `lease_not_held`; see [`Client`].
    pub async fn take_lease(
        &self,
        group: &GroupName,
        generation: Generation,
    ) -> Result<GroupReport, ApiError> {
        let path = format!("/v1/groups/{group}/lease");
        self.http.post(&path, &GenerationBody { generation }).await
    }

    /// Give the group's primary lease back.
    ///
    /// # Errors
    /// `is_primary` while an image of it is; `stale_generation`; see [`Client`].
    pub async fn release_lease(
        &self,
        group: &GroupName,
        generation: Generation,
    ) -> Result<GroupReport, ApiError> {
        let path = format!("/v1/groups/{group}/lease");
        self.http
            .delete(&path, &GenerationBody { generation })
            .await
    }

    /// Blocklist the Ceph clients that have the group's images open.
    ///
    /// # Errors
    /// `stale_generation`, `cluster_unreachable`; see [`Client`].
    pub async fn fence(
        &self,
        group: &GroupName,
        generation: Generation,
    ) -> Result<FencedClients, ApiError> {
        let path = format!("/v1/groups/{group}/fence");
        self.http.post(&path, &GenerationBody { generation }).await
    }

    /// Refuse all actions until thawed.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn freeze(&self, reason: &str) -> Result<(), ApiError> {
        let body = FreezeRequest {
            reason: reason.to_owned(),
        };
        let _: serde::de::IgnoredAny = self.http.post("/v1/freeze", &body).await?;
        Ok(())
    }

    /// Take actions again.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn thaw(&self) -> Result<(), ApiError> {
        let _: serde::de::IgnoredAny = self.http.post("/v1/thaw", &()).await?;
        Ok(())
    }
}

/// What an orchestrator serves to the sidecars of every zone.
#[derive(Debug, Clone)]
pub struct OrchestratorClient {
    http: Client,
}

impl From<Client> for OrchestratorClient {
    fn from(http: Client) -> Self {
        Self { http }
    }
}

impl OrchestratorClient {
    /// A sidecar without etcd asks whether it still holds a group.
    ///
    /// # Errors
    /// See [`Client`]: no answer is no confirmation.
    pub async fn failsafe(&self, question: &FailsafeQuestion) -> Result<FailsafeAnswer, ApiError> {
        self.http.post("/v1/failsafe", question).await
    }

    /// Who leads, as far as it knows.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn leader(&self) -> Result<LeaderAnswer, ApiError> {
        self.http.get("/v1/leader").await
    }

    /// Who is primary of a group, and which plan is at work on it.
    ///
    /// # Errors
    /// `unknown_group`, `not_leader`; see [`Client`].
    pub async fn group(&self, group: &GroupName) -> Result<GroupGlance, ApiError> {
        self.http.get(&format!("/v1/groups/{group}")).await
    }

    /// Asks for a plan, which is begun.
    ///
    /// # Errors
    /// `held` with the reason, `plan_active`, `not_leader`; see [`Client`].
    pub async fn plan_for(
        &self,
        group: &GroupName,
        request: &PlanRequest,
    ) -> Result<PlanBegun, ApiError> {
        let path = format!("/v1/groups/{group}/plans");
        self.http.post(&path, request).await
    }

    /// Follows a plan from its first record to its end.
    ///
    /// # Errors
    /// `unknown_plan`; see [`Client`].
    pub async fn watch(&self, plan: &PlanId) -> Result<NdjsonStream<PlanLine>, ApiError> {
        self.http
            .get_ndjson(&format!("/v1/plans/{plan}/watch"))
            .await
    }
}
