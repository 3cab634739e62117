//! A real Cinder.

use super::cinder::{Cinder, CinderError, Reach};
use futures::{FutureExt, future::BoxFuture};
use rekindle_common::ImageSpec;
use rekindle_core::catalogue::{
    Change, Record, Records, SnapshotRecord,
    mapping::Project,
    mend::{ImportSnapshot, ImportVolume},
};
use rekindle_openstack::{
    Cloud, CloudError, ManageSnapshot, ManageVolume, Scope, Snapshot, Texts, Volume,
};
use std::collections::BTreeMap;

/// The most rows of a list. A longer one is an error: a part of it would look like volumes that are gone.
const MOST: usize = 50_000;

impl From<CloudError> for CinderError {
    fn from(e: CloudError) -> Self {
        let reach = if e.is_of_the_cloud() {
            Reach::Cloud
        } else {
            Reach::Call
        };
        Self {
            why: e.in_full(),
            reach,
        }
    }
}

impl Cinder for Cloud {
    fn hosts(&self) -> BTreeMap<String, String> {
        self.config().backends.clone()
    }

    fn records(&self) -> BoxFuture<'_, Result<Records, CinderError>> {
        async move {
            let cinder = self.cinder(Scope::Home);
            // Snapshots first: one of a volume that is not in the list is of no use, the other way round it would be missed.
            let snapshots = cinder.snapshots(MOST).await?;
            let volumes = cinder.volumes(MOST).await?;
            Ok(records(&self.hosts(), volumes, snapshots))
        }
        .boxed()
    }

    fn projects(&self) -> BoxFuture<'_, Result<Vec<Project>, CinderError>> {
        async move {
            let all = Self::projects(self).await?;
            Ok(all
                .into_iter()
                .map(|p| Project {
                    id: p.id,
                    name: p.name,
                    domain_id: p.domain_id,
                    domain: p.domain,
                })
                .collect())
        }
        .boxed()
    }

    fn write<'a>(
        &'a self,
        image: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), CinderError>> {
        async move { Ok(write(self, image, change).await?) }.boxed()
    }
}

/// Those on our backends.
fn records(
    hosts: &BTreeMap<String, String>,
    volumes: Vec<Volume>,
    snapshots: Vec<Snapshot>,
) -> Records {
    let pool_of = |v: &Volume| {
        let mut all = hosts.iter();
        all.find(|(_, host)| v.is_on(host)).map(|(pool, _)| pool)
    };
    let mut found = Records::default();
    for v in volumes {
        let Some(pool) = pool_of(&v) else { continue };
        let image = Record::image_of(&v.id, v.name_id.as_deref(), v.size_gib, &v.metadata);
        // What no image can be called is under no record of ours.
        let Ok(image) = ImageSpec::new(pool, image) else {
            continue;
        };
        found.volumes.insert(v.id.clone(), record(v, image));
    }
    for s in snapshots {
        if found.volumes.contains_key(&s.volume_id) {
            found.snapshots.insert(s.id.clone(), snapshot(s));
        }
    }
    found
}

fn record(v: Volume, image: ImageSpec) -> Record {
    Record {
        attached: !v.attachments.is_empty() || v.status == "in-use",
        id: v.id,
        image,
        name_id: v.name_id,
        project_id: v.project_id,
        name: v.name,
        description: v.description,
        volume_type: v.volume_type,
        size_gib: v.size_gib,
        status: v.status,
        bootable: v.bootable,
        metadata: v.metadata,
        image_metadata: v.image_metadata,
        encryption_key_id: v.encryption_key_id,
        replication_status: v.replication_status,
        created_at: v.created_at,
    }
}

fn snapshot(s: Snapshot) -> SnapshotRecord {
    SnapshotRecord {
        id: s.id,
        volume: s.volume_id,
        name: s.name,
        description: s.description,
        status: s.status,
        metadata: s.metadata,
        created_at: s.created_at,
    }
}

async fn write(cloud: &Cloud, image: &str, change: &Change) -> Result<(), CloudError> {
    let cinder = cloud.cinder(Scope::Home);
    match change {
        Change::ImportVolume(new) => import_volume(cloud, image, new).await,
        Change::ImportSnapshot(new) => import_snapshot(cloud, new).await,
        Change::DropFailedImport { volume } | Change::ForgetVolume { volume } => {
            gone_is_fine(cinder.unmanage_volume(volume).await)
        }
        Change::ForgetSnapshot { snapshot } => {
            gone_is_fine(cinder.unmanage_snapshot(snapshot).await)
        }
        Change::ResetExtending { volume, attached } => {
            let was = if *attached { "in-use" } else { "available" };
            cinder.reset_volume_status(volume, was).await
        }
        Change::Grow { volume, gib } => cinder.extend(volume, *gib).await,
        Change::Show { volume, set, clear } => {
            if !set.is_empty() {
                cinder.set_volume_metadata(volume, set).await?;
            }
            for key in clear {
                cinder.delete_volume_metadata(volume, key).await?;
            }
            Ok(())
        }
        Change::Name {
            volume,
            name,
            description,
        } => {
            let texts = texts(name, description);
            cinder.update_volume(volume, &texts).await
        }
        Change::NameSnapshot {
            snapshot,
            name,
            description,
        } => {
            let texts = texts(name, description);
            cinder.update_snapshot(snapshot, &texts).await
        }
        Change::Bootable { volume, bootable } => cinder.set_bootable(volume, *bootable).await,
        Change::ImageMetadata { volume, set, clear } => {
            if !set.is_empty() {
                cinder.set_image_metadata(volume, set).await?;
            }
            for key in clear {
                cinder.unset_image_metadata(volume, key).await?;
            }
            Ok(())
        }
        // The sidecar's.
        Change::Describe { .. } => Ok(()),
    }
}

fn texts(name: &Option<String>, description: &Option<String>) -> Texts {
    Texts {
        name: name.clone(),
        description: description.clone(),
    }
}

fn gone_is_fine(end: Result<(), CloudError>) -> Result<(), CloudError> {
    match end {
        Err(CloudError::NotFound { .. }) => Ok(()),
        end @ (Ok(()) | Err(_)) => end,
    }
}

async fn import_volume(cloud: &Cloud, image: &str, new: &ImportVolume) -> Result<(), CloudError> {
    let cinder = cloud.cinder(Scope::Project(new.project.clone()));
    let new = ManageVolume {
        host: new.host.clone(),
        source_name: image.to_owned(),
        name: new.name.clone(),
        description: new.description.clone(),
        volume_type: new.volume_type.clone(),
        bootable: new.bootable,
        metadata: new.metadata.clone(),
    };
    cinder.manage_volume(&new).await.map(drop)
}

async fn import_snapshot(cloud: &Cloud, new: &ImportSnapshot) -> Result<(), CloudError> {
    let cinder = cloud.cinder(Scope::Project(new.project.clone()));
    let new = ManageSnapshot {
        volume_id: new.volume.clone(),
        source_name: new.source_name.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        metadata: new.metadata.clone(),
    };
    cinder.manage_snapshot(&new).await.map(drop)
}
