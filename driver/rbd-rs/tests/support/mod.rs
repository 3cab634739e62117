//! What the tests on real zones share: two connected zones, images that clean up, and waiting.
//!
//! Each binary uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "a module of several binaries")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rbd_rs::{
    Ceph, Cluster, ConnectOptions, CreateOptions, Disable, Error, Features, Image, MirrorMode,
    Pool, Promote, Quiesce, Role, SiteStatus,
};
use rekindle_lab::{Lab, Site};

/// How long mirroring may take for one thing in a busy lab.
pub const MIRROR: Duration = Duration::from_secs(120);
/// How large test images are.
pub const SIZE: u64 = 32 << 20;

/// One zone, connected as its administrator.
pub struct Side {
    pub site: Site,
    pub cluster: Cluster,
    pub pool: Pool,
}

/// Both zones. The connections go before the lab does.
pub struct Zones {
    pub a: Side,
    pub b: Side,
    pub ceph: Ceph,
    pub lab: Lab,
}

pub fn zones() -> Zones {
    let lab = Lab::for_tests().unwrap();
    let ceph = Ceph::load().unwrap();
    let a = side(&ceph, &lab, Site::ZoneA);
    let b = side(&ceph, &lab, Site::ZoneB);
    Zones { a, b, ceph, lab }
}

pub fn options(lab: &Lab, site: Site) -> ConnectOptions {
    let zone = lab.zone(site).unwrap();
    ConnectOptions::from_conf_file(zone.ceph_conf).client(format!("client.{}", zone.client_id))
}

pub fn side(ceph: &Ceph, lab: &Lab, site: Site) -> Side {
    let cluster = Cluster::connect(ceph, &options(lab, site)).unwrap();
    let pool = cluster.pool(lab.zone(site).unwrap().pool).unwrap();
    Side {
        site,
        cluster,
        pool,
    }
}

/// A name that no other test has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    format!("test-{what}-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Tries until it goes well, and fails with the last reason when the time is over.
pub fn wait<T>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(result) => {
                println!("{what}: {:.1} s", start.elapsed().as_secs_f64());
                return result;
            }
            Err(why) => assert!(
                start.elapsed() < deadline,
                "{what}: not in {deadline:?}: {why}"
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An image for a test, removed on both sides when the value goes.
pub struct TestImage<'a> {
    pub zones: &'a Zones,
    pub name: String,
}

impl<'a> TestImage<'a> {
    /// Creates it in zone A.
    pub fn new(zones: &'a Zones, what: &str) -> Self {
        let name = unique(what);
        let features = Some(Features::DEFAULT);
        let options = CreateOptions {
            features,
            ..CreateOptions::default()
        };
        zones.a.pool.create_image(&name, SIZE, &options).unwrap();
        Self { zones, name }
    }

    /// Creates it, writes a pattern, and mirrors it until zone B has the pattern.
    pub fn mirrored(zones: &'a Zones, what: &str, mode: MirrorMode) -> Self {
        let this = Self::new(zones, what);
        let image = this.a();
        image.write(0, &pattern(1)).unwrap();
        image.flush().unwrap();
        image.mirror_enable(mode).unwrap();
        drop(image);
        this.wait_for_data(&zones.b, 1);
        this.wait_until_followed(&zones.a, &zones.b);
        this
    }

    /// Opens zone A's.
    pub fn a(&self) -> Image {
        self.zones.a.pool.open(&self.name).unwrap()
    }

    /// Opens zone B's.
    pub fn b(&self) -> Image {
        self.zones.b.pool.open(&self.name).unwrap()
    }

    /// Waits until the copy on `side` begins with that pattern.
    pub fn wait_for_data(&self, side: &Side, number: u8) {
        let what = format!("{} on {} holds pattern {number}", self.name, side.site);
        wait(&what, MIRROR, || {
            let image = side
                .pool
                .open_read_only(&self.name)
                .map_err(|e| e.to_string())?;
            let mut found = vec![0; pattern(number).len()];
            image.read(0, &mut found).map_err(|e| e.to_string())?;
            if found == pattern(number) {
                Ok(())
            } else {
                Err(format!("{:?}", &found[..4]))
            }
        });
    }

    /// Waits until that side's daemon reports what is wanted of the image.
    pub fn wait_for_status(
        &self,
        side: &Side,
        what: &str,
        wanted: impl Fn(&SiteStatus) -> bool,
    ) -> SiteStatus {
        wait(
            &format!("{} on {} is {what}", self.name, side.site),
            MIRROR,
            || {
                let image = side
                    .pool
                    .open_read_only(&self.name)
                    .map_err(|e| e.to_string())?;
                let status = image.mirror_status().map_err(|e| e.to_string())?;
                let local = status.local().ok_or("no local report")?;
                let words = format!("{} {}", local.word(), local.description);
                if wanted(local) {
                    Ok(local.clone())
                } else {
                    Err(words)
                }
            },
        )
    }

    pub fn role(&self, side: &Side) -> Role {
        side.pool
            .open_read_only(&self.name)
            .unwrap()
            .mirror_info()
            .unwrap()
            .role
    }

    /// Waits until what is written on one side arrives on the other. The first copy being whole
    /// is not enough: the replay begins after it, and does not begin at all once the primary is
    /// demoted.
    pub fn wait_until_followed(&self, primary: &Side, copy: &Side) {
        let mark = unique("mark");
        let image = primary.pool.open(&self.name).unwrap();
        image.metadata_set(MARK, &mark).unwrap();
        if image.mirror_mode().unwrap() == MirrorMode::Snapshot {
            image.create_mirror_snapshot(Quiesce::IfPossible).unwrap();
        }
        drop(image);
        self.wait_for_mark(copy, &mark);
    }

    fn wait_for_mark(&self, side: &Side, mark: &str) {
        wait(
            &format!("{} has the mark on {}", self.name, side.site),
            MIRROR,
            || {
                let image = side
                    .pool
                    .open_read_only(&self.name)
                    .map_err(|e| e.to_string())?;
                let found = image.metadata_find(MARK).map_err(|e| e.to_string())?;
                if found.as_deref() == Some(mark) {
                    Ok(())
                } else {
                    Err(format!("{found:?}"))
                }
            },
        );
    }

    /// Demotes on that side, leaving a mark behind that only arrives with all that was written
    /// before it. See [`rbd_rs::Promote::Plain`] for why it is needed.
    pub fn demote(&self, side: &Side) -> String {
        let mark = unique("mark");
        let image = side.pool.open(&self.name).unwrap();
        image.metadata_set(MARK, &mark).unwrap();
        image.mirror_demote().unwrap();
        mark
    }

    /// Waits for the mark of a demotion, and promotes plainly as often as it takes.
    pub fn promote_after(&self, side: &Side, mark: &str) {
        self.wait_for_mark(side, mark);
        let what = format!("{} is promoted on {}", self.name, side.site);
        wait(&what, MIRROR, || {
            let image = side.pool.open(&self.name).map_err(|e| e.to_string())?;
            match image.mirror_promote(Promote::Plain) {
                Ok(()) => Ok(()),
                Err(error @ Error::Busy { .. }) => {
                    let status = image.mirror_status().map(|status| status.sites);
                    Err(format!("{error}; {status:?}"))
                }
                Err(error) => panic!("{error}"),
            }
        });
    }
}

/// The key of a demotion's mark.
pub const MARK: &str = "test.demotion";

impl Drop for TestImage<'_> {
    /// Takes mirroring off where the image is primary, and lets the daemon remove the copy: to
    /// disable a copy by force is a forced promotion, which is not safe while a daemon works on it.
    fn drop(&mut self) {
        let sides = [&self.zones.a, &self.zones.b];
        let disable = |side: &Side, how| {
            let image = side.pool.open(&self.name);
            image.and_then(|image| image.mirror_disable(how)).is_ok()
        };
        let mut was_primary = sides.map(|side| disable(side, Disable::Plain));
        if was_primary == [false, false] {
            let promoted = self.zones.a.pool.open(&self.name);
            let _ = promoted.and_then(|image| image.mirror_promote(Promote::Plain));
            was_primary = sides.map(|side| disable(side, Disable::Plain));
        }
        let start = Instant::now();
        // A copy whose daemon does not follow stays; with no primary left nobody works on it.
        for (side, primary) in sides.into_iter().zip(was_primary) {
            while !primary
                && side.pool.open_read_only(&self.name).is_ok()
                && start.elapsed() < Duration::from_secs(4)
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            disable(side, Disable::Force);
            let _ = side.pool.remove_image(&self.name);
        }
    }
}

/// A page of data that tells its number.
pub fn pattern(number: u8) -> Vec<u8> {
    vec![number; 4096]
}
