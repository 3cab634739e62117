//! What a cloud's entry in `clouds.yaml` says, or the usual variables. Both have the same fields under two names.

use super::{
    Application, Domain, Environment, Named, SecretAt, Who,
    files::{Files, Read},
};
use crate::{
    config::{DEFAULT_DOMAIN, Interface, InvalidConfig},
    url::Url,
    yaml::Node,
};
use std::path::PathBuf;

/// The fields that are followed: in `clouds.yaml`, and as a variable without its prefix.
const FIELDS: [(&str, &str); 18] = [
    ("auth.auth_url", "AUTH_URL"),
    ("auth.username", "USERNAME"),
    ("auth.user_id", "USER_ID"),
    ("auth.user_domain_name", "USER_DOMAIN_NAME"),
    ("auth.user_domain_id", "USER_DOMAIN_ID"),
    ("auth.password", "PASSWORD"),
    ("auth.project_name", "PROJECT_NAME"),
    ("auth.project_id", "PROJECT_ID"),
    ("auth.project_domain_name", "PROJECT_DOMAIN_NAME"),
    ("auth.project_domain_id", "PROJECT_DOMAIN_ID"),
    (
        "auth.application_credential_id",
        "APPLICATION_CREDENTIAL_ID",
    ),
    (
        "auth.application_credential_name",
        "APPLICATION_CREDENTIAL_NAME",
    ),
    (
        "auth.application_credential_secret",
        "APPLICATION_CREDENTIAL_SECRET",
    ),
    ("auth_type", "AUTH_TYPE"),
    ("region_name", "REGION_NAME"),
    ("interface", "INTERFACE"),
    ("endpoint_type", "ENDPOINT_TYPE"),
    ("cacert", "CACERT"),
];

/// These would change who we are, or where a call goes, and are not followed: so they are refused.
const OTHERS: [(&str, &str); 10] = [
    ("profile", "-"),
    ("cert", "CERT"),
    ("key", "KEY"),
    ("auth.token", "TOKEN"),
    ("auth.trust_id", "TRUST_ID"),
    ("auth.system_scope", "SYSTEM_SCOPE"),
    ("auth.domain_id", "DOMAIN_ID"),
    ("auth.domain_name", "DOMAIN_NAME"),
    ("auth.passcode", "PASSCODE"),
    ("auth.access_token", "ACCESS_TOKEN"),
];

/// The same for one service of the cloud: `compute_endpoint_override`.
const OF_A_SERVICE: [&str; 4] = [
    "_endpoint_override",
    "_endpoint",
    "_region_name",
    "_interface",
];

/// Where it stands.
enum From<'a> {
    File {
        read: Read,
        files: Files,
        cloud: String,
    },
    Environment {
        prefix: String,
        env: Environment<'a>,
    },
}

/// What was said.
pub(super) struct Said<'a> {
    /// The section's field that led here.
    field: &'static str,
    from: From<'a>,
}

/// Where to look in a cloud.
#[derive(Default)]
pub(super) struct Place {
    pub(super) region: Option<String>,
    pub(super) interface: Option<Interface>,
    pub(super) ca: Option<PathBuf>,
}

type Answer<T> = Result<T, InvalidConfig>;

impl<'a> Said<'a> {
    pub(super) fn file(field: &'static str, files: Files, cloud: &str) -> Answer<Self> {
        let bad = |why| InvalidConfig {
            field: field.to_owned(),
            why,
        };
        let read = files.read().map_err(bad)?;
        read.has(cloud).map_err(bad)?;
        let from = From::File {
            read,
            files,
            cloud: cloud.to_owned(),
        };
        Ok(Self { field, from })
    }

    pub(super) fn environment(prefix: &str, env: Environment<'a>) -> Answer<Self> {
        let from = From::Environment {
            prefix: prefix.to_owned(),
            env,
        };
        let field = "environment";
        Ok(Self { field, from })
    }

    /// A variable that no field of `clouds.yaml` stands for.
    pub(super) fn plain(&self, name: &str) -> Option<String> {
        match &self.from {
            From::File { .. } => None,
            From::Environment { prefix, env } => {
                env(&format!("{prefix}{}", name.to_ascii_uppercase()))
            }
        }
    }

    fn bad<T>(&self, path: &str, why: &str) -> Answer<T> {
        let why = match &self.from {
            From::File { read, files, cloud } => {
                let file = read
                    .find(cloud, path)
                    .map_or(files.clouds(), |(file, _)| file);
                format!("{}: cloud {cloud:?}: {path} {why}", file.display())
            }
            From::Environment { .. } => format!("{} {why}", self.name(path)),
        };
        Err(InvalidConfig {
            field: self.field.to_owned(),
            why,
        })
    }

    /// What a field is called here.
    fn name(&self, path: &str) -> String {
        match &self.from {
            From::File { .. } => path.to_owned(),
            From::Environment { prefix, .. } => {
                let mut all = FIELDS.iter().chain(&OTHERS);
                let found = all.find(|(p, _)| *p == path);
                match found {
                    Some((_, variable)) => format!("{prefix}{variable}"),
                    None => format!("{prefix}{}", path.to_ascii_uppercase()),
                }
            }
        }
    }

    fn text(&self, path: &str) -> Answer<Option<String>> {
        match &self.from {
            From::Environment { env, .. } => Ok(env(&self.name(path))),
            From::File { read, cloud, .. } => match read.find(cloud, path).map(|(_, node)| node) {
                None | Some(Node::Null) => Ok(None),
                Some(Node::Text(text)) if text.is_empty() => Ok(None),
                Some(Node::Text(text)) => Ok(Some(text.clone())),
                Some(Node::List(_) | Node::Map(_) | Node::Tagged) => {
                    self.bad(path, "is no plain text")
                }
            },
        }
    }

    fn needed(&self, path: &str, why: &str) -> Answer<String> {
        match self.text(path)? {
            Some(text) => Ok(text),
            None => self.bad(path, &format!("is missing: {why}")),
        }
    }

    pub(super) fn keystone(&self) -> Answer<Url> {
        let path = "auth.auth_url";
        let text = self.needed(path, "Keystone's URL, https://HOST:5000/v3")?;
        match Url::keystone(&text) {
            Ok(url) => Ok(url),
            Err(why) => self.bad(path, &format!("cannot be used: {why}")),
        }
    }

    /// By `auth_type`, or by what is there.
    pub(super) fn who(&self) -> Answer<Who> {
        let credential = self.text("auth.application_credential_id")?.is_some()
            || self.text("auth.application_credential_name")?.is_some();
        let password = self.text("auth.password")?.is_some();
        match self.text("auth_type")?.as_deref() {
            Some("password" | "v3password") => self.by_password(),
            Some("v3applicationcredential") => self.by_application(),
            Some(_) => self.bad(
                "auth_type",
                "is not one of password, v3password and v3applicationcredential",
            ),
            None if credential && password => self.bad(
                "auth_type",
                "is needed: there is a password, and an application credential too",
            ),
            None if credential => self.by_application(),
            None => self.by_password(),
        }
    }

    fn by_password(&self) -> Answer<Who> {
        Ok(Who::Password {
            user: self.user("the user's name")?,
            project: self.named(
                ["auth.project_id", "auth.project_name"],
                ["auth.project_domain_id", "auth.project_domain_name"],
                "the project of what belongs to no other",
            )?,
            secret: self.secret("auth.password", "the user's")?,
        })
    }

    fn by_application(&self) -> Answer<Who> {
        let credential = match self.text("auth.application_credential_id")? {
            Some(id) => Application::Id(id),
            None => {
                let name = self.needed(
                    "auth.application_credential_name",
                    "the credential's id or name",
                )?;
                Application::Name(
                    name,
                    self.user("whose the credential is, where it has no id")?,
                )
            }
        };
        for path in ["auth.project_id", "auth.project_name"] {
            if self.text(path)?.is_some() {
                return self.bad(
                    path,
                    "has no place beside an application credential, which has a project of its own",
                );
            }
        }
        Ok(Who::Application {
            credential,
            secret: self.secret("auth.application_credential_secret", "it was shown once")?,
        })
    }

    fn user(&self, why: &str) -> Answer<Named> {
        self.named(
            ["auth.user_id", "auth.username"],
            ["auth.user_domain_id", "auth.user_domain_name"],
            why,
        )
    }

    fn named(&self, [id, name]: [&str; 2], domain: [&str; 2], why: &str) -> Answer<Named> {
        if let Some(id) = self.text(id)? {
            return Ok(Named::Id(id));
        }
        let name = self.needed(name, why)?;
        let [id, by_name] = domain;
        let domain = match (self.text(id)?, self.text(by_name)?) {
            (Some(id), _) => Domain::Id(id),
            (None, Some(name)) => Domain::Name(name),
            (None, None) => Domain::Name(DEFAULT_DOMAIN.to_owned()),
        };
        Ok(Named::Name(name, domain))
    }

    /// Looked at once, and not kept.
    fn secret(&self, path: &'static str, why: &str) -> Answer<SecretAt> {
        self.needed(path, why)?;
        Ok(match &self.from {
            From::File { files, cloud, .. } => SecretAt::Cloud {
                files: files.clone(),
                cloud: cloud.clone(),
                path,
            },
            From::Environment { .. } => SecretAt::Variable(self.name(path)),
        })
    }

    /// The region that the section has of its own chooses among several.
    pub(super) fn place(&self, own: Option<&str>) -> Answer<Place> {
        Ok(Place {
            region: self.region(own)?,
            interface: self.interface()?,
            ca: self.ca()?,
        })
    }

    fn region(&self, own: Option<&str>) -> Answer<Option<String>> {
        if let Some(name) = self.text("region_name")? {
            return Ok(Some(name));
        }
        let From::File { read, cloud, .. } = &self.from else {
            return Ok(None);
        };
        let Some((_, Node::List(all))) = read.find(cloud, "regions") else {
            return Ok(None);
        };
        let mut names = Vec::new();
        for one in all {
            match one {
                Node::Text(name) => names.push(name.as_str()),
                Node::Null | Node::List(_) | Node::Map(_) | Node::Tagged => {
                    return self.bad("regions", "has more than names, which is not followed");
                }
            }
        }
        match (names.as_slice(), own) {
            (_, Some(own)) if names.contains(&own) => Ok(None),
            (_, Some(_)) => self.bad("regions", "does not have the region that is set here"),
            ([one], None) => Ok(Some((*one).to_owned())),
            (_, None) => self.bad(
                "regions",
                "has several: write `region` beside it, to say which",
            ),
        }
    }

    fn interface(&self) -> Answer<Option<Interface>> {
        for path in ["interface", "endpoint_type"] {
            // `publicURL` is how it was written in the days of Keystone v2.
            match self
                .text(path)?
                .as_deref()
                .map(|t| t.trim_end_matches("URL"))
            {
                None => {}
                Some("public") => return Ok(Some(Interface::Public)),
                Some("internal") => return Ok(Some(Interface::Internal)),
                Some("admin") => return Ok(Some(Interface::Admin)),
                Some(_) => return self.bad(path, "is not one of public, internal and admin"),
            }
        }
        Ok(None)
    }

    fn ca(&self) -> Answer<Option<PathBuf>> {
        let path = match self.text("cacert")? {
            None => return Ok(None),
            Some(text) => PathBuf::from(text),
        };
        if path.is_absolute() {
            return Ok(Some(path));
        }
        self.bad("cacert", "is no absolute path")
    }

    /// Beside a cloud that a variable names, no other variable says who we are.
    pub(super) fn refuse_beside_a_cloud(&self) -> Answer<()> {
        for (path, _) in FIELDS {
            if (path.starts_with("auth.") || path == "auth_type") && self.text(path)?.is_some() {
                let cloud = self.name("CLOUD");
                return self.bad(
                    path,
                    &format!(
                        "is set beside {cloud}: unset one of them, for they may mean two clouds"
                    ),
                );
            }
        }
        self.refuse_what_is_not_followed()
    }

    pub(super) fn refuse_what_is_not_followed(&self) -> Answer<()> {
        for (path, _) in OTHERS {
            if self.text(path)?.is_some() {
                return self.bad(path, "is not followed here: take it out");
            }
        }
        self.refuse_other_versions()?;
        let From::File { read, cloud, .. } = &self.from else {
            return self.insecure("INSECURE", &["false", "0", "no"]);
        };
        for (_, name) in read.fields(cloud, Some("auth")) {
            let path = format!("auth.{name}");
            if !FIELDS.iter().any(|(known, _)| *known == path) {
                return self.bad(&path, "is no field that is known here");
            }
        }
        for (_, name) in read.fields(cloud, None) {
            if FIELDS.iter().all(|(known, _)| *known != name)
                && OF_A_SERVICE.iter().any(|end| name.ends_with(end))
            {
                return self.bad(
                    name,
                    "is not followed here: endpoints are taken from Keystone's catalogue",
                );
            }
        }
        self.insecure("verify", &["true", "yes", "on", "1"])
    }

    fn refuse_other_versions(&self) -> Answer<()> {
        let version = match &self.from {
            From::File { .. } => self.text("identity_api_version")?,
            From::Environment { .. } => self.plain("identity_api_version"),
        };
        match version.as_deref() {
            None | Some("3" | "v3" | "3.0") => Ok(()),
            Some(_) => self.bad(
                "identity_api_version",
                "is not 3, which alone is spoken here",
            ),
        }
    }

    /// A secret is sent to nobody whose certificate was not looked at.
    fn insecure(&self, name: &str, well: &[&str]) -> Answer<()> {
        let said = match &self.from {
            From::File { .. } => self.text(name)?,
            From::Environment { .. } => self.plain(name),
        };
        match said.map(|t| t.to_ascii_lowercase()) {
            Some(text) if !well.contains(&text.as_str()) => self.bad(
                name,
                "would have certificates unchecked, which is not done here: name their authority in cacert",
            ),
            Some(_) | None => Ok(()),
        }
    }
}
