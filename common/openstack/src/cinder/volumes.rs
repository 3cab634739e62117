//! Volumes: what the catalogue needs to see of them, and what it does to their records.

use super::{Cinder, Made, Service, Texts};
use crate::{
    error::CloudError,
    service::{List, More},
    url::escaped,
    wire,
};
use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A volume, as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "wire::text")]
    pub name: Option<String>,
    /// Its description.
    #[serde(default, deserialize_with = "wire::text")]
    pub description: Option<String>,
    /// `available`, `in-use`, `creating` (also while it is being managed), `error` (also when managing failed), `error_extending`, …
    pub status: String,
    /// GiB.
    #[serde(rename = "size")]
    pub size_gib: u64,
    /// Whose it is. Only an administrator is shown it.
    #[serde(rename = "os-vol-tenant-attr:tenant_id")]
    pub project_id: String,
    /// Its type's name.
    #[serde(default, deserialize_with = "wire::text")]
    pub volume_type: Option<String>,
    /// Whether a server can boot from it.
    #[serde(default, deserialize_with = "wire::flag")]
    pub bootable: bool,
    /// What users see as its properties.
    #[serde(default, deserialize_with = "wire::map")]
    pub metadata: BTreeMap<String, String>,
    /// The properties of the image that it was made from.
    #[serde(
        default,
        rename = "volume_image_metadata",
        deserialize_with = "wire::map"
    )]
    pub image_metadata: BTreeMap<String, String>,
    /// What it is attached to.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// `HOST@BACKEND#POOL`. In a cluster it is the member that made it, and any other serves it as well.
    #[serde(
        default,
        rename = "os-vol-host-attr:host",
        deserialize_with = "wire::text"
    )]
    pub host: Option<String>,
    /// `CLUSTER@BACKEND#POOL`.
    #[serde(default, rename = "cluster_name", deserialize_with = "wire::text")]
    pub cluster: Option<String>,
    /// The id in its image's name, where that is another than its own.
    #[serde(
        default,
        rename = "os-vol-mig-status-attr:name_id",
        deserialize_with = "wire::text"
    )]
    pub name_id: Option<String>,
    /// How its migration is, while there is one and after it: `starting`, `migrating`, `completing`; `success`, `error`; `target:ID` of what
    /// the volume of that id is migrated to, and `deleting` of what it was migrated from.
    #[serde(
        default,
        rename = "os-vol-mig-status-attr:migstat",
        deserialize_with = "wire::text"
    )]
    pub migration_status: Option<String>,
    /// Whether what it holds is encrypted.
    #[serde(default, deserialize_with = "wire::flag")]
    pub encrypted: bool,
    /// The key's id in the zone's key manager.
    #[serde(default, deserialize_with = "wire::text")]
    pub encryption_key_id: Option<String>,
    /// `enabled`, `disabled`, `failed-over`, …
    #[serde(default, deserialize_with = "wire::text")]
    pub replication_status: Option<String>,
    /// Whether several servers may have it at once.
    #[serde(default, deserialize_with = "wire::flag")]
    pub multiattach: bool,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::moment")]
    pub created_at: Option<Timestamp>,
}

impl Volume {
    /// The RBD image under it: `volume-UUID`.
    #[must_use]
    pub fn image(&self) -> String {
        let id = self.name_id.as_deref().unwrap_or(&self.id);
        format!("volume-{id}")
    }

    /// Whether it is on that backend: `HOST@BACKEND#POOL`, or the same of a cluster. One that a cluster is just taking in has no
    /// pool yet.
    #[must_use]
    pub fn is_on(&self, backend: &str) -> bool {
        let without_pool = backend.split_once('#').map(|(at, _)| at);
        let host = self.host.as_deref();
        let cluster = self.cluster.as_deref();
        host == Some(backend)
            || cluster == Some(backend)
            || (cluster.is_some() && cluster == without_pool)
    }
}

/// What a volume is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    /// The attachment's own id.
    #[serde(default, deserialize_with = "wire::text")]
    pub attachment_id: Option<String>,
    /// The server.
    #[serde(default, deserialize_with = "wire::text")]
    pub server_id: Option<String>,
    /// The server's host.
    #[serde(default, deserialize_with = "wire::text")]
    pub host_name: Option<String>,
    /// `/dev/vda`.
    #[serde(default, deserialize_with = "wire::text")]
    pub device: Option<String>,
}

/// An image that becomes a volume's record, as it is and under the name that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManageVolume {
    /// `HOST@BACKEND#POOL`, as Cinder knows it, or the same of a cluster.
    pub host: String,
    /// The RBD image: `volume-UUID`.
    pub source_name: String,
    /// The volume's name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its type's name or id; Cinder's default type where none is given.
    pub volume_type: Option<String>,
    /// Whether a server can boot from it.
    pub bootable: bool,
    /// What users see as its properties.
    pub metadata: BTreeMap<String, String>,
}

/// Whether Cinder has to be told a host or a cluster of that name. What it does not know is a host, which it then says itself.
fn place(services: &[Service], backend: &str) -> &'static str {
    let at = backend.split_once('#').map_or(backend, |(at, _)| at);
    let is_cluster = services.iter().any(|s| s.cluster.as_deref() == Some(at));
    let is_host = services.iter().any(|s| s.host == at);
    if is_cluster && !is_host {
        "cluster"
    } else {
        "host"
    }
}

impl Cinder {
    /// All volumes of all projects. Whole, or an error.
    ///
    /// # Errors
    /// See [`CloudError`]; `TooMany` where there are more than `most`.
    pub async fn volumes(&self, most: usize) -> Result<Vec<Volume>, CloudError> {
        let path = "/volumes/detail?all_tenants=1&sort=created_at:asc,id:asc";
        let list = List {
            path,
            key: "volumes",
            id: "/id",
            more: More::Link,
            most,
        };
        self.at.list(list).await
    }

    /// Those of these volumes that there are, whatever their project. Ids alone: they stand in the query as they are.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn volumes_of(&self, ids: &[String]) -> Result<Vec<Volume>, CloudError> {
        // Cinder reads a filter's value as a literal of Python's; of a list it takes what is in it.
        let ids: Vec<String> = ids
            .iter()
            .map(|id| format!("%27{}%27", escaped(id)))
            .collect();
        let path = format!(
            "/volumes/detail?all_tenants=1&id=%5B{}%5D&sort=id:asc",
            ids.join("%2C")
        );
        let list = List {
            path: &path,
            key: "volumes",
            id: "/id",
            more: More::Link,
            most: ids.len(),
        };
        self.at.list(list).await
    }

    /// Those of one of Cinder's groups, whatever their project. Whole, or an error.
    ///
    /// # Errors
    /// See [`CloudError`]; `TooMany` where there are more than `most`.
    pub async fn volumes_in_group(
        &self,
        group: &str,
        most: usize,
    ) -> Result<Vec<Volume>, CloudError> {
        let path = format!(
            "/volumes/detail?all_tenants=1&group_id={}&sort=created_at:asc,id:asc",
            escaped(group)
        );
        let list = List {
            path: &path,
            key: "volumes",
            id: "/id",
            more: More::Link,
            most,
        };
        self.at.list(list).await
    }

    /// One volume.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn volume(&self, id: &str) -> Result<Volume, CloudError> {
        self.at
            .get(&format!("/volumes/{}", escaped(id)), "volume")
            .await
    }

    /// Begins to make a record of an image, in the scope's project. It is `creating` until the driver has looked at the image, and ends as
    /// `available` or `error`: a quota that is used up and a type that does not fit show only there.
    ///
    /// # Errors
    /// See [`CloudError`]; `Invalid` where Cinder knows no such host or type.
    pub async fn manage_volume(&self, new: &ManageVolume) -> Result<Made, CloudError> {
        let mut volume = Map::new();
        let place = place(&self.services().await?, &new.host);
        volume.insert(place.to_owned(), json!(new.host));
        volume.insert("ref".to_owned(), reference(&new.source_name));
        volume.insert("name".to_owned(), json!(new.name));
        volume.insert("description".to_owned(), json!(new.description));
        volume.insert("bootable".to_owned(), json!(new.bootable));
        volume.insert("metadata".to_owned(), json!(new.metadata));
        if let Some(kind) = &new.volume_type {
            volume.insert("volume_type".to_owned(), json!(kind));
        }
        let body = json!({ "volume": volume });
        let (op, answer) = self.at.post("/manageable_volumes", &body).await?;
        self.at.take(&op, answer, "volume")
    }

    /// Begins to take a volume's record away, and leaves the image as it is.
    ///
    /// # Errors
    /// See [`CloudError`]; `Invalid` where it is attached or has snapshots.
    pub async fn unmanage_volume(&self, id: &str) -> Result<(), CloudError> {
        self.at
            .act("volumes", id, &json!({ "os-unmanage": {} }))
            .await
    }

    /// Changes name and description.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn update_volume(&self, id: &str, texts: &Texts) -> Result<(), CloudError> {
        let path = format!("/volumes/{}", escaped(id));
        let body = json!({ "volume": texts });
        self.at
            .write(Method::PUT, &path, Some(&body))
            .await
            .map(drop)
    }

    /// Sets properties, and leaves those that are not named.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn set_volume_metadata(
        &self,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        let path = format!("/volumes/{}/metadata", escaped(id));
        let body = json!({ "metadata": metadata });
        self.at.post(&path, &body).await.map(drop)
    }

    /// Takes a property away. One that is not there is well.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn delete_volume_metadata(&self, id: &str, key: &str) -> Result<(), CloudError> {
        self.at.delete_key("volumes", id, key).await
    }

    /// Says whether a server can boot from it.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn set_bootable(&self, id: &str, bootable: bool) -> Result<(), CloudError> {
        let body = json!({ "os-set_bootable": { "bootable": bootable } });
        self.at.act("volumes", id, &body).await
    }

    /// Sets properties of the image that it was made from, and leaves those that are not named.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn set_image_metadata(
        &self,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        let body = json!({ "os-set_image_metadata": { "metadata": metadata } });
        self.at.act("volumes", id, &body).await
    }

    /// Takes one of those away. One that is not there is well.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn unset_image_metadata(&self, id: &str, key: &str) -> Result<(), CloudError> {
        let body = json!({ "os-unset_image_metadata": { "key": key } });
        match self.at.act("volumes", id, &body).await {
            Err(e @ CloudError::NotFound { .. }) => {
                // Is it the key that is not there, or the volume?
                let volume = self.volume(id).await?;
                if volume.image_metadata.contains_key(key) {
                    Err(e)
                } else {
                    Ok(())
                }
            }
            done @ (Ok(()) | Err(_)) => done,
        }
    }

    /// Begins to extend it, attached or not. A refused one ends as `error_extending`.
    ///
    /// # Errors
    /// See [`CloudError`]; `Invalid` where it is no larger than it was, `OverQuota`.
    pub async fn extend(&self, id: &str, gib: u64) -> Result<(), CloudError> {
        let body = json!({ "os-extend": { "new_size": gib } });
        self.at.act("volumes", id, &body).await
    }

    /// Writes another status into the record, whatever it was.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn reset_volume_status(&self, id: &str, status: &str) -> Result<(), CloudError> {
        let body = json!({ "os-reset_status": { "status": status } });
        self.at.act("volumes", id, &body).await
    }
}

/// What the driver takes for "as it is, under the name that it has".
pub(super) fn reference(source_name: &str) -> Value {
    json!({ "source-name": source_name, "rename": "false" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(host: &str, cluster: Option<&str>) -> Volume {
        serde_json::from_value(json!({
            "id": "v1", "status": "available", "size": 1, "os-vol-tenant-attr:tenant_id": "p",
            "os-vol-host-attr:host": host, "cluster_name": cluster,
        }))
        .unwrap()
    }

    #[test]
    fn a_volume_of_a_cluster_is_on_it_whichever_member_made_it() {
        for (host, cluster, is) in [
            ("b@ceph#ceph", None, ["b@ceph#ceph"].as_slice()),
            (
                "b-2@ceph#ceph",
                Some("both@ceph#ceph"),
                &["both@ceph#ceph", "b-2@ceph#ceph"],
            ),
            // While the cluster takes it in.
            ("b-2@ceph", Some("both@ceph"), &["both@ceph#ceph"]),
            ("b@other#other", Some("both@other#other"), &[]),
            ("b@ceph", None, &[]),
        ] {
            for backend in ["b@ceph#ceph", "both@ceph#ceph", "b-2@ceph#ceph"] {
                let on = volume(host, cluster).is_on(backend);
                assert_eq!(on, is.contains(&backend), "{host} {cluster:?} {backend}");
            }
        }
    }

    #[test]
    fn cinder_is_told_a_cluster_where_it_is_one() {
        let service = |host: &str, cluster: Option<&str>| -> Service {
            serde_json::from_value(json!({
                "binary": "cinder-volume", "host": host, "cluster": cluster, "status": "enabled", "state": "up",
            }))
            .unwrap()
        };
        let all = [
            service("a@ceph", None),
            service("b@ceph", Some("both@ceph")),
        ];
        for (backend, is) in [
            ("a@ceph#ceph", "host"),
            ("b@ceph#ceph", "host"),
            ("both@ceph#ceph", "cluster"),
            ("nobody@ceph#ceph", "host"),
        ] {
            assert_eq!(place(&all, backend), is, "{backend}");
        }
    }
}
