//! A server, as Nova shows it.

use super::{
    mark::Mark,
    states::{PowerState, Status, TaskState, VmState},
};
use crate::wire;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, fmt};

/// A server. Where its cell does not answer Nova shows little more than its id, with [`Status::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: String,
    /// Its name; none where Nova cannot see it now.
    #[serde(default, deserialize_with = "wire::text")]
    pub name: Option<String>,
    /// What users see.
    pub status: Status,
    /// Where it is at rest.
    #[serde(default, rename = "OS-EXT-STS:vm_state")]
    pub vm_state: Option<VmState>,
    /// What is being done to it.
    #[serde(default, rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<TaskState>,
    /// What the hypervisor last said.
    #[serde(default, rename = "OS-EXT-STS:power_state")]
    pub power_state: Option<PowerState>,
    /// Why it failed, where it did.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// Whose it is.
    #[serde(default, rename = "tenant_id", deserialize_with = "wire::text")]
    pub project_id: Option<String>,
    /// The user that made it.
    #[serde(default, deserialize_with = "wire::text")]
    pub user_id: Option<String>,
    /// Its description.
    #[serde(default, deserialize_with = "wire::text")]
    pub description: Option<String>,
    /// What users see as its properties.
    #[serde(default, deserialize_with = "wire::map")]
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    #[serde(default, deserialize_with = "wire::list")]
    pub tags: Vec<String>,
    /// Its flavor as it was when it was made.
    #[serde(default)]
    pub flavor: ServerFlavor,
    /// The image that it was made from; none for one that boots from a volume.
    #[serde(default, deserialize_with = "image")]
    pub image: Option<String>,
    /// Its addresses, by network's name.
    #[serde(default)]
    pub addresses: BTreeMap<String, Vec<Address>>,
    /// Its security groups, by name. The same name may come more than once: from several ports.
    #[serde(default, deserialize_with = "wire::list")]
    pub security_groups: Vec<Named>,
    /// Its key pair's name.
    #[serde(default, deserialize_with = "wire::text")]
    pub key_name: Option<String>,
    /// Its availability zone.
    #[serde(
        default,
        rename = "OS-EXT-AZ:availability_zone",
        deserialize_with = "wire::text"
    )]
    pub availability_zone: Option<String>,
    /// The availability zone that was asked for; unknown before 2.96.
    #[serde(
        default,
        rename = "pinned_availability_zone",
        deserialize_with = "wire::text"
    )]
    pub pinned_availability_zone: Option<String>,
    /// Whether it has a drive with its configuration.
    #[serde(default, deserialize_with = "wire::flag")]
    pub config_drive: bool,
    /// Whether its owner may change it.
    #[serde(default, deserialize_with = "wire::flag")]
    pub locked: bool,
    /// Why not.
    #[serde(default, deserialize_with = "wire::text")]
    pub locked_reason: Option<String>,
    /// Its volumes. Their order says nothing: see [`super::VolumeAttachment`].
    #[serde(
        default,
        rename = "os-extended-volumes:volumes_attached",
        deserialize_with = "wire::list"
    )]
    pub volumes: Vec<AttachedVolume>,
    /// Its server group; shown of one server, and never in a list.
    #[serde(default, deserialize_with = "wire::list")]
    pub server_groups: Vec<String>,
    /// The host that it is on; for administrators.
    #[serde(
        default,
        rename = "OS-EXT-SRV-ATTR:host",
        deserialize_with = "wire::text"
    )]
    pub host: Option<String>,
    /// The device of its root disk; for administrators.
    #[serde(
        default,
        rename = "OS-EXT-SRV-ATTR:root_device_name",
        deserialize_with = "wire::text"
    )]
    pub root_device: Option<String>,
    /// What was given to it when it was made; for administrators.
    #[serde(default, rename = "OS-EXT-SRV-ATTR:user_data")]
    pub user_data: Option<UserData>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::moment")]
    pub created: Option<Timestamp>,
    /// When it first ran; none for one that never did.
    #[serde(
        default,
        rename = "OS-SRV-USG:launched_at",
        deserialize_with = "wire::moment"
    )]
    pub launched_at: Option<Timestamp>,
}

impl Server {
    /// Whether Nova itself cannot see it now.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.status == Status::Unknown
    }

    /// Whether nothing of it ever ran. When it first ran Nova writes a moment after its domain is up, and a restart of nova-compute in that
    /// moment calls it failed and lets it run: what Nova saw of the domain since counts more.
    #[must_use]
    pub fn never_came_up(&self) -> bool {
        let up = match self.power_state {
            Some(PowerState::Running | PowerState::Paused | PowerState::Other(_)) => true,
            Some(
                PowerState::NoState
                | PowerState::Shutdown
                | PowerState::Crashed
                | PowerState::Suspended,
            )
            | None => false,
        };
        self.launched_at.is_none() && !up
    }

    /// Whose stand-by it is, if it is one.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        Mark::of(&self.metadata)
    }

    /// Whether it has that volume; `None`: Nova shows no volume of it. So it is of one that no cell has yet, and where its cell's database is
    /// slow: that says nothing.
    #[must_use]
    pub fn has_volume(&self, volume: &str) -> Option<bool> {
        // One that was made from an image needs none.
        if self.volumes.is_empty() && self.image.is_none() {
            return None;
        }
        Some(self.volumes.iter().any(|v| v.id == volume))
    }

    /// Where it is, in all four words.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            status: self.status.clone(),
            vm_state: self.vm_state.clone(),
            task_state: self.task_state.clone(),
            power_state: self.power_state,
        }
    }
}

/// Its name where it has one, and its id.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// Where a server was seen to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What users see.
    pub status: Status,
    /// Where it is at rest.
    pub vm_state: Option<VmState>,
    /// What is being done to it.
    pub task_state: Option<TaskState>,
    /// What the hypervisor last said.
    pub power_state: Option<PowerState>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(task) = &self.task_state {
            write!(f, ", {task}")?;
        }
        if let Some(power) = self.power_state {
            write!(f, ", {power}")?;
        }
        Ok(())
    }
}

/// Why a server failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// As in HTTP.
    #[serde(default)]
    pub code: u16,
    /// In Nova's words.
    #[serde(default)]
    pub message: String,
    /// When.
    #[serde(default, deserialize_with = "wire::moment")]
    pub created: Option<Timestamp>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some end in a trace of many lines.
        let first = self.message.lines().next().unwrap_or_default();
        let short: String = first.chars().take(500).collect();
        write!(f, "{} {short}", self.code)
    }
}

/// A flavor as it stands with a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ServerFlavor {
    /// Its name then.
    #[serde(default, rename = "original_name", deserialize_with = "wire::text")]
    pub name: Option<String>,
    /// Processors.
    #[serde(default)]
    pub vcpus: Option<u64>,
    /// MiB of memory.
    #[serde(default, rename = "ram")]
    pub ram_mib: Option<u64>,
    /// GiB of a root disk that is no volume.
    #[serde(default, rename = "disk")]
    pub disk_gib: Option<u64>,
    /// GiB of further disks that are no volumes.
    #[serde(default, rename = "ephemeral")]
    pub ephemeral_gib: Option<u64>,
    /// MiB of swap.
    #[serde(default, rename = "swap")]
    pub swap_mib: Option<u64>,
    /// What it asks of a host; none where we may not see them.
    #[serde(default)]
    pub extra_specs: Option<BTreeMap<String, String>>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// The address.
    pub addr: String,
    /// 4 or 6.
    #[serde(default)]
    pub version: u8,
    /// `fixed` or `floating`.
    #[serde(default, rename = "OS-EXT-IPS:type", deserialize_with = "wire::text")]
    pub kind: Option<String>,
    /// Its port's.
    #[serde(
        default,
        rename = "OS-EXT-IPS-MAC:mac_addr",
        deserialize_with = "wire::text"
    )]
    pub mac: Option<String>,
}

/// Something that is shown by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// A volume, as a server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AttachedVolume {
    /// Its id.
    pub id: String,
    /// Whether Nova deletes it with the server.
    #[serde(default, deserialize_with = "wire::flag")]
    pub delete_on_termination: bool,
}

/// What a server is given when it is made, in base 64. It may hold secrets: it is in no `Debug` and no message.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct UserData(pub String);

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({} characters)", self.0.len())
    }
}

/// `""` is no image.
fn image<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Image {
        One { id: String },
        Text(String),
    }
    Ok(match Option::<Image>::deserialize(d)? {
        Some(Image::One { id } | Image::Text(id)) if !id.is_empty() => Some(id),
        Some(Image::One { .. } | Image::Text(_)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn whole() -> Value {
        json!({
            "id": "s1", "name": "shop", "status": "ACTIVE", "tenant_id": "p1", "user_id": "u1",
            "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:task_state": null, "OS-EXT-STS:power_state": 1,
            "metadata": { "rekindle:standby-of": "zone-a/s0", "rekindle:group": "shop" }, "tags": ["a"],
            "flavor": { "original_name": "small", "vcpus": 1, "ram": 128, "disk": 0, "ephemeral": 0, "swap": 0, "extra_specs": {} },
            "image": "", "key_name": null, "config_drive": "", "locked": false, "locked_reason": null, "description": null,
            "addresses": { "net": [{ "addr": "10.0.0.5", "version": 4, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01" }] },
            "security_groups": [{ "name": "default" }], "OS-EXT-AZ:availability_zone": "nova",
            "os-extended-volumes:volumes_attached": [{ "id": "v1", "delete_on_termination": false }],
            "OS-EXT-SRV-ATTR:user_data": "c2VjcmV0", "created": "2026-11-25T22:00:00Z", "OS-SRV-USG:launched_at": "2026-11-25T22:00:10.000000",
        })
    }

    #[test]
    fn a_server_is_read_whole() {
        let server = Server::deserialize(whole()).unwrap();
        assert_eq!(server.to_string(), "shop (s1)");
        assert_eq!(server.seen().to_string(), "ACTIVE, running");
        assert_eq!(server.image, None);
        assert_eq!(server.flavor.ram_mib, Some(128));
        assert_eq!(server.addresses["net"][0].kind.as_deref(), Some("fixed"));
        assert!(server.launched_at.unwrap() > server.created.unwrap());
        let mark = server.mark().unwrap();
        assert_eq!((mark.zone.as_str(), mark.server.as_str()), ("zone-a", "s0"));
        let shown = format!("{server:?}");
        assert!(!shown.contains("c2VjcmV0") && shown.contains("UserData(8 characters)"));
    }

    #[test]
    fn that_no_volume_is_shown_says_nothing() {
        let has = |more: Value| {
            let mut some = whole();
            some.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            Server::deserialize(some).unwrap().has_volume("v1")
        };
        let key = "os-extended-volumes:volumes_attached";
        assert_eq!(has(json!({})), Some(true));
        assert_eq!(has(json!({ key: [{ "id": "v2" }] })), Some(false));
        assert_eq!(has(json!({ key: [] })), None);
        let of_image = json!({ key: [], "image": { "id": "i1" } });
        assert_eq!(has(of_image), Some(false));
    }

    #[test]
    fn of_a_server_in_a_cell_that_does_not_answer_there_is_little() {
        let server = json!({ "id": "s1", "status": "UNKNOWN", "tenant_id": "p1", "created": "2026-11-25T22:00:00Z" });
        let server = Server::deserialize(server).unwrap();
        assert!(server.is_hidden() && server.name.is_none() && server.mark().is_none());
        assert_eq!(server.to_string(), "s1");
    }

    #[test]
    fn an_image_comes_in_two_forms_and_a_fault_is_one_line() {
        let mut some = whole();
        some["image"] = json!({ "id": "i1", "links": [] });
        some["fault"] = json!({ "code": 500, "message": "No valid host was found. \nTraceback …", "created": "2026-11-25T22:00:00Z" });
        let server = Server::deserialize(some).unwrap();
        assert_eq!(server.image.as_deref(), Some("i1"));
        let fault = server.fault.unwrap();
        assert_eq!(fault.to_string(), "500 No valid host was found. ");
    }

    /// Any JSON, not deep.
    fn anything() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            prop::collection::vec("\\PC{0,5}".prop_map(Value::from), 0..3).prop_map(Value::from),
        ]
    }

    proptest! {
        /// What is missing, and what newer Novas add, does no harm; the rest is read as it is.
        #[test]
        fn fields_come_and_go(leave in prop::collection::vec(any::<bool>(), 40), more in prop::collection::btree_map("x-[a-z]{1,8}", anything(), 0..5)) {
            let all: Map<String, Value> = whole().as_object().unwrap().clone();
            let mut some: Map<String, Value> = all
                .iter()
                .zip(leave)
                .filter(|((key, _), keep)| *keep || ["id", "status"].contains(&key.as_str()))
                .map(|((k, v), _)| (k.clone(), v.clone()))
                .collect();
            some.extend(more);
            let server = Server::deserialize(Value::Object(some.clone())).unwrap();
            let full = Server::deserialize(whole()).unwrap();
            prop_assert_eq!(server.name.is_some(), some.contains_key("name"));
            prop_assert_eq!(server.mark().is_some(), some.contains_key("metadata"));
            prop_assert_eq!(server.volumes.len(), usize::from(some.contains_key("os-extended-volumes:volumes_attached")));
            prop_assert!(server.flavor == full.flavor || server.flavor == ServerFlavor::default());
        }

        /// Rubbish in one field is an error or a value, never a panic.
        #[test]
        fn rubbish_does_not_panic(at in 0_usize..30, what in anything()) {
            let mut all = whole();
            let keys: Vec<String> = all.as_object().unwrap().keys().cloned().collect();
            let key = &keys[at % keys.len()];
            all[key.as_str()] = what;
            if let Ok(server) = Server::deserialize(all) {
                prop_assert!(!server.seen().to_string().is_empty() || server.status.as_str().is_empty());
            }
        }
    }
}
