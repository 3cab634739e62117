//! Servers that are in no runbook any more: what we built for them goes, and then what is kept of them.

use super::{
    ServersKeeper,
    act::order_to,
    look::{copies, images_of, rests, root_of},
};
use crate::{
    catalogue::volumes::VolumeMap,
    coordination::{Lead, LeadError},
    servers::{
        built::BuiltStandbys,
        control::{ServersError, Wanted},
    },
    wire::{ServerView, StandbyState},
    world::Records,
};
use rekindle_common::{
    Generation, GroupName, ServerKey, ZoneName,
    action::{Order, VolumeAction},
    keys,
    runbook::StandbyPolicy,
    servers::{Build, KeptServer, ServerRecord},
};
use rekindle_core::servers::{
    Begun, Built,
    follow::{Copies, Standby},
    leave::{Leave, leave, leave_half},
};
use rekindle_store::{Compare, KeyValue, Op, StoreError, Txn};
use std::collections::BTreeSet;

/// Records are long: so many are read at once.
const PAGE: u32 = 20;

/// Looks at all that is kept, and ends what is protected no more.
///
/// # Errors
/// [`LeadError`].
pub(super) async fn all(
    keeper: &ServersKeeper,
    lead: &Lead,
    records: &Records,
    volumes: Option<&VolumeMap>,
) -> Result<Vec<ServerView>, LeadError> {
    let protected: BTreeSet<(&GroupName, &ServerKey)> = records
        .groups
        .iter()
        .flat_map(|(name, g)| g.spec.runbook.servers().map(move |s| (name, &s.key)))
        .collect();
    let mut views = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = lead
            .store()
            .list_after(keys::SERVERS, after.as_deref(), PAGE)
            .await
            .map_err(LeadError::Store)?;
        after = page.items.last().map(|kv| kv.key.clone());
        for kv in page.items {
            let Some((group, key)) = names(&kv.key) else {
                continue;
            };
            if protected.contains(&(&group, &key)) {
                continue;
            }
            let end = one(keeper, lead, records, volumes, &group, &key, &kv).await?;
            views.extend(end.map(|why| view(group, key, why)));
        }
        if !page.more || after.is_none() {
            return Ok(views);
        }
    }
}

fn names(key: &str) -> Option<(GroupName, ServerKey)> {
    let (group, server) = key.strip_prefix(keys::SERVERS)?.split_once('/')?;
    Some((group.parse().ok()?, server.parse().ok()?))
}

fn view(group: GroupName, key: ServerKey, why: String) -> ServerView {
    ServerView {
        group,
        key,
        standby: StandbyPolicy::None,
        standby_state: StandbyState::default(),
        primary: None,
        serving: None,
        stands_by: None,
        recorded_at: None,
        instances: std::collections::BTreeMap::new(),
        trouble: Some(format!("it is protected no more: {why}")),
    }
}

/// Why it is not ended yet, in words; none: it is.
async fn one(
    keeper: &ServersKeeper,
    lead: &Lead,
    records: &Records,
    volumes: Option<&VolumeMap>,
    group: &GroupName,
    key: &ServerKey,
    kv: &KeyValue,
) -> Result<Option<String>, LeadError> {
    lead.check()?;
    if records.maintenance.is_some() {
        return Ok(Some("maintenance".to_owned()));
    }
    let spec = keys::group_spec(group);
    // A group that cannot be read is no group that is gone.
    let (primary, generation, ground) = match records.groups.get(group) {
        Some(g) if g.active_plan.is_some() => {
            return Ok(Some("a plan is at work on its group".to_owned()));
        }
        Some(g) => match &g.primary {
            Some(p) => (
                Some(p.value.zone.clone()),
                Some(p.value.generation),
                Compare::ModRevision(spec, g.spec_revision),
            ),
            None => return Ok(Some("its group's primary is not recorded".to_owned())),
        },
        None => match lead.store().get(&spec).await {
            Ok(None) => (None, None, Compare::Absent(spec)),
            Ok(Some(_)) => return Ok(Some("its group cannot be read".to_owned())),
            Err(e) => return Err(LeadError::Store(e)),
        },
    };
    let (kept, words) = match both(lead, group, key, kv).await {
        Ok(both) => both,
        Err(e) => return Ok(Some(format!("what is kept of it cannot be read: {e}"))),
    };
    // The other zone's, where we built that too, is of what serves.
    let half = words.half_beside(&kept.record.zone);
    let there = match half {
        Some(begun) => Some(Place::half(&kept, begun)),
        None => built_in(&kept).map(|(zone, id)| Place::built(zone, id, words.of(zone))),
    };
    let Seen { standby, copies } = look(keeper, group, &kept, there.as_ref(), volumes).await;
    let now = keeper.clock.now();
    let due = match half {
        Some(begun) => leave_half(&kept, begun, &standby, copies, primary.as_ref(), now),
        None => {
            let built = there.as_ref().and_then(|t| words.of(t.zone));
            leave(&kept, built, &standby, copies, primary.as_ref())
        }
    };
    let wanted = |id, counterpart| Wanted {
        group: group.clone(),
        key: key.clone(),
        id,
        counterpart,
        root: there
            .as_ref()
            .and_then(|t| root_of(&words, Some(&kept.record), t.zone, volumes)),
    };
    let waits = keeper.memory().failure(group, key).filter(|(_, w)| *w);
    match (due, waits) {
        (Leave::Wait { why }, _) => Ok(Some(why)),
        (Leave::Hold { .. } | Leave::Remove { .. }, Some((words, _))) => Ok(Some(words)),
        (Leave::Hold { id }, None) => {
            lead.check()?;
            let held = hold(keeper, there.as_ref(), &wanted(Some(id), None)).await;
            Ok(Some(done(keeper, group, key, "hold", held, "was held")))
        }
        (Leave::Remove { id, counterpart }, None) => {
            lead.check()?;
            let wanted = wanted(Some(id), Some(counterpart));
            let removed = remove(keeper, there.as_ref(), &wanted).await;
            let end = done(keeper, group, key, "remove", removed, "was removed");
            Ok(Some(end))
        }
        (Leave::Forget, _) => {
            if let Some(begun) = half {
                lead.check()?;
                let wanted = wanted(None, Some(begun.counterpart.clone()));
                if let Err(why) = clear(keeper, &begun.zone, &wanted).await {
                    return Ok(Some(why));
                }
            }
            // Before it: should the transaction be refused, for its server is back in a runbook, the record is written to its volume anew.
            keeper.memory().forget(group, key);
            undescribe(keeper, &kept, volumes, generation).await;
            let mut txn = Txn::new()
                .when(ground)
                .when(Compare::ModRevision(kv.key.clone(), kv.mod_revision))
                .then(Op::Delete {
                    key: kv.key.clone(),
                });
            txn.ops.extend(words.forget_all());
            match lead.txn(txn).await {
                Ok(_) => {
                    tracing::info!(%group, server = %key, "a server that is protected no more is forgotten");
                    Ok(None)
                }
                Err(LeadError::Refused { .. }) => Ok(Some("it was changed meanwhile".to_owned())),
                Err(e @ (LeadError::Lost | LeadError::Store(_))) => Err(e),
            }
        }
    }
}

async fn both(
    lead: &Lead,
    group: &GroupName,
    key: &ServerKey,
    kv: &KeyValue,
) -> Result<(KeptServer, BuiltStandbys), StoreError> {
    let kept = kv.json()?;
    let words = BuiltStandbys::read(lead.store(), group, key).await?;
    Ok((kept, words))
}

struct Seen {
    standby: Standby,
    copies: Copies,
}

/// The zone where we built one, if it is not the one that serves.
fn built_in(kept: &KeptServer) -> Option<(&ZoneName, &str)> {
    let ours = kept.instances.iter().find(|(zone, i)| {
        **zone != kept.record.zone
            && match i.build {
                Build::Users => false,
                Build::Standby { .. } => true,
            }
    })?;
    Some((ours.0, ours.1.id.as_str()))
}

/// Where its stand-by is, and by what it is found.
struct Place<'a> {
    zone: &'a ZoneName,
    id: Option<String>,
    /// What it bears, where it is looked for by that.
    counterpart: Option<String>,
    /// What it was built from.
    record: Option<&'a ServerRecord>,
}

impl<'a> Place<'a> {
    fn built(zone: &'a ZoneName, id: &str, built: Option<&'a Built>) -> Self {
        Self {
            zone,
            id: Some(id.to_owned()),
            counterpart: None,
            record: built.map(|b| &b.record),
        }
    }

    /// Its id may be known already: it was seen at rest, and then its server left the runbook.
    fn half(kept: &KeptServer, begun: &'a Begun) -> Self {
        let id = built_in(kept).filter(|(zone, _)| **zone == begun.zone);
        Self {
            zone: &begun.zone,
            id: id.map(|(_, id)| id.to_owned()),
            counterpart: Some(begun.counterpart.clone()),
            record: Some(&begun.record),
        }
    }
}

/// What came of it, in words; what failed waits.
fn done(
    keeper: &ServersKeeper,
    group: &GroupName,
    key: &ServerKey,
    act: &'static str,
    end: Result<(), String>,
    well: &str,
) -> String {
    keeper.metrics.servers.act(act, end.is_ok());
    let mut memory = keeper.memory();
    match end {
        Ok(()) => {
            memory.good(group, key);
            format!("its stand-by {well}")
        }
        Err(why) => {
            memory.failed(group, key, why.clone(), &keeper.timing);
            why
        }
    }
}

async fn look(
    keeper: &ServersKeeper,
    group: &GroupName,
    kept: &KeptServer,
    there: Option<&Place<'_>>,
    volumes: Option<&VolumeMap>,
) -> Seen {
    let unknown = |why: String| Seen {
        standby: Standby::Unknown { why },
        copies: Copies::Unknown,
    };
    let Some(there) = there else {
        return Seen {
            standby: Standby::Absent,
            copies: Copies::Unknown,
        };
    };
    let zone = there.zone;
    let servers = match keeper.servers(zone) {
        Ok(servers) => servers,
        Err(why) => return unknown(why),
    };
    let wanted = Wanted {
        group: group.clone(),
        key: kept.key.clone(),
        id: there.id.clone(),
        root: there.counterpart.as_ref().and_then(|_| {
            let root = there.record?.disks.first()?;
            Some(root.volume.id.clone())
        }),
        counterpart: there.counterpart.clone(),
    };
    let standby = match servers.look(&wanted, keeper.timing.deadline).await {
        Ok(None) => Standby::Absent,
        Ok(Some(seen)) => Standby::There {
            id: seen.id,
            state: rests(seen.state),
            held: seen.held,
            words: seen.words,
            disks: None,
        },
        Err(ServersError::NotNow(why) | ServersError::Refused(why)) => Standby::Unknown { why },
    };
    let images = there.record.zip(volumes);
    let images = images.and_then(|(r, v)| images_of(zone, std::iter::once(r), v));
    let copies = match images {
        None => Copies::Unknown,
        Some(images) => copies(keeper, group, zone, &images).await.0,
    };
    Seen { standby, copies }
}

async fn hold(
    keeper: &ServersKeeper,
    there: Option<&Place<'_>>,
    wanted: &Wanted,
) -> Result<(), String> {
    let Some(Place { zone, .. }) = there else {
        return Ok(());
    };
    let servers = keeper.servers(zone)?;
    let reason = "it was being built as a stand-by, and its server is protected no more";
    let held = servers.hold(wanted, reason, keeper.timing.build).await;
    held.map(drop).map_err(|e| e.to_string())
}

async fn remove(
    keeper: &ServersKeeper,
    there: Option<&Place<'_>>,
    wanted: &Wanted,
) -> Result<(), String> {
    let Some(Place { zone, .. }) = there else {
        return Ok(());
    };
    let servers = keeper.servers(zone)?;
    tracing::info!(group = %wanted.group, server = %wanted.key, %zone, "the stand-by of a server that is protected no more is removed");
    let removed = servers.remove(wanted, keeper.timing.build).await;
    removed.map_err(|e| e.to_string())
}

/// The ports of a build that came to nothing.
async fn clear(keeper: &ServersKeeper, zone: &ZoneName, wanted: &Wanted) -> Result<(), String> {
    let servers = keeper.servers(zone)?;
    let cleared = servers.clear(wanted, keeper.timing.build).await;
    cleared.map_err(|e| e.to_string())
}

/// Takes the record from its volume, where that can still be done: nothing depends on it.
async fn undescribe(
    keeper: &ServersKeeper,
    kept: &KeptServer,
    volumes: Option<&VolumeMap>,
    generation: Option<Generation>,
) {
    let zone = &kept.record.zone;
    let root = kept.record.disks.first();
    let image = root.and_then(|d| volumes?.image(zone, &d.volume.id).ok()?);
    let Some(image) = image else {
        return;
    };
    let order = Order {
        action: VolumeAction::RecordServer { record: None },
        generation,
    };
    if let Err(e) = order_to(keeper, zone, image, order).await {
        tracing::debug!(server = %kept.key, volume.id = %image, error = %e, "a server's record stays with its volume");
    }
}
