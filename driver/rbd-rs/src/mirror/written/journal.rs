//! Journal mode: the entries behind the peer's commit position.
//!
//! | object | content |
//! |---|---|
//! | `journal.<image id>` | the header: how many objects, and who has committed up to where (object class `journal`) |
//! | `journal_data.<pool>.<image id>.<n>` | entries one behind the other; entry e of a tag goes to object `e % splay width` of its set |
//!
//! An entry is a preamble, its own number, its tag's (the tags count the changes of the lock and of the role), and an event in
//! librbd's encoding, of which only the type and the extent are read.

use super::blocks::Blocks;
use super::decode::Reader;
use super::{Bound, GiveUp, Written};
use crate::object_view::ObjectView;
use crate::{Error, Image, Pool};

/// How much of a journal object is read at a time, in bytes.
const CHUNK: usize = 256 << 10;
/// What every entry begins with.
const PREAMBLE: u64 = 0x3141_5926_5358_9793;
/// Before an entry's event: preamble, version, its number, its tag's, the event's length.
const HEAD_LEN: u64 = 8 + 1 + 8 + 8 + 4;
/// Behind it: a checksum.
const TAIL_LEN: u64 = 4;
/// So much of an event is looked at: version and length, type, offset, length.
const EVENT_LEN: u64 = 6 + 4 + 8 + 8;

/// A journal's header, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    splay_width: u64,
    minimum_set: u64,
    active_set: u64,
    clients: Vec<Client>,
}

/// Who reads a journal.
#[derive(Debug, PartialEq, Eq)]
struct Client {
    /// Empty: the image itself. Else the mirror UUID of a peer.
    id: Vec<u8>,
    /// What is committed, newest first.
    committed: Vec<Position>,
    connected: bool,
}

/// A place in a journal. Ordered by tag and entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    tag: u64,
    entry: u64,
    object: u64,
}

/// From where on the peer has nothing.
#[derive(Debug, PartialEq, Eq)]
struct From {
    /// Entries up to this one are there.
    committed: Position,
    /// The objects that may hold later ones.
    objects: std::ops::Range<u64>,
}

impl Image {
    pub(super) fn written_in_journal(&self, give_up: GiveUp) -> Result<Written, Error> {
        let (header, data, prefix) = self.journal()?;
        let from = match header.from() {
            Ok(from) => from,
            Err(why) => return Ok(Written::unknown(why)),
        };
        let view = ObjectView::of(&data, None)?;
        let mut blocks = Blocks::default();
        for n in from.objects.clone() {
            let name = format!("{prefix}{n}");
            let read = |offset: u64, buffer: &mut [u8]| view.read(&name, offset, buffer);
            let ended = entries(read, give_up, |entry| {
                if entry.position > (from.committed.tag, from.committed.entry) {
                    entry.event.count(&mut blocks)
                } else {
                    Ok(())
                }
            })?;
            if let Err(why) = ended {
                let (bytes, _) = blocks.total();
                return Ok(Written::unknown(format!(
                    "{why}; {bytes} bytes were counted until then"
                )));
            }
        }
        let (bytes, extents) = blocks.total();
        Ok(Written::Measured {
            bytes,
            extents,
            // What is replayed there is committed some seconds later.
            bound: if bytes == 0 {
                Bound::Exact
            } else {
                Bound::AtMost
            },
        })
    }

    /// The number that the journal's next tag gets. Each promotion and each demotion makes one, and each client that takes the lock of
    /// a primary; on an image that was demoted and does not follow nobody does.
    pub(super) fn next_tag(&self) -> Result<u64, Error> {
        let name = format!("journal.{}", self.id()?);
        let answer = self
            .pool()
            .execute(&name, "journal", "get_next_tag_tid", &[])?;
        let at = self.at("rados_exec(journal)");
        Reader::new(&answer)
            .u64()
            .ok_or_else(|| at.error(-libc::EBADMSG))
    }

    /// The journal's header, the pool of its objects, and what their names begin with.
    fn journal(&self) -> Result<(Header, Pool, String), Error> {
        let id = self.id()?;
        let name = format!("journal.{id}");
        let ask = |method, input: &[u8]| self.pool().execute(&name, "journal", method, input);
        let at = self.at("rados_exec(journal)");
        let unreadable = || at.error(-libc::EBADMSG);
        let number = |method| Reader::new(&ask(method, &[])?).u64().ok_or_else(unreadable);
        let splay = ask("get_splay_width", &[])?;
        let pool = number("get_pool_id")?.cast_signed();
        // From the first client on, and as many as a class method gives at once.
        let all = [&0_u32.to_le_bytes()[..], &256_u64.to_le_bytes()].concat();
        let header = Header {
            splay_width: Reader::new(&splay).u8().ok_or_else(unreadable)?.into(),
            minimum_set: number("get_minimum_set")?,
            active_set: number("get_active_set")?,
            clients: clients(&ask("client_list", &all)?).ok_or_else(unreadable)?,
        };
        let data = if pool < 0 || pool == self.pool().id() {
            self.pool().clone()
        } else {
            Pool::by_id(self.pool().cluster(), pool)?
        };
        let prefix = format!("journal_data.{}.{id}.", self.pool().id());
        Ok((header, data, prefix))
    }
}

impl Header {
    /// Where the peer is, and what lies behind. With several peers it is the one that is furthest behind.
    fn from(&self) -> Result<From, &'static str> {
        let peers = || self.clients.iter().filter(|c| !c.id.is_empty());
        if peers().next().is_none() {
            return Err("the other zone is no reader of its journal");
        }
        if peers().any(|c| !c.connected) {
            return Err("the other zone was too far behind in its journal, which was cut off");
        }
        let committed = peers().map(|c| c.committed.iter().max().copied()).min();
        let Some(Some(committed)) = committed else {
            return Err("the other zone has not committed anything in its journal");
        };
        let splay = self.splay_width.max(1);
        let oldest = peers().flat_map(|c| &c.committed).map(|p| p.object).min();
        let first_set = (oldest.unwrap_or(0) / splay).max(self.minimum_set);
        let end = self.active_set.saturating_add(1).saturating_mul(splay);
        Ok(From {
            committed,
            objects: first_set.saturating_mul(splay)..end,
        })
    }
}

/// `std::set<cls::journal::Client>`.
fn clients(bytes: &[u8]) -> Option<Vec<Client>> {
    let mut r = Reader::new(bytes);
    let count = r.u32()?;
    (0..count).map(|_| client(&mut r)).collect()
}

fn client(r: &mut Reader<'_>) -> Option<Client> {
    let mut client = r.section()?;
    let id = client.bytes()?.to_vec();
    let _data = client.bytes()?;
    let mut positions = client.section()?;
    let count = positions.u32()?;
    let committed: Option<Vec<_>> = (0..count).map(|_| position(&mut positions)).collect();
    Some(Client {
        id,
        committed: committed?,
        connected: client.u8()? == 0,
    })
}

fn position(r: &mut Reader<'_>) -> Option<Position> {
    let mut position = r.section()?;
    let (object, tag, entry) = (position.u64()?, position.u64()?, position.u64()?);
    Some(Position { tag, entry, object })
}

/// One entry of a journal.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Its tag and its number.
    position: (u64, u64),
    event: Event,
}

/// What an entry did to the image's data.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// It wrote, discarded or zeroed these bytes.
    Changed { offset: u64, length: u64 },
    /// It put the whole image back to a snapshot.
    RolledBack,
    /// Nothing that is counted.
    Other,
}

impl Event {
    /// From the first [`EVENT_LEN`] bytes of `librbd::journal::EventEntry`, or from all where it is shorter.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        // Version, oldest reader, length.
        r.take(6)?;
        Some(match r.u32()? {
            // AioDiscard, AioWrite, AioWriteSame, AioCompareAndWrite.
            0 | 1 | 18 | 19 => Self::Changed {
                offset: r.u64()?,
                length: r.u64()?,
            },
            9 => Self::RolledBack,
            _ => Self::Other,
        })
    }

    fn count(&self, blocks: &mut Blocks) -> std::result::Result<(), &'static str> {
        match self {
            Self::Changed { offset, length } => blocks.add(*offset, *length),
            Self::RolledBack => return Err("it was rolled back to a snapshot in between"),
            Self::Other => {}
        }
        Ok(())
    }
}

/// Goes through one object's entries, without reading their data. The inner error says why they were not all seen.
fn entries(
    mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, Error>,
    give_up: GiveUp,
    mut each: impl FnMut(&Entry) -> std::result::Result<(), &'static str>,
) -> Result<std::result::Result<(), &'static str>, Error> {
    let mut buffer = vec![0; CHUNK];
    // What is read: from where on, and how much.
    let (mut from, mut len) = (0_u64, 0_usize);
    let mut at = 0_u64;
    loop {
        let needed = HEAD_LEN + EVENT_LEN;
        if at < from || at + needed > from + len as u64 {
            if give_up.is_due() {
                return Ok(Err("the time was over before its journal was read"));
            }
            (from, len) = (at, read(at, &mut buffer)?);
        }
        let start = usize::try_from(at - from).unwrap_or(usize::MAX);
        let there = buffer.get(start..len).unwrap_or_default();
        if there.is_empty() {
            return Ok(Ok(()));
        }
        let Some((entry, event_len)) = entry(there) else {
            return Ok(Err("its journal holds an entry that cannot be read"));
        };
        if let Err(why) = each(&entry) {
            return Ok(Err(why));
        }
        at = at
            .saturating_add(HEAD_LEN + TAIL_LEN)
            .saturating_add(event_len.into());
    }
}

/// An entry, and how long its event is.
fn entry(bytes: &[u8]) -> Option<(Entry, u32)> {
    let mut r = Reader::new(bytes);
    if r.u64()? != PREAMBLE || r.u8()? != 1 {
        return None;
    }
    let (number, tag, len) = (r.u64()?, r.u64()?, r.u32()?);
    let event = r.take(usize::try_from(u64::from(len).min(EVENT_LEN)).ok()?)?;
    let entry = Entry {
        position: (tag, number),
        event: Event::read(event)?,
    };
    Some((entry, len))
}

#[cfg(test)]
mod tests;
