//! The one thing of Barbican, the key manager, that is asked: whether a key is there. What is in it is never asked for.

use crate::{
    cloud::{Cloud, Scope, To, not_understood},
    error::CloudError,
    service::Client,
    url::escaped,
    wire,
};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Barbican, under one token's scope: a key is a project's. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Barbican {
    at: Client,
}

/// What Barbican says of a key, <https://docs.openstack.org/barbican/latest/api/reference/secrets.html>
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeyMetadata {
    /// `ACTIVE`, `PENDING` or `ERROR`.
    pub status: String,
    /// It is of no use after that.
    #[serde(default, deserialize_with = "wire::moment")]
    pub expiration: Option<Timestamp>,
    /// What kinds of content it has; one that was made without content has none.
    #[serde(default, deserialize_with = "wire::map")]
    pub content_types: BTreeMap<String, String>,
}

impl KeyMetadata {
    /// Why a volume could not be opened with it, at that time; `None`: nothing speaks against it.
    #[must_use]
    pub fn unusable(&self, now: Timestamp) -> Option<String> {
        if self.status != "ACTIVE" {
            return Some(format!("is {} and not ACTIVE", self.status));
        }
        if let Some(end) = self.expiration.filter(|end| *end <= now) {
            return Some(format!("expired at {end}"));
        }
        if self.content_types.is_empty() {
            return Some("has a record and no content".to_owned());
        }
        None
    }
}

impl Barbican {
    pub(crate) fn new(cloud: Cloud, scope: Scope) -> Self {
        let to = To::Barbican;
        Self {
            at: Client { cloud, scope, to },
        }
    }

    /// What is known of a key, by its id.
    ///
    /// # Errors
    /// See [`CloudError`]; `NotThere` where Keystone's catalogue has no key manager.
    pub async fn key(&self, id: &str) -> Result<KeyMetadata, CloudError> {
        let path = format!("/secrets/{}", escaped(id));
        let (op, answer) = self.at.read(&path).await?;
        KeyMetadata::deserialize(answer).map_err(|e| not_understood(&self.at.call(&op), e))
    }
}
