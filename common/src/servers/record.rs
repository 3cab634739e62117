//! The record of a server, and its parts.
//!
//! Its JSON form is published as `docs/schemas/server-record.json`. Names and ids are those of the zone that it was taken in; what they
//! are called in the other zone is a mapping's matter and not the record's.

use super::{read::InvalidRecord, user_data::UserData};
use crate::ids::ZoneName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The version of the JSON form that this release writes, and the only one that it reads.
pub const VERSION: u32 = 1;
/// The most bytes of a record's JSON without its user data: records stand in etcd and in image metadata.
pub const MAX_RECORD: usize = 64 * 1024;
/// The most characters of a name or an id: what Nova's, Neutron's and Cinder's columns hold.
pub const MAX_NAME: usize = 255;
/// The most disks. Nova has no bound by default (`max_disk_devices_to_attach = -1`); the hypervisor's bus has one: some 26 on
/// `virtio-blk`, 256 on one `virtio-scsi` controller.
pub const MAX_DISKS: usize = 256;
/// The most ports: more than any hypervisor's machine type has slots for.
pub const MAX_PORTS: usize = 64;
/// The most fixed addresses of a port; Neutron's default quota is 5.
pub const MAX_FIXED_IPS: usize = 16;
/// The most further addresses that a port may use. Neutron's default is 10.
pub const MAX_ADDRESS_PAIRS: usize = 256;
/// The most security groups of a server or a port.
pub const MAX_SECURITY_GROUPS: usize = 64;
/// The most entries of metadata (Nova's default quota), and of a flavor's extra specs.
pub const MAX_METADATA: usize = 128;
/// The most tags of a server, and the most characters of one: Nova's own bounds.
pub const MAX_TAGS: usize = 50;
/// See [`MAX_TAGS`].
pub const MAX_TAG: usize = 60;

/// What is needed to build a server again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub struct ServerRecord {
    /// Its name: 1 to 255 characters, none of them a control character, no blank at its ends (Nova's rule).
    pub name: String,
    /// Whose Nova, Neutron and Cinder the names and ids below are of.
    pub zone: ZoneName,
    /// Its id there; none where it was never built.
    pub id: Option<String>,
    /// Its project: a name or an id, as the source has it.
    pub project: Option<String>,
    /// Its flavor.
    pub flavor: FlavorRecord,
    /// Its disks, those that it boots from first. The first has boot index 0: a server whose root disk is no volume cannot be
    /// protected, for nothing carries that disk's data to the other zone.
    pub disks: Vec<DiskRecord>,
    /// Its network ports, in the order in which its guest sees them.
    pub ports: Vec<PortRecord>,
    /// Its security groups, by name or id: those of each port that names none.
    pub security_groups: Vec<String>,
    /// Its key pair's name. Only the name: the key stands in its user's account.
    pub key_name: Option<String>,
    /// Its availability zone.
    pub availability_zone: Option<String>,
    /// Its metadata: keys of letters, digits and `-_:. `, values of at most 255 characters (Nova's rule).
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// What its first boot is told.
    pub user_data: Option<UserData>,
    /// Whether it has a config drive.
    pub config_drive: bool,
    /// Its server group, by name or id.
    pub server_group: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Whether it is locked.
    pub locked: bool,
    /// Whether it is to run.
    pub power: PowerWish,
    /// When all of this was true. A record is as old as what it was read from, not as the reading.
    pub taken_at: Timestamp,
    /// What it was read from.
    pub source: RecordSource,
}

/// Enough of a flavor to find it, or one that is like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlavorRecord {
    /// Its name, or its id where the source knows no name.
    pub name: String,
    /// Virtual processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Memory, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram_mib: Option<u64>,
    /// Local root disk, in GiB: 0 where it is made for servers that boot from volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u64>,
    /// Its extra specs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_specs: BTreeMap<String, String>,
}

/// A disk: a volume, and how it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskRecord {
    /// The volume.
    pub volume: VolumeRef,
    /// Its place among what is booted from: 0 is the root disk; none: it is not booted from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_index: Option<u32>,
    /// Its device's name as Nova had it: `/dev/vda`. The hypervisor need not follow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The tag by which its guest finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether Nova was to delete the volume with the server. It is told so nowhere: a server that is built again never takes
    /// its volumes with it.
    pub delete_on_termination: bool,
}

/// A volume in the record's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeRef {
    /// Its id.
    pub id: String,
    /// Its name, where the source knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A network port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortRecord {
    /// Its network: a name or an id.
    pub network: String,
    /// Its fixed addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed_ips: Vec<FixedIp>,
    /// Its MAC address, in lower case: `fa:16:3e:00:00:01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its security groups, by name or id. None: the server's, unless it is known whether it is filtered ([`PortSecurity`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// Whether what passes it is filtered.
    #[serde(skip_serializing_if = "PortSecurity::is_unknown")]
    pub port_security: PortSecurity,
    /// What it may use beside its own addresses: one that moves between servers, a network behind it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub address_pairs: Vec<AddressPair>,
    /// Its id in the record's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_id: Option<String>,
    /// The tag by which its guest finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// A fixed address: one, or any of a subnet. A port on two subnets (IPv4 and IPv6, say) has two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FixedIp {
    /// The address; none: any of the subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The subnet, by name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
}

/// Whether what passes a port is filtered, by its security groups and to its own addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortSecurity {
    /// It is not known, as in every record of an older release: a port without groups has the server's, or the project's `default`.
    #[default]
    Unknown,
    /// It is: by the port's groups and no others. Without any nothing passes.
    On,
    /// It is not: a router's port, or a Kubernetes node's.
    Off,
}

impl PortSecurity {
    /// Its text in JSON; none: it is not known.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::On => Some("on"),
            Self::Off => Some("off"),
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// An address that a port may use though it is not its own (Neutron's `allowed_address_pairs`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AddressPair {
    /// An address, or a range: `10.0.0.9`, `10.8.0.0/16`.
    pub address: String,
    /// With which MAC address, in lower case; none: the port's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

impl AddressPair {
    /// The address, and the length of a range's prefix; none: it is neither.
    #[must_use]
    pub fn range(&self) -> Option<(IpAddr, Option<u8>)> {
        match self.address.split_once('/') {
            None => Some((self.address.parse().ok()?, None)),
            Some((base, prefix)) => {
                let base: IpAddr = base.parse().ok()?;
                let prefix: u8 = prefix.parse().ok()?;
                let most = if base.is_ipv4() { 32 } else { 128 };
                (prefix <= most).then_some((base, (prefix < most).then_some(prefix)))
            }
        }
    }

    /// An address or a range in its one form: `10.0.0.9/32` is `10.0.0.9`.
    #[must_use]
    pub fn text(base: IpAddr, prefix: Option<u8>) -> String {
        prefix.map_or_else(|| base.to_string(), |p| format!("{base}/{p}"))
    }
}

/// Whether a server is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerWish {
    /// It is.
    Running,
    /// It is there, and off.
    ShutOff,
}

impl PowerWish {
    /// Its text in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::ShutOff => "shut_off",
        }
    }
}

/// What a record was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RecordSource {
    /// Nova itself.
    Nova,
    /// A Terraform state.
    Terraform {
        /// The state's serial number: it grows with each change.
        serial: u64,
        /// The state's lineage: one for all serials of a state.
        lineage: String,
        /// What wrote it: `1.9.5`.
        #[serde(skip_serializing_if = "Option::is_none")]
        terraform_version: Option<String>,
        /// The server's address in it: `module.shop.openstack_compute_instance_v2.web[0]`.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    /// A script's JSON.
    Script,
}

impl ServerRecord {
    /// Reads and checks a record's JSON.
    ///
    /// # Errors
    /// [`InvalidRecord`]: the field at fault and why, never its value.
    pub fn parse(text: &str) -> Result<Self, InvalidRecord> {
        super::read::json(text)?.try_into()
    }

    /// The record's JSON, for a file: always the same for the same record, with a line's end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Of texts, numbers and lists alone: it cannot fail, and an empty text would be read as no record.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What the record is of: the server's id if it has one, else its name, in its zone.
    #[must_use]
    pub fn identity(&self) -> (&ZoneName, &str) {
        (&self.zone, self.id.as_deref().unwrap_or(&self.name))
    }

    /// The security groups of a port: its own, or else the server's. Where it is known whether the port is filtered, its own alone.
    #[must_use]
    pub fn groups_of<'a>(&'a self, port: &'a PortRecord) -> &'a [String] {
        match port.port_security {
            PortSecurity::Unknown if port.security_groups.is_empty() => &self.security_groups,
            PortSecurity::Unknown | PortSecurity::On | PortSecurity::Off => &port.security_groups,
        }
    }
}

impl Serialize for ServerRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const FIELDS: usize = 21;
        let mut s = serializer.serialize_struct("ServerRecord", FIELDS)?;
        s.serialize_field("version", &VERSION)?;
        s.serialize_field("name", &self.name)?;
        s.serialize_field("zone", &self.zone)?;
        optional(&mut s, "id", self.id.as_ref())?;
        optional(&mut s, "project", self.project.as_ref())?;
        s.serialize_field("flavor", &self.flavor)?;
        s.serialize_field("disks", &self.disks)?;
        s.serialize_field("ports", &self.ports)?;
        s.serialize_field("security_groups", &self.security_groups)?;
        optional(&mut s, "key_name", self.key_name.as_ref())?;
        optional(&mut s, "availability_zone", self.availability_zone.as_ref())?;
        let metadata = (!self.metadata.is_empty()).then_some(&self.metadata);
        optional(&mut s, "metadata", metadata)?;
        let tags = (!self.tags.is_empty()).then_some(&self.tags);
        optional(&mut s, "tags", tags)?;
        optional(&mut s, "user_data", self.user_data.as_ref())?;
        s.serialize_field("config_drive", &self.config_drive)?;
        optional(&mut s, "server_group", self.server_group.as_ref())?;
        optional(&mut s, "description", self.description.as_ref())?;
        s.serialize_field("locked", &self.locked)?;
        s.serialize_field("power", &self.power)?;
        s.serialize_field("taken_at", &self.taken_at)?;
        s.serialize_field("source", &self.source)?;
        s.end()
    }
}

fn optional<S: SerializeStruct, T: Serialize>(
    s: &mut S,
    name: &'static str,
    value: Option<&T>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => s.serialize_field(name, value),
        None => s.skip_field(name),
    }
}
