//! Which volume of one zone is which of the other, for what follows servers and builds them: as of the last round.
//!
//! While one zone does not answer, the other's records say what they were: each carries the id of its counterpart (`rekindle:peer`), and that
//! stands for as long as nobody corrects it. So a server of a zone that is lost can be built from its record.

use jiff::Timestamp;
use rekindle_common::{ImageSpec, ZoneName};
use rekindle_core::{
    catalogue::{ZoneSight, words},
    servers::Counterpart,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// Both zones' volumes by their images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeMap {
    /// When it was so.
    pub at: Timestamp,
    /// Each zone's volumes on our backends, by id; a zone whose Cinder was not seen is not among them.
    pub zones: BTreeMap<ZoneName, BTreeMap<String, Mapped>>,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its image.
    pub image: ImageSpec,
    /// The other zone's record of it, as it is shown: `ZONE/ID`.
    pub peer: Option<String>,
}

/// Where the last map is told. Clones are the same one.
#[derive(Debug, Clone)]
pub struct VolumeFeed(watch::Sender<Option<Arc<VolumeMap>>>);

impl Default for VolumeFeed {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl VolumeFeed {
    /// Tells it; `None`: another site leads now, and knows better.
    pub fn tell(&self, map: Option<VolumeMap>) {
        self.0.send_replace(map.map(Arc::new));
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> Option<Arc<VolumeMap>> {
        self.0.borrow().clone()
    }
}

impl VolumeMap {
    /// Of a look at both zones.
    #[must_use]
    pub fn of(at: Timestamp, sights: &[ZoneSight]) -> Self {
        let zones = sights.iter().filter_map(|s| {
            let all = s.records.as_ref()?.volumes.iter();
            let volumes = all.map(|(id, v)| {
                let mapped = Mapped {
                    image: v.image.clone(),
                    peer: v.metadata.get(words::PEER).cloned(),
                };
                (id.clone(), mapped)
            });
            Some((s.zone.clone(), volumes.collect()))
        });
        Self {
            at,
            zones: zones.collect(),
        }
    }

    /// The image of a volume.
    ///
    /// # Errors
    /// That zone's Cinder was not seen.
    pub fn image(&self, zone: &ZoneName, volume: &str) -> Result<Option<&ImageSpec>, Unseen> {
        let all = self.zones.get(zone).ok_or(Unseen)?;
        Ok(all.get(volume).map(|m| &m.image))
    }

    /// What a volume is in another zone; none: it is not known now.
    #[must_use]
    pub fn counterpart(&self, from: &ZoneName, volume: &str, to: &ZoneName) -> Option<Counterpart> {
        let theirs = self.zones.get(to)?;
        let found = |mut fits: Box<dyn FnMut(&Mapped) -> bool + '_>| {
            let there = theirs.iter().find(|(_, m)| fits(m));
            there.map(|(id, _)| Counterpart::Volume(id.clone()))
        };
        let Some(ours) = self.zones.get(from) else {
            let peer = format!("{from}/{volume}");
            return found(Box::new(move |m| m.peer.as_ref() == Some(&peer)));
        };
        // One that is on none of our backends is replicated by nobody.
        let Some(own) = ours.get(volume) else {
            return Some(Counterpart::Absent);
        };
        let there = found(Box::new(|m| m.image == own.image));
        Some(there.unwrap_or(Counterpart::Absent))
    }
}

/// A zone's Cinder was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen;

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> ZoneName {
        ZoneName::new(name).unwrap()
    }

    /// Id, image, peer.
    type Row = (&'static str, &'static str, &'static str);

    fn map(zones: &[(&str, &[Row])]) -> VolumeMap {
        let volumes = |all: &[Row]| {
            let one = |(id, image, peer): &Row| {
                let mapped = Mapped {
                    image: ImageSpec::new("volumes", *image).unwrap(),
                    peer: (!peer.is_empty()).then(|| (*peer).to_owned()),
                };
                ((*id).to_owned(), mapped)
            };
            all.iter().map(one).collect()
        };
        VolumeMap {
            at: Timestamp::UNIX_EPOCH,
            zones: zones
                .iter()
                .map(|(z, all)| (zone(z), volumes(all)))
                .collect(),
        }
    }

    #[test]
    fn a_volume_is_what_has_its_image_and_of_a_silent_zone_what_says_so() {
        let b: &[Row] = &[("b1", "volume-1", "zone-a/a1"), ("b9", "volume-9", "")];
        let both = map(&[
            ("zone-a", &[("a1", "volume-1", ""), ("a2", "volume-2", "")]),
            ("zone-b", b),
        ]);
        let ask = |m: &VolumeMap, v: &str| m.counterpart(&zone("zone-a"), v, &zone("zone-b"));
        assert_eq!(ask(&both, "a1"), Some(Counterpart::Volume("b1".to_owned())));
        for alone in ["a2", "elsewhere"] {
            assert_eq!(ask(&both, alone), Some(Counterpart::Absent), "{alone}");
        }
        let lost = map(&[("zone-b", b)]);
        assert_eq!(ask(&lost, "a1"), Some(Counterpart::Volume("b1".to_owned())));
        assert_eq!(ask(&lost, "a2"), None, "nobody says that there is none");
        assert_eq!(ask(&map(&[("zone-a", &[])]), "a1"), None);
    }
}
