//! Snapshots.

use super::{Cinder, Made, Texts, volumes::reference};
use crate::{
    error::CloudError,
    service::{List, More},
    url::escaped,
    wire,
};
use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// The volume that it is of.
    pub volume_id: String,
    /// Its name.
    #[serde(default, deserialize_with = "wire::text")]
    pub name: Option<String>,
    /// Its description.
    #[serde(default, deserialize_with = "wire::text")]
    pub description: Option<String>,
    /// `available`, `creating`, `error`, …
    pub status: String,
    /// GiB of the volume when it was taken.
    #[serde(rename = "size")]
    pub size_gib: u64,
    /// What users see as its properties.
    #[serde(default, deserialize_with = "wire::map")]
    pub metadata: BTreeMap<String, String>,
    /// Whose it is.
    #[serde(
        default,
        rename = "os-extended-snapshot-attributes:project_id",
        deserialize_with = "wire::text"
    )]
    pub project_id: Option<String>,
    /// When it was taken.
    #[serde(default, deserialize_with = "wire::moment")]
    pub created_at: Option<Timestamp>,
}

/// An RBD snapshot that becomes a snapshot's record, under the name that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManageSnapshot {
    /// The volume's record.
    pub volume_id: String,
    /// The RBD snapshot: `snapshot-UUID`.
    pub source_name: String,
    /// The snapshot's name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// What users see as its properties.
    pub metadata: BTreeMap<String, String>,
}

impl Cinder {
    /// All snapshots of all projects. Whole, or an error.
    ///
    /// # Errors
    /// See [`CloudError`]; `TooMany` where there are more than `most`.
    pub async fn snapshots(&self, most: usize) -> Result<Vec<Snapshot>, CloudError> {
        let path = "/snapshots/detail?all_tenants=1&sort=created_at:asc,id:asc";
        let list = List {
            path,
            key: "snapshots",
            id: "/id",
            more: More::Link,
            most,
        };
        self.at.list(list).await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn snapshot(&self, id: &str) -> Result<Snapshot, CloudError> {
        self.at
            .get(&format!("/snapshots/{}", escaped(id)), "snapshot")
            .await
    }

    /// Begins to make a record of an RBD snapshot. It ends as `available` or `error`.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn manage_snapshot(&self, new: &ManageSnapshot) -> Result<Made, CloudError> {
        let body = json!({ "snapshot": {
            "volume_id": new.volume_id,
            "ref": reference(&new.source_name),
            "name": new.name,
            "description": new.description,
            "metadata": new.metadata,
        }});
        let (op, answer) = self.at.post("/manageable_snapshots", &body).await?;
        self.at.take(&op, answer, "snapshot")
    }

    /// Begins to take a snapshot's record away, and leaves the RBD snapshot as it is.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn unmanage_snapshot(&self, id: &str) -> Result<(), CloudError> {
        self.at
            .act("snapshots", id, &json!({ "os-unmanage": {} }))
            .await
    }

    /// Changes name and description.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn update_snapshot(&self, id: &str, texts: &Texts) -> Result<(), CloudError> {
        let path = format!("/snapshots/{}", escaped(id));
        let body = json!({ "snapshot": texts });
        self.at
            .write(Method::PUT, &path, Some(&body))
            .await
            .map(drop)
    }

    /// Sets properties, and leaves those that are not named.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn set_snapshot_metadata(
        &self,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        let path = format!("/snapshots/{}/metadata", escaped(id));
        let body = json!({ "metadata": metadata });
        self.at.post(&path, &body).await.map(drop)
    }

    /// Takes a property away. One that is not there is well.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn delete_snapshot_metadata(&self, id: &str, key: &str) -> Result<(), CloudError> {
        self.at.delete_key("snapshots", id, key).await
    }

    /// Writes another status into the record, whatever it was.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn reset_snapshot_status(&self, id: &str, status: &str) -> Result<(), CloudError> {
        let body = json!({ "os-reset_status": { "status": status } });
        self.at.act("snapshots", id, &body).await
    }
}
