//! A record in other forms, for a person who builds the server by hand.
//!
//! Whatever is called otherwise in the other zone is a variable in each of them, numbered in the order of the record: `network_1` is the
//! first network, wherever it stands. Volumes are found by what the catalogue writes on a copy (`rekindle:peer`), or given.
//! User data goes into none of them but our own JSON, nor does metadata that is a secret by its name: the others are handed round.

mod heat;
mod shell;
mod terraform;
mod variables;

use super::{
    quote,
    read::InvalidRecord,
    record::{PowerWish, ServerRecord},
    shown::is_secret_name,
};

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Our own JSON, with everything.
    Json,
    /// Terraform's language.
    Terraform,
    /// A Heat template.
    Heat,
    /// A script for a POSIX shell and the `openstack` command.
    Shell,
}

/// Writes a record in a form.
///
/// # Errors
/// [`InvalidRecord`]: a record that breaks a rule is written in no form.
pub fn export(record: &ServerRecord, form: Form) -> Result<String, InvalidRecord> {
    record.check()?;
    Ok(match form {
        Form::Json => record.to_json(),
        Form::Terraform => terraform::write(record),
        Form::Heat => heat::write(record),
        Form::Shell => shell::write(record),
    })
}

/// The metadata by which the catalogue names a copy's peer (`rekindle:peer`), and its value for a volume of the record.
const PEER: &str = "rekindle:peer";

fn peer(record: &ServerRecord, volume: &str) -> String {
    format!("{}/{volume}", record.zone)
}

/// A port's name in the other zone: by it one that is there already is found again.
fn port_name(record: &ServerRecord, n: usize) -> String {
    let (_, identity) = record.identity();
    let identity: String = identity.chars().take(200).collect();
    format!("rekindle-{identity}-{n}")
}

/// The first lines of each form: what it is, as of when, and what it does not do.
fn heading(record: &ServerRecord, left_out: &[String]) -> Vec<String> {
    let mut lines = vec![
        format!(
            "The server {} of {}, by its record as of {}.",
            quote::comment(&record.name),
            record.zone,
            record.taken_at
        ),
        "Volumes have to be promoted where it is to run before it is started: `rekindle volume show`.".to_owned(),
    ];
    for (n, disk) in record.disks.iter().enumerate() {
        let name = disk.volume.name.as_deref().unwrap_or_default();
        let name = match name {
            "" => String::new(),
            name => format!(", {}", quote::comment(name)),
        };
        let device = disk
            .device
            .as_deref()
            .unwrap_or("no device's name is known");
        lines.push(format!(
            "Volume {}: {}{name}; {device} in {}",
            n + 1,
            quote::comment(&disk.volume.id),
            record.zone
        ));
    }
    let secret = record.metadata.keys().filter(|key| is_secret_name(key));
    let secret = secret.map(|key| {
        let key = quote::comment(key);
        format!("its metadata {key}, a secret by its name: the value is in its record alone")
    });
    for line in left_out.iter().cloned().chain(secret) {
        lines.push(format!("Not done here: {line}"));
    }
    lines
}

/// The metadata that a form has; of what it has not, [`heading`] has the names.
fn plain_metadata(record: &ServerRecord) -> Vec<(&String, &String)> {
    let all = record.metadata.iter();
    all.filter(|(key, _)| !is_secret_name(key)).collect()
}

/// What only Nova's own API can be told.
fn only_by_nova(record: &ServerRecord, tags: bool, description: bool) -> Vec<String> {
    let mut out = Vec::new();
    if record.disks.iter().any(|d| d.tag.is_some()) && tags {
        out.push("the tags of disks".to_owned());
    }
    if record.ports.iter().any(|p| p.tag.is_some()) {
        out.push("the tags of ports".to_owned());
    }
    if record.description.is_some() && description {
        out.push("its description".to_owned());
    }
    if record.locked && description {
        out.push("it is locked in its zone: `openstack server lock ID`".to_owned());
    }
    out
}

fn is_off(record: &ServerRecord) -> bool {
    match record.power {
        PowerWish::ShutOff => true,
        PowerWish::Running => false,
    }
}

#[cfg(test)]
mod tests;
