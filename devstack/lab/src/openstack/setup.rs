//! What a zone's cinder-volume runs as: alone, or as two members of a cluster (active/active).

use serde::{Deserialize, Serialize};

use super::Backend;
use super::backend::is_plain;
use crate::error::{LabError, Result};
use crate::site::Site;

/// The service.
pub(crate) const BINARY: &str = "cinder-volume";

/// What is recorded of it. Alone it is the bare list of backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Setup {
    /// One cinder-volume.
    Alone(Vec<Backend>),
    /// Two of them in a cluster of that name, with the same backends.
    Cluster {
        cluster: String,
        backends: Vec<Backend>,
    },
}

impl Setup {
    pub(crate) fn backends(&self) -> &[Backend] {
        match self {
            Self::Alone(backends) | Self::Cluster { backends, .. } => backends,
        }
    }

    pub(crate) fn cluster(&self) -> Option<&str> {
        match self {
            Self::Alone(_) => None,
            Self::Cluster { cluster, .. } => Some(cluster),
        }
    }

    /// Refuses what would make another file of `cinder.conf` than was meant.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(name) = self.cluster().filter(|name| !is_plain(name)) {
            return Err(LabError::BadInput(format!(
                "`{name}` is no name for a cluster: letters, digits, `-` and `_`, 64 at most"
            )));
        }
        let backends = self.backends();
        if backends.is_empty() {
            return Err(LabError::BadInput("cinder-volume needs a backend".into()));
        }
        for (at, backend) in backends.iter().enumerate() {
            backend.check()?;
            if backends.iter().take(at).any(|b| b.name() == backend.name()) {
                return Err(LabError::BadInput(format!(
                    "two backends are named {}",
                    backend.name()
                )));
            }
        }
        Ok(())
    }

    /// The hosts of its services, as Cinder names them.
    fn hosts(&self, site: Site) -> Vec<String> {
        let second = second_host(site);
        let members = match self {
            Self::Alone(_) => vec![site.name()],
            Self::Cluster { .. } => vec![site.name(), second.as_str()],
        };
        let of = |host: &str| {
            let names = self.backends().iter().map(Backend::name);
            names.map(|b| format!("{host}@{b}")).collect::<Vec<_>>()
        };
        members.into_iter().flat_map(of).collect()
    }

    /// Removes from Cinder's list of services what is no more, as `cinder-manage service remove` does in four seconds each.
    /// Until a service counts as dead the scheduler sends volumes to it, and they stay `creating` for ever. One that left
    /// its cluster has to be made anew: Cinder never takes a service's row out of one.
    pub(super) fn forget_sql(&self, site: Site) -> String {
        let kept: Vec<String> = self.hosts(site).iter().map(|h| format!("'{h}'")).collect();
        let kept = kept.join(", ");
        let (strangers, rest) = match self {
            Self::Alone(_) => ("cluster_name IS NOT NULL".to_owned(), NO_CLUSTER.to_owned()),
            Self::Cluster { cluster, .. } => (
                format!("SUBSTRING_INDEX(cluster_name, '@', 1) <> '{cluster}'"),
                format!("DELETE FROM clusters WHERE SUBSTRING_INDEX(name, '@', 1) <> '{cluster}'"),
            ),
        };
        format!(
            "UPDATE services SET deleted = 1, deleted_at = UTC_TIMESTAMP() \
             WHERE deleted = 0 AND `binary` = '{BINARY}' AND (host NOT IN ({kept}) OR {strangers}); {rest}"
        )
    }
}

/// No cluster is left, and what was in one is a host's again.
pub(super) const NO_CLUSTER: &str = "DELETE FROM clusters; \
     UPDATE volumes SET cluster_name = NULL WHERE cluster_name IS NOT NULL; \
     UPDATE `groups` SET cluster_name = NULL WHERE cluster_name IS NOT NULL";

/// The host that the second member calls itself: two of one name would be one service.
pub(crate) fn second_host(site: Site) -> String {
    format!("{site}-2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> Setup {
        Setup::Cluster {
            cluster: name.to_owned(),
            backends: vec![Backend::named("one")],
        }
    }

    #[test]
    fn only_backends_that_are_no_more_are_forgotten() {
        let alone = Setup::Alone(vec![Backend::named("one"), Backend::named("two")]);
        let sql = alone.forget_sql(Site::ZoneA);
        let kept = "(host NOT IN ('zone-a@one', 'zone-a@two') OR cluster_name IS NOT NULL)";
        assert!(sql.contains(kept), "{sql}");
        assert!(sql.contains("DELETE FROM clusters;"), "{sql}");
    }

    #[test]
    fn a_cluster_keeps_both_members_and_what_is_to_be_taken_in() {
        let sql = cluster("both").forget_sql(Site::ZoneB);
        // A row without a cluster compares as unknown, and stays: Cinder takes it and its volumes in.
        let kept = "(host NOT IN ('zone-b@one', 'zone-b-2@one') OR SUBSTRING_INDEX(cluster_name, '@', 1) <> 'both')";
        assert!(sql.contains(kept), "{sql}");
        assert!(!sql.contains("UPDATE volumes"), "{sql}");
    }

    #[test]
    fn what_was_recorded_before_there_were_clusters_is_read_as_alone() {
        let alone = Setup::Alone(vec![Backend::named("one").set("key", "value")]);
        for setup in [alone, cluster("both")] {
            let text = serde_json::to_string(&setup).unwrap();
            assert_eq!(
                serde_json::from_str::<Setup>(&text).unwrap(),
                setup,
                "{text}"
            );
        }
        let old = r#"[{"name":"rbd","options":[["rbd_pool","volumes"]]}]"#;
        let read: Setup = serde_json::from_str(old).unwrap();
        assert_eq!(read.cluster(), None);
        assert_eq!(read.backends().len(), 1);
    }

    #[test]
    fn what_would_break_the_file_is_refused() {
        let named = Backend::named;
        let good = Setup::Alone(vec![named("rekindle"), named("upstream")]);
        assert!(good.check().is_ok());
        assert!(cluster("both").check().is_ok());
        for bad in [
            Setup::Alone(vec![]),
            Setup::Alone(vec![named("a"), named("a")]),
            Setup::Alone(vec![named("DEFAULT")]),
            Setup::Alone(vec![named("two words")]),
            Setup::Alone(vec![named("a").set("key", "x\n[DEFAULT]")]),
            Setup::Alone(vec![named("a").set("k = v", "x")]),
            cluster(""),
            cluster("two words"),
            cluster("it's"),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
