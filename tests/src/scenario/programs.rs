//! Our programs, as they were built beside the test.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// Where they are.
#[derive(Debug)]
pub(super) struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// In the target folder of this test.
    ///
    /// # Errors
    /// One of them was not built: cargo builds the programs of other packages only where they are asked for.
    pub(super) fn find() -> anyhow::Result<Self> {
        let test = std::env::current_exe().context("finding this test's own program")?;
        // TARGET/PROFILE/deps/TEST
        let dir = test.parent().and_then(Path::parent).map(Path::to_owned);
        let dir = dir.with_context(|| format!("{} lies in no target folder", test.display()))?;
        let programs = Self { dir };
        for path in [
            programs.driver(),
            programs.orchestrator(),
            programs.rekindle(),
        ] {
            ensure!(
                path.is_file(),
                "{} is not there: build it with `cargo build --workspace`, as `make test` does",
                path.display()
            );
        }
        Ok(programs)
    }
    /// The sidecar.
    #[must_use]
    pub(super) fn driver(&self) -> PathBuf {
        self.dir.join("rekindle-driver")
    }
    /// The orchestrator.
    #[must_use]
    pub(super) fn orchestrator(&self) -> PathBuf {
        self.dir.join("rekindle-orchestrator")
    }
    /// The command; it has the writer too.
    #[must_use]
    pub(super) fn rekindle(&self) -> PathBuf {
        self.dir.join("rekindle")
    }
    /// The gateway in front of Cinder.
    ///
    /// # Errors
    /// It was not built; only its own scenarios need it.
    pub(super) fn gateway(&self) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("rekindle-gateway");
        ensure!(
            path.is_file(),
            "{} is not there: build it with `cargo build -p rekindle-gateway`",
            path.display()
        );
        Ok(path)
    }
}
