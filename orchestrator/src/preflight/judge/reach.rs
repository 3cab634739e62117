//! Whether everybody answers, knows us, and has the right time.

use super::Judge;
use crate::preflight::{GapKind, look::CloudSeen};
use jiff::SignedDuration;
use rekindle_common::ZoneName;
use rekindle_core::skew::Skew;
use rekindle_openstack::CloudError;

impl Judge<'_> {
    pub(super) fn reach(&mut self) {
        for (zone, seen) in self.seen {
            if let Err(e) = &seen.images {
                let what = format!("its sidecar does not answer: {}", e.message);
                let advice = "see that rekindle-driver runs there and that zones.ZONE.sidecar and the certificates are right";
                self.gap(GapKind::SidecarUnreachable, Some(zone), what, advice);
                self.unchecked(
                    zone,
                    "which volumes are replicated from here",
                    "its sidecar does not answer",
                );
            }
            self.clock(zone, "sidecar", seen.sidecar_clock, SignedDuration::ZERO);
            match &seen.cloud {
                None => {
                    let what = format!("clouds.{zone} is not in the configuration");
                    let advice = "add it: clouds_yaml and cloud, or auth_url, username, password_file and project; and backends";
                    self.gap(GapKind::CloudNotConfigured, Some(zone), what, advice);
                    self.unchecked(zone, "its OpenStack", "it is not configured");
                }
                Some(cloud) => self.cloud(zone, cloud),
            }
        }
    }

    fn cloud(&mut self, zone: &ZoneName, cloud: &CloudSeen) {
        match &cloud.home {
            Ok(me) => {
                let c = me.clock;
                // Keystone's clock is shown in whole seconds, so a second may be missing.
                let skew = Skew::measured(c.theirs, c.asked, c.answered);
                self.clock(zone, "Keystone", Some(skew), SignedDuration::from_secs(1));
            }
            Err(e) => {
                let (kind, advice) = kind_of(e);
                self.gap(kind, Some(zone), e.in_full(), advice);
                self.unchecked(zone, "its OpenStack", "it does not let us in");
            }
        }
        let Some(rest) = &cloud.rest else {
            return;
        };
        // Who is refused one of these is refused all: said once.
        let answers = [
            rest.projects.as_ref().err(),
            rest.types.as_ref().err(),
            rest.services.as_ref().err(),
            rest.pools.as_ref().err(),
            rest.volumes.as_ref().err(),
            rest.snapshots.as_ref().err(),
        ];
        if let Some(e) = answers.into_iter().flatten().next() {
            let (kind, advice) = kind_of(e);
            self.gap(kind, Some(zone), e.in_full(), advice);
        }
        self.known(zone, "its snapshots", &rest.snapshots);
        self.known(zone, "its volumes", &rest.volumes);
        self.known(zone, "its projects", &rest.projects);
    }

    fn clock(&mut self, zone: &ZoneName, whose: &str, skew: Option<Skew>, blur: SignedDuration) {
        let limit = self.config.times.max_skew;
        let Some(off) = skew.map(|s| s.certain().abs().saturating_sub(blur)) else {
            return;
        };
        if SignedDuration::try_from(limit.get()).is_ok_and(|limit| off > limit) {
            let what = format!(
                "the clock of its {whose} is {off:#} from this machine's; the limit is {limit} (times.max_skew)"
            );
            let advice = "`chronyc tracking` there and here says which is wrong: see that chrony runs and has a source";
            self.gap(GapKind::ClockSkew, Some(zone), what, advice);
        }
    }
}

fn kind_of(e: &CloudError) -> (GapKind, &'static str) {
    match e {
        CloudError::Unauthorized { .. } => (
            GapKind::WrongSecret,
            "check username, user_domain, project and the secret's file: `openstack token issue` with the same tells more",
        ),
        CloudError::Config { .. } => (GapKind::CloudConfiguration, "mend that field"),
        CloudError::Untrusted { .. } => (
            GapKind::CloudConfiguration,
            "name the authority that signed the cloud's certificates as clouds.ZONE.ca",
        ),
        CloudError::Forbidden { .. } => (
            GapKind::NotAdministrator,
            "give the user the role admin in the configured project, or what Cinder's policy asks for instead",
        ),
        CloudError::Unreachable { .. }
        | CloudError::Broken { .. }
        | CloudError::TimedOut { .. }
        | CloudError::Unavailable { .. }
        | CloudError::Throttled { .. } => (
            GapKind::CloudUnreachable,
            "see that Keystone and Cinder run there, and that auth_url, interface and region lead to them",
        ),
        CloudError::NotFound { .. }
        | CloudError::Invalid { .. }
        | CloudError::Conflict { .. }
        | CloudError::OverQuota { .. }
        | CloudError::TooMany { .. }
        | CloudError::Unexpected { .. } => (
            GapKind::CloudUnreachable,
            "this is not how Keystone and Cinder answer: see what auth_url leads to, and their logs",
        ),
    }
}
