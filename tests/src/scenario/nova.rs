//! A zone's real Nova, and guests that boot from replicated volumes there.
//!
//! Guests run without KVM: each start is a quarter of a minute, and on a busy machine a whole one.

use super::{
    CinderZone, Cloud, Group, config,
    group::{retried, zone},
    wait::{Look, until},
};
use anyhow::{Context, ensure};
use rekindle_cli::demo::ready::{self, Addresses};
use rekindle_common::{ImageSpec, ServerKey, policy::GroupPolicy, runbook::Runbook};
use rekindle_lab::{GuestConsole, GuestDisk, GuestRecord, Guests, Site};
use rekindle_orchestrator::wire::ServerView;
use serde_json::Value;
use std::{net::IpAddr, time::Duration};

/// What a slow machine may take to boot a guest, or to build one.
pub const BOOT: Duration = Duration::from_secs(300);
/// For what Nova does at once.
const SOON: Duration = Duration::from_secs(120);

/// One zone's.
#[derive(Debug)]
pub struct NovaZone<'a> {
    cloud: &'a Cloud,
    /// Which.
    pub site: Site,
    guests: Guests,
}

/// A server that its users built, with one volume.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its name in the runbook.
    pub key: ServerKey,
    /// Its id in the zone where it was built.
    pub server: String,
    /// Its volume there.
    pub volume: String,
    /// The host part of its address, in both zones.
    pub host: u8,
}

impl Cloud {
    /// A zone's Nova.
    ///
    /// # Errors
    /// The lab has none, or it does not answer.
    pub fn nova(&self, site: Site) -> anyhow::Result<NovaZone<'_>> {
        Ok(NovaZone {
            cloud: self,
            site,
            guests: self.lab.guests(site)?,
        })
    }
}

/// Its servers and ports go first: volumes that a server has stay.
impl Drop for NovaZone<'_> {
    fn drop(&mut self) {
        // Nobody may build again what is about to go.
        self.cloud.end_catalogue();
        if let Err(e) = clear(self.cloud, self.site) {
            tracing::warn!(zone = %self.site, error = format!("{e:#}"), "servers may be left");
        }
    }
}

/// Has all servers and ports of a zone gone: also what an earlier scenario left.
pub(super) fn clear(cloud: &Cloud, site: Site) -> anyhow::Result<()> {
    cloud.lab.nova(site)?.delete_servers()?;
    Ok(cloud.lab.guests(site)?.delete_ports()?)
}

impl NovaZone<'_> {
    /// What Nova shows of a server to an administrator.
    ///
    /// # Errors
    /// It does not answer, or has none of that id.
    pub fn show(&self, server: &str) -> anyhow::Result<Value> {
        Ok(self.guests.show(server)?)
    }

    /// The address that a guest with that host part has in this zone.
    #[must_use]
    pub fn address(&self, host: u8) -> IpAddr {
        self.guests.address(host)
    }

    /// Boots a guest from a new volume of that type, as a user does, with a port at that address. It answers when this ends.
    ///
    /// # Errors
    /// Cinder, Neutron or Nova refuse, or it does not get so far.
    pub async fn boot(
        &self,
        zone: &CinderZone<'_>,
        key: &str,
        of_type: &str,
        host: u8,
    ) -> anyhow::Result<Guest> {
        let volume = zone.made(&self.guests.make_volume(&format!("{key}-root"), of_type)?)?;
        zone.wait(&volume, &[("status", "available")]).await?;
        let port = self.guests.make_port(host)?;
        let server = self.guests.make_server(key, &volume, &port)?;
        let guest = Guest {
            key: key.parse()?,
            server,
            volume,
            host,
        };
        self.wait_answer(&guest).await?;
        Ok(guest)
    }

    /// Makes an empty volume of that type and name, and gives it to a guest: as a device of which it takes no notice.
    ///
    /// # Errors
    /// Cinder or Nova refuses, or it does not get so far.
    pub async fn add_disk(
        &self,
        zone: &CinderZone<'_>,
        guest: &Guest,
        name: &str,
        of_type: &str,
    ) -> anyhow::Result<String> {
        let volume = zone.made(&self.guests.make_data_volume(name, of_type)?)?;
        zone.wait(&volume, &[("status", "available")]).await?;
        self.guests.attach(&guest.server, &volume)?;
        zone.wait(&volume, &[("status", "in-use")]).await?;
        Ok(volume)
    }

    /// Takes a volume from a guest again.
    ///
    /// # Errors
    /// Nova refuses, or does not let go of it.
    pub async fn take_disk(
        &self,
        zone: &CinderZone<'_>,
        guest: &Guest,
        volume: &str,
    ) -> anyhow::Result<()> {
        self.guests.detach(&guest.server, volume)?;
        zone.wait(volume, &[("status", "available")]).await?;
        Ok(())
    }

    /// A server's disks in the order of their devices: the device's name, and the volume's.
    ///
    /// # Errors
    /// Nova or Cinder does not answer.
    pub fn disks(&self, server: &str) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.guests.disks(server)?)
    }

    /// Waits until a guest answers at its address in this zone.
    ///
    /// # Errors
    /// It does not, in five minutes.
    pub async fn wait_answer(&self, guest: &Guest) -> anyhow::Result<GuestRecord> {
        let address = self.address(guest.host);
        let what = format!("{} to answer at {address} in {}", guest.key, self.site);
        until(&what, BOOT, async || -> Look<GuestRecord> {
            ready::ask(address).map_err(|e| e.to_string())
        })
        .await
    }

    /// A guest's newest record.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, guest: &Guest) -> anyhow::Result<GuestRecord> {
        Ok(ready::ask(self.address(guest.host))?)
    }

    /// What a server's newest start said on its console, also where that is over.
    ///
    /// # Errors
    /// It never said anything.
    pub fn console(&self, server: &str) -> anyhow::Result<GuestConsole> {
        let path = self.cloud.lab.nova(self.site)?.console_log(server);
        let said = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(GuestConsole::read(&String::from_utf8_lossy(&said)))
    }

    /// Waits until a server is off, and locked by us with a reason.
    ///
    /// # Errors
    /// It is not, in two minutes.
    pub async fn wait_held(&self, server: &str) -> anyhow::Result<Value> {
        let what = format!("{server} of {} to be stopped and locked", self.site);
        until(&what, SOON, async || -> Look<Value> {
            let shown = self.show(server).map_err(|e| format!("{e:#}"))?;
            let reason = shown["locked_reason"].as_str().unwrap_or_default();
            let rests = shown["status"] == "SHUTOFF" && shown["OS-EXT-STS:task_state"].is_null();
            if rests && shown["locked"] == true && reason.starts_with("rekindle: ") {
                return Ok(shown);
            }
            let words = ["status", "OS-EXT-STS:task_state", "locked", "locked_reason"];
            Err(words.map(|w| shown[w].to_string()).join(" "))
        })
        .await
    }

    /// Where nova-compute's log ends now: what stands after it was said later.
    ///
    /// # Errors
    /// There is no log.
    pub fn log_end(&self) -> anyhow::Result<usize> {
        Ok(self.log()?.len())
    }

    fn log(&self) -> anyhow::Result<String> {
        let logs = self.cloud.lab.root().join("log").join(self.site.name());
        let path = logs.join("nova-compute.log");
        let said = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Waits until nova-compute has said, after that place in its log, that it started this server by itself as its host came up,
    /// and that it runs.
    ///
    /// # Errors
    /// It has not, in two minutes.
    pub async fn wait_started_by_its_hypervisor(
        &self,
        server: &str,
        since: usize,
    ) -> anyhow::Result<()> {
        let what = format!("{server} to be started by the hypervisor of {}", self.site);
        let about = format!("[instance: {server}]");
        until(&what, SOON, async || -> Look<()> {
            let log = self.log().map_err(|e| format!("{e:#}"))?;
            // A log that is shorter was begun anew.
            let new = log.get(since..).unwrap_or(&log);
            let lines: Vec<&str> = new.lines().filter(|l| l.contains(&about)).collect();
            let said = |words: &str| lines.iter().any(|l| l.contains(words));
            if said("Rebooting instance after nova-compute restart")
                && said("Instance rebooted successfully")
            {
                Ok(())
            } else {
                Err(format!("{lines:#?}"))
            }
        })
        .await
    }

    /// Waits until there is no server of that id.
    ///
    /// # Errors
    /// There is, after two minutes.
    pub async fn wait_gone(&self, server: &str) -> anyhow::Result<()> {
        until(
            &format!("{server} to be gone"),
            SOON,
            async || -> Look<()> {
                match self.show(server) {
                    Ok(shown) => Err(shown["status"].to_string()),
                    Err(e) if format!("{e:#}").contains("404") => Ok(()),
                    Err(e) => Err(format!("{e:#}")),
                }
            },
        )
        .await
    }
}

impl Cloud {
    /// What a runbook waits for: that a server answers at its address in each zone. Says where that is.
    ///
    /// # Errors
    /// The lab's folder cannot be written to.
    pub fn tell_addresses(&self, zones: [&NovaZone<'_>; 2], guest: &Guest) -> anyhow::Result<()> {
        let path = config::addresses(&self.lab, self.name());
        let mut all = Addresses::load(&path)?;
        for zone in zones {
            all.add(
                zone.site.name(),
                guest.key.as_str(),
                zone.address(guest.host),
            );
        }
        Ok(all.save(&path)?)
    }

    /// All that a guest ever wrote to its disk, as a client of that zone reads it.
    ///
    /// # Errors
    /// librbd's; or something is wrong with what it reads.
    pub async fn guest_disk(
        &self,
        site: Site,
        volume: &ImageSpec,
    ) -> anyhow::Result<Vec<GuestRecord>> {
        use rekindle_cli::demo::rbd;
        let (zone, volume) = (self.lab.zone(site)?, volume.clone());
        let disk = tokio::task::spawn_blocking(move || -> anyhow::Result<GuestDisk> {
            let cluster = rbd::connect(&zone.ceph_conf, zone.client_id)?;
            rbd::read_guest(&cluster, &volume)
                .with_context(|| format!("reading {volume} in {site}"))
        })
        .await??;
        ensure!(disk.faults.is_empty(), "{:?}", disk.faults);
        Ok(disk.records)
    }
}

impl Group<'_> {
    /// Gives the group a runbook.
    ///
    /// # Errors
    /// The orchestrators refuse it.
    pub async fn set_runbook(&self, runbook: &Runbook) -> anyhow::Result<()> {
        let mut spec = self.status().await.map_err(anyhow::Error::msg)?.spec;
        spec.runbook = runbook.clone();
        retried("the group's runbook", async || {
            self.cloud().orchestrators().put_group(&spec).await
        })
        .await?;
        Ok(())
    }

    /// Changes the group's policy.
    ///
    /// # Errors
    /// The orchestrators refuse it.
    pub async fn set_policy(&self, change: impl FnOnce(&mut GroupPolicy)) -> anyhow::Result<()> {
        let mut spec = self.status().await.map_err(anyhow::Error::msg)?.spec;
        change(&mut spec.policy);
        retried("the group's policy", async || {
            self.cloud().orchestrators().put_group(&spec).await
        })
        .await?;
        Ok(())
    }

    /// What the orchestrators see of one of its servers, as of the leader's last round.
    ///
    /// # Errors
    /// As a look: no leader answers, or it is not among them.
    pub async fn server(&self, key: &ServerKey) -> Look<ServerView> {
        let all = self.cloud().orchestrators().servers().await;
        let all = all.map_err(|e| e.to_string())?.servers;
        let found = all
            .into_iter()
            .find(|s| s.group == self.name && s.key == *key);
        found.ok_or_else(|| format!("{key} is not among the servers"))
    }

    /// Waits until a server serves in that zone, and one stands by for it in the other, off, with nothing in the way.
    ///
    /// # Errors
    /// It is not so, in five minutes: a stand-by is built in them.
    pub async fn wait_stand_by(&self, key: &ServerKey, serves: Site) -> anyhow::Result<ServerView> {
        self.wait_stands_by(key, serves, "SHUTOFF").await
    }

    /// The same for one that rests as that word of Nova's says.
    ///
    /// # Errors
    /// As [`Self::wait_stand_by`].
    pub async fn wait_stands_by(
        &self,
        key: &ServerKey,
        serves: Site,
        word: &str,
    ) -> anyhow::Result<ServerView> {
        let what = format!("{key} to serve in {serves}, and one to stand by for it, {word}");
        let zone = zone(serves)?;
        until(&what, BOOT, async || {
            let view = self.server(key).await?;
            let here = view.primary.as_ref() == Some(&zone);
            let runs = view.serving.as_deref() == Some("running");
            let rests = view.stands_by.as_deref().is_some_and(|s| s.contains(word));
            if here && runs && rests && view.trouble.is_none() {
                Ok(view)
            } else {
                Err(format!("{view:?}"))
            }
        })
        .await
    }
}
