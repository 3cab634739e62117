//! A server's record in the other zone's names: what is to be built there.
//!
//! ```text
//!   record of zone-a  +  the mapping  +  what its volumes are in zone-b  ->  record of zone-b, or every gap at once
//! ```
//!
//! It goes both ways: where the mapping is one-to-one, there and back is the same record. What belongs to one zone alone (the server's id,
//! its ports' ids) is not carried over. A MAC address is: guests know their interfaces by it.

use crate::catalogue::mapping::{Address, Kind, Mapping, Side, Unmapped};
use rekindle_common::servers::{
    AddressPair, DiskRecord, FixedIp, FlavorRecord, PortRecord, ServerRecord, VolumeRef,
};
use std::{collections::BTreeMap, fmt};

/// What a volume is in the other zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counterpart {
    /// This one, by its id there.
    Volume(String),
    /// It is certain that there is none.
    Absent,
}

/// From where to where.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Whose names the record has.
    pub from: Side<'a>,
    /// Whose it is to have.
    pub to: Side<'a>,
    /// Which is which.
    pub mapping: &'a Mapping,
    /// What the volumes are there; one that does not stand here is not known now.
    pub volumes: &'a BTreeMap<String, Counterpart>,
}

/// Why a record cannot be had in the other zone's names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The record's field: `ports[0].network`.
    pub field: String,
    /// What is missing and what to do.
    pub why: String,
    /// Whether it may only be that somebody does not answer now.
    pub unknown: bool,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// The record in the other zone's names.
///
/// # Errors
/// All that is in the way, in the record's order.
pub fn mapped(record: &ServerRecord, way: &Way<'_>) -> Result<ServerRecord, Vec<Gap>> {
    let mut m = Mapper {
        way,
        gaps: Vec::new(),
    };
    if record.zone != *way.from.zone {
        let why = format!(
            "it is a record of {}, not of {}",
            record.zone, way.from.zone
        );
        m.gap("zone".to_owned(), why, false);
    }
    let named = ServerRecord {
        name: record.name.clone(),
        zone: way.to.zone.clone(),
        id: None,
        project: record.project.as_deref().map(|p| m.project(p)),
        flavor: FlavorRecord {
            name: m.text("flavor.name", Kind::Flavors, &record.flavor.name),
            ..record.flavor.clone()
        },
        disks: m.disks(&record.disks),
        ports: m.ports(&record.ports),
        security_groups: m.texts(
            "security_groups",
            Kind::SecurityGroups,
            &record.security_groups,
        ),
        key_name: m.optional("key_name", Kind::KeyPairs, record.key_name.as_deref()),
        availability_zone: m.optional(
            "availability_zone",
            Kind::AvailabilityZones,
            record.availability_zone.as_deref(),
        ),
        metadata: record.metadata.clone(),
        tags: record.tags.clone(),
        user_data: record.user_data.clone(),
        config_drive: record.config_drive,
        server_group: m.optional(
            "server_group",
            Kind::ServerGroups,
            record.server_group.as_deref(),
        ),
        description: record.description.clone(),
        locked: record.locked,
        power: record.power,
        taken_at: record.taken_at,
        source: record.source.clone(),
    };
    if m.gaps.is_empty() {
        Ok(named)
    } else {
        Err(m.gaps)
    }
}

/// Maps, and goes on after a gap: what it returns then is never used.
struct Mapper<'a> {
    way: &'a Way<'a>,
    gaps: Vec<Gap>,
}

impl Mapper<'_> {
    fn gap(&mut self, field: String, why: String, unknown: bool) {
        self.gaps.push(Gap {
            field,
            why,
            unknown,
        });
    }

    fn unmapped(&mut self, field: &str, e: &Unmapped) {
        let unknown = match e {
            Unmapped::Unknown { .. } => true,
            Unmapped::NoEntry { .. } | Unmapped::NoSuch { .. } | Unmapped::Ambiguous { .. } => {
                false
            }
        };
        self.gap(field.to_owned(), e.to_string(), unknown);
    }

    fn look(&self, kind: Kind, name: &str) -> Result<String, Unmapped> {
        let way = self.way;
        let found = way
            .mapping
            .by_text(kind, way.from.zone, name, way.to.zone)?;
        Ok(found.to_owned())
    }

    fn text(&mut self, field: &str, kind: Kind, name: &str) -> String {
        self.look(kind, name).unwrap_or_else(|e| {
            self.unmapped(field, &e);
            String::new()
        })
    }

    fn optional(&mut self, field: &str, kind: Kind, name: Option<&str>) -> Option<String> {
        name.map(|name| self.text(field, kind, name))
    }

    fn texts(&mut self, field: &str, kind: Kind, names: &[String]) -> Vec<String> {
        let all = names.iter().enumerate();
        all.map(|(n, name)| self.text(&format!("{field}[{n}]"), kind, name))
            .collect()
    }

    /// By its id there. A record has a name where its source knew no id.
    fn project(&mut self, text: &str) -> String {
        let Way { from, to, .. } = *self.way;
        let known = from
            .projects
            .is_none_or(|all| all.iter().any(|p| p.id == text));
        let found = if known {
            self.way.mapping.project(from, text, to)
        } else {
            from.find("project", text)
                .and_then(|p| self.way.mapping.project(from, &p.id, to))
        };
        match found {
            Ok(project) => project.id.clone(),
            Err(e) => {
                self.unmapped("project", &e);
                String::new()
            }
        }
    }

    fn disks(&mut self, disks: &[DiskRecord]) -> Vec<DiskRecord> {
        let mut all = Vec::new();
        for (n, disk) in disks.iter().enumerate() {
            let field = || format!("disks[{n}].volume.id");
            let (id, to) = (&disk.volume.id, self.way.to.zone);
            let there = match self.way.volumes.get(id) {
                Some(Counterpart::Volume(there)) => there.clone(),
                Some(Counterpart::Absent) => {
                    let why = format!(
                        "volume {id} has no copy that {to}'s Cinder knows: replicate it in the server's group, and look at `rekindle catalogue`"
                    );
                    self.gap(field(), why, false);
                    String::new()
                }
                None => {
                    let why = format!("it is not known now what volume {id} is in {to}");
                    self.gap(field(), why, true);
                    String::new()
                }
            };
            all.push(DiskRecord {
                volume: VolumeRef {
                    id: there,
                    name: disk.volume.name.clone(),
                },
                ..disk.clone()
            });
        }
        all
    }

    fn ports(&mut self, ports: &[PortRecord]) -> Vec<PortRecord> {
        let mut all = Vec::new();
        for (n, port) in ports.iter().enumerate() {
            let at = |field: &str| format!("ports[{n}].{field}");
            let mut fixed_ips = Vec::new();
            for (m, ip) in port.fixed_ips.iter().enumerate() {
                fixed_ips.extend(self.fixed_ip(&at(&format!("fixed_ips[{m}]")), ip));
            }
            all.push(PortRecord {
                network: self.text(&at("network"), Kind::Networks, &port.network),
                fixed_ips,
                mac: port.mac.clone(),
                security_groups: self.texts(
                    &at("security_groups"),
                    Kind::SecurityGroups,
                    &port.security_groups,
                ),
                port_security: port.port_security,
                address_pairs: self.address_pairs(&at("address_pairs"), &port.address_pairs),
                port_id: None,
                tag: port.tag.clone(),
            });
        }
        all
    }

    /// One address follows the mapping as a port's own does. A range that the mapping does not know is none of a zone's subnets but what stands
    /// behind the server (a cluster's pods, everything): it is the same there.
    fn address_pairs(&mut self, at: &str, pairs: &[AddressPair]) -> Vec<AddressPair> {
        let mut all = Vec::new();
        for (n, pair) in pairs.iter().enumerate() {
            let field = format!("{at}[{n}].address");
            let Some((base, prefix)) = pair.range() else {
                let why = "is neither an address nor a range".to_owned();
                self.gap(field, why, false);
                continue;
            };
            let way = self.way;
            let there = match way.mapping.address(way.from.zone, base, way.to.zone) {
                Ok(Address::One(there)) => there,
                Ok(Address::Any) | Err(Unmapped::NoEntry { .. }) if prefix.is_some() => base,
                Ok(Address::Any) => {
                    let why = format!(
                        "{base} is not the port's own, and by the mapping addresses of its range are not kept: give it an entry that says what it is in {}",
                        way.to.zone
                    );
                    self.gap(field, why, false);
                    continue;
                }
                Err(e) => {
                    self.unmapped(&field, &e);
                    continue;
                }
            };
            all.push(AddressPair {
                address: AddressPair::text(there, prefix),
                mac: pair.mac.clone(),
            });
        }
        all
    }

    /// None: any address of any subnet of the network will do.
    fn fixed_ip(&mut self, at: &str, ip: &FixedIp) -> Option<FixedIp> {
        let way = self.way;
        let address = match ip.address {
            None => None,
            Some(address) => match way.mapping.address(way.from.zone, address, way.to.zone) {
                Ok(Address::One(there)) => Some(there),
                Ok(Address::Any) => None,
                Err(e) => {
                    self.unmapped(&format!("{at}.address"), &e);
                    None
                }
            },
        };
        let subnet = match ip.subnet.as_deref().map(|s| self.look(Kind::Subnets, s)) {
            None => None,
            Some(Ok(there)) => Some(there),
            // The subnets of a network do not overlap: an address says in which it is.
            Some(Err(Unmapped::NoEntry { .. })) if address.is_some() => None,
            Some(Err(e)) => {
                self.unmapped(&format!("{at}.subnet"), &e);
                None
            }
        };
        (address.is_some() || subnet.is_some()).then_some(FixedIp { address, subnet })
    }
}

#[cfg(test)]
mod tests;
