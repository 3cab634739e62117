//! Who we are towards Keystone, and where our secret stands.

use super::{Environment, files::Files};
use crate::yaml::Node;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A secret that is longer than this is not one.
const SECRET: u64 = 64 * 1024;

/// A user, or an application credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Password {
        user: Named,
        project: Named,
        secret: SecretAt,
    },
    Application {
        credential: Application,
        secret: SecretAt,
    },
}

/// A user or a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Id(String),
    Name(String, Domain),
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Domain {
    Id(String),
    Name(String),
}

/// An application credential: by its id, or by its name among its user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Application {
    Id(String),
    Name(String, Named),
}

impl Named {
    /// As Keystone takes it.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Id(id) => json!({ "id": id }),
            Self::Name(name, Domain::Id(id)) => json!({ "name": name, "domain": { "id": id } }),
            Self::Name(name, Domain::Name(domain)) => {
                json!({ "name": name, "domain": { "name": domain } })
            }
        }
    }
}

impl Application {
    /// As Keystone takes it, with its secret.
    pub(crate) fn json(&self, secret: &str) -> Value {
        match self {
            Self::Id(id) => json!({ "id": id, "secret": secret }),
            Self::Name(name, user) => {
                json!({ "name": name, "user": user.json(), "secret": secret })
            }
        }
    }
}

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretAt {
    /// In a file of its own, that this field of the section names.
    File { field: &'static str, path: PathBuf },
    /// In a cloud of `clouds.yaml` or `secure.yaml`, under this field of it.
    Cloud {
        files: Files,
        cloud: String,
        path: &'static str,
    },
    /// In that variable.
    Variable(String),
}

/// Why a secret cannot be had: never with any of it.
#[derive(Debug)]
pub(crate) struct NoSecret {
    /// The section's field.
    pub(crate) field: &'static str,
    pub(crate) why: String,
    pub(crate) source: Option<std::io::Error>,
}

impl SecretAt {
    /// Reads it. Files are small and local: read in place.
    pub(crate) fn read(&self, env: Environment<'_>) -> Result<String, NoSecret> {
        match self {
            Self::File { field, path } => of_a_file(field, path),
            Self::Variable(name) => env(name).ok_or_else(|| NoSecret {
                field: "environment",
                why: format!("{name} is not set"),
                source: None,
            }),
            Self::Cloud { files, cloud, path } => {
                let none = |why: String| NoSecret {
                    field: "clouds_yaml",
                    why,
                    source: None,
                };
                let read = files.read().map_err(none)?;
                let found = read.find(cloud, path);
                match found.map(|(file, node)| (file, node.clone())) {
                    Some((_, Node::Text(text))) if !text.is_empty() => Ok(text),
                    Some((file, Node::List(_) | Node::Map(_) | Node::Tagged | Node::Text(_))) => {
                        Err(none(format!(
                            "{}: cloud {cloud:?}: {path} is no plain text",
                            file.display()
                        )))
                    }
                    Some((_, Node::Null)) | None => Err(none(format!(
                        "{}: cloud {cloud:?}: {path} is missing",
                        files.clouds().display()
                    ))),
                }
            }
        }
    }
}

/// A file of one line.
fn of_a_file(field: &'static str, path: &Path) -> Result<String, NoSecret> {
    let unusable = |why: &str, source| NoSecret {
        field,
        why: format!("{} {why}", path.display()),
        source,
    };
    let unread = |e| unusable("cannot be read", Some(e));
    if std::fs::metadata(path).map_err(unread)?.len() > SECRET {
        return Err(unusable("is too large for a secret", None));
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(unusable("is empty", None));
    }
    Ok(text.to_owned())
}
