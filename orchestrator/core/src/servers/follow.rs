//! What is to be done about one protected server, by what is seen of it in both zones and what is kept. Pure, and looked at anew each time.
//!
//! ```text
//!   where it serves   unknown      -> said; its stand-by is held, and no more
//!                     not there    -> the same. One that was never built (its record was imported) is built from what is kept
//!                     a record     -> kept, in etcd and with its root volume; its stand-by follows
//!   its stand-by      unknown, or something is at work on it -> nothing
//!                     not there    -> built, where all its volumes are copies there and every name is mapped
//!                     ours         -> held; built anew where another would be built now, and can be; taken away where none is wanted
//!                     its users'   -> held, and never taken away: what differs is said
//! ```
//!
//! The zone that serves is never touched. A stand-by is touched only while none of its volumes can be written in its zone: so it serves nobody,
//! whatever is recorded.

mod sight;
mod words;

pub use sight::{Copies, Mapped, Rests, Serving, Sight, Standby};

use rekindle_common::{
    ZoneName,
    duration::Span,
    runbook::StandbyPolicy,
    servers::{Build, Instance, KeptServer, PowerWish, ServerRecord, diff},
};
use std::collections::BTreeMap;
use words::{in_words, journaled, other_disks, outside, writable};

/// That it was seen is written down again after so long.
const SEEN_AGAIN: Span = Span::secs(3600);

/// What is to be done, in this order. What fails ends the round for this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Written to etcd.
    Keep(Box<KeptServer>),
    /// Written to the root volume's image, where that is primary.
    Describe {
        /// The root volume's id where the server serves.
        volume: String,
        /// The record.
        record: Box<ServerRecord>,
    },
    /// Has the stand-by stopped and locked.
    Hold {
        /// Which.
        id: String,
    },
    /// Ends the round where another could not be built: before what stands by is taken away for one.
    Check {
        /// What stands by.
        id: String,
        /// What would be built, in the other zone's names.
        record: Box<ServerRecord>,
        /// How it would rest.
        policy: StandbyPolicy,
    },
    /// Has what we built gone.
    Remove {
        /// Which.
        id: String,
        /// As whose stand-by it is marked.
        counterpart: String,
        /// Why, for people.
        why: String,
    },
    /// A build that was begun has come to nothing: the word of it goes.
    Forget,
    /// Has a stand-by there and at rest; one that bears the mark is adopted.
    Build {
        /// In the other zone's names.
        record: Box<ServerRecord>,
        /// How it rests.
        policy: StandbyPolicy,
    },
}

/// What comes of a look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What is to be done.
    pub acts: Vec<Act>,
    /// What is in the way, in words.
    pub trouble: Option<String>,
}

/// What is to be done.
#[must_use]
pub fn follow(s: &Sight<'_>) -> Verdict {
    match &s.serving {
        Serving::Unknown { why } => Verdict {
            acts: at_rest(s),
            trouble: Some(format!("it cannot be followed now: {why}")),
        },
        Serving::Absent => absent(s),
        Serving::There(record) => {
            let (mut acts, trouble) = stand_by(s);
            // After what is in the way of its stand-by: that is told first, and mended first.
            let trouble = trouble.or_else(|| outside(s));
            let mut first = vec![Act::Describe {
                volume: root(record),
                record: record.clone(),
            }];
            first.extend(keep(s, record, trouble.as_deref()));
            first.append(&mut acts);
            Verdict {
                acts: first,
                trouble,
            }
        }
    }
}

fn root(record: &ServerRecord) -> String {
    let first = record.disks.first();
    first.map(|d| d.volume.id.clone()).unwrap_or_default()
}

/// It is not there where it should serve.
fn absent(s: &Sight<'_>) -> Verdict {
    let Some(kept) = s.kept else {
        let why = "it is not there, and nothing is kept of it: name the right one in the runbook, or import its record";
        return Verdict {
            acts: at_rest(s),
            trouble: Some(format!("{}: {why}", s.primary)),
        };
    };
    // One that was never built stands by all the same.
    if kept.record.id.is_none() && kept.record.zone == *s.primary {
        let mut first = vec![Act::Describe {
            volume: root(&kept.record),
            record: Box::new(kept.record.clone()),
        }];
        let (mut acts, trouble) = stand_by(s);
        first.append(&mut acts);
        return Verdict {
            acts: first,
            trouble,
        };
    }
    // Nothing stood by for it when its group went to the other zone, as its policy says: whoever started it there did so by hand.
    if s.policy == StandbyPolicy::None && kept.record.zone != *s.primary {
        return Verdict {
            acts: at_rest(s),
            trouble: None,
        };
    }
    let why = "it is not there any more. Its stand-by and its record are left as they are: take it out of the runbook if it is meant to be gone";
    Verdict {
        acts: at_rest(s),
        trouble: Some(format!("{}: {why}", s.primary)),
    }
}

/// What is to be written down, where it is not so already.
fn keep(s: &Sight<'_>, record: &ServerRecord, trouble: Option<&str>) -> Option<Act> {
    let mut instances = s.kept.map(|k| k.instances.clone()).unwrap_or_default();
    if let Some(id) = &record.id {
        // It is started on what its volumes are.
        let at_rest = record.power == PowerWish::ShutOff;
        note(s, &mut instances, s.primary, id, at_rest);
    }
    match &s.standby {
        Standby::There {
            id, state, held, ..
        } if is_written_down(s, id, *state) => {
            let at_rest = *held && is_off(*state);
            note(s, &mut instances, s.other, id, at_rest);
        }
        Standby::Absent => {
            instances.remove(s.other);
        }
        Standby::There { .. } | Standby::Unknown { .. } => {}
    }
    let mut new = KeptServer {
        key: s.key.clone(),
        record: record.clone(),
        instances,
        trouble: trouble.map(str::to_owned),
    };
    if let Some(kept) = s.kept {
        // The same thing read again is no news.
        if diff::diff(&kept.record, record).is_empty() {
            new.record = kept.record.clone();
        }
        if *kept == new {
            return None;
        }
    }
    Some(Act::Keep(Box::new(new)))
}

/// Nothing of it runs.
fn is_off(state: Rests) -> bool {
    match state {
        Rests::Resting | Rests::Failed { off: true } => true,
        Rests::Running | Rests::Changing | Rests::Failed { off: false } | Rests::Unknown => false,
    }
}

/// One of ours is, once it is at rest: what is not written down a start takes for one that came up on the copies.
fn is_written_down(s: &Sight<'_>, id: &str, state: Rests) -> bool {
    let kept = s.kept.and_then(|k| k.instances.get(s.other));
    let already = kept.is_some_and(|i| i.id == id);
    match (build_of(s, s.other, id), state) {
        (Build::Users, _) | (Build::Standby { .. }, Rests::Resting) => true,
        (
            Build::Standby { .. },
            Rests::Running | Rests::Changing | Rests::Failed { .. } | Rests::Unknown,
        ) => already,
    }
}

fn note(
    s: &Sight<'_>,
    instances: &mut BTreeMap<ZoneName, Instance>,
    zone: &ZoneName,
    id: &str,
    at_rest: bool,
) {
    let before = instances.get(zone).filter(|i| i.id == id);
    let old = |i: &Instance| s.now.duration_since(i.seen_at).unsigned_abs() >= SEEN_AGAIN.get();
    let seen_at = match before {
        Some(i) if !old(i) => i.seen_at,
        Some(_) | None => s.now,
    };
    let instance = Instance {
        id: id.to_owned(),
        build: build_of(s, zone, id),
        seen_at,
        unsettled: !at_rest && before.is_some_and(|i| i.unsettled),
    };
    instances.insert(zone.clone(), instance);
}

/// How a server came to be. Without its users' word for it, it was found by our mark.
fn build_of(s: &Sight<'_>, zone: &ZoneName, id: &str) -> Build {
    let kept = s.kept.and_then(|k| k.instances.get(zone));
    match kept.filter(|i| i.id == id) {
        Some(i) => i.build,
        None if s.named.get(zone).is_some_and(|n| n == id) => Build::Users,
        None => Build::Standby { policy: s.policy },
    }
}

type Acts = (Vec<Act>, Option<String>);

fn nothing(trouble: impl Into<String>) -> Acts {
    (Vec::new(), Some(trouble.into()))
}

/// What the stand-by needs. It is at rest before anything else is done with it.
fn stand_by(s: &Sight<'_>) -> Acts {
    if let Some(held) = hold(s) {
        return held;
    }
    match (&s.standby, s.policy) {
        (Standby::Unknown { why }, _) => nothing(format!("its stand-by cannot be seen now: {why}")),
        (Standby::Absent, StandbyPolicy::Record | StandbyPolicy::None) => (forget(s), None),
        (Standby::Absent, StandbyPolicy::Shutoff | StandbyPolicy::Shelved) => match buildable(s) {
            Ok(record) => (vec![build(s, record)], None),
            Err(why) => (forget(s), Some(format!("its stand-by is not built: {why}"))),
        },
        (
            Standby::There {
                id,
                state,
                held,
                words,
                disks,
            },
            _,
        ) => match build_of(s, s.other, id) {
            Build::Users => theirs(s, id, *state, disks.as_deref()),
            Build::Standby { .. } => ours(s, id, *state, *held, words),
        },
    }
}

/// That there is nothing of a build is certain once an order that was lost cannot be carried out any more.
fn forget(s: &Sight<'_>) -> Vec<Act> {
    let nothing = s.begun.is_some_and(|b| b.came_to_nothing(s.now));
    nothing.then_some(Act::Forget).into_iter().collect()
}

fn build(s: &Sight<'_>, record: &ServerRecord) -> Act {
    Act::Build {
        record: Box::new(record.clone()),
        policy: s.policy,
    }
}

/// What would be built, where it may be.
fn buildable<'a>(s: &'a Sight<'_>) -> Result<&'a ServerRecord, String> {
    let record = match &s.mapped {
        Mapped::NoRecord => return Err("nothing is kept of it".to_owned()),
        Mapped::Gaps(gaps) => return Err(in_words(gaps)),
        Mapped::Record(record) => record,
    };
    let other = s.other;
    match s.copies {
        Copies::All => Ok(record),
        Copies::Journaled => Err(journaled(s)),
        Copies::Some => Err(format!("not all its volumes have a copy in {other} yet")),
        Copies::Writable => Err(writable(s)),
        Copies::Unknown => Err(format!("its volumes in {other} cannot be seen now")),
    }
}

/// What there is to be adopted, where nothing has to run for it.
fn adoptable<'a>(s: &'a Sight<'_>) -> Result<&'a ServerRecord, String> {
    match (&s.mapped, s.copies) {
        (Mapped::Record(record), Copies::Journaled) => Ok(record),
        (Mapped::NoRecord | Mapped::Gaps(_), Copies::Journaled)
        | (_, Copies::All | Copies::Some | Copies::Writable | Copies::Unknown) => buildable(s),
    }
}

/// Whether it may be touched: nothing that it has can be written in its zone.
fn may_touch(s: &Sight<'_>) -> Result<(), String> {
    match s.copies {
        Copies::All | Copies::Journaled | Copies::Some => Ok(()),
        Copies::Writable => Err(writable(s)),
        Copies::Unknown => Err(format!("its volumes in {} cannot be seen now", s.other)),
    }
}

/// A stand-by that is not at rest, or, its users' own, not locked: it is held. None: it is.
fn hold(s: &Sight<'_>) -> Option<Acts> {
    let Standby::There {
        id, state, held, ..
    } = &s.standby
    else {
        return None;
    };
    let is_due = match (state, build_of(s, s.other, id)) {
        // One of ours that failed is taken away instead.
        (Rests::Running, _) | (Rests::Failed { off: false }, Build::Users) => true,
        (Rests::Resting, Build::Users) => !held,
        (Rests::Resting | Rests::Failed { off: false }, Build::Standby { .. })
        | (Rests::Changing | Rests::Failed { off: true } | Rests::Unknown, _) => false,
    };
    is_due.then(|| match may_touch(s) {
        Ok(()) => (vec![Act::Hold { id: id.clone() }], None),
        Err(why) => left_as_it_is(&why),
    })
}

fn left_as_it_is(why: &str) -> Acts {
    nothing(format!("its stand-by is left as it is: {why}"))
}

/// What must not run, whatever is seen of the zone that serves: a zone that was lost is back, and its hypervisors have started what ran there, while
/// its server in the other zone is not built yet, or that zone's Nova is silent (hard case 50).
fn at_rest(s: &Sight<'_>) -> Vec<Act> {
    hold(s).map(|(acts, _)| acts).unwrap_or_default()
}

/// One that its users built: after a failover and the way back it stands by in its turn.
fn theirs(s: &Sight<'_>, id: &str, state: Rests, disks: Option<&[String]>) -> Acts {
    match state {
        Rests::Resting => (Vec::new(), other_disks(s, disks)),
        Rests::Running | Rests::Changing => (Vec::new(), None),
        Rests::Failed { .. } => nothing(format!(
            "its stand-by in {} ({id}) failed, and was built by its users: `openstack server show {id}` there",
            s.other
        )),
        Rests::Unknown => nothing(format!("{}'s Nova cannot see its stand-by now", s.other)),
    }
}

/// One that we built.
fn ours(s: &Sight<'_>, id: &str, state: Rests, held: bool, words: &str) -> Acts {
    let built = s.built.filter(|b| b.id == id && b.zone == *s.other);
    let begun = s.begun.map_or(s.counterpart, |b| b.counterpart.as_str());
    let bears = built.map_or(begun, |b| b.counterpart.as_str());
    let remove = |why: &str| Act::Remove {
        id: id.to_owned(),
        counterpart: bears.to_owned(),
        why: why.to_owned(),
    };
    // One that rests well would have served: it goes for one that can be built, and not for one that the other zone refuses.
    let check = |record: &ServerRecord| Act::Check {
        id: id.to_owned(),
        record: Box::new(record.clone()),
        policy: s.policy,
    };
    let anew = |why: &str, record| match s.copies {
        // No server runs on them: the other one comes when it is needed.
        Copies::Journaled => (
            vec![check(record), remove(why)],
            Some(format!("its stand-by is not built: {}", journaled(s))),
        ),
        Copies::All | Copies::Some | Copies::Writable | Copies::Unknown => {
            (vec![check(record), remove(why), build(s, record)], None)
        }
    };
    let wanted = match s.policy {
        StandbyPolicy::Shutoff | StandbyPolicy::Shelved => true,
        StandbyPolicy::Record | StandbyPolicy::None => false,
    };
    match state {
        Rests::Changing if built.is_none() && s.begun.is_some() => {
            return nothing(format!(
                "its stand-by in {} ({id}) is still being built: {words}",
                s.other
            ));
        }
        Rests::Running | Rests::Changing => return (Vec::new(), None),
        Rests::Unknown => {
            return nothing(format!("{}'s Nova cannot see its stand-by now", s.other));
        }
        Rests::Resting | Rests::Failed { .. } => {}
    }
    if let Err(why) = may_touch(s) {
        return left_as_it_is(&why);
    }
    match (state, wanted) {
        (Rests::Resting | Rests::Failed { .. }, false) => {
            (vec![remove("no stand-by is wanted any more")], None)
        }
        // One that is of no use is in the way of the one that is built when it is needed.
        (Rests::Failed { .. }, true) if s.copies == Copies::Journaled => (
            vec![remove(&format!("it failed: {words}"))],
            Some(format!("its stand-by is not built: {}", journaled(s))),
        ),
        (Rests::Failed { .. }, true) => match buildable(s) {
            Ok(record) => {
                let why = format!("it failed: {words}");
                (vec![remove(&why), build(s, record)], None)
            }
            Err(why) => nothing(format!(
                "its stand-by failed ({words}), and is not built anew: {why}"
            )),
        },
        (Rests::Resting, true) => match (adoptable(s), built) {
            (Err(why), _) => nothing(format!("its stand-by is as it was built: {why}")),
            // A build that did not end, and another serves by now.
            (Ok(record), None) if bears != s.counterpart => {
                let why = format!("whose stand-by: was {bears}, is {}", s.counterpart);
                anew(&why, record)
            }
            // It was built, and the word of it was lost: that it is as it was begun is all that is known.
            (Ok(record), None) => {
                let differs = s.begun.map(|b| b.differs_from(record)).unwrap_or_default();
                if differs.is_empty() {
                    (vec![build(s, record)], None)
                } else {
                    anew(&differs.join("; "), record)
                }
            }
            (Ok(record), Some(built)) => {
                let mut differs = built.differs_from(record);
                if built.counterpart != s.counterpart {
                    differs.push(format!(
                        "whose stand-by: was {}, is {}",
                        built.counterpart, s.counterpart
                    ));
                }
                // Nova gives no host to one that is shelved without running it.
                if built.policy == StandbyPolicy::Shelved && s.policy == StandbyPolicy::Shutoff {
                    differs.push("stand-by: was shelved, is shutoff".to_owned());
                }
                if !differs.is_empty() {
                    anew(&differs.join("; "), record)
                } else if held && built.policy == s.policy {
                    (Vec::new(), None)
                } else {
                    (vec![build(s, record)], None)
                }
            }
        },
        (Rests::Running | Rests::Changing | Rests::Unknown, _) => (Vec::new(), None),
    }
}

#[cfg(test)]
mod tests;
