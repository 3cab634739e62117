//! What changed from one record of a server to the next, field by field.
//!
//! Disks are told apart by their volumes and ports by their ids (else by their MAC addresses), so that one that was added does not
//! change all that stand after it. When and of what a record was read is no change of the server.

use super::{
    record::{DiskRecord, PortRecord, ServerRecord},
    shown::{NOT_SHOWN, is_secret_name},
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// One field's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field: `disks.VOLUME.device`.
    pub field: String,
    /// What it was; none: it was not there.
    pub from: Option<String>,
    /// What it is; none: it is gone.
    pub to: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from == to => write!(f, "{field}: changed; {to}"),
            (Some(from), Some(to)) => write!(f, "{field}: was {from}, is {to}"),
            (None, Some(to)) => write!(f, "{field}: added: {to}"),
            (Some(from), None) => write!(f, "{field}: gone; was {from}"),
            (None, None) => write!(f, "{field}: as it was"),
        }
    }
}

/// A value: what is compared, and what is shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    value: String,
    shown: Option<String>,
}

impl Fact {
    fn open(value: impl ToString) -> Self {
        Self {
            value: value.to_string(),
            shown: None,
        }
    }
    fn hidden(value: &str, shown: impl Into<String>) -> Self {
        Self {
            value: value.to_owned(),
            shown: Some(shown.into()),
        }
    }
    fn words(&self) -> String {
        self.shown
            .clone()
            .unwrap_or_else(|| self.value.escape_debug().to_string())
    }
}

type Facts = BTreeMap<String, Fact>;

/// What changed.
#[must_use]
pub fn diff(before: &ServerRecord, after: &ServerRecord) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", &of_server(before), &of_server(after), &mut changes);
    let disks = |r: &ServerRecord| -> Vec<(String, Facts)> {
        let all = r.disks.iter();
        all.map(|d| (d.volume.id.clone(), of_disk(d))).collect()
    };
    items("disks", disks(before), disks(after), &mut changes);
    let ports = |r: &ServerRecord| -> Vec<(String, Facts)> {
        let all = r.ports.iter().enumerate();
        all.map(|(n, p)| (key(n, p), of_port(p))).collect()
    };
    items("ports", ports(before), ports(after), &mut changes);
    changes
}

fn compare(at: &str, before: &Facts, after: &Facts, changes: &mut Vec<Change>) {
    let mut fields: Vec<&String> = before.keys().chain(after.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    for field in fields {
        let (from, to) = (before.get(field), after.get(field));
        if from.map(|f| &f.value) != to.map(|f| &f.value) {
            changes.push(Change {
                field: format!("{at}{field}"),
                from: from.map(Fact::words),
                to: to.map(Fact::words),
            });
        }
    }
}

/// Disks or ports: one that came or went is told whole, and so is another order of those that stayed.
fn items(
    at: &str,
    before: Vec<(String, Facts)>,
    after: Vec<(String, Facts)>,
    changes: &mut Vec<Change>,
) {
    let stayed = |list: &[(String, Facts)], other: &[(String, Facts)]| -> Vec<String> {
        let there = |key: &String| other.iter().any(|(k, _)| k == key);
        list.iter().map(|(k, _)| k.clone()).filter(there).collect()
    };
    let (was, is) = (stayed(&before, &after), stayed(&after, &before));
    if was != is {
        changes.push(Change {
            field: format!("{at}: order"),
            from: list(&was),
            to: list(&is),
        });
    }
    let whole = |facts: &Facts| {
        let parts: Vec<String> = facts
            .iter()
            .map(|(field, fact)| format!("{field} {}", fact.words()))
            .collect();
        parts.join(", ")
    };
    let before: BTreeMap<String, Facts> = before.into_iter().collect();
    let after: BTreeMap<String, Facts> = after.into_iter().collect();
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let field = format!("{at}.{}", key.escape_debug());
        match (before.get(key), after.get(key)) {
            (Some(from), Some(to)) => compare(&format!("{field}."), from, to, changes),
            (from, to) => changes.push(Change {
                field,
                from: from.map(whole),
                to: to.map(whole),
            }),
        }
    }
}

fn key(n: usize, port: &PortRecord) -> String {
    port.port_id
        .clone()
        .or_else(|| port.mac.clone())
        .unwrap_or_else(|| (n + 1).to_string())
}

fn put(facts: &mut Facts, field: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        facts.insert(field.to_owned(), Fact::open(value));
    }
}

fn of_server(r: &ServerRecord) -> Facts {
    let mut f = Facts::new();
    put(&mut f, "name", Some(&r.name));
    put(&mut f, "zone", Some(&r.zone));
    put(&mut f, "id", r.id.as_ref());
    put(&mut f, "project", r.project.as_ref());
    put(&mut f, "flavor.name", Some(&r.flavor.name));
    put(&mut f, "flavor.vcpus", r.flavor.vcpus);
    put(&mut f, "flavor.ram_mib", r.flavor.ram_mib);
    put(&mut f, "flavor.disk_gib", r.flavor.disk_gib);
    for (name, value) in &r.flavor.extra_specs {
        put(&mut f, &format!("flavor.extra_specs.{name}"), Some(value));
    }
    put(&mut f, "security_groups", list(&r.security_groups));
    put(&mut f, "key_name", r.key_name.as_ref());
    put(&mut f, "availability_zone", r.availability_zone.as_ref());
    for (name, value) in &r.metadata {
        let fact = if is_secret_name(name) {
            Fact::hidden(value, NOT_SHOWN)
        } else {
            Fact::open(value)
        };
        f.insert(format!("metadata.{name}"), fact);
    }
    for tag in &r.tags {
        put(&mut f, &format!("tags.{tag}"), Some("set"));
    }
    if let Some(data) = &r.user_data {
        let shown = format!("{} bytes, not shown", data.bytes());
        f.insert("user_data".to_owned(), Fact::hidden(data.base64(), shown));
    }
    put(&mut f, "config_drive", Some(r.config_drive));
    put(&mut f, "server_group", r.server_group.as_ref());
    put(&mut f, "description", r.description.as_ref());
    put(&mut f, "locked", Some(r.locked));
    put(&mut f, "power", Some(r.power.as_str()));
    f
}

fn of_disk(disk: &DiskRecord) -> Facts {
    let mut f = Facts::new();
    put(&mut f, "name", disk.volume.name.as_ref());
    put(&mut f, "boot_index", disk.boot_index);
    put(&mut f, "device", disk.device.as_ref());
    put(&mut f, "tag", disk.tag.as_ref());
    put(
        &mut f,
        "delete_on_termination",
        Some(disk.delete_on_termination),
    );
    f
}

fn of_port(port: &PortRecord) -> Facts {
    let mut f = Facts::new();
    put(&mut f, "network", Some(&port.network));
    let ips: Vec<String> = port
        .fixed_ips
        .iter()
        .map(|ip| match (&ip.address, &ip.subnet) {
            (Some(address), Some(subnet)) => format!("{address} of {subnet}"),
            (Some(address), None) => address.to_string(),
            (None, Some(subnet)) => format!("any of {subnet}"),
            (None, None) => String::new(),
        })
        .collect();
    put(&mut f, "fixed_ips", list(&ips));
    put(&mut f, "mac", port.mac.as_ref());
    put(&mut f, "security_groups", list(&port.security_groups));
    put(&mut f, "port_security", port.port_security.as_str());
    let pairs: Vec<String> = port
        .address_pairs
        .iter()
        .map(|pair| match &pair.mac {
            Some(mac) => format!("{} with {mac}", pair.address),
            None => pair.address.clone(),
        })
        .collect();
    put(&mut f, "address_pairs", list(&pairs));
    put(&mut f, "port_id", port.port_id.as_ref());
    put(&mut f, "tag", port.tag.as_ref());
    f
}

fn list(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(", "))
}

#[cfg(test)]
mod tests;
