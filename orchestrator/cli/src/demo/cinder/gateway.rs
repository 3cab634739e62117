//! A gateway before each zone's Cinder, where Keystone's catalogue has the zone's clients look.

use super::passed::Passed;
use crate::demo::{lab::setup, world::DemoError};
use rekindle_lab::{Lab, OpenStack, Site};
use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};
use toml::{Table, Value};

/// The program.
pub(super) const PROGRAM: &str = "rekindle-gateway";
/// For it to take connections.
const READY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts a zone's, and puts it into the catalogue.
pub(super) fn start(lab: &Lab, site: Site, program: &Path) -> Result<(), DemoError> {
    const WHAT: &str = "starting a gateway";
    let port = lab.free_port(site).map_err(DemoError::world(WHAT))?;
    let address = SocketAddr::new(lab.addr(site), port);
    let cloud = lab.openstack(site).map_err(DemoError::world(WHAT))?;
    let path = lab
        .root()
        .join("rekindle")
        .join(format!("gateway-{site}.toml"));
    setup::write(&path, &file(lab, site, address, &cloud)?)?;
    setup::run(lab, site, PROGRAM, program, &path)?;
    let begun = Instant::now();
    while let Err(e) = TcpStream::connect_timeout(&address, LOOK_EVERY) {
        if begun.elapsed() > READY {
            return Err(DemoError::world(WHAT)(e));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    enter_catalogue(&cloud, address)
}

fn file(lab: &Lab, site: Site, address: SocketAddr, cloud: &OpenStack) -> Result<Table, DemoError> {
    let peer = site
        .peer()
        .ok_or_else(|| DemoError::Plan(format!("{site} has no other zone")))?;
    let socket = setup::socket(lab, site).display().to_string();
    let upstream = cloud.volume_url.trim_end_matches("/v3");
    let part = |entry| Value::Table(setup::table([entry]));
    let actions = setup::table([
        ("sidecar", part(("unix", socket.into()))),
        ("cloud", Value::Table(setup::clouds::cloud(lab, site)?)),
    ]);
    let status = setup::table([
        // For `openstack volume show`, which prints no field that it does not know.
        ("replication_status", true.into()),
        // One machine does the work of two zones.
        ("wait_time", "2s".into()),
    ]);
    Ok(setup::table([
        ("zone", site.name().into()),
        ("peer", peer.name().into()),
        ("listen", part(("address", address.to_string().into()))),
        ("upstream", part(("url", upstream.into()))),
        ("actions", Value::Table(actions)),
        ("status", Value::Table(status)),
        // For `passed`, which reads it.
        ("log", part(("format", "json".into()))),
    ]))
}

/// What came by a zone's, so far.
pub(super) fn passed(lab: &Lab, site: Site) -> Result<Passed, DemoError> {
    let path = lab.log_path(site, PROGRAM);
    let log = std::fs::read_to_string(&path);
    let log = log.map_err(DemoError::world(format!("reading {}", path.display())))?;
    Ok(Passed::read(&log))
}

/// What the catalogue gives to users leads to the gateway. The services' own way to Cinder stays.
fn enter_catalogue(cloud: &OpenStack, address: SocketAddr) -> Result<(), DemoError> {
    const WHAT: &str = "putting a gateway into the catalogue";
    let list = [
        "endpoint",
        "list",
        "--service",
        "block-storage",
        "--interface",
        "public",
    ];
    let found = cloud
        .openstack_json(&cloud.admin, &list)
        .map_err(DemoError::world(WHAT))?;
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    let [endpoint] = found else {
        let what = format!("{WHAT}: not one public endpoint, but {}", found.len());
        return Err(DemoError::Plan(what));
    };
    let id = endpoint["ID"].as_str().unwrap_or_default();
    let url = format!("http://{address}/v3/%(project_id)s");
    cloud
        .openstack(&cloud.admin, &["endpoint", "set", "--url", &url, id])
        .map(drop)
        .map_err(DemoError::world(WHAT))
}
