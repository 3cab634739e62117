//! What we built for a server, and what we are building, as it stands in etcd: in each zone by itself. After a failover and the way home both instances may be ours, and the
//! one that stands by is followed, and taken away, by its own word and not by the other's.

use rekindle_common::{GroupName, ServerKey, ZoneName, keys};
use rekindle_core::servers::{Begun, Built};
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
    begun: BTreeMap<ZoneName, Begun>,
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
        let mut begun = BTreeMap::new();
        let all = store
            .list(&keys::begun_standbys(group, server), MOST)
            .await?;
        for kv in all.items {
            let one: Begun = kv.json()?;
            begun.insert(one.zone.clone(), one);
        }
        Ok(Self {
            group: group.clone(),
            server: server.clone(),
            by_zone,
            begun,
            old: of_old,
        })
    }

    /// What was built in that zone.
    pub(crate) fn of(&self, zone: &ZoneName) -> Option<&Built> {
        self.by_zone.get(zone)
    }

    /// A build in that zone that has not ended.
    pub(crate) fn begun(&self, zone: &ZoneName) -> Option<&Begun> {
        self.begun.get(zone)
    }

    /// The zone, not this one, where a build has not ended and nothing else is written down of it.
    pub(crate) fn half_beside(&self, zone: &ZoneName) -> Option<&Begun> {
        let mut all = self.begun.values();
        all.find(|b| b.zone != *zone && !self.by_zone.contains_key(&b.zone))
    }

    /// Writes down that a build is begun. What was built there before is known no more, and its word would be taken for this one's.
    pub(crate) fn begin(&self, begun: &Begun) -> Result<Vec<Op>, StoreError> {
        let key = keys::begun_standby(&self.group, &self.server, &begun.zone);
        let put = Op::put_json(key, begun, None)?;
        Ok([put, self.gone(&begun.zone)]
            .into_iter()
            .chain(self.drop_old(&begun.zone))
            .collect())
    }

    fn gone(&self, zone: &ZoneName) -> Op {
        Op::Delete {
            key: keys::built_standby(&self.group, &self.server, zone),
        }
    }

    /// Forgets that one was.
    pub(crate) fn ended(&self, zone: &ZoneName) -> Op {
        Op::Delete {
            key: keys::begun_standby(&self.group, &self.server, zone),
        }
    }

    /// Writes one down. Its build has ended.
    pub(crate) fn put(&self, built: &Built) -> Result<Vec<Op>, StoreError> {
        let key = keys::built_standby(&self.group, &self.server, &built.zone);
        let put = Op::put_json(key, built, None)?;
        Ok([put, self.ended(&built.zone)]
            .into_iter()
            .chain(self.drop_old(&built.zone))
            .collect())
    }

    /// Forgets that of a zone.
    pub(crate) fn forget(&self, zone: &ZoneName) -> Vec<Op> {
        [self.gone(zone), self.ended(zone)]
            .into_iter()
            .chain(self.drop_old(zone))
            .collect()
    }

    /// Forgets all of them.
    pub(crate) fn forget_all(&self) -> Vec<Op> {
        vec![
            Op::DeletePrefix {
                prefix: keys::server_standbys(&self.group, &self.server),
            },
            Op::DeletePrefix {
                prefix: keys::begun_standbys(&self.group, &self.server),
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
