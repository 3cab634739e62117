//! Whether a server is the one that is meant, by its root volume.
//!
//! What we build bears a mark, and that is a property: everybody may write one on servers of his own, or copy it there without a thought. The
//! root volume nobody can have but a server of its own project, and that server alone. So the mark counts on a server that has it.

use super::{NovaServers, unseen};
use crate::servers::control::{ServersError, Wanted};
use rekindle_openstack::{
    CloudError,
    nova::{Mark, STANDBY_OF, Server},
};

impl NovaServers {
    /// Those of what bears the mark that have the root volume.
    pub(super) async fn with_its_root(
        &self,
        wanted: &Wanted,
        mark: &Mark,
        marked: &[&Server],
    ) -> Result<Vec<Server>, ServersError> {
        let (mut ours, mut not_shown) = (Vec::new(), Vec::new());
        for server in marked.iter().copied() {
            let Some(root) = &wanted.root else {
                return Err(ServersError::NotNow(format!(
                    "{}: server {server} bears the property {STANDBY_OF}={mark}, and which root volume {} of group {} has there is not known: whether it is the one cannot be told",
                    self.zone(),
                    wanted.key,
                    wanted.group
                )));
            };
            match self.has(server, root).await? {
                Some(true) => ours.push(server.clone()),
                Some(false) => self.passed_over(wanted, server),
                None => not_shown.push((server, root)),
            }
        }
        if !ours.is_empty() {
            return Ok(ours);
        }
        // It may be the one that was begun a moment ago; in another project it is not.
        for (server, root) in not_shown {
            let project = self.project_of(root).await?;
            if server.project_id.as_ref() == Some(&project) {
                return Err(ServersError::NotNow(format!(
                    "{}: server {server} bears the property {STANDBY_OF}={mark}, and Nova shows no volume of it now: whether it is the one is asked again",
                    self.zone()
                )));
            }
        }
        Ok(ours)
    }

    /// Whether a server whose id is known bears the mark, and for certain does not have the root volume: it was once taken for the one by its
    /// mark alone.
    pub(super) async fn is_a_stranger(
        &self,
        wanted: &Wanted,
        server: &Server,
    ) -> Result<bool, ServersError> {
        let (Some(root), Some(mark)) = (&wanted.root, self.mark(wanted)?) else {
            return Ok(false);
        };
        Ok(server.mark() == Some(mark) && self.has(server, root).await? == Some(false))
    }

    pub(super) fn passed_over(&self, wanted: &Wanted, server: &Server) {
        tracing::warn!(group = %wanted.group, server = %wanted.key, zone = %self.zone(), server.id = %server.id, volume.id = ?wanted.root, "a server bears the mark of a stand-by, and does not have its root volume: it is none");
    }

    /// Whether a server has a volume; none: it has none at all now.
    async fn has(&self, server: &Server, volume: &str) -> Result<Option<bool>, ServersError> {
        if let Some(has) = server.has_volume(volume) {
            return Ok(Some(has));
        }
        // Where a cell's database is slow Nova leaves the volumes out of a server in silence; asked for alone they are an error then.
        match self.home().volume_attachments(&server.id).await {
            Ok(all) if all.is_empty() => Ok(None),
            Ok(all) => Ok(Some(all.iter().any(|a| a.volume == volume))),
            Err(CloudError::NotFound { .. }) => Ok(None),
            Err(e) => Err(unseen(&e)),
        }
    }
}
