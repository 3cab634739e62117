//! A server is built from a record in this zone's names: each name is looked up, each port is made with its addresses, and then the server.
//!
//! Everything is found again by what we wrote on it: the server by its mark, a port by its description. So a build that was cut off goes on
//! where it stood.

mod place;

use super::{MOST, NovaServers, is_deleted, seen, told, unseen};
use crate::servers::control::{BuildOrder, Seen, ServersError, Wanted};
use rekindle_common::{ZoneName, duration::Span, runbook::StandbyPolicy, servers::ServerRecord};
use rekindle_openstack::{
    CloudError, Neutron, Nova, Scope,
    nova::{Disk, GROUP, Network, Rest, STANDBY_OF, Server, ServerRequest, Status, UserData},
};
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
        self.is_in_our_names(record)?;
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

    /// Whether all that the order names is there, nothing made.
    pub(super) async fn checked(&self, order: &BuildOrder) -> Result<(), ServersError> {
        let record = &order.record;
        self.is_in_our_names(record)?;
        let place = self.place(self.project_for(record).await?);
        let flavor = place.flavor(&record.flavor.name).await?;
        if let Some(text) = &record.server_group {
            place.server_group(text).await?;
        }
        place.ports(&order.wanted, record).await?;
        place.key_pair(record.key_name.as_deref()).await?;
        place
            .zone_of_hosts(record.availability_zone.as_deref())
            .await?;
        let now = self.find(&order.wanted).await?;
        place.room(&flavor, now.as_ref()).await
    }

    fn is_in_our_names(&self, record: &ServerRecord) -> Result<(), ServersError> {
        if record.zone == *self.zone() {
            return Ok(());
        }
        let why = format!("{}: the record is in {}'s names", self.zone(), record.zone);
        Err(ServersError::Refused(why))
    }

    /// Whose it is to be.
    async fn project_for(&self, record: &ServerRecord) -> Result<String, ServersError> {
        match &record.project {
            Some(project) => Ok(project.clone()),
            None => self.project_of(root(record, self.zone())?).await,
        }
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
        let place = self.place(self.project_for(record).await?);
        let flavor = place.flavor(&record.flavor.name).await?.id;
        let server_group = match &record.server_group {
            None => None,
            Some(text) => Some(place.server_group(text).await?),
        };
        let ports = place.ports(&order.wanted, record).await?;
        // Last, for these are made.
        let nics = place.made(&ports).await?;
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
