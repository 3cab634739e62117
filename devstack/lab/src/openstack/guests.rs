//! A zone's guests, made as a user of the project `demo` makes them: a volume from the image, a port with an address, a server on both.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::{Api, Nova, OpenStack};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::site::Site;

/// What guests of a zone are made of. See [`Lab::guests`].
#[derive(Debug)]
pub struct Guests {
    os: OpenStack,
    image: String,
    flavor: String,
    network: String,
    subnet: String,
    first: Ipv4Addr,
}

impl Lab {
    /// What guests of the zone are made of: the lab has it ready.
    ///
    /// # Errors
    /// The site is no zone, the lab is up without Nova, or one of its services does not answer.
    pub fn guests(&self, site: Site) -> Result<Guests> {
        self.nova(site)?;
        let os = self.openstack(site)?;
        let named = |api, page: &str, key: &str| {
            let found = os.call(&os.member, api, "GET", page, None)?;
            let mut all = found[key].as_array().into_iter().flatten();
            let one = all.find(|one| one["name"] == Nova::GUEST).cloned();
            one.ok_or_else(|| unexpected(page, &found))
        };
        let subnet = named(Api::Networks, "/subnets", "subnets")?;
        let cidr = text(&subnet, "cidr")?;
        let first = cidr.split('/').next().and_then(|a| a.parse().ok());
        Ok(Guests {
            image: text(&named(Api::Images, "/images", "images")?, "id")?,
            flavor: text(&named(Api::Servers, "/flavors", "flavors")?, "id")?,
            network: text(&named(Api::Networks, "/networks", "networks")?, "id")?,
            first: first.ok_or_else(|| unexpected("/subnets", &subnet))?,
            subnet: text(&subnet, "id")?,
            os,
        })
    }
}

impl Guests {
    /// All addresses that guests of this zone may have.
    #[must_use]
    pub fn range(&self) -> String {
        format!("{}/25", self.first)
    }

    /// The one with that host part, which is below 128.
    #[must_use]
    pub fn address(&self, host: u8) -> IpAddr {
        let [a, b, c, d] = self.first.octets();
        Ipv4Addr::new(a, b, c, d.saturating_add(host)).into()
    }

    fn make(&self, api: Api, page: &str, key: &str, new: Value) -> Result<String> {
        let body = Some(json!({ key: new }));
        let made = self.os.call(&self.os.member, api, "POST", page, body)?;
        text(&made[key], "id")
    }

    /// Asks for a volume to boot from, and returns its id: it is not available yet.
    ///
    /// # Errors
    /// Cinder refuses.
    pub fn make_volume(&self, name: &str, of_type: &str) -> Result<String> {
        let new = json!({
            "size": 1, "imageRef": self.image, "volume_type": of_type, "name": name,
        });
        self.make(Api::Volumes, "/volumes", "volume", new)
    }

    /// Makes a port with that address, and returns its id.
    ///
    /// # Errors
    /// Neutron refuses: another has the address, say.
    pub fn make_port(&self, host: u8) -> Result<String> {
        let fixed = json!([{ "subnet_id": self.subnet, "ip_address": self.address(host) }]);
        let new = json!({ "network_id": self.network, "fixed_ips": fixed });
        self.make(Api::Networks, "/ports", "port", new)
    }

    /// Asks for a server on a volume that is available, and returns its id: it does not run yet.
    ///
    /// # Errors
    /// Nova refuses.
    pub fn make_server(&self, name: &str, volume: &str, port: &str) -> Result<String> {
        let disk = json!({
            "uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0,
        });
        let new = json!({
            "name": name, "flavorRef": self.flavor, "networks": [{ "port": port }],
            "block_device_mapping_v2": [disk],
        });
        self.make(Api::Servers, "/servers", "server", new)
    }

    /// Asks for an empty volume, and returns its id: it is not available yet.
    ///
    /// # Errors
    /// Cinder refuses.
    pub fn make_data_volume(&self, name: &str, of_type: &str) -> Result<String> {
        let new = json!({ "size": 1, "volume_type": of_type, "name": name });
        self.make(Api::Volumes, "/volumes", "volume", new)
    }

    /// Gives a server one more volume that is available.
    ///
    /// # Errors
    /// Nova refuses.
    pub fn attach(&self, server: &str, volume: &str) -> Result<()> {
        let page = format!("/servers/{server}/os-volume_attachments");
        let body = Some(json!({ "volumeAttachment": { "volumeId": volume } }));
        let who = &self.os.member;
        self.os.call(who, Api::Servers, "POST", &page, body)?;
        Ok(())
    }

    /// Takes a volume from a server again.
    ///
    /// # Errors
    /// Nova refuses.
    pub fn detach(&self, server: &str, volume: &str) -> Result<()> {
        let page = format!("/servers/{server}/os-volume_attachments/{volume}");
        let who = &self.os.member;
        self.os.call(who, Api::Servers, "DELETE", &page, None)?;
        Ok(())
    }

    /// A server's disks in the order of their devices: the device's name, and the volume's.
    ///
    /// # Errors
    /// Nova or Cinder does not answer.
    pub fn disks(&self, server: &str) -> Result<Vec<(String, String)>> {
        let page = format!("/servers/{server}/os-volume_attachments");
        let who = &self.os.member;
        let all = self.os.call(who, Api::Servers, "GET", &page, None)?;
        let all = all["volumeAttachments"].as_array().into_iter().flatten();
        let disk = |one: &Value| {
            let volume = self.show_volume(&text(one, "volumeId")?)?;
            Ok((text(one, "device")?, text(&volume, "name")?))
        };
        let mut disks = all.map(disk).collect::<Result<Vec<_>>>()?;
        disks.sort();
        Ok(disks)
    }

    /// What Nova shows of a server to an administrator.
    ///
    /// # Errors
    /// It does not answer, or has none of that id.
    pub fn show(&self, server: &str) -> Result<Value> {
        let page = format!("/servers/{server}");
        let who = &self.os.admin;
        let shown = self.os.call(who, Api::Servers, "GET", &page, None)?;
        Ok(shown["server"].clone())
    }

    /// What Cinder shows of a volume to its user.
    ///
    /// # Errors
    /// It does not answer, or has none of that id.
    pub fn show_volume(&self, volume: &str) -> Result<Value> {
        let page = format!("/volumes/{volume}");
        let who = &self.os.member;
        let shown = self.os.call(who, Api::Volumes, "GET", &page, None)?;
        Ok(shown["volume"].clone())
    }

    /// Deletes every port. Those of servers go with them.
    ///
    /// # Errors
    /// Neutron does not answer, or refuses.
    pub fn delete_ports(&self) -> Result<()> {
        let who = &self.os.admin;
        let call = |method, page: &str| self.os.call(who, Api::Networks, method, page, None);
        let all = call("GET", "/ports")?;
        for port in all["ports"].as_array().into_iter().flatten() {
            call("DELETE", &format!("/ports/{}", text(port, "id")?))?;
        }
        Ok(())
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value[key].as_str().map(str::to_owned);
    text.ok_or_else(|| unexpected(key, value))
}

fn unexpected(what: &str, answer: &Value) -> LabError {
    LabError::Command {
        command: format!("looking for {what}"),
        status: "an answer without it".into(),
        stderr: answer.to_string().chars().take(300).collect(),
    }
}
