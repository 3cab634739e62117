//! What is seen of a protected server: where it serves, its stand-by, and its volumes beside that.

use super::super::{
    built::{Begun, Built},
    mapped::Gap,
};
use jiff::Timestamp;
use rekindle_common::{
    GroupName, ImageSpec, ServerKey, ZoneName,
    runbook::StandbyPolicy,
    servers::{KeptServer, ServerRecord},
};
use std::collections::BTreeMap;

/// All that is known of it at one moment.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    /// Its name in the runbook.
    pub key: &'a ServerKey,
    /// Where it serves: the group's recorded primary.
    pub primary: &'a ZoneName,
    /// Where its stand-by is.
    pub other: &'a ZoneName,
    /// What is to stand by.
    pub policy: StandbyPolicy,
    /// What is kept of it.
    pub kept: Option<&'a KeptServer>,
    /// What its stand-by was built from.
    pub built: Option<&'a Built>,
    /// A build of it that has not ended, where it was looked for what came of it.
    pub begun: Option<&'a Begun>,
    /// Its users' own server in each zone, as the runbook names it.
    pub named: &'a BTreeMap<ZoneName, String>,
    /// It, where it serves.
    pub serving: Serving,
    /// Its stand-by.
    pub standby: Standby,
    /// What would be built now.
    pub mapped: Mapped,
    /// Its volumes in the other zone.
    pub copies: Copies,
    /// The group that it goes with.
    pub group: &'a GroupName,
    /// Those of its volumes that are copies in the other zone and not in its group: no plan of the group promotes them.
    pub outside: &'a [ImageSpec],
    /// As whose stand-by it is marked, or would be: `ZONE/ID`.
    pub counterpart: &'a str,
    /// When.
    pub now: Timestamp,
}

/// A server where it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// It cannot be told now.
    Unknown {
        /// Why.
        why: String,
    },
    /// It is certain that there is none.
    Absent,
    /// Its record as it is now.
    There(Box<ServerRecord>),
}

/// A stand-by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standby {
    /// It cannot be told now.
    Unknown {
        /// Why.
        why: String,
    },
    /// It is certain that there is none.
    Absent,
    /// There is one.
    There {
        /// Its id.
        id: String,
        /// What it does.
        state: Rests,
        /// Whether it is locked by us.
        held: bool,
        /// In Nova's words.
        words: String,
        /// Its volumes in their order; of its users' own alone, and only where that can be seen.
        disks: Option<Vec<String>>,
    },
}

/// What a stand-by does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rests {
    /// It runs.
    Running,
    /// It does not.
    Resting,
    /// Something is at work on it.
    Changing,
    /// Nova says that it failed.
    Failed {
        /// It is off all the same.
        off: bool,
    },
    /// Nova cannot see it now.
    Unknown,
}

/// What would be built now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// There is no record to build from.
    NoRecord,
    /// What is in the way.
    Gaps(Vec<Gap>),
    /// This.
    Record(Box<ServerRecord>),
}

/// A server's volumes in the zone of its stand-by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Each is a copy there, and can be opened.
    All,
    /// Each is a copy there, and one is mirrored through its journal. To read such an image without its lock is refused by librbd, and to take the
    /// lock of a copy too: a server that runs on it does not get as far as its first block.
    Journaled,
    /// None can be written there; some are not there.
    Some,
    /// One of them can be written there: it is primary, or not replicated.
    Writable,
    /// It cannot be told now.
    Unknown,
}
