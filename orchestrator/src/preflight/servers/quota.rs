//! All servers of a project against its quota.

use super::{Protected, ServersSeen, look::project};
use crate::preflight::{GapKind, judge::Judge, look::Seen};
use rekindle_common::{ZoneName, runbook::StandbyPolicy};
use std::collections::BTreeMap;

/// What is still to be counted of a server on the day it starts there: instances, cores, MiB of memory.
pub(super) fn needs(server: &Protected) -> Option<[u64; 3]> {
    let record = server.record.as_ref().ok()?;
    let cores = record.flavor.vcpus.map_or(0, u64::from);
    let ram = record.flavor.ram_mib.unwrap_or(0);
    Some(match (server.standby, server.built) {
        (StandbyPolicy::None, _) => [0, 0, 0],
        // One that is shut off is counted as one that runs; one that is shelved takes a place on a host when it is started.
        (StandbyPolicy::Shutoff | StandbyPolicy::Record, true) => [0, 0, 0],
        (StandbyPolicy::Shelved, true) => [0, cores, ram],
        (StandbyPolicy::Shutoff | StandbyPolicy::Shelved | StandbyPolicy::Record, false) => {
            [1, cores, ram]
        }
    })
}

impl Judge<'_> {
    pub(super) fn server_quotas(&mut self, servers: &ServersSeen, seen: &Seen) {
        let mut sums: BTreeMap<(&ZoneName, String), [u64; 3]> = BTreeMap::new();
        for server in &servers.servers {
            let (Some(needs), Some(project)) = (needs(server), project(server, seen)) else {
                continue;
            };
            let sum = sums.entry((&server.to, project)).or_default();
            for (total, more) in sum.iter_mut().zip(needs) {
                *total = total.saturating_add(more);
            }
        }
        for ((zone, id), sum) in sums {
            let place = servers.places.get(zone).and_then(|p| p.projects.get(&id));
            let Some(project) = place else { continue };
            let what = format!("the quota of Nova for project {id}");
            let Some(quota) = self.known(zone, &what, &project.quota) else {
                continue;
            };
            for (figure, wanted) in ["instances", "cores", "ram"].into_iter().zip(sum) {
                let Some(q) = quota.get(figure) else { continue };
                if q.left().is_some_and(|left| left < wanted) {
                    let least = u64::try_from(q.in_use).unwrap_or(0).saturating_add(wanted);
                    let what = format!(
                        "project {id} lacks quota for the servers that are to come back in it: {wanted} more {figure} are needed, {} of {} are used",
                        q.in_use, q.limit
                    );
                    let advice = format!(
                        "raise it to {least} at least: openstack quota set --{figure} {least} {id}"
                    );
                    self.gap(GapKind::Quota, Some(zone), what, advice);
                }
            }
        }
    }
}
