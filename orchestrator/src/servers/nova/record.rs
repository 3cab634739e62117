//! A server's record, taken from the Nova and the Neutron that have it.
//!
//! What Nova does not show is not guessed at: which volume is booted from while a server is on no host and has several, how it was asked
//! for before something that is at work on it. Then there is no record now, and the one that is kept stays.

use super::{NovaServers, Wanted, names::Names, seen, state, unseen};
use crate::servers::control::{ServerState, ServersError};
use jiff::Timestamp;
use rekindle_common::{
    ZoneName,
    servers::{
        AddressPair, DiskRecord, FixedIp, FlavorRecord, PortRecord, PortSecurity, PowerWish,
        RecordSource, ServerRecord, UserData, VolumeRef,
    },
};
use rekindle_openstack::{
    Microversion, Scope,
    neutron::Port,
    nova::{Server, ServerGroup, Status, VolumeAttachment},
};
use std::collections::BTreeMap;

/// Since when Nova tells the availability zone that was asked for from the one that it is in.
const PINNED: Microversion = Microversion(2, 96);
/// Properties of ours on servers: they say whose stand-by it is, and belong to no record.
const OURS: &str = "rekindle:";

/// What one server's record is made of.
struct Parts<'a> {
    zone: &'a ZoneName,
    server: Server,
    disks: Vec<VolumeAttachment>,
    ports: Vec<Port>,
    groups: Vec<ServerGroup>,
    names: &'a Names,
    pinned: bool,
    at: Timestamp,
}

impl NovaServers {
    pub(super) async fn recorded(
        &self,
        wanted: &Wanted,
    ) -> Result<Option<ServerRecord>, ServersError> {
        let Some(server) = self.find(wanted).await? else {
            return Ok(None);
        };
        let (nova, neutron) = (self.home(), self.neutron());
        let not_seen = |e| unseen(&e);
        let version = nova.microversion().await.map_err(not_seen)?;
        let disks = nova.volume_attachments(&server.id);
        let ports = neutron.ports_of(&server.id);
        let (disks, ports) = tokio::try_join!(disks, ports).map_err(not_seen)?;
        let groups = match (&server.server_groups, &server.project_id) {
            (some, Some(project)) if !some.is_empty() => {
                let of_it = self.cloud.nova(Scope::Project(project.clone()));
                of_it.server_groups().await.map_err(not_seen)?
            }
            (_, _) => Vec::new(),
        };
        let names = self.names().await?;
        let parts = Parts {
            zone: self.zone(),
            server,
            disks,
            ports,
            groups,
            names: &names,
            pinned: version >= PINNED,
            at: Timestamp::now(),
        };
        record(parts).map(Some)
    }
}

fn record(parts: Parts<'_>) -> Result<ServerRecord, ServersError> {
    let s = &parts.server;
    let refused = |why: String| ServersError::Refused(format!("{}: server {s} {why}", parts.zone));
    let power = power(s).ok_or_else(|| {
        ServersError::NotNow(format!(
            "{}: server {s} is {}: its record waits for that to end",
            parts.zone,
            seen(s).words
        ))
    })?;
    if s.image.is_some() || parts.disks.is_empty() {
        return Err(refused(
            "cannot be protected: its root disk is not a volume".to_owned(),
        ));
    }
    let user_data = match &s.user_data {
        None => None,
        Some(data) => Some(
            UserData::new(data.0.clone())
                .map_err(|why| refused(format!("has user data that {why}")))?,
        ),
    };
    let ports = ports(&parts);
    // Each port has its own; those of a server without ports are Nova's.
    let security_groups = if ports.is_empty() {
        let mut all: Vec<String> = s.security_groups.iter().map(|g| g.name.clone()).collect();
        all.sort();
        all.dedup();
        all
    } else {
        Vec::new()
    };
    let record = ServerRecord {
        name: s.name.clone().unwrap_or_default(),
        zone: parts.zone.clone(),
        id: Some(s.id.clone()),
        project: s.project_id.clone(),
        flavor: flavor(s),
        disks: disks(&parts)?,
        ports,
        security_groups,
        key_name: s.key_name.clone(),
        availability_zone: if parts.pinned {
            s.pinned_availability_zone.clone()
        } else {
            s.availability_zone.clone()
        },
        metadata: s
            .metadata
            .iter()
            .filter(|(k, _)| !k.starts_with(OURS))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        tags: s.tags.iter().cloned().collect(),
        user_data,
        config_drive: s.config_drive,
        server_group: s.server_groups.first().map(|id| {
            let all = parts.groups.iter();
            super::names::unique(id, all.map(|g| (g.id.as_str(), g.name.as_str())))
        }),
        description: s.description.clone(),
        locked: s.locked && !seen(s).held,
        power,
        taken_at: parts.at,
        source: RecordSource::Nova,
    };
    record
        .check()
        .map_err(|e| refused(format!("cannot be kept: {e}")))?;
    Ok(record)
}

/// Whether it is to run; none: it cannot be told now.
fn power(s: &Server) -> Option<PowerWish> {
    match state(s) {
        ServerState::Running | ServerState::Frozen => match &s.status {
            // From another disk, or with another flavor that may be taken back.
            Status::Rescue | Status::VerifyResize => None,
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
            | Status::Resize
            | Status::RevertResize
            | Status::Shelved
            | Status::ShelvedOffloaded
            | Status::Shutoff
            | Status::SoftDeleted
            | Status::Suspended
            | Status::Unknown
            | Status::Other(_) => Some(PowerWish::Running),
        },
        ServerState::Stopped => Some(PowerWish::ShutOff),
        ServerState::Changing | ServerState::Failed { .. } | ServerState::Unknown => None,
    }
}

fn flavor(s: &Server) -> FlavorRecord {
    let f = &s.flavor;
    FlavorRecord {
        name: f.name.clone().unwrap_or_default(),
        vcpus: f.vcpus.and_then(|n| u32::try_from(n).ok()),
        ram_mib: f.ram_mib,
        disk_gib: f.disk_gib,
        extra_specs: f.extra_specs.clone().unwrap_or_default(),
    }
}

/// The root disk, then the others as their devices follow each other: `/dev/vdz` comes before `/dev/vdaa`.
fn disks(parts: &Parts<'_>) -> Result<Vec<DiskRecord>, ServersError> {
    let s = &parts.server;
    let mut all = parts.disks.clone();
    if all.len() > 1 && all.iter().any(|d| d.device.is_none()) {
        return Err(ServersError::NotNow(format!(
            "{}: Nova does not show the devices of server {s} ({}): which volume it boots from cannot be seen until it is on a host again",
            parts.zone, s.status
        )));
    }
    let root = s.root_device.as_deref();
    all.sort_by_key(|d| {
        let device = d.device.clone().unwrap_or_default();
        (Some(device.as_str()) != root, device.len(), device)
    });
    let disk = |(n, d): (usize, VolumeAttachment)| DiskRecord {
        volume: VolumeRef {
            id: d.volume,
            name: None,
        },
        boot_index: (n == 0).then_some(0),
        device: d.device,
        tag: d.tag,
        delete_on_termination: d.delete_on_termination,
    };
    Ok(all.into_iter().enumerate().map(disk).collect())
}

/// In the order in which Nova names their addresses, network by network; Nova does not tell how the networks follow each other.
fn ports(parts: &Parts<'_>) -> Vec<PortRecord> {
    let s = &parts.server;
    let project = s.project_id.as_deref();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let macs = s.addresses.values().flatten();
    for (n, mac) in macs.filter_map(|a| a.mac.as_ref()).enumerate() {
        place.entry(mac.to_lowercase()).or_insert(n);
    }
    let mut all: Vec<&Port> = parts.ports.iter().collect();
    all.sort_by_key(|p| {
        let mac = p.mac.as_deref().unwrap_or_default().to_lowercase();
        (place.get(&mac).copied().unwrap_or(usize::MAX), p.id.clone())
    });
    all.into_iter()
        .map(|p| {
            let mut groups: Vec<String> = p
                .security_groups
                .iter()
                .flatten()
                .map(|g| parts.names.security_group(g, project))
                .collect();
            // Neutron gives them in no order.
            groups.sort();
            PortRecord {
                network: parts.names.network(&p.network_id, project),
                fixed_ips: p
                    .fixed_ips
                    .iter()
                    .map(|ip| FixedIp {
                        address: ip.address.as_deref().and_then(|a| a.parse().ok()),
                        subnet: ip.subnet.as_deref().map(|s| parts.names.subnet(s)),
                    })
                    .filter(|ip| ip.address.is_some() || ip.subnet.is_some())
                    .collect(),
                mac: p.mac.as_deref().map(str::to_lowercase),
                security_groups: groups,
                port_security: filtered(p),
                address_pairs: address_pairs(p),
                port_id: Some(p.id.clone()),
                tag: None,
            }
        })
        .collect()
}

/// A Neutron that knows no port without port security filters each.
fn filtered(port: &Port) -> PortSecurity {
    match (&port.security_groups, port.port_security_enabled) {
        (_, Some(false)) => PortSecurity::Off,
        (Some(_), Some(true) | None) => PortSecurity::On,
        (None, Some(true) | None) => PortSecurity::Unknown,
    }
}

/// In an order of ours: Neutron gives them in none. What goes with the port's own MAC address follows that.
fn address_pairs(port: &Port) -> Vec<AddressPair> {
    let own = port.mac.as_deref().map(str::to_lowercase);
    let mut all: Vec<AddressPair> = port
        .allowed_address_pairs
        .iter()
        .map(|pair| {
            let mac = pair.mac.as_deref().map(str::to_lowercase);
            let given = AddressPair {
                address: pair.address.clone(),
                mac: mac.filter(|mac| Some(mac) != own.as_ref()),
            };
            match given.range() {
                Some((base, prefix)) => AddressPair {
                    address: AddressPair::text(base, prefix),
                    ..given
                },
                None => given,
            }
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
