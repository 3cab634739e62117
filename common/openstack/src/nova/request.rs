//! What a server is built from.

use super::server::UserData;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Nova's own bounds.
const NAME: usize = 255;
const TAG: usize = 60;
const TAGS: usize = 50;
const USER_DATA: usize = 65_535;

/// A server that boots from a volume, with its ports made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRequest {
    /// Its name.
    pub name: String,
    /// Its flavor's id in this cloud.
    pub flavor: String,
    /// Its volumes. The guest sees them in this order where none names a device.
    pub disks: Vec<Disk>,
    /// Its network.
    pub network: Network,
    /// For ports that Nova makes: names or ids. Ports that are given have their own.
    pub security_groups: Vec<String>,
    /// Its key pair's name, among those of the user that builds.
    pub key_name: Option<String>,
    /// Its availability zone.
    pub availability_zone: Option<String>,
    /// Its properties.
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// What it is given when it first starts.
    pub user_data: Option<UserData>,
    /// Whether it gets a drive with its configuration.
    pub config_drive: bool,
    /// Its server group's id.
    pub server_group: Option<String>,
    /// Its description.
    pub description: Option<String>,
}

/// A volume of a server that is built. Nova never deletes it with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its id.
    pub volume: String,
    /// 0 is what it boots from; others are tried in their order, and those without are not.
    pub boot_index: Option<u32>,
    /// `/dev/vdb`; Nova chooses where none is named, and not every hypervisor heeds it.
    pub device: Option<String>,
    /// By which the guest can tell it.
    pub tag: Option<String>,
}

/// A server's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// None at all.
    None,
    /// What Neutron gives a project that has said nothing.
    Auto,
    /// These ports, in this order.
    Ports(Vec<Nic>),
}

/// A port of a server that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its id.
    pub port: String,
    /// By which the guest can tell it.
    pub tag: Option<String>,
}

impl ServerRequest {
    /// The volume that it boots from: the first.
    #[must_use]
    pub fn root(&self) -> &str {
        self.disks.first().map_or("", |d| d.volume.as_str())
    }

    /// What is wrong with it, as far as it can be known without asking.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            name,
            flavor,
            disks,
            tags,
            user_data,
            metadata,
            ..
        } = self;
        if name.is_empty() || name.chars().count() > NAME {
            return Err(format!("a name has 1 to {NAME} characters"));
        }
        if flavor.is_empty() {
            return Err("it has no flavor".to_owned());
        }
        let mut boot: Vec<u32> = disks.iter().filter_map(|d| d.boot_index).collect();
        boot.sort_unstable();
        if !in_order(&boot) {
            return Err(format!("its boot order {boot:?} is not 0, 1, 2, …"));
        }
        if boot.is_empty() {
            return Err("none of its volumes is the one to boot from (boot_index 0)".to_owned());
        }
        let volumes: BTreeSet<&str> = disks.iter().map(|d| d.volume.as_str()).collect();
        if volumes.len() != disks.len() {
            return Err("one of its volumes is named twice".to_owned());
        }
        if tags.len() > TAGS {
            return Err(format!("it has {} tags; Nova takes {TAGS}", tags.len()));
        }
        let bad = |t: &&String| t.is_empty() || t.len() > TAG || t.contains(['/', ',']);
        if let Some(tag) = tags.iter().find(bad) {
            return Err(format!(
                "tag {tag:?}: 1 to {TAG} characters, without / and ,"
            ));
        }
        if user_data.as_ref().is_some_and(|u| u.0.len() > USER_DATA) {
            return Err(format!("its user data is over {USER_DATA} characters"));
        }
        let long = |(k, v): &(&String, &String)| k.len() > NAME || v.chars().count() > NAME;
        if let Some((key, _)) = metadata.iter().find(long) {
            return Err(format!("property {key:?} is over {NAME} characters"));
        }
        Ok(())
    }

    /// As Nova wants it. What stands in it may be secret.
    pub(super) fn body(&self) -> Value {
        let disks: Vec<Value> = self.disks.iter().map(Disk::body).collect();
        let mut server = Map::new();
        let mut set = |key: &str, value: Value| server.insert(key.to_owned(), value);
        set("name", json!(self.name));
        set("flavorRef", json!(self.flavor));
        set("imageRef", json!(""));
        set("block_device_mapping_v2", json!(disks));
        set("networks", self.network.body());
        set("metadata", json!(self.metadata));
        if !self.tags.is_empty() {
            set("tags", json!(self.tags));
        }
        if self.config_drive {
            set("config_drive", json!(true));
        }
        if let Some(key) = &self.key_name {
            set("key_name", json!(key));
        }
        if let Some(zone) = &self.availability_zone {
            set("availability_zone", json!(zone));
        }
        if let Some(UserData(data)) = &self.user_data {
            set("user_data", json!(data));
        }
        if let Some(text) = &self.description {
            set("description", json!(text));
        }
        if !self.security_groups.is_empty() {
            let named = self.security_groups.iter().map(|g| json!({ "name": g }));
            set("security_groups", named.collect());
        }
        match &self.server_group {
            None => json!({ "server": server }),
            Some(group) => json!({ "server": server, "os:scheduler_hints": { "group": group } }),
        }
    }
}

/// 0, 1, 2, … without a gap.
fn in_order(sorted: &[u32]) -> bool {
    sorted
        .iter()
        .copied()
        .zip(0..)
        .all(|(is, should)| is == should)
}

impl Disk {
    fn body(&self) -> Value {
        let mut disk = json!({
            "source_type": "volume", "destination_type": "volume", "uuid": self.volume,
            "boot_index": self.boot_index, "delete_on_termination": false,
        });
        if let Some(device) = &self.device {
            disk["device_name"] = json!(device);
        }
        if let Some(tag) = &self.tag {
            disk["tag"] = json!(tag);
        }
        disk
    }
}

impl Network {
    fn body(&self) -> Value {
        match self {
            Self::None => json!("none"),
            Self::Auto => json!("auto"),
            Self::Ports(nics) => {
                let nic = |n: &Nic| match &n.tag {
                    None => json!({ "port": n.port }),
                    Some(tag) => json!({ "port": n.port, "tag": tag }),
                };
                nics.iter().map(nic).collect()
            }
        }
    }

    /// The ports that are given.
    pub(super) fn ports(&self) -> &[Nic] {
        match self {
            Self::Ports(nics) => nics,
            Self::None | Self::Auto => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disk(volume: &str, boot_index: Option<u32>) -> Disk {
        Disk {
            volume: volume.to_owned(),
            boot_index,
            device: None,
            tag: None,
        }
    }

    fn request() -> ServerRequest {
        ServerRequest {
            name: "shop".into(),
            flavor: "1".into(),
            disks: vec![disk("v1", Some(0)), disk("v2", None)],
            network: Network::None,
            security_groups: Vec::new(),
            key_name: None,
            availability_zone: None,
            metadata: BTreeMap::new(),
            tags: BTreeSet::new(),
            user_data: None,
            config_drive: false,
            server_group: None,
            description: None,
        }
    }

    #[test]
    fn a_request_names_its_volumes_in_order_and_none_is_deleted_with_it() {
        let mut some = request();
        some.disks[1].device = Some("/dev/vdc".into());
        some.disks[1].tag = Some("data".into());
        some.network = Network::Ports(vec![Nic {
            port: "p1".into(),
            tag: Some("front".into()),
        }]);
        some.server_group = Some("g1".into());
        some.user_data = Some(UserData("c2VjcmV0".into()));
        assert_eq!(some.check(), Ok(()));
        let body = some.body();
        let disks = &body["server"]["block_device_mapping_v2"];
        assert_eq!(
            (disks[0]["uuid"].as_str(), disks[0]["boot_index"].as_u64()),
            (Some("v1"), Some(0))
        );
        assert!(disks[0].get("device_name").is_none() && disks[1]["boot_index"].is_null());
        assert_eq!(disks[1]["device_name"], "/dev/vdc");
        assert!(
            disks
                .as_array()
                .unwrap()
                .iter()
                .all(|d| d["delete_on_termination"] == false)
        );
        assert_eq!(
            body["server"]["networks"],
            json!([{ "port": "p1", "tag": "front" }])
        );
        assert_eq!(body["os:scheduler_hints"]["group"], "g1");
        assert_eq!(body["server"]["user_data"], "c2VjcmV0");
        assert!(!format!("{some:?}").contains("c2VjcmV0"));
        assert_eq!(request().body()["server"]["networks"], "none");
    }

    #[test]
    fn what_nova_would_refuse_is_refused_before() {
        let with = |change: &dyn Fn(&mut ServerRequest)| {
            let mut some = request();
            change(&mut some);
            some.check().unwrap_err()
        };
        for (change, word) in [
            (
                &(|r: &mut ServerRequest| r.name.clear()) as &dyn Fn(&mut ServerRequest),
                "1 to 255",
            ),
            (&|r| r.name = "ü".repeat(256), "1 to 255"),
            (&|r| r.flavor.clear(), "flavor"),
            (&|r| r.disks[0].boot_index = None, "boot from"),
            (&|r| r.disks[0].boot_index = Some(1), "[1] is not"),
            (&|r| r.disks[1].boot_index = Some(0), "[0, 0] is not"),
            (&|r| r.disks[1].volume = "v1".into(), "twice"),
            (&|r| r.tags = ["a/b".to_owned()].into(), "without /"),
            (
                &|r| r.tags = (0..51).map(|n| n.to_string()).collect(),
                "51 tags",
            ),
            (
                &|r| r.user_data = Some(UserData("x".repeat(65_536))),
                "user data",
            ),
            (
                &|r| r.metadata = [("k".to_owned(), "v".repeat(256))].into(),
                "\"k\"",
            ),
        ] {
            let why = with(change);
            assert!(why.contains(word), "{word}: {why}");
        }
        let mut long = request();
        long.name = "ü".repeat(255);
        assert_eq!(long.check(), Ok(()));
    }

    proptest! {
        #[test]
        fn a_boot_order_is_whole_or_refused(order in prop::collection::vec(prop::option::of(0_u32..5), 1..6)) {
            let mut some = request();
            some.disks = order.iter().enumerate().map(|(n, b)| disk(&format!("v{n}"), *b)).collect();
            let mut sorted: Vec<u32> = order.into_iter().flatten().collect();
            sorted.sort_unstable();
            let whole = !sorted.is_empty() && (0..).zip(&sorted).all(|(n, b)| n == *b);
            prop_assert_eq!(some.check().is_ok(), whole);
        }
    }
}
