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
    /// Its volumes went on, were demoted or made anew, and it could not be seen to be off: what runs of it may know them as they were. Until it is
    /// seen at rest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsettled: bool,
}

fn is_false(is: &bool) -> bool {
    !is
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What earlier releases wrote is read, and what is settled is written as they wrote it.
    #[test]
    fn an_instance_is_settled_where_nothing_is_said() {
        let text = r#"{"id":"s1","build":{"by":"users"},"seen_at":"2026-11-26T10:00:00Z"}"#;
        let mut instance: Instance = serde_json::from_str(text).unwrap();
        assert!(!instance.unsettled);
        assert_eq!(serde_json::to_string(&instance).unwrap(), text);
        instance.unsettled = true;
        let text = serde_json::to_string(&instance).unwrap();
        assert_eq!(serde_json::from_str::<Instance>(&text).unwrap(), instance);
    }
}
