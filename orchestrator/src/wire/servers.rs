//! The groups' servers, and what stands by for them.

use super::Problem;
use jiff::Timestamp;
use rekindle_common::{
    ErrorCode, GroupName, ServerKey, SiteName, ZoneName, runbook::StandbyPolicy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET /v1/servers`: the groups' servers, as of the leader's last round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersStatus {
    /// Who answers.
    pub site: SiteName,
    /// When the last round ended.
    pub at: Timestamp,
    /// They.
    pub servers: Vec<ServerView>,
    /// So many more there are.
    pub more: usize,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Of which group.
    pub group: GroupName,
    /// Its name there.
    pub key: ServerKey,
    /// What is to stand by for it.
    pub standby: StandbyPolicy,
    /// What its stand-by does.
    #[serde(default)]
    pub standby_state: StandbyState,
    /// Where it serves; none: it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<ZoneName>,
    /// What it does there: `running`, `shut_off`, `not there`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// What its stand-by does, in Nova's words; `-`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_by: Option<String>,
    /// How old its record is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<Timestamp>,
    /// Which server it is in each zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<ZoneName, String>,
    /// What is in the way, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What a stand-by does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum StandbyState {
    /// Nobody has looked: a plan is at work, say.
    #[default]
    NotLookedAt,
    /// It cannot be told now.
    Unknown,
    /// It is certain that there is none.
    Absent,
    /// It is off, as it should be.
    Resting,
    /// It runs.
    Running,
    /// Something is at work on it.
    Changing,
    /// Nova says that it failed.
    Failed,
}

impl ServersStatus {
    /// What of it a person must look at.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let troubled = self.servers.iter().filter_map(|s| {
            Some(Problem {
                code: ErrorCode::ServerGap,
                about: format!("server {} of {}", s.key, s.group),
                message: s.trouble.clone()?,
            })
        });
        troubled.collect()
    }
}
