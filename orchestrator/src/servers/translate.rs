//! A record in another zone's names, by the mapping and by what the catalogue last said of the volumes.

use crate::catalogue::volumes::VolumeMap;
use rekindle_common::{ZoneName, servers::ServerRecord};
use rekindle_core::{
    catalogue::mapping::{Mapping, Side},
    servers::{Counterpart, Gap, Way, mapped},
};
use std::collections::BTreeMap;

/// What a server's root volume is in that zone, by its record; none: there is none there, or it is not known now.
pub fn root_in(
    record: &ServerRecord,
    zone: &ZoneName,
    volumes: Option<&VolumeMap>,
) -> Option<String> {
    let root = &record.disks.first()?.volume.id;
    if record.zone == *zone {
        return Some(root.clone());
    }
    match volumes?.counterpart(&record.zone, root, zone)? {
        Counterpart::Volume(id) => Some(id),
        Counterpart::Absent => None,
    }
}

/// The record in that zone's names; as it is where it has them. Its project is left to its volumes: a server is built where its root volume is,
/// which the catalogue has put into the right one. So it needs no answer of a Keystone that may be gone.
///
/// # Errors
/// All that is in the way.
pub fn translated(
    record: &ServerRecord,
    to: &ZoneName,
    mapping: &Mapping,
    volumes: Option<&VolumeMap>,
) -> Result<ServerRecord, Vec<Gap>> {
    let record = ServerRecord {
        project: None,
        ..record.clone()
    };
    if record.zone == *to {
        return Ok(record);
    }
    let from = &record.zone;
    let counterparts: BTreeMap<String, _> = record
        .disks
        .iter()
        .filter_map(|d| {
            let id = &d.volume.id;
            Some((id.clone(), volumes?.counterpart(from, id, to)?))
        })
        .collect();
    let side = |zone| Side {
        zone,
        projects: None,
    };
    let way = Way {
        from: side(from),
        to: side(to),
        mapping,
        volumes: &counterparts,
    };
    mapped::mapped(&record, &way)
}
