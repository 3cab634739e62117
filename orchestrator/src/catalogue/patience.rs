//! How long a round waits for a zone.
//!
//! A zone that is lost must not hold up what is to be written in the other, and that is when it is wanted most: the records of a zone that
//! has just taken over say how its volumes are only once a round has ended. So
//!
//! * a part of a zone that did not answer the last look in time has a short deadline in the next;
//! * beside that, unhurried, one look with the whole deadline knocks at its door. What it saw is thrown away, for it is old by then:
//!   that it saw something makes the next look wait as for any other, so that a zone that is slow is not taken for one that is dead;
//! * where one zone has answered, the other is waited for no longer than a multiple of what its last good look took.

use super::{
    CatalogueTiming, Place,
    look::{self, Looked, Parts},
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use rekindle_common::ZoneName;
use std::{collections::BTreeMap, pin::pin, time::Duration};
use tokio::{task::JoinHandle, time::timeout};

/// A list of records may come in pages: the client's own deadline for all of them is longer than one call's.
const PAGES: u32 = 4;
/// A zone that takes so many times as long as the last time, beyond the other, has not answered.
const LONGER: u32 = 4;

/// How long a look may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// Each part of it.
    pub parts: Parts,
    /// All of it, from when the other zone has answered.
    pub beyond: Duration,
}

/// What is known of each zone's looks.
#[derive(Debug, Default)]
pub(super) struct Patience {
    zones: BTreeMap<ZoneName, Door>,
}

#[derive(Debug, Default)]
struct Door {
    images_silent: bool,
    records_silent: bool,
    /// What its last good look took.
    took: Option<Duration>,
    knock: Option<Knock>,
}

/// A look whose answer is only what there was an answer of, and how long it took.
#[derive(Debug)]
struct Knock(JoinHandle<Heard>);

/// What a knock came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    images: bool,
    records: bool,
    took: Duration,
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The whole deadlines.
fn whole(timing: &CatalogueTiming) -> Parts {
    Parts {
        images: timing.deadline,
        records: timing.deadline * PAGES,
    }
}

impl Patience {
    /// For the look that begins now.
    pub(super) fn of(&self, zone: &ZoneName, timing: &CatalogueTiming) -> Wait {
        let long = whole(timing);
        let all = long.images + long.records;
        let Some(door) = self.zones.get(zone) else {
            return Wait {
                parts: long,
                beyond: all,
            };
        };
        let short = |silent, long: Duration| if silent { long.min(timing.short) } else { long };
        Wait {
            parts: Parts {
                images: short(door.images_silent, long.images),
                records: short(door.records_silent, long.records),
            },
            beyond: door.took.map_or(all, |took| {
                (took * LONGER).clamp(timing.short.min(all), all)
            }),
        }
    }

    /// Takes in how a look ended, and has somebody knock where it met silence.
    pub(super) fn looked(&mut self, place: &Place, looked: &Looked, timing: &CatalogueTiming) {
        let door = self.zones.entry(place.zone.name().clone()).or_default();
        door.note(looked, timing);
        door.knocked(|| knock_at(place, timing));
    }
}

impl Door {
    fn note(&mut self, looked: &Looked, timing: &CatalogueTiming) {
        // A refusal that comes at once costs a round nothing.
        self.images_silent = !looked.has_images() && looked.took.images >= timing.short;
        self.records_silent = looked.records.is_err() && looked.took.records >= timing.short;
        if looked.answered() {
            self.took = Some(looked.took.images + looked.took.records);
        }
    }

    /// Hears what a knock that has ended came to; else begins one where there is silence.
    fn knocked(&mut self, begin: impl FnOnce() -> Knock) {
        match &mut self.knock {
            None if self.images_silent || self.records_silent => self.knock = Some(begin()),
            None => {}
            Some(knock) => {
                let Some(heard) = (&mut knock.0).now_or_never() else {
                    return;
                };
                self.knock = None;
                // One that broke heard nothing.
                if let Ok(heard) = heard {
                    self.images_silent &= !heard.images;
                    self.records_silent &= !heard.records;
                    // It may take longer now than when it was last well: the next look has that much time beyond the other's.
                    if heard.images && heard.records {
                        self.took = Some(heard.took);
                    }
                }
            }
        }
    }
}

fn knock_at(place: &Place, timing: &CatalogueTiming) -> Knock {
    let (place, parts) = (place.clone(), whole(timing));
    Knock(tokio::spawn(async move {
        let looked = look::look(&place, parts, false).await;
        Heard {
            images: looked.has_images(),
            records: looked.records.is_ok(),
            took: looked.took.images + looked.took.records,
        }
    }))
}

/// Both looks at once. From when one zone has answered whole, the other has so much time left.
pub(super) async fn both(
    (a, beyond_a): (impl Future<Output = Looked>, Duration),
    (b, beyond_b): (impl Future<Output = Looked>, Duration),
) -> (Looked, Looked) {
    match select(pin!(a), pin!(b)).await {
        Either::Left((a, b)) => {
            let b = rest(&a, b, beyond_b).await;
            (a, b)
        }
        Either::Right((b, a)) => (rest(&b, a, beyond_a).await, b),
    }
}

async fn rest(first: &Looked, other: impl Future<Output = Looked>, beyond: Duration) -> Looked {
    // Nothing waits for it where the first one has failed.
    if !first.answered() {
        return other.await;
    }
    match timeout(beyond, other).await {
        Ok(looked) => looked,
        Err(_) => Looked::overdue(beyond),
    }
}

#[cfg(test)]
mod tests;
