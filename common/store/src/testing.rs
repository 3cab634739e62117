//! A real etcd on loopback for tests: Debian's `etcd-server`, free ports, a folder of its own, killed on drop.

use crate::{EtcdConfig, EtcdStore, Store, StoreError, TlsFiles};
use rekindle_common::duration::Span;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io,
    net::TcpListener,
    path::Path,
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
}

/// Options that differ from etcd's own.
#[derive(Debug, Clone, Default)]
pub struct TestEtcdOptions {
    /// The database's quota in bytes; `None` for etcd's default.
    pub quota_bytes: Option<u64>,
    /// The members' certificate; with it, clients must show one of the same authority.
    pub tls: Option<TlsFiles>,
    /// What [`TestEtcd::store`] shows; needed with `tls`.
    pub client_tls: Option<TlsFiles>,
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
        };
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
        let child = Command::new("etcd")
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
        self.signal(i, Signal::STOP)
    }
    /// Ends [`Self::pause`].
    ///
    /// # Errors
    /// Where it does not run.
    pub fn resume(&self, i: usize) -> io::Result<()> {
        self.signal(i, Signal::CONT)
    }
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
