//! Asking the other sites whether a group is still this zone's, while etcd does not answer.

use futures::future::join_all;
use rekindle_common::{
    ApiError, SiteName,
    duration::Span,
    zone::{FailsafeAnswer, FailsafeQuestion},
};
use rekindle_net::OrchestratorClient;
use std::{collections::BTreeSet, future::Future};

/// One other site.
#[derive(Debug, Clone)]
pub struct OtherSite {
    /// Its name: an answer in another's name does not count.
    pub site: SiteName,
    /// Its orchestrator.
    pub client: OrchestratorClient,
}

/// All other sites.
pub trait OtherSites: Send + Sync + 'static {
    /// Their names: every one of them has to confirm.
    fn names(&self) -> BTreeSet<SiteName>;

    /// Asks all of them at once. Ends within a few seconds, whoever is silent.
    fn ask(
        &self,
        question: &FailsafeQuestion,
    ) -> impl Future<Output = Vec<Result<FailsafeAnswer, ApiError>>> + Send;
}

impl OtherSites for Vec<OtherSite> {
    fn names(&self) -> BTreeSet<SiteName> {
        self.iter().map(|s| s.site.clone()).collect()
    }

    async fn ask(&self, question: &FailsafeQuestion) -> Vec<Result<FailsafeAnswer, ApiError>> {
        join_all(self.iter().map(|s| s.client.failsafe(question))).await
    }
}

/// Whether every other site has bound itself, for as long as `promise` at least: a right may not outlast what its promise was
/// reckoned from. Without other sites nobody has: a zone alone proves nothing.
pub(super) fn all_confirmed(
    others: &BTreeSet<SiteName>,
    answers: &[Result<FailsafeAnswer, ApiError>],
    promise: Span,
) -> bool {
    let confirmed: BTreeSet<&SiteName> = answers
        .iter()
        .filter_map(|a| match a {
            Ok(FailsafeAnswer::StillYours { site, lasts }) => {
                lasts.is_none_or(|l| l >= promise).then_some(site)
            }
            Ok(FailsafeAnswer::EtcdIsWell { .. } | FailsafeAnswer::NotYours { .. }) | Err(_) => {
                None
            }
        })
        .collect();
    !others.is_empty() && others.iter().all(|o| confirmed.contains(o))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{ErrorCode, Generation};

    #[test]
    fn only_all_other_sites_together_confirm() {
        let site = |s: &str| SiteName::new(s).unwrap();
        let promise = Span::secs(50);
        let bound = |s: &str, lasts| {
            Ok(FailsafeAnswer::StillYours {
                site: site(s),
                lasts,
            })
        };
        let yes = |s: &str| bound(s, Some(promise));
        let others = BTreeSet::from([site("zone-b"), site("witness")]);
        let all = |answers: &[_]| all_confirmed(&others, answers, promise);
        assert!(all(&[yes("zone-b"), yes("witness")]));
        assert!(all(&[yes("zone-b"), bound("witness", None)]));
        let well = Ok(FailsafeAnswer::EtcdIsWell {
            site: site("witness"),
        });
        let not = Ok(FailsafeAnswer::NotYours {
            site: site("witness"),
            generation: Generation(2),
        });
        let silent = Err(ApiError::new(ErrorCode::SidecarUnreachable, "silent"));
        // The ttl was raised, and the witness had not read that when it lost etcd.
        let shorter = bound("witness", Some(Span::secs(49)));
        for second in [well, not, silent, shorter, yes("zone-b"), yes("zone-a")] {
            assert!(!all(&[yes("zone-b"), second]));
        }
        assert!(!all_confirmed(&BTreeSet::new(), &[], promise));
    }
}
