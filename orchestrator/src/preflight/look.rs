//! What is asked, and what came back. An answer that is missing carries why.

use super::PreflightError;
use crate::config::Config;
use futures::future::{join, join_all};
use jiff::Timestamp;
use rekindle_common::{ApiError, ZoneName, volume::Role, volume::VolumeReport};
use rekindle_core::{
    catalogue::mapping::{Mapping, Project, Side},
    skew::Skew,
};
use rekindle_net::{Client, ClientLimits, SidecarClient};
use rekindle_openstack::{
    BackendPool, Cinder, Cloud, CloudError, Identity, QuotaSet, Scope, Service, Snapshot,
    TypeEncryption, Volume, VolumeType,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// More than this in a zone, and the check says so instead of taking for ever.
const MOST: usize = 100_000;
/// Calls at once, so that a preflight does not weigh on a cloud.
pub(super) const AT_ONCE: usize = 8;

/// All that was seen.
pub type Seen = BTreeMap<ZoneName, ZoneSeen>;

/// One zone, as it answered.
#[derive(Debug)]
pub struct ZoneSeen {
    /// Its sidecar's volumes.
    pub images: Result<Vec<VolumeReport>, ApiError>,
    /// How far its sidecar's clock is from ours.
    pub sidecar_clock: Option<Skew>,
    /// Its cloud; `None` where none is configured.
    pub cloud: Option<CloudSeen>,
}

/// One zone's cloud.
#[derive(Debug)]
pub struct CloudSeen {
    /// Who we are in the configured project. Where that failed, nothing else was asked.
    pub home: Result<Identity, CloudError>,
    /// The rest.
    pub rest: Option<Rest>,
}

/// What a cloud holds.
#[derive(Debug)]
pub struct Rest {
    /// Its projects.
    pub projects: Result<Vec<Project>, CloudError>,
    /// The ids of those that are disabled.
    pub disabled: BTreeSet<String>,
    /// Its volume types.
    pub types: Result<Vec<VolumeType>, CloudError>,
    /// Its services.
    pub services: Result<Vec<Service>, CloudError>,
    /// Its backends' pools.
    pub pools: Result<Vec<BackendPool>, CloudError>,
    /// Its volumes.
    pub volumes: Result<Vec<Volume>, CloudError>,
    /// Its snapshots.
    pub snapshots: Result<Vec<Snapshot>, CloudError>,
    /// Of each replicated or mapped type, by name, how it is encrypted.
    pub encryption: BTreeMap<String, Result<Option<TypeEncryption>, CloudError>>,
    /// Of each project that something is mapped to, by id: whether we may administer it.
    pub roles: BTreeMap<String, Result<Vec<String>, CloudError>>,
    /// The same: its quota.
    pub quotas: BTreeMap<String, Result<QuotaSet, CloudError>>,
    /// Of each key that the mapping leads to, by its project's id and its own: why it cannot be used, if so.
    pub keys: BTreeMap<(String, String), Result<Option<String>, CloudError>>,
}

impl ZoneSeen {
    pub(super) fn rest(&self) -> Option<&Rest> {
        self.cloud.as_ref().and_then(|c| c.rest.as_ref())
    }

    /// This zone's volumes that are replicated from here, as its Cinder has them. `None`: not known.
    pub(super) fn replicated(&self) -> Option<Vec<&Volume>> {
        let rest = self.rest()?;
        let volumes = rest.volumes.as_ref().ok()?;
        let primary: BTreeSet<(&str, &str)> = self
            .images
            .as_ref()
            .ok()?
            .iter()
            .filter(|i| i.role == Role::Primary)
            .map(|i| (i.volume.pool(), i.volume.image()))
            .collect();
        // Cinder's host names a pool of its own, which need not be RBD's: an image's name is unique all the same.
        let images: BTreeSet<&str> = primary.iter().map(|(_, image)| *image).collect();
        Some(
            volumes
                .iter()
                .filter(|v| images.contains(v.image().as_str()))
                .collect(),
        )
    }

    pub(super) fn side<'a>(&'a self, zone: &'a ZoneName) -> Side<'a> {
        let projects = self.rest().and_then(|r| r.projects.as_ref().ok());
        Side {
            zone,
            projects: projects.map(Vec::as_slice),
        }
    }
}

/// The first look: all zones at once.
pub(super) async fn look(config: &Config, clouds: &[Cloud]) -> Result<Seen, PreflightError> {
    let mut looks = Vec::new();
    for (name, zone) in &config.zones {
        let limits = ClientLimits {
            connect_time: Duration::from_secs(5),
            call_time: Duration::from_secs(30),
            ..ClientLimits::default()
        };
        let sidecar = match config.sidecar_tls() {
            Some(tls) => Client::mtls(&zone.sidecar, tls, limits)
                .map(SidecarClient::from)
                .map_err(|source| PreflightError::Sidecar {
                    zone: name.clone(),
                    source,
                })?,
            None => continue,
        };
        let cloud = clouds.iter().find(|c| c.zone() == name);
        looks.push(async move {
            let (sidecar, cloud) = join(ask_sidecar(&sidecar), ask_cloud(cloud)).await;
            let (images, sidecar_clock) = sidecar;
            let seen = ZoneSeen {
                images,
                sidecar_clock,
                cloud,
            };
            (name.clone(), seen)
        });
    }
    Ok(join_all(looks).await.into_iter().collect())
}

async fn ask_sidecar(
    sidecar: &SidecarClient,
) -> (Result<Vec<VolumeReport>, ApiError>, Option<Skew>) {
    let asked = Timestamp::now();
    let zone = match sidecar.zone().await {
        Ok(zone) => zone,
        Err(e) => return (Err(e), None),
    };
    let skew = Skew::measured(zone.now, asked, Timestamp::now());
    (sidecar.all_volumes(None, MOST).await, Some(skew))
}

async fn ask_cloud(cloud: Option<&Cloud>) -> Option<CloudSeen> {
    let cloud = cloud?;
    let home = cloud.whoami(&Scope::Home).await;
    let rest = match &home {
        Ok(_) => Some(ask_the_rest(cloud).await),
        // A secret that is refused once is not sent seven times more: accounts are locked for less.
        Err(_) => None,
    };
    Some(CloudSeen { home, rest })
}

async fn ask_the_rest(cloud: &Cloud) -> Rest {
    let cinder = cloud.cinder(Scope::Home);
    let (projects, types) = join(cloud.projects(), cinder.volume_types()).await;
    let (services, pools) = join(cinder.services(), cinder.pools()).await;
    let (volumes, snapshots) = join(cinder.volumes(MOST), cinder.snapshots(MOST)).await;
    let disabled = projects.iter().flatten().filter(|p| !p.enabled);
    Rest {
        disabled: disabled.map(|p| p.id.clone()).collect(),
        projects: projects.map(|all| all.into_iter().map(known).collect()),
        types,
        services,
        pools,
        volumes,
        snapshots,
        encryption: BTreeMap::new(),
        roles: BTreeMap::new(),
        quotas: BTreeMap::new(),
        keys: BTreeMap::new(),
    }
}

/// A project as the mapping's rules take it.
#[must_use]
pub fn known(p: rekindle_openstack::Project) -> Project {
    Project {
        id: p.id,
        name: p.name,
        domain_id: p.domain_id,
        domain: p.domain,
    }
}

/// The second look: at what the mapping leads to.
pub(super) async fn further(seen: &mut Seen, mapping: &Mapping, clouds: &[Cloud]) {
    let wanted = targets(seen, mapping);
    for cloud in clouds {
        let projects = wanted.get(cloud.zone()).cloned().unwrap_or_default();
        let Some(rest) = seen
            .get_mut(cloud.zone())
            .and_then(|z| z.cloud.as_mut())
            .and_then(|c| c.rest.as_mut())
        else {
            continue;
        };
        let named = |t: &&VolumeType| {
            t.is_replicated()
                || mapping
                    .types
                    .iter()
                    .any(|e| e.get(cloud.zone()) == Some(&t.name))
        };
        let types: Vec<VolumeType> = rest.types.iter().flatten().filter(named).cloned().collect();
        let cinder = cloud.cinder(Scope::Home);
        for some in types.chunks(AT_ONCE) {
            let asked = some.iter().map(async |t| {
                let answer = cinder.encryption(&t.id).await;
                (t.name.clone(), answer)
            });
            rest.encryption.extend(join_all(asked).await);
        }
        let projects: Vec<String> = projects.into_iter().collect();
        for some in projects.chunks(AT_ONCE) {
            let asked = some.iter().map(async |id| {
                let (roles, quota) = join(administers(cloud, id), cinder.quota(id)).await;
                (id.clone(), roles, quota)
            });
            for (id, roles, quota) in join_all(asked).await {
                rest.roles.insert(id.clone(), roles);
                rest.quotas.insert(id, quota);
            }
        }
    }
}

/// The projects of each zone that records are made in: those of entries, and the counterparts of those that have something replicated.
fn targets(seen: &Seen, mapping: &Mapping) -> BTreeMap<ZoneName, BTreeSet<String>> {
    let mut found: BTreeMap<ZoneName, BTreeSet<String>> = BTreeMap::new();
    for (to, there) in seen {
        for (from, here) in seen.iter().filter(|(from, _)| *from != to) {
            let own: BTreeSet<&str> = here
                .replicated()
                .into_iter()
                .flatten()
                .map(|v| v.project_id.as_str())
                .chain(named(mapping, from, here))
                .collect();
            for id in own {
                if let Ok(p) = mapping.project(here.side(from), id, there.side(to)) {
                    found.entry(to.clone()).or_default().insert(p.id.clone());
                }
            }
        }
    }
    found
}

/// The projects of a zone that stand in entries.
fn named<'a>(
    mapping: &'a Mapping,
    zone: &'a ZoneName,
    seen: &'a ZoneSeen,
) -> impl Iterator<Item = &'a str> {
    let texts: BTreeSet<&str> = mapping
        .projects
        .iter()
        .filter_map(|e| e.get(zone).map(String::as_str))
        .collect();
    let all = seen.rest().and_then(|r| r.projects.as_ref().ok());
    all.into_iter()
        .flatten()
        .filter(move |p| texts.iter().any(|t| p.is_meant_by(t)))
        .map(|p| p.id.as_str())
}

/// Our roles in a project, if they make us its administrator: by name, or because Cinder lets us look where only administrators may.
async fn administers(cloud: &Cloud, project: &str) -> Result<Vec<String>, CloudError> {
    let scope = Scope::Project(project.to_owned());
    let identity = cloud.whoami(&scope).await?;
    if !identity.is_admin() {
        let cinder: Cinder = cloud.cinder(scope);
        cinder.services().await?;
    }
    Ok(identity.roles)
}
