//! `clouds.yaml` and `secure.yaml`: which files they are, and what a cloud has in them.

use super::Environment;
use crate::{
    config::InvalidConfig,
    yaml::{self, Map, Node},
};
use std::path::{Path, PathBuf};

/// Names that are told when one is not there.
const TOLD: usize = 10;

/// Which two files: where something stands in both, the second one has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    clouds: PathBuf,
    secure: Option<PathBuf>,
}

/// What was in them.
pub(crate) struct Read {
    files: Files,
    clouds: Node,
    secure: Option<Node>,
}

impl Files {
    /// That file, and `secure.yaml` beside it where there is one and no other is named.
    pub(crate) fn named(clouds: &Path, secure: Option<&Path>) -> Self {
        let beside = || {
            let names = ["secure.yaml", "secure.yml"];
            let mut all = names.iter().map(|n| clouds.with_file_name(n));
            all.find(|p| p.is_file())
        };
        Self {
            clouds: clouds.to_owned(),
            secure: secure.map(Path::to_owned).or_else(beside),
        }
    }

    /// Those that variables name, or that lie where all clients look for them.
    pub(crate) fn usual(prefix: &str, env: Environment<'_>) -> Result<Self, InvalidConfig> {
        let home = env("HOME").map(|h| PathBuf::from(h).join(".config/openstack"));
        let folders: Vec<PathBuf> = [
            Some(PathBuf::from(".")),
            home,
            Some("/etc/openstack".into()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let named = |variable: &str| env(&format!("{prefix}{variable}")).map(PathBuf::from);
        let mut usual = folders
            .iter()
            .flat_map(|f| ["clouds.yaml", "clouds.yml"].map(|name| f.join(name)));
        let clouds = named("CLIENT_CONFIG_FILE").or_else(|| usual.find(|p| p.is_file()));
        let clouds = clouds.ok_or_else(|| InvalidConfig {
            field: "environment".to_owned(),
            why: format!(
                "{prefix}CLOUD is set, and there is no clouds.yaml in this folder, in ~/.config/openstack or in /etc/openstack: name it in {prefix}CLIENT_CONFIG_FILE"
            ),
        })?;
        Ok(Self::named(&clouds, named("CLIENT_SECURE_FILE").as_deref()))
    }

    pub(crate) fn clouds(&self) -> &Path {
        &self.clouds
    }

    /// Reads them, or says which of them cannot be.
    pub(crate) fn read(&self) -> Result<Read, String> {
        let read =
            |path: &Path| yaml::read(path).map_err(|why| format!("{}: {why}", path.display()));
        Ok(Read {
            clouds: read(&self.clouds)?,
            secure: self.secure.as_deref().map(read).transpose()?,
            files: self.clone(),
        })
    }
}

fn clouds(whole: &Node) -> Option<&Map> {
    match whole.get("clouds") {
        Some(Node::Map(map)) => Some(map),
        Some(Node::Null | Node::Text(_) | Node::List(_) | Node::Tagged) | None => None,
    }
}

impl Read {
    /// What a cloud has under `auth.username`, say, and the file that has it.
    pub(crate) fn find(&self, cloud: &str, path: &str) -> Option<(&Path, &Node)> {
        self.entries(cloud).into_iter().find_map(|(file, entry)| {
            let mut parts = path.split('.');
            let found = parts.try_fold(entry, |node, part| node.get(part))?;
            (*found != Node::Null).then_some((file, found))
        })
    }

    /// The fields that a cloud has, or has under one of them, with the file.
    pub(crate) fn fields(&self, cloud: &str, under: Option<&str>) -> Vec<(&Path, &str)> {
        let maps = self.entries(cloud).into_iter().filter_map(|(file, entry)| {
            let inner = under.map_or(Some(entry), |name| entry.get(name))?;
            match inner {
                Node::Map(map) => Some((file, map)),
                Node::Null | Node::Text(_) | Node::List(_) | Node::Tagged => None,
            }
        });
        maps.flat_map(|(file, map)| map.keys().map(move |k| (file, k.as_str())))
            .collect()
    }

    /// Whether `clouds.yaml` has it, or what it has instead.
    pub(crate) fn has(&self, cloud: &str) -> Result<(), String> {
        let file = self.files.clouds.display();
        let all = clouds(&self.clouds)
            .ok_or_else(|| format!("{file}: it has no `clouds:`, so it is no clouds.yaml"))?;
        match all.get(cloud) {
            Some(Node::Map(_)) => Ok(()),
            Some(Node::Null | Node::Text(_) | Node::List(_) | Node::Tagged) => {
                Err(format!("{file}: cloud {cloud:?} has no fields"))
            }
            None => {
                let mut names: Vec<&str> = all.keys().map(String::as_str).take(TOLD).collect();
                if all.len() > TOLD {
                    names.push("…");
                }
                let names = names.join(", ");
                Err(format!("{file}: no cloud {cloud:?}; there are: {names}"))
            }
        }
    }

    /// What each file has of a cloud, the one that wins first.
    fn entries(&self, cloud: &str) -> Vec<(&Path, &Node)> {
        let secure = self.secure.as_ref().zip(self.files.secure.as_deref());
        let both = secure
            .into_iter()
            .chain([(&self.clouds, self.files.clouds.as_path())]);
        both.filter_map(|(whole, file)| Some((file, clouds(whole)?.get(cloud)?)))
            .collect()
    }
}
