//! Whether a server's volumes were promoted: on one that was not, nothing is started.
//!
//! A server's record names its disks by their ids in its zone's Cinder; what Cinder said of each image stands with the image.

use super::{Result, not_helped};
use crate::steps::Context;
use rekindle_common::{
    ImageSpec, ZoneName,
    servers::ServerRecord,
    volume::{Role, VolumeReport},
};
use std::collections::{BTreeMap, BTreeSet};

/// Volumes of the group that are not primary in the zone.
pub(super) struct Unpromoted {
    zone: ZoneName,
    which: BTreeSet<ImageSpec>,
    /// The images of the zone's volumes, by whose Cinder's id.
    images: BTreeMap<(ZoneName, String), ImageSpec>,
    /// By the name that Cinder gives to an image.
    names: BTreeMap<String, ImageSpec>,
}

/// Those that the plan could not help and that are not primary by now; `None` where there are none. Asked of the zone only where there may be.
pub(super) async fn unpromoted(ctx: &Context<'_>, zone: &ZoneName) -> Result<Option<Unpromoted>> {
    let suspects = not_helped(ctx);
    if suspects.is_empty() {
        return Ok(None);
    }
    Ok(Unpromoted::of(zone, suspects, &ctx.look(zone).await?))
}

impl Unpromoted {
    fn of(
        zone: &ZoneName,
        suspects: BTreeSet<ImageSpec>,
        seen: &BTreeMap<ImageSpec, VolumeReport>,
    ) -> Option<Self> {
        let serves = |v: &ImageSpec| seen.get(v).is_some_and(|r| r.role == Role::Primary);
        let mut names = BTreeMap::new();
        for v in seen.keys().chain(&suspects) {
            names.insert(v.image().to_owned(), v.clone());
        }
        let which: BTreeSet<_> = suspects.into_iter().filter(|v| !serves(v)).collect();
        let facts = seen.values().filter_map(|r| {
            let facts = r.cinder.as_ref()?;
            Some(((facts.zone.clone(), facts.id.clone()), r.volume.clone()))
        });
        (!which.is_empty()).then(|| Self {
            zone: zone.clone(),
            which,
            images: facts.collect(),
            names,
        })
    }

    /// Why a server of that record cannot be started; `None` where all of its volumes serve.
    pub(super) fn against(&self, record: Option<&ServerRecord>) -> Option<String> {
        let Some(record) = record else {
            return Some(format!(
                "not started: nothing is kept of it, and {} volumes were not promoted in {}: any of them may be its",
                self.which.len(),
                self.zone
            ));
        };
        record.disks.iter().find_map(|d| {
            let id = &d.volume.id;
            let by_facts = self.images.get(&(record.zone.clone(), id.clone()));
            match by_facts.or_else(|| self.names.get(&format!("volume-{id}"))) {
                Some(image) if self.which.contains(image) => Some(format!(
                    "not started: its volume {image} was not promoted in {}",
                    self.zone
                )),
                Some(_) => None,
                None => Some(format!(
                    "not started: no image of its volume {id} is known in {}, and {} volumes were not promoted there",
                    self.zone,
                    self.which.len()
                )),
            }
        })
    }
}

#[cfg(test)]
mod tests;
