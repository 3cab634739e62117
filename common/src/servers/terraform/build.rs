//! Makes records of what was found in a state.

use super::{
    About, Import, Note, Refused, disks,
    header::Header,
    ports,
    secrets::Secrets,
    stream::{Found, FoundAll, Kind},
};
use crate::servers::{
    check::shown_name,
    record::{FlavorRecord, PowerWish, RecordSource, ServerRecord},
};
use std::collections::{BTreeMap, BTreeSet};

/// What was found, by what it belongs to.
#[derive(Default)]
pub(super) struct Index<'a> {
    /// Volumes by id.
    pub(super) volumes: BTreeMap<&'a str, &'a Found>,
    /// Ports by id.
    pub(super) ports: BTreeMap<&'a str, &'a Found>,
    /// Attachments of volumes by the server's id: the volume, and the device.
    pub(super) attached: BTreeMap<&'a str, Vec<(&'a str, Option<&'a str>)>>,
    /// Volumes that may be attached to several servers, or are (hard case 39).
    pub(super) multiattach: BTreeSet<&'a str>,
    /// Later attachments of ports by the server's id.
    pub(super) interfaces: BTreeMap<&'a str, Vec<&'a Found>>,
    /// Floating addresses by port or server.
    pub(super) floating: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Index<'a> {
    fn of(instances: &'a [Found]) -> Self {
        let mut index = Self::default();
        let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for found in instances {
            let a = &found.attributes;
            match found.kind {
                Kind::Server => {
                    let Some(server) = a.text("id") else { continue };
                    for volume in a.blocks("block_device").filter_map(|b| b.text("uuid")) {
                        users.entry(volume).or_default().insert(server);
                    }
                }
                Kind::Volume => {
                    let Some(id) = a.text("id") else { continue };
                    index.volumes.insert(id, found);
                    if a.flag("multiattach") {
                        index.multiattach.insert(id);
                    }
                    for block in a.blocks("attachment") {
                        if let Some(server) = block.text("instance_id") {
                            users.entry(id).or_default().insert(server);
                            let attached = index.attached.entry(server).or_default();
                            attached.push((id, block.text("device")));
                        }
                    }
                }
                Kind::VolumeAttach => {
                    let (Some(server), Some(id)) = (a.text("instance_id"), a.text("volume_id"))
                    else {
                        continue;
                    };
                    users.entry(id).or_default().insert(server);
                    let attached = index.attached.entry(server).or_default();
                    attached.push((id, a.text("device")));
                    if a.flag("multiattach") {
                        index.multiattach.insert(id);
                    }
                }
                Kind::Port => {
                    if let Some(id) = a.text("id") {
                        index.ports.insert(id, found);
                    }
                }
                Kind::InterfaceAttach => {
                    if let Some(server) = a.text("instance_id") {
                        index.interfaces.entry(server).or_default().push(found);
                    }
                }
                Kind::FloatingIp => index.floats(a.text("port_id"), a.text("address")),
                Kind::FloatingAssociate => index.floats(a.text("port_id"), a.text("floating_ip")),
                Kind::FloatingOfServer => {
                    index.floats(a.text("instance_id"), a.text("floating_ip"))
                }
            }
        }
        let shared = users.into_iter().filter(|(_, servers)| servers.len() > 1);
        index.multiattach.extend(shared.map(|(volume, _)| volume));
        index
    }

    fn floats(&mut self, on: Option<&'a str>, address: Option<&'a str>) {
        if let (Some(on), Some(address)) = (on, address) {
            self.floating.entry(on).or_default().insert(address);
        }
    }
}

/// A server's record with where it came from, and what is to be said of it.
struct Made {
    address: String,
    record: ServerRecord,
    notes: Vec<String>,
}

/// Makes the records.
pub(super) fn import(header: &Header, found: FoundAll, about: &About) -> Import {
    let FoundAll {
        mut instances,
        ignored,
        secrets,
        ..
    } = found;
    for found in &mut instances {
        found.attributes.scrub(&secrets);
    }
    let index = Index::of(&instances);
    let mut import = Import {
        ignored,
        ..Import::default()
    };
    for found in instances.iter().filter(|f| says_nothing(f)) {
        import.notes.push(Note {
            address: found.address.clone(),
            what: "does not say what it belongs to, or that is marked as sensitive: a server's record may lack a disk or a port by it".to_owned(),
        });
    }
    let mut made: Vec<Made> = Vec::new();
    for server in instances.iter().filter(|f| f.kind == Kind::Server) {
        let mut notes = Vec::new();
        match record(server, &index, header, about, &mut notes) {
            Ok(record) => made.push(Made {
                address: server.address.clone(),
                record,
                notes,
            }),
            Err(why) => import.refused.push(Refused {
                address: server.address.clone(),
                name: server.attributes.text("name").and_then(shown_name),
                why,
            }),
        }
    }
    refuse_doubles(&mut made, &mut import);
    made.sort_by(|a, b| (&a.record.name, &a.record.id).cmp(&(&b.record.name, &b.record.id)));
    for m in made {
        import.notes.extend(m.notes.into_iter().map(|what| Note {
            address: m.address.clone(),
            what,
        }));
        import.records.push(m.record);
    }
    import
}

/// Whether a resource that should tell of a server's disks or ports cannot be placed: that must not pass in silence.
fn says_nothing(found: &Found) -> bool {
    let a = &found.attributes;
    let lacks = |name: &str| a.text(name).is_none();
    match found.kind {
        Kind::VolumeAttach => lacks("instance_id") || lacks("volume_id"),
        Kind::InterfaceAttach => lacks("instance_id"),
        Kind::Volume | Kind::Port => lacks("id"),
        // A server is told of by itself, and floating addresses are in no record.
        Kind::Server | Kind::FloatingIp | Kind::FloatingAssociate | Kind::FloatingOfServer => false,
    }
}

/// A server stands in a state once: of two addresses nobody can tell which is right.
fn refuse_doubles(made: &mut Vec<Made>, import: &mut Import) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for id in made.iter().filter_map(|m| m.record.id.clone()) {
        *count.entry(id).or_default() += 1;
    }
    made.retain(|m| {
        let id = m.record.id.as_deref().unwrap_or_default();
        let once = count.get(id).is_none_or(|n| *n == 1);
        if !once {
            import.refused.push(Refused {
                address: m.address.clone(),
                name: shown_name(&m.record.name),
                why: format!("stands in the state more than once, with the id {id}: `terraform state rm` the address that is too much"),
            });
        }
        once
    });
}

fn record(
    server: &Found,
    index: &Index<'_>,
    header: &Header,
    about: &About,
    notes: &mut Vec<String>,
) -> Result<ServerRecord, String> {
    let a = &server.attributes;
    if a.unclear() {
        return Err("its `sensitive_attributes` are not as Terraform writes them: what is secret in it cannot be told, and nothing of it was read".to_owned());
    }
    let needed = |name: &str, text: Option<String>| {
        text.ok_or_else(|| {
            if a.hidden().contains(name) {
                format!("its {name} is marked as sensitive, or the same as something that is")
            } else {
                format!(
                    "it has no {name} in the state: `terraform apply -refresh-only` reads it anew"
                )
            }
        })
    };
    let id = needed("id", a.owned("id"))?;
    let name = needed("name", a.owned("name"))?;
    let flavor = a.owned("flavor_name").or_else(|| a.owned("flavor_id"));
    let flavor = needed("flavor_name", flavor)?;
    if server.tainted {
        notes.push("is tainted: the next `terraform apply` builds another in its place".to_owned());
    }
    let disks = disks::of(a, &id, index, notes)?;
    let ports = ports::of(a, &id, index, notes);
    let mut security_groups = a.texts("security_groups");
    security_groups.sort_unstable();
    security_groups.dedup();
    let group = a.blocks("scheduler_hints").find_map(|b| b.text("group"));
    let record = ServerRecord {
        name,
        zone: about.zone.clone(),
        id: Some(id),
        project: None,
        flavor: FlavorRecord {
            name: flavor,
            vcpus: None,
            ram_mib: None,
            disk_gib: None,
            extra_specs: BTreeMap::new(),
        },
        disks,
        ports,
        security_groups,
        key_name: a.owned("key_pair"),
        availability_zone: zone_of(a.text("availability_zone"), notes),
        metadata: metadata(server, notes),
        tags: tags(server),
        user_data: None,
        config_drive: a.flag("config_drive"),
        server_group: group.map(str::to_owned),
        description: None,
        locked: false,
        power: power(a.text("power_state"), notes),
        taken_at: about.taken_at,
        source: RecordSource::Terraform {
            serial: header.serial,
            lineage: header.lineage.clone(),
            terraform_version: header.terraform_version.clone(),
            address: Some(server.address.clone()),
        },
    };
    for name in a.hidden() {
        notes.push(format!(
            "something of its {name} is marked as sensitive, and was left out"
        ));
    }
    record.check().map_err(|e| e.to_string())?;
    Ok(record)
}

/// What the provider read back is what there is; what the configuration says, where it did not.
fn metadata(server: &Found, notes: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut map = server.attributes.map("all_metadata");
    if map.is_empty() {
        map = server.attributes.map("metadata");
    }
    map.retain(|key, _| {
        let secret = Secrets::named(key);
        if secret {
            notes.push(format!(
                "its metadata {key} is a secret by its name, and was left out"
            ));
        }
        !secret
    });
    map
}

fn tags(server: &Found) -> BTreeSet<String> {
    let mut tags = server.attributes.texts("all_tags");
    if tags.is_empty() {
        tags = server.attributes.texts("tags");
    }
    tags.into_iter().collect()
}

/// `ZONE:HOST` asks for a host of this zone, which the other one does not have.
fn zone_of(text: Option<&str>, notes: &mut Vec<String>) -> Option<String> {
    let text = text?;
    match text.split_once(':') {
        None => Some(text.to_owned()),
        Some((zone, _)) => {
            notes.push("was put on a host by name; only its availability zone was kept".to_owned());
            (!zone.is_empty()).then(|| zone.to_owned())
        }
    }
}

fn power(text: Option<&str>, notes: &mut Vec<String>) -> PowerWish {
    let (wish, known) = match text {
        None | Some("active") => (PowerWish::Running, true),
        Some("shutoff") => (PowerWish::ShutOff, true),
        Some("shelved" | "shelved_offloaded") => (PowerWish::ShutOff, false),
        Some(_) => (PowerWish::Running, false),
    };
    if !known {
        let says: String = text
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .take(32)
            .collect();
        let what = match wish {
            PowerWish::Running => "runs",
            PowerWish::ShutOff => "is off",
        };
        notes.push(format!(
            "is {says} in the state; its record says that it {what}"
        ));
    }
    wish
}
