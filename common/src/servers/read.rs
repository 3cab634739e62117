//! Reads a record's JSON, field by field.
//!
//! By hand and not derived: an error has to name the field's whole path, and must not carry the value that it refuses, for that may be
//! a secret. serde's own messages carry it.

use super::record::{
    AddressPair, DiskRecord, FixedIp, FlavorRecord, PortRecord, PortSecurity, PowerWish,
    RecordSource, ServerRecord, VERSION, VolumeRef,
};
use super::user_data::UserData;
use crate::ids::ZoneName;
use jiff::Timestamp;
use serde_json::{Map, Value, error::Category};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A record that cannot be used; `field` is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidRecord {
    /// The field's path: `disks[1].volume.id`.
    pub field: String,
    /// What is wrong with it, never its value.
    pub why: String,
}

impl InvalidRecord {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

type Read<T> = Result<T, InvalidRecord>;

/// JSON as a value. Its errors say where, and never what stands there.
pub(super) fn json(text: &str) -> Read<Value> {
    serde_json::from_str(text).map_err(|e| InvalidRecord::new("the text", syntax(&e)))
}

/// What is wrong with a JSON text.
pub(super) fn syntax(e: &serde_json::Error) -> String {
    let (line, column) = (e.line(), e.column());
    match e.classify() {
        Category::Eof => format!("is cut off: it ends at line {line}, column {column}"),
        Category::Syntax | Category::Data | Category::Io => {
            format!("is no JSON: line {line}, column {column}")
        }
    }
}

/// A kind of JSON value, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong(at: &str, value: &Value, wanted: &str) -> InvalidRecord {
    InvalidRecord::new(at, format!("is {}, and {wanted} is wanted", kind(value)))
}

/// What can be read from a JSON value that stands at a path.
trait FromJson: Sized {
    fn read(at: &str, value: Value) -> Read<Self>;
}

/// An object whose fields are taken one after the other.
struct Fields {
    at: String,
    map: Map<String, Value>,
}

impl Fields {
    fn of(at: &str, value: Value) -> Read<Self> {
        if let Value::Object(map) = value {
            let at = at.to_owned();
            return Ok(Self { at, map });
        }
        Err(wrong(
            if at.is_empty() { "the text" } else { at },
            &value,
            "an object",
        ))
    }
    fn path(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at)
        }
    }
    fn needed<T: FromJson>(&mut self, name: &str) -> Read<T> {
        let at = self.path(name);
        match self.map.remove(name) {
            Some(value) => T::read(&at, value),
            None => Err(InvalidRecord::new(at, "is missing")),
        }
    }
    /// None where it is missing or null.
    fn optional<T: FromJson>(&mut self, name: &str) -> Read<Option<T>> {
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::read(&self.path(name), value).map(Some),
        }
    }
    fn or_default<T: FromJson + Default>(&mut self, name: &str) -> Read<T> {
        Ok(self.optional(name)?.unwrap_or_default())
    }
    /// Refuses what is left: a misspelt field must not be lost in silence.
    fn done(self) -> Read<()> {
        let Some(name) = self.map.keys().next() else {
            return Ok(());
        };
        let shown: String = name.escape_debug().take(64).collect();
        Err(InvalidRecord::new(
            self.path(&shown),
            format!(
                "is no field of a record's version {VERSION}; docs/schemas/server-record.json lists them"
            ),
        ))
    }
}

impl FromJson for String {
    fn read(at: &str, value: Value) -> Read<Self> {
        match value {
            Value::String(text) => Ok(text),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => Err(wrong(at, &other, "a text")),
        }
    }
}

impl FromJson for bool {
    fn read(at: &str, value: Value) -> Read<Self> {
        value
            .as_bool()
            .ok_or_else(|| wrong(at, &value, "true or false"))
    }
}

impl FromJson for u64 {
    fn read(at: &str, value: Value) -> Read<Self> {
        let wanted = "a whole number, 0 or more";
        value.as_u64().ok_or_else(|| wrong(at, &value, wanted))
    }
}

impl FromJson for u32 {
    fn read(at: &str, value: Value) -> Read<Self> {
        let number = u64::read(at, value)?;
        Self::try_from(number).map_err(|_| InvalidRecord::new(at, "is too large a number"))
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn read(at: &str, value: Value) -> Read<Self> {
        match value {
            Value::Array(list) => list
                .into_iter()
                .enumerate()
                .map(|(n, value)| T::read(&format!("{at}[{n}]"), value))
                .collect(),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => Err(wrong(at, &other, "a list")),
        }
    }
}

impl FromJson for BTreeSet<String> {
    fn read(at: &str, value: Value) -> Read<Self> {
        Ok(Vec::read(at, value)?.into_iter().collect())
    }
}

impl FromJson for BTreeMap<String, String> {
    fn read(at: &str, value: Value) -> Read<Self> {
        Fields::of(at, value)?
            .map
            .into_iter()
            .map(|(key, value)| {
                let shown: String = key.escape_debug().take(64).collect();
                let value = String::read(&format!("{at}.{shown}"), value)?;
                Ok((key, value))
            })
            .collect()
    }
}

/// A type with a text form of its own.
fn parsed<T: std::str::FromStr>(at: &str, value: Value, why: &str) -> Read<T> {
    String::read(at, value)?
        .parse()
        .map_err(|_| InvalidRecord::new(at, why))
}

impl FromJson for ZoneName {
    fn read(at: &str, value: Value) -> Read<Self> {
        parsed(
            at,
            value,
            "is no zone's name: 1 to 63 of a-z, 0-9 and inner hyphens",
        )
    }
}

impl FromJson for Timestamp {
    fn read(at: &str, value: Value) -> Read<Self> {
        parsed(at, value, "is no time: write it as 2026-11-26T10:00:00Z")
    }
}

impl FromJson for IpAddr {
    fn read(at: &str, value: Value) -> Read<Self> {
        parsed(at, value, "is no IPv4 or IPv6 address")
    }
}

impl FromJson for UserData {
    fn read(at: &str, value: Value) -> Read<Self> {
        Self::new(String::read(at, value)?).map_err(|why| InvalidRecord::new(at, why))
    }
}

impl FromJson for PowerWish {
    fn read(at: &str, value: Value) -> Read<Self> {
        let text = String::read(at, value)?;
        [Self::Running, Self::ShutOff]
            .into_iter()
            .find(|wish| wish.as_str() == text)
            .ok_or_else(|| InvalidRecord::new(at, "is neither running nor shut_off"))
    }
}

impl FromJson for PortSecurity {
    fn read(at: &str, value: Value) -> Read<Self> {
        let text = String::read(at, value)?;
        [Self::On, Self::Off]
            .into_iter()
            .find(|known| known.as_str() == Some(text.as_str()))
            .ok_or_else(|| InvalidRecord::new(at, "is neither on nor off"))
    }
}

impl FromJson for FlavorRecord {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let flavor = Self {
            name: f.needed("name")?,
            vcpus: f.optional("vcpus")?,
            ram_mib: f.optional("ram_mib")?,
            disk_gib: f.optional("disk_gib")?,
            extra_specs: f.or_default("extra_specs")?,
        };
        f.done()?;
        Ok(flavor)
    }
}

impl FromJson for VolumeRef {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let volume = Self {
            id: f.needed("id")?,
            name: f.optional("name")?,
        };
        f.done()?;
        Ok(volume)
    }
}

impl FromJson for DiskRecord {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let disk = Self {
            volume: f.needed("volume")?,
            boot_index: f.optional("boot_index")?,
            device: f.optional("device")?,
            tag: f.optional("tag")?,
            delete_on_termination: f.or_default("delete_on_termination")?,
        };
        f.done()?;
        Ok(disk)
    }
}

impl FromJson for FixedIp {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let ip = Self {
            address: f.optional("address")?,
            subnet: f.optional("subnet")?,
        };
        f.done()?;
        Ok(ip)
    }
}

impl FromJson for AddressPair {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let pair = Self {
            address: f.needed("address")?,
            mac: f.optional("mac")?,
        };
        f.done()?;
        Ok(pair)
    }
}

impl FromJson for PortRecord {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let port = Self {
            network: f.needed("network")?,
            fixed_ips: f.or_default("fixed_ips")?,
            mac: f.optional("mac")?,
            security_groups: f.or_default("security_groups")?,
            port_security: f.or_default("port_security")?,
            address_pairs: f.or_default("address_pairs")?,
            port_id: f.optional("port_id")?,
            tag: f.optional("tag")?,
        };
        f.done()?;
        Ok(port)
    }
}

impl FromJson for RecordSource {
    fn read(at: &str, value: Value) -> Read<Self> {
        let mut f = Fields::of(at, value)?;
        let source = match f.needed::<String>("type")?.as_str() {
            "nova" => Self::Nova,
            "script" => Self::Script,
            "terraform" => Self::Terraform {
                serial: f.needed("serial")?,
                lineage: f.needed("lineage")?,
                terraform_version: f.optional("terraform_version")?,
                address: f.optional("address")?,
            },
            _ => {
                let why = "is none of nova, terraform and script";
                return Err(InvalidRecord::new(f.path("type"), why));
            }
        };
        f.done()?;
        Ok(source)
    }
}

impl TryFrom<Value> for ServerRecord {
    type Error = InvalidRecord;

    fn try_from(value: Value) -> Read<Self> {
        let mut f = Fields::of("", value)?;
        // First: of a newer form nothing else can be judged.
        let version: u64 = f.needed("version")?;
        if version != u64::from(VERSION) {
            return Err(InvalidRecord::new(
                "version",
                format!(
                    "is {version}, and this release reads {VERSION}: use the release that wrote it, or a newer one"
                ),
            ));
        }
        let record = Self {
            name: f.needed("name")?,
            zone: f.needed("zone")?,
            id: f.optional("id")?,
            project: f.optional("project")?,
            flavor: f.needed("flavor")?,
            disks: f.needed("disks")?,
            ports: f.or_default("ports")?,
            security_groups: f.or_default("security_groups")?,
            key_name: f.optional("key_name")?,
            availability_zone: f.optional("availability_zone")?,
            metadata: f.or_default("metadata")?,
            tags: f.or_default("tags")?,
            user_data: f.optional("user_data")?,
            config_drive: f.or_default("config_drive")?,
            server_group: f.optional("server_group")?,
            description: f.optional("description")?,
            locked: f.or_default("locked")?,
            power: f.needed("power")?,
            taken_at: f.needed("taken_at")?,
            source: f.needed("source")?,
        };
        f.done()?;
        record.check()?;
        Ok(record)
    }
}
