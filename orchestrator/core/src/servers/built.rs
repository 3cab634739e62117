//! What a stand-by was built from: it is followed by comparing what would be built now with this, like with like. What the other zone's Nova
//! shows of it is in other words (an id for a name, a default for nothing), and is never compared with what was asked for.

use jiff::Timestamp;
use rekindle_common::{
    ZoneName,
    runbook::StandbyPolicy,
    servers::{PowerWish, ServerRecord, diff},
};
use serde::{Deserialize, Serialize};

/// A server that we built, or took for ours by its mark. Stands in etcd at [`rekindle_common::keys::built_standby`], one for each zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// In which zone.
    pub zone: ZoneName,
    /// Its id there.
    pub id: String,
    /// Whose stand-by it is marked as: `ZONE/ID`.
    pub counterpart: String,
    /// How it rests.
    pub policy: StandbyPolicy,
    /// In that zone's names.
    pub record: ServerRecord,
    /// When.
    pub at: Timestamp,
}

impl Built {
    /// What would be built otherwise now, in words.
    #[must_use]
    pub fn differs_from(&self, now: &ServerRecord) -> Vec<String> {
        let changes = diff::diff(&as_built(&self.record), &as_built(now));
        changes.iter().map(ToString::to_string).collect()
    }
}

/// Without what no build heeds: whether it runs, whether its owner locked it, and what Nova is to do with its volumes.
fn as_built(record: &ServerRecord) -> ServerRecord {
    let mut record = record.clone();
    record.power = PowerWish::ShutOff;
    record.locked = false;
    for disk in &mut record.disks {
        disk.delete_on_termination = false;
        disk.volume.name = None;
    }
    record
}
