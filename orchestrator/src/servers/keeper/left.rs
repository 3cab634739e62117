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
    servers::{Build, KeptServer},
};
use rekindle_core::servers::{
    Built,
    follow::{Copies, Standby},
    leave::{Leave, leave},
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
    let there = built_in(&kept).map(|(zone, _)| zone);
    let built = there.and_then(|zone| words.of(zone));
    let Seen { standby, copies } = look(keeper, group, &kept, built, volumes).await;
    match leave(&kept, built, &standby, copies, primary.as_ref()) {
        Leave::Wait { why } => Ok(Some(why)),
        Leave::Remove { id, counterpart } => {
            if keeper.memory().failure(group, key).is_some_and(|(_, w)| w) {
                return Ok(keeper.memory().failure(group, key).map(|(words, _)| words));
            }
            lead.check()?;
            let root = there.and_then(|zone| root_of(&words, Some(&kept.record), zone, volumes));
            let wanted = Wanted {
                group: group.clone(),
                key: key.clone(),
                id: Some(id),
                counterpart: Some(counterpart),
                root,
            };
            let removed = remove(keeper, &kept, &wanted).await;
            keeper.metrics.servers.act("remove", removed.is_ok());
            match removed {
                Ok(()) => {
                    keeper.memory().good(group, key);
                    Ok(Some("its stand-by was removed".to_owned()))
                }
                Err(why) => {
                    let mut memory = keeper.memory();
                    memory.failed(group, key, why.clone(), &keeper.timing);
                    Ok(Some(why))
                }
            }
        }
        Leave::Forget => {
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
                    keeper.memory().forget(group, key);
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

async fn look(
    keeper: &ServersKeeper,
    group: &GroupName,
    kept: &KeptServer,
    built: Option<&Built>,
    volumes: Option<&VolumeMap>,
) -> Seen {
    let unknown = |why: String| Seen {
        standby: Standby::Unknown { why },
        copies: Copies::Unknown,
    };
    let Some((zone, id)) = built_in(kept) else {
        return Seen {
            standby: Standby::Absent,
            copies: Copies::Unknown,
        };
    };
    let servers = match keeper.servers(zone) {
        Ok(servers) => servers,
        Err(why) => return unknown(why),
    };
    let wanted = Wanted {
        group: group.clone(),
        key: kept.key.clone(),
        id: Some(id.to_owned()),
        counterpart: None,
        root: None,
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
    let images = built.zip(volumes);
    let images = images.and_then(|(b, v)| images_of(zone, std::iter::once(&b.record), v));
    let copies = match images {
        None => Copies::Unknown,
        Some(images) => copies(keeper, group, zone, &images).await.0,
    };
    Seen { standby, copies }
}

async fn remove(keeper: &ServersKeeper, kept: &KeptServer, wanted: &Wanted) -> Result<(), String> {
    let Some((zone, _)) = built_in(kept) else {
        return Ok(());
    };
    let servers = keeper.servers(zone)?;
    tracing::info!(group = %wanted.group, server = %wanted.key, %zone, "the stand-by of a server that is protected no more is removed");
    match servers.remove(wanted, keeper.timing.build).await {
        Ok(()) => Ok(()),
        Err(ServersError::NotNow(why) | ServersError::Refused(why)) => Err(why),
    }
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
