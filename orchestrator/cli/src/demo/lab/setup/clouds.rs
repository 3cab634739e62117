//! What of those files is about the zones' OpenStacks: Cinder's driver, both catalogues, servers.

use super::{ANSWERS, Ports, With, addresses, socket, table, url};
use crate::demo::world::DemoError;
use rekindle_lab::{Lab, Site};
use std::{
    fs,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The socket for Cinder's driver, and the other zone's sidecar.
pub(super) fn serve_cinder(
    file: &mut Table,
    lab: &Lab,
    site: Site,
    ports: &Ports,
) -> Result<(), DemoError> {
    let peer = site
        .peer()
        .ok_or_else(|| DemoError::Plan(format!("{site} has no other zone")))?;
    let port = ports.sidecars.get(&peer).copied().unwrap_or_default();
    let peer = table([
        ("zone", peer.name().into()),
        ("url", url(lab, peer, port).into()),
    ]);
    file.insert("peer".to_owned(), Value::Table(peer));
    if let Some(Value::Table(listen)) = file.get_mut("listen") {
        let socket = socket(lab, site).display().to_string();
        listen.insert("unix".to_owned(), socket.into());
    }
    Ok(())
}

/// An administrator's account in a zone's cloud.
pub(in crate::demo) fn cloud(lab: &Lab, site: Site) -> Result<Table, DemoError> {
    const WHAT: &str = "finding a zone's cloud";
    let cloud = lab.openstack(site).map_err(DemoError::world(WHAT))?;
    let zone = lab.zone(site).map_err(DemoError::world(WHAT))?;
    let host = format!("{site}@ceph#ceph");
    let secret = cloud.admin.password_file.display().to_string();
    Ok(table([
        ("auth_url", cloud.auth_url.into()),
        ("region", cloud.region.into()),
        ("username", cloud.admin.username.into()),
        ("user_domain", "Default".into()),
        ("password_file", secret.into()),
        ("project", cloud.admin.project.into()),
        ("project_domain", "Default".into()),
        // Cinder itself, and not the gateway that stands before it for users.
        ("interface", "internal".into()),
        ("backends", Value::Table(table([(zone.pool, host.into())]))),
    ]))
}

/// Both clouds, and a mapping that calls everything the same.
pub(super) fn keep_catalogues(file: &mut Table, lab: &Lab) -> Result<(), DemoError> {
    let mut clouds = Table::new();
    for site in Site::ZONES {
        clouds.insert(site.name().to_owned(), Value::Table(cloud(lab, site)?));
    }
    file.insert("clouds".to_owned(), Value::Table(clouds));
    let mapping = mapping(lab).display().to_string();
    let catalogue = table([("mapping", mapping.into())]);
    file.insert("catalogue".to_owned(), Value::Table(catalogue));
    if let Some(Value::Table(times)) = file.get_mut("times") {
        times.insert("catalogue".to_owned(), "2s".into());
    }
    Ok(())
}

/// What a runbook waits for, and how often servers are looked at.
pub(super) fn follow_servers(file: &mut Table, lab: &Lab, itself: &Path) {
    let command: Vec<Value> = vec![
        itself.display().to_string().into(),
        "demo-ready".into(),
        "--addresses".into(),
        addresses(lab).display().to_string().into(),
    ];
    let hook = table([("command", command.into()), ("timeout", "10s".into())]);
    let hooks = table([(ANSWERS, Value::Table(hook))]);
    file.insert("hooks".to_owned(), Value::Table(hooks));
    if let Some(Value::Table(times)) = file.get_mut("times") {
        times.insert("servers".to_owned(), "5s".into());
    }
}

/// Writes the mapping, before anybody reads it: both zones call everything the same, and servers' addresses keep their host part.
pub(super) fn write_mapping(lab: &Lab, with: With) -> Result<(), DemoError> {
    let text = match with {
        With::CephAlone => return Ok(()),
        With::Cinder => "same_name = [\"projects\", \"types\"]\n".to_owned(),
        With::Nova => {
            let kinds = [
                "projects",
                "types",
                "flavors",
                "networks",
                "subnets",
                "security_groups",
                "key_pairs",
                "availability_zones",
            ];
            let mut text = format!("same_name = {kinds:?}\n[[ranges]]\n");
            for site in Site::ZONES {
                let guests = lab.guests(site);
                let guests = guests.map_err(DemoError::world("finding the zones' guests"))?;
                text.push_str(&format!("{site} = \"{}\"\n", guests.range()));
            }
            text
        }
    };
    let path = mapping(lab);
    fs::write(&path, text).map_err(DemoError::world(format!("writing {}", path.display())))
}

fn mapping(lab: &Lab) -> PathBuf {
    lab.root().join("rekindle").join("mapping.toml")
}
