//! Ports: a server's place in a network, with its addresses.

use super::Neutron;
use crate::{
    cinder::QuotaSet,
    error::CloudError,
    nova::{Over, too_small},
    url::escaped,
    wire,
};
use hyper::Method;
use rekindle_common::ZoneName;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::IpAddr};

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Port {
    /// Its id.
    pub id: String,
    /// Its name. Not unique.
    #[serde(default, deserialize_with = "wire::text")]
    pub name: Option<String>,
    /// Its description, by which we know ours.
    #[serde(default, deserialize_with = "wire::text")]
    pub description: Option<String>,
    /// Its network.
    pub network_id: String,
    /// Its hardware address.
    #[serde(default, rename = "mac_address", deserialize_with = "wire::text")]
    pub mac: Option<String>,
    /// Its addresses.
    #[serde(default, deserialize_with = "wire::list")]
    pub fixed_ips: Vec<FixedIp>,
    /// The server that has it, or the router.
    #[serde(default, deserialize_with = "wire::text")]
    pub device_id: Option<String>,
    /// `compute:…`, `network:router_interface`, …
    #[serde(default, deserialize_with = "wire::text")]
    pub device_owner: Option<String>,
    /// Its security groups, by id; none: this Neutron has no such thing.
    #[serde(default)]
    pub security_groups: Option<Vec<String>>,
    /// Whether what passes it is filtered; none: this Neutron knows no port that is not.
    #[serde(default)]
    pub port_security_enabled: Option<bool>,
    /// What it may use beside its own addresses.
    #[serde(default, deserialize_with = "wire::list")]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// Whether it works.
    pub status: PortStatus,
    /// Whose it is.
    #[serde(default, deserialize_with = "wire::text")]
    pub project_id: Option<String>,
}

/// Whether a port works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum PortStatus {
    /// It does.
    Active,
    /// It does not: nothing has it, or what has it is off.
    Down,
    /// It is being made ready.
    Build,
    /// It failed.
    Error,
    /// One that we do not know.
    Other(String),
}

impl From<String> for PortStatus {
    fn from(text: String) -> Self {
        match text.as_str() {
            "ACTIVE" => Self::Active,
            "DOWN" => Self::Down,
            "BUILD" => Self::Build,
            "ERROR" => Self::Error,
            _ => Self::Other(text),
        }
    }
}

/// An address of a port, as it is or as it is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct FixedIp {
    /// The subnet; Neutron chooses where none is wanted.
    #[serde(default, rename = "subnet_id", deserialize_with = "wire::text")]
    pub subnet: Option<String>,
    /// The address; Neutron chooses where none is wanted.
    #[serde(default, rename = "ip_address", deserialize_with = "wire::text")]
    pub address: Option<String>,
}

/// An address that a port may use though it is not its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AddressPair {
    /// An address or a range.
    #[serde(rename = "ip_address")]
    pub address: String,
    /// With which hardware address; Neutron takes the port's where none is wanted.
    #[serde(default, rename = "mac_address", deserialize_with = "wire::text")]
    pub mac: Option<String>,
}

/// A port that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// By which it is known: its description. Of its own for each port.
    pub mark: String,
    /// Whose it is, by id: of the token's project. Only a port of that project bears the mark: everybody may write it on ports of his own.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its network's id.
    pub network: String,
    /// Its addresses; Neutron chooses where none are wanted.
    pub fixed_ips: Vec<FixedIp>,
    /// Its hardware address; Neutron chooses where none is wanted.
    pub mac: Option<String>,
    /// Its security groups by id; the project's `default` where none are said.
    pub security_groups: Option<Vec<String>>,
    /// Whether what passes it is filtered; as its network has it where nothing is said.
    pub port_security_enabled: Option<bool>,
    /// What it may use beside its own addresses.
    pub allowed_address_pairs: Vec<AddressPair>,
}

/// What can go wrong with a port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The call itself.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// Somebody has the address.
    #[error("{zone}: {address} is taken by port {port}{}: free it, or map the server to another address", of_device(.device.as_deref()))]
    AddressTaken {
        /// Whose cloud.
        zone: ZoneName,
        /// An IP or a hardware address.
        address: String,
        /// The port that has it.
        port: String,
        /// What has that port.
        device: Option<String>,
        /// In Neutron's own words.
        source: Box<CloudError>,
    },
    /// The project's quota.
    #[error(
        "{zone}: over quota: {over}: raise it with `openstack quota set --ports`, or make room"
    )]
    OverQuota {
        /// Whose cloud.
        zone: ZoneName,
        /// What there is too little of.
        over: Over,
        /// In Neutron's own words.
        source: Box<CloudError>,
    },
    /// The one with the mark is another's by now, or has what is not wanted any more.
    #[error(
        "{zone}: port {port}{} was made for this server before, with other {what} than it is to have now: detach it, and it is made anew",
        of_device(.device.as_deref())
    )]
    InUse {
        /// Whose cloud.
        zone: ZoneName,
        /// It.
        port: String,
        /// What has it.
        device: Option<String>,
        /// What of it differs.
        what: String,
    },
    /// Two ports have the same mark.
    #[error("{zone}: ports {} have the same description {mark:?}: delete all but one", .ports.join(" and "))]
    Twice {
        /// Whose cloud.
        zone: ZoneName,
        /// The mark.
        mark: String,
        /// They.
        ports: Vec<String>,
    },
}

/// An address or a range in its one form.
fn whole(text: &str) -> String {
    let (base, prefix) = text.split_once('/').unwrap_or((text, ""));
    let Ok(base) = base.parse::<IpAddr>() else {
        return text.to_owned();
    };
    match (prefix, base.is_ipv4()) {
        ("", _) | ("32", true) | ("128", false) => base.to_string(),
        (prefix, _) => format!("{base}/{prefix}"),
    }
}

fn of_device(device: Option<&str>) -> String {
    device.map_or_else(String::new, |d| format!(" of {d}"))
}

impl PortRequest {
    /// What of a port is not as it is wanted. What Neutron chose or does not show is.
    fn differs(&self, port: &Port) -> Option<String> {
        let groups = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        let other_groups = self
            .security_groups
            .as_ref()
            .zip(port.security_groups.as_ref())
            .is_some_and(|(wanted, has)| groups(wanted) != groups(has));
        let other_filter = self
            .port_security_enabled
            .zip(port.port_security_enabled)
            .is_some_and(|(wanted, has)| wanted != has);
        let other_mac = self
            .mac
            .as_ref()
            .zip(port.mac.as_ref())
            .is_some_and(|(wanted, has)| !wanted.eq_ignore_ascii_case(has));
        let pairs = |list: &[AddressPair]| -> BTreeSet<_> {
            let one = |p: &AddressPair| {
                let mac = p.mac.as_ref().or(port.mac.as_ref());
                (whole(&p.address), mac.map(|m| m.to_lowercase()))
            };
            list.iter().map(one).collect()
        };
        let other_pairs = pairs(&self.allowed_address_pairs) != pairs(&port.allowed_address_pairs);
        let what = [
            ("addresses", self.other_addresses(port)),
            ("hardware address", other_mac),
            ("security groups", other_groups),
            ("port security", other_filter),
            ("allowed address pairs", other_pairs),
        ];
        let what: Vec<&str> = what.iter().filter(|(_, d)| *d).map(|(w, _)| *w).collect();
        (!what.is_empty()).then(|| what.join(", "))
    }

    /// IPv6 addresses beyond those that are wanted may be Neutron's own: it adds one of each subnet that gives them by itself.
    fn other_addresses(&self, port: &Port) -> bool {
        if self.fixed_ips.is_empty() {
            return false;
        }
        let fits = |wanted: &FixedIp, has: &FixedIp| {
            let subnet = wanted.subnet.is_none() || wanted.subnet == has.subnet;
            let address = |ip: &FixedIp| ip.address.as_deref().map(whole);
            subnet && (wanted.address.is_none() || address(wanted) == address(has))
        };
        let lacks = |wanted: &FixedIp| !port.fixed_ips.iter().any(|has| fits(wanted, has));
        let is_four = |ip: &FixedIp| ip.address.as_deref().is_some_and(|a| !a.contains(':'));
        let strange =
            |has: &FixedIp| is_four(has) && !self.fixed_ips.iter().any(|wanted| fits(wanted, has));
        self.fixed_ips.iter().any(lacks) || port.fixed_ips.iter().any(strange)
    }

    fn body(&self) -> Value {
        let mut port = json!({
            "network_id": self.network, "name": self.name, "description": self.mark, "admin_state_up": true,
        });
        if !self.fixed_ips.is_empty() {
            let ips = self.fixed_ips.iter().map(|ip| {
                let mut one = json!({});
                if let Some(subnet) = &ip.subnet {
                    one["subnet_id"] = json!(subnet);
                }
                if let Some(address) = &ip.address {
                    one["ip_address"] = json!(address);
                }
                one
            });
            port["fixed_ips"] = ips.collect();
        }
        if let Some(mac) = &self.mac {
            port["mac_address"] = json!(mac);
        }
        if let Some(groups) = &self.security_groups {
            port["security_groups"] = json!(groups);
        }
        if let Some(enabled) = self.port_security_enabled {
            port["port_security_enabled"] = json!(enabled);
        }
        if !self.allowed_address_pairs.is_empty() {
            let pairs = self.allowed_address_pairs.iter().map(|pair| {
                let mut one = json!({ "ip_address": pair.address });
                if let Some(mac) = &pair.mac {
                    one["mac_address"] = json!(mac);
                }
                one
            });
            port["allowed_address_pairs"] = pairs.collect();
        }
        json!({ "port": port })
    }
}

impl Neutron {
    /// One port.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn port(&self, id: &str) -> Result<Port, CloudError> {
        self.at
            .get(&format!("/ports/{}", escaped(id)), "port")
            .await
    }

    /// The ports that a server has.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn ports_of(&self, server: &str) -> Result<Vec<Port>, CloudError> {
        self.ports(&format!("device_id={}", escaped(server))).await
    }

    /// The ports of a name. It is nobody's alone: look at their descriptions too.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn ports_named(&self, name: &str) -> Result<Vec<Port>, CloudError> {
        self.ports(&format!("name={}", escaped(name))).await
    }

    /// All ports of a network that the scope may see.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn ports_in(&self, network: &str) -> Result<Vec<Port>, CloudError> {
        self.ports(&format!("network_id={}", escaped(network)))
            .await
    }

    async fn ports(&self, filter: &str) -> Result<Vec<Port>, CloudError> {
        let path = format!("/ports?{filter}&sort_key=id&sort_dir=asc");
        self.all(&path, "ports").await
    }

    /// Has a port there: the project's one with the mark, or a new one. One that was made before, and is not as it is asked for, is made anew where
    /// nothing has it.
    ///
    /// # Errors
    /// See [`PortError`]. Where an answer is lost and the port is not seen, ask again: it is looked for first.
    pub async fn ensure_port(&self, new: &PortRequest) -> Result<Port, PortError> {
        if let Some(port) = self.marked(new).await? {
            let Some(what) = new.differs(&port) else {
                return Ok(port);
            };
            if port.device_id.is_some() {
                return Err(PortError::InUse {
                    zone: self.at.cloud.zone().clone(),
                    port: port.id,
                    device: port.device_id,
                    what,
                });
            }
            tracing::info!(port.id = %port.id, mark = new.mark, what, "a port that was made before is not as it is to be: it is made anew");
            self.ensure_port_absent(&port.id).await?;
        }
        let e = match self.at.post("/ports", &new.body()).await {
            Ok((op, answer)) => return Ok(self.at.take(&op, answer, "port")?),
            Err(e) => e,
        };
        if e.may_have_taken_effect()
            && let Some(port) = self.marked(new).await?
        {
            return Ok(port);
        }
        Err(if e.is_refusal() {
            self.refused(new, e).await
        } else {
            e.into()
        })
    }

    /// Has a port gone. One that is not there is well.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn ensure_port_absent(&self, id: &str) -> Result<(), CloudError> {
        let path = format!("/ports/{}", escaped(id));
        let e = match self.at.write(Method::DELETE, &path, None).await {
            Ok(_) | Err(CloudError::NotFound { .. }) => return Ok(()),
            Err(e) => e,
        };
        if e.may_have_taken_effect()
            && let Err(CloudError::NotFound { .. }) = self.port(id).await
        {
            return Ok(());
        }
        Err(e)
    }

    async fn marked(&self, new: &PortRequest) -> Result<Option<Port>, PortError> {
        let filter = format!(
            "network_id={}&description={}",
            escaped(&new.network),
            escaped(&new.mark)
        );
        let mut found = self.ports(&filter).await?;
        found.retain(|p| p.description.as_deref() == Some(new.mark.as_str()));
        // An administrator sees those of all projects, and Nova gives a server none of another's.
        found.retain(|p| {
            let ours = p.project_id.as_ref() == Some(&new.project);
            if !ours {
                tracing::warn!(port.id = %p.id, project.id = ?p.project_id, mark = new.mark, "a port of another project bears the mark of a stand-by's: it is none");
            }
            ours
        });
        if found.len() > 1 {
            return Err(PortError::Twice {
                zone: self.at.cloud.zone().clone(),
                mark: new.mark.clone(),
                ports: found.into_iter().map(|p| p.id).collect(),
            });
        }
        Ok(found.pop())
    }

    /// Why Neutron says no: found by looking at what was asked for.
    async fn refused(&self, new: &PortRequest, error: CloudError) -> PortError {
        let zone = self.at.cloud.zone().clone();
        let source = Box::new(error);
        if let Some((address, holder)) = self.holder(new).await {
            return PortError::AddressTaken {
                zone,
                address,
                port: holder.id,
                device: holder.device_id,
                source,
            };
        }
        match self.over().await {
            Some(over) => PortError::OverQuota { zone, over, source },
            None => PortError::Cloud(*source),
        }
    }

    async fn holder(&self, new: &PortRequest) -> Option<(String, Port)> {
        let network = escaped(&new.network);
        let ips = new.fixed_ips.iter().filter_map(|ip| ip.address.clone());
        for ip in ips {
            let filter = format!(
                "network_id={network}&fixed_ips={}",
                escaped(&format!("ip_address={ip}"))
            );
            let found = self.ports(&filter).await.ok()?;
            let has = |p: &Port| {
                let mut all = p.fixed_ips.iter();
                all.any(|f| f.address.as_deref() == Some(ip.as_str()))
            };
            if let Some(holder) = found.into_iter().find(has) {
                return Some((ip, holder));
            }
        }
        let mac = new.mac.clone()?;
        let filter = format!("network_id={network}&mac_address={}", escaped(&mac));
        let found = self.ports(&filter).await.ok()?;
        let has = |p: &Port| {
            p.mac
                .as_deref()
                .is_some_and(|m| m.eq_ignore_ascii_case(&mac))
        };
        let holder = found.into_iter().find(has)?;
        Some((mac, holder))
    }

    async fn over(&self) -> Option<Over> {
        let project = self.at.cloud.project_id(&self.at.scope).await.ok()?;
        let path = format!("/quotas/{}/details.json", escaped(&project));
        let quota = self.at.get(&path, "quota").await.ok()?;
        too_small(&QuotaSet::read(quota), &[("port", 1)]).pop()
    }
}
