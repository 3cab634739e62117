//! What the monitors say about the cluster.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::{Cluster, Error};

/// The cluster's own verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthStatus {
    /// `HEALTH_OK`
    Ok,
    /// `HEALTH_WARN`
    Warn,
    /// `HEALTH_ERR`
    Err,
    /// A word that this crate does not know.
    Unrecognised(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its code: `OSD_DOWN`.
    pub code: String,
    /// How bad it is.
    pub severity: HealthStatus,
    /// In a line of words.
    pub summary: String,
}

/// The cluster as its monitors see it now. That they answer means that they have a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// What it rests on.
    pub checks: Vec<HealthCheck>,
    /// How many monitors there are.
    pub mons: u32,
    /// The names of those in the quorum.
    pub quorum: Vec<String>,
    /// How many OSDs there are.
    pub osds: u32,
    /// How many run.
    pub osds_up: u32,
    /// How many hold data.
    pub osds_in: u32,
    /// Placement groups by state, `active+clean` and so on. Empty without a manager.
    pub placement_groups: BTreeMap<String, u64>,
    /// Bytes free and in all; 0 of 0 before an OSD has reported.
    pub bytes_available: u64,
    /// All bytes.
    pub bytes_total: u64,
}

#[derive(Deserialize)]
struct Status {
    health: StatusHealth,
    quorum_names: Vec<String>,
    monmap: Monmap,
    osdmap: Osdmap,
    #[serde(default)]
    pgmap: Pgmap,
}

#[derive(Deserialize)]
struct StatusHealth {
    status: String,
    #[serde(default)]
    checks: BTreeMap<String, Check>,
}

#[derive(Deserialize)]
struct Check {
    severity: String,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    message: String,
}

#[derive(Deserialize)]
struct Monmap {
    num_mons: u32,
}

#[derive(Deserialize)]
struct Osdmap {
    num_osds: u32,
    num_up_osds: u32,
    num_in_osds: u32,
}

#[derive(Default, Deserialize)]
struct Pgmap {
    #[serde(default)]
    pgs_by_state: Vec<PgState>,
    #[serde(default)]
    bytes_avail: u64,
    #[serde(default)]
    bytes_total: u64,
}

#[derive(Deserialize)]
struct PgState {
    state_name: String,
    count: u64,
}

impl Cluster {
    /// Asks the monitors for the cluster's state.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if they do not answer, which they do not without a quorum.
    ///
    /// # Implements:
    /// `status`
    pub fn health(&self) -> Result<Health, Error> {
        self.mon_json::<Status>(&json!({"prefix": "status", "format": "json"}))
            .map(Health::from)
    }
}

impl From<Status> for Health {
    fn from(status: Status) -> Self {
        Self {
            status: HealthStatus::parse(&status.health.status),
            checks: status
                .health
                .checks
                .into_iter()
                .map(|(code, check)| HealthCheck {
                    code,
                    severity: HealthStatus::parse(&check.severity),
                    summary: check.summary.message,
                })
                .collect(),
            mons: status.monmap.num_mons,
            quorum: status.quorum_names,
            osds: status.osdmap.num_osds,
            osds_up: status.osdmap.num_up_osds,
            osds_in: status.osdmap.num_in_osds,
            placement_groups: status
                .pgmap
                .pgs_by_state
                .into_iter()
                .map(|state| (state.state_name, state.count))
                .collect(),
            bytes_available: status.pgmap.bytes_avail,
            bytes_total: status.pgmap.bytes_total,
        }
    }
}

impl HealthStatus {
    fn parse(word: &str) -> Self {
        match word {
            "HEALTH_OK" => Self::Ok,
            "HEALTH_WARN" => Self::Warn,
            "HEALTH_ERR" => Self::Err,
            other => Self::Unrecognised(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let text = r#"{"fsid":"f","health":{"status":"HEALTH_WARN","checks":{"OSD_DOWN":{
            "severity":"HEALTH_WARN","summary":{"message":"1 osds down","count":1},"muted":false}}},
            "quorum_names":["a","b"],"monmap":{"epoch":1,"num_mons":3},
            "osdmap":{"epoch":9,"num_osds":3,"num_up_osds":2,"num_in_osds":3},
            "pgmap":{"pgs_by_state":[{"state_name":"active+clean","count":8}],
            "bytes_avail":10,"bytes_total":20}}"#;
        let health = Health::from(serde_json::from_str::<Status>(text).unwrap());
        assert_eq!(health.status, HealthStatus::Warn);
        assert_eq!(health.checks[0].code, "OSD_DOWN");
        assert_eq!(health.checks[0].summary, "1 osds down");
        assert_eq!((health.mons, health.quorum.len()), (3, 2));
        assert_eq!((health.osds, health.osds_up, health.osds_in), (3, 2, 3));
        assert_eq!(health.placement_groups["active+clean"], 8);
    }

    #[test]
    fn a_status_without_its_quorum_is_refused_not_guessed() {
        let text = r#"{"health":{"status":"HEALTH_OK"},"monmap":{"num_mons":1},
            "osdmap":{"num_osds":0,"num_up_osds":0,"num_in_osds":0}}"#;
        assert!(serde_json::from_str::<Status>(text).is_err());
    }

    #[test]
    fn an_unknown_verdict_is_kept_as_it_is() {
        let word = HealthStatus::parse("HEALTH_ODD");
        assert_eq!(word, HealthStatus::Unrecognised("HEALTH_ODD".to_owned()));
    }
}
