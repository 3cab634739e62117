//! Goes through a state's resources, one at a time, and keeps of each what a server's record may need.

use super::{
    MAX_SERVERS, MAX_TYPES, StateError,
    attributes::Attributes,
    secrets::{self, Secrets},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, error::Category};
use std::{collections::BTreeMap, fmt};

/// The types that a record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Volume,
    VolumeAttach,
    Port,
    InterfaceAttach,
    /// `openstack_networking_floatingip_v2`, with the port.
    FloatingIp,
    /// `openstack_networking_floatingip_associate_v2`, with the port.
    FloatingAssociate,
    /// `openstack_compute_floatingip_associate_v2`, with the server.
    FloatingOfServer,
}

impl Kind {
    fn of(resource_type: &str) -> Option<Self> {
        Some(match resource_type {
            "openstack_compute_instance_v2" => Self::Server,
            "openstack_blockstorage_volume_v2" | "openstack_blockstorage_volume_v3" => Self::Volume,
            "openstack_compute_volume_attach_v2" => Self::VolumeAttach,
            "openstack_networking_port_v2" => Self::Port,
            "openstack_compute_interface_attach_v2" => Self::InterfaceAttach,
            "openstack_networking_floatingip_v2" => Self::FloatingIp,
            "openstack_networking_floatingip_associate_v2" => Self::FloatingAssociate,
            "openstack_compute_floatingip_associate_v2" => Self::FloatingOfServer,
            _ => return None,
        })
    }
}

/// All attributes that are kept of any resource. `admin_pass`, `user_data` (its hash) and `personality` are not among them.
const KEPT: &[&str] = &[
    "address",
    "all_fixed_ips",
    "all_metadata",
    "all_security_group_ids",
    "all_tags",
    "attachment",
    "availability_zone",
    "block_device",
    "config_drive",
    "device",
    "fixed_ip",
    "flavor_id",
    "flavor_name",
    "floating_ip",
    "id",
    "image_id",
    "instance_id",
    "key_pair",
    "mac_address",
    "metadata",
    "multiattach",
    "name",
    "network",
    "network_id",
    "network_mode",
    "port_id",
    "power_state",
    "scheduler_hints",
    "security_group_ids",
    "security_groups",
    "tags",
    "volume_id",
];

/// An instance of a resource that a record may need.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) address: String,
    pub(super) tainted: bool,
    pub(super) attributes: Attributes,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct FoundAll {
    pub(super) instances: Vec<Found>,
    pub(super) ignored: BTreeMap<String, usize>,
    /// What the state marks as sensitive anywhere.
    pub(super) secrets: Secrets,
    servers: usize,
    too_many: bool,
}

/// Reads them.
pub(super) fn read(state: &[u8]) -> Result<FoundAll, StateError> {
    let mut found = FoundAll::default();
    let mut part = String::from("content");
    let mut json = serde_json::Deserializer::from_slice(state);
    let read = StateSeed {
        found: &mut found,
        part: &mut part,
    }
    .deserialize(&mut json);
    if found.too_many {
        return Err(StateError::TooManyServers);
    }
    match read {
        Ok(()) => Ok(found),
        Err(e) => {
            let (line, column) = (e.line(), e.column());
            Err(match e.classify() {
                Category::Eof => StateError::CutOff { line, column },
                Category::Syntax | Category::Io | Category::Data => {
                    StateError::Malformed { part, line, column }
                }
            })
        }
    }
}

impl FoundAll {
    fn take(&mut self, resource: Resource) {
        let data = resource.mode.as_deref() == Some("data");
        let kind = match data {
            true => None,
            false => Kind::of(&resource.resource_type),
        };
        for instance in resource.instances {
            self.secrets.extend(instance.secrets);
            let Some(kind) = kind.filter(|_| !instance.deposed) else {
                // A deposed object is on its way out: Terraform made its successor already.
                self.ignore(&resource.resource_type, data, instance.deposed);
                continue;
            };
            if kind == Kind::Server {
                self.servers += 1;
                self.too_many |= self.servers > MAX_SERVERS;
            }
            self.instances.push(Found {
                kind,
                address: address(
                    &resource.module,
                    &resource.resource_type,
                    &resource.name,
                    &instance.key,
                ),
                tainted: instance.tainted,
                attributes: instance.attributes,
            });
        }
    }

    fn ignore(&mut self, resource_type: &str, data: bool, deposed: bool) {
        let name: String = resource_type
            .chars()
            .filter(|c| !c.is_control())
            .take(64)
            .collect();
        let name = match (data, deposed) {
            (true, _) => format!("data.{name}"),
            (false, true) => format!("{name} (deposed)"),
            (false, false) => name,
        };
        let known = self.ignored.contains_key(&name) || self.ignored.len() < MAX_TYPES;
        let name = if known { name } else { "others".to_owned() };
        *self.ignored.entry(name).or_default() += 1;
    }
}

fn address(module: &Option<String>, resource_type: &str, name: &str, key: &str) -> String {
    let module = module.as_deref().filter(|m| !m.is_empty());
    let module = module.map_or_else(String::new, |m| format!("{m}."));
    let all = format!("{module}{resource_type}.{name}{key}");
    all.chars().filter(|c| !c.is_control()).take(512).collect()
}

#[derive(Deserialize)]
struct Resource {
    module: Option<String>,
    mode: Option<String>,
    #[serde(rename = "type")]
    resource_type: String,
    name: String,
    instances: Vec<Instance>,
}

/// An instance as it is kept: reduced while it is read, so that a resource of thousands is never held whole.
#[derive(Debug, Deserialize)]
#[serde(from = "RawInstance")]
struct Instance {
    /// `[0]`, `["a"]`, or nothing.
    key: String,
    deposed: bool,
    tainted: bool,
    attributes: Attributes,
    secrets: Secrets,
}

#[derive(Deserialize)]
struct RawInstance {
    index_key: Option<Value>,
    status: Option<Value>,
    deposed: Option<Value>,
    attributes: Option<Value>,
    sensitive_attributes: Option<Value>,
}

impl From<RawInstance> for Instance {
    fn from(raw: RawInstance) -> Self {
        let key = match &raw.index_key {
            Some(Value::Number(n)) => format!("[{n}]"),
            Some(Value::String(text)) => format!("[{}]", super::super::quote::hcl(text)),
            None | Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                String::new()
            }
        };
        let text = |value: &Option<Value>| {
            value
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let map = match raw.attributes {
            Some(Value::Object(map)) => map,
            None
            | Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            ) => Map::new(),
        };
        let wanted = |name: &str| KEPT.contains(&name);
        let taken = secrets::take_out(map, raw.sensitive_attributes.as_ref(), wanted);
        let (kept, secrets, hidden, unclear) = taken.into_parts();
        Self {
            key,
            deposed: !text(&raw.deposed).is_empty(),
            tainted: text(&raw.status) == "tainted",
            attributes: Attributes::new(kept, hidden, unclear),
            secrets,
        }
    }
}

/// The state's object: `resources` and `outputs` are gone through, all else is skipped.
struct StateSeed<'f> {
    found: &'f mut FoundAll,
    part: &'f mut String,
}

impl<'de> DeserializeSeed<'de> for StateSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StateSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "resources" => map.next_value_seed(ResourcesSeed {
                    found: &mut *self.found,
                    part: &mut *self.part,
                })?,
                "outputs" => {
                    *self.part = "outputs".to_owned();
                    let outputs: Value = map.next_value()?;
                    self.found.secrets.of_outputs(&outputs);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct ResourcesSeed<'f> {
    found: &'f mut FoundAll,
    part: &'f mut String,
}

impl<'de> DeserializeSeed<'de> for ResourcesSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        *self.part = "resources".to_owned();
        d.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ResourcesSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of resources")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for n in 0_usize.. {
            *self.part = format!("resources[{n}]");
            let Some(resource) = seq.next_element::<Resource>()? else {
                break;
            };
            self.found.take(resource);
            if self.found.too_many {
                return Err(A::Error::custom("too many servers"));
            }
        }
        Ok(())
    }
}
