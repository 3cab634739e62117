//! What can be done to a site, a service or a program of ours.

use super::cloud::Cloud;
use rekindle_lab::{Result, Site};
use std::time::Duration;

/// Mirroring comes back after that long at the latest.
const MIRRORING: Duration = Duration::from_secs(150);

/// A site as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Zone<'c> {
    pub(super) cloud: &'c Cloud,
    /// Which.
    pub site: Site,
}

impl Zone<'_> {
    /// Its power is cut: every process of it is killed at once.
    ///
    /// # Errors
    /// A process would not die.
    pub fn kill(&self) -> Result<()> {
        self.cloud.lab.kill(self.site)
    }
    /// Power is back: its services and our programs start, its writers do not.
    ///
    /// # Errors
    /// A service does not get ready.
    pub fn start(&self) -> Result<()> {
        self.cloud.lab.start(self.site)
    }
    /// Cut off from all others; inside, all goes on.
    ///
    /// # Errors
    /// The lab is on loopback.
    pub fn isolate(&self) -> Result<()> {
        tracing::info!(zone = %self.site, "isolating");
        self.cloud.lab.isolate(self.site)
    }
    /// Undoes [`Self::isolate`].
    ///
    /// # Errors
    /// The lab is on loopback.
    pub fn heal(&self) -> Result<()> {
        tracing::info!(zone = %self.site, "healing");
        self.cloud.lab.heal(self.site)
    }
    /// Waits until new images are mirrored both ways.
    ///
    /// # Errors
    /// They are not, in two and a half minutes.
    pub fn wait_mirroring(&self) -> Result<()> {
        self.cloud.lab.wait_mirroring(MIRRORING).map(drop)
    }
}

/// One service of a site.
#[derive(Debug, Clone, Copy)]
pub struct Member<'c> {
    pub(super) cloud: &'c Cloud,
    /// Where.
    pub site: Site,
    /// Which.
    pub name: &'static str,
}

impl Member<'_> {
    /// SIGKILL.
    ///
    /// # Errors
    /// It would not die.
    pub fn kill(&self) -> Result<()> {
        tracing::info!(site = %self.site, service = self.name, "killing");
        self.cloud.lab.kill_service(self.site, self.name)
    }
    /// Starts it as it was.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn start(&self) -> Result<()> {
        tracing::info!(site = %self.site, service = self.name, "starting");
        self.cloud.lab.start_service(self.site, self.name)
    }
    /// SIGSTOP: connections stay open, nothing answers.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        tracing::info!(site = %self.site, service = self.name, "pausing");
        self.cloud.lab.pause_service(self.site, self.name)
    }
    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        tracing::info!(site = %self.site, service = self.name, "resuming");
        self.cloud.lab.resume_service(self.site, self.name)
    }
}

/// A program of ours.
#[derive(Debug, Clone, Copy)]
pub struct Program<'c>(pub(super) Member<'c>);

impl Program<'_> {
    /// Its process; `None` while it does not run.
    ///
    /// # Errors
    /// The lab's notes cannot be read.
    pub fn pid(&self) -> Result<Option<u32>> {
        self.0.cloud.lab.pid(self.0.site, self.0.name)
    }
    /// Its log of this scenario, whole.
    #[must_use]
    pub fn log(&self) -> String {
        let path = self.0.cloud.log(self.0.site, self.0.name);
        std::fs::read_to_string(path).unwrap_or_default()
    }
    /// SIGKILL.
    ///
    /// # Errors
    /// It would not die.
    pub fn kill(&self) -> Result<()> {
        self.0.kill()
    }
    /// Starts it as it was.
    ///
    /// # Errors
    /// Its program is gone.
    pub fn start(&self) -> Result<()> {
        self.0.start()
    }
    /// SIGSTOP.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.0.pause()
    }
    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.0.resume()
    }
}
