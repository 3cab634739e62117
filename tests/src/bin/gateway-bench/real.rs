//! The same two in front of a lab's real Cinder. It is slow enough that a proxy hardly shows, and what it answers is the truth about the stub.

use crate::{
    Progress, answers,
    load::{self, Asked},
    proxies,
    report::Real,
    turns::{Case, Goal, Turns},
};
use anyhow::{Context, bail, ensure};
use rekindle_lab::{Cloud, Lab, LabOptions, Site, Spawn};
use rekindle_tests::scenario::config::{self, Ports};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// In the list. More of them would take minutes to make.
const VOLUMES: usize = 50;
/// For all of them to be there.
const MADE: Duration = Duration::from_secs(300);
const BEAT: Duration = Duration::from_millis(500);
/// More than the lab's Cinder has workers.
const CONNECTIONS: usize = 4;
/// What the lab's Cinder calls the backend that the gateway's file names.
const BACKEND: &str = "rekindle";

/// A zone's Cinder with volumes of a member.
struct World {
    lab: Lab,
    cinder: SocketAddr,
    /// The member's.
    token: String,
    base: String,
}

/// Measures it in a lab of its own, which goes down at the end.
pub(crate) fn measure(stub: &Turns<'_>, runtime: &Runtime, say: &Progress) -> anyhow::Result<Real> {
    let world = World::up()?;
    say.line("Cinder is up");
    world.fill(runtime)?;
    say.line(&format!("{VOLUMES} volumes are there"));
    let dir = tempfile::tempdir()?;
    let nginx = proxies::nginx(dir.path(), world.cinder)?;
    let file = config::gateway(&world.lab, Site::ZoneA, world.cinder)?;
    let file = file.as_table().context("a file is a table")?;
    let gateway = proxies::gateway(dir.path(), file)?;
    let types = Asked::get_as(&format!("{}/types", world.base), &world.token);
    let volumes = Asked::get_as(&format!("{}/volumes/detail", world.base), &world.token);
    for proxy in [&nginx, &gateway] {
        runtime.block_on(load::answers(proxy.address, &types))?;
    }
    let list = runtime.block_on(load::once(gateway.address, &volumes))?;
    let list: Value = serde_json::from_slice(&list)?;
    let list = list["volumes"].as_array().context("a list of volumes")?;
    let told = list.iter().filter(|v| v["rekindle:status"].is_null());
    ensure!(
        told.count() == VOLUMES,
        "not all of the real volumes carry their status: {list:?}"
    );
    let turns = Turns {
        runtime,
        nginx: &nginx,
        gateway: &gateway,
        ..*stub
    };
    let mut cases = Vec::new();
    for (name, what, asked, goal) in [
        (
            "types",
            "GET of the volume types",
            types,
            Goal::PASS_THROUGH,
        ),
        (
            "volumes",
            "GET of the volumes in detail",
            volumes,
            Goal::WITH_STATUS,
        ),
    ] {
        let measured = turns.of(&Case {
            name,
            what,
            asked,
            connections: CONNECTIONS,
            goal,
        })?;
        say.line(&measured.to_string());
        cases.push(measured);
    }
    Ok(Real {
        volumes: VOLUMES,
        cases,
    })
}

impl World {
    fn up() -> anyhow::Result<Self> {
        let driver = std::env::current_exe()?.with_file_name("rekindle-driver");
        ensure!(driver.is_file(), "{} is not built", driver.display());
        let lab = Lab::own(LabOptions {
            cloud: Cloud::cinder()?,
            ..LabOptions::default()
        })?;
        let site = Site::ZoneA;
        let path = lab.root().join("driver.toml");
        let file = config::driver(&lab, site, &Ports::choose(&lab)?)?;
        std::fs::write(&path, toml::to_string_pretty(&file)?)?;
        let args = ["--config".to_owned(), path.display().to_string()];
        lab.spawn(site, "sidecar", &Spawn::new(&driver).args(args))?;
        let cinder = lab.cinder(site)?;
        let socket = config::socket(&lab, site, "driver");
        cinder.configure(&[cinder.rekindle(BACKEND, &socket)])?;
        drop(cinder);
        let clients = lab.openstack(site)?;
        let backend = format!("volume_backend_name={BACKEND}");
        let args = ["volume", "type", "create", "--property", &backend, BACKEND];
        clients.openstack(&clients.admin, &args)?;
        let issued = clients.openstack_json(&clients.member, &["token", "issue"])?;
        let word = |key: &str| issued[key].as_str().with_context(|| format!("no {key}"));
        let url = clients.volume_url.strip_prefix("http://");
        let authority = url.and_then(|u| u.split('/').next());
        Ok(Self {
            cinder: authority.context("Cinder's URL")?.parse()?,
            token: word("id")?.to_owned(),
            base: format!("/v3/{}", word("project_id")?),
            lab,
        })
    }

    /// Makes the volumes, and looks whether they are as the stub's.
    fn fill(&self, runtime: &Runtime) -> anyhow::Result<()> {
        let body = json!({ "volume": {
            "size": 1, "name": "of-a-bench", "description": "what it is for", "volume_type": BACKEND, "metadata": { "purpose": "bench" },
        }});
        let path = format!("{}/volumes", self.base);
        let asked = Asked::post_as(&path, &self.token, &body.to_string());
        for _ in 0..VOLUMES {
            runtime.block_on(load::once(self.cinder, &asked))?;
        }
        let path = format!("{}/volumes/detail", self.base);
        let asked = Asked::get_as(&path, &self.token);
        let end = Instant::now() + MADE;
        loop {
            let list = runtime.block_on(load::once(self.cinder, &asked))?;
            let list: Value = serde_json::from_slice(&list)?;
            let volumes = list["volumes"].as_array().context("a list of volumes")?;
            let there = volumes.iter().filter(|v| v["status"] == "available");
            let there = there.count();
            if there == VOLUMES {
                return as_the_stubs(volumes.first().context("no volume")?);
            }
            ensure!(
                Instant::now() < end,
                "after {MADE:?} only {there} of {VOLUMES} volumes are there"
            );
            std::thread::sleep(BEAT);
        }
    }
}

/// A stub that answers otherwise than Cinder measures something else.
fn as_the_stubs(real: &Value) -> anyhow::Result<()> {
    let fields = |volume: &Value| -> BTreeSet<String> {
        let fields = volume.as_object().into_iter().flatten();
        fields.map(|(name, _)| name.clone()).collect()
    };
    let (real, stub) = (fields(real), fields(&answers::volume(0)));
    if real != stub {
        let differ: Vec<_> = real.symmetric_difference(&stub).collect();
        bail!(
            "Cinder's volumes have other fields than the stub's: {differ:?} are in one of them alone"
        );
    }
    Ok(())
}
