//! The last look: that what the story asked of Cinder came by the gateways, and not around them.

use super::{HOME, Story};
use crate::demo::{cinder::passed::Expected, volumes::Kind, world::DemoError};
use rekindle_lab::Site;

impl Story<'_> {
    /// Whether all of this came by the gateways.
    pub(super) async fn check_gateways(&mut self) -> Result<(), DemoError> {
        self.stage
            .phase("What came by the gateways, by their access logs");
        for site in Site::ZONES {
            let expected = self.expected(site).await?;
            let passed = self.world.passed(site).await?;
            let lacks = passed.lacks(site, &expected);
            for lack in &lacks {
                self.stage.say(format!("WRONG: {lack}"));
            }
            let found = expected.len() - lacks.len();
            self.stage.say(format!(
                "{site}: Cinder took {} requests from it; {found} of {} that the story needs are among them",
                passed.count(),
                expected.len(),
            ));
            self.report.problems.extend(lacks);
        }
        Ok(())
    }

    /// What the story asked of a zone's Cinder.
    async fn expected(&self, site: Site) -> Result<Vec<Expected>, DemoError> {
        let mut all = vec![Expected::new("GET", "volumes/detail", 1)];
        let shown = self.ours(site).await?;
        all.extend(
            shown
                .iter()
                .map(|s| Expected::new("GET", format!("volumes/{}", s.id), 1)),
        );
        if site == HOME {
            all.push(Expected::new("POST", "volumes", self.volumes.len()));
            let once = self.volumes.iter().filter(|v| v.kind == Kind::Once);
            all.extend(once.map(|v| Expected::new("POST", format!("volumes/{}/action", v.id), 1)));
            // There and back.
            all.push(Expected::new("PUT", "os-services/failover_host", 2));
        }
        Ok(all)
    }
}
