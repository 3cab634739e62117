//! What a project may have, and what serves it: quotas, services, pools.

use super::Cinder;
use crate::{error::CloudError, url::escaped, wire};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One figure of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Quota {
    /// The most; below zero there is none.
    pub limit: i64,
    /// What is there. Neutron's word is another.
    #[serde(default, alias = "used")]
    pub in_use: i64,
    /// What is being made.
    #[serde(default)]
    pub reserved: i64,
}

impl Quota {
    /// How much more may be made; `None` where there is no limit.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        if self.limit < 0 {
            return None;
        }
        let left = self
            .limit
            .saturating_sub(self.in_use)
            .saturating_sub(self.reserved);
        Some(u64::try_from(left).unwrap_or(0))
    }
}

/// A project's quota, by name: `volumes`, `gigabytes`, `snapshots`, and each for a type, as `volumes_fast`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaSet(pub BTreeMap<String, Quota>);

impl QuotaSet {
    /// As it comes: beside the figures stands the project's id.
    pub(crate) fn read(all: Map<String, Value>) -> Self {
        let figures = all
            .into_iter()
            .filter_map(|(name, v)| Some((name, Quota::deserialize(v).ok()?)));
        Self(figures.collect())
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Quota> {
        self.0.get(name).copied()
    }
}

/// One of Cinder's processes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// `cinder-volume`, …
    pub binary: String,
    /// `HOST@BACKEND`.
    pub host: String,
    /// `CLUSTER@BACKEND`, where several of them are one.
    #[serde(default, deserialize_with = "wire::text")]
    pub cluster: Option<String>,
    /// `enabled` or `disabled`: what an administrator, or a failover, said.
    pub status: String,
    /// `up` or `down`: whether it reports.
    pub state: String,
    /// `enabled`, `failed-over`, `failover-error`, …
    #[serde(default, deserialize_with = "wire::text")]
    pub replication_status: Option<String>,
    /// Where it is served from after a failover.
    #[serde(default, deserialize_with = "wire::text")]
    pub active_backend_id: Option<String>,
    /// Whether it is frozen.
    #[serde(default, deserialize_with = "wire::flag")]
    pub frozen: bool,
}

/// A pool of a backend, as the scheduler knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BackendPool {
    /// `HOST@BACKEND#POOL`.
    pub name: String,
    /// What the driver says of it.
    #[serde(default)]
    pub capabilities: Map<String, Value>,
}

impl BackendPool {
    /// The `volume_backend_name` that types ask for.
    #[must_use]
    pub fn backend_name(&self) -> Option<&str> {
        self.capabilities
            .get("volume_backend_name")
            .and_then(Value::as_str)
    }
}

impl Cinder {
    /// A project's quota, with what is used of it.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn quota(&self, project_id: &str) -> Result<QuotaSet, CloudError> {
        let path = format!("/os-quota-sets/{}?usage=True", escaped(project_id));
        self.at.get(&path, "quota_set").await.map(QuotaSet::read)
    }

    /// Cinder's processes.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn services(&self) -> Result<Vec<Service>, CloudError> {
        self.at.get("/os-services", "services").await
    }

    /// The backends' pools.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn pools(&self) -> Result<Vec<BackendPool>, CloudError> {
        self.at
            .get("/scheduler-stats/get_pools?detail=True", "pools")
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_quota() {
        let quota = |limit, in_use, reserved| Quota {
            limit,
            in_use,
            reserved,
        };
        assert_eq!(quota(10, 3, 1).left(), Some(6));
        assert_eq!(quota(10, 12, 0).left(), Some(0));
        assert_eq!(quota(-1, 12, 0).left(), None);
    }
}
