//! Our programs on the lab: their configuration files, their start, and clients of them.

pub(in crate::demo) mod clouds;

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
    Ok(Programs {
        driver: beside("rekindle-driver")?,
        orchestrator: beside("rekindle-orchestrator")?,
        itself: itself()?,
    })
}

fn itself() -> Result<PathBuf, DemoError> {
    std::env::current_exe().map_err(DemoError::world("finding this program"))
}

/// The program of that name in this one's folder.
pub(in crate::demo) fn beside(name: &str) -> Result<PathBuf, DemoError> {
    let path = itself()?.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(DemoError::Plan(format!(
            "{} is not there: build it with `cargo build --release -p {name}`, or run `make demo`",
            path.display()
        )))
    }
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
    /// And Nova: the orchestrators follow the groups' servers.
    Nova,
}

/// What a runbook waits for, by its name in the orchestrators' configuration: that the server answers.
pub(in crate::demo) const ANSWERS: &str = "answers";

/// Where that command reads at which address.
pub(in crate::demo) fn addresses(lab: &Lab) -> PathBuf {
    lab.root().join("rekindle").join("addresses.json")
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
    clouds::write_mapping(lab, with)?;
    for site in Site::ZONES {
        let path = dir.join(format!("driver-{site}.toml"));
        let mut file = driver(lab, site, &ports)?;
        match with {
            With::CephAlone => {}
            With::Cinder | With::Nova => clouds::serve_cinder(&mut file, lab, site, &ports)?,
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
        match with {
            With::CephAlone => {}
            With::Cinder => clouds::keep_catalogues(&mut file, lab)?,
            With::Nova => {
                clouds::keep_catalogues(&mut file, lab)?;
                clouds::follow_servers(&mut file, lab, &programs.itself);
            }
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

pub(in crate::demo) fn run(
    lab: &Lab,
    site: Site,
    name: &str,
    program: &Path,
    config: &Path,
) -> Result<(), DemoError> {
    let spawn = Spawn::new(program).args(["--config".to_owned(), config.display().to_string()]);
    lab.spawn(site, name, &spawn)
        .map(drop)
        .map_err(DemoError::world(format!("starting {name} in {site}")))
}

pub(in crate::demo) fn write(path: &Path, table: &Table) -> Result<(), DemoError> {
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

pub(in crate::demo) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
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
