//! What an image holds, and something new in it.

use super::Cloud;
use anyhow::Context;
use rekindle_lab::{OnStart, Site, Spawn};

impl Cloud {
    /// The sum over all that an image, or a snapshot of one, holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn sum(&self, site: Site, spec: &str) -> anyhow::Result<String> {
        let file = self.lab.root().join("rekindle").join("exported");
        self.lab.rbd(
            site,
            &["--no-progress", "export", spec, &file.display().to_string()],
        )?;
        let sum = std::process::Command::new("md5sum").arg(&file).output()?;
        std::fs::remove_file(&file)?;
        let text = String::from_utf8(sum.stdout)?;
        Ok(text
            .split(' ')
            .next()
            .context("md5sum prints a sum")?
            .to_owned())
    }

    /// Writes into an image what nothing else holds: so much, as `64K`.
    ///
    /// # Errors
    /// It takes no writes.
    pub fn scribble(&self, site: Site, spec: &str, much: &str) -> anyhow::Result<()> {
        let args = [
            "bench",
            "--io-type",
            "write",
            "--io-size",
            "4K",
            "--io-threads",
            "1",
            "--io-total",
            much,
            "--io-pattern",
            "rand",
            spec,
        ];
        self.lab.rbd(site, &args)?;
        Ok(())
    }

    /// The same beside what goes on, by a client of its own, which ends by itself: the name of its process, for `lab.pid`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn scribble_on(&self, site: Site, spec: &str, much: &str) -> anyhow::Result<String> {
        let conf = self.lab.zone(site)?.ceph_conf.display().to_string();
        let name = format!("scribble-{}", self.next());
        let spawn = Spawn::new("rbd")
            .args(["-c", &conf, "bench", "--io-type", "write"])
            .args(["--io-size", "4K", "--io-threads", "1"])
            .args(["--io-total", much, "--io-pattern", "rand", spec])
            .on_start(OnStart::Leave);
        self.lab.spawn(site, &name, &spawn)?;
        Ok(name)
    }
}
