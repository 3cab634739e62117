//! What a record names, looked up in the server's own project, and its ports made there.

use super::{Place, port_mark, port_name};
use crate::servers::{
    control::{ServersError, Wanted},
    nova::{no_port, unseen},
};
use rekindle_common::servers::{PortRecord, PortSecurity, ServerRecord};
use rekindle_openstack::{
    neutron::{AddressPair, ByName, FixedIp, Network as NetworkThere, PortRequest, Subnet},
    nova::{Flavor, Nic, Server, Status},
};
use std::collections::BTreeMap;

impl Place<'_> {
    fn missing(&self, what: &str, text: &str, advice: &str) -> ServersError {
        ServersError::Refused(format!("{}: {what} {text:?} {advice}", self.zone))
    }

    fn one<T>(&self, what: &str, text: &str, found: ByName<T>) -> Result<T, ServersError> {
        match found {
            ByName::One(one) => Ok(one),
            ByName::None => Err(self.missing(
                what,
                text,
                "is missing, or not to be used by this project: make it, or map it to another",
            )),
            ByName::Several(_) => {
                Err(self.missing(what, text, "is the name of several: map it by its id"))
            }
        }
    }

    pub(super) async fn flavor(&self, text: &str) -> Result<Flavor, ServersError> {
        let all = self.nova.flavors().await.map_err(|e| unseen(&e))?;
        // A name goes before an id: one may look like the other's.
        let found = all
            .iter()
            .find(|f| f.name == text)
            .or_else(|| all.iter().find(|f| f.id == text));
        found.cloned().ok_or_else(|| {
            self.missing(
                "flavor",
                text,
                "is missing: make it, or map the server's to another",
            )
        })
    }

    pub(super) async fn server_group(&self, text: &str) -> Result<String, ServersError> {
        let all = self.nova.server_groups().await.map_err(|e| unseen(&e))?;
        let fits: Vec<_> = all
            .into_iter()
            .filter(|g| g.id == text || g.name == text)
            .collect();
        let found = match <[_; 1]>::try_from(fits) {
            Ok([one]) => ByName::One(one),
            Err(none) if none.is_empty() => ByName::None,
            Err(several) => ByName::Several(several),
        };
        self.one("server group", text, found).map(|g| g.id)
    }

    /// Also by its id none but one that the project may use: entries of the mapping count for all projects, and an administrator's port is
    /// made on anybody's network.
    async fn network(&self, text: &str) -> Result<NetworkThere, ServersError> {
        let found = self.neutron.network(&self.project, text).await;
        let found = found.map_err(|e| unseen(&e))?;
        if found == ByName::None {
            let advice = format!(
                "is missing, or another project's and not shared with project {}: make it, share it with that one, or map it to another",
                self.project
            );
            return Err(self.missing("network", text, &advice));
        }
        self.one("network", text, found)
    }

    /// Nova refuses a server whose key pair its builder does not have.
    pub(super) async fn key_pair(&self, name: Option<&str>) -> Result<(), ServersError> {
        let Some(name) = name else {
            return Ok(());
        };
        let all = self.nova.keypairs().await.map_err(|e| unseen(&e))?;
        if all.iter().any(|k| k.name == name) {
            return Ok(());
        }
        Err(self.missing(
            "key pair",
            name,
            "is missing: import it for Rekindle's user",
        ))
    }

    /// Nova refuses a server for a zone of hosts that is not there, or of which nothing works.
    pub(super) async fn zone_of_hosts(&self, name: Option<&str>) -> Result<(), ServersError> {
        let Some(name) = name else {
            return Ok(());
        };
        let all = self.nova.availability_zones().await;
        let all = all.map_err(|e| unseen(&e))?;
        if all.iter().any(|z| z.name == name && z.state.available) {
            return Ok(());
        }
        Err(self.missing(
            "availability zone",
            name,
            "is missing, or does not work now: map it to one that does",
        ))
    }

    /// Whether the quota suffices once what stands there is gone. A shelved one takes none of it.
    pub(super) async fn room(
        &self,
        flavor: &Flavor,
        now: Option<&Server>,
    ) -> Result<(), ServersError> {
        let Some(now) = now else {
            return Ok(());
        };
        let (cores, ram) = match &now.status {
            Status::ShelvedOffloaded => (0, 0),
            Status::Active
            | Status::Build
            | Status::Deleted
            | Status::Error
            | Status::HardReboot
            | Status::Migrating
            | Status::Password
            | Status::Paused
            | Status::Reboot
            | Status::Rebuild
            | Status::Rescue
            | Status::Resize
            | Status::RevertResize
            | Status::Shelved
            | Status::Shutoff
            | Status::SoftDeleted
            | Status::Suspended
            | Status::Unknown
            | Status::VerifyResize
            | Status::Other(_) => match (now.flavor.vcpus, now.flavor.ram_mib) {
                (Some(cores), Some(ram)) => (cores, ram),
                // What it gives back is not known.
                (_, _) => return Ok(()),
            },
        };
        let more = [
            ("cores", flavor.vcpus.saturating_sub(cores)),
            ("ram", flavor.ram_mib.saturating_sub(ram)),
        ];
        match self.nova.over_quota(&more).await {
            None => Ok(()),
            Some(over) => Err(ServersError::Refused(format!("{}: {over}", self.zone))),
        }
    }

    /// Its ports as they are made, each with its tag.
    pub(super) async fn ports(
        &self,
        wanted: &Wanted,
        record: &ServerRecord,
    ) -> Result<Vec<(PortRequest, Option<String>)>, ServersError> {
        let mut ports = Vec::new();
        let mut groups = BTreeMap::new();
        for (n, port) in record.ports.iter().enumerate() {
            let network = self.network(&port.network).await?;
            let fixed_ips = self.fixed_ips(&network.id, port).await?;
            let security_groups = self
                .security_groups(record.groups_of(port), &mut groups)
                .await?;
            let security_groups = match port.port_security {
                // The project's `default`, as in every release before.
                PortSecurity::Unknown if security_groups.is_empty() => None,
                // Also none: Neutron would give it the project's `default` else.
                PortSecurity::Unknown | PortSecurity::On | PortSecurity::Off => {
                    Some(security_groups)
                }
            };
            let port_security_enabled = self.port_security(&network, port)?;
            let request = PortRequest {
                mark: port_mark(wanted, &n.to_string()),
                project: self.project.clone(),
                name: port_name(wanted),
                network: network.id,
                fixed_ips,
                mac: port.mac.clone(),
                security_groups,
                port_security_enabled,
                allowed_address_pairs: port
                    .address_pairs
                    .iter()
                    .map(|pair| AddressPair {
                        address: pair.address.clone(),
                        mac: pair.mac.clone(),
                    })
                    .collect(),
            };
            ports.push((request, port.tag.clone()));
        }
        Ok(ports)
    }

    /// Has them there.
    pub(super) async fn made(
        &self,
        ports: &[(PortRequest, Option<String>)],
    ) -> Result<Vec<Nic>, ServersError> {
        let mut nics = Vec::new();
        for (request, tag) in ports {
            let made = self.neutron.ensure_port(request).await;
            nics.push(Nic {
                port: made.map_err(|e| no_port(&e))?.id,
                tag: tag.clone(),
            });
        }
        Ok(nics)
    }

    /// What Neutron is told: nothing where it is not known, or where this one filters each port and knows no other way.
    fn port_security(
        &self,
        network: &NetworkThere,
        port: &PortRecord,
    ) -> Result<Option<bool>, ServersError> {
        match (port.port_security, network.port_security_enabled) {
            (PortSecurity::Unknown, _) | (PortSecurity::On, None) => Ok(None),
            (PortSecurity::On, Some(_)) => Ok(Some(true)),
            (PortSecurity::Off, Some(_)) => Ok(Some(false)),
            (PortSecurity::Off, None) => Err(self.missing(
                "network",
                &port.network,
                "has no port without port security, as the server's is: load Neutron's extension port-security there, or turn it on for the server's port",
            )),
        }
    }

    async fn fixed_ips(
        &self,
        network: &str,
        port: &PortRecord,
    ) -> Result<Vec<FixedIp>, ServersError> {
        let mut subnets: Option<Vec<Subnet>> = None;
        let mut all = Vec::new();
        for ip in &port.fixed_ips {
            let subnet = match &ip.subnet {
                None => None,
                Some(text) => {
                    if subnets.is_none() {
                        let of_it = self.neutron.subnets(network).await;
                        subnets = Some(of_it.map_err(|e| unseen(&e))?);
                    }
                    let mut fits: Vec<&Subnet> = subnets
                        .iter()
                        .flatten()
                        .filter(|s| s.id == *text || s.name == *text)
                        .collect();
                    let found = match (fits.pop(), fits.is_empty()) {
                        (None, _) => ByName::None,
                        (Some(one), true) => ByName::One(one.id.clone()),
                        (Some(one), false) => ByName::Several(vec![one.id.clone()]),
                    };
                    let what = format!("subnet of network {:?}", port.network);
                    Some(self.one(&what, text, found)?)
                }
            };
            all.push(FixedIp {
                subnet,
                address: ip.address.map(|a| a.to_string()),
            });
        }
        Ok(all)
    }

    /// By id.
    async fn security_groups(
        &self,
        texts: &[String],
        known: &mut BTreeMap<String, String>,
    ) -> Result<Vec<String>, ServersError> {
        let mut all = Vec::new();
        for text in texts {
            let id = match known.get(text) {
                Some(id) => id.clone(),
                None => {
                    let found = self.neutron.security_group(&self.project, text).await;
                    let found = found.map_err(|e| unseen(&e))?;
                    let id = self.one("security group", text, found)?.id;
                    known.insert(text.clone(), id.clone());
                    id
                }
            };
            all.push(id);
        }
        Ok(all)
    }
}
