//! Volume types: what a volume of each is made as.

use super::Cinder;
use crate::{
    cloud::not_understood,
    error::CloudError,
    service::{List, More},
    url::escaped,
    wire,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// No cloud has more.
const MOST: usize = 10_000;

/// A volume type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VolumeType {
    /// Its id.
    pub id: String,
    /// Its name, unique in this Cinder.
    pub name: String,
    /// Whether every project may use it.
    #[serde(default, deserialize_with = "wire::flag")]
    pub is_public: bool,
    /// What it asks of a backend.
    #[serde(default, deserialize_with = "wire::map")]
    pub extra_specs: BTreeMap<String, String>,
}

impl VolumeType {
    /// Whether its volumes are replicated.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.says("replication_enabled")
    }
    /// Whether several servers may have one of its volumes at once.
    #[must_use]
    pub fn is_multiattach(&self) -> bool {
        self.says("multiattach")
    }
    /// The backend that it asks for.
    #[must_use]
    pub fn backend_name(&self) -> Option<&str> {
        self.extra_specs
            .get("volume_backend_name")
            .map(String::as_str)
    }
    fn says(&self, spec: &str) -> bool {
        let words = self.extra_specs.get(spec).map(|v| v.split_whitespace());
        words.is_some_and(|w| {
            w.collect::<Vec<_>>()
                .join(" ")
                .eq_ignore_ascii_case("<is> true")
        })
    }
}

/// How a type's volumes are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TypeEncryption {
    /// `luks`, …
    #[serde(default, deserialize_with = "wire::text")]
    pub provider: Option<String>,
    /// `front-end` or `back-end`.
    #[serde(default, deserialize_with = "wire::text")]
    pub control_location: Option<String>,
    /// `aes-xts-plain64`, …
    #[serde(default, deserialize_with = "wire::text")]
    pub cipher: Option<String>,
    /// Bits.
    #[serde(default)]
    pub key_size: Option<u32>,
}

impl Cinder {
    /// All volume types, private ones too.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn volume_types(&self) -> Result<Vec<VolumeType>, CloudError> {
        let path = "/types?is_public=None&sort=created_at:asc,id:asc";
        let list = List {
            path,
            key: "volume_types",
            id: "/id",
            more: More::EmptyPage,
            most: MOST,
        };
        self.at.list(list).await
    }

    /// How a type's volumes are encrypted; `None`: not at all.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn encryption(&self, type_id: &str) -> Result<Option<TypeEncryption>, CloudError> {
        let path = format!("/types/{}/encryption", escaped(type_id));
        let (op, answer) = self.at.read(&path).await?;
        // An empty object stands for none.
        if answer.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(None);
        }
        TypeEncryption::deserialize(answer)
            .map(Some)
            .map_err(|e| not_understood(&self.at.call(&op), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_read_as_cinder_reads_it() {
        for (spec, yes) in [
            ("<is> True", true),
            (" <is>  true ", true),
            ("<is> False", false),
            ("True", false),
        ] {
            let specs = [("replication_enabled".to_owned(), spec.to_owned())];
            let kind = VolumeType {
                id: "1".into(),
                name: "fast".into(),
                is_public: true,
                extra_specs: specs.into(),
            };
            assert_eq!(kind.is_replicated(), yes, "{spec}");
            assert!(!kind.is_multiattach());
        }
    }
}
