//! Asking both zones at once, each within its deadline.

use super::records::GroupRecords;
use crate::{wire::Problem, zone::Zone};
use futures::{FutureExt, StreamExt, future::join_all, stream};
use rekindle_common::{
    ApiError, ErrorCode, GroupName, ZoneName, volume::VolumeReport, zone::ZoneReport,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// So many groups are asked for in one zone at once.
const GROUPS_AT_ONCE: usize = 8;

/// What the zones said.
#[derive(Debug, Default)]
pub struct ZoneLooks {
    /// Their reports.
    pub reports: BTreeMap<ZoneName, ZoneReport>,
    /// Each group's volumes in each zone that answered.
    pub volumes: BTreeMap<GroupName, BTreeMap<ZoneName, Vec<VolumeReport>>>,
    /// Why a zone has no report.
    pub silent: BTreeMap<ZoneName, String>,
    /// What a person must look at.
    pub problems: Vec<Problem>,
}

type Answer<T> = Result<T, ApiError>;
type Volumes = Vec<(GroupName, Answer<Vec<VolumeReport>>)>;

/// Asks all zones for their report, and for the volumes of the groups that have a part in them.
pub(super) async fn look(
    zones: &[Arc<Zone>],
    groups: &BTreeMap<GroupName, GroupRecords>,
    deadline: Duration,
) -> ZoneLooks {
    let all = join_all(zones.iter().map(|zone| async move {
        let report = zone.ask(deadline, zone.sidecar().report()).await;
        // Without a report there is no point in asking on.
        let volumes = match &report {
            Ok(_) => ask_volumes(zone, groups, deadline).await,
            Err(_) => Vec::new(),
        };
        (zone, report, volumes)
    }))
    .await;
    let mut looks = ZoneLooks::default();
    for (zone, report, volumes) in all {
        looks.take(zone.name(), report, volumes);
    }
    for zone in super::records::zones_of(groups) {
        if !zones.iter().any(|z| z.name().as_str() == zone) {
            looks.problems.push(Problem {
                code: ErrorCode::InvalidField,
                about: zone.to_owned(),
                message:
                    "a group names this zone, and it is not in this orchestrator's configuration"
                        .to_owned(),
            });
        }
    }
    looks
}

/// Asks one zone for its report alone.
pub(super) async fn report(zone: &Zone, deadline: Duration) -> ZoneLooks {
    let mut looks = ZoneLooks::default();
    let report = zone.ask(deadline, zone.sidecar().report()).await;
    looks.take(zone.name(), report, Vec::new());
    looks
}

async fn ask_volumes(
    zone: &Zone,
    groups: &BTreeMap<GroupName, GroupRecords>,
    deadline: Duration,
) -> Volumes {
    // Made one by one and not by a closure over references: the compiler cannot see that such a stream may cross threads.
    let mut questions = Vec::new();
    for (group, records) in groups {
        if records.spec.other(zone.name()).is_some() {
            questions.push(ask_one(zone, group, deadline).boxed());
        }
    }
    stream::iter(questions)
        .buffer_unordered(GROUPS_AT_ONCE)
        .collect()
        .await
}

async fn ask_one(
    zone: &Zone,
    group: &GroupName,
    deadline: Duration,
) -> (GroupName, Answer<Vec<VolumeReport>>) {
    let answer = zone.ask(deadline, zone.sidecar().volumes(group)).await;
    (group.clone(), answer)
}

impl ZoneLooks {
    fn take(&mut self, zone: &ZoneName, report: Answer<ZoneReport>, volumes: Volumes) {
        match report {
            Ok(report) if report.zone == *zone => {
                self.reports.insert(zone.clone(), report);
            }
            Ok(report) => {
                let message = format!("its sidecar says that it is {}'s", report.zone);
                self.silent.insert(zone.clone(), message.clone());
                self.problems.push(Problem {
                    code: ErrorCode::InvalidField,
                    about: zone.to_string(),
                    message,
                });
                return;
            }
            Err(e) => {
                self.silent.insert(zone.clone(), e.message);
                return;
            }
        }
        for (group, answer) in volumes {
            match answer {
                Ok(volumes) => {
                    self.volumes
                        .entry(group)
                        .or_default()
                        .insert(zone.clone(), volumes);
                }
                Err(e) => self.problems.push(Problem {
                    code: e.code,
                    about: format!("{group} in {zone}"),
                    message: format!("its volumes are not known: {}", e.message),
                }),
            }
        }
    }
}
