//! A zone's Cinder as a cluster: two cinder-volumes of one backend, active/active.

use super::{
    BACKEND, CinderZone, Cloud, Service, config,
    wait::{Look, until},
};
use anyhow::{Context, ensure};
use rekindle_lab::{Cinder, Site};
use std::time::{Duration, Instant};

/// What a failover of a cluster may take, its members' words with it.
const SOON: Duration = Duration::from_secs(120);
/// For a way home that is refused until the copies are in step.
const HOME: Duration = Duration::from_secs(300);
/// The API's first version that takes a cluster's name.
const VERSION: &str = "3.26";

/// The call by a cluster's name, for which `cinder` has no word.
const CALL: &str = "
import sys, openstack
cloud, action, cluster, *backend = sys.argv[1:]
body = {'cluster': cluster, **({'backend_id': backend[0]} if backend else {})}
answer = openstack.connect(cloud=cloud).block_storage.put(f'/os-services/{action}', json=body, microversion='3.26')
openstack.exceptions.raise_from_response(answer)
";

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The zone's own.
    First,
    /// The other.
    Second,
}

/// A zone's Cinder, as a cluster.
#[derive(Debug)]
pub struct Cluster<'z> {
    cloud: &'z Cloud,
    zone: &'z CinderZone<'z>,
    name: &'static str,
}

impl Cloud {
    /// From now on the zone's cinder-volume is two in a cluster; what it has is taken in.
    ///
    /// # Errors
    /// They do not come up.
    pub fn cluster<'z>(
        &'z self,
        zone: &'z CinderZone<'z>,
        name: &'static str,
    ) -> anyhow::Result<Cluster<'z>> {
        let cinder = self.lab.cinder(zone.site)?;
        let socket = config::socket(&self.lab, zone.site, "driver");
        let backend = cinder.rekindle(BACKEND, &socket);
        cinder.configure_cluster(name, &[backend])?;
        Ok(Cluster {
            cloud: self,
            zone,
            name,
        })
    }
}

impl Cluster<'_> {
    fn site(&self) -> Site {
        self.zone.site
    }

    /// As Cinder names it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}@{BACKEND}", self.name)
    }

    /// A member's host.
    #[must_use]
    pub fn host(&self, of: Of) -> String {
        match of {
            Of::First => self.zone.host(),
            Of::Second => format!("{}-2@{BACKEND}", self.site()),
        }
    }

    /// Kills a member.
    ///
    /// # Errors
    /// It would not die.
    pub fn kill(&self, of: Of) -> anyhow::Result<()> {
        let name = match of {
            Of::First => "cinder-volume",
            Of::Second => Cinder::SECOND,
        };
        Ok(self.cloud.member(self.site(), name).kill()?)
    }

    /// Starts it again, and waits until it says that it lives.
    ///
    /// # Errors
    /// It does not.
    pub fn start(&self, of: Of) -> anyhow::Result<()> {
        match of {
            Of::First => self.cloud.member(self.site(), "cinder-volume").start()?,
            Of::Second => self.cloud.lab.cinder(self.site())?.start_second()?,
        }
        Ok(())
    }

    /// The cluster's own row, as it is shown.
    ///
    /// # Errors
    /// The client failed.
    pub fn shown(&self) -> anyhow::Result<Service> {
        let path = format!("clusters/{}?binary=cinder-volume", self.name());
        let said = self.zone.api.ask("GET", &path, VERSION, None)?;
        Ok(Service::of(&said["cluster"]))
    }

    /// A member's row.
    ///
    /// # Errors
    /// The client failed, or there is none.
    pub fn member(&self, of: Of) -> anyhow::Result<Service> {
        self.zone.service_of(&self.host(of))
    }

    /// Waits until the cluster and these members say so.
    ///
    /// # Errors
    /// They do not.
    pub async fn wait(
        &self,
        members: &[Of],
        what: &str,
        is: impl Fn(&Service) -> bool,
    ) -> anyhow::Result<()> {
        until(what, SOON, async || -> Look<()> {
            let mut all = vec![self.shown().map_err(|e| format!("{e:#}"))?];
            for of in members {
                all.push(self.member(*of).map_err(|e| format!("{e:#}"))?);
            }
            all.iter()
                .all(&is)
                .then_some(())
                .ok_or_else(|| format!("{all:?}"))
        })
        .await
    }

    /// Waits until the cluster and these members say that and where.
    ///
    /// # Errors
    /// They do not.
    pub async fn wait_words(
        &self,
        members: &[Of],
        replication: &str,
        active: &str,
    ) -> anyhow::Result<()> {
        let what = format!("{replication}, served from {active:?}, in all rows");
        self.wait(members, &what, |row| {
            row.replication == replication && row.active == active
        })
        .await
    }

    /// Calls the API by the cluster's name: `failover_host`, `freeze`, `thaw`.
    ///
    /// # Errors
    /// It refused.
    pub fn call(&self, action: &str, backend: Option<&str>) -> anyhow::Result<()> {
        let clients = &self.zone.clients;
        let bin = clients
            .cinder
            .parent()
            .context("a program lies in a folder")?;
        let output = std::process::Command::new(bin.join("python3"))
            .args(["-c", CALL, &clients.admin.cloud, action, &self.name()])
            .args(backend)
            .env("OS_CLIENT_CONFIG_FILE", &clients.clouds_yaml)
            .output()
            .context("calling Cinder's API")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{action}: {said}");
        Ok(())
    }

    /// `cinder failover-host` home, by a member's name, until it is not refused any more.
    ///
    /// # Errors
    /// The API refuses, or it has no end.
    pub async fn fail_back(&self, by: Of) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let host = self.host(by);
            self.zone
                .cinder(&["failover-host", &host, "--backend_id", "default"])?;
            let ended = until("the failback's end", SOON, async || -> Look<Service> {
                let row = self.shown().map_err(|e| format!("{e:#}"))?;
                if row.replication == "failing-over" {
                    return Err(format!("{row:?}"));
                }
                Ok(row)
            })
            .await?;
            if ended.replication == "enabled" {
                return Ok(());
            }
            ensure!(begun.elapsed() < HOME, "the way home stays shut: {ended:?}");
        }
    }
}
