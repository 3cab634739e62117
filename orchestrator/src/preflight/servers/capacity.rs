//! All servers that are to come into a zone against what its hosts have left.
//!
//! Each is put on the first host that has room for it, the largest first, as Placement counts room. That is what has to be true at least: what a
//! flavor's traits, an availability zone or a server group ask for besides is for Nova's scheduler to find out, or a drill.

use super::{ServersSeen, quota::needs};
use crate::preflight::{GapKind, judge::Judge};
use rekindle_common::ZoneName;
use rekindle_openstack::{
    nova::{ComputeService, ServiceState, ServiceStatus},
    placement::Room,
};

impl Judge<'_> {
    pub(super) fn server_capacity(&mut self, servers: &ServersSeen) {
        for (zone, place) in &servers.places {
            if let Some(all) = self.known(zone, "its hosts", &place.services)
                && !all.iter().any(takes_servers)
            {
                let what = "no nova-compute is up and enabled: no server can be built or started";
                let advice = "openstack compute service list --service nova-compute";
                self.gap(GapKind::Capacity, Some(zone), what, advice);
                continue;
            }
            if let Some(rooms) = self.known(zone, "what room its hosts have", &place.rooms) {
                self.room_for_all(zone, rooms.clone(), servers);
            }
        }
    }

    fn room_for_all(&mut self, zone: &ZoneName, rooms: Vec<Room>, servers: &ServersSeen) {
        let coming = servers.servers.iter().filter(|s| s.to == *zone);
        let wanted: Vec<_> = coming
            .filter_map(|s| {
                let [_, vcpus, ram_mib] = needs(s)?;
                let room = Room { vcpus, ram_mib };
                (room != Room::default()).then(|| (format!("{} of group {}", s.key, s.group), room))
            })
            .collect();
        let count = wanted.len();
        let hosts = rooms.len();
        let homeless = without_a_host(rooms, wanted);
        let Some((name, room)) = homeless.first() else {
            return;
        };
        let what = format!(
            "its hosts have no room for {} of {count} servers that are to come: the first is {name}, with {} vCPUs and {} MiB of memory; {hosts} hosts take servers",
            homeless.len(),
            room.vcpus,
            room.ram_mib
        );
        let advice = "openstack allocation candidate list --resource VCPU=1 --resource MEMORY_MB=1";
        self.gap(GapKind::Capacity, Some(zone), what, advice);
    }
}

fn takes_servers(s: &ComputeService) -> bool {
    s.binary == "nova-compute"
        && s.status == ServiceStatus::Enabled
        && s.state == Some(ServiceState::Up)
        && !s.forced_down
}

/// Those that find no host, the largest first.
fn without_a_host(mut rooms: Vec<Room>, mut wanted: Vec<(String, Room)>) -> Vec<(String, Room)> {
    wanted.sort_by(|(a_name, a), (b_name, b)| {
        (b.ram_mib, b.vcpus, a_name).cmp(&(a.ram_mib, a.vcpus, b_name))
    });
    let mut homeless = Vec::new();
    for (name, room) in wanted {
        let host = rooms
            .iter_mut()
            .find(|h| h.vcpus >= room.vcpus && h.ram_mib >= room.ram_mib);
        match host {
            Some(host) => {
                host.vcpus -= room.vcpus;
                host.ram_mib -= room.ram_mib;
            }
            None => homeless.push((name, room)),
        }
    }
    homeless
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room(vcpus: u64, ram_mib: u64) -> Room {
        Room { vcpus, ram_mib }
    }

    #[test]
    fn the_largest_comes_first_and_who_finds_no_host_is_named() {
        let wanted = |all: &[(&str, Room)]| -> Vec<(String, Room)> {
            all.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect()
        };
        let all = wanted(&[
            ("small", room(1, 512)),
            ("large", room(2, 2048)),
            ("many", room(9, 64)),
        ]);
        let hosts = vec![room(2, 2048), room(1, 512)];
        assert_eq!(
            without_a_host(hosts, all.clone()),
            wanted(&[("many", room(9, 64))])
        );
        // Room that is spread over the hosts is none for a server that needs it on one.
        let apart = vec![room(1, 1024), room(1, 1024)];
        assert_eq!(
            without_a_host(apart, all),
            wanted(&[("large", room(2, 2048)), ("many", room(9, 64))])
        );
        assert_eq!(without_a_host(Vec::new(), Vec::new()), []);
    }

    proptest! {
        #[test]
        fn no_host_is_given_more_than_it_has(
            hosts in proptest::collection::vec((0_u64..16, 0_u64..4096), 0..8),
            wanted in proptest::collection::vec((1_u64..8, 1_u64..2048), 0..20),
        ) {
            let rooms: Vec<Room> = hosts.iter().map(|(v, r)| room(*v, *r)).collect();
            let all: Vec<_> = wanted.iter().enumerate().map(|(i, (v, r))| (i.to_string(), room(*v, *r))).collect();
            let homeless = without_a_host(rooms.clone(), all.clone());
            let sum = |rooms: &mut dyn Iterator<Item = Room>| rooms.fold((0, 0), |s, r| (s.0 + r.vcpus, s.1 + r.ram_mib));
            let (have_v, have_r) = sum(&mut rooms.iter().copied());
            let housed = all.iter().filter(|(n, _)| !homeless.iter().any(|(h, _)| h == n));
            let (v, r) = sum(&mut housed.map(|(_, r)| *r));
            prop_assert!(v <= have_v && r <= have_r);
            // One that stays without a host fits on none that is empty but for it, or others took its place.
            if all.len() == 1 {
                let fits = rooms.iter().any(|h| h.vcpus >= all[0].1.vcpus && h.ram_mib >= all[0].1.ram_mib);
                prop_assert_eq!(homeless.is_empty(), fits);
            }
        }
    }
}
