//! What is to be done about a server that is in no runbook any more. Pure, and looked at anew each time, as [`super::follow`] is.

use super::{
    built::{Begun, Built},
    follow::{Copies, Rests, Standby},
};
use jiff::Timestamp;
use rekindle_common::{
    ZoneName,
    servers::{Build, KeptServer},
};

/// What is left to do about a server that is protected no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// What came of its build is stopped and locked first.
    Hold {
        /// Which.
        id: String,
    },
    /// Its stand-by goes first.
    Remove {
        /// Which.
        id: String,
        /// As whose stand-by it is marked.
        counterpart: String,
    },
    /// All that is kept of it is forgotten.
    Forget,
    /// Not now.
    Wait {
        /// Why, in words.
        why: String,
    },
}

/// What is to be done about a server that is in no runbook any more: what we built goes, if it serves nobody.
#[must_use]
pub fn leave(
    kept: &KeptServer,
    built: Option<&Built>,
    standby: &Standby,
    copies: Copies,
    primary: Option<&ZoneName>,
) -> Leave {
    let wait = |why: String| Leave::Wait { why };
    if let Some(why) = serves_elsewhere(kept, primary) {
        return wait(why);
    }
    let ours = kept.instances.iter().find(|(zone, i)| {
        **zone != kept.record.zone
            && match i.build {
                Build::Users => false,
                Build::Standby { .. } => true,
            }
    });
    // What its users built is theirs.
    let Some((zone, instance)) = ours else {
        return Leave::Forget;
    };
    // What was built in the zone that serves has other volumes, and bears another's mark.
    let built = built.filter(|b| b.zone == *zone && b.id == instance.id);
    match standby {
        Standby::Unknown { why } => wait(format!("its stand-by cannot be seen now: {why}")),
        Standby::Absent => Leave::Forget,
        Standby::There { id, state, .. } => match (state, copies) {
            (Rests::Running | Rests::Changing | Rests::Unknown, _) => wait(format!(
                "its stand-by in {zone} ({id}) is not at rest: stop it, or take the property rekindle:standby-of from it to keep it"
            )),
            (Rests::Resting | Rests::Failed { .. }, Copies::Writable) => wait(format!(
                "its stand-by in {zone} ({id}) has a volume that can be written there: delete it by hand, or take the property rekindle:standby-of from it to keep it"
            )),
            (Rests::Resting | Rests::Failed { .. }, Copies::Unknown) => wait(match built {
                Some(_) => format!("its volumes in {zone} cannot be seen now"),
                None => format!(
                    "what its stand-by in {zone} ({id}) was built from is not written down, so that its volumes cannot be looked at: delete it by hand"
                ),
            }),
            (
                Rests::Resting | Rests::Failed { .. },
                Copies::All | Copies::Journaled | Copies::Some,
            ) => Leave::Remove {
                id: instance.id.clone(),
                counterpart: built.map_or_else(
                    || {
                        let (zone, id) = kept.record.identity();
                        format!("{zone}/{id}")
                    },
                    |b| b.counterpart.clone(),
                ),
            },
        },
    }
}

/// The same where a build of its stand-by has not ended: what came of it is looked for by its mark, and nobody has used it.
#[must_use]
pub fn leave_half(
    kept: &KeptServer,
    begun: &Begun,
    standby: &Standby,
    copies: Copies,
    primary: Option<&ZoneName>,
    now: Timestamp,
) -> Leave {
    let wait = |why: String| Leave::Wait { why };
    if let Some(why) = serves_elsewhere(kept, primary) {
        return wait(why);
    }
    let zone = &begun.zone;
    match standby {
        Standby::Unknown { why } => wait(format!(
            "a stand-by of it was being built in {zone}, and cannot be seen now: {why}"
        )),
        Standby::Absent if begun.came_to_nothing(now) => Leave::Forget,
        Standby::Absent => wait(format!(
            "a stand-by of it was being built in {zone}, and may still come up"
        )),
        Standby::There { id, state, .. } => match (state, copies) {
            (Rests::Changing | Rests::Unknown, _) => wait(format!(
                "its stand-by in {zone} ({id}) is still being built, or cannot be seen"
            )),
            (Rests::Running | Rests::Resting | Rests::Failed { .. }, Copies::Writable) => {
                wait(format!(
                    "its stand-by in {zone} ({id}) has a volume that can be written there: delete it by hand, or take the property rekindle:standby-of from it to keep it"
                ))
            }
            (Rests::Running | Rests::Resting | Rests::Failed { .. }, Copies::Unknown) => {
                wait(format!("its volumes in {zone} cannot be seen now"))
            }
            (Rests::Running, Copies::All | Copies::Journaled | Copies::Some) => {
                Leave::Hold { id: id.clone() }
            }
            (
                Rests::Resting | Rests::Failed { .. },
                Copies::All | Copies::Journaled | Copies::Some,
            ) => Leave::Remove {
                id: id.clone(),
                counterpart: begun.counterpart.clone(),
            },
        },
    }
}

fn serves_elsewhere(kept: &KeptServer, primary: Option<&ZoneName>) -> Option<String> {
    let zone = &kept.record.zone;
    primary
        .is_some_and(|p| p != zone)
        .then(|| format!("it was last seen to serve in {zone}, which is not the primary now"))
}

#[cfg(test)]
mod tests;
