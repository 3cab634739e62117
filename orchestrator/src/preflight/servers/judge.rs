//! From what was seen of the servers to what is missing. Pure.

use super::{
    Protected, ServersSeen,
    fields::Trip,
    look::{counterpart, project},
};
use crate::preflight::{GapKind, judge::Judge, look::Seen};
use rekindle_common::servers::ServerRecord;
use rekindle_core::{
    catalogue::mapping::Side,
    servers::{Counterpart, Way, mapped},
};
use std::collections::BTreeMap;

pub(in crate::preflight) fn judge(judge: &mut Judge<'_>, servers: &ServersSeen, seen: &Seen) {
    if let Some(why) = &servers.silent {
        let zones: Vec<_> = seen.keys().cloned().collect();
        for zone in zones {
            judge.unchecked(&zone, "the groups' servers", why.clone());
        }
        return;
    }
    judge.counts.servers = servers.servers.len();
    for server in &servers.servers {
        let about = format!("server {} of group {}", server.key, server.group);
        let record = match &server.record {
            Ok(record) => record,
            Err(why) => {
                judge.unchecked(&server.from, about, why.clone());
                continue;
            }
        };
        judge.server_mapping(server, record, seen, &about);
        if let Some(place) = servers.places.get(&server.to) {
            let id = project(server, seen);
            judge.server_fields(Trip {
                server,
                record,
                place,
                project: id.and_then(|id| place.projects.get(&id)),
            });
        }
    }
    judge.server_quotas(servers, seen);
    judge.server_capacity(servers);
}

impl Judge<'_> {
    /// What has no counterpart in the mapping, and volumes without a copy.
    fn server_mapping(
        &mut self,
        server: &Protected,
        record: &ServerRecord,
        seen: &Seen,
        about: &str,
    ) {
        let mut volumes = BTreeMap::new();
        for disk in &record.disks {
            let id = &disk.volume.id;
            if let Ok(found) = counterpart(seen, &server.from, id, &server.to) {
                let there =
                    found.map_or(Counterpart::Absent, |v| Counterpart::Volume(v.id.clone()));
                volumes.insert(id.clone(), there);
            }
        }
        // Projects are judged by the volumes' own: a server comes back where they are.
        let record = ServerRecord {
            project: None,
            ..record.clone()
        };
        let side = |zone| Side {
            zone,
            projects: None,
        };
        let way = Way {
            from: side(&server.from),
            to: side(&server.to),
            mapping: self.mapping,
            volumes: &volumes,
        };
        for gap in mapped(&record, &way).err().unwrap_or_default() {
            if gap.unknown {
                self.unchecked(&server.to, format!("{about}: {}", gap.field), gap.why);
            } else {
                let advice = "mend the mapping, or what it is about";
                self.gap(
                    GapKind::UnmappedServer,
                    None,
                    format!("{about}: {gap}"),
                    advice,
                );
            }
        }
    }
}
