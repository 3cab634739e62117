//! Where everything stands in etcd. One place, so that a person with `etcdctl` can find it too.
//!
//! ```text
//! /rekindle/v1/leader                             who leads (leased)
//! /rekindle/v1/sites/<site>/observations          what a site sees (leased), core's `SiteObservations`
//! /rekindle/v1/maintenance                        present: no automatic action
//! /rekindle/v1/groups/<group>/spec                GroupSpec
//! /rekindle/v1/groups/<group>/primary             PrimaryRecord
//! /rekindle/v1/groups/<group>/lease               LeaseRecord (leased)
//! /rekindle/v1/groups/<group>/state               core's `GroupState`: what must be remembered between decisions
//! /rekindle/v1/groups/<group>/active-plan         the one plan at work on it
//! /rekindle/v1/groups/<group>/approval            an operator's yes to a plan
//! /rekindle/v1/groups/<group>/hooks               core's `HooksFailed`: hooks that failed at the end of its last plan
//! /rekindle/v1/servers/<group>/<server>           KeptServer: its record, and which server it is in each zone
//! /rekindle/v1/standbys/<group>/<server>/<zone>   what we built for it in that zone, core's `Built`
//! /rekindle/v1/builds/<group>/<server>/<zone>     a build that was begun there and has not ended, core's `Begun`
//! /rekindle/v1/preflights/<group>                 what the last daily check of its servers found
//! /rekindle/v1/plans/<plan>/plan                  the plan, immutable
//! /rekindle/v1/plans/<plan>/journal/<seq>         its journal, ten digits
//! /rekindle/v1/plans/<plan>/approval/<level>      a person's yes to a pause of it
//! ```

use crate::ids::{GroupName, PlanId, ServerKey, SiteName, ZoneName};

/// Everything of Rekindle's stands under it.
pub const ROOT: &str = "/rekindle/v1/";
/// Who leads.
pub const LEADER: &str = "/rekindle/v1/leader";
/// Present while an operator wants no automatic action.
pub const MAINTENANCE: &str = "/rekindle/v1/maintenance";
/// All groups.
pub const GROUPS: &str = "/rekindle/v1/groups/";
/// All plans.
pub const PLANS: &str = "/rekindle/v1/plans/";
/// The primary's volumes, a list for each group. Not under [`GROUPS`], which is read at every look: these are long.
pub const VOLUMES: &str = "/rekindle/v1/volumes/";
/// What is kept of the groups' servers. Not under [`GROUPS`], which is read at every look: records are long.
pub const SERVERS: &str = "/rekindle/v1/servers/";
/// What the groups' stand-bys were built from.
pub const STANDBYS: &str = "/rekindle/v1/standbys/";
/// Builds of stand-bys that have not ended.
pub const BUILDS: &str = "/rekindle/v1/builds/";
/// The groups' last daily checks. Not under [`GROUPS`], which is read at every look: they may be long.
pub const PREFLIGHTS: &str = "/rekindle/v1/preflights/";
/// All sites.
pub const SITES: &str = "/rekindle/v1/sites/";

/// A site's observations.
#[must_use]
pub fn site_observations(site: &SiteName) -> String {
    format!("{SITES}{site}/observations")
}
/// A group's definition.
#[must_use]
pub fn group_spec(group: &GroupName) -> String {
    format!("{GROUPS}{group}/spec")
}
/// A group's primary record.
#[must_use]
pub fn group_primary(group: &GroupName) -> String {
    format!("{GROUPS}{group}/primary")
}
/// A group's primary lease.
#[must_use]
pub fn group_lease(group: &GroupName) -> String {
    format!("{GROUPS}{group}/lease")
}
/// What is remembered of a group between decisions.
#[must_use]
pub fn group_state(group: &GroupName) -> String {
    format!("{GROUPS}{group}/state")
}
/// The one plan at work on a group.
#[must_use]
pub fn group_active_plan(group: &GroupName) -> String {
    format!("{GROUPS}{group}/active-plan")
}
/// An operator's approval for a group.
#[must_use]
pub fn group_approval(group: &GroupName) -> String {
    format!("{GROUPS}{group}/approval")
}
/// Hooks that failed at the end of a group's last plan; absent where none did.
#[must_use]
pub fn group_hooks(group: &GroupName) -> String {
    format!("{GROUPS}{group}/hooks")
}
/// What the last daily check of a group's servers found.
#[must_use]
pub fn preflight(group: &GroupName) -> String {
    format!("{PREFLIGHTS}{group}")
}
/// A group's volumes as its primary listed them last.
#[must_use]
pub fn group_volumes(group: &GroupName) -> String {
    format!("{VOLUMES}{group}")
}
/// What a server was built from in a zone.
#[must_use]
pub fn built_standby(group: &GroupName, server: &ServerKey, zone: &ZoneName) -> String {
    format!("{STANDBYS}{group}/{server}/{zone}")
}
/// The same as older versions have it: one for both zones.
#[must_use]
pub fn old_built_standby(group: &GroupName, server: &ServerKey) -> String {
    format!("{STANDBYS}{group}/{server}")
}
/// What a server was built from, in each zone.
#[must_use]
pub fn server_standbys(group: &GroupName, server: &ServerKey) -> String {
    format!("{STANDBYS}{group}/{server}/")
}
/// That a server's build in a zone was begun.
#[must_use]
pub fn begun_standby(group: &GroupName, server: &ServerKey, zone: &ZoneName) -> String {
    format!("{BUILDS}{group}/{server}/{zone}")
}
/// The same, in each zone.
#[must_use]
pub fn begun_standbys(group: &GroupName, server: &ServerKey) -> String {
    format!("{BUILDS}{group}/{server}/")
}
/// All of a group's builds that have not ended.
#[must_use]
pub fn group_builds(group: &GroupName) -> String {
    format!("{BUILDS}{group}/")
}
/// All of a group's servers.
#[must_use]
pub fn group_servers(group: &GroupName) -> String {
    format!("{SERVERS}{group}/")
}
/// What all of a group's stand-bys were built from.
#[must_use]
pub fn group_standbys(group: &GroupName) -> String {
    format!("{STANDBYS}{group}/")
}
/// One of the group's servers.
#[must_use]
pub fn kept_server(group: &GroupName, server: &ServerKey) -> String {
    format!("{SERVERS}{group}/{server}")
}
/// A person's yes to a level of a plan that paused before it. It sorts before the plan, as its journal does.
#[must_use]
pub fn plan_approval(plan: &PlanId, level: usize) -> String {
    format!("{PLANS}{plan}/approval/{level}")
}
/// A plan.
#[must_use]
pub fn plan(plan: &PlanId) -> String {
    format!("{PLANS}{plan}/plan")
}
/// All of a plan's journal.
#[must_use]
pub fn plan_journal(plan: &PlanId) -> String {
    format!("{PLANS}{plan}/journal/")
}
/// One record of a plan's journal; sorts as the numbers do.
#[must_use]
pub fn plan_journal_record(plan: &PlanId, seq: u32) -> String {
    format!("{PLANS}{plan}/journal/{seq:010}")
}
