//! Where the orchestrators and sidecars are: `~/.config/rekindle/cli.toml`, the environment over it.

use crate::error::CliError;
use rekindle_common::{ZoneName, duration::Span, tls::TlsFiles};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// This command's configuration.
///
/// ```toml
/// orchestrators = ["https://192.0.2.1:7400", "https://192.0.2.2:7400", "unix:/run/rekindle-orchestrator/orchestrator.sock"]
/// [zones.zone-a]
/// sidecar = "https://192.0.2.1:7300"
/// [tls]
/// ca = "/etc/rekindle/ca.pem"
/// cert = "/etc/rekindle/operator.pem"
/// key = "/etc/rekindle/operator.key"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CliConfig {
    /// The orchestrators, in the order in which they are asked.
    #[serde(default)]
    pub orchestrators: Vec<String>,
    /// The zones' sidecars.
    #[serde(default)]
    pub zones: BTreeMap<ZoneName, ZoneConfig>,
    /// Needed for `https://`.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// How long one question may take.
    #[serde(default = "default_deadline")]
    pub deadline: Span,
}

fn default_deadline() -> Span {
    Span::secs(30)
}

impl Default for CliConfig {
    fn default() -> Self {
        Self {
            orchestrators: Vec::new(),
            zones: BTreeMap::new(),
            tls: None,
            deadline: default_deadline(),
        }
    }
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Its sidecar: `https://HOST:PORT` or `unix:/PATH`.
    pub sidecar: String,
}

/// Where the file is looked for without `--config`.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    let home = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let base = home("XDG_CONFIG_HOME").or_else(|| home("HOME").map(|h| h.join(".config")))?;
    Some(base.join("rekindle").join("cli.toml"))
}

impl CliConfig {
    /// Reads the named file, or the default one where it exists, and the environment (`REKINDLE__SECTION__KEY`) over it.
    ///
    /// # Errors
    /// [`CliError::Usage`] names the file and the field. A named file must exist.
    pub fn load(named: Option<&Path>) -> Result<Self, CliError> {
        let mut builder = config::Config::builder();
        let mut shown = "the environment".to_owned();
        match named {
            Some(path) => {
                shown = path.display().to_string();
                builder = builder.add_source(file(path, true));
            }
            None => {
                if let Some(path) = default_path() {
                    shown = path.display().to_string();
                    builder = builder.add_source(file(&path, false));
                }
            }
        }
        let environment = config::Environment::with_prefix("REKINDLE")
            .prefix_separator("__")
            .separator("__")
            .list_separator(",")
            .with_list_parse_key("orchestrators")
            .try_parsing(true);
        builder
            .add_source(environment)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|e| CliError::Usage {
                message: format!("the configuration ({shown}) cannot be used"),
                advice: Some("`rekindle config check FILE` says what is wrong".to_owned()),
                source: Some(Box::new(e)),
            })
    }

    /// Checks it by itself, for `rekindle config check`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let urls = self
            .zones
            .values()
            .map(|z| &z.sidecar)
            .chain(&self.orchestrators);
        for url in urls {
            let https = url.starts_with("https://");
            if !https && !url.starts_with("unix:/") {
                return Err(format!(
                    "{url:?} is neither https://HOST:PORT nor unix:/PATH"
                ));
            }
            if https && self.tls.is_none() {
                return Err(format!("tls: is needed for {url}"));
            }
        }
        Ok(())
    }
}

fn file(path: &Path, required: bool) -> config::File<config::FileSourceFile, config::FileFormat> {
    config::File::from(path)
        .format(config::FileFormat::Toml)
        .required(required)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cli.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_is_read() {
        let (_dir, path) = written(
            "orchestrators = [\"unix:/run/o.sock\"]\ndeadline = \"5s\"\n[zones.zone-a]\nsidecar = \"https://192.0.2.1:1\"\n",
        );
        let c = CliConfig::load(Some(&path)).unwrap();
        assert_eq!(c.orchestrators, ["unix:/run/o.sock"]);
        assert_eq!(c.deadline, Span::secs(5));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        for (text, what) in [
            ("orchestrator = []\n", "orchestrator"),
            ("deadline = \"soon\"\n", "soon"),
            ("[zones.Zone]\nsidecar = \"x\"\n", "Zone"),
            ("[tls]\nca = \"x\"\n", "cert"),
            ("orchestrators = [\n", "TOML"),
        ] {
            let (_dir, path) = written(text);
            let error = CliConfig::load(Some(&path)).unwrap_err();
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
            assert!(
                error.for_a_person().contains(what),
                "{text}: {}",
                error.for_a_person()
            );
        }
        assert!(CliConfig::load(Some(Path::new("/no/such/file"))).is_err());
    }
}
