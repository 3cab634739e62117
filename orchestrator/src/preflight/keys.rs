//! Whether the keys of encrypted volumes are in the other zone's key manager. What is in a key is never asked for.

use super::look::{AT_ONCE, Seen};
use futures::future::join_all;
use jiff::Timestamp;
use rekindle_common::ZoneName;
use rekindle_core::catalogue::mapping::Mapping;
use rekindle_openstack::{Cloud, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that are asked for in a zone. What more there are is named as unchecked.
pub(super) const MOST: usize = 10_000;

/// By their project's id and their own.
type Keys = BTreeSet<(String, String)>;

/// Asks each zone for the keys that the mapping leads to there: of all replicated volumes, or of these alone.
pub(super) async fn look(
    seen: &mut Seen,
    mapping: &Mapping,
    clouds: &[Cloud],
    only: Option<&BTreeSet<String>>,
) {
    let wanted = wanted(seen, mapping, only);
    for cloud in clouds {
        let keys: Vec<(String, String)> = wanted
            .get(cloud.zone())
            .into_iter()
            .flatten()
            .take(MOST)
            .cloned()
            .collect();
        let rest = seen.get_mut(cloud.zone()).and_then(|z| z.cloud.as_mut());
        let Some(rest) = rest.and_then(|c| c.rest.as_mut()) else {
            continue;
        };
        for some in keys.chunks(AT_ONCE) {
            let asked = some.iter().map(async |(project, key)| {
                // A key is its project's: what a server there may open is asked under that project's token.
                let answer = cloud
                    .barbican(Scope::Project(project.clone()))
                    .key(key)
                    .await;
                let found = answer.map(|k| k.unusable(Timestamp::now()));
                ((project.clone(), key.clone()), found)
            });
            rest.keys.extend(join_all(asked).await);
        }
    }
}

/// By the zone in which they are to be.
fn wanted(
    seen: &Seen,
    mapping: &Mapping,
    only: Option<&BTreeSet<String>>,
) -> BTreeMap<ZoneName, Keys> {
    let mut found: BTreeMap<ZoneName, Keys> = BTreeMap::new();
    for (from, here) in seen {
        for volume in here.replicated().into_iter().flatten() {
            let Some(key) = &volume.encryption_key_id else {
                continue;
            };
            if only.is_some_and(|only| !only.contains(&volume.id)) {
                continue;
            }
            for (to, there) in seen.iter().filter(|(to, _)| *to != from) {
                let project = mapping.project(here.side(from), &volume.project_id, there.side(to));
                if let (Ok(project), Ok(key)) = (project, mapping.key(from, key, to)) {
                    let keys = found.entry(to.clone()).or_default();
                    keys.insert((project.id.clone(), key.to_owned()));
                }
            }
        }
    }
    found
}
