//! What we built for a server, as it stands in etcd: in each zone by itself. After a failover and the way home both instances may be ours, and the
//! one that stands by is followed, and taken away, by its own word and not by the other's.

use rekindle_common::{GroupName, ServerKey, ZoneName, keys};
use rekindle_core::servers::Built;
use rekindle_store::{Op, Store, StoreError};
use std::collections::BTreeMap;

/// Zones. A group has two; more are those of another time.
const MOST: u32 = 16;

/// One server's.
#[derive(Debug)]
pub(crate) struct BuiltStandbys {
    group: GroupName,
    server: ServerKey,
    by_zone: BTreeMap<ZoneName, Built>,
    /// Of which zone the one is that an older version wrote.
    old: Option<ZoneName>,
}

impl BuiltStandbys {
    /// Reads them.
    pub(crate) async fn read(
        store: &Store,
        group: &GroupName,
        server: &ServerKey,
    ) -> Result<Self, StoreError> {
        let mut by_zone = BTreeMap::new();
        let all = store
            .list(&keys::server_standbys(group, server), MOST)
            .await?;
        for kv in all.items {
            let built: Built = kv.json()?;
            by_zone.insert(built.zone.clone(), built);
        }
        let old = store.get(&keys::old_built_standby(group, server)).await?;
        let old: Option<Built> = old.map(|kv| kv.json()).transpose()?;
        let of_old = old.as_ref().map(|b| b.zone.clone());
        if let Some(old) = old {
            // An older version may have led since.
            let newer = |b: &Built| b.at >= old.at;
            if !by_zone.get(&old.zone).is_some_and(newer) {
                by_zone.insert(old.zone.clone(), old);
            }
        }
        Ok(Self {
            group: group.clone(),
            server: server.clone(),
            by_zone,
            old: of_old,
        })
    }

    /// What was built in that zone.
    pub(crate) fn of(&self, zone: &ZoneName) -> Option<&Built> {
        self.by_zone.get(zone)
    }

    /// Writes one down.
    pub(crate) fn put(&self, built: &Built) -> Result<Vec<Op>, StoreError> {
        let key = keys::built_standby(&self.group, &self.server, &built.zone);
        let put = Op::put_json(key, built, None)?;
        Ok([put]
            .into_iter()
            .chain(self.drop_old(&built.zone))
            .collect())
    }

    /// Forgets that of a zone.
    pub(crate) fn forget(&self, zone: &ZoneName) -> Vec<Op> {
        let key = keys::built_standby(&self.group, &self.server, zone);
        let gone = Op::Delete { key };
        [gone].into_iter().chain(self.drop_old(zone)).collect()
    }

    /// Forgets all of them.
    pub(crate) fn forget_all(&self) -> Vec<Op> {
        vec![
            Op::DeletePrefix {
                prefix: keys::server_standbys(&self.group, &self.server),
            },
            Op::Delete {
                key: keys::old_built_standby(&self.group, &self.server),
            },
        ]
    }

    /// The other zone's stays as it is until that is written anew.
    fn drop_old(&self, zone: &ZoneName) -> Option<Op> {
        (self.old.as_ref() == Some(zone)).then(|| Op::Delete {
            key: keys::old_built_standby(&self.group, &self.server),
        })
    }
}
