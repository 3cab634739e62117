//! The few things of Neutron that a server needs: networks, subnets, security groups by name, and its ports.
//!
//! ```text
//!   lists      whole or an error
//!   ports      made beforehand, so that a server keeps its addresses; known by their description, never by name or address alone
//! ```

mod ports;

use crate::{
    cloud::{Cloud, Scope, To},
    error::CloudError,
    service::{Client, List, More},
    url::escaped,
    wire,
};
pub use ports::{AddressPair, FixedIp, Port, PortError, PortRequest, PortStatus};
use serde::Deserialize;

/// No cloud has more.
const MOST: usize = 10_000;

/// Neutron, under one token's scope. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Neutron {
    at: Client,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name. Not unique.
    #[serde(default)]
    pub name: String,
    /// Whose it is.
    #[serde(default, deserialize_with = "wire::text")]
    pub project_id: Option<String>,
    /// Whether every project may use it.
    #[serde(default, deserialize_with = "wire::flag")]
    pub shared: bool,
    /// Whether it leads outside.
    #[serde(default, rename = "router:external", deserialize_with = "wire::flag")]
    pub external: bool,
    /// Its subnets.
    #[serde(default, deserialize_with = "wire::list")]
    pub subnets: Vec<String>,
    /// Whether its ports are filtered where nothing else is said; none: this Neutron knows no port that is not.
    #[serde(default)]
    pub port_security_enabled: Option<bool>,
}

impl Network {
    /// Whether servers of that project may be on it: it is its own, it leads outside, or it is shared. Neutron calls a network shared that
    /// everybody may use, and one that may be used (by RBAC) by the project whose token asks: so ask under that project's. An administrator
    /// is shown all others' too.
    #[must_use]
    pub fn is_usable_by(&self, project: &str) -> bool {
        self.shared || self.external || self.project_id.as_deref() == Some(project)
    }
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its name. Not unique.
    #[serde(default)]
    pub name: String,
    /// Its network.
    pub network_id: String,
    /// `10.0.0.0/24`
    pub cidr: String,
    /// 4 or 6.
    pub ip_version: u8,
    /// Its gateway.
    #[serde(default, deserialize_with = "wire::text")]
    pub gateway_ip: Option<String>,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// Its name. Each project has a `default`.
    #[serde(default)]
    pub name: String,
    /// Whose it is.
    #[serde(default, deserialize_with = "wire::text")]
    pub project_id: Option<String>,
}

/// What there is of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByName<T> {
    /// Nothing.
    None,
    /// The one.
    One(T),
    /// Several: name it by its id.
    Several(Vec<T>),
}

impl<T> ByName<T> {
    fn of(mut all: Vec<T>) -> Self {
        match (all.len(), all.pop()) {
            (0, _) | (_, None) => Self::None,
            (1, Some(one)) => Self::One(one),
            (_, Some(last)) => {
                all.push(last);
                Self::Several(all)
            }
        }
    }
}

impl Neutron {
    pub(crate) fn new(cloud: Cloud, scope: Scope) -> Self {
        let to = To::Neutron;
        Self {
            at: Client { cloud, scope, to },
        }
    }

    /// All networks that the scope may see: an administrator those of all projects.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn networks(&self) -> Result<Vec<Network>, CloudError> {
        self.all("/networks?sort_key=id&sort_dir=asc", "networks")
            .await
    }

    /// Networks of that name, or that id, that a project may use: see [`Network::is_usable_by`].
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn network(
        &self,
        project: &str,
        name_or_id: &str,
    ) -> Result<ByName<Network>, CloudError> {
        let all = self.networks().await?;
        let fits =
            |n: &Network| (n.id == name_or_id || n.name == name_or_id) && n.is_usable_by(project);
        Ok(ByName::of(all.into_iter().filter(fits).collect()))
    }

    /// A network's subnets.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn subnets(&self, network: &str) -> Result<Vec<Subnet>, CloudError> {
        let network = escaped(network);
        let path = format!("/subnets?network_id={network}&sort_key=id&sort_dir=asc");
        self.all(&path, "subnets").await
    }

    /// All subnets that the scope may see.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn all_subnets(&self) -> Result<Vec<Subnet>, CloudError> {
        self.all("/subnets?sort_key=id&sort_dir=asc", "subnets")
            .await
    }

    /// All security groups that the scope may see: an administrator those of all projects.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn security_groups(&self) -> Result<Vec<SecurityGroup>, CloudError> {
        let path = "/security-groups?sort_key=id&sort_dir=asc";
        self.all(path, "security_groups").await
    }

    /// Security groups of a project with that name, or that id. An administrator sees those of all projects: each has a `default`.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn security_group(
        &self,
        project: &str,
        name_or_id: &str,
    ) -> Result<ByName<SecurityGroup>, CloudError> {
        let path = format!(
            "/security-groups?project_id={}&sort_key=id&sort_dir=asc",
            escaped(project)
        );
        let all: Vec<SecurityGroup> = self.all(&path, "security_groups").await?;
        let fits = |g: &SecurityGroup| g.id == name_or_id || g.name == name_or_id;
        Ok(ByName::of(all.into_iter().filter(fits).collect()))
    }

    async fn all<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
    ) -> Result<Vec<T>, CloudError> {
        let list = List {
            path,
            key,
            id: "/id",
            more: More::Link,
            most: MOST,
        };
        self.at.list(list).await
    }
}
