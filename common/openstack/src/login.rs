//! Where a cloud is and who we are there, whichever of three places says so.
//!
//! ```text
//!   the section's own fields ──────────────────────────────┐
//!   clouds_yaml + cloud ── clouds.yaml, secure.yaml ── Said ─┼── Login ── Cloud
//!   environment = "OS_" ── OS_CLOUD: as above; OS_*: ── Said ┘
//! ```
//!
//! One place says it whole: two that are half used could send one zone's password to the other. Where to look within the cloud (`region`,
//! `interface`, `ca`) the section's own fields win.
//!
//! A secret is in none of these: it is read where it stands each time that a token is asked for.

mod files;
mod said;
mod who;

use crate::{
    config::{CloudConfig, Interface, InvalidConfig},
    url::Url,
};
use files::Files;
use said::{Place, Said};
use std::path::PathBuf;
pub(crate) use who::{Application, Domain, Named, SecretAt, Who};

/// Looks a variable up.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment. An empty variable counts as none, as with all clients.
pub(crate) fn process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// How a cloud is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Ends in `/v3`.
    pub(crate) keystone: Url,
    pub(crate) region: Option<String>,
    pub(crate) interface: Interface,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) who: Who,
}

impl Login {
    /// Opens the files that the section names, but for the section's own secret.
    pub(crate) fn read(config: &CloudConfig, env: Environment<'_>) -> Result<Self, InvalidConfig> {
        config.check()?;
        if let Some(path) = &config.clouds_yaml {
            let name = config.cloud.as_deref().unwrap_or_default();
            let files = Files::named(path, config.secure_yaml.as_deref());
            return Self::of(config, None, &Said::file("clouds_yaml", files, name)?);
        }
        let Some(prefix) = &config.environment else {
            return Ok(Self {
                keystone: config.keystone()?,
                region: config.region.clone(),
                interface: config.interface.unwrap_or_default(),
                ca: config.ca.clone(),
                who: config.who()?,
            });
        };
        let said = Said::environment(prefix, env)?;
        let Some(name) = said.plain("cloud") else {
            return Self::of(config, None, &said);
        };
        said.refuse_beside_a_cloud()?;
        let files = Files::usual(prefix, env)?;
        let over = said.place(None)?;
        Self::of(
            config,
            Some(over),
            &Said::file("environment", files, &name)?,
        )
    }

    /// By what was said, and by what wins over it as to where to look.
    fn of(
        config: &CloudConfig,
        over: Option<Place>,
        said: &Said<'_>,
    ) -> Result<Self, InvalidConfig> {
        said.refuse_what_is_not_followed()?;
        let over = over.unwrap_or_default();
        let region = config.region.clone().or(over.region);
        let place = said.place(region.as_deref())?;
        let interface = config.interface.or(over.interface).or(place.interface);
        Ok(Self {
            keystone: said.keystone()?,
            region: region.or(place.region),
            interface: interface.unwrap_or_default(),
            ca: config.ca.clone().or(over.ca).or(place.ca),
            who: said.who()?,
        })
    }
}

#[cfg(test)]
mod tests;
