//! Backends: whose pool is what to Cinder, and whether it is served.

use super::Judge;
use crate::preflight::{GapKind, look::Rest};
use rekindle_common::{ZoneName, volume::Role};
use rekindle_openstack::Service;
use std::collections::BTreeSet;

impl Judge<'_> {
    pub(super) fn backends(&mut self) {
        let needed = self.pools();
        for (zone, seen) in self.seen {
            let Some(cloud) = self.config.clouds.get(zone) else {
                continue;
            };
            // A pool is mirrored under one name: what is in one zone's comes to the other's.
            for pool in needed.iter().filter(|p| !cloud.backends.contains_key(*p)) {
                let what = format!(
                    "clouds.{zone}.backends does not say what Cinder calls the backend of pool {pool}, which has replicated images"
                );
                let advice = format!(
                    "add {pool} = \"HOST@BACKEND#POOL\"; `openstack volume backend pool list` prints them"
                );
                self.gap(GapKind::Backend, Some(zone), what, advice);
            }
            if let Some(rest) = seen.rest() {
                for (pool, host) in &cloud.backends {
                    self.backend(zone, rest, pool, host);
                }
                self.asked_for(zone, rest);
            }
        }
    }

    /// The pools that have something replicated, as far as is known.
    fn pools(&self) -> BTreeSet<String> {
        let images = self.seen.values().flat_map(|s| s.images.iter().flatten());
        images
            .filter(|i| match i.role {
                Role::Primary | Role::Secondary => true,
                Role::NotMirrored | Role::Unknown => false,
            })
            .map(|i| i.volume.pool().to_owned())
            .collect()
    }

    fn backend(&mut self, zone: &ZoneName, rest: &Rest, pool: &str, host: &str) {
        if let Some(pools) = self.known(zone, "its backends' pools", &rest.pools)
            && !pools.iter().any(|p| p.name == host)
        {
            let names: Vec<&str> = pools.iter().map(|p| p.name.as_str()).collect();
            let names = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            let what = format!(
                "Cinder does not know {host}, the backend of pool {pool}; it knows {names}"
            );
            let advice = format!(
                "mend clouds.{zone}.backends.{pool} (of a cluster of cinder-volumes it is CLUSTER@BACKEND#POOL), or start that cinder-volume"
            );
            return self.gap(GapKind::Backend, Some(zone), what, advice);
        }
        let Some(services) = self.known(zone, "its services", &rest.services) else {
            return;
        };
        let backend = host.split_once('#').map_or(host, |(backend, _)| backend);
        let volume = services.iter().filter(|s| s.binary == "cinder-volume");
        let (own, members): (Vec<_>, Vec<_>) = volume
            .filter(|s| s.host == backend || s.cluster.as_deref() == Some(backend))
            .partition(|s| s.host == backend);
        let said = match (own.first(), members.as_slice()) {
            (Some(s), _) if s.state != "up" => format!("cinder-volume of {backend} is {}", s.state),
            (Some(s), _) if s.status != "enabled" => {
                format!("cinder-volume of {backend} is {}", s.status)
            }
            (Some(_), _) | (None, []) => return,
            // Of a cluster, one is enough.
            (None, members) => {
                let serves = |s: &&Service| s.state == "up" && s.status == "enabled";
                if members.iter().any(serves) {
                    return;
                }
                format!(
                    "no cinder-volume of the cluster {backend} is up and enabled, of {}",
                    members.len()
                )
            }
        };
        let advice = "no record can be made there until it is up and enabled: `openstack volume service list`";
        self.gap(GapKind::Backend, Some(zone), said, advice);
    }

    /// A replicated type asks for a backend by name; Cinder refuses to manage an image into a type of another.
    fn asked_for(&mut self, zone: &ZoneName, rest: &Rest) {
        let (Ok(pools), Ok(types)) = (&rest.pools, &rest.types) else {
            return;
        };
        let Some(cloud) = self.config.clouds.get(zone) else {
            return;
        };
        let ours: BTreeSet<&str> = pools
            .iter()
            .filter(|p| cloud.backends.values().any(|host| *host == p.name))
            .filter_map(|p| p.backend_name())
            .collect();
        if ours.is_empty() {
            return;
        }
        for kind in types.iter().filter(|t| t.is_replicated()) {
            if let Some(name) = kind.backend_name().filter(|n| !ours.contains(n)) {
                let names = ours.iter().copied().collect::<Vec<_>>().join(", ");
                let what = format!(
                    "the replicated type {:?} asks for backend {name:?}, and the configured ones are {names}: Cinder would refuse its records",
                    kind.name
                );
                let advice = format!(
                    "mend the type's volume_backend_name, or add the backend to clouds.{zone}.backends"
                );
                self.gap(GapKind::TypeMismatch, Some(zone), what, advice);
            }
        }
    }
}
