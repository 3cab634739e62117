//! Where etcd is and how it is spoken to.

use crate::StoreError;
use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use rekindle_common::{duration::Span, tls::TlsFiles};
use serde::{Deserialize, Serialize};
use std::{path::Path, time::Duration};

/// An etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// The members' client URLs, the local one first: `https://127.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// Certificates; without them the URLs are `http://`, which is for tests only.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// No call takes longer, over all members.
    #[serde(default = "default_call_deadline")]
    pub call_deadline: Span,
    /// No member is waited for longer within a call.
    #[serde(default = "default_member_deadline")]
    pub member_deadline: Span,
}

fn default_call_deadline() -> Span {
    Span::secs(4)
}
fn default_member_deadline() -> Span {
    Span::millis(1500)
}

impl EtcdConfig {
    /// Members without certificates, with the default times.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            tls: None,
            call_deadline: default_call_deadline(),
            member_deadline: default_member_deadline(),
        }
    }

    /// Checks the fields against each other. Certificates are read when it connects.
    ///
    /// # Errors
    /// [`StoreError::Config`] names the field.
    pub fn check(&self) -> Result<(), StoreError> {
        let bad = |what: String| Err(StoreError::Config { what, source: None });
        if self.endpoints.is_empty() {
            return bad("endpoints: at least one is needed".to_owned());
        }
        let scheme = if self.tls.is_some() {
            "https://"
        } else {
            "http://"
        };
        if let Some(e) = self.endpoints.iter().find(|e| !e.starts_with(scheme)) {
            return bad(format!(
                "endpoints: {e:?} does not start with {scheme}, as it must {} tls",
                if self.tls.is_some() {
                    "with"
                } else {
                    "without"
                }
            ));
        }
        if self.member_deadline.get().is_zero() || self.call_deadline < self.member_deadline {
            return bad(format!(
                "member_deadline {} is not between 0s and call_deadline {}",
                self.member_deadline, self.call_deadline
            ));
        }
        Ok(())
    }

    pub(super) async fn options(&self) -> Result<ConnectOptions, StoreError> {
        self.check()?;
        let mut options = ConnectOptions::new()
            // A member that knows no leader says so at once instead of timing out.
            .with_require_leader(true)
            .with_connect_timeout(self.member_deadline.get())
            // A stopped member keeps its sockets open: only pings find it out.
            .with_keep_alive(Duration::from_secs(2), self.member_deadline.get())
            .with_keep_alive_while_idle(true);
        if let Some(tls) = &self.tls {
            let cert = read(&tls.cert, "tls.cert").await?;
            let key = read(&tls.key, "tls.key").await?;
            let ca = read(&tls.ca, "tls.ca").await?;
            options = options.with_tls(
                TlsOptions::new()
                    .ca_certificate(Certificate::from_pem(ca))
                    .identity(Identity::from_pem(cert, key)),
            );
        }
        Ok(options)
    }
}

async fn read(path: &Path, field: &str) -> Result<Vec<u8>, StoreError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| StoreError::Config {
            what: format!("{field}: cannot read {}", path.display()),
            source: Some(source),
        })
}
