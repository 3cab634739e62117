//! The mapping file: which project, type and key of one zone is which of the other; and, for servers, which flavor, network, subnet,
//! address, security group, key pair, availability zone and server group.
//!
//! ```toml
//! same_name = ["projects", "types"]   # what stands in no entry has the same name in both zones
//! [[projects]]                        # by id, by name, or as DOMAIN:NAME where a name stands in several domains
//! zone-a = "shop"
//! zone-b = "dr:shop"
//! [[types]]                           # by name
//! zone-a = "fast"
//! zone-b = "fast-from-a"
//! [[keys]]                            # by id in each zone's key manager
//! zone-a = "6f1c…"
//! zone-b = "a07d…"
//! [[networks]]                        # as the server's record has it: by name, or by id where a name is not unique
//! zone-a = "front"
//! zone-b = "front-dr"
//! [[addresses]]                       # one address
//! zone-a = "10.0.0.5"
//! zone-b = "10.1.0.77"
//! [[ranges]]                          # all others of a subnet, each with its host part kept: 10.0.0.9 is 10.1.0.9
//! zone-a = "10.0.0.0/24"
//! zone-b = "10.1.0.0/24"
//! [[any_address]]                     # or none of a subnet's is kept: the other zone gives one
//! zone-a = "192.168.0.0/24"
//! zone-b = "192.168.9.0/24"
//! ```
//!
//! `[[flavors]]`, `[[subnets]]`, `[[security_groups]]`, `[[key_pairs]]`, `[[availability_zones]]` and `[[server_groups]]` are written as
//! `[[networks]]`.
//!
//! It is read both ways: after a failover the roles swap. So nothing may stand in two entries, and nothing that has an entry is found
//! by its name too. What has no counterpart is said, with its field; nothing is guessed.

mod addresses;
mod projects;

pub use addresses::Address;
pub use projects::{Project, Side};

use rekindle_common::ZoneName;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Which list of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Keystone's projects.
    Projects,
    /// Cinder's volume types.
    Types,
    /// Encryption keys. Those have the same "name" only where one key manager serves both zones.
    Keys,
    /// Nova's flavors.
    Flavors,
    /// Neutron's networks.
    Networks,
    /// Their subnets.
    Subnets,
    /// Fixed addresses. They are the same only where both zones have the same subnets.
    Addresses,
    /// Security groups.
    SecurityGroups,
    /// Key pairs: those of the user that builds.
    KeyPairs,
    /// Nova's availability zones.
    AvailabilityZones,
    /// Nova's server groups.
    ServerGroups,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 11] = [
        Self::Projects,
        Self::Types,
        Self::Keys,
        Self::Flavors,
        Self::Networks,
        Self::Subnets,
        Self::Addresses,
        Self::SecurityGroups,
        Self::KeyPairs,
        Self::AvailabilityZones,
        Self::ServerGroups,
    ];
    fn one(self) -> &'static str {
        match self {
            Self::Projects => "project",
            Self::Types => "volume type",
            Self::Keys => "key",
            Self::Flavors => "flavor",
            Self::Networks => "network",
            Self::Subnets => "subnet",
            Self::Addresses => "address",
            Self::SecurityGroups => "security group",
            Self::KeyPairs => "key pair",
            Self::AvailabilityZones => "availability zone",
            Self::ServerGroups => "server group",
        }
    }
}

/// As the file's lists are named.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Projects => "projects",
            Self::Types => "types",
            Self::Keys => "keys",
            Self::Flavors => "flavors",
            Self::Networks => "networks",
            Self::Subnets => "subnets",
            Self::Addresses => "addresses",
            Self::SecurityGroups => "security_groups",
            Self::KeyPairs => "key_pairs",
            Self::AvailabilityZones => "availability_zones",
            Self::ServerGroups => "server_groups",
        })
    }
}

/// What one thing is called in each zone.
pub type Entry = BTreeMap<ZoneName, String>;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// What has the same name in both zones, where it stands in no entry.
    pub same_name: BTreeSet<Kind>,
    /// Projects.
    pub projects: Vec<Entry>,
    /// Volume types.
    pub types: Vec<Entry>,
    /// Keys.
    pub keys: Vec<Entry>,
    /// Flavors.
    pub flavors: Vec<Entry>,
    /// Networks.
    pub networks: Vec<Entry>,
    /// Subnets.
    pub subnets: Vec<Entry>,
    /// Single addresses; they go before what a range says.
    pub addresses: Vec<Entry>,
    /// Ranges whose addresses keep their host part.
    pub ranges: Vec<Entry>,
    /// Ranges whose addresses are not kept.
    pub any_address: Vec<Entry>,
    /// Security groups.
    pub security_groups: Vec<Entry>,
    /// Key pairs.
    pub key_pairs: Vec<Entry>,
    /// Availability zones.
    pub availability_zones: Vec<Entry>,
    /// Server groups.
    pub server_groups: Vec<Entry>,
}

/// A field of the file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct MappingError {
    /// The field: `projects[2].zone-a`, counted from 0.
    pub field: String,
    /// What is wrong and what would be right.
    pub why: String,
}

/// Why something has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmapped {
    /// The file does not name it.
    #[error("{kind} of the mapping has no entry for {name:?} of {from}: add one that says what it is in {to}", kind = .kind)]
    NoEntry {
        /// Which list.
        kind: Kind,
        /// What was looked for.
        name: String,
        /// Of which zone.
        from: ZoneName,
        /// For which.
        to: ZoneName,
    },
    /// What the file names, or what has the same name, is not there.
    #[error("{field}: {zone} has no {kind} {name:?}: make it there, or mend the entry", kind = .kind.one())]
    NoSuch {
        /// The field.
        field: String,
        /// Which list.
        kind: Kind,
        /// What is not there.
        name: String,
        /// Where.
        zone: ZoneName,
    },
    /// More than one fits.
    #[error("{field}: {why}")]
    Ambiguous {
        /// The field.
        field: String,
        /// Which, and what would be clear.
        why: String,
    },
    /// It cannot be told now: a zone's Keystone was not asked, or did not answer.
    #[error("{field}: {zone}'s projects are not known now")]
    Unknown {
        /// The field.
        field: String,
        /// Whose.
        zone: ZoneName,
    },
}

impl Mapping {
    fn entries(&self, kind: Kind) -> &[Entry] {
        match kind {
            Kind::Projects => &self.projects,
            Kind::Types => &self.types,
            Kind::Keys => &self.keys,
            Kind::Flavors => &self.flavors,
            Kind::Networks => &self.networks,
            Kind::Subnets => &self.subnets,
            Kind::Addresses => &self.addresses,
            Kind::SecurityGroups => &self.security_groups,
            Kind::KeyPairs => &self.key_pairs,
            Kind::AvailabilityZones => &self.availability_zones,
            Kind::ServerGroups => &self.server_groups,
        }
    }

    /// All that is wrong with the file by itself: unknown zones, one-sided and empty entries, what stands in two of them, and what is no
    /// address or no range.
    #[must_use]
    pub fn check(&self, zones: &BTreeSet<ZoneName>) -> Vec<MappingError> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            check_list(&kind.to_string(), self.entries(kind), zones, &mut found);
        }
        check_list("ranges", &self.ranges, zones, &mut found);
        check_list("any_address", &self.any_address, zones, &mut found);
        self.check_addresses(&mut found);
        found
    }

    /// What a volume type of one zone is in another.
    ///
    /// # Errors
    /// [`Unmapped`]. Whether the type is there is for Cinder to say.
    pub fn volume_type<'a>(
        &'a self,
        from: &ZoneName,
        name: &'a str,
        to: &ZoneName,
    ) -> Result<&'a str, Unmapped> {
        self.by_text(Kind::Types, from, name, to)
    }

    /// What a key of one zone's key manager is in another's.
    ///
    /// # Errors
    /// [`Unmapped`].
    pub fn key<'a>(
        &'a self,
        from: &ZoneName,
        id: &'a str,
        to: &ZoneName,
    ) -> Result<&'a str, Unmapped> {
        self.by_text(Kind::Keys, from, id, to)
    }

    /// What one zone's thing of a list is in another. Projects and addresses have rules of their own: [`Mapping::project`],
    /// [`Mapping::address`].
    ///
    /// # Errors
    /// [`Unmapped`]. Whether it is there is for that zone to say.
    pub fn by_text<'a>(
        &'a self,
        kind: Kind,
        from: &ZoneName,
        name: &'a str,
        to: &ZoneName,
    ) -> Result<&'a str, Unmapped> {
        let entries = self.entries(kind).iter().enumerate();
        let mut of_it = entries.filter(|(_, e)| e.get(from).is_some_and(|t| t == name));
        if let Some((n, entry)) = of_it.next() {
            if let Some((other, _)) = of_it.next() {
                return Err(twice(kind, n, other, from, name));
            }
            let found = entry.get(to).map(String::as_str);
            return found.ok_or_else(|| no_entry(kind, name, from, to));
        }
        if !self.same_name.contains(&kind) {
            return Err(no_entry(kind, name, from, to));
        }
        // The other zone's thing of that name may be the counterpart of another of this one's.
        match self
            .entries(kind)
            .iter()
            .position(|e| e.get(to).is_some_and(|t| t == name))
        {
            Some(n) => Err(taken(kind, n, name, from, to)),
            None => Ok(name),
        }
    }
}

/// The rules for entries of every list.
fn check_list(
    list: &str,
    entries: &[Entry],
    zones: &BTreeSet<ZoneName>,
    found: &mut Vec<MappingError>,
) {
    // Of each zone, what is named, and by which entry first.
    let mut named: BTreeMap<(&ZoneName, &str), usize> = BTreeMap::new();
    for (n, entry) in entries.iter().enumerate() {
        let mut say = |zone: Option<&ZoneName>, why: String| {
            let field = match zone {
                Some(zone) => format!("{list}[{n}].{zone}"),
                None => format!("{list}[{n}]"),
            };
            found.push(MappingError { field, why });
        };
        if entry.len() < 2 {
            say(None, "name it in both zones".to_owned());
        }
        for (zone, name) in entry {
            if !zones.contains(zone) {
                let all = zones.iter().map(ZoneName::as_str).collect::<Vec<_>>();
                say(
                    Some(zone),
                    format!("there is no such zone, but {}", all.join(", ")),
                );
            }
            if name.is_empty() || name.trim() != name {
                say(
                    Some(zone),
                    format!("{name:?} is empty, or has blanks around it"),
                );
            }
            if let Some(before) = named.insert((zone, name), n) {
                say(
                    Some(zone),
                    format!("{name:?} stands in {list}[{before}] too: what would it be?"),
                );
            }
        }
    }
}

fn no_entry(kind: Kind, name: &str, from: &ZoneName, to: &ZoneName) -> Unmapped {
    Unmapped::NoEntry {
        kind,
        name: name.to_owned(),
        from: from.clone(),
        to: to.clone(),
    }
}

fn twice(kind: Kind, n: usize, other: usize, zone: &ZoneName, name: &str) -> Unmapped {
    Unmapped::Ambiguous {
        field: format!("{kind}[{n}].{zone}"),
        why: format!("{name:?} stands in {kind}[{other}] too: keep one of them"),
    }
}

fn taken(kind: Kind, n: usize, name: &str, from: &ZoneName, to: &ZoneName) -> Unmapped {
    Unmapped::Ambiguous {
        field: format!("{kind}[{n}].{to}"),
        why: format!(
            "{name:?} of {to} has an entry of its own, so it cannot be the {} of the same name in {from}: give that one an entry too",
            kind.one()
        ),
    }
}

#[cfg(test)]
mod tests;
