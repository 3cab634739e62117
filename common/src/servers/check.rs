//! The rules of a record, each with whose rule it is. What breaks one is refused when it is read, long before the day it is needed.

use super::{
    read::InvalidRecord,
    record::{
        AddressPair, DiskRecord, FixedIp, FlavorRecord, MAX_ADDRESS_PAIRS, MAX_DISKS,
        MAX_FIXED_IPS, MAX_METADATA, MAX_NAME, MAX_PORTS, MAX_RECORD, MAX_SECURITY_GROUPS, MAX_TAG,
        MAX_TAGS, PortRecord, PortSecurity, RecordSource, ServerRecord,
    },
};
use std::collections::{BTreeMap, BTreeSet};

type Checked = Result<(), InvalidRecord>;

/// What stands in every private key's first line.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";
/// A server's name, as it may stand in a refusal: on one line, cut, and no key that somebody put there.
pub(super) fn shown_name(name: &str) -> Option<String> {
    (!name.contains(PRIVATE_KEY)).then(|| name.escape_debug().take(64).collect())
}
/// What is said of a server whose root disk stays behind.
pub(super) const NO_ROOT_VOLUME: &str =
    "cannot be protected: its root disk is not a volume (no disk has boot index 0)";

fn refuse(field: impl Into<String>, why: impl Into<String>) -> Checked {
    Err(InvalidRecord::new(field, why))
}

/// A line: no control characters, for names stand in tables, scripts and logs.
fn line(at: &str, text: &str, most: usize) -> Checked {
    let length = text.chars().count();
    if length > most {
        return refuse(at, format!("has {length} characters, {most} are allowed"));
    }
    // Nova and Neutron refuse what Unicode counts as not printable; these are the ones that could break a line.
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(breaks) {
        return refuse(at, "has a control character");
    }
    no_key(at, text)
}

fn no_key(at: &str, text: &str) -> Checked {
    if text.contains(PRIVATE_KEY) {
        return refuse(
            at,
            "is a private key: none is kept in a record, and whoever read this one should replace it",
        );
    }
    Ok(())
}

fn name(at: &str, text: &str) -> Checked {
    if text.is_empty() {
        return refuse(at, "is empty");
    }
    line(at, text, MAX_NAME)
}

fn names<'a>(list: impl IntoIterator<Item = (&'a str, Option<&'a String>)>) -> Checked {
    list.into_iter()
        .try_for_each(|(at, text)| text.map_or(Ok(()), |text| name(at, text)))
}

fn most(at: &str, count: usize, bound: usize, what: &str) -> Checked {
    if count > bound {
        return refuse(at, format!("are {count} {what}, {bound} are allowed"));
    }
    Ok(())
}

/// A tag, of a server or of a device in it: Nova's rule.
fn tag(at: &str, text: &str) -> Checked {
    name(at, text)?;
    if text.chars().count() > MAX_TAG {
        return refuse(at, format!("is longer than {MAX_TAG} characters"));
    }
    if text.contains(['/', ',']) {
        return refuse(at, "has a slash or a comma, which Nova refuses in tags");
    }
    Ok(())
}

fn texts(at: &str, map: &BTreeMap<String, String>) -> Checked {
    most(at, map.len(), MAX_METADATA, "entries")?;
    for (key, value) in map {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_:. ".contains(c);
        if key.is_empty() || key.len() > MAX_NAME || !key.chars().all(good) {
            return refuse(
                at,
                "has a key that Nova refuses: 1 to 255 of letters, digits, blank and -_:. are allowed",
            );
        }
        let at = format!("{at}.{key}");
        let length = value.chars().count();
        if length > MAX_NAME {
            return refuse(
                at,
                format!("has {length} characters, {MAX_NAME} are allowed"),
            );
        }
        if value.contains('\0') {
            return refuse(at, "has a NUL character");
        }
        no_key(&at, value)?;
    }
    Ok(())
}

impl ServerRecord {
    /// Checks every rule. Reading a record does so by itself; whoever makes one calls it.
    ///
    /// # Errors
    /// [`InvalidRecord`]: the field at fault and the rule.
    pub fn check(&self) -> Result<(), InvalidRecord> {
        name("name", &self.name)?;
        if self.name.trim() != self.name {
            return refuse("name", "begins or ends with a blank, which Nova refuses");
        }
        names([
            ("id", self.id.as_ref()),
            ("project", self.project.as_ref()),
            ("key_name", self.key_name.as_ref()),
            ("availability_zone", self.availability_zone.as_ref()),
            ("server_group", self.server_group.as_ref()),
        ])?;
        if let Some(text) = &self.description {
            line("description", text, MAX_NAME)?;
        }
        self.flavor.check()?;
        check_disks(&self.disks)?;
        check_ports(&self.ports)?;
        groups("security_groups", &self.security_groups)?;
        texts("metadata", &self.metadata)?;
        most("tags", self.tags.len(), MAX_TAGS, "tags")?;
        for (n, text) in self.tags.iter().enumerate() {
            tag(&format!("tags[{n}]"), text)?;
        }
        self.source.check()?;
        let size = self.size();
        if size > MAX_RECORD {
            return refuse(
                "the record",
                format!(
                    "has {size} bytes without its user data, {MAX_RECORD} are allowed: shorten its metadata"
                ),
            );
        }
        Ok(())
    }

    /// Bytes of JSON as they are kept, without the user data.
    fn size(&self) -> usize {
        let all = serde_json::to_string(self).unwrap_or_default().len();
        all - self.user_data.as_ref().map_or(0, |u| u.base64().len())
    }
}

impl FlavorRecord {
    fn check(&self) -> Checked {
        name("flavor.name", &self.name)?;
        texts("flavor.extra_specs", &self.extra_specs)
    }
}

impl RecordSource {
    fn check(&self) -> Checked {
        match self {
            Self::Nova | Self::Script => Ok(()),
            Self::Terraform {
                serial: _,
                lineage,
                terraform_version,
                address,
            } => {
                line("source.lineage", lineage, MAX_NAME)?;
                let version = terraform_version.as_deref().unwrap_or_default();
                line("source.terraform_version", version, MAX_NAME)?;
                let address = address.as_deref().unwrap_or_default();
                line("source.address", address, 4 * MAX_NAME)
            }
        }
    }
}

fn check_disks(disks: &[DiskRecord]) -> Checked {
    most("disks", disks.len(), MAX_DISKS, "disks")?;
    if !disks.iter().any(|d| d.boot_index == Some(0)) {
        return refuse("disks", NO_ROOT_VOLUME);
    }
    let (mut volumes, mut devices) = (BTreeSet::new(), BTreeSet::new());
    // What is booted from comes first, in its order; `None` after all of them.
    let mut last: Option<u32> = None;
    let mut data_disks = false;
    for (n, disk) in disks.iter().enumerate() {
        let at = |field: &str| format!("disks[{n}].{field}");
        name(&at("volume.id"), &disk.volume.id)?;
        if disk.volume.id.contains(',') {
            return refuse(at("volume.id"), "has a comma, and is no id of Cinder's");
        }
        if let Some(text) = &disk.volume.name {
            line(&at("volume.name"), text, MAX_NAME)?;
        }
        if !volumes.insert(&disk.volume.id) {
            return refuse(at("volume.id"), "stands in the list twice");
        }
        match disk.boot_index {
            Some(_) if data_disks => {
                return refuse(
                    at("boot_index"),
                    "stands after a disk without one: those that are booted from come first",
                );
            }
            Some(index) if last.is_some_and(|last| index <= last) => {
                return refuse(
                    at("boot_index"),
                    "is not larger than that of the disk before it",
                );
            }
            Some(index) => last = Some(index),
            None => data_disks = true,
        }
        if let Some(device) = &disk.device {
            let rest = device.strip_prefix("/dev/").unwrap_or_default();
            let good = (1..=32).contains(&rest.len())
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            if !good {
                return refuse(at("device"), "is no device's name: /dev/vda is one");
            }
            if !devices.insert(device) {
                return refuse(at("device"), "stands in the list twice");
            }
        }
        if let Some(text) = &disk.tag {
            tag(&at("tag"), text)?;
        }
    }
    Ok(())
}

fn check_ports(ports: &[PortRecord]) -> Checked {
    most("ports", ports.len(), MAX_PORTS, "ports")?;
    let mut ids = BTreeSet::new();
    for (n, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("ports[{n}].{field}");
        name(&at("network"), &port.network)?;
        let ips = &port.fixed_ips;
        most(&at("fixed_ips"), ips.len(), MAX_FIXED_IPS, "addresses")?;
        for (m, ip) in ips.iter().enumerate() {
            let FixedIp { address, subnet } = ip;
            let at = at(&format!("fixed_ips[{m}]"));
            if address.is_none() && subnet.is_none() {
                return refuse(at, "has neither an address nor a subnet");
            }
            names([(format!("{at}.subnet").as_str(), subnet.as_ref())])?;
        }
        check_mac(&at("mac"), port.mac.as_deref())?;
        groups(&at("security_groups"), &port.security_groups)?;
        check_filter(&at, port)?;
        if let Some(id) = &port.port_id {
            name(&at("port_id"), id)?;
            if !ids.insert(id) {
                return refuse(at("port_id"), "stands in the list twice");
            }
        }
        if let Some(text) = &port.tag {
            tag(&at("tag"), text)?;
        }
    }
    Ok(())
}

fn check_mac(at: &str, mac: Option<&str>) -> Checked {
    if mac.is_some_and(|mac| !is_mac(mac)) {
        return refuse(
            at,
            "is no MAC address in lower case: fa:16:3e:00:00:01 is one",
        );
    }
    Ok(())
}

/// What passes it. Neutron's rule: where nothing is filtered there is nothing to filter by.
fn check_filter(at: &impl Fn(&str) -> String, port: &PortRecord) -> Checked {
    let pairs = &port.address_pairs;
    match port.port_security {
        PortSecurity::Off if !port.security_groups.is_empty() => {
            return refuse(
                at("security_groups"),
                "are named, and port security is off, so that none counts",
            );
        }
        PortSecurity::Off if !pairs.is_empty() => {
            return refuse(
                at("address_pairs"),
                "are named, and port security is off, so that every address is allowed",
            );
        }
        PortSecurity::Unknown | PortSecurity::On | PortSecurity::Off => {}
    }
    most(
        &at("address_pairs"),
        pairs.len(),
        MAX_ADDRESS_PAIRS,
        "addresses",
    )?;
    for (m, pair) in pairs.iter().enumerate() {
        let AddressPair { address: _, mac } = pair;
        if pair.range().is_none() {
            return refuse(
                at(&format!("address_pairs[{m}].address")),
                "is neither an IPv4 or IPv6 address nor a range of them: 10.8.0.0/16 is one",
            );
        }
        check_mac(&at(&format!("address_pairs[{m}].mac")), mac.as_deref())?;
    }
    Ok(())
}

fn is_mac(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.bytes().all(hex))
}

fn groups(at: &str, list: &[String]) -> Checked {
    most(at, list.len(), MAX_SECURITY_GROUPS, "security groups")?;
    list.iter()
        .enumerate()
        .try_for_each(|(n, text)| name(&format!("{at}[{n}]"), text))
}
