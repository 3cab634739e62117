//! What building a server needs, and what serves it.

use super::Nova;
use crate::{
    cinder::QuotaSet,
    error::CloudError,
    service::{List, More},
    url::escaped,
    wire,
};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt};

/// No cloud has more.
const MOST: usize = 10_000;

/// A flavor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Flavor {
    /// Its id.
    pub id: String,
    /// Its name, unique in this Nova.
    pub name: String,
    /// Processors.
    pub vcpus: u64,
    /// MiB of memory.
    #[serde(rename = "ram")]
    pub ram_mib: u64,
    /// GiB of a root disk that is no volume. A server that boots from a volume makes no use of it.
    #[serde(default, rename = "disk")]
    pub disk_gib: u64,
    /// GiB of further disks that are no volumes, and stay behind in a failover.
    #[serde(default, rename = "OS-FLV-EXT-DATA:ephemeral")]
    pub ephemeral_gib: u64,
    /// What it asks of a host; none where we may not see them.
    #[serde(default)]
    pub extra_specs: Option<BTreeMap<String, String>>,
    /// Whether every project may use it.
    #[serde(
        default,
        rename = "os-flavor-access:is_public",
        deserialize_with = "wire::flag"
    )]
    pub is_public: bool,
}

/// A key pair of the user that acts here. They belong to users, and to no project.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Keypair {
    /// Its name.
    pub name: String,
    /// Of the public key.
    #[serde(default, deserialize_with = "wire::text")]
    pub fingerprint: Option<String>,
    /// The public key.
    #[serde(default, deserialize_with = "wire::text")]
    pub public_key: Option<String>,
    /// `ssh` or `x509`.
    #[serde(default, rename = "type", deserialize_with = "wire::text")]
    pub kind: Option<String>,
}

#[derive(Deserialize)]
struct Wrapped {
    keypair: Keypair,
}

/// A server group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerGroup {
    /// Its id.
    pub id: String,
    /// Its name. Not unique.
    pub name: String,
    /// `anti-affinity`, …
    #[serde(default, deserialize_with = "wire::text")]
    pub policy: Option<String>,
    /// Its servers.
    #[serde(default, deserialize_with = "wire::list")]
    pub members: Vec<String>,
}

/// An availability zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AvailabilityZone {
    /// Its name.
    #[serde(rename = "zoneName")]
    pub name: String,
    /// Whether anything of it works.
    #[serde(default, rename = "zoneState")]
    pub state: ZoneState,
}

/// Whether anything of an availability zone works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ZoneState {
    /// It does.
    #[serde(default, deserialize_with = "wire::flag")]
    pub available: bool,
}

/// One of Nova's processes. Of one whose cell does not answer there is little more than the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ComputeService {
    /// `nova-compute`, …
    pub binary: String,
    /// Its host.
    pub host: String,
    /// What an administrator said.
    pub status: ServiceStatus,
    /// Whether it reports.
    #[serde(default)]
    pub state: Option<ServiceState>,
    /// Whether an administrator, or a fence, has said that it is down whatever it reports.
    #[serde(default, deserialize_with = "wire::flag")]
    pub forced_down: bool,
    /// Why it is disabled.
    #[serde(default, deserialize_with = "wire::text")]
    pub disabled_reason: Option<String>,
}

/// What an administrator said of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ServiceStatus {
    /// It takes servers.
    Enabled,
    /// It takes none.
    Disabled,
    /// Its cell does not answer.
    Unknown,
    /// One that we do not know.
    Other(String),
}

impl From<String> for ServiceStatus {
    fn from(text: String) -> Self {
        match text.as_str() {
            "enabled" => Self::Enabled,
            "disabled" => Self::Disabled,
            "UNKNOWN" => Self::Unknown,
            _ => Self::Other(text),
        }
    }
}

/// Whether a service reports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ServiceState {
    /// It does.
    Up,
    /// It does not.
    Down,
    /// One that we do not know.
    Other(String),
}

impl From<String> for ServiceState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "up" => Self::Up,
            "down" => Self::Down,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for ComputeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.binary, self.host)
    }
}

/// A hypervisor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hypervisor {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(rename = "hypervisor_hostname")]
    pub name: String,
    /// Whether it reports.
    #[serde(default)]
    pub state: Option<ServiceState>,
    /// What an administrator said.
    #[serde(default)]
    pub status: Option<ServiceStatus>,
    /// `QEMU`, …
    #[serde(default, rename = "hypervisor_type", deserialize_with = "wire::text")]
    pub kind: Option<String>,
}

impl Nova {
    /// All flavors that we may see.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn flavors(&self) -> Result<Vec<Flavor>, CloudError> {
        self.at
            .list(List {
                path: "/flavors/detail?is_public=None",
                key: "flavors",
                id: "/id",
                more: More::Link,
                most: MOST,
            })
            .await
    }

    /// One flavor, by its id; none where there is none.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn flavor(&self, id: &str) -> Result<Option<Flavor>, CloudError> {
        let path = format!("/flavors/{}", escaped(id));
        match self.at.get(&path, "flavor").await {
            Ok(flavor) => Ok(Some(flavor)),
            Err(CloudError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The key pairs of the user that acts here: a server that it builds can have no other's.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn keypairs(&self) -> Result<Vec<Keypair>, CloudError> {
        let list = List {
            path: "/os-keypairs",
            key: "keypairs",
            id: "/keypair/name",
            more: More::Link,
            most: MOST,
        };
        let all: Vec<Wrapped> = self.at.list(list).await?;
        Ok(all.into_iter().map(|w| w.keypair).collect())
    }

    /// The project's server groups.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn server_groups(&self) -> Result<Vec<ServerGroup>, CloudError> {
        self.at
            .list(List {
                path: "/os-server-groups",
                key: "server_groups",
                id: "/id",
                more: More::Offset,
                most: MOST,
            })
            .await
    }

    /// The availability zones.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn availability_zones(&self) -> Result<Vec<AvailabilityZone>, CloudError> {
        let path = "/os-availability-zone";
        self.at.get(path, "availabilityZoneInfo").await
    }

    /// A project's quota, with what is used of it: `instances`, `cores`, `ram` in MiB, …
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn quota(&self, project_id: &str) -> Result<QuotaSet, CloudError> {
        let path = format!("/os-quota-sets/{}/detail", escaped(project_id));
        self.at.get(&path, "quota_set").await.map(QuotaSet::read)
    }

    /// Nova's processes; for administrators.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn services(&self) -> Result<Vec<ComputeService>, CloudError> {
        self.at.get("/os-services", "services").await
    }

    /// The hypervisors; for administrators.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn hypervisors(&self) -> Result<Vec<Hypervisor>, CloudError> {
        self.at
            .list(List {
                path: "/os-hypervisors/detail",
                key: "hypervisors",
                id: "/id",
                more: More::Link,
                most: MOST,
            })
            .await
    }
}
