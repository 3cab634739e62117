//! The zones' OpenStacks, and the mapping between them.

use super::{Checked, Config, ConfigError, bad};
use rekindle_common::{ZoneName, duration::Span};
use rekindle_core::{
    catalogue::mapping::{Mapping, MappingError},
    daily::{Daily, LONGEST_SPREAD},
};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// A mapping of more bytes is another file.
const MAPPING: u64 = 4 * 1024 * 1024;

/// How the other zone's catalogue is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueConfig {
    /// The file that says what is what in the other zone; see [`rekindle_core::catalogue::mapping`].
    pub mapping: PathBuf,
}

/// When the leader checks each group's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreflightConfig {
    /// After this hour, UTC.
    pub hour: u8,
    /// Groups are spread over so long after it.
    pub spread: Span,
}

impl Default for PreflightConfig {
    fn default() -> Self {
        Self {
            hour: 3,
            spread: Span::secs(3600),
        }
    }
}

impl PreflightConfig {
    /// As the daily check takes it. One that found something is done again after an hour, so that what was mended shows.
    #[must_use]
    pub fn daily(&self) -> Daily {
        Daily {
            hour: self.hour,
            spread: self.spread,
            again: Span::secs(3600),
        }
    }
}

impl Config {
    pub(super) fn check_clouds(&self) -> Checked {
        for (zone, cloud) in &self.clouds {
            if !self.zones.contains_key(zone) {
                return bad(
                    format!("clouds.{zone}"),
                    "there is no such zone among zones",
                );
            }
            if let Err(e) = cloud.check() {
                return bad(format!("clouds.{zone}.{}", e.field), e.why);
            }
        }
        if self.catalogue.is_some()
            && let Some(zone) = self.zones.keys().find(|z| !self.clouds.contains_key(*z))
        {
            return bad(
                format!("clouds.{zone}"),
                "is needed for the catalogue, as for every zone",
            );
        }
        let every = self.times.catalogue;
        if every < Span::secs(1) || every > Span::secs(600) {
            return bad("times.catalogue", format!("{every} is outside 1s to 10m"));
        }
        let every = self.times.servers;
        if every < Span::secs(1) || every > Span::secs(3600) {
            return bad("times.servers", format!("{every} is outside 1s to 1h"));
        }
        let PreflightConfig { hour, spread } = self.preflight;
        if hour > 23 {
            return bad("preflight.hour", format!("{hour} is no hour from 0 to 23"));
        }
        if spread > LONGEST_SPREAD {
            let why = format!("{spread} is more than {LONGEST_SPREAD}");
            return bad("preflight.spread", why);
        }
        Ok(())
    }

    /// Reads the mapping and checks it by itself. `None` where no catalogue is kept.
    ///
    /// # Errors
    /// [`ConfigError`] with every field that is wrong.
    pub fn mapping(&self) -> Result<Option<Mapping>, ConfigError> {
        let Some(CatalogueConfig { mapping: path }) = &self.catalogue else {
            return Ok(None);
        };
        let mapping = read_mapping(path)?;
        let zones: BTreeSet<ZoneName> = self.zones.keys().cloned().collect();
        let found = mapping.check(&zones);
        if found.is_empty() {
            Ok(Some(mapping))
        } else {
            Err(ConfigError::Mapping {
                path: path.clone(),
                all: in_words(&found),
            })
        }
    }
}

fn in_words(found: &[MappingError]) -> String {
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Reads a mapping without a check of what it says.
///
/// # Errors
/// [`ConfigError::ReadMapping`].
pub fn read_mapping(path: &Path) -> Result<Mapping, ConfigError> {
    let unread = |source: Box<dyn std::error::Error + Send + Sync>| ConfigError::ReadMapping {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path)
        .map_err(|e| unread(Box::new(e)))?
        .len();
    if size > MAPPING {
        let why = format!("it has {size} bytes, which no mapping needs");
        return Err(unread(why.into()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unread(Box::new(e)))?;
    toml::from_str(&text).map_err(|e| unread(Box::new(e)))
}
