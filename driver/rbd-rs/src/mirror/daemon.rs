//! The rbd-mirror daemons of a cluster, as the manager knows them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Cluster, Error};

/// How grave a daemon finds something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalloutLevel {
    /// Good to know.
    Info,
    /// It works, but not as it should.
    Warning,
    /// It does not work.
    Error,
    /// A word that this crate does not know.
    #[serde(untagged)]
    Unrecognised(String),
}

/// Something a daemon complains about: that it cannot reach the peer, say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Callout {
    /// How grave.
    pub level: CalloutLevel,
    /// In words.
    pub text: String,
}

/// What a daemon does for a pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MirrorDaemonPool {
    /// The pool's name.
    pub name: String,
    /// Its complaints.
    #[serde(default, deserialize_with = "callouts")]
    pub callouts: Vec<Callout>,
    /// The instance that [`Pool::mirror_instances`](crate::Pool::mirror_instances) names.
    pub instance_id: Option<String>,
    /// Whether it is the one that gives images out.
    #[serde(default)]
    pub leader: bool,
    /// Images given to it.
    pub image_assigned_count: Option<u64>,
    /// Images in error.
    pub image_error_count: Option<u64>,
    /// Images with a warning.
    pub image_warning_count: Option<u64>,
    /// Images that this site has.
    pub image_local_count: Option<u64>,
    /// Images that the peer has.
    pub image_remote_count: Option<u64>,
}

/// An rbd-mirror daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorDaemon {
    /// Its number in the cluster's service map.
    pub service_id: String,
    /// The client as which it runs, without `client.`.
    pub client_id: Option<String>,
    /// Its host.
    pub hostname: Option<String>,
    /// Its Ceph version, short.
    pub version: Option<String>,
    /// When the manager last heard of it, in the manager's words. A daemon that was killed stays
    /// in the list for a while: only an old beacon tells.
    pub last_beacon: Option<String>,
    /// What it does, by pool number. Empty until it has reported.
    pub pools: BTreeMap<i64, MirrorDaemonPool>,
}

#[derive(Deserialize)]
struct ServiceDump {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    /// Daemons by number, and a text under `summary`.
    daemons: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Daemon {
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct DaemonState {
    last_beacon: Option<String>,
    #[serde(default)]
    status: BTreeMap<String, String>,
}

impl Cluster {
    /// The rbd-mirror daemons that the manager knows. Without an active manager it cannot be
    /// told, which is an error and not an empty list.
    ///
    /// # Errors
    /// As any command; [`Error::TimedOut`] without a manager.
    ///
    /// # Implements:
    /// `service dump` and `service status`
    pub fn mirror_daemons(&self) -> Result<Vec<MirrorDaemon>, Error> {
        let dump: ServiceDump =
            self.mgr_json(&json!({"prefix": "service dump", "format": "json"}))?;
        let states: BTreeMap<String, BTreeMap<String, DaemonState>> =
            self.mgr_json(&json!({"prefix": "service status", "format": "json"}))?;
        daemons(dump, states).map_err(|error| self.at("service status").unreadable(error))
    }
}

fn daemons(
    mut dump: ServiceDump,
    mut states: BTreeMap<String, BTreeMap<String, DaemonState>>,
) -> Result<Vec<MirrorDaemon>, serde_json::Error> {
    let mut states = states.remove("rbd-mirror").unwrap_or_default();
    let Some(service) = dump.services.remove("rbd-mirror") else {
        return Ok(Vec::new());
    };
    service
        .daemons
        .into_iter()
        .filter(|(key, _)| key != "summary")
        .map(|(service_id, daemon)| {
            let mut daemon: Daemon = serde_json::from_value(daemon)?;
            let state = states.remove(&service_id);
            let (last_beacon, status) = state.map_or((None, BTreeMap::new()), |state| {
                (state.last_beacon, state.status)
            });
            let pools = match status.get("json") {
                Some(json) => serde_json::from_str(json)?,
                None => BTreeMap::new(),
            };
            Ok(MirrorDaemon {
                service_id,
                client_id: daemon.metadata.remove("id"),
                hostname: daemon.metadata.remove("hostname"),
                version: daemon.metadata.remove("ceph_version_short"),
                last_beacon,
                pools,
            })
        })
        .collect()
}

/// Callouts come as an object by number.
fn callouts<'de, D>(from: D) -> Result<Vec<Callout>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(BTreeMap::<String, Callout>::deserialize(from)?
        .into_values()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dump: &str, status: &str) -> Result<Vec<MirrorDaemon>, serde_json::Error> {
        daemons(
            serde_json::from_str(dump).unwrap(),
            serde_json::from_str(status).unwrap(),
        )
    }

    const DUMP: &str = r#"{"epoch":4,"services":{"rbd-mirror":{"daemons":{"summary":"","4124":
        {"gid":4124,"metadata":{"id":"mirror","hostname":"h","ceph_version_short":"16.2.15"}}}}}}"#;

    #[test]
    fn a_daemon_with_a_complaint_is_read() {
        let status = r#"{"rbd-mirror":{"4124":{"last_beacon":"2026-01-02T03:04:05+0000","status":
            {"json":"{\"1\":{\"name\":\"vols\",\"callouts\":{\"3\":{\"level\":\"error\",\"text\":\"unable to connect to remote cluster\"}},\"leader\":true,\"instance_id\":\"4126\",\"image_assigned_count\":2}}"}}}}"#;
        let list = read(DUMP, status).unwrap();
        let pool = &list[0].pools[&1];
        assert!(pool.leader);
        assert_eq!(pool.callouts[0].level, CalloutLevel::Error);
        assert_eq!(pool.callouts[0].text, "unable to connect to remote cluster");
        assert_eq!(pool.instance_id.as_deref(), Some("4126"));
        assert_eq!(list[0].client_id.as_deref(), Some("mirror"));
        assert!(list[0].last_beacon.is_some());
    }

    #[test]
    fn a_daemon_that_has_not_reported_has_no_pools() {
        let list = read(DUMP, "{}").unwrap();
        assert_eq!(list.len(), 1);
        assert!(list[0].pools.is_empty() && list[0].last_beacon.is_none());
    }

    #[test]
    fn no_daemon_is_an_empty_list_and_garbage_is_an_error() {
        assert!(read(r#"{"services":{}}"#, "{}").unwrap().is_empty());
        let garbage = r#"{"rbd-mirror":{"4124":{"status":{"json":"{oops"}}}}"#;
        assert!(read(DUMP, garbage).is_err());
    }
}
