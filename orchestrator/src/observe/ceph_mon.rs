//! The zone's Ceph monitors, seen directly: a TCP connection, and Ceph's own greeting on it.
//!
//! A port that is open proves little; a monitor speaks first. The messenger's greetings: `ceph v027` (v1) and
//! `ceph v2\n` (v2), Ceph's `src/msg/msgr.h` and `doc/dev/msgr2.rst`. Nothing is sent, no key is needed.

use super::{Probe, Sight};
use futures::{FutureExt, future::BoxFuture, future::join_all};
use rekindle_common::ZoneName;
use rekindle_core::observation::{Signal, SignalKind};
use std::{io, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

const GREETINGS: [&[u8]; 2] = [b"ceph v027", b"ceph v2\n"];

/// Looks at all monitors of a zone.
#[derive(Debug)]
pub struct CephMonProbe {
    zone: ZoneName,
    monitors: Vec<String>,
    deadline: Duration,
}

/// Why a monitor does not count.
#[derive(Debug, thiserror::Error)]
enum NotAMonitor {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no greeting within {0:?}")]
    Silent(Duration),
    #[error("something answers there that is no Ceph monitor")]
    Stranger,
}

impl CephMonProbe {
    /// `monitors` as `host:port`. Each is given `deadline` to connect and greet.
    #[must_use]
    pub fn new(zone: ZoneName, monitors: Vec<String>, deadline: Duration) -> Self {
        Self {
            zone,
            monitors,
            deadline,
        }
    }

    async fn greet(&self, monitor: &str) -> Result<(), NotAMonitor> {
        let greeting = async {
            let mut stream = TcpStream::connect(monitor).await?;
            let mut seen = [0u8; 9];
            let mut n = 0;
            while n < seen.len() {
                let Some(rest) = seen.get_mut(n..) else { break };
                let got = stream.read(rest).await?;
                if got == 0 {
                    break;
                }
                n += got;
                let so_far = seen.get(..n).unwrap_or_default();
                if GREETINGS.iter().any(|g| so_far.starts_with(g)) {
                    return Ok(());
                }
                if !GREETINGS.iter().any(|g| g.starts_with(so_far)) {
                    break;
                }
            }
            Err(NotAMonitor::Stranger)
        };
        timeout(self.deadline, greeting)
            .await
            .unwrap_or(Err(NotAMonitor::Silent(self.deadline)))
    }
}

impl Probe for CephMonProbe {
    fn zone(&self) -> &ZoneName {
        &self.zone
    }
    fn kinds(&self) -> &'static [SignalKind] {
        &[SignalKind::CephMon]
    }
    /// Up where a majority of the monitors greets: fewer cannot serve.
    fn look(&self) -> BoxFuture<'_, Vec<Sight>> {
        async move {
            let looks = join_all(
                self.monitors
                    .iter()
                    .map(|m| async move { (m, self.greet(m).await) }),
            )
            .await;
            let up = looks.iter().filter(|(_, r)| r.is_ok()).count();
            let need = self.monitors.len() / 2 + 1;
            let faults: Vec<String> = looks
                .iter()
                .filter_map(|(m, r)| r.as_ref().err().map(|e| format!("{m}: {e}")))
                .collect();
            let mut detail = format!("{up} of {} monitors greet", self.monitors.len());
            if !faults.is_empty() {
                detail = format!("{detail}; {}", faults.join("; "));
            }
            let signal = if up >= need { Signal::Up } else { Signal::Down };
            vec![Sight {
                kind: SignalKind::CephMon,
                signal,
                detail,
            }]
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    const SOON: Duration = Duration::from_millis(300);

    /// Says `words` to whoever connects, then keeps the connection.
    async fn speaker(words: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut s, _)) = listener.accept().await {
                let _ = s.write_all(words).await;
                kept.push(s);
            }
        });
        at
    }
    async fn closed_port() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }
    async fn look(monitors: Vec<String>) -> Sight {
        let probe = CephMonProbe::new(ZoneName::new("zone-a").unwrap(), monitors, SOON);
        probe.look().await.remove(0)
    }

    #[tokio::test]
    async fn both_greetings_count_and_a_majority_is_asked_for() {
        let (v1, v2) = (speaker(b"ceph v027\0\0").await, speaker(b"ceph v2\n").await);
        let down = closed_port().await;
        assert_eq!(look(vec![v1.clone()]).await.signal, Signal::Up);
        assert_eq!(
            look(vec![v1.clone(), v2, down.clone()]).await.signal,
            Signal::Up
        );
        let sight = look(vec![v1, down.clone(), down]).await;
        assert_eq!(sight.signal, Signal::Down, "{}", sight.detail);
    }

    #[tokio::test]
    async fn an_open_port_is_no_monitor() {
        assert_eq!(look(vec![speaker(b"").await]).await.signal, Signal::Down);
        let sight = look(vec![speaker(b"SSH-2.0-OpenSSH\r\n").await]).await;
        assert_eq!(sight.signal, Signal::Down);
        assert!(sight.detail.contains("no Ceph monitor"), "{}", sight.detail);
    }
}
