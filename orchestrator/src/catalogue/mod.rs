//! The other zone's catalogue, kept: the leader looks at both zones' images and records, core decides, and what is to be written is.
//!
//! ```text
//!   look (both zones at once, each part may be missing) -> decide -> ask for images by name -> decide
//!        -> mend (the first so many, images side by side, one image's in their order; the lead is checked before each) -> remember
//! ```
//!
//! It runs beside the decisions of a term and shares nothing with them: a Cinder that hangs delays no failover. What it remembers between
//! rounds is only how long something has been so; everything else is looked at anew, so that a new leader goes on where this one was.
//!
//! | module | what it does |
//! |---|---|
//! | [`cinder`] | what it asks of a zone's Cinder, as a trait; [`openstack`] is the real one |
//! | [`look`] | one look at a zone |
//! | [`patience`] | how long a round waits for a zone |
//! | [`write`] | one round's writes |
//! | [`memory`] | what failed and waits, what has been found and since when |
//! | [`view`] | what people are shown |
//! | [`volumes`] | which volume is which, for those who build servers |

pub mod cinder;
mod look;
mod memory;
pub mod openstack;
mod patience;
mod view;
pub mod volumes;
mod write;

use crate::{
    clock::Clock, coordination::Lead, metrics::Metrics, wire::CatalogueStatus, zone::Zone,
};
use cinder::Cinder;
use memory::Memory;
use patience::Patience;
use rekindle_common::{SiteName, ZoneName};
use rekindle_core::catalogue::{self, Verdict, ZoneSight, mapping::Mapping};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use volumes::{VolumeFeed, VolumeMap};
use write::Written;

/// How often, how long, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueTiming {
    /// Between two rounds.
    pub every: Duration,
    /// For each question of a look, and each write.
    pub deadline: Duration,
    /// For a question of a look to what did not answer the last one in time.
    pub short: Duration,
    /// The most writes of a round.
    pub most: usize,
    /// So many images are written about at once.
    pub at_once: usize,
    /// What failed is tried again after this, then after twice as long, up to `longest`.
    pub again: Duration,
    /// See `again`.
    pub longest: Duration,
    /// What is found for so long is told: a resync's gap is shorter.
    pub settle: Duration,
}

impl Default for CatalogueTiming {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            short: Duration::from_secs(3),
            most: 200,
            at_once: 8,
            again: Duration::from_secs(10),
            longest: Duration::from_secs(600),
            settle: Duration::from_secs(45),
        }
    }
}

/// What it is made of.
#[derive(Debug, Clone)]
pub struct CataloguePart {
    /// Both zones' Cinders.
    pub clouds: [(ZoneName, Arc<dyn Cinder>); 2],
    /// What is called what.
    pub mapping: Mapping,
    /// Where both zones' volumes are told.
    pub volumes: VolumeFeed,
    /// Times.
    pub timing: CatalogueTiming,
}

/// One zone: its images and its records.
#[derive(Debug, Clone)]
struct Place {
    zone: Arc<Zone>,
    cinder: Arc<dyn Cinder>,
}

/// Keeps both catalogues while this site leads.
#[derive(Debug)]
pub struct Keeper {
    site: SiteName,
    places: [Place; 2],
    mapping: Mapping,
    volumes: VolumeFeed,
    timing: CatalogueTiming,
    clock: Clock,
    metrics: Arc<Metrics>,
    memory: Mutex<Memory>,
    patience: Mutex<Patience>,
    shown: watch::Sender<Option<Arc<CatalogueStatus>>>,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Whatever was to be written was, or waits for its time.
    Done,
    /// There was more than one round may write.
    More,
    /// The term is over.
    Lost,
}

impl Keeper {
    /// `None` where a Cinder is named for a zone that is not among these.
    #[must_use]
    pub fn new(
        site: SiteName,
        part: CataloguePart,
        zones: &[Arc<Zone>],
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let place = |(name, cinder): (ZoneName, Arc<dyn Cinder>)| {
            let zone = zones.iter().find(|z| *z.name() == name)?;
            Some(Place {
                zone: Arc::clone(zone),
                cinder,
            })
        };
        let [a, b] = part.clouds;
        Some(Self {
            site,
            places: [place(a)?, place(b)?],
            mapping: part.mapping,
            volumes: part.volumes,
            timing: part.timing,
            clock,
            metrics,
            memory: Mutex::default(),
            patience: Mutex::default(),
            shown: watch::Sender::new(None),
        })
    }

    /// The last round; `None` before the first of a term, and while another site leads.
    #[must_use]
    pub fn shown(&self) -> Option<Arc<CatalogueStatus>> {
        self.shown.borrow().clone()
    }

    /// Round after round, until the term is over.
    pub async fn run(&self, lead: &Lead) {
        *self.memory() = Memory::default();
        *self.patience() = Patience::default();
        let mut ticks = interval(self.timing.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut round = self.round(lead).await;
            while round == Round::More {
                // What is left does not wait for the next tick, and leaves others their turn.
                sleep(self.timing.every / 10).await;
                round = self.round(lead).await;
            }
            if round == Round::Lost {
                break;
            }
        }
        self.forget();
    }

    /// Another site leads now: what was seen here is not shown as if it were so.
    pub fn forget(&self) {
        // What still knocks at a silent zone's door ends with it.
        *self.patience() = Patience::default();
        self.shown.send_replace(None);
        self.volumes.tell(None);
        self.metrics.catalogue.clear();
    }

    async fn round(&self, lead: &Lead) -> Round {
        let (sights, silent) = self.look().await;
        let (sights, verdict) = self.decide(sights).await;
        let now = self.clock.now();
        self.volumes.tell(Some(VolumeMap::of(now, &sights)));
        let due = self.memory().due(&verdict.mends);
        let (first, left) = due.split_at(due.len().min(self.timing.most));
        let Ok(written) = write::all(self, lead, first.to_vec()).await else {
            return Round::Lost;
        };
        let whole = silent.is_empty();
        let status = {
            let mut memory = self.memory();
            memory.wrote(&written, &self.timing);
            memory.found(&verdict, now, &self.timing);
            if whole && written.iter().all(Written::is_good) && memory.waiting() == 0 {
                memory.good(now);
            }
            view::status(
                &self.site, now, &sights, &silent, &verdict, &memory, &written,
            )
        };
        self.count(&written, &status, whole);
        self.shown.send_replace(Some(Arc::new(status)));
        let done_some = written.iter().any(Written::is_good);
        if done_some && !left.is_empty() {
            Round::More
        } else {
            Round::Done
        }
    }

    /// Both zones at once, and why a part of one is missing.
    async fn look(&self) -> ([ZoneSight; 2], Vec<look::Silent>) {
        let [a, b] = &self.places;
        let ask = |p: &Place| self.memory().asks_for_projects(p.zone.name());
        let waits = |p: &Place| self.patience().of(p.zone.name(), &self.timing);
        let (wait_a, wait_b) = (waits(a), waits(b));
        let (of_a, of_b) = patience::both(
            (look::look(a, wait_a.parts, ask(a)), wait_a.beyond),
            (look::look(b, wait_b.parts, ask(b)), wait_b.beyond),
        )
        .await;
        for (place, looked) in [(a, &of_a), (b, &of_b)] {
            self.patience().looked(place, looked, &self.timing);
        }
        let mut silent = Vec::new();
        let mut memory = self.memory();
        let sights = [
            memory.sight(a, of_a, &mut silent),
            memory.sight(b, of_b, &mut silent),
        ];
        (sights, silent)
    }

    /// Decides; what must be asked for by name first is.
    async fn decide(&self, mut sights: [ZoneSight; 2]) -> ([ZoneSight; 2], Verdict) {
        let mut verdict = Verdict::default();
        // This zone's image, then the other's.
        for _ in 0..3 {
            let [a, b] = &sights;
            verdict = catalogue::decide(a, b, &self.mapping);
            if verdict.asks.is_empty() {
                break;
            }
            let deadline = |zone: &ZoneName| self.patience().of(zone, &self.timing).parts.images;
            let at_once = self.timing.at_once;
            let answers = look::ask(&self.places, &verdict.asks, deadline, at_once).await;
            for (ask, named) in answers {
                for sight in sights.iter_mut().filter(|s| s.zone == ask.zone) {
                    sight.named.insert(ask.image.clone(), named);
                }
            }
        }
        (sights, verdict)
    }

    fn count(&self, written: &[Written], status: &CatalogueStatus, whole: bool) {
        let m = &self.metrics.catalogue;
        let good = written.iter().all(Written::is_good);
        m.round(match (whole, good) {
            (true, true) => "good",
            (true, false) => "failures",
            (false, _) => "blind",
        });
        for w in written {
            m.mend(w.mend.change.name(), w.is_good());
        }
        m.findings(status.counts());
        if let Some(at) = status.last_good {
            m.last_good(at);
        }
    }

    fn patience(&self) -> MutexGuard<'_, Patience> {
        // Each change under this lock is one assignment.
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change under this lock leaves it whole: maps of independent entries.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
