use super::super::{
    RbdOptions,
    details::{Details, Want},
};
use super::*;
use crate::backend::view::{ImageView, MirrorView};
use rekindle_common::{ImageSpec, metadata, volume::Known};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

type Rbd<T> = std::result::Result<T, rbd::Error>;

const POOL: &str = "volumes";

fn id(n: usize) -> String {
    format!("{n:04}")
}

fn spec(n: usize) -> ImageSpec {
    ImageSpec::new(POOL, format!("volume-{}", id(n))).unwrap()
}

fn status(state: rbd::MirrorState) -> rbd::ImageStatus {
    rbd::ImageStatus {
        name: String::new(),
        global_id: String::new(),
        state,
        sites: Vec::new(),
    }
}

/// A pool some of whose objects are silent. Whoever meets one hangs until the pool is whole again, as in librbd.
#[derive(Clone, Default)]
struct Fake(Arc<World>);

#[derive(Default)]
struct World {
    images: usize,
    /// They are not mirrored.
    plain: bool,
    silent: Mutex<HashSet<String>>,
    whole: Condvar,
    hung: AtomicUsize,
    opened: AtomicUsize,
    asked: AtomicUsize,
}

impl Fake {
    fn of(images: usize, silent: impl IntoIterator<Item = String>) -> Self {
        let world = World {
            images,
            silent: Mutex::new(silent.into_iter().collect()),
            ..World::default()
        };
        Self(Arc::new(world))
    }
    fn meet(&self, object: &str) {
        let mut silent = self.0.silent.lock().unwrap();
        if silent.contains(object) {
            self.0.hung.fetch_add(1, Ordering::SeqCst);
            while silent.contains(object) {
                silent = self.0.whole.wait(silent).unwrap();
            }
        }
    }
    fn mend(&self) {
        self.0.silent.lock().unwrap().clear();
        self.0.whole.notify_all();
    }
    fn hung(&self) -> usize {
        self.0.hung.load(Ordering::SeqCst)
    }
    fn opened(&self) -> usize {
        self.0.opened.swap(0, Ordering::SeqCst)
    }
    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

fn primary() -> rbd::MirrorInfo {
    rbd::MirrorInfo {
        global_id: "g".to_owned(),
        state: rbd::MirrorState::Enabled,
        role: rbd::Role::Primary,
    }
}

impl Source for Fake {
    fn bulk(&self) -> Rbd<Bulk> {
        let ids = 0..self.0.images;
        let names: HashMap<_, _> = ids
            .clone()
            .map(|n| (id(n), spec(n).image().to_owned()))
            .collect();
        let mirrored = ids.filter(|_| !self.0.plain);
        Ok(Bulk {
            names,
            statuses: mirrored
                .map(|n| (id(n), status(rbd::MirrorState::Enabled)))
                .collect(),
        })
    }
    fn infos_after(&self, after: &str, most: usize) -> Rbd<Told> {
        let ids = (0..self.0.images).map(id).filter(|id| **id > *after);
        Ok(ids
            .take(most)
            .map(|id| {
                self.meet(&format!("rbd_header.{id}"));
                self.meet(&format!("journal.{id}"));
                (id, (primary(), rbd::MirrorMode::Journal))
            })
            .collect())
    }
    fn read(&self, name: &str, want: Want) -> Rbd<Details> {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        let id = name.trim_start_matches("volume-");
        self.meet(&format!("rbd_id.{name}"));
        self.meet(&format!("rbd_header.{id}"));
        let readable = want.role && want.silent.is_none();
        if readable {
            self.meet(&format!("journal.{id}"));
        }
        Ok(Details {
            name: name.to_owned(),
            read: Instant::now(),
            mark: Some(want.mark),
            size: 1,
            metadata: Arc::new([(metadata::GROUP.to_owned(), "db".to_owned())].into()),
            snapshots: super::super::convert::snapshots(&[]),
            status: None,
            role: readable.then(|| (primary(), Some(rbd::MirrorMode::Journal))),
        })
    }
    fn without_answer(&self, objects: &[String], _: Duration) -> Rbd<HashSet<String>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let silent = self.0.silent.lock().unwrap();
        Ok(objects
            .iter()
            .filter(|o| silent.contains(*o))
            .cloned()
            .collect())
    }
}

fn backend() -> RbdBackend {
    RbdBackend::new(RbdOptions {
        conf: PathBuf::new(),
        client: "client.none".to_owned(),
        keyring: None,
        pools: vec![POOL.to_owned()],
        threads: 20,
        connect_timeout: Duration::from_secs(1),
    })
    .unwrap()
}

/// A list within `limits.look`.
async fn list(backend: &RbdBackend, pool: &Fake) -> Vec<ImageView> {
    let soon = Instant::now() + Duration::from_secs(10);
    let mut all = backend
        .list_pool(&Listing::new(POOL, pool, soon))
        .await
        .unwrap();
    all.sort_by(|a, b| a.spec.cmp(&b.spec));
    all
}

fn is_on(view: &ImageView) -> bool {
    match &view.mirror {
        MirrorView::On(m) => m.primary,
        MirrorView::Off | MirrorView::Disabling | MirrorView::Unread(_) => false,
    }
}

/// Why it was not read.
fn why(view: &ImageView) -> &str {
    match &view.mirror {
        MirrorView::Unread(u) => &u.why,
        read @ (MirrorView::Off | MirrorView::Disabling | MirrorView::On(_)) => {
            panic!("{}: {read:?}", view.spec)
        }
    }
}

/// One in six, on each page of the list: their ids, names and journals take turns in what does not answer.
fn silent(n: usize) -> Option<String> {
    if !n.is_multiple_of(6) {
        return None;
    }
    Some(match n % 4 {
        0 => format!("rbd_header.{}", id(n)),
        _ => format!("rbd_id.{}", spec(n).image()),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_22_many_silent_images_leave_each_other_one_to_be_told_and_take_few_threads() {
    let pool = Fake::of(240, (0..240).filter_map(silent));
    let backend = backend();
    // Also the very first list, and what that costs is all.
    for round in 0..4 {
        let seen = list(&backend, &pool).await;
        assert_eq!(seen.len(), 240);
        for (n, view) in seen.iter().enumerate() {
            match silent(n) {
                None => assert!(is_on(view), "{round}: {view:?}"),
                Some(object) => assert!(why(view).contains(&object), "{round}: {view:?}"),
            }
        }
        assert!(pool.hung() <= PARALLEL, "{round}: {}", pool.hung());
        // None for its role alone: they are kept from the first list on.
        let opened = pool.opened();
        assert_eq!(opened, if round == 0 { 200 } else { 0 }, "{round}");
    }
    // What is opened by its name is refused at once, and not for ever.
    let soon = || Instant::now() + Duration::from_secs(10);
    let refused = backend.refuse_if_silent(&spec(0), &pool, soon()).await;
    assert!(refused.unwrap_err().to_string().contains("rbd_header.0000"));
    let healthy = backend.refuse_if_silent(&spec(1), &pool, soon()).await;
    assert_eq!(healthy, Ok(()));
    pool.mend();
    let answers = backend.refuse_if_silent(&spec(0), &pool, soon()).await;
    assert_eq!(answers, Ok(()));
    assert!(list(&backend, &pool).await.iter().all(is_on));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_hangs_nobody_is_asked() {
    let pool = Fake::of(70, []);
    let backend = backend();
    for opened in [70, 0] {
        assert!(list(&backend, &pool).await.iter().all(is_on));
        assert_eq!((pool.opened(), pool.asked()), (opened, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_images_that_are_silent_take_no_thread_from_those_that_are_mirrored() {
    let world = World {
        images: 100,
        plain: true,
        silent: Mutex::new((0..100).filter_map(silent).collect()),
        ..World::default()
    };
    let pool = Fake(Arc::new(world));
    let backend = backend();
    backend.shared.reads.trouble(POOL);
    // Not one of them says that it should be mirrored.
    assert!(list(&backend, &pool).await.is_empty());
    assert_eq!((pool.hung(), pool.opened()), (0, 83));
    // What was read is not due again, and is not asked either.
    assert!(list(&backend, &pool).await.is_empty());
    assert_eq!((pool.hung(), pool.opened()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_whose_journal_alone_is_silent_is_known_but_for_its_role() {
    let pool = Fake::of(3, [format!("journal.{}", id(1))]);
    let backend = backend();
    backend.shared.reads.trouble(POOL);
    let seen = list(&backend, &pool).await;
    assert!(is_on(&seen[0]) && is_on(&seen[2]));
    assert!(why(&seen[1]).contains("journal.0001"), "{:?}", seen[1]);
    assert_eq!(seen[1].primary(), Known::Unknown);
    assert_eq!(seen[1].metadata[metadata::GROUP], "db");
    assert!(seen[1].may_be_any_groups().is_none());
    assert_eq!(pool.hung(), 0);
}

#[test]
fn a_run_ends_before_whoever_is_left_out_or_would_not_be_given() {
    let mut statuses: BTreeMap<String, rbd::ImageStatus> = (0..40)
        .map(|n| (id(n), status(rbd::MirrorState::Enabled)))
        .collect();
    statuses.insert(id(5), status(rbd::MirrorState::Disabling));
    let out = [id(0), id(2), id(3)];
    let runs = runs(&statuses, |id| out.contains(id));
    let seen: Vec<(&str, usize, usize)> = runs
        .iter()
        .map(|r| (r.after.as_str(), r.most, r.ids.len()))
        .collect();
    let full = rbd::MIRROR_PAGE;
    let expected = [
        ("0000", 1, 1),
        ("0003", 1, 1),
        ("0005", full, full),
        ("0037", 2, 2),
    ];
    assert_eq!(seen, expected);
    assert!(super::runs(&BTreeMap::new(), |_| false).is_empty());
}

#[test]
fn where_nothing_is_left_out_each_image_is_on_one_page() {
    let ids: Vec<String> = (0..70).map(id).collect();
    let pages = pages(ids.iter());
    let seen: Vec<(&str, usize)> = pages
        .iter()
        .map(|p| (p.after.as_str(), p.ids.len()))
        .collect();
    assert_eq!(seen, [("", 32), ("0031", 32), ("0063", 6)]);
}
