//! A gateway on a free port, a stub that stands where Cinder does, and a client that writes bytes.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

pub mod cloud;
pub mod openapi;
pub mod raw;
pub mod scene;
pub mod sidecar;
pub mod stub;

use rekindle_gateway::{Gateway, config::Config};
use rekindle_net::Drained;
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A condition that a test waits for is met by then, or never.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for it, and not for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it did not happen in time")
}

/// A gateway that runs.
pub struct Running {
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
}

/// In front of that address, with more of its configuration: lines of `[limits]`, then other tables.
pub async fn gateway(upstream: SocketAddr, upstream_lines: &str, more: &str) -> Running {
    let text = format!(
        "zone = \"zone-a\"\n[listen]\naddress = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n\
         [upstream]\nurl = \"http://{upstream}\"\n{upstream_lines}\n{more}"
    );
    gateway_of(&text).await
}

pub async fn gateway_of(text: &str) -> Running {
    let config: Config = toml::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    config.check().unwrap();
    let gateway = Gateway::bind(&config).await.unwrap();
    let (address, metrics) = (gateway.address(), gateway.metrics_address().unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(gateway.run(stop.clone()));
    Running {
        address,
        metrics,
        stop,
        task,
    }
}

impl Running {
    /// Tells it to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// How it ended.
    pub async fn ended(self) -> Drained {
        soon(self.task).await.unwrap()
    }

    /// A page of its own listener: the status and the text.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let answer = raw::ask(self.metrics, &raw::get(path)).await;
        (answer.status, answer.text())
    }

    /// One of its metrics, by the beginning of its line.
    pub async fn metric(&self, begins: &str) -> Option<f64> {
        let (_, text) = self.page("/metrics").await;
        let line = text.lines().find(|l| l.starts_with(begins))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    /// Waits until one of its metrics has that value.
    pub async fn has_metric(&self, begins: &str, value: f64) {
        soon(async {
            while self.metric(begins).await != Some(value) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
