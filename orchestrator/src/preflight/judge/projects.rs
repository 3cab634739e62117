//! Projects: whether each has its counterpart, whether we may make records there, whether its quota holds them.

use super::{Judge, Way, count};
use crate::preflight::GapKind;
use rekindle_core::catalogue::mapping::Project;
use rekindle_openstack::{CloudError, Quota, QuotaSet, Snapshot, Volume};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be made in a project, by the names of its quota's figures.
type Need = BTreeMap<String, u64>;

impl<'a> Judge<'a> {
    pub(super) fn projects(&mut self) {
        let zones: BTreeSet<_> = self.config.zones.keys().cloned().collect();
        for e in self.mapping.check(&zones) {
            self.gap(
                GapKind::MappedProject,
                None,
                e.to_string(),
                "mend the mapping",
            );
        }
        for (zone, seen) in self.seen {
            let side = seen.side(zone);
            if side.projects.is_some() {
                for e in self.mapping.check_projects(side) {
                    self.unmapped(GapKind::MappedProject, &e, "");
                }
            }
            self.roles(zone);
        }
        for way in self.ways() {
            self.volumes(way);
        }
    }

    fn roles(&mut self, zone: &rekindle_common::ZoneName) {
        let Some(rest) = self.seen.get(zone).and_then(|s| s.rest()) else {
            return;
        };
        self.counts.projects += rest.roles.len();
        for (id, roles) in &rest.roles {
            let name = rest.projects.iter().flatten().find(|p| p.id == *id);
            let name = name.map_or(id.clone(), full_name);
            if rest.disabled.contains(id) {
                let what = format!("project {name} is disabled: nothing can be made in it");
                let advice = format!("openstack project set --enable {id}");
                self.gap(GapKind::MappedProject, Some(zone), what, advice);
                continue;
            }
            match roles {
                Ok(_) => {}
                Err(CloudError::Unauthorized { .. } | CloudError::Forbidden { .. }) => {
                    let what = format!(
                        "we are no administrator of project {name}, and records are to be made there"
                    );
                    let advice = format!("openstack role add --project {id} --user USER admin");
                    self.gap(GapKind::NotAdministrator, Some(zone), what, advice);
                }
                Err(e) => self.unchecked(zone, format!("our role in project {name}"), e.in_full()),
            }
        }
    }

    /// Those of one zone, on their way into the other's catalogue.
    fn volumes(&mut self, way: Way<'a>) {
        // Which are not known is said where that zone is looked at.
        let Some(replicated) = way.here.replicated() else {
            return;
        };
        self.counts.volumes += replicated.len();
        let mut of_project: BTreeMap<&str, Vec<&Volume>> = BTreeMap::new();
        for volume in replicated {
            of_project
                .entry(&volume.project_id)
                .or_default()
                .push(volume);
            self.key(way, volume);
        }
        for (id, volumes) in of_project {
            let (from, to) = (way.here.side(way.from), way.there.side(way.to));
            match self.mapping.project(from, id, to) {
                Ok(project) => self.quota(way, project, &volumes),
                Err(e) => {
                    let about = format!(
                        "{} of {} cannot be shown in {}",
                        count(volumes.len(), "replicated volume"),
                        way.from,
                        way.to
                    );
                    self.unmapped(GapKind::UnmappedProject, &e, &about);
                }
            }
        }
    }

    fn quota(&mut self, way: Way<'_>, project: &Project, volumes: &[&Volume]) {
        let Some(rest) = way.there.rest() else {
            return;
        };
        let what = format!("the quota of project {}", full_name(project));
        let Some(quota) = rest.quotas.get(&project.id) else {
            return self.unchecked(way.to, what, "it was not asked for");
        };
        let Some(quota) = self.known(way.to, &what, quota) else {
            return;
        };
        let (Ok(there), Some(here)) = (&rest.volumes, way.here.rest()) else {
            return;
        };
        let records: BTreeSet<String> = there.iter().map(Volume::image).collect();
        let mut need = Need::new();
        for volume in volumes.iter().filter(|v| !records.contains(&v.image())) {
            let kind = volume.volume_type.as_deref();
            let kind = kind.and_then(|k| self.mapping.volume_type(way.from, k, way.to).ok());
            add(&mut need, "volumes", kind, 1);
            add(&mut need, "gigabytes", kind, volume.size_gib);
        }
        let ids: BTreeSet<&str> = volumes.iter().map(|v| v.id.as_str()).collect();
        if let (Ok(ours), Ok(theirs)) = (&here.snapshots, &rest.snapshots) {
            let known: BTreeSet<&str> = theirs.iter().filter_map(source).collect();
            let is_new = |s: &&Snapshot| {
                ids.contains(s.volume_id.as_str())
                    && !known.contains(format!("snapshot-{}", s.id).as_str())
            };
            for snapshot in ours.iter().filter(is_new) {
                add(&mut need, "snapshots", None, 1);
                add(&mut need, "gigabytes", None, snapshot.size_gib);
            }
        }
        for (figure, wanted) in need {
            self.figure(way, project, quota, &figure, wanted);
        }
    }

    fn figure(
        &mut self,
        way: Way<'_>,
        project: &Project,
        quota: &QuotaSet,
        figure: &str,
        wanted: u64,
    ) {
        let Some(q) = quota.get(figure) else {
            return;
        };
        let Quota { limit, in_use, .. } = q;
        if q.left().is_some_and(|left| left < wanted) {
            let what = format!(
                "project {} lacks quota for what is replicated from {}: {wanted} more {figure} are needed, {in_use} of {limit} are used",
                full_name(project),
                way.from
            );
            let least = u64::try_from(in_use).unwrap_or(0).saturating_add(wanted);
            let advice = format!(
                "raise it to {least} at least: {}",
                command(figure, least, &project.id)
            );
            self.gap(GapKind::Quota, Some(way.to), what, advice);
        }
    }
}

fn command(figure: &str, least: u64, project: &str) -> String {
    match figure.split_once('_') {
        None => format!("openstack quota set --{figure} {least} {project}"),
        Some((figure, kind)) => {
            format!("openstack quota set --{figure} {least} --volume-type {kind} {project}")
        }
    }
}

fn add(need: &mut Need, figure: &str, kind: Option<&str>, n: u64) {
    *need.entry(figure.to_owned()).or_default() += n;
    if let Some(kind) = kind {
        *need.entry(format!("{figure}_{kind}")).or_default() += n;
    }
}

/// The RBD snapshot that a snapshot's record of the catalogue stands for.
fn source(snapshot: &Snapshot) -> Option<&str> {
    snapshot
        .metadata
        .get("rekindle:snapshot")
        .map(String::as_str)
}

fn full_name(p: &Project) -> String {
    format!("{}:{}", p.domain, p.name)
}
