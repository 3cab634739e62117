//! The groups' servers: would the other zone take them, on the day on which it must?
//!
//! ```text
//!   look     the runbooks and what is kept, from etcd; records of servers that are not followed yet, from Nova; what the other zone has
//!   judge    pure: each field of each record against the mapping and against what is there; all of a project's servers against its quota,
//!            and all that are to come against the hosts
//! ```

mod capacity;
mod fields;
mod judge;
mod look;
mod quota;

pub(super) use judge::judge;
pub(super) use look::look;

use super::KeptPreflight;
use rekindle_common::{
    GroupName, ServerKey, ZoneName, runbook::StandbyPolicy, servers::ServerRecord,
};
use rekindle_openstack::{
    CloudError, QuotaSet,
    neutron::{Network, Port, SecurityGroup, Subnet},
    nova::{AvailabilityZone, ComputeService, Flavor, Keypair, ServerGroup},
    placement::Room,
};
use std::collections::{BTreeMap, BTreeSet};

/// All that was seen of them.
#[derive(Debug, Default)]
pub(super) struct ServersSeen {
    /// They.
    pub servers: Vec<Protected>,
    /// Why they could not be listed.
    pub silent: Option<String>,
    /// What each zone has.
    pub places: BTreeMap<ZoneName, Place>,
    /// The leader's last daily checks.
    pub daily: Vec<KeptPreflight>,
}

impl ServersSeen {
    /// The ids of their volumes, where they serve.
    pub(super) fn volumes(&self) -> BTreeSet<String> {
        let records = self.servers.iter().filter_map(|s| s.record.as_ref().ok());
        let disks = records.flat_map(|r| &r.disks);
        disks.map(|d| d.volume.id.clone()).collect()
    }
}

/// A protected server.
#[derive(Debug, Clone)]
pub(super) struct Protected {
    pub group: GroupName,
    pub key: ServerKey,
    /// Where it serves.
    pub from: ZoneName,
    /// Where it is to come back.
    pub to: ZoneName,
    pub standby: StandbyPolicy,
    /// Its record, or why there is none.
    pub record: Result<ServerRecord, String>,
    /// Whether a server of it is there already: its ports and its place in the quota are taken by it.
    pub built: bool,
}

/// A zone's Nova and Neutron.
#[derive(Debug)]
pub(super) struct Place {
    pub flavors: Result<Vec<Flavor>, CloudError>,
    pub keypairs: Result<Vec<Keypair>, CloudError>,
    pub zones: Result<Vec<AvailabilityZone>, CloudError>,
    pub services: Result<Vec<ComputeService>, CloudError>,
    /// What its hosts have left.
    pub rooms: Result<Vec<Room>, CloudError>,
    /// By id: those that servers are to come into.
    pub projects: BTreeMap<String, ProjectSeen>,
}

/// What one project may use.
#[derive(Debug)]
pub(super) struct ProjectSeen {
    pub networks: Result<Vec<Network>, CloudError>,
    pub subnets: Result<Vec<Subnet>, CloudError>,
    pub groups: Result<Vec<SecurityGroup>, CloudError>,
    pub server_groups: Result<Vec<ServerGroup>, CloudError>,
    pub quota: Result<QuotaSet, CloudError>,
    /// By network's id: all its ports.
    pub ports: BTreeMap<String, Result<Vec<Port>, CloudError>>,
}

#[cfg(test)]
mod tests;
