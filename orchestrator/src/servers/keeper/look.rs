//! One look at one server: what is kept, what is seen in both zones, and what would be built now.

use super::{ServersKeeper, ground::Ground};
use crate::{
    catalogue::volumes::VolumeMap,
    coordination::Lead,
    servers::{
        built::BuiltStandbys,
        control::{self, ServerState, ServersError, Wanted},
        translate,
    },
    wire::{ServerView, StandbyState},
};
use jiff::Timestamp;
use rekindle_common::{
    ErrorCode, GroupName, ImageSpec, ZoneName, keys,
    mode::MirrorImageMode,
    runbook::{RunbookServer, StandbyPolicy},
    servers::{Build, KeptServer, ServerRecord},
    volume::Role,
};
use rekindle_core::servers::follow::{Copies, Mapped, Rests, Serving, Sight, Standby};
use rekindle_store::{Revision, Store, StoreError};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What was seen.
pub(super) struct Looked {
    pub server: RunbookServer,
    pub policy: StandbyPolicy,
    pub ground: Ground,
    /// What is kept, and the revision that a change compares.
    pub kept: Option<(KeptServer, Revision)>,
    pub built: BuiltStandbys,
    /// It was looked for what came of a build that has not ended.
    pub half: bool,
    pub named: BTreeMap<ZoneName, String>,
    pub serving: Serving,
    pub standby: Standby,
    pub mapped: Mapped,
    pub copies: Copies,
    /// Those of its volumes that are copies there and not in the group.
    pub outside: Vec<ImageSpec>,
    pub counterpart: String,
    /// The image of its root volume where it serves.
    pub root: Option<ImageSpec>,
    /// The id of its root volume where it stands by.
    pub root_there: Option<String>,
    /// The images of its volumes where it stands by.
    pub images: Vec<ImageSpec>,
    pub at: Timestamp,
}

impl Looked {
    pub(super) fn sight(&self) -> Sight<'_> {
        Sight {
            key: &self.server.key,
            primary: &self.ground.primary,
            other: &self.ground.other,
            policy: self.policy,
            kept: self.kept.as_ref().map(|(k, _)| k),
            built: self.built.of(&self.ground.other),
            begun: self.built.begun(&self.ground.other).filter(|_| self.half),
            named: &self.named,
            serving: self.serving.clone(),
            standby: self.standby.clone(),
            mapped: self.mapped.clone(),
            copies: self.copies,
            group: &self.ground.group,
            outside: &self.outside,
            counterpart: &self.counterpart,
            now: self.at,
        }
    }

    /// What calls to the stand-by's zone are about.
    pub(super) fn wanted(&self, id: Option<String>, counterpart: &str) -> Wanted {
        Wanted {
            group: self.ground.group.clone(),
            key: self.server.key.clone(),
            id,
            counterpart: Some(counterpart.to_owned()),
            root: self.root_there.clone(),
        }
    }

    /// As whose stand-by a build that has not ended is marked.
    pub(super) fn begun_as(&self) -> String {
        let begun = self.built.begun(&self.ground.other);
        begun.map_or_else(|| self.counterpart.clone(), |b| b.counterpart.clone())
    }

    /// For people.
    pub(super) fn show(&self, view: &mut ServerView) {
        view.serving = Some(match &self.serving {
            Serving::Unknown { .. } => "unknown".to_owned(),
            Serving::Absent => "not there".to_owned(),
            Serving::There(record) => record.power.as_str().to_owned(),
        });
        view.stands_by = Some(match &self.standby {
            Standby::Unknown { .. } => "unknown".to_owned(),
            Standby::Absent => "-".to_owned(),
            Standby::There { words, .. } => words.clone(),
        });
        let kept = self.kept.as_ref().map(|(k, _)| k);
        view.standby_state = match &self.standby {
            Standby::Unknown { .. } => StandbyState::Unknown,
            Standby::Absent => StandbyState::Absent,
            Standby::There { state, .. } => match state {
                Rests::Running => StandbyState::Running,
                Rests::Resting => StandbyState::Resting,
                Rests::Changing => StandbyState::Changing,
                Rests::Failed { .. } => StandbyState::Failed,
                Rests::Unknown => StandbyState::Unknown,
            },
        };
        view.recorded_at = match &self.serving {
            Serving::There(record) => Some(record.taken_at),
            Serving::Unknown { .. } | Serving::Absent => kept.map(|k| k.record.taken_at),
        };
        let instances = kept.map(|k| k.instances.clone()).unwrap_or_default();
        view.instances = instances.into_iter().map(|(z, i)| (z, i.id)).collect();
    }
}

/// Reads one key.
pub(super) async fn read<T: DeserializeOwned>(
    store: &Store,
    key: &str,
) -> Result<Option<(T, Revision)>, StoreError> {
    match store.get(key).await? {
        None => Ok(None),
        Some(kv) => Ok(Some((kv.json()?, kv.mod_revision))),
    }
}

pub(super) async fn look(
    keeper: &ServersKeeper,
    lead: &Lead,
    server: &RunbookServer,
    policy: StandbyPolicy,
    ground: Ground,
    volumes: Option<&VolumeMap>,
) -> Result<Looked, StoreError> {
    let store = lead.store();
    let kept: Option<(KeptServer, Revision)> =
        read(store, &keys::kept_server(&ground.group, &server.key)).await?;
    let built = BuiltStandbys::read(store, &ground.group, &server.key).await?;
    let mut named = BTreeMap::new();
    if let Some(id) = &server.server {
        named.insert(ground.home.clone(), id.clone());
    }
    let ids = Ids {
        server,
        ground: &ground,
        kept: kept.as_ref().map(|(k, _)| k),
        built: &built,
        named: &named,
        volumes,
    };
    let serving = match &ground.only_holds {
        // Its plan sees to that; and the zone that has just taken over is asked for nothing beside it.
        Some(plan) => Serving::Unknown {
            why: format!("plan {plan} is at work on the group"),
        },
        None => serving(keeper, &ids).await,
    };
    let counterpart = ids.counterpart(&serving);
    let record = match &serving {
        Serving::There(record) => Some(record.as_ref()),
        Serving::Unknown { .. } | Serving::Absent => kept
            .as_ref()
            .map(|(k, _)| &k.record)
            .filter(|r| r.zone == ground.primary),
    };
    let mapped = record.map_or(Mapped::NoRecord, |r| map(keeper, &ground, r, volumes));
    // What was built there; and its users' own, as it was when it served.
    let built_there = built.of(&ground.other);
    let kept_there = kept.as_ref().map(|(k, _)| &k.record);
    let begun_there = built.begun(&ground.other).map(|b| &b.record);
    let has = built_there.map(|b| &b.record).into_iter();
    let has = has
        .chain(begun_there)
        .chain(kept_there.filter(|r| r.zone == ground.other));
    let images = images(&ground, &mapped, has, volumes);
    let (copies, outside) = match &images {
        None => (Copies::Unknown, Vec::new()),
        Some(images) => copies(keeper, &ground.group, &ground.other, images).await,
    };
    // While what failed waits nothing would be done about what is found.
    let failure = keeper.memory().failure(&ground.group, &server.key);
    let waits = failure.is_some_and(|(_, waits)| waits);
    let begun = built.begun(&ground.other).is_some() && !waits;
    let standby = match (&ground.only_holds, copies) {
        // The zone is still lost, or has just come back and is not demoted: a Nova that hangs keeps no other group waiting (hard case 53).
        (Some(_), Copies::Unknown | Copies::Writable) => Standby::Unknown {
            why: format!("{} may still be lost", ground.other),
        },
        (Some(_), Copies::All | Copies::Journaled | Copies::Some) | (None, _) => {
            // One whose build was cut off, by a leader that went with its zone perhaps, is not written down. While nothing can be built that
            // would find it, it must not run on until its volumes are promoted under it. That a build was begun is, but an older leader did not do so.
            let half = match (&ground.only_holds, &serving, policy) {
                (
                    None,
                    Serving::Unknown { .. },
                    StandbyPolicy::Shutoff | StandbyPolicy::Shelved,
                ) => true,
                (None, Serving::Unknown { .. }, StandbyPolicy::Record | StandbyPolicy::None)
                | (None, Serving::Absent | Serving::There(_), _)
                | (Some(_), _, _) => false,
            };
            standby(keeper, &ids, &counterpart, half || begun).await
        }
    };
    let kept_record = kept.as_ref().map(|(k, _)| &k.record);
    let root_there = root_of(&built, record.or(kept_record), &ground.other, volumes);
    let root = record.and_then(|r| {
        let root = r.disks.first()?;
        let image = volumes?.image(&ground.primary, &root.volume.id);
        image.ok().flatten().cloned()
    });
    Ok(Looked {
        server: server.clone(),
        policy,
        kept,
        half: begun && !matches!(standby, Standby::Unknown { .. }),
        built,
        named,
        serving,
        standby,
        mapped,
        copies,
        outside,
        counterpart,
        root,
        root_there,
        images: images.unwrap_or_default().there,
        at: keeper.clock.now(),
        ground,
    })
}

/// By which ids it is looked for.
struct Ids<'a> {
    server: &'a RunbookServer,
    ground: &'a Ground,
    kept: Option<&'a KeptServer>,
    built: &'a BuiltStandbys,
    named: &'a BTreeMap<ZoneName, String>,
    volumes: Option<&'a VolumeMap>,
}

/// The id of its root volume in a zone: of what was built there, or is being built, else by its record.
pub(super) fn root_of(
    built: &BuiltStandbys,
    record: Option<&ServerRecord>,
    zone: &ZoneName,
    volumes: Option<&VolumeMap>,
) -> Option<String> {
    let begun = built.begun(zone).map(|b| &b.record);
    let built = built.of(zone).map(|b| &b.record).or(begun);
    translate::root_in(built.or(record)?, zone, volumes)
}

impl Ids<'_> {
    fn id(&self, zone: &ZoneName) -> Option<String> {
        // The users' own may be another by now: the runbook has the last word where nothing of ours serves.
        let kept = self.kept.and_then(|k| k.instances.get(zone));
        let ours = kept.is_some_and(|i| match i.build {
            Build::Users => false,
            Build::Standby { .. } => true,
        });
        let named = self.named.get(zone);
        match (named, kept) {
            (_, Some(i)) if ours => Some(i.id.clone()),
            (Some(id), _) => Some(id.clone()),
            (None, kept) => kept.map(|i| i.id.clone()),
        }
    }

    fn wanted(&self, zone: &ZoneName, counterpart: Option<String>) -> Wanted {
        Wanted {
            group: self.ground.group.clone(),
            key: self.server.key.clone(),
            id: self.id(zone),
            counterpart,
            root: root_of(self.built, self.kept.map(|k| &k.record), zone, self.volumes),
        }
    }

    /// What the one that serves bears, where we built it.
    fn mark_of_serving(&self) -> Option<String> {
        let Ground { primary, other, .. } = self.ground;
        if let Some(b) = self.built.of(primary) {
            return Some(b.counterpart.clone());
        }
        // Its users' own bears none.
        if self.named.contains_key(primary) {
            return None;
        }
        self.id(other).map(|id| format!("{other}/{id}"))
    }

    /// What the stand-by bears.
    fn counterpart(&self, serving: &Serving) -> String {
        let Ground { primary, group, .. } = self.ground;
        let seen = match serving {
            Serving::There(record) => record.id.clone(),
            Serving::Unknown { .. } | Serving::Absent => None,
        };
        let id = seen.or_else(|| self.id(primary));
        control::counterpart(primary, id.as_deref(), group, &self.server.key)
    }
}

fn why(e: ServersError) -> String {
    match e {
        ServersError::NotNow(why) | ServersError::Refused(why) => why,
    }
}

async fn serving(keeper: &ServersKeeper, ids: &Ids<'_>) -> Serving {
    let zone = &ids.ground.primary;
    let servers = match keeper.servers(zone) {
        Ok(servers) => servers,
        Err(why) => return Serving::Unknown { why },
    };
    let wanted = ids.wanted(zone, ids.mark_of_serving());
    if wanted.id.is_none() && wanted.counterpart.is_none() {
        return Serving::Absent;
    }
    match servers.record(&wanted, keeper.timing.deadline).await {
        Ok(Some(record)) => Serving::There(Box::new(record)),
        Ok(None) => Serving::Absent,
        Err(e) => Serving::Unknown { why: why(e) },
    }
}

/// `half`: one that is not written down may be there and run.
async fn standby(keeper: &ServersKeeper, ids: &Ids<'_>, counterpart: &str, half: bool) -> Standby {
    let zone = &ids.ground.other;
    let servers = match keeper.servers(zone) {
        Ok(servers) => servers,
        Err(why) => return Standby::Unknown { why },
    };
    // It bears what it was built with, which may be another's by now.
    let begun = ids.built.begun(zone).map(|b| b.counterpart.as_str());
    let built = ids.built.of(zone).map(|b| b.counterpart.as_str());
    let bears = built.or(begun).unwrap_or(counterpart);
    let wanted = ids.wanted(zone, Some(bears.to_owned()));
    // Where none is known none is looked for in a list of the whole cloud: a build finds what bears the mark, where one is to come.
    if wanted.id.is_none() && !half {
        return Standby::Absent;
    }
    let seen = match servers.look(&wanted, keeper.timing.deadline).await {
        Ok(Some(seen)) => seen,
        Ok(None) => return Standby::Absent,
        Err(e) => return Standby::Unknown { why: why(e) },
    };
    let theirs = ids.named.get(zone) == Some(&seen.id);
    let disks = if theirs && seen.state == ServerState::Stopped {
        let record = servers.record(&wanted, keeper.timing.deadline).await;
        let volumes = |r: ServerRecord| r.disks.into_iter().map(|d| d.volume.id).collect();
        record.ok().flatten().map(volumes)
    } else {
        None
    };
    Standby::There {
        id: seen.id,
        state: rests(seen.state),
        held: seen.held,
        words: seen.words,
        disks,
    }
}

pub(super) fn rests(state: ServerState) -> Rests {
    match state {
        // It may write again at any time: it is not at rest.
        ServerState::Running | ServerState::Frozen => Rests::Running,
        ServerState::Stopped => Rests::Resting,
        ServerState::Changing => Rests::Changing,
        ServerState::Failed { off } => Rests::Failed { off },
        ServerState::Unknown => Rests::Unknown,
    }
}

fn map(
    keeper: &ServersKeeper,
    ground: &Ground,
    record: &ServerRecord,
    volumes: Option<&VolumeMap>,
) -> Mapped {
    match translate::translated(record, &ground.other, &keeper.mapping, volumes) {
        Ok(record) => Mapped::Record(Box::new(record)),
        Err(gaps) => Mapped::Gaps(gaps),
    }
}

/// The images of all that a stand-by has or would have, and whether some are not there; none: it is not known.
fn images<'a>(
    ground: &Ground,
    mapped: &'a Mapped,
    has: impl Iterator<Item = &'a ServerRecord>,
    volumes: Option<&VolumeMap>,
) -> Option<Images> {
    let wanted = match mapped {
        Mapped::Record(record) => Some(record.as_ref()),
        Mapped::NoRecord | Mapped::Gaps(_) => None,
    };
    let mut has = has.peekable();
    if wanted.is_none() && has.peek().is_none() {
        return None;
    }
    let volumes = volumes?;
    let it_has = images_of(&ground.other, has, volumes)?;
    let Some(wanted) = wanted else {
        return Some(it_has);
    };
    // A volume that it had and that is gone is none that would be missing.
    let mut all = images_of(&ground.other, std::iter::once(wanted), volumes)?;
    let others = it_has.there.into_iter();
    let others: Vec<_> = others.filter(|i| !all.there.contains(i)).collect();
    all.there.extend(others);
    Some(all)
}

/// Images of volumes.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub there: Vec<ImageSpec>,
    /// Whether that zone's Cinder does not have some of the volumes.
    pub some_gone: bool,
}

/// The images of what these records name; none: that zone's Cinder was not seen.
pub(super) fn images_of<'a>(
    zone: &ZoneName,
    records: impl Iterator<Item = &'a ServerRecord>,
    volumes: &VolumeMap,
) -> Option<Images> {
    let mut all = Images::default();
    for disk in records.flat_map(|r| &r.disks) {
        match volumes.image(zone, &disk.volume.id).ok()? {
            None => all.some_gone = true,
            Some(image) if all.there.contains(image) => {}
            Some(image) => all.there.push(image.clone()),
        }
    }
    Some(all)
}

/// What the images are in a zone, by its sidecar; and which of the copies are not in the group.
pub(super) async fn copies(
    keeper: &ServersKeeper,
    group: &GroupName,
    zone: &ZoneName,
    images: &Images,
) -> (Copies, Vec<ImageSpec>) {
    let mut outside = Vec::new();
    let copies = roles(keeper, group, zone, images, &mut outside).await;
    (copies, outside)
}

async fn roles(
    keeper: &ServersKeeper,
    group: &GroupName,
    zone: &ZoneName,
    images: &Images,
    outside: &mut Vec<ImageSpec>,
) -> Copies {
    let Some(zone) = keeper.zone(zone) else {
        return Copies::Unknown;
    };
    let mut end = if images.some_gone {
        Copies::Some
    } else {
        Copies::All
    };
    for image in &images.there {
        let question = zone.sidecar().volume(image);
        let answer = zone.ask(keeper.timing.deadline.get(), question).await;
        if let Ok(report) = &answer
            && report.role == Role::Secondary
            && report.group.as_ref() != Some(group)
        {
            outside.push(image.clone());
        }
        let journaled = answer
            .as_ref()
            .is_ok_and(|r| r.mirror_mode == Some(MirrorImageMode::Journal));
        match answer.map(|r| r.role) {
            Ok(Role::Secondary) if journaled && end == Copies::All => end = Copies::Journaled,
            Ok(Role::Secondary) => {}
            Ok(Role::Primary | Role::NotMirrored) => return Copies::Writable,
            Ok(Role::Unknown) => return Copies::Unknown,
            Err(e) if e.code == ErrorCode::UnknownVolume => end = Copies::Some,
            Err(_) => return Copies::Unknown,
        }
    }
    end
}
