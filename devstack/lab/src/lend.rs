//! Running labs lent to tests, one test at a time.
//!
//! A test that ends well leaves a lab that the next one may trust. One that failed or was killed may have left anything: a backend
//! that serves the other zone, a copy that its daemon never lets go of. So the lab is marked while it is lent, the mark goes with a good
//! end only, and whoever finds it gets a lab made anew. Otherwise one failure is that of every test behind it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::{IoContext, Result};
use crate::lab::{Lab, Lent};
use crate::lifecycle::{MIRROR_DEADLINE, remove};
use crate::process::ProcId;
use crate::registry::{Registry, lock_file, try_lock_file};
use crate::run::until;
use crate::site::Site;
use crate::state::{Cloud, LabOptions};
use crate::supervise;

/// Names the folder of a running lab that tests are to use.
pub const LAB_VARIABLE: &str = "REKINDLE_LAB";
/// Keeps a test's own lab, for a look afterwards.
pub const KEEP_VARIABLE: &str = "REKINDLE_LAB_KEEP";
/// Time a test waits for a lab that another has.
const LENT_DEADLINE: Duration = Duration::from_secs(300);

impl Lab {
    /// A lab for a test: the first of the running ones that `REKINDLE_LAB` names (`:` between them) that no other test has just now;
    /// otherwise one of its own in a temporary folder, which goes when the value is dropped.
    ///
    /// A test that waited for the running one instead would be cut off by the test runner's clock, and
    /// a lab is up in ten seconds.
    ///
    /// # Errors
    /// As [`Lab::up`], and [`crate::LabError::NoLab`] when the variable names a folder without a lab.
    pub fn for_tests() -> Result<Self> {
        let offered = Self::offered()?;
        // Those with a cloud last: there are tests that have no other.
        for root in offered.plain.iter().chain(&offered.cinder) {
            if let Some(lab) = Self::borrow(root)? {
                return Ok(lab);
            }
        }
        Self::own(LabOptions::default())
    }

    /// The same with Cinder in both zones. Where another test has the last of those offered, this waits for it: one of its
    /// own would take a minute of both cores.
    ///
    /// # Errors
    /// As [`Lab::for_tests`]; there is no environment to run Cinder from; or no lab got free in five minutes.
    pub fn for_tests_with_cinder() -> Result<Self> {
        Self::for_tests_with(&Self::offered()?.cinder, "Cinder", Cloud::cinder)
    }

    /// The same with Nova in both zones. The servers that are there are the caller's to remove, see [`crate::Nova::delete_servers`].
    ///
    /// # Errors
    /// As [`Lab::for_tests_with_cinder`].
    pub fn for_tests_with_nova() -> Result<Self> {
        Self::for_tests_with(&Self::offered()?.nova, "Nova", Cloud::nova)
    }

    fn for_tests_with(
        offered: &[PathBuf],
        what: &str,
        cloud: impl FnOnce() -> Result<Cloud>,
    ) -> Result<Self> {
        if offered.is_empty() {
            return Self::own(LabOptions {
                cloud: cloud()?,
                ..LabOptions::default()
            });
        }
        until(
            &format!("a lab with {what} to get free"),
            LENT_DEADLINE,
            |last| {
                *last = format!("tests have all {} of them", offered.len());
                for root in offered {
                    if let Some(lab) = Self::borrow(root)? {
                        return Ok(Some(lab));
                    }
                }
                Ok(None)
            },
        )
    }

    /// The folders of the running labs that tests may borrow.
    fn offered() -> Result<Offered> {
        let named = env::var_os(LAB_VARIABLE).unwrap_or_default();
        let mut offered = Offered::default();
        for root in env::split_paths(&named).filter(|root| !root.as_os_str().is_empty()) {
            match Self::open(&root)?.options().cloud {
                Cloud::None => offered.plain.push(root),
                Cloud::Cinder { .. } => offered.cinder.push(root),
                Cloud::Nova { .. } => offered.nova.push(root),
            }
        }
        // Whoever wants Cinder takes one with Nova when the others are taken.
        offered.cinder.extend(offered.nova.iter().cloned());
        Ok(offered)
    }

    /// Takes a running lab for one test: every fault is undone, what the test before spawned is ended,
    /// its fences are lifted, and each Cinder serves its usual backends from its own zone. Images are left as they are: use names of your own, or
    /// [`Lab::reset_volumes`]. `None` when another test has it. Dropping the value gives it back. Where the test before failed or was
    /// killed, all of it is made anew; its logs are in `log-before`.
    ///
    /// # Errors
    /// There is no lab, or it cannot be healed.
    pub fn borrow(root: impl AsRef<Path>) -> Result<Option<Self>> {
        let mut lab = Self::open(root)?;
        let path = lab.layout.root().join("lent.lock");
        let Some(lent) = try_lock_file(&path)? else {
            return Ok(None);
        };
        let mark = lab.layout.root().join("doubtful");
        let is_doubtful = mark.exists();
        fs::write(&mark, "").context(|| format!("writing {}", mark.display()))?;
        lab.lent = Some(Lent {
            _lock: lent,
            mark,
            doubted: AtomicBool::new(false),
        });
        let _lock = lock_file(&lab.layout.root().join("lock"))?;
        if is_doubtful {
            lab.remake()?;
            return Ok(Some(lab));
        }
        lab.end_spawned()?;
        // A test that left nothing broken costs the next one nothing.
        if !lab.repair()?.is_empty() {
            lab.wait_mirroring(MIRROR_DEADLINE)?;
        }
        for site in Site::ZONES {
            lab.ceph(site, &["osd", "blocklist", "clear"])?;
        }
        lab.each_cinder(&|cinder| cinder.make_usual())?;
        lab.each_nova(&|nova| nova.make_usual())?;
        Ok(Some(lab))
    }

    /// Says that a test which has this lab failed without a panic: the next one gets it made anew. Nothing for a lab that is not lent.
    pub fn doubt(&self) {
        if let Some(lent) = &self.lent {
            lent.doubted.store(true, Ordering::Relaxed);
        }
    }

    /// A lab of the test's own in a temporary folder, even where a running one is offered.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn own(options: LabOptions) -> Result<Self> {
        for root in Registry::open()?.abandoned() {
            tracing::info!(root = %root.display(), "taking down a lab whose test died");
            if Self::down_at(&root).is_ok() {
                remove(&root)?;
            }
        }
        let mut dir = tempfile::Builder::new()
            .prefix("rekindle-lab-")
            .tempdir()
            .context(|| "making a temporary folder".into())?;
        // Kept also when it does not get up: that is when one wants to look.
        dir.disable_cleanup(is_kept());
        let owner = ProcId::of(std::process::id());
        let mut lab = Self::up_for(dir.path(), options, owner)?;
        lab.owned = Some(dir);
        Ok(lab)
    }

    /// Ends what callers spawned, and forgets it.
    fn end_spawned(&self) -> Result<()> {
        for site in Site::ALL {
            let ctx = self.ctx(site);
            for name in supervise::records(&ctx)?.into_keys() {
                if self.service(site, &name).is_none() {
                    supervise::stop(&ctx, &name, Duration::ZERO)?;
                }
            }
        }
        Ok(())
    }
}

impl Lent {
    fn give_back(self, panicking: bool) -> Result<()> {
        if panicking || self.doubted.load(Ordering::Relaxed) {
            return Ok(());
        }
        fs::remove_file(&self.mark).context(|| format!("removing {}", self.mark.display()))
    }
}

/// Running labs that tests may borrow, by what they have.
#[derive(Default)]
struct Offered {
    plain: Vec<PathBuf>,
    /// Those with Nova too, at the end.
    cinder: Vec<PathBuf>,
    nova: Vec<PathBuf>,
}

fn is_kept() -> bool {
    env::var_os(KEEP_VARIABLE).is_some()
}

impl Drop for Lab {
    fn drop(&mut self) {
        let done = match (self.owned.take(), self.lent.take()) {
            (Some(dir), _) if is_kept() => {
                tracing::info!(root = %dir.path().display(), "the lab is kept");
                Ok(())
            }
            (Some(_dir), _) => self.clear(),
            (None, Some(lent)) => self
                .end_spawned()
                .and_then(|()| lent.give_back(thread::panicking())),
            (None, None) => Ok(()),
        };
        if let Err(error) = done {
            tracing::error!(error = %error, "giving the lab back failed");
        }
    }
}
