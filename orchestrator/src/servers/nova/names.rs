//! What ids are called: a record has names where a name is unique, so that a mapping can be written, and the same name be found, by people.

use rekindle_openstack::{
    CloudError,
    neutron::{Network, Neutron, SecurityGroup, Subnet},
};

/// A cloud's networks, subnets and security groups.
#[derive(Debug, Default)]
pub(super) struct Names {
    networks: Vec<Network>,
    subnets: Vec<Subnet>,
    groups: Vec<SecurityGroup>,
}

impl Names {
    pub(super) async fn read(neutron: &Neutron) -> Result<Self, CloudError> {
        let (networks, subnets, groups) = tokio::try_join!(
            neutron.networks(),
            neutron.all_subnets(),
            neutron.security_groups()
        )?;
        Ok(Self {
            networks,
            subnets,
            groups,
        })
    }

    /// Its name, where it is the only one of that name that the project may use; else its id.
    pub(super) fn network(&self, id: &str, project: Option<&str>) -> String {
        let usable = |n: &&Network| project.is_none_or(|p| n.is_usable_by(p));
        let all = self.networks.iter().filter(usable);
        unique(id, all.map(|n| (n.id.as_str(), n.name.as_str())))
    }

    /// Its name, where it is the only one of that name in its network; else its id.
    pub(super) fn subnet(&self, id: &str) -> String {
        let network = self.subnets.iter().find(|s| s.id == id);
        let beside = |s: &&Subnet| network.is_some_and(|n| n.network_id == s.network_id);
        let all = self.subnets.iter().filter(beside);
        unique(id, all.map(|s| (s.id.as_str(), s.name.as_str())))
    }

    /// Its name, where it is the only one of that name in the project; else its id.
    pub(super) fn security_group(&self, id: &str, project: Option<&str>) -> String {
        let of_it = |g: &&SecurityGroup| g.project_id.as_deref() == project;
        let all = self.groups.iter().filter(of_it);
        unique(id, all.map(|g| (g.id.as_str(), g.name.as_str())))
    }
}

/// The name of an id among others, where no other has it and it can stand in a record.
pub(super) fn unique<'a>(id: &str, all: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let all: Vec<(&str, &str)> = all.collect();
    let name = all.iter().find(|(i, _)| *i == id).map(|(_, name)| *name);
    let alone = |name: &&str| all.iter().filter(|(_, n)| n == name).count() == 1;
    let plain = |name: &&str| {
        !name.is_empty() && name.trim() == *name && !name.chars().any(char::is_control)
    };
    name.filter(plain).filter(alone).unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(id: &str, name: &str, project: &str, shared: bool) -> Network {
        Network {
            port_security_enabled: None,
            id: id.to_owned(),
            name: name.to_owned(),
            project_id: Some(project.to_owned()),
            shared,
            external: false,
            subnets: Vec::new(),
        }
    }

    #[test]
    fn a_name_is_used_where_it_is_the_only_one() {
        let names = Names {
            networks: vec![
                network("n1", "private", "p1", false),
                network("n2", "private", "p2", false),
                network("n3", "wide", "p3", true),
                network("n4", "twin", "p1", false),
                network("n5", "twin", "p9", true),
                network("n6", "", "p1", false),
            ],
            ..Names::default()
        };
        for (id, name) in [
            ("n1", "private"),
            ("n3", "wide"),
            ("n4", "n4"),
            ("n5", "n5"),
            ("n6", "n6"),
            // Another project's, which was shared with this one alone: it is not among those that are usable by what is seen.
            ("n2", "n2"),
            ("gone", "gone"),
        ] {
            assert_eq!(names.network(id, Some("p1")), name, "{id}");
        }
    }

    #[test]
    fn subnets_are_told_apart_within_their_network_and_groups_within_their_project() {
        let subnet = |id: &str, name: &str, network: &str| Subnet {
            id: id.to_owned(),
            name: name.to_owned(),
            network_id: network.to_owned(),
            cidr: "10.0.0.0/24".to_owned(),
            ip_version: 4,
            gateway_ip: None,
        };
        let group = |id: &str, name: &str, project: &str| SecurityGroup {
            id: id.to_owned(),
            name: name.to_owned(),
            project_id: Some(project.to_owned()),
        };
        let names = Names {
            subnets: vec![
                subnet("s1", "four", "n1"),
                subnet("s2", "four", "n2"),
                subnet("s3", "six", "n1"),
                subnet("s4", "six", "n1"),
            ],
            groups: vec![
                group("g1", "default", "p1"),
                group("g2", "default", "p2"),
                group("g3", "web", "p1"),
                group("g4", "web", "p1"),
            ],
            ..Names::default()
        };
        let subnets = ["s1", "s2", "s3", "s9"].map(|id| names.subnet(id));
        assert_eq!(subnets, ["four", "four", "s3", "s9"]);
        let groups = ["g1", "g3", "g2"].map(|id| names.security_group(id, Some("p1")));
        assert_eq!(groups, ["default", "g3", "g2"]);
    }
}
