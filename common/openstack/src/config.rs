//! How a cloud is reached. Secrets stand in files of their own, are read when a token is asked for, and are kept nowhere.

use crate::url::Url;
use rekindle_common::duration::Span;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// One cloud: a zone's OpenStack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudConfig {
    /// Keystone: `https://HOST:5000/v3`.
    pub auth_url: String,
    /// The region, where Keystone's catalogue has several.
    #[serde(default)]
    pub region: Option<String>,
    /// Which of a service's endpoints is used.
    #[serde(default)]
    pub interface: Interface,
    /// The authorities that the servers' certificates are signed by, in PEM; the system's own by default.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// A user's name, with `user_domain` and `password_file`.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's domain, by name.
    #[serde(default = "default_domain")]
    pub user_domain: String,
    /// The file that holds the user's password, and nothing else.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// An application credential instead of a user. Keystone binds it to one project: it can make records in no other.
    #[serde(default)]
    pub application_credential_id: Option<String>,
    /// The file that holds its secret, and nothing else.
    #[serde(default)]
    pub application_credential_secret_file: Option<PathBuf>,
    /// The project of all that belongs to no other, by name. Not with an application credential, which has its own.
    #[serde(default)]
    pub project: Option<String>,
    /// That project's domain, by name.
    #[serde(default = "default_domain")]
    pub project_domain: String,
    /// For each RBD pool, the host that Cinder knows it by: `HOST@BACKEND#POOL`.
    #[serde(default)]
    pub backends: BTreeMap<String, String>,
    /// For each call; a list that comes in pages may take four times as long.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

fn default_domain() -> String {
    "Default".to_owned()
}

fn default_timeout() -> Span {
    Span::secs(15)
}

/// Which of a service's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// For everybody.
    #[default]
    Public,
    /// For the cloud's own services.
    Internal,
    /// For administrators.
    Admin,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        })
    }
}

/// A field of a [`CloudConfig`] that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidConfig {
    /// The field's name.
    pub field: String,
    /// What is wrong and what would be right.
    pub why: String,
}

/// Who we are towards Keystone, with what is named by files still in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    Password {
        username: &'a str,
        domain: &'a str,
        file: &'a PathBuf,
        project: &'a str,
        project_domain: &'a str,
    },
    Application {
        id: &'a str,
        file: &'a PathBuf,
    },
}

fn bad<T>(field: impl Into<String>, why: impl Into<String>) -> Result<T, InvalidConfig> {
    Err(InvalidConfig {
        field: field.into(),
        why: why.into(),
    })
}

impl CloudConfig {
    /// Checks the fields, and against each other. No file is opened.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the field.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        self.keystone()?;
        self.credentials()?;
        if self.timeout < Span::secs(1) || self.timeout > Span::secs(120) {
            return bad("timeout", format!("{} is outside 1s to 2m", self.timeout));
        }
        for (pool, host) in &self.backends {
            let parts = host
                .split_once('@')
                .and_then(|(name, rest)| Some((name, rest.split_once('#')?)));
            let whole = parts.is_some_and(|(name, (backend, pool))| {
                ![name, backend, pool].iter().any(|p| p.is_empty())
            });
            if !whole {
                return bad(
                    format!("backends.{pool}"),
                    format!(
                        "{host:?} is not HOST@BACKEND#POOL; `openstack volume backend pool list` prints them"
                    ),
                );
            }
        }
        Ok(())
    }

    /// What Cinder calls the backend of an RBD pool.
    #[must_use]
    pub fn host_of_pool(&self, pool: &str) -> Option<&str> {
        self.backends.get(pool).map(String::as_str)
    }

    /// Keystone's URL, which ends in `/v3`.
    pub(crate) fn keystone(&self) -> Result<Url, InvalidConfig> {
        let url = Url::parse(&self.auth_url).or_else(|why| bad("auth_url", why))?;
        Ok(if url.last_segment() == Some("v3") {
            url
        } else {
            url.join("/v3")
        })
    }

    pub(crate) fn credentials(&self) -> Result<Credentials<'_>, InvalidConfig> {
        let password = self.username.is_some() || self.password_file.is_some();
        let application = self.application_credential_id.is_some()
            || self.application_credential_secret_file.is_some();
        match (password, application) {
            (true, true) => bad(
                "username",
                "name a user with a password, or an application credential, not both",
            ),
            (false, false) => bad(
                "username",
                "is needed, with password_file; or application_credential_id with its secret's file",
            ),
            (false, true) => {
                let (Some(id), Some(file)) = (
                    &self.application_credential_id,
                    &self.application_credential_secret_file,
                ) else {
                    return bad(
                        "application_credential_id",
                        "is needed together with application_credential_secret_file",
                    );
                };
                if self.project.is_some() {
                    return bad(
                        "project",
                        "has no place beside an application credential, which has one of its own",
                    );
                }
                Ok(Credentials::Application { id, file })
            }
            (true, false) => {
                let (Some(username), Some(file)) = (&self.username, &self.password_file) else {
                    return bad("username", "is needed together with password_file");
                };
                let Some(project) = &self.project else {
                    return bad("project", "is needed: for what belongs to no other project");
                };
                Ok(Credentials::Password {
                    username,
                    domain: &self.user_domain,
                    file,
                    project,
                    project_domain: &self.project_domain,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
auth_url = "https://192.0.2.10:5000/v3"
username = "rekindle"
password_file = "/etc/rekindle/cloud-a.secret"
project = "service"
backends = { volumes = "host@ceph#ceph" }
"#;

    fn read(text: &str) -> CloudConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_example_is_good_and_has_defaults() {
        let config = read(GOOD);
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.interface, Interface::Public);
        assert_eq!(config.user_domain, "Default");
        assert_eq!(config.host_of_pool("volumes"), Some("host@ceph#ceph"));
        assert_eq!(config.host_of_pool("other"), None);
    }

    #[test]
    fn keystones_url_may_lack_its_version() {
        for (given, url) in [
            ("https://h:5000/v3", "https://h:5000/v3"),
            ("https://h/identity/", "https://h:443/identity/v3"),
            ("http://[2001:db8::1]:5000", "http://[2001:db8::1]:5000/v3"),
        ] {
            let mut config = read(GOOD);
            config.auth_url = given.to_owned();
            assert_eq!(config.keystone().unwrap().to_string(), url);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, field) in [
            ("https://192", "ftp://192", "auth_url"),
            ("username = \"rekindle\"\n", "", "username"),
            ("project = \"service\"\n", "", "project"),
            (
                "project = \"service\"",
                "application_credential_id = \"x\"",
                "username",
            ),
            ("host@ceph#ceph", "host@ceph", "backends.volumes"),
            ("host@ceph#ceph", "host@#ceph", "backends.volumes"),
            ("backends", "timeout = \"0s\"\nbackends", "timeout"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let e = read(&GOOD.replacen(from, to, 1)).check().unwrap_err();
            assert_eq!(e.field, field, "{e}");
        }
        let e = toml::from_str::<CloudConfig>(&format!("{GOOD}\n[x]\ny = 1")).unwrap_err();
        assert!(e.to_string().contains("unknown field"), "{e}");
    }

    #[test]
    fn an_application_credential_has_its_own_project() {
        let text = "auth_url = \"https://h/v3\"\napplication_credential_id = \"x\"\n";
        assert_eq!(
            read(text).check().unwrap_err().field,
            "application_credential_id"
        );
        let text = format!("{text}application_credential_secret_file = \"/f\"\n");
        assert_eq!(read(&text).check(), Ok(()));
        let text = format!("{text}project = \"p\"\n");
        assert_eq!(read(&text).check().unwrap_err().field, "project");
    }
}
