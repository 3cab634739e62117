//! How a cloud is reached. Secrets stand in files of their own, in `clouds.yaml` or in the environment, are read when a token is asked
//! for, and are kept nowhere.
//!
//! One of three says where Keystone is and who we are: the fields here, a cloud of a `clouds.yaml`, or the usual variables.
//!
//! ```toml
//! [clouds.zone-a]
//! clouds_yaml = "/etc/openstack/clouds.yaml"   # and secure.yaml beside it, where there is one
//! cloud = "prod-a"
//! [clouds.zone-b]
//! environment = "ZONE_B_OS_"                   # ZONE_B_OS_AUTH_URL and so on; "OS_" where one process has one cloud
//! ```

use crate::{
    login::{Application, Domain, Named, SecretAt, Who},
    url::Url,
};
use rekindle_common::duration::Span;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// One cloud: a zone's OpenStack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudConfig {
    /// Keystone: `https://HOST:5000/v3`. With a user or an application credential below.
    #[serde(default)]
    pub auth_url: Option<String>,
    /// Instead of those: a `clouds.yaml` as all of OpenStack's clients read it, with `cloud`.
    #[serde(default)]
    pub clouds_yaml: Option<PathBuf>,
    /// The `secure.yaml` over it; the one that lies beside it by default.
    #[serde(default)]
    pub secure_yaml: Option<PathBuf>,
    /// Which of its clouds.
    #[serde(default)]
    pub cloud: Option<String>,
    /// Instead of either: what the usual variables begin with, `OS_` or one's own.
    #[serde(default)]
    pub environment: Option<String>,
    /// The region, where Keystone's catalogue has several. This and the next two win over what `clouds.yaml` or a variable says.
    #[serde(default)]
    pub region: Option<String>,
    /// Which of a service's endpoints is used; the public one by default.
    #[serde(default)]
    pub interface: Option<Interface>,
    /// The authorities that the servers' certificates are signed by, in PEM; the system's own by default.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// A user's name, with `user_domain` and `password_file`.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's domain, by name; `Default` by default.
    #[serde(default)]
    pub user_domain: Option<String>,
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
    /// That project's domain, by name; `Default` by default.
    #[serde(default)]
    pub project_domain: Option<String>,
    /// For each RBD pool, the host that Cinder knows it by: `HOST@BACKEND#POOL`.
    #[serde(default)]
    pub backends: BTreeMap<String, String>,
    /// For each call; a list that comes in pages may take four times as long.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// The domain that every Keystone begins with.
pub(crate) const DEFAULT_DOMAIN: &str = "Default";

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
        self.check_source()?;
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

    /// One source, and whole.
    fn check_source(&self) -> Result<(), InvalidConfig> {
        let file = [
            ("clouds_yaml", self.clouds_yaml.is_some()),
            ("cloud", self.cloud.is_some()),
            ("secure_yaml", self.secure_yaml.is_some()),
        ];
        let own = [
            ("auth_url", self.auth_url.is_some()),
            ("username", self.username.is_some()),
            ("user_domain", self.user_domain.is_some()),
            ("password_file", self.password_file.is_some()),
            (
                "application_credential_id",
                self.application_credential_id.is_some(),
            ),
            (
                "application_credential_secret_file",
                self.application_credential_secret_file.is_some(),
            ),
            ("project", self.project.is_some()),
            ("project_domain", self.project_domain.is_some()),
        ];
        let environment = [("environment", self.environment.is_some())];
        let set = |fields: &[(&'static str, bool)]| fields.iter().find(|(_, is)| *is).map(|f| f.0);
        match (set(&file), set(&environment), set(&own)) {
            (Some(field), Some(other), _)
            | (Some(field), None, Some(other))
            | (None, Some(field), Some(other)) => bad(
                other,
                format!(
                    "does not go with {field}: one of clouds_yaml, environment and auth_url says where the cloud is and who we are there"
                ),
            ),
            (Some(_), None, None) => match (&self.clouds_yaml, &self.cloud) {
                (Some(_), Some(name)) if !name.is_empty() => Ok(()),
                (Some(_), Some(_) | None) => bad("cloud", "is needed: which one of clouds_yaml"),
                (None, Some(_) | None) => bad("clouds_yaml", "is needed: the file with that cloud"),
            },
            (None, Some(_), None) => match self.environment.as_deref() {
                Some(prefix) if prefix.ends_with('_') => Ok(()),
                Some(_) | None => bad(
                    "environment",
                    "is no beginning of variables' names, such as \"OS_\" or \"ZONE_B_OS_\"",
                ),
            },
            (None, None, Some(_) | None) => {
                self.keystone()?;
                self.who().map(drop)
            }
        }
    }

    /// Keystone's URL, by the fields here.
    pub(crate) fn keystone(&self) -> Result<Url, InvalidConfig> {
        let Some(text) = &self.auth_url else {
            return bad(
                "auth_url",
                "is needed; or clouds_yaml with cloud, or environment",
            );
        };
        Url::keystone(text).or_else(|why| bad("auth_url", why))
    }

    /// Who we are, by the fields here.
    pub(crate) fn who(&self) -> Result<Who, InvalidConfig> {
        let domain = |given: &Option<String>| {
            Domain::Name(given.clone().unwrap_or(DEFAULT_DOMAIN.to_owned()))
        };
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
                Ok(Who::Application {
                    credential: Application::Id(id.clone()),
                    secret: SecretAt::File {
                        field: "application_credential_secret_file",
                        path: file.clone(),
                    },
                })
            }
            (true, false) => {
                let (Some(username), Some(file)) = (&self.username, &self.password_file) else {
                    return bad("username", "is needed together with password_file");
                };
                let Some(project) = &self.project else {
                    return bad("project", "is needed: for what belongs to no other project");
                };
                Ok(Who::Password {
                    user: Named::Name(username.clone(), domain(&self.user_domain)),
                    project: Named::Name(project.clone(), domain(&self.project_domain)),
                    secret: SecretAt::File {
                        field: "password_file",
                        path: file.clone(),
                    },
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Login;

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
        let login = Login::read(&config, &|_| None).unwrap();
        assert_eq!(login.interface, Interface::Public);
        let domain = || Domain::Name("Default".to_owned());
        let secret = SecretAt::File {
            field: "password_file",
            path: "/etc/rekindle/cloud-a.secret".into(),
        };
        assert_eq!(
            login.who,
            Who::Password {
                user: Named::Name("rekindle".to_owned(), domain()),
                project: Named::Name("service".to_owned(), domain()),
                secret,
            }
        );
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
            config.auth_url = Some(given.to_owned());
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
            (
                "auth_url = \"https://192.0.2.10:5000/v3\"\n",
                "",
                "auth_url",
            ),
            ("backends", "cloud = \"prod\"\nbackends", "auth_url"),
            ("backends", "environment = \"OS_\"\nbackends", "auth_url"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let e = read(&GOOD.replacen(from, to, 1)).check().unwrap_err();
            assert_eq!(e.field, field, "{e}");
        }
        let e = toml::from_str::<CloudConfig>(&format!("{GOOD}\n[x]\ny = 1")).unwrap_err();
        assert!(e.to_string().contains("unknown field"), "{e}");
    }

    #[test]
    fn one_source_is_named_and_whole() {
        for (text, field) in [
            ("clouds_yaml = \"/f\"\ncloud = \"a\"\n", None),
            (
                "clouds_yaml = \"/f\"\ncloud = \"a\"\nregion = \"R\"\ninterface = \"admin\"\nca = \"/c\"\n",
                None,
            ),
            ("environment = \"ZONE_B_OS_\"\n", None),
            ("clouds_yaml = \"/f\"\n", Some("cloud")),
            ("cloud = \"a\"\n", Some("clouds_yaml")),
            ("secure_yaml = \"/f\"\n", Some("clouds_yaml")),
            (
                "clouds_yaml = \"/f\"\ncloud = \"a\"\nenvironment = \"OS_\"\n",
                Some("environment"),
            ),
            (
                "clouds_yaml = \"/f\"\ncloud = \"a\"\nproject = \"p\"\n",
                Some("project"),
            ),
            (
                "environment = \"OS_\"\nuser_domain = \"p\"\n",
                Some("user_domain"),
            ),
            ("environment = \"OS\"\n", Some("environment")),
            ("", Some("auth_url")),
        ] {
            let said = read(text).check().err().map(|e| e.field);
            assert_eq!(said.as_deref(), field, "{text}");
        }
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
