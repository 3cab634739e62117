//! The one thing of Placement that is asked: what room a cloud's hosts have.

use crate::{
    cloud::{Cloud, Scope, To},
    error::CloudError,
    service::Client,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Hosts that are asked for; what more there are is room that is not counted.
const MOST: usize = 1000;

/// Placement, under one token's scope; its policy lets administrators ask. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Placement {
    at: Client,
}

/// What a host has left, as Nova's scheduler counts it: its allocation ratios are in it, and what is reserved is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Virtual processors.
    pub vcpus: u64,
    /// Memory in MiB.
    pub ram_mib: u64,
}

/// `{"provider_summaries": {ID: Provider}}`, <https://docs.openstack.org/api-ref/placement/#list-allocation-candidates>
#[derive(Debug, Deserialize)]
struct Provider {
    root_provider_uuid: String,
    #[serde(default)]
    resources: BTreeMap<String, Resource>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(default)]
    capacity: u64,
    #[serde(default)]
    used: u64,
}

impl Placement {
    pub(crate) fn new(cloud: Cloud, scope: Scope) -> Self {
        let to = To::Placement;
        Self {
            at: Client { cloud, scope, to },
        }
    }

    /// What the hosts have left on which the smallest of servers would find a place now. Whether a host is disabled, and what
    /// a flavor's traits or an availability zone ask for besides, is the scheduler's to know.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn rooms(&self) -> Result<Vec<Room>, CloudError> {
        let path = format!("/allocation_candidates?resources=VCPU:1,MEMORY_MB:1&limit={MOST}");
        let providers: BTreeMap<String, Provider> =
            self.at.get(&path, "provider_summaries").await?;
        let mut rooms: BTreeMap<String, Room> = BTreeMap::new();
        // What a host has may be spread over its NUMA nodes.
        for provider in providers.into_values() {
            let room = rooms.entry(provider.root_provider_uuid).or_default();
            let left = |class: &str| {
                let resource = provider.resources.get(class);
                resource.map_or(0, |r| r.capacity.saturating_sub(r.used))
            };
            room.vcpus = room.vcpus.saturating_add(left("VCPU"));
            room.ram_mib = room.ram_mib.saturating_add(left("MEMORY_MB"));
        }
        Ok(rooms.into_values().collect())
    }
}
