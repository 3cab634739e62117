//! What crosses the orchestrator's API. The bodies of `admin`'s routes and of [`crate::client::OrchestratorClient`].
//!
//! | request | answered by | body -> answer |
//! |---|---|---|
//! | `GET /v1/leader` | any site | -> [`LeaderAnswer`] |
//! | `GET /v1/status` | any site | -> [`Status`]; whole only from the leader |
//! | `GET /v1/groups` | leader | -> `[`[`GroupStatus`]`]` |
//! | `GET /v1/groups/{group}` | leader | -> [`GroupStatus`] |
//! | `PUT /v1/groups/{group}` | leader | `GroupSpec` -> [`GroupPut`] (201 created, 200 changed) |
//! | `DELETE /v1/groups/{group}` | leader | -> 204 |
//! | `GET /v1/groups/{group}/servers/{server}/record` | any site | -> common's `KeptServer`, whole: with the record's user data |
//! | `PUT /v1/groups/{group}/servers/{server}/record` | leader | a server's record (docs/schemas) -> [`RecordPut`] |
//! | `POST /v1/groups/{group}/plans` | leader | [`PlanRequest`] -> [`PlanAnswer`] (202 begun, 200 only shown) |
//! | `POST /v1/groups/{group}/approve` | leader | [`ApproveRequest`] -> core's `Approval` |
//! | `POST /v1/groups/{group}/acknowledge` | leader | [`AcknowledgeRequest`] -> core's `FailoverMemory` |
//! | `PUT`, `DELETE /v1/maintenance` | leader | [`Maintenance`] -> 204 |
//! | `GET /v1/catalogue` | leader | -> [`CatalogueStatus`]; `unsupported` where no catalogue is kept |
//! | `GET /v1/servers` | leader | -> [`ServersStatus`]; `unsupported` where none are followed |
//! | `GET /v1/plans?group=&limit=` | any site | -> `[`[`PlanSummary`]`]`, newest first |
//! | `GET /v1/plans/{plan}` | any site | -> [`PlanDetail`] |
//! | `POST /v1/plans/{plan}/retry` | leader | -> [`PlanSummary`] |
//! | `POST /v1/plans/{plan}/give-up` | leader | -> [`PlanSummary`] |
//! | `POST /v1/plans/{plan}/approve` | leader | [`PauseRequest`] -> [`PauseApproval`]; `held` where it does not pause before that level |
//! | `GET /v1/plans/{plan}/watch` | any site | -> [`WatchLine`]s, one JSON object a line, until the plan ends or waits for a person |
//! | `POST /v1/failsafe` | any site | `FailsafeQuestion` -> `FailsafeAnswer` |
//!
//! A site that does not lead answers the leader's requests with `not_leader` (421). Every refusal is an
//! [`rekindle_common::ApiError`].

mod catalogue;
mod plans;
mod requests;
mod servers;
mod status;

pub use catalogue::{CatalogueStatus, CatalogueZone, FoundView, Sight};
pub use plans::{PlanDetail, PlanSummary, WatchLine};
pub use requests::{
    AcknowledgeRequest, ApproveRequest, GroupEffect, GroupPut, Maintenance, PauseRequest,
    PlanAnswer, RecordEffect, RecordPut,
};
pub use servers::{ServerView, ServersStatus, StandbyState};
pub use status::{
    ActivePlan, DecisionView, GroupStatus, Health, Progress, SiteStatus, Status, View, ZoneStatus,
    ZoneVolumes,
};

pub use crate::preflight::KeptPreflight;
// What sidecars read too.
pub use crate::steps::pause::PauseApproval;
pub use rekindle_common::plan::{
    FailedServerView, FailedVolumeView, Leader, LeaderAnswer, PlanRequest, Problem, Run,
};

#[cfg(test)]
mod tests;
