//! What can be asked of a volume. [`VolumeAction`] is the sidecar's whole surface.

use crate::{
    deletion::{After, OnDelete},
    error::ApiError,
    facts::CinderFacts,
    given_up::GivenUp,
    ids::{DemotionToken, Generation, GroupName, ImageSpec, ResyncToken},
    mode::ReplicationMode,
    servers::ServerRecord,
    volume::VolumeReport,
};
use serde::{Deserialize, Deserializer, Serialize};

/// The most volumes in one batch.
pub const MAX_BATCH: usize = 2000;

/// How a promotion is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "promotion", rename_all = "snake_case", deny_unknown_fields)]
pub enum Promotion {
    /// Only where librbd sees no primary. That alone is no proof that the other zone's data is here: an image that was itself
    /// demoted can be promoted plainly although the other zone was primary since (hard case 57). Right for the zone that was
    /// primary last; else [`Promotion::After`].
    Plain,
    /// Plainly, and only where the demotion of that name has arrived: loses nothing.
    After {
        /// The demotion's name.
        token: DemotionToken,
    },
    /// Also where the peer may still say primary. Asked for volume by volume, never inferred from an error.
    Forced {
        /// Why: kept in the volume's metadata and in the log.
        reason: String,
        /// Also where the volume would be of two moments: a copy that came with a user's snapshots was interrupted, and cannot be
        /// put back (hard case 23). A person's word, which no plan gives. Left out, as older senders do, it is refused.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        accept_torn: bool,
    },
}

/// The field that a `busy` names while a resync's safety copy is under way and gets on: who waits for the resync goes on waiting.
pub const SAFETY_FIELD: &str = "action.safety";

/// What happens to the data that a resync discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafetyCopy {
    /// The loser's state is first kept as an image of its own beside it (hard case 16).
    Keep,
    /// It is discarded.
    Discard,
}

/// What Cinder adds to a volume that it has replicated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromCinder {
    /// What it says of the volume; `None` leaves what stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<CinderFacts>,
    /// What becomes of it when it is deleted in Cinder; `None` leaves what stands there. That of a volume in a group is its group's
    /// policy, and noted by the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_delete: Option<OnDelete>,
}

/// One volume action.
///
/// On the wire: `{"type": "promote", "promotion": "plain"}`, `{"type": "replicate", "mode": "instant", "group": "db"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum VolumeAction {
    /// Put a volume under replication, or change its mode, schedule or group in place.
    Replicate {
        /// How.
        #[serde(flatten)]
        mode: ReplicationMode,
        /// The group that it joins. Where none is named it stays in the one that it is in: who changes its mode must not take it out of what
        /// a failover promotes. A volume without a group is acted on by hand only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupName>,
        /// It leaves its group, and is one of its own. Refused beside a `group`. Left out, as older senders do, it stays.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leave_group: bool,
        /// Between journal and snapshot mirroring there is no way in place: such a change is refused, unless this allows to give the copy up
        /// and to make it anew. Until that has had its first sync there is none.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anew: bool,
        /// What Cinder adds, so that it is there with the first of the data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cinder: Option<Box<FromCinder>>,
    },
    /// Write down what Cinder says of the volume, for the other zone. Belongs to the primary.
    ///
    /// It travels at once in journal mode and with the next mirror snapshot in snapshot mode; none is taken for it.
    Describe {
        /// What it says.
        facts: Box<CinderFacts>,
    },
    /// Write down what is needed to build the server that boots from the volume, or take that away. Belongs to the primary, and travels as
    /// [`VolumeAction::Describe`] does.
    RecordServer {
        /// It; `null`: nothing boots from the volume that is protected.
        #[serde(deserialize_with = "said")]
        record: Option<Box<ServerRecord>>,
    },
    /// Note that the volume was deleted in Cinder, and what is to follow. Belongs to the primary.
    MarkDeleted {
        /// What follows.
        #[serde(flatten)]
        then: After,
    },
    /// Take that note away again.
    Undelete,
    /// Take replication off: the copy in the other zone is deleted by its mirror daemon.
    Unreplicate,
    /// Make this zone's image the one that is written to.
    Promote {
        /// Plainly or by force.
        #[serde(flatten)]
        promotion: Promotion,
    },
    /// Stop writes here and let the other zone take over.
    Demote {
        /// Names this demotion, so that the other zone can tell that it has arrived.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<DemotionToken>,
    },
    /// Discard this zone's copy and make it anew from the primary.
    Resync {
        /// Names this resync: a second one with the same token does nothing (hard case 19).
        token: ResyncToken,
        /// What becomes of the data that is discarded.
        safety: SafetyCopy,
    },
}

impl VolumeAction {
    /// Its name on the wire and in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Replicate { .. } => "replicate",
            Self::Describe { .. } => "describe",
            Self::RecordServer { .. } => "record_server",
            Self::MarkDeleted { .. } => "mark_deleted",
            Self::Undelete => "undelete",
            Self::Unreplicate => "unreplicate",
            Self::Promote { .. } => "promote",
            Self::Demote { .. } => "demote",
            Self::Resync { .. } => "resync",
        }
    }
}

/// `null` takes something away, so it must be said: a field that is missing is an error.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

/// An action with the authority behind it. The body of `POST /v1/volumes/{pool}/{image}/actions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to do.
    pub action: VolumeAction,
    /// The group's generation that the sender acts under. Required for promote, demote and resync of a volume in a group;
    /// an older one than the zone has seen is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// One entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// Whom it concerns.
    pub volume: ImageSpec,
    /// What to do.
    pub order: Order,
}

/// The body of `POST /v1/batch`: at most [`MAX_BATCH`] items, run in parallel on a bounded pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The orders; one volume stands in at most one.
    pub items: Vec<BatchItem>,
}

/// Whether an action had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was done now.
    Done,
    /// It was so already.
    AlreadySo,
    /// It was begun, and the mirror daemon goes on with it: watch the status.
    Started,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionOutcome {
    /// Done, already so, or started.
    pub effect: Effect,
    /// The volume as it was seen after.
    pub report: VolumeReport,
    /// Milliseconds from taking it up to its end.
    pub took_ms: u64,
    /// Of a resync: what it gives up. Asked again under the same token the answer is the same, also after the image is made anew.
    /// `None`: it was no resync, or one that nobody measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// One line of a batch's answer (`application/x-ndjson`), written as each volume ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLine {
    /// Whom it concerns.
    pub volume: ImageSpec,
    /// What became of it.
    #[serde(flatten)]
    pub result: BatchResult,
}

/// A batch entry's end. One volume's failure decides nothing for another (hard case 20).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum BatchResult {
    /// It was carried out.
    Ok {
        /// How.
        outcome: Box<ActionOutcome>,
    },
    /// It was refused or failed.
    Failed {
        /// Why.
        error: ApiError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_one_json_form() {
        for text in [
            r#"{"action":{"type":"replicate","mode":"instant","group":"db"},"generation":3}"#,
            r#"{"action":{"type":"promote","promotion":"plain"},"generation":3}"#,
            r#"{"action":{"type":"promote","promotion":"forced","reason":"zone lost"},"generation":4}"#,
            r#"{"action":{"type":"promote","promotion":"forced","reason":"zone lost","accept_torn":true},"generation":4}"#,
            r#"{"action":{"type":"promote","promotion":"after","token":"plan-1"},"generation":4}"#,
            r#"{"action":{"type":"replicate","mode":"once","cinder":{"on_delete":"delete:2h"}}}"#,
            r#"{"action":{"type":"replicate","mode":"once","leave_group":true}}"#,
            r#"{"action":{"type":"describe","facts":{"zone":"zone-a","id":"1","project_id":"p","size_gib":3,"bootable":false}}}"#,
            r#"{"action":{"type":"record_server","record":null}}"#,
            r#"{"action":{"type":"mark_deleted","then":"keep","from":"zone-a"}}"#,
            r#"{"action":{"type":"mark_deleted","then":"keep","from":"zone-a","group":"db"}}"#,
            r#"{"action":{"type":"mark_deleted","then":"delete","after":"2h"}}"#,
            r#"{"action":{"type":"undelete"}}"#,
            r#"{"action":{"type":"demote"}}"#,
            r#"{"action":{"type":"demote","token":"plan-1"},"generation":3}"#,
            r#"{"action":{"type":"resync","token":"plan-1","safety":"keep"}}"#,
        ] {
            let order: Order = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&order).unwrap(), text);
        }
        for bad in [
            r#"{"action":{"type":"explode"}}"#,
            r#"{"action":{"type":"promote"}}"#,
            r#"{"action":{"type":"promote","promotion":"forced"}}"#,
            r#"{"action":{"type":"promote","promotion":"after"}}"#,
            r#"{"action":{"type":"demote","token":"a b"}}"#,
            r#"{"action":{"type":"demote"},"generation":-1}"#,
            r#"{"action":{"type":"demote"},"force":true}"#,
            r#"{"action":{"type":"describe"}}"#,
            r#"{"action":{"type":"record_server"}}"#,
            r#"{"action":{"type":"record_server","record":{"name":"x"}}}"#,
            r#"{"action":{"type":"mark_deleted"}}"#,
            r#"{"action":{"type":"mark_deleted","then":"delete"}}"#,
            r#"{"action":{"type":"replicate","mode":"once","cinder":{"on_delete":"maybe"}}}"#,
            r#"{"action":{"type":"replicate","mode":"daily"}}"#,
            r#"{"action":{"type":"replicate","mode":"once","leave_group":"yes"}}"#,
        ] {
            assert!(
                serde_json::from_str::<Order>(bad).is_err(),
                "{bad} was taken"
            );
        }
    }

    #[test]
    fn who_does_not_know_that_a_group_can_be_left_leaves_none() {
        let text = r#"{"type":"replicate","mode":"instant"}"#;
        let action: VolumeAction = serde_json::from_str(text).unwrap();
        let VolumeAction::Replicate { leave_group, .. } = action else {
            panic!("{action:?}")
        };
        assert!(!leave_group);
    }
}
