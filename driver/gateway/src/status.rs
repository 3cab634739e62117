//! The replication status in Cinder's bodies: `rekindle:status`, `rekindle:mode`, `rekindle:peer`, `rekindle:last_sync`, `rekindle:lag`.
//!
//! ```text
//!   body ── splice: where its volumes stand ── names: which image each has ── listed: what the sidecar says of it
//!        ── splice: the fields put in ── client
//!   query with a field of ours ── query ── page: Cinder's pages collected, filtered, ordered, cut
//! ```
//!
//! Which volumes a user sees is Cinder's to say, for the bodies are Cinder's: nothing is added to what is not in them.

mod fields;
mod filter;
mod listed;
mod names;
mod page;
mod query;
mod scan;
mod splice;

use crate::{config::StatusConfig, exchange::kib, metrics::Metrics};
pub(crate) use fields::Told;
#[cfg(test)]
pub(crate) use fields::tests::report;
use hyper::Method;
use listed::{List, Listed, Rows};
pub(crate) use names::{Members, Names, Under};
pub(crate) use page::{Collected, Page, next_link};
pub(crate) use query::{PAGE, Query, read as read_query};
use rekindle_common::ZoneName;
use rekindle_net::SidecarClient;
pub(crate) use splice::{Added, Kind, Read, Spot, read, spliced};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For so long an answer of Cinder's waits for the names of images that are not known.
const NAMES: Duration = Duration::from_secs(3);
/// What all bodies that are held for the fields may take together, in KiB, as Cinder sent them.
const HELD: u32 = 64 * 1024;
/// For so long a body waits for its part of that.
const PLACE: Duration = Duration::from_millis(500);

/// How the status is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// A list of the sidecar's is good for so long.
    pub(crate) age: Duration,
    /// A request waits so long for one.
    pub(crate) wait: Duration,
    /// Bytes of a body.
    pub(crate) body: usize,
    /// Volumes that are collected for a query.
    pub(crate) collected: usize,
    /// Whether it stands in `replication_status` too.
    pub(crate) replication_status: bool,
}

impl Default for Settings {
    fn default() -> Self {
        StatusConfig::default().settings()
    }
}

/// What tells the status.
#[derive(Debug)]
pub(crate) struct Statuses {
    list: List,
    names: Names,
    pub(crate) settings: Settings,
    held: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
}

/// What is known of the volumes of one body, for as long as it is made.
#[derive(Debug)]
pub(crate) struct Known {
    rows: Option<Arc<Rows>>,
    under: Vec<Under>,
}

impl Known {
    /// Of each, in their order.
    pub(crate) fn told(&self) -> impl Iterator<Item = Told<'_>> {
        self.under.iter().map(|under| match (under, &self.rows) {
            (Under::Elsewhere, _) => Told::Plain,
            (Under::Gone, _) => Told::Gone,
            (Under::Unknown, _) | (Under::Image(_), None) => Told::Unknown,
            (Under::Image(image), Some(rows)) => match rows.of(image) {
                Listed::Row(row) => Told::Row(row),
                Listed::Absent => Told::Plain,
                Listed::Unknown => Told::Unknown,
            },
        })
    }
}

impl Statuses {
    pub(crate) fn new(
        sidecar: SidecarClient,
        names: Names,
        peer: Option<ZoneName>,
        settings: Settings,
        metrics: &Metrics,
    ) -> Self {
        Self {
            list: List::new(sidecar, peer, settings, metrics),
            names,
            settings,
            held: Arc::new(Semaphore::new(HELD as usize)),
            metrics: metrics.clone(),
        }
    }

    /// Something was done to a volume, or may have been.
    pub(crate) fn changed(&self, done: bool) {
        self.list.changed(done);
    }

    /// A place for a body of so many bytes; `None` where there is none in time.
    pub(crate) async fn place(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(kib(bytes)).unwrap_or(HELD).min(HELD);
        let place = Arc::clone(&self.held).acquire_many_owned(kib);
        tokio::time::timeout(PLACE, place).await.ok()?.ok()
    }

    /// Looks up all volumes of a body, each of both questions once.
    pub(crate) async fn known(&self, spots: &[Spot<'_>]) -> Known {
        let (rows, under) = tokio::join!(self.list.get(), self.under(spots));
        Known { rows, under }
    }

    async fn under(&self, spots: &[Spot<'_>]) -> Vec<Under> {
        let said = |spot: &Spot<'_>| match (&spot.name_id, spot.host.is_some()) {
            (Some(name_id), true) => Some(self.names.backends.image(
                spot.host.as_deref(),
                spot.cluster.as_deref(),
                name_id.as_deref().unwrap_or(&spot.id),
            )),
            (Some(_) | None, _) => None,
        };
        let said: Vec<Option<Under>> = spots.iter().map(said).collect();
        let asked = spots.iter().zip(&said).filter(|(_, under)| under.is_none());
        let ids: Vec<&str> = asked.map(|(spot, _)| &*spot.id).collect();
        let mut looked = if ids.is_empty() {
            Vec::new()
        } else {
            self.names.of(&ids, NAMES).await
        }
        .into_iter();
        said.into_iter()
            .map(|under| under.or_else(|| looked.next()).unwrap_or(Under::Unknown))
            .collect()
    }

    /// A part of a body with the fields in its volumes.
    pub(crate) fn filled<'a>(
        &self,
        body: &[u8],
        part: std::ops::Range<usize>,
        volumes: impl IntoIterator<Item = (&'a Spot<'a>, Told<'a>)>,
        out: &mut Vec<u8>,
    ) {
        let volumes = volumes.into_iter().map(|(spot, told)| {
            let replication = match told {
                Told::Row(row) => Some(row.status.as_str()),
                Told::Unknown | Told::Gone => Some("unknown"),
                // Cinder's own word holds.
                Told::Plain => None,
            };
            let added = Added {
                fields: told.text(),
                replication: replication.filter(|_| self.settings.replication_status),
            };
            (spot, added)
        });
        spliced(body, part, volumes, out);
    }
}

/// What of volumes a request asks for, by its path behind the prefix; `None` where its answer has no place for the fields.
pub(crate) fn shows(method: &Method, path: &str) -> Option<Kind> {
    if method != Method::GET {
        return None;
    }
    let mut parts = path.strip_prefix("/v3/")?.split('/').peekable();
    if parts.peek() != Some(&"volumes") {
        parts.next()?;
    }
    match (parts.next(), parts.next(), parts.next()) {
        (Some("volumes"), None | Some("detail"), None) => Some(Kind::Page),
        (Some("volumes"), Some("summary" | ""), None) => None,
        (Some("volumes"), Some(_), None) => Some(Kind::One),
        (_, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_have_a_place_in_looks_at_volumes_alone() {
        let of = |method: &str, path| shows(&method.parse().unwrap(), path);
        for path in [
            "/v3/p/volumes",
            "/v3/volumes",
            "/v3/p/volumes/detail",
            "/v3/volumes/detail",
        ] {
            assert_eq!(of("GET", path), Some(Kind::Page), "{path}");
        }
        for path in ["/v3/p/volumes/1", "/v3/volumes/1"] {
            assert_eq!(of("GET", path), Some(Kind::One), "{path}");
        }
        for (method, path) in [
            ("HEAD", "/v3/p/volumes"),
            ("POST", "/v3/p/volumes"),
            ("GET", "/v3/p/volumes/"),
            ("GET", "/v3/p/volumes/summary"),
            ("GET", "/v3/p/volumes/1/metadata"),
            ("GET", "/v3/p/volumes/1/action/x"),
            ("GET", "/v3/p/snapshots"),
            ("GET", "/v2/p/volumes"),
            ("GET", "/v3/"),
            ("GET", "/"),
        ] {
            assert_eq!(of(method, path), None, "{method} {path}");
        }
    }
}
