//! A Cinder in memory, which does to its records what the real one does, and has the faults that a test scripts.

use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{ImageSpec, ZoneName};
use rekindle_core::catalogue::{
    Change, Record, Records, SnapshotRecord,
    mapping::Project,
    mend::{ImportSnapshot, ImportVolume},
};
use rekindle_driver::backend::memory::Cluster;
use rekindle_orchestrator::catalogue::cinder::{Cinder, CinderError, Reach};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::sleep;

pub(crate) const POOL: &str = "volumes";

/// What it does wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// Nothing is answered.
    pub dead: bool,
    /// Nobody refuses, and nobody answers.
    pub hangs: bool,
    /// A list of its records takes so long.
    pub slow_list: Duration,
    /// Each write takes so long.
    pub slow: Duration,
    /// Changes of that name, about that image if one is named, are refused in these words.
    pub refuses: Option<(&'static str, Option<ImageSpec>, &'static str)>,
    /// What it takes in it cannot carry out.
    pub over_quota: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub records: Records,
    pub script: Script,
    /// All writes that came, in their order: the change's name and the image.
    pub writes: Vec<(&'static str, String)>,
    made: u32,
    at_once: usize,
    pub most_at_once: usize,
}

#[derive(Debug)]
pub(crate) struct FakeCinder {
    pub zone: ZoneName,
    cluster: Cluster,
    state: Mutex<State>,
}

impl FakeCinder {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            zone: cluster.zone(),
            cluster,
            state: Mutex::default(),
        }
    }
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
    pub(crate) fn project(&self) -> String {
        format!("project-of-{}", self.zone)
    }
    /// The record of an image.
    pub(crate) fn record(&self, image: &ImageSpec) -> Option<Record> {
        self.state().records.of(image).next().cloned()
    }
    /// What a user sees of it.
    pub(crate) fn shows(&self, image: &ImageSpec, key: &str) -> Option<String> {
        self.record(image)?.metadata.get(key).cloned()
    }
    pub(crate) fn change(&self, image: &ImageSpec, change: impl FnOnce(&mut Record)) {
        let id = self.record(image).unwrap().id;
        change(self.state().records.volumes.get_mut(&id).unwrap());
    }
    pub(crate) fn written(&self, change: &str) -> usize {
        let state = self.state();
        state.writes.iter().filter(|(c, _)| *c == change).count()
    }
    /// A user makes a volume: the record; the image is the test's.
    pub(crate) fn create(&self, image: &ImageSpec, name: &str) {
        let id = image.image().trim_start_matches("volume-").to_owned();
        let record = self.blank(&id, image, name, 1);
        self.state().records.volumes.insert(id, record);
    }

    fn blank(&self, id: &str, image: &ImageSpec, name: &str, size_gib: u64) -> Record {
        Record {
            id: id.to_owned(),
            image: image.clone(),
            name_id: None,
            project_id: self.project(),
            name: Some(name.to_owned()),
            description: None,
            volume_type: Some("fast".to_owned()),
            size_gib,
            status: "available".to_owned(),
            attached: false,
            bootable: false,
            metadata: BTreeMap::new(),
            image_metadata: BTreeMap::new(),
            encryption_key_id: None,
            replication_status: Some("enabled".to_owned()),
            created_at: None,
        }
    }

    fn alive(&self) -> Result<MutexGuard<'_, State>, CinderError> {
        let state = self.state();
        if state.script.dead {
            return Err(CinderError {
                why: format!("the Cinder of {} does not answer", self.zone),
                reach: Reach::Cloud,
            });
        }
        Ok(state)
    }

    fn import(
        &self,
        state: &mut State,
        image: &str,
        new: &ImportVolume,
    ) -> Result<(), CinderError> {
        let image = ImageSpec::new(POOL, image).unwrap();
        if new.project != self.project() {
            return Err(refused("no such project"));
        }
        state.made += 1;
        let id = format!("made-{}-{}", self.zone, state.made);
        let mut record = self.blank(&id, &image, "", 1);
        record.name.clone_from(&new.name);
        record.metadata.clone_from(&new.metadata);
        record.bootable = new.bootable;
        if state.script.over_quota || !self.cluster.images().contains(&image) {
            (record.size_gib, record.status) = (0, "error".to_owned());
        } else {
            record.name_id = Some(image.image().trim_start_matches("volume-").to_owned());
        }
        state.records.volumes.insert(id, record);
        Ok(())
    }

    fn apply(&self, state: &mut State, image: &str, change: &Change) -> Result<(), CinderError> {
        let records = &mut state.records;
        match change {
            Change::ImportVolume(new) => self.import(state, image, new),
            Change::ImportSnapshot(new) => {
                let ImportSnapshot {
                    volume,
                    source_name,
                    metadata,
                    name,
                    description,
                    ..
                } = &**new;
                let id = format!("made-{source_name}");
                records.snapshots.insert(
                    id.clone(),
                    SnapshotRecord {
                        id,
                        volume: volume.clone(),
                        name: name.clone(),
                        description: description.clone(),
                        status: "available".to_owned(),
                        metadata: metadata.clone(),
                        created_at: None,
                    },
                );
                Ok(())
            }
            Change::DropFailedImport { volume } | Change::ForgetVolume { volume } => records
                .volumes
                .remove(volume)
                .map(drop)
                .ok_or_else(not_found),
            Change::ForgetSnapshot { snapshot } => records
                .snapshots
                .remove(snapshot)
                .map(drop)
                .ok_or_else(not_found),
            Change::NameSnapshot { snapshot, name, .. } => {
                let s = records.snapshots.get_mut(snapshot).ok_or_else(not_found)?;
                s.name.clone_from(name);
                Ok(())
            }
            Change::ResetExtending { volume, .. } => {
                on(records, volume, |r| "available".clone_into(&mut r.status))
            }
            Change::Grow { volume, gib } => on(records, volume, |r| r.size_gib = *gib),
            Change::Show { volume, set, clear } => {
                on(records, volume, |r| put(&mut r.metadata, set, clear))
            }
            Change::Name {
                volume,
                name,
                description,
            } => on(records, volume, |r| {
                r.name.clone_from(name);
                r.description.clone_from(description);
            }),
            Change::Bootable { volume, bootable } => {
                on(records, volume, |r| r.bootable = *bootable)
            }
            Change::ImageMetadata { volume, set, clear } => {
                on(records, volume, |r| put(&mut r.image_metadata, set, clear))
            }
            Change::Describe { .. } => panic!("a description went to Cinder"),
        }
    }
}

fn put(
    map: &mut BTreeMap<String, String>,
    set: &BTreeMap<String, String>,
    clear: &BTreeSet<String>,
) {
    map.extend(set.clone());
    map.retain(|k, _| !clear.contains(k));
}
fn on(
    records: &mut Records,
    volume: &str,
    change: impl FnOnce(&mut Record),
) -> Result<(), CinderError> {
    change(records.volumes.get_mut(volume).ok_or_else(not_found)?);
    Ok(())
}
fn not_found() -> CinderError {
    refused("no such volume")
}
fn refused(why: &str) -> CinderError {
    CinderError {
        why: why.to_owned(),
        reach: Reach::Call,
    }
}

impl Cinder for FakeCinder {
    fn hosts(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(POOL.to_owned(), "host@ceph#ceph".to_owned())])
    }
    fn records(&self) -> BoxFuture<'_, Result<Records, CinderError>> {
        async move {
            let (hangs, slow) = {
                let state = self.state();
                (state.script.hangs, state.script.slow_list)
            };
            if hangs {
                pending::<()>().await;
            }
            sleep(slow).await;
            Ok(self.alive()?.records.clone())
        }
        .boxed()
    }
    fn projects(&self) -> BoxFuture<'_, Result<Vec<Project>, CinderError>> {
        async move {
            drop(self.alive()?);
            Ok(vec![Project {
                id: self.project(),
                name: "shop".to_owned(),
                domain_id: "default".to_owned(),
                domain: "Default".to_owned(),
            }])
        }
        .boxed()
    }
    fn write<'a>(
        &'a self,
        image: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), CinderError>> {
        async move {
            let slow = {
                let mut state = self.alive()?;
                state.writes.push((change.name(), image.to_owned()));
                state.at_once += 1;
                state.most_at_once = state.most_at_once.max(state.at_once);
                state.script.slow
            };
            sleep(slow).await;
            let mut state = self.state();
            state.at_once -= 1;
            let refuses = state.script.refuses.clone();
            if let Some((what, whom, why)) = refuses
                && what == change.name()
                && whom.is_none_or(|w| w.image() == image)
            {
                return Err(refused(why));
            }
            self.apply(&mut state, image, change)
        }
        .boxed()
    }
}
