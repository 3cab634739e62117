//! Cinder's body with the fields added: text put into its text. Nothing of it is written anew, so nothing of it changes.
//!
//! ```text
//!   {"volumes": [{"id": "…", …}, {…}], "volumes_links": […]}
//!                           ^     ^ where the fields go
//! ```
//!
//! Pure. A body that cannot be read in one way alone is `None`, and stays as it is.

use super::scan::{Keys, Scan, Word};
use serde::Deserialize;
use std::{borrow::Cow, ops::Range};

/// What an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One volume, under `volume`.
    One,
    /// A page, under `volumes`.
    Page,
}

/// One volume in a body. Its words are the body's own, where they stand there as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot<'a> {
    /// Where its object stands.
    pub(crate) at: Range<usize>,
    pub(crate) id: Cow<'a, str>,
    /// Whose backend it is on: administrators are shown it, in detail.
    pub(crate) host: Option<Cow<'a, str>>,
    pub(crate) cluster: Option<Cow<'a, str>>,
    /// The id in its image's name. `None`: it was not said; `Some(None)`: its own.
    pub(crate) name_id: Option<Option<Cow<'a, str>>>,
    /// Where the value of Cinder's `replication_status` stands.
    pub(crate) replication: Option<Range<usize>>,
}

/// A body that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read<'a> {
    pub(crate) spots: Vec<Spot<'a>>,
    /// Whether it says that there are more pages.
    pub(crate) more: bool,
    /// Whether it says how many there are.
    pub(crate) count: bool,
}

/// A key of a volume's.
#[derive(Debug, Clone, Copy)]
enum Key {
    Id,
    Host,
    Cluster,
    NameId,
    Replication,
    /// One of those that are to be added.
    Ours,
    Other,
}

impl Key {
    fn of(key: &str) -> Self {
        match key {
            "id" => Self::Id,
            "os-vol-host-attr:host" => Self::Host,
            "cluster_name" => Self::Cluster,
            "os-vol-mig-status-attr:name_id" => Self::NameId,
            "replication_status" => Self::Replication,
            ours if ours.starts_with(super::fields::PREFIX) => Self::Ours,
            _ => Self::Other,
        }
    }
}

/// Finds the volumes of a body.
pub(crate) fn read(body: &[u8], kind: Kind) -> Option<Read<'_>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut scan = Scan::new(text);
    let read = match kind {
        Kind::One => one(&mut scan)?,
        Kind::Page => page(&mut scan, text)?,
    };
    scan.end()?;
    Some(read)
}

fn one<'a>(scan: &mut Scan<'a>) -> Option<Read<'a>> {
    let mut volume = None;
    scan.object(|scan, key| match &*key.says()? {
        "volume" => once(&mut volume, spot(scan, &mut Keys::new(Key::of))?),
        _ => scan.value().map(drop),
    })?;
    Some(Read {
        spots: vec![volume?],
        more: false,
        count: false,
    })
}

fn page<'a>(scan: &mut Scan<'a>, text: &'a str) -> Option<Read<'a>> {
    #[derive(Deserialize)]
    struct Link {
        rel: Option<String>,
    }
    let (mut volumes, mut links, mut count) = (None, None, None);
    scan.object(|scan, key| match &*key.says()? {
        "volumes" => {
            let (mut spots, mut keys) = (Vec::new(), Keys::new(Key::of));
            scan.list(|scan| {
                spots.push(spot(scan, &mut keys)?);
                Some(())
            })?;
            once(&mut volumes, spots)
        }
        "volumes_links" => {
            let value = text.get(scan.value()?)?;
            let all: Vec<Link> = serde_json::from_str(value).ok()?;
            once(&mut links, all)
        }
        "count" => once(&mut count, scan.value()?),
        _ => scan.value().map(drop),
    })?;
    let next = |l: &Link| l.rel.as_deref() == Some("next");
    Some(Read {
        spots: volumes?,
        more: links.is_some_and(|l| l.iter().any(next)),
        count: count.is_some(),
    })
}

fn spot<'a>(scan: &mut Scan<'a>, keys: &mut Keys<'a, Key>) -> Option<Spot<'a>> {
    scan.next()?;
    let from = scan.at();
    let (mut id, mut host, mut cluster) = (None, None, None);
    let (mut name_id, mut replication) = (None, None);
    scan.alike(keys, |scan, key| match key {
        Key::Id => once(&mut id, scan.word()?.says()?),
        Key::Host => once(&mut host, word_or_null(scan)?),
        Key::Cluster => once(&mut cluster, word_or_null(scan)?),
        Key::NameId => once(&mut name_id, word_or_null(scan)?),
        Key::Replication => once(&mut replication, scan.value()?),
        // The fields are there already.
        Key::Ours => None,
        Key::Other => scan.value().map(drop),
    })?;
    Some(Spot {
        at: from..scan.at(),
        id: id?,
        host: host.flatten(),
        cluster: cluster.flatten(),
        name_id,
        replication,
    })
}

fn word_or_null<'a>(scan: &mut Scan<'a>) -> Option<Option<Cow<'a, str>>> {
    if scan.next()? == b'n' {
        scan.value()?;
        return Some(None);
    }
    scan.word().and_then(Word::says).map(Some)
}

/// A key that stands twice is two readings.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

impl Spot<'_> {
    /// With words of its own, for as long as other bodies are read.
    fn into_owned(self) -> Spot<'static> {
        let own = |word: Cow<'_, str>| Cow::Owned(word.into_owned());
        Spot {
            at: self.at,
            id: own(self.id),
            host: self.host.map(own),
            cluster: self.cluster.map(own),
            name_id: self.name_id.map(|name| name.map(own)),
            replication: self.replication,
        }
    }
}

impl Read<'_> {
    /// The same without its body.
    pub(crate) fn into_owned(self) -> Read<'static> {
        Read {
            spots: self.spots.into_iter().map(Spot::into_owned).collect(),
            more: self.more,
            count: self.count,
        }
    }
}

/// What goes into one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Added<'a> {
    /// Fields, as they stand in an object.
    pub(crate) fields: &'a str,
    /// In the place of Cinder's own `replication_status`.
    pub(crate) replication: Option<&'a str>,
}

/// A part of a body with the fields in the volumes that stand in it, which are in their order.
pub(crate) fn spliced<'a>(
    body: &[u8],
    part: Range<usize>,
    volumes: impl IntoIterator<Item = (&'a Spot<'a>, Added<'a>)>,
    out: &mut Vec<u8>,
) {
    let piece = |at: Range<usize>| body.get(at).unwrap_or_default();
    let mut from = part.start;
    for (spot, added) in volumes {
        if let (Some(value), Some(status)) = (&spot.replication, added.replication) {
            out.extend_from_slice(piece(from..value.start));
            // The words of a status have nothing in them that JSON would write in another way.
            out.push(b'"');
            out.extend_from_slice(status.as_bytes());
            out.push(b'"');
            from = value.end;
        }
        let brace = spot.at.end.saturating_sub(1);
        out.extend_from_slice(piece(from..brace));
        out.extend_from_slice(b", ");
        out.extend_from_slice(added.fields.as_bytes());
        from = brace;
    }
    out.extend_from_slice(piece(from..part.end));
}

#[cfg(test)]
mod tests;
