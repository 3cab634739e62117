//! The orchestrators of all sites, of whom one leads.

use crate::{Client, ClientLimits, OrchestratorClient};
use futures::stream::{FuturesUnordered, StreamExt};
use rekindle_common::{ApiError, ErrorCode, SiteName, tls::TlsFiles};

/// Those that this program's configuration names, and a way to a leader that it does not name.
#[derive(Debug, Clone, Default)]
pub struct Orchestrators {
    known: Vec<(SiteName, OrchestratorClient)>,
    beyond: Option<(TlsFiles, ClientLimits)>,
}

impl Orchestrators {
    /// These. `beyond` is what a leader is reached with that is none of them, at the address that they give.
    #[must_use]
    pub fn new(
        known: Vec<(SiteName, OrchestratorClient)>,
        beyond: Option<(TlsFiles, ClientLimits)>,
    ) -> Self {
        Self { known, beyond }
    }

    /// Whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Who leads, by the first that knows. All are asked at once, so that a dead site costs no time.
    ///
    /// # Errors
    /// `unavailable`: nobody was reached, and why not; `not_leader`: nobody leads at the moment.
    pub async fn leader(&self) -> Result<OrchestratorClient, ApiError> {
        let mut answers: FuturesUnordered<_> = self
            .known
            .iter()
            .map(|(site, client)| async move { (site, client.leader().await) })
            .collect();
        let mut silent = Vec::new();
        while let Some((site, answer)) = answers.next().await {
            match answer {
                Ok(answer) => {
                    if let Some(leader) = answer.leader {
                        return self.reach(&leader.site, leader.url.as_deref());
                    }
                }
                Err(e) => silent.push(format!("{site}: {}", e.message)),
            }
        }
        if silent.len() == self.known.len() {
            return Err(ApiError::new(
                ErrorCode::Unavailable,
                format!("no orchestrator was reached ({})", silent.join("; ")),
            ));
        }
        Err(ApiError::new(
            ErrorCode::NotLeader,
            "no orchestrator leads at the moment",
        ))
    }

    fn reach(&self, site: &SiteName, url: Option<&str>) -> Result<OrchestratorClient, ApiError> {
        if let Some((_, client)) = self.known.iter().find(|(s, _)| s == site) {
            return Ok(client.clone());
        }
        match (url, &self.beyond) {
            (Some(url), Some((files, limits))) => Ok(Client::mtls(url, files, *limits)?.into()),
            (None, _) | (_, None) => Err(ApiError::new(
                ErrorCode::Unavailable,
                format!(
                    "{site} leads, and its address is not known: give every site's url in the orchestrators' configuration"
                ),
            )),
        }
    }
}
