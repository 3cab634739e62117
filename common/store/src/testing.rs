//! A real etcd on loopback for tests: Debian's `etcd-server`, free ports, a folder of its own, killed on drop.

use crate::{EtcdConfig, EtcdStore, Store, StoreError, TlsFiles};
use rekindle_common::duration::Span;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{self, BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// Why no etcd came up.
#[derive(Debug, thiserror::Error)]
pub enum TestEtcdError {
    /// A process or a file.
    #[error("etcd for tests: {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It runs and does not answer; the text is the end of its log.
    #[error("etcd for tests did not become healthy in time; its log ends in: {log}")]
    NotHealthy {
        /// The end of the log.
        log: String,
        /// What the last call said.
        source: StoreError,
    },
}

fn io(what: &'static str) -> impl FnOnce(io::Error) -> TestEtcdError {
    move |source| TestEtcdError::Io { what, source }
}

struct Member {
    child: Option<Child>,
    args: Vec<String>,
    client_url: String,
}

/// An etcd cluster of one or more members.
pub struct TestEtcd {
    members: Vec<Member>,
    folder: TempDir,
    client_tls: Option<TlsFiles>,
    disk: Option<SmallDisk>,
}

/// Options that differ from etcd's own.
#[derive(Debug, Clone, Default)]
pub struct TestEtcdOptions {
    /// The database's quota in bytes; `None` for etcd's default.
    pub quota_bytes: Option<u64>,
    /// Every member's data on one small file system of this size, which a test can fill; needs root.
    pub disk_mib: Option<u32>,
    /// The members' certificate; with it, clients must show one of the same authority.
    pub tls: Option<TlsFiles>,
    /// What [`TestEtcd::store`] shows; needed with `tls`.
    pub client_tls: Option<TlsFiles>,
}

/// A small file system over the members' folder, in a mount namespace of its own: it goes when its keeper does.
#[derive(Debug)]
struct SmallDisk {
    keeper: Child,
    /// The folder as it is seen from outside the namespace.
    outside: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path, mib: u32) -> Result<Self, TestEtcdError> {
        let at = folder.display();
        // Says "ready" when it is mounted, and then keeps the namespace.
        let script = format!(
            "mount -t tmpfs -o size={mib}m small '{at}' && echo ready && exec sleep infinity"
        );
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io("make a mount namespace: util-linux and root are needed"))?;
        let mut said = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out)
                .read_line(&mut said)
                .map_err(io("hear from the mount"))?;
        }
        let outside = format!("/proc/{}/root{at}", keeper.id()).into();
        let disk = Self { keeper, outside };
        if said.trim() != "ready" {
            let e = io::Error::other("mount was refused: root is needed");
            return Err(io("mount a small disk")(e));
        }
        Ok(disk)
    }
    /// A command inside the namespace.
    fn command(&self, program: &str) -> Command {
        let mut c = Command::new("nsenter");
        c.args([
            "--mount",
            "--target",
            &self.keeper.id().to_string(),
            program,
        ]);
        c
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn free_port() -> io::Result<u16> {
    // Another process may take it before etcd does: `start` tries again with others.
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl TestEtcd {
    /// Starts `n` members and waits until a majority answers.
    ///
    /// # Errors
    /// [`TestEtcdError`], with the end of the log where it does not come up.
    pub async fn start(n: usize) -> Result<Self, TestEtcdError> {
        Self::start_with(n, TestEtcdOptions::default()).await
    }

    /// As [`Self::start`], with options.
    ///
    /// # Errors
    /// [`TestEtcdError`].
    pub async fn start_with(n: usize, options: TestEtcdOptions) -> Result<Self, TestEtcdError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(n, &options).await {
                Err(TestEtcdError::NotHealthy { .. }) if tries < 4 => {}
                other => return other,
            }
        }
    }

    async fn try_start(n: usize, options: &TestEtcdOptions) -> Result<Self, TestEtcdError> {
        let folder = tempfile::Builder::new()
            .prefix("rekindle-etcd-")
            .tempdir()
            .map_err(io("make a folder"))?;
        let mut ports = Vec::with_capacity(n);
        for _ in 0..n {
            let port = || free_port().map_err(io("find a free port"));
            ports.push((port()?, port()?));
        }
        let cluster = ports
            .iter()
            .enumerate()
            .map(|(i, (_, peer))| format!("m{i}=http://127.0.0.1:{peer}"))
            .collect::<Vec<_>>()
            .join(",");
        let mut etcd = Self {
            members: Vec::with_capacity(n),
            folder,
            client_tls: options.client_tls.clone(),
            disk: None,
        };
        if let Some(mib) = options.disk_mib {
            etcd.disk = Some(SmallDisk::mount(etcd.folder.path(), mib)?);
        }
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        for (i, (client, peer)) in ports.iter().enumerate() {
            let client_url = format!("{scheme}://127.0.0.1:{client}");
            let peer_url = format!("http://127.0.0.1:{peer}");
            let mut args: Vec<String> = [
                ("--name", format!("m{i}")),
                ("--data-dir", etcd.path(&format!("m{i}"))),
                ("--listen-client-urls", client_url.clone()),
                ("--advertise-client-urls", client_url.clone()),
                ("--listen-peer-urls", peer_url.clone()),
                ("--initial-advertise-peer-urls", peer_url),
                ("--initial-cluster", cluster.clone()),
                ("--initial-cluster-state", "new".to_owned()),
                ("--heartbeat-interval", "50".to_owned()),
                ("--election-timeout", "500".to_owned()),
            ]
            .into_iter()
            .flat_map(|(k, v)| [k.to_owned(), v])
            .collect();
            if let Some(quota) = options.quota_bytes {
                args.extend(["--quota-backend-bytes".to_owned(), quota.to_string()]);
            }
            if let Some(tls) = &options.tls {
                for (flag, file) in [
                    ("--cert-file", &tls.cert),
                    ("--key-file", &tls.key),
                    ("--trusted-ca-file", &tls.ca),
                ] {
                    args.extend([flag.to_owned(), file.display().to_string()]);
                }
                args.push("--client-cert-auth".to_owned());
            }
            etcd.members.push(Member {
                child: None,
                args,
                client_url,
            });
            etcd.start_member(i)?;
        }
        etcd.wait_healthy(Duration::from_secs(20)).await?;
        Ok(etcd)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Starts a member that was killed.
    ///
    /// # Errors
    /// [`TestEtcdError`] where the process cannot be started.
    pub fn start_member(&mut self, i: usize) -> Result<(), TestEtcdError> {
        let log = std::fs::File::create(self.path(&format!("m{i}.log")))
            .map_err(io("make a log file"))?;
        let member = &mut self.members[i];
        let mut etcd = match &self.disk {
            Some(disk) => disk.command("etcd"),
            None => Command::new("etcd"),
        };
        let child = etcd
            .args(&member.args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|p| ("PATH", p)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(io("start etcd: is Debian's etcd-server installed?"))?;
        member.child = Some(child);
        Ok(())
    }

    async fn wait_healthy(&self, within: Duration) -> Result<(), TestEtcdError> {
        let config = EtcdConfig {
            member_deadline: Span::millis(500),
            call_deadline: Span::millis(1500),
            ..self.config()
        };
        let until = Instant::now() + within;
        loop {
            let healthy = match EtcdStore::connect(&config).await {
                Ok(store) => store.healthy().await,
                Err(e) => Err(e),
            };
            match healthy {
                Ok(()) => return Ok(()),
                Err(source) if Instant::now() > until => {
                    return Err(TestEtcdError::NotHealthy {
                        log: tail(&self.folder.path().join("m0.log")),
                        source,
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Where the small disk's files are, to fill it and to make room; `None` where there is no such disk.
    #[must_use]
    pub fn disk(&self) -> Option<&Path> {
        self.disk.as_ref().map(|d| d.outside.as_path())
    }
    /// Whether a member's process has ended by itself.
    pub fn has_died(&mut self, i: usize) -> bool {
        let child = self.members[i].child.as_mut();
        child.is_some_and(|c| matches!(c.try_wait(), Ok(Some(_))))
    }

    /// How to reach it, first member first.
    #[must_use]
    pub fn config(&self) -> EtcdConfig {
        EtcdConfig {
            tls: self.client_tls.clone(),
            ..EtcdConfig::new(self.members.iter().map(|m| m.client_url.clone()).collect())
        }
    }

    /// A store on it, as a site beside member `local` has.
    ///
    /// # Errors
    /// [`StoreError::Config`].
    pub async fn store(&self, local: usize) -> Result<Store, StoreError> {
        let mut config = self.config();
        config.endpoints.rotate_left(local);
        EtcdStore::connect(&config).await.map(Store::from)
    }

    /// Kills a member with SIGKILL.
    pub fn kill(&mut self, i: usize) {
        if let Some(mut child) = self.members[i].child.take() {
            // A stopped process dies of SIGKILL as well; it is ours, so it can be killed, or is dead already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, i: usize, signal: Signal) -> io::Result<()> {
        let pid = self.members[i]
            .child
            .as_ref()
            .and_then(|c| i32::try_from(c.id()).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("this member does not run"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Stops a member with SIGSTOP: its sockets stay open and say nothing.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pause(&self, i: usize) -> io::Result<()> {
        self.signal(i, Signal::STOP)?;
        let pid = self.members[i].child.as_ref().map_or(0, Child::id);
        // Sent is not stopped: on a busy machine one of its threads may still answer.
        while !is_stopped(pid)? {
            std::thread::yield_now();
        }
        Ok(())
    }
    /// Ends [`Self::pause`].
    ///
    /// # Errors
    /// Where it does not run.
    pub fn resume(&self, i: usize) -> io::Result<()> {
        self.signal(i, Signal::CONT)
    }
}

/// Whether all threads of a process are stopped.
fn is_stopped(pid: u32) -> io::Result<bool> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended meanwhile answers nothing either.
        let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else {
            continue;
        };
        // The state follows the name, which stands in brackets and may hold any character.
        let state = stat.rsplit(") ").next().unwrap_or_default();
        if !state.starts_with(['T', 't']) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for TestEtcd {
    fn drop(&mut self) {
        for i in 0..self.members.len() {
            self.kill(i);
        }
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let skip = text.lines().count().saturating_sub(5);
    text.lines().skip(skip).collect::<Vec<_>>().join("\n")
}
