//! Our programs on the lab: their configuration files, their start, and clients of them.

use crate::{
    args::DemoArgs,
    demo::{ledger::Ledger, world::DemoError},
    error::CliError,
};
use rekindle_common::{ZoneName, tls::TlsFiles};
use rekindle_lab::{Certs, Lab, LabError, Site, Spawn};
use rekindle_net::{Client, ClientLimits, SidecarClient};
use rekindle_orchestrator::client::{Endpoint, OrchestratorClient};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{Table, Value};

/// Our programs beside this one: they were built together.
#[derive(Debug)]
pub(in crate::demo) struct Programs {
    driver: PathBuf,
    orchestrator: PathBuf,
    itself: PathBuf,
}

/// Finds them, or says how to build them.
pub(in crate::demo) fn programs() -> Result<Programs, DemoError> {
    let itself = std::env::current_exe().map_err(DemoError::world("finding this program"))?;
    let beside = |name: &str| {
        let path = itself.with_file_name(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(DemoError::Plan(format!(
                "{} is not there: build it with `cargo build --release -p rekindle-cli -p rekindle-driver -p rekindle-orchestrator`, or \
                 run `make demo`",
                path.display()
            )))
        }
    };
    Ok(Programs {
        driver: beside("rekindle-driver")?,
        orchestrator: beside("rekindle-orchestrator")?,
        itself,
    })
}

/// Clients of what was started.
pub(in crate::demo) struct Clients {
    pub(in crate::demo) orchestrator: OrchestratorClient,
    pub(in crate::demo) sidecars: BTreeMap<ZoneName, SidecarClient>,
}

/// Where each program listens.
struct Ports {
    sidecars: BTreeMap<Site, u16>,
    orchestrators: BTreeMap<Site, u16>,
}

/// What a lab's zones have besides Ceph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) enum With {
    /// Nothing.
    CephAlone,
    /// Keystone and Cinder: the sidecars serve its driver, the orchestrators keep its catalogues.
    Cinder,
}

/// The lab's folder and the ledger's; what an earlier run left in the ledger goes.
pub(in crate::demo) fn folders(args: &DemoArgs) -> Result<(PathBuf, Ledger), CliError> {
    let bad = |what: &str, path: &Path, e: &dyn std::fmt::Display| {
        CliError::usage(format!("{what} {}: {e}", path.display()))
            .advise("name another folder with --lab")
    };
    fs::create_dir_all(&args.lab).map_err(|e| bad("the lab's folder", &args.lab, &e))?;
    let root = args
        .lab
        .canonicalize()
        .map_err(|e| bad("the lab's folder", &args.lab, &e))?;
    let ledger = root.with_file_name("ledger");
    match fs::remove_dir_all(&ledger) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(bad("the ledger of an earlier run", &ledger, &e));
        }
        Ok(()) | Err(_) => {}
    }
    let ledger = Ledger::at(&ledger).map_err(|e| bad("the ledger's folder", &ledger, &e))?;
    Ok((root, ledger))
}

/// Lab and librbd calls block.
pub(in crate::demo) async fn blocking<T: Send + 'static>(
    what: impl Into<String>,
    f: impl FnOnce() -> Result<T, DemoError> + Send + 'static,
) -> Result<T, DemoError> {
    tokio::task::spawn_blocking(f)
        .await
        .map_err(DemoError::world(what))?
}

/// Takes a lab in that folder down; none there is fine.
pub(in crate::demo) async fn clear(root: &Path) -> Result<(), DemoError> {
    const WHAT: &str = "taking the lab down";
    let root = root.to_owned();
    blocking(WHAT, move || match Lab::down_at(&root) {
        Ok(()) | Err(LabError::NoLab { .. }) => Ok(()),
        Err(e) => Err(DemoError::world(WHAT)(e)),
    })
    .await
}

/// The socket on which a zone's sidecar serves Cinder's driver.
pub(in crate::demo) fn socket(lab: &Lab, site: Site) -> PathBuf {
    lab.root().join("rekindle").join(format!("{site}.sock"))
}

/// Writes all configuration files and starts all programs.
pub(in crate::demo) fn start(
    lab: &Lab,
    ledger: &Ledger,
    programs: &Programs,
    application: &str,
    with: With,
) -> Result<Clients, DemoError> {
    let port = |site| {
        lab.free_port(site)
            .map_err(DemoError::world("finding a free port"))
    };
    let ports = Ports {
        sidecars: Site::ZONES
            .into_iter()
            .map(|s| Ok((s, port(s)?)))
            .collect::<Result<_, DemoError>>()?,
        orchestrators: Site::ALL
            .into_iter()
            .map(|s| Ok((s, port(s)?)))
            .collect::<Result<_, DemoError>>()?,
    };
    let dir = lab.root().join("rekindle");
    fs::create_dir_all(&dir).map_err(DemoError::world(format!("making {}", dir.display())))?;
    for site in Site::ZONES {
        let path = dir.join(format!("driver-{site}.toml"));
        let mut file = driver(lab, site, &ports)?;
        if with == With::Cinder {
            serve_cinder(&mut file, lab, site, &ports)?;
        }
        write(&path, &file)?;
        run(lab, site, "rekindle-driver", &programs.driver, &path)?;
    }
    for site in Site::ALL {
        let path = dir.join(format!("orchestrator-{site}.toml"));
        let command = [
            programs.itself.display().to_string(),
            "demo-app".to_owned(),
            "--lab".to_owned(),
            lab.root().display().to_string(),
            "--ledger".to_owned(),
            ledger.dir().display().to_string(),
        ];
        let mut file = orchestrator(lab, site, &ports, application, &command)?;
        if with == With::Cinder {
            keep_catalogues(&mut file, lab)?;
        }
        write(&path, &file)?;
        run(
            lab,
            site,
            "rekindle-orchestrator",
            &programs.orchestrator,
            &path,
        )?;
    }
    let operator = files(&lab.operator_certs());
    let path = dir.join("cli.toml");
    write(&path, &command_line(lab, &ports, &operator))?;
    clients(lab, &ports, &operator)
}

fn clients(lab: &Lab, ports: &Ports, tls: &TlsFiles) -> Result<Clients, DemoError> {
    let limits = ClientLimits {
        call_time: Duration::from_secs(20),
        ..ClientLimits::default()
    };
    let what = |url: &str| DemoError::api(format!("making a client of {url}"));
    let mut sidecars = BTreeMap::new();
    for (site, port) in &ports.sidecars {
        let zone = site
            .name()
            .parse()
            .map_err(DemoError::world("naming a zone"))?;
        let url = url(lab, *site, *port);
        let client = Client::mtls(&url, tls, limits).map_err(what(&url))?;
        sidecars.insert(zone, client.into());
    }
    let mut endpoints = Vec::new();
    // zone-a is going to be killed: it is asked last.
    for (site, port) in ports.orchestrators.iter().rev() {
        let url = url(lab, *site, *port);
        endpoints.push(Endpoint::https(&url, tls.clone(), limits).map_err(what(&url))?);
    }
    Ok(Clients {
        orchestrator: OrchestratorClient::new(endpoints),
        sidecars,
    })
}

fn url(lab: &Lab, site: Site, port: u16) -> String {
    format!("https://{}:{port}", lab.addr(site))
}

fn run(lab: &Lab, site: Site, name: &str, program: &Path, config: &Path) -> Result<(), DemoError> {
    let spawn = Spawn::new(program).args(["--config".to_owned(), config.display().to_string()]);
    lab.spawn(site, name, &spawn)
        .map(drop)
        .map_err(DemoError::world(format!("starting {name} in {site}")))
}

fn write(path: &Path, table: &Table) -> Result<(), DemoError> {
    let what = format!("writing {}", path.display());
    let text = toml::to_string_pretty(table).map_err(DemoError::world(what.clone()))?;
    fs::write(path, text).map_err(DemoError::world(what))
}

fn files(certs: &Certs) -> TlsFiles {
    TlsFiles {
        ca: certs.ca.clone(),
        cert: certs.cert.clone(),
        key: certs.key.clone(),
    }
}

fn tls(certs: &TlsFiles) -> Value {
    let text = |p: &Path| Value::from(p.display().to_string());
    Value::Table(Table::from_iter([
        ("ca".to_owned(), text(&certs.ca)),
        ("cert".to_owned(), text(&certs.cert)),
        ("key".to_owned(), text(&certs.key)),
    ]))
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
}

fn etcd(lab: &Lab, site: Site) -> Value {
    let endpoints: Vec<Value> = lab
        .etcd_endpoints(site)
        .into_iter()
        .map(Value::from)
        .collect();
    Value::Table(table([
        ("endpoints", endpoints.into()),
        ("tls", tls(&files(&lab.certs(site)))),
    ]))
}

/// The other sites' orchestrators.
fn others(lab: &Lab, site: Site, ports: &Ports) -> Table {
    let urls = ports.orchestrators.iter().filter(|(s, _)| **s != site);
    urls.map(|(s, port)| (s.name().to_owned(), url(lab, *s, *port).into()))
        .collect()
}

fn driver(lab: &Lab, site: Site, ports: &Ports) -> Result<Table, DemoError> {
    let zone = lab
        .zone(site)
        .map_err(DemoError::world("finding the zone's cluster"))?;
    let port = ports.sidecars.get(&site).copied().unwrap_or_default();
    let mut file = table([
        ("zone", site.name().into()),
        (
            "ceph",
            Value::Table(table([
                ("conf", zone.ceph_conf.display().to_string().into()),
                ("client", format!("client.{}", zone.sidecar_id).into()),
                ("pools", vec![Value::from(zone.pool)].into()),
            ])),
        ),
        (
            "listen",
            Value::Table(table([
                ("tcp", format!("{}:{port}", lab.addr(site)).into()),
                ("tls", tls(&files(&lab.certs(site)))),
            ])),
        ),
        ("etcd", etcd(lab, site)),
    ]);
    let sites = Value::Table(others(lab, site, ports));
    file.insert(
        "failsafe".to_owned(),
        Value::Table(table([("sites", sites)])),
    );
    Ok(file)
}

/// The socket for Cinder's driver, and the other zone's sidecar.
fn serve_cinder(file: &mut Table, lab: &Lab, site: Site, ports: &Ports) -> Result<(), DemoError> {
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

/// Both clouds, and a mapping that calls everything the same.
fn keep_catalogues(file: &mut Table, lab: &Lab) -> Result<(), DemoError> {
    const WHAT: &str = "finding the zones' clouds";
    let mapping = lab.root().join("rekindle").join("mapping.toml");
    fs::write(&mapping, "same_name = [\"projects\", \"types\"]\n")
        .map_err(DemoError::world(WHAT))?;
    let mut clouds = Table::new();
    for site in Site::ZONES {
        let cloud = lab.openstack(site).map_err(DemoError::world(WHAT))?;
        let zone = lab.zone(site).map_err(DemoError::world(WHAT))?;
        let host = format!("{site}@ceph#ceph");
        let secret = cloud.admin.password_file.display().to_string();
        let cloud = table([
            ("auth_url", cloud.auth_url.into()),
            ("region", cloud.region.into()),
            ("username", cloud.admin.username.into()),
            ("user_domain", "Default".into()),
            ("password_file", secret.into()),
            ("project", cloud.admin.project.into()),
            ("project_domain", "Default".into()),
            ("backends", Value::Table(table([(zone.pool, host.into())]))),
        ]);
        clouds.insert(site.name().to_owned(), Value::Table(cloud));
    }
    file.insert("clouds".to_owned(), Value::Table(clouds));
    let mapping = mapping.display().to_string();
    let catalogue = table([("mapping", mapping.into())]);
    file.insert("catalogue".to_owned(), Value::Table(catalogue));
    if let Some(Value::Table(times)) = file.get_mut("times") {
        times.insert("catalogue".to_owned(), "2s".into());
    }
    Ok(())
}

fn command_line(lab: &Lab, ports: &Ports, operator: &TlsFiles) -> Table {
    let urls: Vec<Value> = ports
        .orchestrators
        .iter()
        .map(|(s, p)| url(lab, *s, *p).into())
        .collect();
    let zones: Table = ports
        .sidecars
        .iter()
        .map(|(s, p)| {
            (
                s.name().to_owned(),
                Value::Table(table([("sidecar", url(lab, *s, *p).into())])),
            )
        })
        .collect();
    table([
        ("orchestrators", urls.into()),
        ("zones", Value::Table(zones)),
        ("tls", tls(operator)),
    ])
}

fn orchestrator(
    lab: &Lab,
    site: Site,
    ports: &Ports,
    application: &str,
    command: &[String],
) -> Result<Table, DemoError> {
    let port =
        |ports: &BTreeMap<Site, u16>, site: Site| ports.get(&site).copied().unwrap_or_default();
    let sites: Table = Site::ALL
        .into_iter()
        .map(|s| {
            (
                s.name().to_owned(),
                url(lab, s, port(&ports.orchestrators, s)).into(),
            )
        })
        .collect();
    let mut zones = Table::new();
    for s in Site::ZONES {
        let zone = lab
            .zone(s)
            .map_err(DemoError::world("finding the zone's monitors"))?;
        let monitors: Vec<Value> = zone
            .mon_addrs
            .iter()
            .map(|a| a.to_string().into())
            .collect();
        let sidecar = url(lab, s, port(&ports.sidecars, s)).into();
        let entry = table([("sidecar", sidecar), ("ceph_mons", monitors.into())]);
        zones.insert(s.name().to_owned(), Value::Table(entry));
    }
    let command: Vec<Value> = command.iter().map(|w| w.as_str().into()).collect();
    let agent = table([("command", command.into()), ("timeout", "60s".into())]);
    let listen = table([
        (
            "tcp",
            format!("{}:{}", lab.addr(site), port(&ports.orchestrators, site)).into(),
        ),
        ("tls", tls(&files(&lab.certs(site)))),
    ]);
    // A view that is forgotten soon, so that a dead site does not go on saying that it sees itself well.
    let times = table([("view_ttl", "4s".into())]);
    Ok(table([
        ("site", site.name().into()),
        ("sites", Value::Table(sites)),
        ("zones", Value::Table(zones)),
        ("listen", Value::Table(listen)),
        ("etcd", etcd(lab, site)),
        ("times", Value::Table(times)),
        (
            "applications",
            Value::Table(table([(application, Value::Table(agent))])),
        ),
    ]))
}
