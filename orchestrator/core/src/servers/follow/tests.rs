//! Each rule by itself, and what holds whatever is seen.

use super::*;
use crate::servers::{
    built::{Begun, Built},
    mapped::Gap,
    samples::{record, zone},
};
use jiff::Timestamp;
use rekindle_common::{GroupName, ImageSpec, ServerKey};

mod building;
mod half;
mod properties;
mod whose;

/// A server that serves in zone-a, with a stand-by of ours in zone-b that is as it should be.
#[derive(Debug)]
struct World {
    key: ServerKey,
    a: ZoneName,
    b: ZoneName,
    policy: StandbyPolicy,
    kept: Option<KeptServer>,
    built: Option<Built>,
    begun: Option<Begun>,
    named: BTreeMap<ZoneName, String>,
    serving: Serving,
    standby: Standby,
    mapped: Mapped,
    copies: Copies,
    outside: Vec<ImageSpec>,
    counterpart: String,
}

fn now() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

/// The record in zone-b's names.
fn there() -> ServerRecord {
    let mut there = record();
    there.zone = zone("zone-b");
    there.id = None;
    there.disks[0].volume.id = "root-b".to_owned();
    there.disks[1].volume.id = "data-b".to_owned();
    there
}

fn resting(id: &str) -> Standby {
    Standby::There {
        id: id.to_owned(),
        state: Rests::Resting,
        held: true,
        words: "SHUTOFF".to_owned(),
        disks: None,
    }
}

fn instance(id: &str, build: Build) -> Instance {
    Instance {
        id: id.to_owned(),
        build,
        seen_at: now(),
        unsettled: false,
    }
}

const STANDBY: Build = Build::Standby {
    policy: StandbyPolicy::Shutoff,
};

impl World {
    fn settled() -> Self {
        let (a, b) = (zone("zone-a"), zone("zone-b"));
        let key = ServerKey::new("web-1").unwrap();
        Self {
            kept: Some(KeptServer {
                key: key.clone(),
                record: record(),
                instances: BTreeMap::from([
                    (a.clone(), instance("server-a", Build::Users)),
                    (b.clone(), instance("server-b", STANDBY)),
                ]),
                trouble: None,
            }),
            built: Some(Built {
                zone: b.clone(),
                id: "server-b".to_owned(),
                counterpart: "zone-a/server-a".to_owned(),
                policy: StandbyPolicy::Shutoff,
                record: there(),
                at: now(),
            }),
            begun: None,
            named: BTreeMap::from([(a.clone(), "server-a".to_owned())]),
            key,
            a,
            b,
            policy: StandbyPolicy::Shutoff,
            serving: Serving::There(Box::new(record())),
            standby: resting("server-b"),
            mapped: Mapped::Record(Box::new(there())),
            copies: Copies::All,
            outside: Vec::new(),
            counterpart: "zone-a/server-a".to_owned(),
        }
    }

    fn new() -> Self {
        Self {
            kept: None,
            built: None,
            standby: Standby::Absent,
            ..Self::settled()
        }
    }

    /// After a failover: zone-b's, which we built, serves; its users' own stands by.
    fn turned() -> Self {
        let mut w = Self::settled();
        std::mem::swap(&mut w.a, &mut w.b);
        let mut serving = there();
        serving.id = Some("server-b".to_owned());
        w.serving = Serving::There(Box::new(serving.clone()));
        if let Some(kept) = &mut w.kept {
            kept.record = serving;
        }
        w.standby = resting("server-a");
        w.mapped = Mapped::Record(Box::new(record()));
        w.built = None;
        w.counterpart = "zone-b/server-b".to_owned();
        w
    }

    fn follow(&self) -> Verdict {
        follow(&Sight {
            key: &self.key,
            primary: &self.a,
            other: &self.b,
            policy: self.policy,
            kept: self.kept.as_ref(),
            built: self.built.as_ref(),
            begun: self.begun.as_ref(),
            named: &self.named,
            serving: self.serving.clone(),
            standby: self.standby.clone(),
            mapped: self.mapped.clone(),
            copies: self.copies,
            group: &GroupName::new("shop").unwrap(),
            outside: &self.outside,
            counterpart: &self.counterpart,
            now: now(),
        })
    }

    /// Without what is only written down.
    fn acts(&self) -> Vec<Act> {
        let writes = |a: &Act| matches!(a, Act::Keep(_) | Act::Describe { .. } | Act::Forget);
        self.follow()
            .acts
            .into_iter()
            .filter(|a| !writes(a))
            .collect()
    }

    fn kept(&self) -> Option<KeptServer> {
        self.follow().acts.into_iter().find_map(|a| match a {
            Act::Keep(kept) => Some(*kept),
            _ => None,
        })
    }

    fn trouble(&self) -> String {
        self.follow().trouble.unwrap_or_default()
    }

    fn state(mut self, now: Rests) -> Self {
        if let Standby::There { state, .. } = &mut self.standby {
            *state = now;
        }
        self
    }
}

fn names(acts: &[Act]) -> Vec<&'static str> {
    acts.iter()
        .map(|a| match a {
            Act::Keep(_) => "keep",
            Act::Describe { .. } => "describe",
            Act::Hold { .. } => "hold",
            Act::Check { .. } => "check",
            Act::Remove { .. } => "remove",
            Act::Forget => "forget",
            Act::Build { .. } => "build",
        })
        .collect()
}
