//! From the configuration to clients. Nothing is contacted here.

use crate::{config::CliConfig, error::CliError};
use rekindle_common::{ApiError, ZoneName, tls::TlsFiles};
use rekindle_net::{Client, ClientLimits, SidecarClient};
use rekindle_orchestrator::client::{Endpoint, OrchestratorClient};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Whom this command can ask.
#[derive(Debug)]
pub struct Peers {
    orchestrators: Vec<Endpoint>,
    sidecars: BTreeMap<ZoneName, SidecarClient>,
}

impl Peers {
    /// Those of a configuration.
    ///
    /// # Errors
    /// [`CliError`] where a URL or a certificate cannot be used.
    pub fn from_config(config: CliConfig) -> Result<Self, CliError> {
        let orchestrators = config
            .orchestrators
            .iter()
            .map(|url| endpoint(url, &config))
            .collect::<Result<Vec<_>, CliError>>()?;
        let sidecars = config
            .zones
            .iter()
            .map(|(zone, z)| Ok((zone.clone(), client(&z.sidecar, &config)?.into())))
            .collect::<Result<BTreeMap<_, _>, CliError>>()?;
        Ok(Self::new(orchestrators, sidecars))
    }

    /// These.
    #[must_use]
    pub fn new(orchestrators: Vec<Endpoint>, sidecars: BTreeMap<ZoneName, SidecarClient>) -> Self {
        Self {
            orchestrators,
            sidecars,
        }
    }

    /// The orchestrators.
    ///
    /// # Errors
    /// [`CliError::Usage`] where the configuration names none.
    pub fn orchestrator(&self) -> Result<OrchestratorClient, CliError> {
        if self.orchestrators.is_empty() {
            return Err(CliError::usage("the configuration names no orchestrator").advise(
                "set `orchestrators = [\"https://HOST:PORT\", …]` in ~/.config/rekindle/cli.toml, or \
                 REKINDLE__ORCHESTRATORS",
            ));
        }
        Ok(OrchestratorClient::new(self.orchestrators.clone()))
    }

    /// A zone's sidecar.
    ///
    /// # Errors
    /// [`CliError::Usage`] where the configuration does not name it.
    pub fn sidecar(&self, zone: &ZoneName) -> Result<&SidecarClient, CliError> {
        self.sidecars.get(zone).ok_or_else(|| {
            let known: Vec<&str> = self.sidecars.keys().map(ZoneName::as_str).collect();
            let known = if known.is_empty() {
                "it names none".to_owned()
            } else {
                format!("it names {}", known.join(", "))
            };
            CliError::usage(format!(
                "the configuration has no sidecar for {zone}: {known}"
            ))
            .advise(format!(
                "add `[zones.{zone}]` with `sidecar = \"https://HOST:PORT\"`"
            ))
        })
    }

    /// All zones that the configuration names.
    ///
    /// # Errors
    /// [`CliError::Usage`] where it names none.
    pub fn zones(&self) -> Result<Vec<ZoneName>, CliError> {
        if self.sidecars.is_empty() {
            return Err(CliError::usage("the configuration names no zone").advise(
                "add `[zones.NAME]` with `sidecar = \"https://HOST:PORT\"` to ~/.config/rekindle/cli.toml",
            ));
        }
        Ok(self.sidecars.keys().cloned().collect())
    }
}

/// How a URL of the configuration is reached.
enum Reach {
    Unix(PathBuf),
    Https(TlsFiles),
}

fn reach(url: &str, config: &CliConfig) -> Result<Reach, CliError> {
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok(Reach::Unix(PathBuf::from(path)));
    }
    config.tls.clone().map(Reach::Https).ok_or_else(|| {
        CliError::usage(format!(
            "{url} needs certificates, and the configuration has none"
        ))
        .advise("add `[tls]` with ca, cert and key, or use a unix socket: `unix:/PATH`")
    })
}

fn limits(config: &CliConfig) -> ClientLimits {
    ClientLimits {
        call_time: config.deadline.get(),
        // A demotion or a forced promotion of one volume may take minutes (hard case 23).
        line_time: Duration::from_secs(600),
        ..ClientLimits::default()
    }
}

fn unusable(url: &str, e: ApiError) -> CliError {
    let field = e.field.map_or(String::new(), |f| format!("{f}: "));
    CliError::usage(format!("{url} cannot be used: {field}{}", e.message))
}

fn endpoint(url: &str, config: &CliConfig) -> Result<Endpoint, CliError> {
    match reach(url, config)? {
        Reach::Unix(path) => Ok(Endpoint::unix(path, config.tls.clone(), limits(config))),
        Reach::Https(tls) => {
            Endpoint::https(url, tls, limits(config)).map_err(|e| unusable(url, e))
        }
    }
}

fn client(url: &str, config: &CliConfig) -> Result<Client, CliError> {
    match reach(url, config)? {
        Reach::Unix(path) => Ok(Client::unix(path, limits(config))),
        Reach::Https(tls) => Client::mtls(url, &tls, limits(config)).map_err(|e| unusable(url, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn what_is_missing_is_said_with_what_to_write() {
        let empty = Peers::from_config(CliConfig::default()).unwrap();
        let e = empty.orchestrator().unwrap_err();
        assert_eq!(e.exit(), Exit::Usage);
        assert!(
            e.for_a_person().contains("orchestrators = ["),
            "{}",
            e.for_a_person()
        );
        assert!(empty.zones().is_err());

        let missing = empty.sidecar(&"zone-b".parse().unwrap()).unwrap_err();
        assert!(
            missing.for_a_person().contains("[zones.zone-b]"),
            "{missing}"
        );

        let config = CliConfig {
            orchestrators: vec!["https://192.0.2.1:1".to_owned()],
            ..CliConfig::default()
        };
        let e = Peers::from_config(config).unwrap_err();
        assert!(e.for_a_person().contains("[tls]"), "{}", e.for_a_person());
    }
}
