//! Calls of a zone's APIs without a client's program: a client is two seconds of a core, and a test that waits asks often.

use std::fs;

use serde_json::Value;

use super::accounts::token_of;
use super::client::{Account, OpenStack};
use super::http::Request;
use crate::error::{IoContext, Result};

/// An API that [`OpenStack::call`] speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Cinder's.
    Volumes,
    /// Nova's.
    Servers,
    /// Neutron's.
    Networks,
    /// Glance's.
    Images,
}

impl Api {
    /// Where its pages begin, and the release of it that is asked for where it has any: one that Cinder 21 and Nova 34 have.
    const fn facts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Volumes => ("/v3", Some("volume 3.70")),
            Self::Servers => ("/v2.1", Some("compute 2.96")),
            Self::Networks => ("/v2.0", None),
            Self::Images => ("/v2", None),
        }
    }
}

impl OpenStack {
    /// Calls that page (`/servers/detail`) as that account and returns the answer; null where there is none.
    ///
    /// # Errors
    /// It refused, with its status and words, or does not answer.
    pub fn call(
        &self,
        who: &Account,
        api: Api,
        method: &str,
        page: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let (net, site) = self.inside;
        let password = fs::read_to_string(&who.password_file)
            .context(|| format!("reading {}", who.password_file.display()))?;
        let token = token_of((net, site), who.username, who.project, password.trim())?;
        let (begin, version) = api.facts();
        let ports = net.ports(site);
        let request = Request {
            method,
            port: match api {
                Api::Volumes => ports.cinder,
                Api::Servers => ports.nova,
                Api::Networks => ports.neutron,
                Api::Images => ports.glance,
            },
            path: &format!("{begin}{page}"),
            token: Some(&token),
            version,
            body,
        };
        let answer = request.send(net, site)?;
        Ok(answer
            .or_refused(|| format!("{method} {begin}{page} as {}", who.cloud))?
            .body)
    }
}
