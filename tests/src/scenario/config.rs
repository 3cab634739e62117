//! The configuration files of the programs on a lab: short times that are sound all the same.

use super::cinder::BACKEND;
use anyhow::Context;
use rekindle_common::{
    duration::Span,
    lease::LeaseTiming,
    policy::{FailoverMode, GroupPolicy, IsolationResponse, OnReturn},
    tls::TlsFiles,
};
use rekindle_lab::{Certs, Lab, Site};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The lease's times in the scenarios.
#[must_use]
pub fn timing() -> LeaseTiming {
    LeaseTiming {
        ttl: Span::secs(6),
        renew_every: Span::secs(1),
        demote_budget: Span::secs(2),
        margin: Span::secs(5),
    }
}

/// A fence agent, an application and a hook, that waits until the scenario opens its gate; see [`super::Cloud::open_gate`].
pub const GATE: &str = "gate";

/// The gate is open while this file is there.
#[must_use]
pub fn gate(lab: &Lab, scenario: &str) -> PathBuf {
    lab.root()
        .join("rekindle")
        .join(format!("{scenario}.gate-is-open"))
}

/// What a runbook waits for: that the server answers; see [`super::Cloud::tell_addresses`].
pub const ANSWERS: &str = "answers";

/// Where that command reads at which address.
#[must_use]
pub fn addresses(lab: &Lab, scenario: &str) -> PathBuf {
    lab.root()
        .join("rekindle")
        .join(format!("{scenario}.addresses"))
}

/// A policy that acts by itself, and soon.
#[must_use]
pub fn policy() -> GroupPolicy {
    GroupPolicy {
        failover: FailoverMode::Automatic,
        hold_off: Span::secs(3),
        lease: timing(),
        isolation_response: IsolationResponse::Demote,
        on_return: OnReturn::Stay,
        safety_copy: rekindle_common::action::SafetyCopy::Discard,
        ..GroupPolicy::default()
    }
}

/// Where each program listens.
#[derive(Debug)]
pub struct Ports {
    sidecars: BTreeMap<Site, u16>,
    orchestrators: BTreeMap<Site, u16>,
}

impl Ports {
    /// Free ones.
    ///
    /// # Errors
    /// The lab has none left.
    pub fn choose(lab: &Lab) -> anyhow::Result<Self> {
        let of = |sites: &[Site]| -> anyhow::Result<BTreeMap<Site, u16>> {
            sites.iter().map(|s| Ok((*s, lab.free_port(*s)?))).collect()
        };
        Ok(Self {
            sidecars: of(&Site::ZONES)?,
            orchestrators: of(&Site::ALL)?,
        })
    }
    fn at(map: &BTreeMap<Site, u16>, lab: &Lab, site: Site) -> anyhow::Result<String> {
        let port = map
            .get(&site)
            .with_context(|| format!("{site} has no such program"))?;
        Ok(format!("{}:{port}", lab.addr(site)))
    }
    /// The sidecar's `HOST:PORT`.
    ///
    /// # Errors
    /// The witness has none.
    pub fn sidecar(&self, lab: &Lab, site: Site) -> anyhow::Result<String> {
        Self::at(&self.sidecars, lab, site)
    }
    /// The orchestrator's `HOST:PORT`.
    ///
    /// # Errors
    /// None: every site has one.
    pub fn orchestrator(&self, lab: &Lab, site: Site) -> anyhow::Result<String> {
        Self::at(&self.orchestrators, lab, site)
    }
}

/// A unix socket of a site's program: it is reached from this process whatever the network does.
#[must_use]
pub fn socket(lab: &Lab, site: Site, program: &str) -> PathBuf {
    lab.root()
        .join(site.name())
        .join("run")
        .join(format!("{program}.sock"))
}

/// As our programs take them.
#[must_use]
pub fn files(certs: &Certs) -> TlsFiles {
    TlsFiles {
        ca: certs.ca.clone(),
        cert: certs.cert.clone(),
        key: certs.key.clone(),
    }
}

fn text(path: &Path) -> Value {
    Value::from(path.display().to_string())
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(
        entries
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
    )
}

fn tls(certs: &Certs) -> Value {
    table([
        ("ca", text(&certs.ca)),
        ("cert", text(&certs.cert)),
        ("key", text(&certs.key)),
    ])
}

fn etcd(lab: &Lab, site: Site) -> Value {
    let endpoints: Vec<Value> = lab
        .etcd_endpoints(site)
        .into_iter()
        .map(Value::from)
        .collect();
    table([
        ("endpoints", endpoints.into()),
        ("tls", tls(&lab.certs(site))),
    ])
}

fn listen(lab: &Lab, site: Site, tcp: String, program: &str) -> Value {
    table([
        ("unix", text(&socket(lab, site, program))),
        ("tcp", tcp.into()),
        ("tls", tls(&lab.certs(site))),
    ])
}

fn log() -> Value {
    table([("filter", "info,rekindle=debug".into())])
}

fn urls(lab: &Lab, sites: &[Site], ports: &Ports) -> anyhow::Result<Value> {
    let mut all = Table::new();
    for site in sites {
        let url = format!("https://{}", ports.orchestrator(lab, *site)?);
        all.insert(site.name().to_owned(), url.into());
    }
    Ok(Value::Table(all))
}

/// The other zone's sidecar.
fn peer(lab: &Lab, site: Site, ports: &Ports) -> anyhow::Result<Value> {
    let peer = site.peer().context("a sidecar's site is a zone")?;
    let url = format!("https://{}", ports.sidecar(lab, peer)?);
    Ok(table([("zone", peer.name().into()), ("url", url.into())]))
}

/// A sidecar's file.
///
/// # Errors
/// The site is no zone.
pub fn driver(lab: &Lab, site: Site, ports: &Ports) -> anyhow::Result<Value> {
    let zone = lab.zone(site)?;
    let others: Vec<Site> = Site::ALL.into_iter().filter(|s| *s != site).collect();
    Ok(table([
        ("zone", site.name().into()),
        (
            "ceph",
            table([
                ("conf", text(&zone.ceph_conf)),
                ("client", format!("client.{}", zone.sidecar_id).into()),
                ("pools", vec![Value::from(zone.pool)].into()),
            ]),
        ),
        (
            "listen",
            listen(lab, site, ports.sidecar(lab, site)?, "driver"),
        ),
        ("peer", peer(lab, site, ports)?),
        ("etcd", etcd(lab, site)),
        ("failsafe", table([("sites", urls(lab, &others, ports)?)])),
        ("log", log()),
    ]))
}

/// A gateway's file: in front of the zone's Cinder, with the scenario's sidecar.
///
/// # Errors
/// The lab has no Cinder.
pub fn gateway(lab: &Lab, site: Site, address: SocketAddr) -> anyhow::Result<Value> {
    let os = lab.openstack(site)?;
    let upstream = os.volume_url.trim_end_matches("/v3").to_owned();
    let peer = site.peer().context("a gateway's site is a zone")?;
    Ok(table([
        ("zone", site.name().into()),
        ("peer", peer.name().into()),
        ("listen", table([("address", address.to_string().into())])),
        ("upstream", table([("url", upstream.into())])),
        (
            "actions",
            table([
                (
                    "sidecar",
                    table([("unix", text(&socket(lab, site, "driver")))]),
                ),
                ("cloud", cloud(lab, site, site.name())?),
            ]),
        ),
        // A lab that ends a program waits 10 s for it. What a scenario that failed left in flight, to a Cinder that hangs, is cut before.
        ("limits", table([("drain_time", "5s".into())])),
        ("log", log()),
    ]))
}

/// Makes that file a second gateway's: it reaches the sidecar over mutual TLS, has rules of its own, and times that a scenario can wait for.
///
/// # Errors
/// The file is no gateway's.
pub fn gateway_beside(
    file: &mut Value,
    lab: &Lab,
    site: Site,
    sidecar: &str,
    rules: &Path,
    metrics: u16,
) -> anyhow::Result<()> {
    let mut set = |part: &str, key: &str, value: Value| -> anyhow::Result<()> {
        let part = file.get_mut(part).and_then(Value::as_table_mut);
        let part = part.context("a part of a gateway's file")?;
        part.insert(key.to_owned(), value);
        Ok(())
    };
    let tls = tls(&lab.certs(site));
    set(
        "actions",
        "sidecar",
        table([("url", sidecar.into()), ("tls", tls)]),
    )?;
    set("actions", "rules", text(rules))?;
    set("listen", "metrics", format!("127.0.0.1:{metrics}").into())?;
    for (key, time) in [
        ("head_time", "1s"),
        ("idle_time", "2s"),
        ("body_time", "1s"),
    ] {
        set("limits", key, time.into())?;
    }
    set("limits", "body_rate", 200_000.into())
}

/// An administrator's account in a zone's OpenStack, and what Cinder calls the backend: by its host, or its cluster.
fn cloud(lab: &Lab, site: Site, host: &str) -> anyhow::Result<Value> {
    let os = lab.openstack(site)?;
    let host = format!("{host}@{BACKEND}#{BACKEND}");
    Ok(table([
        ("auth_url", os.auth_url.clone().into()),
        ("region", os.region.into()),
        ("username", os.admin.username.into()),
        ("password_file", text(&os.admin.password_file)),
        ("project", os.admin.project.into()),
        ("backends", table([(lab.zone(site)?.pool, host.into())])),
    ]))
}

fn waits_for(gate: &Path) -> Value {
    table([(GATE, held(gate))])
}

/// A command that ends well once the gate is open.
fn held(gate: &Path) -> Value {
    let script = "until [ -e \"$0\" ]; do sleep 0.1; done";
    let command: Vec<Value> = vec!["/bin/sh".into(), "-c".into(), script.into(), text(gate)];
    table([("command", command.into()), ("timeout", "3m".into())])
}

/// What the zones call by two names, where servers are followed: which list of the mapping it stands in, and the names in both.
pub const RENAMED: [(&str, &str, &str); 2] = [
    ("flavors", "big-here", "large-there"),
    ("security_groups", "front-here", "edge-there"),
];

/// Writes the mapping, before anybody reads it: both zones call everything the same, but for zone-a's project `demo`, which is zone-b's
/// `service`, and a type of the scenario, whose `silver` is `argent` there. Where servers are followed it is what [`RENAMED`] says that
/// has two names, and addresses keep their host part.
///
/// # Errors
/// The lab's folder cannot be written to; it has no Nova where servers are followed.
pub fn write_mapping(lab: &Lab, scenario: &str, servers: bool) -> anyhow::Result<()> {
    let mut kinds = vec!["projects", "types"];
    let mut ranges = String::new();
    if !servers {
        ranges = format!(
            "[[projects]]\nzone-a = \"demo\"\nzone-b = \"service\"\n\
             [[types]]\nzone-a = \"{scenario}-silver\"\nzone-b = \"{scenario}-argent\"\n"
        );
    } else {
        kinds.extend(["flavors", "networks", "subnets", "security_groups"]);
        kinds.extend(["key_pairs", "availability_zones"]);
        for (kind, a, b) in RENAMED {
            ranges.push_str(&format!("[[{kind}]]\nzone-a = \"{a}\"\nzone-b = \"{b}\"\n"));
        }
        ranges.push_str("[[ranges]]\n");
        for site in Site::ZONES {
            ranges.push_str(&format!("{site} = \"{}\"\n", lab.guests(site)?.range()));
        }
    }
    let path = mapping(lab);
    let dir = path.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    std::fs::write(&path, format!("same_name = {kinds:?}\n{ranges}"))
        .with_context(|| format!("writing {}", path.display()))
}

fn mapping(lab: &Lab) -> PathBuf {
    lab.root().join("rekindle").join("mapping.toml")
}

/// Adds both zones' clouds and the mapping to an orchestrator's file. zone-b's Cinder may be a cluster of that name.
///
/// # Errors
/// The lab has no Cinder.
pub fn add_catalogue(lab: &Lab, file: &mut Value, cluster: Option<&str>) -> anyhow::Result<()> {
    let mut clouds = Table::new();
    for site in Site::ZONES {
        let host = match (site, cluster) {
            (Site::ZoneB, Some(name)) => name,
            (Site::ZoneA | Site::ZoneB | Site::Witness, _) => site.name(),
        };
        clouds.insert(site.name().to_owned(), cloud(lab, site, host)?);
    }
    let all = file.as_table_mut().context("a file is a table")?;
    all.insert("clouds".to_owned(), Value::Table(clouds));
    all.insert(
        "catalogue".to_owned(),
        table([("mapping", text(&mapping(lab)))]),
    );
    let times = all.get_mut("times").and_then(Value::as_table_mut);
    times
        .context("a file has times")?
        .insert("catalogue".to_owned(), "2s".into());
    Ok(())
}

/// Has an orchestrator look at the groups' servers often, and adds what their runbooks wait for and call.
///
/// # Errors
/// The file is none of ours.
pub fn add_servers(
    file: &mut Value,
    rekindle: &Path,
    addresses: &Path,
    gate: &Path,
) -> anyhow::Result<()> {
    let all = file.as_table_mut().context("a file is a table")?;
    let command: Vec<Value> = vec![
        text(rekindle),
        "demo-ready".into(),
        "--addresses".into(),
        text(addresses),
    ];
    let hook = table([("command", command.into()), ("timeout", "10s".into())]);
    let hooks = table([(ANSWERS, hook), (GATE, held(gate))]);
    all.insert("hooks".to_owned(), hooks);
    let times = all.get_mut("times").and_then(Value::as_table_mut);
    times
        .context("a file has times")?
        .insert("servers".to_owned(), "3s".into());
    Ok(())
}

/// An orchestrator's file.
///
/// # Errors
/// None that a lab gives reason for.
pub fn orchestrator(lab: &Lab, site: Site, ports: &Ports, gate: &Path) -> anyhow::Result<Value> {
    let mut zones = Table::new();
    for zone in Site::ZONES {
        let mons: Vec<Value> = lab
            .zone(zone)?
            .mon_addrs
            .iter()
            .map(|a| a.to_string().into())
            .collect();
        let sidecar = format!("https://{}", ports.sidecar(lab, zone)?);
        let entry = table([("sidecar", sidecar.into()), ("ceph_mons", mons.into())]);
        zones.insert(zone.name().to_owned(), entry);
    }
    Ok(table([
        ("site", site.name().into()),
        ("sites", urls(lab, &Site::ALL, ports)?),
        ("zones", Value::Table(zones)),
        (
            "listen",
            listen(lab, site, ports.orchestrator(lab, site)?, "orch"),
        ),
        ("etcd", etcd(lab, site)),
        (
            "times",
            table([
                ("observe", "500ms".into()),
                ("probe", "1s".into()),
                ("view_ttl", "5s".into()),
                ("decide", "500ms".into()),
                ("leader_ttl", "6s".into()),
                ("leader_safety", "2s".into()),
                ("poll", "250ms".into()),
            ]),
        ),
        ("applications", waits_for(gate)),
        ("fence_agents", waits_for(gate)),
        ("log", log()),
    ]))
}
