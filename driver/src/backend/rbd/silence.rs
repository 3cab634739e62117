//! Images that do not answer, found out without reading them.
//!
//! One placement group that is inactive silences some in a hundred of a pool's images, and a read of each would keep a thread. So where
//! something of a pool hangs, or did within a minute, the objects that a read meets are asked first, all of them at once and without a
//! thread for each. An image of which one is silent is not read. Where nothing hangs nobody is asked, and nothing is waited for.
//!
//! It sees the image's own objects. That a clone's parent is silent, say, is seen by its read alone, which hung.rs bounds.

use super::{
    RbdBackend, Result,
    details::Listing,
    hung::What,
    source::{Bulk, Source},
};
use crate::backend::error::{BackendError, BackendErrorKind, Op};
use rekindle_common::ImageSpec;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// Whoever does not answer in this time is silent. Reads have longer, but they are many calls.
const PATIENCE: Duration = Duration::from_secs(2);
/// With less time than that nobody is called silent.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// An image with an object that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silent {
    name: String,
    object: String,
    /// It can be opened all the same: it is its journal, which only images with that mode have.
    pub(super) opens: bool,
}

impl Silent {
    pub(super) fn error(&self, spec: &ImageSpec) -> BackendError {
        let why = format!("its object {} does not answer", self.object);
        BackendError::new(Op::Open, Some(spec), BackendErrorKind::Deadline, why)
    }
}

/// What a pool's images answered.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Whether the pool was troubled when they were to be asked.
    pub(super) troubled: bool,
    /// Those that do not answer, by id; `None` where they were not asked.
    pub(super) silent: Option<HashMap<String, Silent>>,
}

impl Silence {
    pub(super) fn of(&self, id: &str) -> Option<&Silent> {
        self.silent.as_ref()?.get(id)
    }
}

/// What opening an image reads, and with `journal` what telling its role does.
fn objects(id: &str, name: &str, journal: bool) -> Vec<String> {
    let mut all = vec![format!("rbd_id.{name}"), format!("rbd_header.{id}")];
    if journal {
        all.push(format!("journal.{id}"));
    }
    all
}

/// The image's part of what does not answer.
fn judge(id: &str, name: &str, journal: bool, without: &HashSet<String>) -> Option<Silent> {
    let objects = objects(id, name, journal);
    let (place, object) = objects
        .into_iter()
        .enumerate()
        .find(|(_, object)| without.contains(object))?;
    Some(Silent {
        name: name.to_owned(),
        object,
        opens: place >= 2,
    })
}

impl RbdBackend {
    /// Which images of a list do not answer, where something of their pool hangs.
    pub(super) async fn silence<S: Source>(
        &self,
        list: &Listing<'_, S>,
        bulk: &Bulk,
    ) -> Result<Silence> {
        if !self.shared.reads.is_troubled(list.pool) {
            return Ok(Silence::default());
        }
        let images: Vec<(String, String, bool)> = bulk
            .names
            .iter()
            .map(|(id, name)| (id, name, bulk.statuses.contains_key(id)))
            // Plain ones are read now and then only.
            .filter(|(id, name, mirrored)| *mirrored || self.is_due(list.pool, id, name))
            .map(|(id, name, mirrored)| (id.clone(), name.clone(), mirrored))
            .collect();
        let asked = images
            .iter()
            .flat_map(|(id, name, journal)| objects(id, name, *journal))
            .collect();
        let without = self
            .without_answer(list.pool, list.io, asked, list.deadline)
            .await?;
        let silent = without.map(|without| {
            images
                .into_iter()
                .filter_map(|(id, name, journal)| {
                    let silent = judge(&id, &name, journal, &without)?;
                    Some((id, silent))
                })
                .collect::<HashMap<_, _>>()
        });
        if let Some(silent) = &silent {
            let mut all = self.shared.silent.all();
            all.retain(|(pool, _), _| pool != list.pool);
            all.extend(
                silent
                    .iter()
                    .map(|(id, s)| ((list.pool.to_owned(), id.clone()), s.clone())),
            );
            if !silent.is_empty() {
                self.shared.reads.trouble(list.pool);
            }
        }
        Ok(Silence {
            troubled: true,
            silent,
        })
    }

    /// Refuses an open that would only keep a thread: of an image that did not answer when it was last asked, and does not now.
    pub(super) async fn refuse_if_silent<S: Source>(
        &self,
        spec: &ImageSpec,
        io: &S,
        deadline: Instant,
    ) -> Result<()> {
        let objects = {
            let all = self.shared.silent.all();
            all.iter()
                .find(|((pool, _), s)| pool == spec.pool() && s.name == spec.image() && !s.opens)
                .map(|((_, id), s)| objects(id, &s.name, false))
        };
        let Some(objects) = objects else {
            return Ok(());
        };
        let without = self
            .without_answer(spec.pool(), io, objects, deadline)
            .await?;
        match without.into_iter().flatten().next() {
            Some(object) => Err(Silent {
                name: spec.image().to_owned(),
                object,
                opens: false,
            }
            .error(spec)),
            None => Ok(()),
        }
    }

    /// `None` where nobody could be asked.
    async fn without_answer<S: Source>(
        &self,
        pool: &str,
        io: &S,
        objects: Vec<String>,
        deadline: Instant,
    ) -> Result<Option<HashSet<String>>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = PATIENCE.min(left / 4);
        if patience < LEAST_PATIENCE {
            return Ok(None);
        }
        let Ok(read) = self.shared.reads.begin(What::Silence {
            pool: pool.to_owned(),
        }) else {
            return Ok(None);
        };
        let (io, deadline) = (io.clone(), Instant::now() + patience * 4);
        let asked = self
            .shared
            .calls
            .run(Op::List, None, deadline, move || {
                // Held by the thread, however late it returns.
                let _read = read;
                io.without_answer(&objects, patience)
            })
            .await;
        match self.drop_if_dead(asked).await {
            Ok(without) => Ok(Some(without)),
            Err(e) if e.kind == BackendErrorKind::Blocklisted => Err(e),
            Err(error) => {
                tracing::debug!(pool, %error, "whether the pool's images answer was not told: they are read to see it");
                Ok(None)
            }
        }
    }
}
