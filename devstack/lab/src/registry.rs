//! Which lab numbers are taken on this machine.
//!
//! Several labs may run at once, so each takes a number (its subnet, or its block of ports) under a
//! lock. An entry names the lab's folder; it counts for as long as that folder holds that lab.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, LabError, Result};
use crate::layout::{Layout, write_whole};
use crate::net::{NUMBERS, Net};
use crate::process::ProcId;
use crate::state::{NetMode, State};

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    root: PathBuf,
    uuid: String,
    /// The test that owns the lab; the lab is rubbish once that process is gone.
    owner: Option<ProcId>,
}

/// The machine's list of labs, for one user.
#[derive(Debug)]
pub(crate) struct Registry {
    dir: PathBuf,
}

impl Registry {
    pub(crate) fn open() -> Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        Self::at(std::env::temp_dir().join(format!("rekindle-labs-{uid}")))
    }

    fn at(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Takes a free number for the lab.
    pub(crate) fn claim(
        &self,
        root: &Path,
        uuid: &str,
        mode: NetMode,
        owner: Option<ProcId>,
    ) -> Result<u8> {
        let _lock = self.lock()?;
        for number in 0..NUMBERS {
            if self.is_taken(number) || !Net::new(mode, number).is_free()? {
                continue;
            }
            self.write(number, root, uuid, owner)?;
            return Ok(number);
        }
        Err(LabError::NoFreeNumber { tried: NUMBERS })
    }

    /// Makes sure of the number of a lab that was made before: after a restart of the machine the list
    /// may be empty, and the number another lab's.
    pub(crate) fn keep(&self, number: u8, root: &Path, uuid: &str, mode: NetMode) -> Result<()> {
        let _lock = self.lock()?;
        if self.read(number).is_some_and(|e| e.uuid == uuid) {
            return Ok(());
        }
        if self.is_taken(number) || !Net::new(mode, number).is_free()? {
            return Err(LabError::BadInput(format!(
                "this lab has the number {number}, which is in use by another now: take one of them down"
            )));
        }
        self.write(number, root, uuid, None)
    }

    /// Gives the number back.
    pub(crate) fn release(&self, number: u8, uuid: &str) -> Result<()> {
        let _lock = self.lock()?;
        if self.read(number).is_some_and(|e| e.uuid == uuid) {
            let path = self.path(number);
            fs::remove_file(&path).context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }

    /// The folders of labs whose owning test died without taking them down.
    pub(crate) fn abandoned(&self) -> Vec<PathBuf> {
        (0..NUMBERS)
            .filter_map(|n| self.read(n))
            .filter(|e| e.owner.is_some_and(|o| !o.is_alive()) && holds(e))
            .map(|e| e.root)
            .collect()
    }

    fn write(&self, number: u8, root: &Path, uuid: &str, owner: Option<ProcId>) -> Result<()> {
        let entry = Entry {
            root: root.to_owned(),
            uuid: uuid.to_owned(),
            owner,
        };
        let path = self.path(number);
        let text = serde_json::to_string(&entry).map_err(|e| LabError::BadState {
            path: path.clone(),
            why: e.to_string(),
        })?;
        write_whole(&path, &text)
    }

    fn is_taken(&self, number: u8) -> bool {
        self.read(number).is_some_and(|e| {
            // Claimed a moment ago: its folder has no record yet, but its maker is at work.
            holds(&e) || e.owner.is_some_and(ProcId::is_alive) || self.is_fresh(number)
        })
    }

    fn is_fresh(&self, number: u8) -> bool {
        fs::metadata(self.path(number))
            .and_then(|m| m.modified())
            .is_ok_and(|t| t.elapsed().is_ok_and(|age| age.as_secs() < 60))
    }

    fn read(&self, number: u8) -> Option<Entry> {
        serde_json::from_str(&fs::read_to_string(self.path(number)).ok()?).ok()
    }

    fn path(&self, number: u8) -> PathBuf {
        self.dir.join(format!("{number}.json"))
    }

    fn lock(&self) -> Result<File> {
        lock_file(&self.dir.join("lock"))
    }
}

fn holds(entry: &Entry) -> bool {
    Layout::open(&entry.root)
        .and_then(|l| State::load(&l))
        .is_ok_and(|s| s.is_some_and(|s| s.uuid == entry.uuid))
}

/// Waits for the lock; it is given back when the file is dropped, or its process dies.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    let file = open_lock(path)?;
    file.lock()
        .context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// The lock, unless somebody has it.
pub(crate) fn try_lock_file(path: &Path) -> Result<Option<File>> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(LabError::Io {
            what: format!("locking {}", path.display()),
            source,
        }),
    }
}

fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_labs_never_get_one_number() {
        let tmp = tempfile::tempdir().unwrap();
        let registry = Registry::at(tmp.path().join("labs")).unwrap();
        let first = registry
            .claim(&tmp.path().join("one"), "u1", NetMode::Loopback, None)
            .unwrap();
        let second = registry
            .claim(&tmp.path().join("two"), "u2", NetMode::Loopback, None)
            .unwrap();
        assert_ne!(first, second);
        registry.release(first, "not-mine").unwrap();
        let third = registry
            .claim(&tmp.path().join("three"), "u3", NetMode::Loopback, None)
            .unwrap();
        assert!(
            third != first && third != second,
            "a stranger's release must not free a number"
        );
        registry.release(first, "u1").unwrap();
        let again = registry
            .claim(&tmp.path().join("four"), "u4", NetMode::Loopback, None)
            .unwrap();
        assert_eq!(again, first);
    }

    #[test]
    fn a_lab_whose_test_died_is_known_as_abandoned() {
        let tmp = tempfile::tempdir().unwrap();
        let registry = Registry::at(tmp.path().join("labs")).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let root = tmp.path().join("lab");
        let layout = Layout::create(&root).unwrap();
        let owner = ProcId::of(child.id());
        let number = registry
            .claim(&root, "u1", NetMode::Loopback, owner)
            .unwrap();
        let state = State {
            version: State::VERSION,
            uuid: "u1".into(),
            number,
            options: crate::LabOptions {
                net: NetMode::Loopback,
                osd_mib: 8192,
                cloud: crate::Cloud::None,
            },
            fsids: std::collections::BTreeMap::new(),
            complete: false,
        };
        state.save(&layout).unwrap();
        assert!(registry.abandoned().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(registry.abandoned(), [root]);
        // Its number is taken for as long as its record is there.
        let next = registry
            .claim(&tmp.path().join("x"), "u2", NetMode::Loopback, None)
            .unwrap();
        assert_ne!(next, number);
        registry
            .keep(number, layout.root(), "u1", NetMode::Loopback)
            .unwrap();
        assert!(
            registry
                .keep(next, layout.root(), "u1", NetMode::Loopback)
                .is_err()
        );
    }

    #[test]
    fn a_number_whose_ports_are_in_use_is_passed_over() {
        let tmp = tempfile::tempdir().unwrap();
        let registry = Registry::at(tmp.path().join("labs")).unwrap();
        let first = registry
            .claim(tmp.path(), "u1", NetMode::Loopback, None)
            .unwrap();
        registry.release(first, "u1").unwrap();
        let net = Net::new(NetMode::Loopback, first);
        let mon = net.socket(crate::Site::ZoneA, net.ports(crate::Site::ZoneA).mon);
        let _holder = std::net::TcpListener::bind(mon).unwrap();
        assert_ne!(
            registry
                .claim(tmp.path(), "u2", NetMode::Loopback, None)
                .unwrap(),
            first
        );
    }
}
