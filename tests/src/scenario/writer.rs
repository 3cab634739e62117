//! An application inside a zone that writes numbered, timed, checksummed records, and what it was told.

use super::{cloud::Cloud, group::Group, wait::until};
use anyhow::Context;
use rekindle_cli::demo::{ledger::Ack, rbd, record::Contents};
use rekindle_common::{Generation, ImageSpec, Timestamp};
use rekindle_lab::{OnStart, Site, Spawn};
use std::time::Duration;

/// A writer in a zone.
#[derive(Debug)]
pub struct Writer<'c> {
    cloud: &'c Cloud,
    site: Site,
    name: String,
    generation: Generation,
    volumes: Vec<ImageSpec>,
}

/// What the writer says when an image takes no more writes.
const REFUSED: &str = "the volume takes no more writes";

impl<'c> Writer<'c> {
    /// Starts one, on all volumes of a group. It goes on where each volume ends, and writes under a generation. Killed with its
    /// zone, it does not come back with it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        group: &Group<'c>,
        site: Site,
        generation: Generation,
    ) -> anyhow::Result<Writer<'c>> {
        let cloud = group.cloud();
        let zone = cloud.lab.zone(site)?;
        let name = format!("writer-{}", cloud.next());
        let volumes: Vec<ImageSpec> = group.specs().cloned().collect();
        let spawn = Spawn::new(cloud.programs().rekindle())
            .args([
                "demo-writer",
                "--client-id",
                zone.client_id,
                "--every",
                "50ms",
            ])
            .args([
                "--ceph-conf".to_owned(),
                zone.ceph_conf.display().to_string(),
            ])
            .args([
                "--ledger".to_owned(),
                cloud.ledger().dir().display().to_string(),
            ])
            .args(["--generation".to_owned(), generation.to_string()])
            .args(volumes.iter().map(ToString::to_string))
            .env("NO_COLOR", "1")
            .log(cloud.log(site, &name))
            .on_start(OnStart::Leave);
        cloud.lab.spawn(site, &name, &spawn)?;
        Ok(Writer {
            cloud,
            site,
            name,
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
            for v in &self.volumes {
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
        for v in &self.volumes {
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
        for v in &self.volumes {
            newest = newest.max(self.acks(v)?.last().map(|a| a.acked_us));
        }
        let us = newest.context("nothing was ever acknowledged")?;
        Ok(Timestamp::from_microsecond(us)?)
    }

    fn log(&self) -> String {
        let path = self.cloud.log(self.site, &self.name);
        std::fs::read_to_string(path).unwrap_or_default()
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

    /// Ends it in order: what is in flight is acknowledged, the images' locks are given back.
    ///
    /// # Errors
    /// It would not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        Ok(self.cloud.lab.stop_service(self.site, &self.name)?)
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
