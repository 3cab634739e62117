//! Two zones as the catalogue sees them, and a Cinder that takes its mends as the real one does: it asserts what a real one would refuse.

use crate::catalogue::{
    Change, Images, Mend, Named, Record, Records, SnapshotRecord, Verdict, ZoneSight, decide,
    mapping::{Mapping, Project},
    words,
};
use jiff::Timestamp;
use rekindle_common::{
    ImageSpec, ZoneName,
    deletion::Deletion,
    duration::Span,
    facts::CinderFacts,
    mode::{MirrorImageMode, ReplicationMode},
    status::VolumeStatus,
    volume::{Known, Lag, LastSync, Role, VolumeReport},
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

pub(super) fn zone(z: usize) -> ZoneName {
    ZoneName::new(["zone-a", "zone-b"][z]).unwrap()
}
pub(super) fn uuid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}
pub(super) fn image(n: u32) -> ImageSpec {
    ImageSpec::new("volumes", format!("volume-{}", uuid(n))).unwrap()
}
pub(super) fn time(s: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + s).unwrap()
}

#[derive(Debug, Clone)]
pub(super) struct Image {
    pub role: Role,
    pub status: VolumeStatus,
    pub gib: u64,
    /// Bytes beside: what an encrypted volume's image has.
    pub header: u64,
    pub told: Option<CinderFacts>,
    pub deletion: Option<Deletion>,
    pub snapshots: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Zone {
    pub images: BTreeMap<ImageSpec, Image>,
    pub records: Records,
    pub made: u32,
    pub silent: bool,
    pub partial: bool,
    pub no_cinder: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub zones: [Zone; 2],
    pub unmapped: bool,
}

pub(super) fn record(z: usize, id: &str, name_id: Option<&str>) -> Record {
    Record {
        id: id.to_owned(),
        image: ImageSpec::new("volumes", format!("volume-{}", name_id.unwrap_or(id))).unwrap(),
        name_id: name_id.map(str::to_owned),
        project_id: project(z),
        name: Some("data".to_owned()),
        description: None,
        volume_type: Some(format!("type-{z}")),
        size_gib: 1,
        status: "available".to_owned(),
        attached: false,
        bootable: false,
        metadata: BTreeMap::new(),
        image_metadata: BTreeMap::new(),
        encryption_key_id: None,
        replication_status: Some("enabled".to_owned()),
        created_at: Some(time(0)),
    }
}

pub(super) fn project(z: usize) -> String {
    format!("project-{z}")
}

impl Image {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            status: match role {
                Role::Primary => VolumeStatus::ActivePrimary,
                Role::Secondary => VolumeStatus::ActiveSecondary,
                Role::NotMirrored => VolumeStatus::ErrorNotMirrored,
                Role::Unknown => VolumeStatus::ErrorUnknown,
            },
            gib: 1,
            header: 0,
            told: None,
            deletion: None,
            snapshots: BTreeSet::new(),
        }
    }
}

impl World {
    /// Volume `n`, made by a user in a zone: its record there, and its image in both.
    pub(super) fn with_volume(mut self, z: usize, n: u32) -> Self {
        let made = record(z, &uuid(n), None);
        self.zones[z].records.volumes.insert(made.id.clone(), made);
        self.zones[z]
            .images
            .insert(image(n), Image::new(Role::Primary));
        self.zones[1 - z]
            .images
            .insert(image(n), Image::new(Role::Secondary));
        self
    }

    pub(super) fn mapping(&self) -> Mapping {
        let entry = |a: String, b: String| BTreeMap::from([(zone(A), a), (zone(B), b)]);
        if self.unmapped {
            return Mapping::default();
        }
        Mapping {
            projects: vec![entry(project(A), project(B))],
            types: vec![entry("type-0".to_owned(), "type-1".to_owned())],
            ..Mapping::default()
        }
    }

    pub(super) fn sight(&self, z: usize) -> ZoneSight {
        let here = &self.zones[z];
        let images: BTreeMap<_, _> = here
            .images
            .iter()
            .filter(|(_, i)| i.role != Role::NotMirrored || i.status != VolumeStatus::ErrorOrphan)
            .map(|(spec, i)| (spec.clone(), report(z, spec, i)))
            .collect();
        ZoneSight {
            zone: zone(z),
            images: match (here.silent, here.partial) {
                (true, _) => Images::Silent {
                    held: Span::secs(5),
                },
                (false, true) => Images::Partial(images),
                (false, false) => Images::Whole(images),
            },
            records: (!here.no_cinder).then(|| here.records.clone()),
            projects: Some(vec![Project {
                id: project(z),
                name: "demo".to_owned(),
                domain_id: "default".to_owned(),
                domain: "Default".to_owned(),
            }]),
            hosts: BTreeMap::from([("volumes".to_owned(), format!("host-{z}@ceph#ceph"))]),
            named: BTreeMap::new(),
        }
    }

    /// One look, with what had to be asked by name.
    pub(super) fn decide(&self) -> Verdict {
        let mapping = self.mapping();
        let mut sights = [self.sight(A), self.sight(B)];
        for _ in 0..3 {
            let v = decide(&sights[A], &sights[B], &mapping);
            if v.asks.is_empty() {
                return v;
            }
            for ask in v.asks {
                let z = usize::from(ask.zone == zone(B));
                let answer = self.named(z, &ask.image);
                sights[z].named.insert(ask.image, answer);
            }
        }
        panic!("it asks for ever");
    }

    fn named(&self, z: usize, spec: &ImageSpec) -> Named {
        let here = &self.zones[z];
        match here.images.get(spec) {
            _ if here.silent => Named::Unknown,
            None => Named::NotThere,
            Some(i) if i.status == VolumeStatus::ErrorOrphan => Named::Plain,
            Some(_) => Named::Replicated,
        }
    }

    /// Looks and mends until nothing is left to mend; how many rounds that took.
    pub(super) fn settle(&mut self) -> usize {
        for round in 0..12 {
            let v = self.decide();
            if v.mends.is_empty() {
                return round;
            }
            for mend in &v.mends {
                self.apply(mend);
            }
        }
        panic!("no end to it: {:#?}", self.decide().mends);
    }

    pub(super) fn apply(&mut self, mend: &Mend) {
        let z = usize::from(mend.zone == zone(B));
        let other = 1 - z;
        let here = &mut self.zones[z];
        assert!(
            !here.no_cinder || matches!(mend.change, Change::Describe { .. }),
            "a Cinder that does not answer is written to"
        );
        match &mend.change {
            Change::ImportVolume(new) => {
                let on = here.images.get(&mend.image).unwrap();
                assert!(matches!(on.role, Role::Primary | Role::Secondary));
                assert!(here.records.of(&mend.image).next().is_none(), "it has one");
                assert_eq!(
                    (&new.project, new.host.as_str()),
                    (&project(z), &*format!("host-{z}@ceph#ceph"))
                );
                here.made += 1;
                let id = format!("made-{z}-{}", here.made);
                let name_id = mend.image.image().trim_start_matches("volume-");
                let mut made = record(z, &id, Some(name_id));
                made.name = kept(new.name.as_deref());
                made.description = kept(new.description.as_deref());
                made.volume_type.clone_from(&new.volume_type);
                made.bootable = new.bootable;
                made.metadata.clone_from(&new.metadata);
                made.size_gib = on.gib;
                here.records.volumes.insert(id, made);
            }
            Change::ImportSnapshot(new) => {
                let volume = here.records.volumes.get(&new.volume).unwrap();
                let there = &here.images.get(&volume.image).unwrap().snapshots;
                let status = if there.contains(&new.source_name) {
                    "available"
                } else {
                    "error"
                };
                here.made += 1;
                let id = format!("snap-{z}-{}", here.made);
                let s = SnapshotRecord {
                    id: id.clone(),
                    volume: new.volume.clone(),
                    name: kept(new.name.as_deref()),
                    description: kept(new.description.as_deref()),
                    status: status.to_owned(),
                    metadata: new.metadata.clone(),
                    created_at: Some(time(50)),
                };
                here.records.snapshots.insert(id, s);
            }
            Change::NameSnapshot {
                snapshot,
                name,
                description,
            } => {
                let s = here.records.snapshots.get_mut(snapshot).unwrap();
                s.name = kept(name.as_deref());
                s.description = kept(description.as_deref());
            }
            Change::ForgetSnapshot { snapshot } => {
                let s = here.records.snapshots.remove(snapshot).unwrap();
                assert!(s.made_by_us() && s.is_calm());
            }
            Change::ForgetVolume { volume } => {
                let r = here.records.volumes.remove(volume).unwrap();
                assert!(r.made_by_us() && !r.in_use() && !r.attached);
                assert!(
                    here.records.snapshots_of(volume).next().is_none(),
                    "Cinder refuses that"
                );
                assert!(!here.images.contains_key(&r.image), "its image is there");
                assert!(!here.silent && !here.partial);
                let there = &self.zones[other];
                assert!(!there.silent && !there.partial && !there.no_cinder);
                assert!(
                    there
                        .images
                        .get(&r.image)
                        .is_none_or(|i| i.status == VolumeStatus::ErrorOrphan)
                );
            }
            Change::DropFailedImport { volume } => {
                let r = here.records.volumes.remove(volume).unwrap();
                assert_eq!((r.size_gib, r.status.as_str()), (0, "error"));
                assert!(r.made_by_us());
            }
            Change::Describe { facts } => {
                assert_eq!(Some((**facts).clone()), facts.fitted().ok());
                assert_eq!(
                    here.images.get(&mend.image).unwrap().role,
                    Role::Primary,
                    "a copy takes none"
                );
                for z in &mut self.zones {
                    if let Some(i) = z.images.get_mut(&mend.image) {
                        i.told = Some((**facts).clone());
                    }
                }
            }
            Change::Show { volume, set, clear } => {
                let r = changed(here, volume);
                r.metadata.extend(set.clone());
                r.metadata.retain(|k, _| !clear.contains(k));
            }
            Change::Name {
                volume,
                name,
                description,
            } => {
                let r = changed(here, volume);
                r.name = kept(name.as_deref());
                r.description = kept(description.as_deref());
            }
            Change::Bootable { volume, bootable } => changed(here, volume).bootable = *bootable,
            Change::ImageMetadata { volume, set, clear } => {
                let r = changed(here, volume);
                r.image_metadata.extend(set.clone());
                r.image_metadata.retain(|k, _| !clear.contains(k));
            }
            Change::Grow { volume, gib } => {
                let r = changed(here, volume);
                assert!(["available", "in-use"].contains(&r.status.as_str()));
                r.size_gib = *gib;
                let at = r.image.clone();
                assert_eq!(
                    here.images.get(&at).unwrap().gib,
                    *gib,
                    "another size would change the image"
                );
            }
            Change::ResetExtending { volume, attached } => {
                let r = changed(here, volume);
                assert_eq!(
                    (r.status.as_str(), r.attached),
                    ("error_extending", *attached)
                );
                let was = if *attached { "in-use" } else { "available" };
                r.status = was.to_owned();
            }
        }
    }
}

fn changed<'a>(zone: &'a mut Zone, volume: &str) -> &'a mut Record {
    let r = zone.records.volumes.get_mut(volume).unwrap();
    assert!(
        r.takes_changes(),
        "Cinder refuses that of a volume that is {}",
        r.status
    );
    r
}

/// Cinder strips texts and refuses long ones.
fn kept(text: Option<&str>) -> Option<String> {
    let text = text?;
    assert!(text.chars().count() <= words::MOST, "Cinder refuses that");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn report(z: usize, spec: &ImageSpec, i: &Image) -> VolumeReport {
    VolumeReport {
        volume: spec.clone(),
        zone: zone(z),
        group: None,
        status: i.status,
        role: i.role,
        mode: Some(ReplicationMode::Instant),
        mirror_mode: Some(MirrorImageMode::Journal),
        size: Some((i.gib << 30) + i.header),
        last_sync: Some(LastSync {
            at: time(100),
            took: None,
            bytes: None,
        }),
        lag: Lag::None,
        complete_copy: Known::Yes,
        local: None,
        peer: None,
        peer_primary: Known::Unknown,
        demotion: None,
        forced: None,
        cinder: i.told.clone(),
        on_delete: None,
        deletion: i.deletion.clone(),
        concerns: Vec::new(),
        in_flight: None,
    }
}
