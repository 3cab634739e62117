//! Each field of a record against what the other zone has.

use super::{Place, ProjectSeen, Protected};
use crate::preflight::{GapKind, judge::Judge};
use rekindle_common::servers::{FixedIp, PortRecord, PortSecurity, ServerRecord};
use rekindle_core::catalogue::mapping::{Address, Kind};
use rekindle_openstack::{
    neutron::{ByName, Network, SecurityGroup, Subnet},
    nova::{Flavor, ServerGroup},
};

/// What has a name and an id.
pub(super) trait Called {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
}

macro_rules! called {
    ($($what:ty),+) => {
        $(impl Called for $what {
            fn id(&self) -> &str { &self.id }
            fn name(&self) -> &str { &self.name }
        })+
    };
}
called!(Network, Subnet, SecurityGroup, ServerGroup);

/// Those that a text means, as a build looks them up.
pub(super) fn named<'a, T: Called>(all: impl Iterator<Item = &'a T>, text: &str) -> ByName<&'a T> {
    let mut fits: Vec<&T> = all.filter(|t| t.id() == text || t.name() == text).collect();
    match (fits.pop(), fits.is_empty()) {
        (None, _) => ByName::None,
        (Some(one), true) => ByName::One(one),
        (Some(last), false) => {
            fits.push(last);
            ByName::Several(fits)
        }
    }
}

/// One server on its way.
#[derive(Clone, Copy)]
pub(super) struct Trip<'a> {
    pub server: &'a Protected,
    pub record: &'a ServerRecord,
    pub place: &'a Place,
    /// None: which project it comes into is not known.
    pub project: Option<&'a ProjectSeen>,
}

impl Trip<'_> {
    fn about(&self, field: &str) -> String {
        format!(
            "server {} of group {}: {field}",
            self.server.key, self.server.group
        )
    }
}

impl Judge<'_> {
    /// What is mapped and is not there. What is not mapped is named by the mapping itself.
    pub(super) fn server_fields(&mut self, t: Trip<'_>) {
        self.flavor(t);
        self.key_pair(t);
        self.zone_of_hosts(t);
        let r = t.record;
        if let (Some(text), Some(project)) = (&r.server_group, t.project) {
            let all = self.known(&t.server.to, "its server groups", &project.server_groups);
            if let Some(all) = all {
                self.there(t, "server_group", Kind::ServerGroups, text, all);
            }
        }
        for (n, text) in r.security_groups.iter().enumerate() {
            self.security_group(t, &format!("security_groups[{n}]"), text);
        }
        for (n, port) in r.ports.iter().enumerate() {
            for (m, text) in port.security_groups.iter().enumerate() {
                self.security_group(t, &format!("ports[{n}].security_groups[{m}]"), text);
            }
            self.port(t, n, port);
        }
    }

    fn mapped_text(&self, t: Trip<'_>, kind: Kind, text: &str) -> Option<String> {
        let found = self
            .mapping
            .by_text(kind, &t.server.from, text, &t.server.to);
        found.ok().map(str::to_owned)
    }

    /// The one thing that a name means there.
    fn there<'v, T: Called>(
        &mut self,
        t: Trip<'_>,
        field: &str,
        kind: Kind,
        text: &str,
        all: &'v [T],
    ) -> Option<&'v T> {
        let name = self.mapped_text(t, kind, text)?;
        match named(all.iter(), &name) {
            ByName::One(one) => Some(one),
            ByName::None => {
                let what = t.about(&format!(
                    "{field}: {name:?} is not there, or not to be used by its project"
                ));
                let advice = "make it there, or map it to another";
                self.gap(GapKind::of_server(kind), Some(&t.server.to), what, advice);
                None
            }
            ByName::Several(_) => {
                let what = t.about(&format!("{field}: {name:?} is the name of several"));
                self.gap(
                    GapKind::of_server(kind),
                    Some(&t.server.to),
                    what,
                    "map it by its id",
                );
                None
            }
        }
    }

    fn flavor(&mut self, t: Trip<'_>) {
        let (to, wanted) = (&t.server.to, &t.record.flavor);
        let Some(name) = self.mapped_text(t, Kind::Flavors, &wanted.name) else {
            return;
        };
        let Some(all) = self.known(to, "its flavors", &t.place.flavors) else {
            return;
        };
        let found: Option<&Flavor> = all
            .iter()
            .find(|f| f.name == name)
            .or_else(|| all.iter().find(|f| f.id == name));
        let Some(flavor) = found else {
            let what = t.about(&format!("flavor.name: flavor {name:?} is not there"));
            return self.gap(
                GapKind::Flavor,
                Some(to),
                what,
                "make it there, or map the server's to another",
            );
        };
        let figures = [
            ("vcpus", wanted.vcpus.map(u64::from), flavor.vcpus),
            ("ram_mib", wanted.ram_mib, flavor.ram_mib),
        ];
        for (figure, needs, has) in figures {
            if needs.is_some_and(|needs| has < needs) {
                let needs = needs.unwrap_or_default();
                let what = t.about(&format!(
                    "flavor.{figure}: {name:?} has {has}, and it has {needs} now"
                ));
                let advice = "map its flavor to one that is as large";
                self.gap(GapKind::Flavor, Some(to), what, advice);
            }
        }
    }

    fn key_pair(&mut self, t: Trip<'_>) {
        let Some(text) = &t.record.key_name else {
            return;
        };
        let Some(name) = self.mapped_text(t, Kind::KeyPairs, text) else {
            return;
        };
        let Some(all) = self.known(&t.server.to, "our key pairs", &t.place.keypairs) else {
            return;
        };
        if !all.iter().any(|k| k.name == name) {
            let what = t.about(&format!(
                "key_name: our user has no key pair {name:?}, and a server is built with those of the user that builds it"
            ));
            let advice = format!("openstack keypair create --public-key FILE {name}, as that user");
            self.gap(GapKind::KeyPair, Some(&t.server.to), what, advice);
        }
    }

    fn zone_of_hosts(&mut self, t: Trip<'_>) {
        let Some(text) = &t.record.availability_zone else {
            return;
        };
        let Some(name) = self.mapped_text(t, Kind::AvailabilityZones, text) else {
            return;
        };
        let Some(all) = self.known(&t.server.to, "its availability zones", &t.place.zones) else {
            return;
        };
        let why = match all.iter().find(|z| z.name == name) {
            Some(zone) if zone.state.available => return,
            Some(_) => "does not work now",
            None => "is not there",
        };
        let what = t.about(&format!("availability_zone: {name:?} {why}"));
        let advice = "map it to one that works: `openstack availability zone list`";
        self.gap(GapKind::AvailabilityZone, Some(&t.server.to), what, advice);
    }

    fn security_group(&mut self, t: Trip<'_>, field: &str, text: &str) {
        let Some(project) = t.project else { return };
        if let Some(all) = self.known(&t.server.to, "its security groups", &project.groups) {
            self.there(t, field, Kind::SecurityGroups, text, all);
        }
    }

    fn port(&mut self, t: Trip<'_>, n: usize, port: &PortRecord) {
        let Some(project) = t.project else { return };
        let Some(all) = self.known(&t.server.to, "its networks", &project.networks) else {
            return;
        };
        let field = format!("ports[{n}].network");
        let Some(network) = self.there(t, &field, Kind::Networks, &port.network, all) else {
            return;
        };
        if port.port_security == PortSecurity::Off && network.port_security_enabled.is_none() {
            let what = t.about(&format!(
                "ports[{n}].port_security: it is off, and network {:?} has no port without it",
                network.name
            ));
            let advice =
                "load Neutron's extension port-security there, or turn it on for the server's port";
            let kind = GapKind::of_server(Kind::Networks);
            self.gap(kind, Some(&t.server.to), what, advice);
        }
        for (m, ip) in port.fixed_ips.iter().enumerate() {
            let at = format!("ports[{n}].fixed_ips[{m}]");
            self.subnet(t, project, network, &at, ip);
            self.address(t, project, network, &at, ip);
        }
    }

    fn subnet(
        &mut self,
        t: Trip<'_>,
        project: &ProjectSeen,
        network: &Network,
        at: &str,
        ip: &FixedIp,
    ) {
        let Some(text) = &ip.subnet else { return };
        let Some(all) = self.known(&t.server.to, "its subnets", &project.subnets) else {
            return;
        };
        let own: Vec<Subnet> = all
            .iter()
            .filter(|s| s.network_id == network.id)
            .cloned()
            .collect();
        self.there(t, &format!("{at}.subnet"), Kind::Subnets, text, &own);
    }

    fn address(
        &mut self,
        t: Trip<'_>,
        project: &ProjectSeen,
        network: &Network,
        at: &str,
        ip: &FixedIp,
    ) {
        // One that stands by has its own.
        let Some(address) = ip.address.filter(|_| !t.server.built) else {
            return;
        };
        let (from, to) = (&t.server.from, &t.server.to);
        let Ok(Address::One(wanted)) = self.mapping.address(from, address, to) else {
            return;
        };
        let Some(ports) = project.ports.get(&network.id) else {
            return;
        };
        let Some(ports) = self.known(to, "its ports", ports) else {
            return;
        };
        let text = wanted.to_string();
        let has = |p: &&rekindle_openstack::neutron::Port| {
            let mut all = p.fixed_ips.iter();
            all.any(|f| f.address.as_deref() == Some(text.as_str()))
        };
        // What a build that was cut off made is found again by it.
        let ours = format!("rekindle:{}/{}/", t.server.group, t.server.key);
        let not_ours = |p: &&rekindle_openstack::neutron::Port| {
            !p.description
                .as_deref()
                .is_some_and(|d| d.starts_with(&ours))
        };
        if let Some(port) = ports.iter().filter(has).find(not_ours) {
            let holder = port
                .device_id
                .as_deref()
                .filter(|d| !d.is_empty())
                .map_or_else(String::new, |d| format!(" of {d}"));
            let what = t.about(&format!(
                "{at}.address: {wanted} is taken by port {}{holder}",
                port.id
            ));
            let advice = "free it, or map the server's address to another";
            self.gap(GapKind::Address, Some(to), what, advice);
        }
    }
}
