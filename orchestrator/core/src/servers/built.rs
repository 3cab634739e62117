//! What a stand-by was built from: it is followed by comparing what would be built now with this, like with like. What the other zone's Nova
//! shows of it is in other words (an id for a name, a default for nothing), and is never compared with what was asked for.

use jiff::Timestamp;
use rekindle_common::{
    ZoneName,
    duration::Span,
    runbook::StandbyPolicy,
    servers::{PortSecurity, PowerWish, ServerRecord, diff},
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

/// An order that was lost on its way to Nova may still be carried out so long.
const MAY_COME_UP: Span = Span::secs(1800);

/// A build of ours that was begun, and of which it is not known how it ended: what comes of it is up on copies, and its id stands nowhere. Stands in
/// etcd at [`rekindle_common::keys::begun_standby`] from before Nova is asked until what was built is written down, or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// In which zone.
    pub zone: ZoneName,
    /// Whose stand-by it is marked as: `ZONE/ID`.
    pub counterpart: String,
    /// In that zone's names.
    pub record: ServerRecord,
    /// When.
    pub at: Timestamp,
}

impl Begun {
    /// Whether nothing will come of it any more, where there is nothing by now.
    #[must_use]
    pub fn came_to_nothing(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).unsigned_abs() >= MAY_COME_UP.get()
    }

    /// What would be built otherwise now, in words.
    #[must_use]
    pub fn differs_from(&self, now: &ServerRecord) -> Vec<String> {
        differs(&self.record, now)
    }
}

impl Built {
    /// What would be built otherwise now, in words.
    #[must_use]
    pub fn differs_from(&self, now: &ServerRecord) -> Vec<String> {
        differs(&self.record, now)
    }
}

fn differs(built: &ServerRecord, now: &ServerRecord) -> Vec<String> {
    let changes = diff::diff(&as_built(built), &as_built(now));
    changes.iter().map(ToString::to_string).collect()
}

/// Without what no build heeds: whether it runs, whether its owner locked it, and what Nova is to do with its volumes.
fn as_built(record: &ServerRecord) -> ServerRecord {
    let mut record = record.clone();
    record.power = PowerWish::ShutOff;
    record.locked = false;
    // A record of an older release does not say that a port with groups is filtered: it was made so, and is not built anew to say it.
    for port in &mut record.ports {
        if port.port_security == PortSecurity::Unknown && !port.security_groups.is_empty() {
            port.port_security = PortSecurity::On;
        }
    }
    for disk in &mut record.disks {
        disk.delete_on_termination = false;
        disk.volume.name = None;
    }
    record
}
