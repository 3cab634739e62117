//! What is kept of a protected server: its record, and which server it is in each zone. Stands in etcd at
//! [`crate::keys::kept_server`]; the record also goes with its root volume.

use super::ServerRecord;
use crate::{
    ids::{ServerKey, ZoneName},
    runbook::StandbyPolicy,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A protected server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptServer {
    /// Its name in the runbook.
    pub key: ServerKey,
    /// As it was last seen where it serves; in that zone's names.
    pub record: ServerRecord,
    /// Which server it is in each zone where there is one.
    #[serde(default)]
    pub instances: BTreeMap<ZoneName, Instance>,
    /// What is in the way of its stand-by, in words; none: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A server in one zone's Nova.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its id there.
    pub id: String,
    /// Whether we built it; one that we did not is never removed by us.
    pub build: Build,
    /// When it was last seen there.
    pub seen_at: Timestamp,
}

/// How a server came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Build {
    /// Its users built it.
    Users,
    /// We did, as a stand-by of this sort.
    Standby {
        /// Which.
        policy: StandbyPolicy,
    },
}
