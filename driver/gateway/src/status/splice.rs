//! Cinder's body with the fields added: text put into its text. Nothing of it is written anew, so nothing of it changes.
//!
//! ```text
//!   {"volumes": [{"id": "…", …}, {…}], "volumes_links": […]}
//!                           ^     ^ where the fields go
//! ```
//!
//! Pure. A body that cannot be read in one way alone is `None`, and stays as it is.

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// What an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One volume, under `volume`.
    One,
    /// A page, under `volumes`.
    Page,
}

/// One volume in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Where its object stands.
    pub(crate) at: Range<usize>,
    pub(crate) id: String,
    /// Whose backend it is on: administrators are shown it, in detail.
    pub(crate) host: Option<String>,
    pub(crate) cluster: Option<String>,
    /// The id in its image's name. `None`: it was not said; `Some(None)`: its own.
    pub(crate) name_id: Option<Option<String>>,
    /// Where the value of Cinder's `replication_status` stands.
    pub(crate) replication: Option<Range<usize>>,
}

/// A body that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) spots: Vec<Spot>,
    /// Whether it says that there are more pages.
    pub(crate) more: bool,
    /// Whether it says how many there are.
    pub(crate) count: bool,
}

/// Finds the volumes of a body.
pub(crate) fn read(body: &[u8], kind: Kind) -> Option<Read> {
    let text = std::str::from_utf8(body).ok()?;
    let (raw, more, count) = match kind {
        Kind::One => (
            vec![serde_json::from_str::<One>(text).ok()?.0],
            false,
            false,
        ),
        Kind::Page => {
            let page: Page = serde_json::from_str(text).ok()?;
            (page.volumes, page.more, page.count)
        }
    };
    let spots: Option<Vec<Spot>> = raw.into_iter().map(|raw| spot(text, raw)).collect();
    Some(Read {
        spots: spots?,
        more,
        count,
    })
}

/// Where a part of a text stands in it.
fn within(text: &str, part: &str) -> Option<Range<usize>> {
    let from = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let at = from..from.checked_add(part.len())?;
    (text.get(at.clone())? == part).then_some(at)
}

fn spot(text: &str, raw: &RawValue) -> Option<Spot> {
    let at = within(text, raw.get())?;
    let volume: Volume = serde_json::from_str(raw.get()).ok()?;
    let replication = match volume.replication {
        Some(value) => Some(within(text, value.get())?),
        None => None,
    };
    Some(Spot {
        at,
        id: volume.id?,
        host: volume.host,
        cluster: volume.cluster,
        name_id: volume.name_id,
        replication,
    })
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
    volumes: impl IntoIterator<Item = (&'a Spot, Added<'a>)>,
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

struct One<'a>(&'a RawValue);
struct Page<'a> {
    volumes: Vec<&'a RawValue>,
    more: bool,
    count: bool,
}
#[derive(Default)]
struct Volume<'a> {
    id: Option<String>,
    host: Option<String>,
    cluster: Option<String>,
    name_id: Option<Option<String>>,
    replication: Option<&'a RawValue>,
}

/// A key, read without keeping it.
enum Key {
    Volume,
    Volumes,
    Links,
    Count,
    Id,
    Host,
    Cluster,
    NameId,
    Replication,
    /// One of those that are to be added.
    Ours,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "volume" => Key::Volume,
                    "volumes" => Key::Volumes,
                    "volumes_links" => Key::Links,
                    "count" => Key::Count,
                    "id" => Key::Id,
                    "os-vol-host-attr:host" => Key::Host,
                    "cluster_name" => Key::Cluster,
                    "os-vol-mig-status-attr:name_id" => Key::NameId,
                    "replication_status" => Key::Replication,
                    ours if ours.starts_with(super::fields::PREFIX) => Key::Ours,
                    _ => Key::Other,
                })
            }
        }
        from.deserialize_str(Word)
    }
}

/// A key that stands twice is two readings.
fn once<T, E: Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a key stands twice")),
    }
}

macro_rules! object {
    ($name:ident, $visitor:ident, |$map:ident| $read:block) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct $visitor;
                impl<'de> Visitor<'de> for $visitor {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<M: MapAccess<'de>>(
                        self,
                        mut $map: M,
                    ) -> Result<$name<'de>, M::Error> $read
                }
                from.deserialize_map($visitor)
            }
        }
    };
}

object!(One, OneVisitor, |map| {
    let mut volume: Option<&'de RawValue> = None;
    while let Some(key) = map.next_key::<Key>()? {
        match key {
            Key::Volume => once(&mut volume, map.next_value()?)?,
            Key::Volumes
            | Key::Links
            | Key::Count
            | Key::Id
            | Key::Host
            | Key::Cluster
            | Key::NameId
            | Key::Replication
            | Key::Ours
            | Key::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    volume.map(One).ok_or_else(|| M::Error::custom("no volume"))
});

object!(Page, PageVisitor, |map| {
    #[derive(Deserialize)]
    struct Link {
        rel: Option<String>,
    }
    let mut volumes: Option<Vec<&'de RawValue>> = None;
    let (mut links, mut count) = (None, None);
    while let Some(key) = map.next_key::<Key>()? {
        match key {
            Key::Volumes => once(&mut volumes, map.next_value()?)?,
            Key::Links => once(&mut links, map.next_value::<Vec<Link>>()?)?,
            Key::Count => once(&mut count, map.next_value::<IgnoredAny>()?)?,
            Key::Volume
            | Key::Id
            | Key::Host
            | Key::Cluster
            | Key::NameId
            | Key::Replication
            | Key::Ours
            | Key::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    let next = |l: &Link| l.rel.as_deref() == Some("next");
    Ok(Page {
        volumes: volumes.ok_or_else(|| M::Error::custom("no volumes"))?,
        more: links.is_some_and(|l| l.iter().any(next)),
        count: count.is_some(),
    })
});

object!(Volume, VolumeVisitor, |map| {
    let mut volume = Volume::default();
    let (mut host, mut cluster) = (None, None);
    while let Some(key) = map.next_key::<Key>()? {
        match key {
            Key::Id => once(&mut volume.id, map.next_value()?)?,
            Key::Host => once(&mut host, map.next_value()?)?,
            Key::Cluster => once(&mut cluster, map.next_value()?)?,
            Key::NameId => once(&mut volume.name_id, map.next_value()?)?,
            Key::Replication => once(&mut volume.replication, map.next_value()?)?,
            Key::Ours => return Err(M::Error::custom("the fields are there already")),
            Key::Volume | Key::Volumes | Key::Links | Key::Count | Key::Other => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    volume.host = host.flatten();
    volume.cluster = cluster.flatten();
    Ok(volume)
});

#[cfg(test)]
mod tests;
