//! Whether a server's volumes can be written in the zone where it is to start: on one that cannot, nothing is started.
//!
//! ```text
//!   its disks    by its record, and as Nova shows the server that is there
//!   -> images    by what Cinder said of each image, by the catalogue, by the image's name; none: nobody replicates it, and it is in no way
//!   -> roles     primary, or not mirrored: well.   A copy: the server is named.   Not known: it waits
//! ```
//!
//! Not the plan's volumes alone: a disk that stands in no group, or in another one, is promoted by nobody here, and Nova starts a server on
//! a copy all the same and says `ACTIVE`.
//!
//! And whether a server that is there has them all: a stand-by follows the server, and one that could not be built anew in time lacks what was
//! attached since. Nova would start it without.

mod rules;

use super::{One, Result, not_helped};
use crate::{servers::control::Seen, steps::Context};
use rekindle_common::{
    ErrorCode, ImageSpec, ZoneName,
    servers::ServerRecord,
    volume::{Role, VolumeReport},
};
use rekindle_core::servers::Counterpart;
use rules::{Index, Rules};
use std::collections::BTreeSet;
use tokio::sync::OnceCell;

/// The most replicated volumes of a zone that are looked through for a disk that is not its group's.
const MOST: usize = 50_000;

/// The zone's volumes as one pass needs them: each list is asked for once, and only where it is needed.
pub(super) struct Volumes<'a> {
    ctx: &'a Context<'a>,
    rules: Rules,
    /// The group's.
    ours: OnceCell<Asked>,
    /// All that are replicated there.
    all: OnceCell<Asked>,
}

/// A list, or why there is none.
type Asked = std::result::Result<Index, String>;

impl<'a> Volumes<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(ctx: &'a Context<'a>, zone: &ZoneName) -> Self {
        Self {
            ctx,
            rules: Rules {
                zone: zone.clone(),
                group: ctx.plan.group.clone(),
                not_helped: not_helped(ctx),
            },
            ours: OnceCell::new(),
            all: OnceCell::new(),
        }
    }

    /// What keeps a server of that record from being started; `None` where nothing does.
    ///
    /// # Errors
    /// [`super::StepError`]: the zone is not in this orchestrator's configuration.
    pub(super) async fn against(&self, record: Option<&ServerRecord>) -> Result<Option<One>> {
        let Some(record) = record else {
            // Which disks it has is told by Nova alone; any of what was not promoted may be among them.
            if self.rules.not_helped.is_empty() {
                return Ok(None);
            }
            return Ok(match self.ours().await? {
                Ok(ours) => self.rules.no_record(ours),
                Err(why) => Some(One::NotNow(why.clone())),
            });
        };
        let disks = record.disks.iter().map(|d| d.volume.id.as_str());
        self.against_disks(&record.zone, disks).await
    }

    /// The same for what Nova shows in this zone: it may have a disk that its record does not know.
    ///
    /// # Errors
    /// As [`Self::against`].
    pub(super) async fn against_seen(&self, seen: &Seen) -> Result<Option<One>> {
        let disks = seen.volumes.iter().map(String::as_str);
        self.against_disks(&self.rules.zone, disks).await
    }

    /// What keeps a server that is off from being started: that it lacks a replicated disk which its record of the other zone has. That it has more is in
    /// no way: its users may have attached others here. A record of this zone knows nothing that Nova does not show better.
    ///
    /// # Errors
    /// As [`Self::against`].
    pub(super) async fn lacking(
        &self,
        record: Option<&ServerRecord>,
        seen: &Seen,
    ) -> Result<Option<One>> {
        let here = &self.rules.zone;
        let Some(record) = record.filter(|r| r.zone != *here) else {
            return Ok(None);
        };
        // Nova shows none: what it has is not known.
        if seen.volumes.is_empty() {
            return Ok(None);
        }
        let mut has = BTreeSet::new();
        let mut unknown = 0;
        for id in &seen.volumes {
            match self.replicated(here, id).await? {
                Err(why) => return Ok(Some(One::NotNow(why))),
                Ok(Some(image)) => {
                    has.insert(image);
                }
                Ok(None) if self.is_known(id) => {}
                Ok(None) => unknown += 1,
            }
        }
        let mut lacks = BTreeSet::new();
        for disk in &record.disks {
            match self.replicated(&record.zone, &disk.volume.id).await? {
                Err(why) => return Ok(Some(One::NotNow(why))),
                Ok(Some(image)) if !has.contains(&image) => {
                    lacks.insert(image);
                }
                Ok(_) => {}
            }
        }
        // Each of what is not known may be one of them.
        if lacks.len() <= unknown {
            return Ok(None);
        }
        let lacks: Vec<String> = lacks.iter().map(|image| self.named(image)).collect();
        Ok(Some(self.rules.lacking(seen, &lacks)))
    }

    /// The image of a volume, where it is one that is replicated here; why that cannot be told.
    async fn replicated(
        &self,
        zone: &ZoneName,
        id: &str,
    ) -> Result<std::result::Result<Option<ImageSpec>, String>> {
        let by_catalogue = self.by_catalogue(zone, id);
        let among = |list: &Index| {
            let found = list.find(zone, id).or(by_catalogue.as_ref());
            found.filter(|i| list.report(i).is_some()).cloned()
        };
        let in_group = match self.ours().await? {
            Ok(ours) => among(ours),
            Err(why) => return Ok(Err(why.clone())),
        };
        if in_group.is_some() {
            return Ok(Ok(in_group));
        }
        Ok(match self.all().await? {
            Ok(all) => Ok(among(all)),
            Err(why) => Err(why.clone()),
        })
    }

    /// Whether the catalogue knows this zone's volumes: then it knows what that one is.
    fn is_known(&self, id: &str) -> bool {
        let map = self.ctx.tools.volumes.last();
        map.is_some_and(|m| m.image(&self.rules.zone, id).is_ok())
    }

    /// An image with the volume that it is here, where that is known: a person attaches it by that.
    fn named(&self, image: &ImageSpec) -> String {
        let map = self.ctx.tools.volumes.last();
        let here = map.as_ref().and_then(|m| m.zones.get(&self.rules.zone));
        let mut volumes = here.into_iter().flatten();
        match volumes.find(|(_, m)| m.image == *image) {
            Some((id, _)) => format!("{image} (volume {id})"),
            None => image.to_string(),
        }
    }

    async fn against_disks(
        &self,
        zone: &ZoneName,
        disks: impl Iterator<Item = &str>,
    ) -> Result<Option<One>> {
        for id in disks {
            if let Some(one) = self.against_disk(zone, id).await? {
                return Ok(Some(one));
            }
        }
        Ok(None)
    }

    async fn against_disk(&self, zone: &ZoneName, id: &str) -> Result<Option<One>> {
        let ours = match self.ours().await? {
            Ok(ours) => ours,
            Err(why) => return Ok(Some(One::NotNow(why.clone()))),
        };
        if let Some(image) = ours.find(zone, id) {
            return self.of_image(image, ours.report(image)).await;
        }
        if let Some(image) = self.by_catalogue(zone, id) {
            return self.of_image(&image, ours.report(&image)).await;
        }
        let all = match self.all().await? {
            Ok(all) => all,
            Err(why) => return Ok(Some(One::NotNow(why.clone()))),
        };
        match all.find(zone, id) {
            Some(image) => self.of_image(image, all.report(image)).await,
            None => Ok(self.rules.no_image(id, ours)),
        }
    }

    /// A list may be some seconds old: nobody is refused by it alone.
    async fn of_image(
        &self,
        image: &ImageSpec,
        listed: Option<&VolumeReport>,
    ) -> Result<Option<One>> {
        match listed.map(|r| r.role) {
            Some(Role::Primary | Role::NotMirrored) => return Ok(None),
            Some(Role::Secondary | Role::Unknown) | None => {}
        }
        let zone = self.ctx.zone(&self.rules.zone)?;
        let asked = zone.sidecar().volume(image);
        let now = match zone.ask(self.ctx.tools.zone_deadline, asked).await {
            Ok(report) => Ok(Some(report)),
            Err(e) if e.code == ErrorCode::UnknownVolume => Ok(None),
            Err(e) => Err(e.message),
        };
        Ok(self.rules.word(image, now.as_ref().map(Option::as_ref)))
    }

    /// As the catalogue last had it: an image has the name that its first zone's Cinder gave to it, which is not the other's id.
    fn by_catalogue(&self, zone: &ZoneName, id: &str) -> Option<ImageSpec> {
        let map = self.ctx.tools.volumes.last()?;
        if let Ok(found) = map.image(zone, id) {
            return found.cloned();
        }
        let there = &self.rules.zone;
        match map.counterpart(zone, id, there)? {
            Counterpart::Volume(id) => map.image(there, &id).ok().flatten().cloned(),
            Counterpart::Absent => None,
        }
    }

    async fn ours(&self) -> Result<&Asked> {
        let ours = self.ours.get_or_try_init(|| async {
            let zone = self.ctx.zone(&self.rules.zone)?;
            let asked = zone.sidecar().volumes(&self.ctx.plan.group);
            let told = zone.ask(self.ctx.tools.zone_deadline, asked).await;
            Ok(told
                .map(|reports| self.index(reports))
                .map_err(|e| self.rules.not_known(&e.message)))
        });
        ours.await
    }

    async fn all(&self) -> Result<&Asked> {
        let all = self.all.get_or_try_init(|| async {
            let zone = self.ctx.zone(&self.rules.zone)?;
            let asked = zone.sidecar().all(MOST);
            Ok(match zone.ask(self.ctx.tools.zone_deadline, asked).await {
                Ok(list) if list.more => Err(self
                    .rules
                    .not_known(&format!("there are more than {MOST}, and no list has all"))),
                Ok(list) => Ok(self.index(list.volumes)),
                Err(e) => Err(self.rules.not_known(&e.message)),
            })
        });
        all.await
    }

    fn index(&self, reports: Vec<VolumeReport>) -> Index {
        Index::of(reports, &self.rules.not_helped)
    }
}
