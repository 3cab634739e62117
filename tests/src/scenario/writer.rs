//! An application inside a zone that writes numbered, timed, checksummed records, and what it was told.

use super::{cloud::Cloud, group::Group, wait::until};
use anyhow::Context;
use rekindle_cli::demo::{ledger::Ack, rbd, record::Contents};
use rekindle_common::{Generation, ImageSpec, Timestamp};
use rekindle_lab::{OnStart, Site, Spawn};
use std::time::Duration;

/// Writers in a zone, a process for each volume: each is a client of its own, as each server is.
#[derive(Debug)]
pub struct Writer<'c> {
    cloud: &'c Cloud,
    site: Site,
    generation: Generation,
    /// Each volume, and its process.
    volumes: Vec<(ImageSpec, String)>,
}

/// What the writer says when an image takes no more writes.
const REFUSED: &str = "the volume takes no more writes";

impl<'c> Writer<'c> {
    /// Starts one on each volume of a group. They go on where each volume ends, and write under a generation. Killed with their
    /// zone, they do not come back with it.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start(
        group: &Group<'c>,
        site: Site,
        generation: Generation,
    ) -> anyhow::Result<Writer<'c>> {
        let cloud = group.cloud();
        let zone = cloud.lab.zone(site)?;
        let path = |p: &std::path::Path| p.display().to_string();
        let mut volumes = Vec::new();
        for volume in group.specs() {
            let name = format!("writer-{}", cloud.next());
            let spawn = Spawn::new(cloud.programs().rekindle())
                .args(["demo-writer", "--client-id", zone.client_id])
                .args(["--ceph-conf", &path(&zone.ceph_conf)])
                .args(["--ledger", &path(cloud.ledger().dir())])
                .args(["--generation", &generation.to_string()])
                .args(["--every", "50ms"])
                .arg(volume.to_string())
                .env("NO_COLOR", "1")
                .log(cloud.log(site, &name))
                .on_start(OnStart::Leave);
            cloud.lab.spawn(site, &name, &spawn)?;
            volumes.push((volume.clone(), name));
        }
        Ok(Writer {
            cloud,
            site,
            generation,
            volumes,
        })
    }

    /// What was acknowledged on a volume under this writer's generation.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn acks(&self, volume: &ImageSpec) -> anyhow::Result<Vec<Ack>> {
        let mut acks = self.cloud.ledger().read(volume)?;
        acks.retain(|a| a.record.generation == self.generation.0);
        Ok(acks)
    }

    /// Waits until each volume has so many records of this writer's generation.
    ///
    /// # Errors
    /// They do not come in half a minute.
    pub async fn wait_records(&self, count: usize) -> anyhow::Result<()> {
        let what = format!("{count} records on each volume from {}", self.site);
        until(&what, Duration::from_secs(30), async || {
            let mut seen = Vec::new();
            for (v, _) in &self.volumes {
                seen.push(self.acks(v).map_err(|e| e.to_string())?.len());
            }
            if seen.iter().all(|n| *n >= count) {
                Ok(())
            } else {
                Err(format!("{seen:?}; {}", self.last_line()))
            }
        })
        .await
    }

    /// Waits for that many more records on each volume than there are now: it still writes.
    ///
    /// # Errors
    /// They do not come.
    pub async fn wait_more(&self, more: usize) -> anyhow::Result<()> {
        let mut most = 0;
        for (v, _) in &self.volumes {
            most = most.max(self.acks(v)?.len());
        }
        self.wait_records(most + more).await
    }

    /// When the newest record of any volume was acknowledged.
    ///
    /// # Errors
    /// There is none.
    pub fn last_ack(&self) -> anyhow::Result<Timestamp> {
        let mut newest = None;
        for (v, _) in &self.volumes {
            newest = newest.max(self.acks(v)?.last().map(|a| a.acked_us));
        }
        let us = newest.context("nothing was ever acknowledged")?;
        Ok(Timestamp::from_microsecond(us)?)
    }

    fn log(&self) -> String {
        let logs = self.volumes.iter().map(|(_, name)| {
            let path = self.cloud.log(self.site, name);
            std::fs::read_to_string(path).unwrap_or_default()
        });
        logs.collect()
    }
    fn last_line(&self) -> String {
        self.log().lines().last().unwrap_or_default().to_owned()
    }

    /// The lines in which it says, for each volume, that writes are refused: each begins with its time.
    #[must_use]
    pub fn refusals(&self) -> Vec<(Timestamp, String)> {
        self.log()
            .lines()
            .filter(|l| l.contains(REFUSED))
            .filter_map(|l| {
                let at = l.split_whitespace().next()?.parse().ok()?;
                Some((at, l.to_owned()))
            })
            .collect()
    }

    /// Waits until every volume has refused it, with the times and reasons.
    ///
    /// # Errors
    /// One goes on.
    pub async fn wait_refused(&self, within: Duration) -> anyhow::Result<Vec<(Timestamp, String)>> {
        until(
            "the writer to be refused on all volumes",
            within,
            async || {
                let seen = self.refusals();
                if seen.len() == self.volumes.len() {
                    Ok(seen)
                } else {
                    Err(format!("{} of {}", seen.len(), self.volumes.len()))
                }
            },
        )
        .await
    }

    /// Its hosts' power is cut: what is in flight never comes.
    ///
    /// # Errors
    /// It would not die.
    pub fn kill(&self) -> anyhow::Result<()> {
        for (_, name) in &self.volumes {
            self.cloud.lab.kill_service(self.site, name)?;
        }
        Ok(())
    }

    /// Ends it in order: what is in flight is acknowledged, the images' locks are given back.
    ///
    /// # Errors
    /// It would not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        for (_, name) in &self.volumes {
            self.cloud.lab.stop_service(self.site, name)?;
        }
        Ok(())
    }
}

impl Cloud {
    /// All records on a volume as a client of that zone reads them.
    ///
    /// # Errors
    /// librbd's.
    pub async fn read(&self, site: Site, volume: &ImageSpec) -> anyhow::Result<Contents> {
        let (zone, volume) = (self.lab.zone(site)?, volume.clone());
        tokio::task::spawn_blocking(move || {
            let cluster = rbd::connect(&zone.ceph_conf, zone.client_id)?;
            rbd::read(&cluster, &volume).with_context(|| format!("reading {volume} in {site}"))
        })
        .await?
    }
}
