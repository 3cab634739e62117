//! `lab`: both zones on one machine.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use rekindle_lab::{Backend, Cinder, Cloud, Lab, LabOptions, NetMode, Site};

/// Time mirroring has to work in.
const MIRROR_DEADLINE: Duration = Duration::from_secs(150);

/// Two Ceph zones and three etcd members on this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Args {
    /// The lab's folder.
    #[arg(
        long,
        global = true,
        env = "REKINDLE_LAB",
        default_value = "target/lab"
    )]
    root: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Net {
    Namespaces,
    Loopback,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring everything up, whatever state it is in; ready when images are mirrored both ways.
    Up {
        /// How the sites are kept apart [default: namespaces for root, loopback for others].
        #[arg(long)]
        net: Option<Net>,
        /// Size of each zone's OSD; the file is sparse.
        #[arg(long, value_name = "MIB")]
        osd_mib: Option<u64>,
        /// With a Keystone and a Cinder in each zone; a lab that is up without gets them.
        #[arg(long)]
        cinder: bool,
        /// That, and with a Nova that runs servers in QEMU without KVM; a lab that is up with less gets it.
        #[arg(long)]
        nova: bool,
        /// The environment to run them from, made by devstack/venv.sh [default: target/openstack-venv, with Nova
        /// target/openstack-nova].
        #[arg(long, value_name = "FOLDER")]
        openstack: Option<PathBuf>,
    },
    /// End everything and delete its data; logs stay.
    Down,
    /// Show every service and link; exit code 1 when something is not well.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print paths and addresses as JSON.
    Env,
    /// SIGKILL to all processes of a site (or of one service) at once.
    Kill { site: Site, service: Option<String> },
    /// Start a site (or one service) again.
    Start { site: Site, service: Option<String> },
    /// SIGSTOP to all processes of a site (or to one service).
    Pause { site: Site, service: Option<String> },
    /// SIGCONT to all processes of a site (or to one service).
    Resume { site: Site, service: Option<String> },
    /// Cut a site off from all others and from this host.
    Isolate { site: Site },
    /// Undo `isolate`.
    Heal { site: Site },
    /// Cut the line between two sites only.
    Partition { a: Site, b: Site },
    /// Undo `partition`.
    HealPartition { a: Site, b: Site },
    /// Undo every fault.
    Repair,
    /// Throw all volumes of both zones away and pair the empty pools anew.
    ResetVolumes,
    /// Configure the backends of a zone's cinder-volume and restart it; without any, print them.
    Cinder {
        site: Site,
        /// A backend with Cinder's own driver.
        #[arg(long, value_name = "NAME")]
        upstream: Vec<String>,
        /// The same, replicated to the other zone.
        #[arg(long, value_name = "NAME")]
        upstream_replicated: Vec<String>,
        /// A backend with Rekindle's driver, and its sidecar's socket.
        #[arg(long, value_name = "NAME=SOCKET")]
        rekindle: Vec<String>,
        /// An option of one of these backends.
        #[arg(long, value_name = "NAME.KEY=VALUE")]
        set: Vec<String>,
        /// Two cinder-volumes with these backends in a cluster of this name: active/active.
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Prove that new images are mirrored both ways.
    Probe,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .without_time()
        .with_target(false)
        .init();
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<ExitCode> {
    let lab = || Lab::open(&args.root);
    let mut out = io::stdout();
    match args.verb {
        Verb::Up {
            net,
            osd_mib,
            cinder,
            nova,
            openstack,
        } => {
            let mut options = LabOptions::default();
            if let Some(net) = net {
                options.net = match net {
                    Net::Namespaces => NetMode::Namespaces,
                    Net::Loopback => NetMode::Loopback,
                };
            }
            if let Some(mib) = osd_mib {
                options.osd_mib = mib;
            }
            let prefix = openstack
                .map(std::path::absolute)
                .transpose()
                .context("the environment's folder")?;
            options.cloud = match (nova, cinder, prefix) {
                (true, _, None) => Cloud::nova()?,
                (true, _, Some(prefix)) => Cloud::nova_in(prefix)?,
                (false, true, None) => Cloud::cinder()?,
                (false, true, Some(prefix)) => Cloud::cinder_in(prefix)?,
                (false, false, None) => Cloud::None,
                (false, false, Some(_)) => {
                    anyhow::bail!("--openstack is of use with --cinder or --nova")
                }
            };
            let lab = Lab::up(&args.root, options)?;
            writeln!(out, "lab: up in {}", lab.root().display())?;
        }
        Verb::Down => match Lab::down_at(&args.root) {
            Err(rekindle_lab::LabError::NoLab { .. }) | Ok(()) => writeln!(out, "lab: down")?,
            Err(error) => return Err(error.into()),
        },
        Verb::Status { json } => {
            let status = lab()?.status()?;
            if json {
                writeln!(
                    out,
                    "{}",
                    serde_json::to_string_pretty(&status).context("as JSON")?
                )?;
            } else {
                write!(out, "{status}")?;
            }
            if !status.is_healthy() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Verb::Env => {
            let env = serde_json::to_string_pretty(&lab()?.env()).context("as JSON")?;
            writeln!(out, "{env}")?;
        }
        Verb::Kill {
            site,
            service: None,
        } => lab()?.kill(site)?,
        Verb::Kill {
            site,
            service: Some(name),
        } => lab()?.kill_service(site, &name)?,
        Verb::Start {
            site,
            service: None,
        } => lab()?.start(site)?,
        Verb::Start {
            site,
            service: Some(name),
        } => lab()?.start_service(site, &name)?,
        Verb::Pause {
            site,
            service: None,
        } => lab()?.pause(site)?,
        Verb::Pause {
            site,
            service: Some(name),
        } => lab()?.pause_service(site, &name)?,
        Verb::Resume {
            site,
            service: None,
        } => lab()?.resume(site)?,
        Verb::Resume {
            site,
            service: Some(name),
        } => lab()?.resume_service(site, &name)?,
        Verb::Isolate { site } => lab()?.isolate(site)?,
        Verb::Heal { site } => lab()?.heal(site)?,
        Verb::Partition { a, b } => lab()?.partition(a, b)?,
        Verb::HealPartition { a, b } => lab()?.heal_partition(a, b)?,
        Verb::Repair => {
            for what in lab()?.repair()? {
                writeln!(out, "{what}")?;
            }
        }
        Verb::ResetVolumes => lab()?.reset_volumes(MIRROR_DEADLINE)?,
        Verb::Cinder {
            site,
            upstream,
            upstream_replicated,
            rekindle,
            set,
            cluster,
        } => {
            let lab = lab()?;
            let cinder = lab.cinder(site)?;
            let mut backends: Vec<Backend> = upstream.iter().map(|n| cinder.upstream(n)).collect();
            backends.extend(
                upstream_replicated
                    .iter()
                    .map(|n| cinder.upstream_replicated(n)),
            );
            for text in &rekindle {
                let (name, socket) = text
                    .split_once('=')
                    .context("--rekindle wants NAME=SOCKET")?;
                backends.push(cinder.rekindle(name, Path::new(socket)));
            }
            let backends = with_options(backends, &set)?;
            configure(&cinder, cluster.as_deref(), &backends, &mut out)?;
        }
        Verb::Probe => {
            let took = lab()?.wait_mirroring(MIRROR_DEADLINE)?;
            writeln!(out, "mirrored both ways after {:.1} s", took.as_secs_f32())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets `NAME.KEY=VALUE` in the backend of that name.
fn with_options(mut backends: Vec<Backend>, set: &[String]) -> Result<Vec<Backend>> {
    for text in set {
        let parts = text.split_once('=').and_then(|(left, value)| {
            let (name, key) = left.split_once('.')?;
            Some((name, key, value))
        });
        let (name, key, value) = parts.context("--set wants NAME.KEY=VALUE")?;
        let found = backends
            .iter_mut()
            .find(|b| b.name() == name)
            .with_context(|| {
                format!("--set {text}: there is no backend {name} among those given")
            })?;
        *found = found.clone().set(key, value);
    }
    Ok(backends)
}

fn configure(
    cinder: &Cinder<'_>,
    cluster: Option<&str>,
    backends: &[Backend],
    out: &mut impl Write,
) -> Result<()> {
    match cluster {
        Some(cluster) => cinder.configure_cluster(cluster, backends)?,
        None if backends.is_empty() => {}
        None => cinder.configure(backends)?,
    }
    if let Some(cluster) = cinder.cluster()? {
        writeln!(out, "[DEFAULT]\ncluster = {cluster}\n")?;
    }
    for backend in cinder.backends()? {
        writeln!(out, "{backend}")?;
    }
    Ok(())
}
