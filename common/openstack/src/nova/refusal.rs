//! Why Nova refuses: found by looking at what was named. Its words change from release to release; what is missing or taken does not.

use super::{
    Nova,
    error::{Over, Refusal},
    request::ServerRequest,
};
use crate::{cinder::QuotaSet, error::CloudError};

impl Nova {
    /// Why a server is refused, as far as a look around shows it. What cannot be looked at says nothing.
    pub(super) async fn why(&self, new: &ServerRequest) -> Option<Refusal> {
        let flavor = match self.flavor(&new.flavor).await {
            Ok(None) => return Some(Refusal::FlavorMissing(new.flavor.clone())),
            Ok(Some(flavor)) => Some(flavor),
            Err(_) => None,
        };
        let (cores, ram) = flavor.map_or((0, 0), |f| (f.vcpus, f.ram_mib));
        if let Some(over) = self
            .over_quota(&[("instances", 1), ("cores", cores), ("ram", ram)])
            .await
        {
            return Some(over);
        }
        for disk in &new.disks {
            let boots = disk.boot_index == Some(0);
            if let Some(why) = self.volume_trouble(&disk.volume, boots).await {
                return Some(why);
            }
        }
        for nic in new.network.ports() {
            if let Some(why) = self.port_trouble(&nic.port).await {
                return Some(why);
            }
        }
        let key = new.key_name.as_ref()?;
        let keys = self.keypairs().await.ok()?;
        let there = keys.iter().any(|k| k.name == *key);
        (!there).then(|| Refusal::KeyMissing(key.clone()))
    }

    /// Whether starting a shelved server is over the quota: shelved ones count for none.
    pub(super) async fn why_not_unshelved(&self, vcpus: u64, ram_mib: u64) -> Option<Refusal> {
        self.over_quota(&[("cores", vcpus), ("ram", ram_mib)]).await
    }

    /// What of the project's quota does not suffice for so much more; none: it does, or it cannot be seen.
    pub async fn over_quota(&self, wanted: &[(&str, u64)]) -> Option<Refusal> {
        let project = self.at.cloud.project_id(&self.at.scope).await.ok()?;
        let quota = self.quota(&project).await.ok()?;
        let over = too_small(&quota, wanted);
        (!over.is_empty()).then_some(Refusal::OverQuota(over))
    }

    /// Why a volume cannot be attached.
    pub(super) async fn volume_trouble(&self, id: &str, boots: bool) -> Option<Refusal> {
        let cinder = self.at.cloud.cinder(self.at.scope.clone());
        let volume = match cinder.volume(id).await {
            Ok(volume) => volume,
            Err(CloudError::NotFound { .. }) => {
                return Some(Refusal::VolumeMissing(id.to_owned()));
            }
            Err(_) => return None,
        };
        if volume.status != "available" {
            let by = volume.attachments.into_iter();
            return Some(Refusal::VolumeInUse {
                volume: id.to_owned(),
                status: volume.status,
                by: by.filter_map(|a| a.server_id).collect(),
            });
        }
        (boots && !volume.bootable).then(|| Refusal::VolumeNotBootable(id.to_owned()))
    }

    async fn port_trouble(&self, id: &str) -> Option<Refusal> {
        let neutron = self.at.cloud.neutron(self.at.scope.clone());
        match neutron.port(id).await {
            Ok(port) => port.device_id.map(|by| Refusal::PortInUse {
                port: id.to_owned(),
                by,
            }),
            Err(CloudError::NotFound { .. }) => Some(Refusal::PortMissing(id.to_owned())),
            Err(_) => None,
        }
    }
}

/// The figures that do not suffice.
pub(crate) fn too_small(quota: &QuotaSet, wanted: &[(&str, u64)]) -> Vec<Over> {
    let over = wanted.iter().filter_map(|(what, wanted)| {
        let figure = quota.get(what)?;
        let left = figure.left()?;
        (left < *wanted).then(|| Over {
            what: (*what).to_owned(),
            wanted: *wanted,
            left,
            limit: figure.limit,
        })
    });
    over.collect()
}
