//! The same reader on serde_json: slower, for it goes through every volume twice, and known to read JSON right. The tests hold the
//! other against it.

use super::super::{Kind, Read, Spot};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

pub(super) fn read(body: &[u8], kind: Kind) -> Option<Read<'static>> {
    let text = std::str::from_utf8(body).ok()?;
    let (raw, more, count) = match kind {
        Kind::One => (
            vec![serde_json::from_str::<One<'_>>(text).ok()?.0],
            false,
            false,
        ),
        Kind::Page => {
            let page: Page<'_> = serde_json::from_str(text).ok()?;
            (page.volumes, page.more, page.count)
        }
    };
    let spots: Option<Vec<Spot<'_>>> = raw.into_iter().map(|raw| spot(text, raw)).collect();
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

fn spot(text: &str, raw: &RawValue) -> Option<Spot<'static>> {
    let at = within(text, raw.get())?;
    let volume: Volume = serde_json::from_str(raw.get()).ok()?;
    let replication = match volume.replication {
        Some(value) => Some(within(text, value.get())?),
        None => None,
    };
    Some(Spot {
        at,
        id: volume.id?.into(),
        host: volume.host.map(Into::into),
        cluster: volume.cluster.map(Into::into),
        name_id: volume.name_id.map(|name| name.map(Into::into)),
        replication,
    })
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
                    ours if ours.starts_with(crate::status::fields::PREFIX) => Key::Ours,
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
