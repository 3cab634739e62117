//! What a step's end says of many volumes, so that its record fits into etcd (`MAX_VALUE_BYTES`): one that did not could never be written, and its plan
//! would halt there for ever.
//!
//! Reasons are cut, and what a resync gives up is only summed up. Which volumes failed is never left out, for later steps and the plan's end hang on it: those
//! that find no room are told by their places in the step's list, which stands in the plan.

use super::{
    Tally,
    tally::{SHORT_WHY, WHOLE_WHYS},
};
use rekindle_core::saga::{FailedVolume, VolumeGivenUp};
use serde::Serialize;

/// So many bytes for the volumes that failed with their reasons, and as many for what is given up. The places of 50,000 volumes take 300 KiB.
const ROOM: usize = 180 * 1024;
/// The most characters of a reason that is kept whole, and of a step's own words.
const LONGEST: usize = 1000;

/// The volumes that failed: with their reasons, and the places of those that find no room.
pub(crate) fn failed(tally: &Tally) -> (Vec<FailedVolume>, Vec<usize>) {
    let (mut told, mut places, mut room) = (Vec::new(), Vec::new(), ROOM);
    for (n, (volume, why)) in tally.failed().iter().enumerate() {
        let most = if n < WHOLE_WHYS { LONGEST } else { SHORT_WHY };
        let one = FailedVolume {
            volume: volume.clone(),
            why: cut(why, most),
        };
        let place = tally.place(volume).filter(|_| !fits(&one, &mut room));
        if place.is_some() || one.why.len() < why.len() {
            tracing::error!(volume.id = %volume, "the journal has not all of this: {why}");
        }
        match place {
            Some(place) => places.push(place),
            None => told.push(one),
        }
    }
    (told, places)
}

/// What the resyncs give up, where something was written first; and of how many volumes the note alone has it.
pub(crate) fn given_up(tally: &Tally) -> (Vec<VolumeGivenUp>, usize) {
    let all = VolumeGivenUp::all(tally.given_up());
    let (of, mut room) = (all.len(), ROOM);
    let (nothing, something): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|g| g.given_up.written.is_nothing());
    let by_weight = something.into_iter().chain(nothing);
    let mut told: Vec<_> = by_weight.filter(|g| fits(g, &mut room)).collect();
    told.sort_by(|a, b| a.volume.cmp(&b.volume));
    let more = of - told.len();
    (told, more)
}

/// A step's own words, with what is not in the lists beside them.
pub(crate) fn note(note: &str, unnamed: usize) -> String {
    let note = cut(note, LONGEST);
    match unnamed {
        0 => note,
        n => format!("{note}; of {n} of those that failed the reasons are in the log alone"),
    }
}

/// The first characters of it.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// A failed step's own words.
pub(crate) fn error(why: &str) -> String {
    cut(why, LONGEST)
}

/// Whether there is room for it, which is then taken.
fn fits<T: Serialize>(one: &T, room: &mut usize) -> bool {
    let bytes = serde_json::to_string(one).map_or(usize::MAX, |t| t.len().saturating_add(1));
    let left = room.checked_sub(bytes);
    *room = left.unwrap_or(*room);
    left.is_some()
}
