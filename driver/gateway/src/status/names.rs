//! Which image is under a volume. Cinder tells administrators alone, so the gateway asks with its own account, and keeps what it
//! was told: it changes with a migration, and else never. What must not be decided by what was so is asked anew.

use crate::pause::Pause;
use foldhash::fast::RandomState;
use rekindle_common::ImageSpec;
use rekindle_openstack::{Cloud, CloudError, Scope, Volume, each};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

/// For so long it is taken for true.
const AGE: Duration = Duration::from_secs(300);
/// What may be another in a moment: a volume that has no backend yet, or is gone.
const SHORT: Duration = Duration::from_secs(1);
/// Names that are kept; past it all are looked at anew.
const MOST: usize = 50_000;
/// Volumes in one look: so many ids fit into a request's first line, whatever stands behind the address.
const LOOK: usize = 100;
/// Looks at once, of all requests together.
const LOOKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// Cinder's word for a volume that it serves from the other zone.
const FAILED_OVER: &str = "failed-over";

/// What is under a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Under {
    Image(Arc<ImageSpec>),
    /// It is on a backend that is not replicated here.
    Elsewhere,
    /// Cinder does not know the volume any more.
    Gone,
    /// It was not told.
    Unknown,
}

/// The volumes of one of Cinder's groups.
#[derive(Debug)]
pub(crate) enum Members {
    Are(Vec<Volume>),
    /// They are more than were asked for.
    TooMany,
    /// It was not told.
    Unknown,
}

/// On which backends volumes are, by pool: from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Backends(pub(crate) BTreeMap<String, String>);

impl Backends {
    /// The image of a volume that says what it has to: `HOST@BACKEND#POOL`, its cluster, and the id in its image's name.
    pub(crate) fn image(&self, host: Option<&str>, cluster: Option<&str>, id: &str) -> Under {
        let pool = self.0.iter().find(|(_, backend)| {
            let backend = backend.as_str();
            let without_pool = backend.split_once('#').map(|(at, _)| at);
            host == Some(backend)
                || cluster == Some(backend)
                || (cluster.is_some() && cluster == without_pool)
        });
        let spec = pool.map(|(pool, _)| ImageSpec::new(pool.as_str(), format!("volume-{id}")));
        match spec {
            Some(Ok(spec)) => Under::Image(Arc::new(spec)),
            Some(Err(_)) | None => Under::Elsewhere,
        }
    }

    pub(crate) fn of(&self, volume: &Volume) -> Under {
        let id = volume.name_id.as_deref().unwrap_or(&volume.id);
        self.image(volume.host.as_deref(), volume.cluster.as_deref(), id)
    }
}

/// The names that are known. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    cloud: Cloud,
    pub(crate) backends: Backends,
    state: Arc<Mutex<State>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the moment that it is good until.
    known: HashMap<String, (Instant, Under), RandomState>,
    pause: Pause,
}

impl State {
    /// What is known, and still good, of each.
    fn good(&self, ids: &[&str]) -> Vec<Option<Under>> {
        let now = Instant::now();
        let good = |id: &&str| {
            let (until, under) = self.known.get(*id)?;
            (now < *until).then(|| under.clone())
        };
        ids.iter().map(good).collect()
    }

    fn make_room(&mut self, more: usize) {
        if self.known.len() + more > MOST {
            self.known.clear();
        }
    }

    fn keep(&mut self, id: &str, good: Duration, under: &Under) {
        let until = Instant::now() + good;
        self.known.insert(id.to_owned(), (until, under.clone()));
    }
}

impl Names {
    pub(crate) fn new(cloud: Cloud) -> Self {
        Self {
            backends: Backends(cloud.config().backends.clone()),
            cloud,
            state: Arc::default(),
            places: Arc::new(Semaphore::new(LOOKS.get())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is under each of these volumes, in their order. What is not told within `wait` is unknown, and told to those who come later.
    pub(crate) async fn of(&self, ids: &[&str], wait: Duration) -> Vec<Under> {
        let mut all = self.state().good(ids);
        if all.iter().all(Option::is_some) {
            return all.into_iter().flatten().collect();
        }
        let unknown = ids.iter().zip(&all).filter(|(_, under)| under.is_none());
        let missing = self.missing(unknown.map(|(id, _)| *id));
        if !missing.is_empty() {
            self.carried(missing, wait).await;
            all = self.state().good(ids);
        }
        all.into_iter()
            .map(|under| under.unwrap_or(Under::Unknown))
            .collect()
    }

    /// What is under each of these volumes now, in their order, whatever is kept of them: Cinder is asked anew, and its answer is kept. What
    /// is not told within `wait` is unknown, also where it was known before. The look ends with who waits for it: nobody else has use for it,
    /// and what those who have left still asked for would be in the way of the others.
    pub(crate) async fn anew(&self, ids: &[&str], wait: Duration) -> Vec<Under> {
        let look = self.look(self.missing(ids.iter().copied()));
        let told = timeout(wait, look).await.unwrap_or_else(|_| {
            if self.state().pause.is_news() {
                tracing::warn!("Cinder does not tell in time which images are under volumes");
            }
            HashMap::new()
        });
        ids.iter()
            .map(|id| told.get(*id).cloned().unwrap_or(Under::Unknown))
            .collect()
    }

    /// Those of these volumes that Cinder's records call failed over, now: its service, or their group, went to the other zone with them. What
    /// is not told within `wait` is none of them. It ends with who waits for it, as above.
    pub(crate) async fn failed_over(&self, ids: &[&str], wait: Duration) -> HashSet<String> {
        let ids = self.missing(ids.iter().copied());
        let chunks: Vec<Vec<String>> = ids.chunks(LOOK).map(<[String]>::to_vec).collect();
        let look = each(LOOKS, chunks, |ids| {
            let this = self.clone();
            async move { this.told(&ids).await }
        });
        let told = timeout(wait, look).await.unwrap_or_default();
        let told = told.into_iter().flatten().flatten();
        told.filter(|volume| volume.replication_status.as_deref() == Some(FAILED_OVER))
            .map(|volume| volume.id)
            .collect()
    }

    /// The volumes of a group now, whatever their project. What is not told within `wait` is unknown. It ends with who waits for it, as above.
    pub(crate) async fn in_group(&self, group: &str, most: usize, wait: Duration) -> Members {
        if self.state().pause.holds() {
            return Members::Unknown;
        }
        let look = async {
            let _place = self.places.acquire().await.ok()?;
            let cinder = self.cloud.cinder(Scope::Home);
            Some(cinder.volumes_in_group(group, most).await)
        };
        match timeout(wait, look).await.ok().flatten() {
            Some(Ok(volumes)) => Members::Are(volumes),
            Some(Err(CloudError::TooMany { .. })) => Members::TooMany,
            Some(Err(error)) => {
                tracing::warn!(
                    error = error.in_full(),
                    "Cinder does not tell which volumes a group has"
                );
                self.state().pause.begin();
                Members::Unknown
            }
            None => {
                if self.state().pause.is_news() {
                    tracing::warn!("Cinder does not tell in time which volumes a group has");
                }
                Members::Unknown
            }
        }
    }

    /// Looks at these, and waits for that no longer than `wait`. The look is carried to its end, for those who come later.
    async fn carried(&self, ids: Vec<String>, wait: Duration) {
        let this = self.clone();
        let looking = tokio::spawn(async move { this.look(ids).await });
        let _ = timeout(wait, looking).await;
    }

    /// What is under a volume that Cinder was asked for elsewhere. It is kept, in the place of what was known before.
    pub(crate) fn learn(&self, volume: &Volume) -> Under {
        let (good, under) = self.of_told(volume);
        let mut state = self.state();
        state.make_room(1);
        state.keep(&volume.id, good, &under);
        under
    }

    /// Cinder does not know that volume any more.
    pub(crate) fn forget(&self, id: &str) {
        self.state().known.remove(id);
    }

    /// With for how long that is good.
    fn of_told(&self, volume: &Volume) -> (Duration, Under) {
        match volume.host {
            None => (SHORT, Under::Elsewhere),
            Some(_) => (AGE, self.backends.of(volume)),
        }
    }

    /// Those of the unknown that are worth asking for.
    fn missing<'a>(&self, unknown: impl Iterator<Item = &'a str>) -> Vec<String> {
        // Nothing else is an id of Cinder's, nor has a place in a query.
        let ids = unknown.filter(|id| uuid::Uuid::try_parse(id).is_ok());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        let mut state = self.state();
        if state.pause.holds() {
            return Vec::new();
        }
        state.make_room(ids.len());
        ids
    }

    /// What was told of them.
    async fn look(&self, missing: Vec<String>) -> HashMap<String, Under> {
        let chunks: Vec<Vec<String>> = missing.chunks(LOOK).map(<[String]>::to_vec).collect();
        each(LOOKS, chunks, |ids| {
            let this = self.clone();
            async move { this.look_at(&ids).await }
        })
        .await
        .into_iter()
        .flatten()
        .collect()
    }

    async fn look_at(&self, ids: &[String]) -> Vec<(String, Under)> {
        match self.told(ids).await {
            Some(found) => self.keep(ids, &found),
            None => Vec::new(),
        }
    }

    /// Their records; `None` where they are not told.
    async fn told(&self, ids: &[String]) -> Option<Vec<Volume>> {
        let _place = self.places.acquire().await.ok()?;
        match self.looked(ids).await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::warn!(
                    error = error.in_full(),
                    "Cinder does not tell which images are under volumes"
                );
                // Also where it was quick: a Keystone that refuses is not to be asked by each request.
                self.state().pause.begin();
                None
            }
        }
    }

    async fn looked(&self, ids: &[String]) -> Result<Vec<Volume>, CloudError> {
        let cinder = self.cloud.cinder(Scope::Home);
        match ids {
            [one] => match cinder.volume(one).await {
                Ok(volume) => Ok(vec![volume]),
                Err(CloudError::NotFound { .. }) => Ok(Vec::new()),
                Err(e) => Err(e),
            },
            many => cinder.volumes_of(many).await,
        }
    }

    fn keep(&self, ids: &[String], found: &[Volume]) -> Vec<(String, Under)> {
        let found: HashMap<&str, &Volume> = found.iter().map(|v| (v.id.as_str(), v)).collect();
        let mut state = self.state();
        let mut told = Vec::with_capacity(ids.len());
        for id in ids {
            let (good, under) = match found.get(id.as_str()) {
                Some(volume) => self.of_told(volume),
                None => (SHORT, Under::Gone),
            };
            state.keep(id, good, &under);
            told.push((id.clone(), under));
        }
        told
    }
}
