//! What a volume's role means for the server that has it. Pure.

use super::One;
use crate::servers::control::Seen;
use rekindle_common::{
    GroupName, ImageSpec, ZoneName,
    volume::{Role, VolumeReport},
};
use std::collections::{BTreeMap, BTreeSet};

/// A zone's list of volumes, by what records call them.
pub(super) struct Index {
    reports: BTreeMap<ImageSpec, VolumeReport>,
    /// By whose Cinder's id.
    ids: BTreeMap<(ZoneName, String), ImageSpec>,
    /// By the name that Cinder gives to an image.
    names: BTreeMap<String, ImageSpec>,
}

impl Index {
    /// Of a list, and of images that may be missing in it.
    pub(super) fn of(reports: Vec<VolumeReport>, more: &BTreeSet<ImageSpec>) -> Self {
        let facts = reports.iter().filter_map(|r| {
            let facts = r.cinder.as_ref()?;
            Some(((facts.zone.clone(), facts.id.clone()), r.volume.clone()))
        });
        let ids = facts.collect();
        let listed = reports.iter().map(|r| &r.volume);
        let names = listed
            .chain(more)
            .map(|v| (v.image().to_owned(), v.clone()));
        let names = names.collect();
        let reports = reports.into_iter().map(|r| (r.volume.clone(), r));
        Self {
            reports: reports.collect(),
            ids,
            names,
        }
    }

    /// The image of a volume of that zone's Cinder.
    pub(super) fn find(&self, zone: &ZoneName, id: &str) -> Option<&ImageSpec> {
        let by_id = self.ids.get(&(zone.clone(), id.to_owned()));
        by_id.or_else(|| self.names.get(&format!("volume-{id}")))
    }

    pub(super) fn report(&self, image: &ImageSpec) -> Option<&VolumeReport> {
        self.reports.get(image)
    }
}

/// Where it is asked, and what is known beforehand.
pub(super) struct Rules {
    pub(super) zone: ZoneName,
    pub(super) group: GroupName,
    /// Volumes that the plan could not help.
    pub(super) not_helped: BTreeSet<ImageSpec>,
}

impl Rules {
    /// Nothing is kept of the server: its disks are not known.
    pub(super) fn no_record(&self, ours: &Index) -> Option<One> {
        let left = self.left(ours);
        (left > 0).then(|| {
            One::Failed(format!(
                "not started: nothing is kept of it, and {left} volumes were not promoted in {}: any of them may be its",
                self.zone
            ))
        })
    }

    /// No image of that disk is known: nobody replicates it. Where some were not promoted it may be one of them.
    pub(super) fn no_image(&self, id: &str, ours: &Index) -> Option<One> {
        let left = self.left(ours);
        (left > 0).then(|| {
            One::Failed(format!(
                "not started: no image of its volume {id} is known in {}, and {left} volumes were not promoted there",
                self.zone
            ))
        })
    }

    /// The server that is there was built before its record got these disks, or its users took them off here.
    pub(super) fn lacking(&self, seen: &Seen, lacks: &[String]) -> One {
        let (zone, group, id) = (&self.zone, &self.group, &seen.id);
        One::Failed(format!(
            "not started: in {zone} it lacks volumes that it has by its record: {} (its volumes there: {}). Attach them there (`openstack server add volume {id} VOLUME`); then \
             `rekindle group resume {group}` starts it",
            lacks.join(", "),
            seen.volumes.join(", ")
        ))
    }

    /// How many the plan could not help that are not primary by now.
    fn left(&self, ours: &Index) -> usize {
        let serves = |v: &&ImageSpec| ours.report(v).is_some_and(|r| r.role == Role::Primary);
        let not_helped = self.not_helped.iter();
        not_helped.filter(|v| !serves(v)).count()
    }

    pub(super) fn not_known(&self, why: &str) -> String {
        format!("the volumes in {} are not known: {why}", self.zone)
    }

    /// The sidecar's word on an image, as it was just asked; `None`: it has none of that name.
    pub(super) fn word(
        &self,
        image: &ImageSpec,
        now: Result<Option<&VolumeReport>, &String>,
    ) -> Option<One> {
        let zone = &self.zone;
        let role = match now {
            Ok(report) => report.map(|r| r.role),
            Err(why) => return Some(One::NotNow(self.not_known(why))),
        };
        match role {
            Some(Role::Primary) => None,
            Some(Role::Secondary | Role::NotMirrored | Role::Unknown) | None
                if self.not_helped.contains(image) =>
            {
                Some(One::Failed(format!(
                    "not started: its volume {image} was not promoted in {zone}"
                )))
            }
            // It has no other side that could be the one that is written to.
            Some(Role::NotMirrored) | None => None,
            Some(Role::Unknown) => {
                let why = format!("{image} does not answer");
                Some(One::NotNow(self.not_known(&why)))
            }
            Some(Role::Secondary) => {
                let group = now.ok().flatten().and_then(|r| r.group.as_ref());
                Some(self.copy(image, group))
            }
        }
    }

    /// The volume is a copy, and the plan has promoted all of its own.
    fn copy(&self, image: &ImageSpec, of: Option<&GroupName>) -> One {
        let (zone, group) = (&self.zone, &self.group);
        match of {
            None => One::Failed(format!(
                "not started: its volume {image} is a copy in {zone} and in no group, so nobody has promoted it. Promote it there (`rekindle volume promote {image} --zone {zone}`, with \
                 --force and a reason where the other zone is lost), then `rekindle group resume {group}`; and put it into the group, so that it goes with the server"
            )),
            Some(of) if of == group => One::Failed(format!(
                "not started: its volume {image} is a copy in {zone}; it is in the group and not in this plan. `rekindle group resume {group}` promotes it and starts the server"
            )),
            // Where a whole zone is lost the other group fails over at the same time.
            Some(of) => One::Waits(format!(
                "not started: its volume {image} is a copy in {zone}, of the group {of}: that group has to serve there too. Then `rekindle group resume {group}` starts the server; and put its \
                 volumes into one group, so that they go with it"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
