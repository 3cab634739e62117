//! A server is built from a record in this zone's names: each name is looked up, each port is made with its addresses, and then the server.
//!
//! Everything is found again by what we wrote on it: the server by its mark, a port by its description. So a build that was cut off goes on
//! where it stood.

use super::{MOST, NovaServers, is_deleted, no_port, seen, told, unseen};
use crate::servers::control::{BuildOrder, Seen, ServersError, Wanted};
use rekindle_common::{
    ZoneName,
    duration::Span,
    runbook::StandbyPolicy,
    servers::{PortRecord, PortSecurity, ServerRecord},
};
use rekindle_openstack::{
    CloudError, Neutron, Nova, Scope,
    neutron::{AddressPair, ByName, FixedIp, Network as NetworkThere, PortRequest, Subnet},
    nova::{Disk, GROUP, Network, Nic, Rest, STANDBY_OF, Server, ServerRequest, Status, UserData},
};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A cloud as the server's own project has it.
struct Place<'a> {
    zone: &'a str,
    project: String,
    nova: Nova,
    neutron: Neutron,
}

impl NovaServers {
    pub(super) async fn built(
        &self,
        order: &BuildOrder,
        within: Span,
    ) -> Result<Seen, ServersError> {
        let end = Instant::now() + within.get();
        let record = &order.record;
        let refuse = |why: String| Err(ServersError::Refused(format!("{}: {why}", self.zone())));
        let rest = match order.rest {
            StandbyPolicy::Shutoff => Rest::Shutoff,
            StandbyPolicy::Shelved => Rest::Shelved,
            StandbyPolicy::Record => Rest::Running,
            StandbyPolicy::None => {
                return refuse(format!(
                    "{} is not to be built: its stand-by is \"none\"",
                    order.wanted.key
                ));
            }
        };
        if record.zone != *self.zone() {
            return refuse(format!("the record is in {}'s names", record.zone));
        }
        let Some(mark) = self.mark(&order.wanted)? else {
            return refuse(format!(
                "whose counterpart {} is to be is not known",
                order.wanted.key
            ));
        };
        let wanted = Wanted {
            root: record.disks.first().map(|d| d.volume.id.clone()),
            ..order.wanted.clone()
        };
        let mut there = self.within(within, self.find_kept(&wanted)).await?;
        // A stand-by that somebody deleted, and that Nova still keeps: it has the volumes until it is gone. What bears no mark of ours is left.
        if let Some(server) = there.take_if(|s| is_deleted(s)) {
            let nova = self.home();
            nova.ensure_absent(&server.id, &mark, self.patience(end))
                .await
                .map_err(|e| told(&e))?;
        }
        // Built anew without its names being looked up, or beside it, it would be neither.
        if let Some(other) = there.as_ref().filter(|s| s.mark().as_ref() != Some(&mark)) {
            let bears = other
                .mark()
                .map_or_else(|| "none".to_owned(), |m| m.to_string());
            let id = &other.id;
            return refuse(format!(
                "{other} is what is kept as {}'s here, and its property {STANDBY_OF} is {bears} where {mark} is due: nothing is built beside it. Delete it, and another is built; or set the property, and it is taken as it is (`openstack server set --property {STANDBY_OF}={mark} {id}`)",
                order.wanted.key
            ));
        }
        // It has its ports until it is gone, and they may be others than are due now.
        if let Some(server) = there.take_if(|s| failed_at_once(s)) {
            let nova = self.home();
            nova.ensure_absent(&server.id, &mark, self.patience(end))
                .await
                .map_err(|e| told(&e))?;
        }
        let request = match there {
            // It is gone on with as it is: nothing more is asked for.
            Some(server) => {
                let place = self.place(server.project_id.clone().unwrap_or_default());
                (place, bare(record))
            }
            None => {
                let left = self.patience(end).within;
                self.within(left, self.request(order)).await?
            }
        };
        let (place, request) = request;
        let standby = place
            .nova
            .ensure_standby(&request, &mark, rest, MOST, self.patience(end))
            .await
            .map_err(|e| told(&e))?;
        Ok(seen(&standby.server))
    }

    fn place(&self, project: String) -> Place<'_> {
        let scope = Scope::Project(project.clone());
        Place {
            zone: self.zone().as_str(),
            project,
            nova: self.cloud.nova(scope.clone()),
            neutron: self.cloud.neutron(scope),
        }
    }

    /// What Nova is asked for, its ports made.
    async fn request(
        &self,
        order: &BuildOrder,
    ) -> Result<(Place<'_>, ServerRequest), ServersError> {
        let record = &order.record;
        let project = match &record.project {
            Some(project) => project.clone(),
            None => self.project_of(root(record, self.zone())?).await?,
        };
        let place = self.place(project);
        let flavor = place.flavor(&record.flavor.name).await?;
        let server_group = match &record.server_group {
            None => None,
            Some(text) => Some(place.server_group(text).await?),
        };
        // Last, for these are made.
        let nics = place.ports(&order.wanted, record).await?;
        let request = ServerRequest {
            flavor,
            network: if nics.is_empty() {
                Network::None
            } else {
                Network::Ports(nics)
            },
            server_group,
            metadata: record
                .metadata
                .clone()
                .into_iter()
                .chain([(GROUP.to_owned(), order.wanted.group.to_string())])
                .collect(),
            ..bare(record)
        };
        Ok((place, request))
    }

    /// The project of a root volume: its server's too.
    pub(super) async fn project_of(&self, root: &str) -> Result<String, ServersError> {
        self.project_if_there(root).await?.ok_or_else(|| {
            let zone = self.zone();
            ServersError::Refused(format!("{zone}: its root volume {root} is not there"))
        })
    }

    /// The same; none: the volume is not there.
    async fn project_if_there(&self, root: &str) -> Result<Option<String>, ServersError> {
        let cinder = self.cloud.cinder(Scope::Home);
        match cinder.volume(root).await {
            Ok(volume) => Ok(Some(volume.project_id)),
            Err(CloudError::NotFound { .. }) => Ok(None),
            Err(e) => Err(unseen(&e)),
        }
    }

    /// The ports that were made for a server, and that nothing has: they go with it. Only those of its own project, and its root volume's: what they
    /// bear everybody may write on ports of his own.
    pub(super) async fn remove_ports(
        &self,
        wanted: &Wanted,
        project: Option<String>,
        root: &str,
    ) -> Result<(), ServersError> {
        let project = match project {
            Some(project) => Some(project),
            None => self.project_if_there(root).await?,
        };
        // Whose they would be is not known any more: none is taken away.
        let Some(project) = project else {
            tracing::info!(group = %wanted.group, server = %wanted.key, zone = %self.zone(), volume.id = root, "its root volume is gone: ports that were made for it are left");
            return Ok(());
        };
        let neutron = self.neutron();
        let all = neutron.ports_named(&port_name(wanted)).await;
        for port in all.map_err(|e| unseen(&e))? {
            let marked = port
                .description
                .as_deref()
                .is_some_and(|d| d.starts_with(&port_mark(wanted, "")));
            let ours = marked && port.project_id.as_ref() == Some(&project);
            let free = port.device_id.as_deref().is_none_or(str::is_empty);
            if ours && free {
                let gone = neutron.ensure_port_absent(&port.id).await;
                gone.map_err(|e| unseen(&e))?;
            }
        }
        Ok(())
    }
}

fn root<'a>(record: &'a ServerRecord, zone: &ZoneName) -> Result<&'a str, ServersError> {
    let root = record.disks.first().map(|d| d.volume.id.as_str());
    root.ok_or_else(|| ServersError::Refused(format!("{zone}: the record has no disk")))
}

/// It failed before it ever ran: it is built again.
fn failed_at_once(server: &Server) -> bool {
    server.status == Status::Error && server.launched_at.is_none() && server.task_state.is_none()
}

/// The name of a server's ports.
fn port_name(wanted: &Wanted) -> String {
    format!("rekindle-{}-{}", wanted.group, wanted.key)
}

/// By which one of them is found again.
fn port_mark(wanted: &Wanted, n: &str) -> String {
    format!("rekindle:{}/{}/{n}", wanted.group, wanted.key)
}

/// What needs no look at the cloud. Without a flavor nothing is built of it.
fn bare(record: &ServerRecord) -> ServerRequest {
    ServerRequest {
        name: record.name.clone(),
        flavor: String::new(),
        disks: record
            .disks
            .iter()
            .map(|d| Disk {
                volume: d.volume.id.clone(),
                boot_index: d.boot_index,
                device: d.device.clone(),
                tag: d.tag.clone(),
            })
            .collect(),
        network: Network::None,
        security_groups: Vec::new(),
        key_name: record.key_name.clone(),
        availability_zone: record.availability_zone.clone(),
        metadata: record.metadata.clone(),
        tags: record.tags.clone(),
        user_data: record
            .user_data
            .as_ref()
            .map(|u| UserData(u.base64().to_owned())),
        config_drive: record.config_drive,
        server_group: None,
        description: record.description.clone(),
    }
}

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

    async fn flavor(&self, text: &str) -> Result<String, ServersError> {
        let all = self.nova.flavors().await.map_err(|e| unseen(&e))?;
        // A name goes before an id: one may look like the other's.
        let found = all
            .iter()
            .find(|f| f.name == text)
            .or_else(|| all.iter().find(|f| f.id == text));
        found.map(|f| f.id.clone()).ok_or_else(|| {
            self.missing(
                "flavor",
                text,
                "is missing: make it, or map the server's to another",
            )
        })
    }

    async fn server_group(&self, text: &str) -> Result<String, ServersError> {
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

    async fn ports(
        &self,
        wanted: &Wanted,
        record: &ServerRecord,
    ) -> Result<Vec<Nic>, ServersError> {
        let mut nics = Vec::new();
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
            let made = self.neutron.ensure_port(&request).await;
            nics.push(Nic {
                port: made.map_err(|e| no_port(&e))?.id,
                tag: port.tag.clone(),
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
