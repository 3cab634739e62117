//! What is known of what a step is about, one by one: its volumes, or its servers. One's failure decides nothing for another (hard
//! case 20).

use super::servers::Memo;
use rekindle_common::{ImageSpec, ServerKey, given_up::GivenUp};
use rekindle_core::saga::FailedServer;
use std::collections::{BTreeMap, BTreeSet};

/// The most characters of a reason in the journal where many servers failed: a record has to fit into etcd.
pub(super) const SHORT_WHY: usize = 80;
/// So many reasons are kept whole.
pub(super) const WHOLE_WHYS: usize = 100;

/// Things of one sort.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ledger<K> {
    /// Not ended yet, with what they wait for.
    open: BTreeMap<K, String>,
    /// Done, or so already.
    done: BTreeSet<K>,
    /// Failed for good.
    failed: BTreeMap<K, String>,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            done: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Ledger<K> {
    fn of(things: impl IntoIterator<Item = K>) -> Self {
        let open = things
            .into_iter()
            .map(|k| (k, "not asked yet".to_owned()))
            .collect();
        Self {
            open,
            ..Self::default()
        }
    }
    fn len(&self) -> usize {
        self.open.len() + self.done.len() + self.failed.len()
    }
    fn done(&mut self, k: &K) {
        if self.open.remove(k).is_some() {
            self.done.insert(k.clone());
        }
    }
    fn waits(&mut self, k: &K, why: impl Into<String>) {
        if let Some(note) = self.open.get_mut(k) {
            *note = why.into();
        }
    }
    fn fail(&mut self, k: &K, why: impl Into<String>) {
        if self.open.remove(k).is_some() {
            self.failed.insert(k.clone(), why.into());
        }
    }
    fn give_up(&mut self, why: &str) {
        for (k, note) in std::mem::take(&mut self.open) {
            self.failed.insert(k, format!("{why}: {note}"));
        }
    }
}

/// A step's volumes or servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    volumes: Ledger<ImageSpec>,
    /// Each volume's place in the step's list.
    places: BTreeMap<ImageSpec, usize>,
    servers: Ledger<ServerKey>,
    /// Servers that count as done and that a person has to hear of all the same: their users deleted them.
    named: BTreeMap<ServerKey, String>,
    /// Servers that count as done because nothing is to be done about them: a person starts them.
    by_hand: BTreeSet<ServerKey>,
    /// What was seen of the servers that have not ended.
    memos: BTreeMap<ServerKey, Memo>,
    /// Of the volumes that failed, those that are no replicated volumes any more: nothing is left to be ordered of them.
    gone: BTreeSet<ImageSpec>,
    /// What the resyncs give up.
    given_up: BTreeMap<ImageSpec, GivenUp>,
    /// An order was sent, and it is not certain that it changed nothing.
    changed: bool,
}

impl Tally {
    /// A tally of these, less those that an earlier step failed for.
    #[must_use]
    pub fn new(volumes: Vec<ImageSpec>, failed_before: &BTreeSet<ImageSpec>) -> Self {
        let places: BTreeMap<ImageSpec, usize> = volumes
            .into_iter()
            .enumerate()
            .map(|(n, v)| (v, n))
            .collect();
        let left = places.keys().filter(|v| !failed_before.contains(*v));
        Self {
            volumes: Ledger::of(left.cloned()),
            places,
            ..Self::default()
        }
    }
    /// The same, with a step's servers.
    #[must_use]
    pub fn with_servers(mut self, servers: Vec<ServerKey>) -> Self {
        self.servers = Ledger::of(servers);
        self
    }
    /// The volumes that have not ended.
    #[must_use]
    pub fn open(&self) -> Vec<ImageSpec> {
        self.volumes.open.keys().cloned().collect()
    }
    /// Whether all have ended, one way or the other.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.volumes.open.is_empty() && self.servers.open.is_empty()
    }
    /// Done, of all.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (
            self.volumes.done.len() + self.servers.done.len(),
            self.volumes.len() + self.servers.len(),
        )
    }
    /// The volumes that failed, and why.
    #[must_use]
    pub fn failed(&self) -> &BTreeMap<ImageSpec, String> {
        &self.volumes.failed
    }
    /// A volume's place in the step's list.
    pub(super) fn place(&self, volume: &ImageSpec) -> Option<usize> {
        self.places.get(volume).copied()
    }
    /// The servers that failed, and why.
    #[must_use]
    pub fn failed_servers(&self) -> &BTreeMap<ServerKey, String> {
        &self.servers.failed
    }
    /// Whether anything has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.volumes.failed.is_empty() || !self.servers.failed.is_empty()
    }
    /// Whether anything has failed that is still there.
    #[must_use]
    pub fn has_failed_beside_the_gone(&self) -> bool {
        let there = self.volumes.failed.len() > self.gone.len();
        there || !self.servers.failed.is_empty()
    }
    /// How many failed, and the first with its reason, in words; `None` where nothing did. What is still there is named before what is gone.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let (_, of) = self.progress();
        let words =
            |n: usize, what: &str, first: String| format!("{n} of {of} {what} failed; {first}");
        let failed = &self.volumes.failed;
        let there = failed.iter().find(|(v, _)| !self.gone.contains(*v));
        if let Some((v, why)) = there.or_else(|| failed.iter().next()) {
            let n = failed.len();
            return Some(words(n, "volumes", format!("{v}: {why}")));
        }
        let (s, why) = self.servers.failed.iter().next()?;
        let n = self.servers.failed.len();
        Some(words(n, "servers", format!("{s}: {why}")))
    }
    /// The servers that a person has to hear of, for the journal.
    #[must_use]
    pub fn told_servers(&self) -> Vec<FailedServer> {
        let all = self.servers.failed.iter().chain(&self.named);
        let short = |n: usize, why: &String| {
            if n < WHOLE_WHYS {
                why.clone()
            } else {
                why.chars().take(SHORT_WHY).collect()
            }
        };
        all.enumerate()
            .map(|(n, (server, why))| FailedServer {
                server: server.clone(),
                why: short(n, why),
            })
            .collect()
    }
    /// Whether something may have been changed.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }
    /// What the first of the open ones waits for, and how many there are.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let volumes = &self.volumes.open;
        let servers = &self.servers.open;
        if let Some((volume, why)) = volumes.iter().next() {
            return words("volumes", volumes.len(), &format!("{volume}: {why}"));
        }
        match servers.iter().next() {
            None => String::new(),
            Some((server, why)) => words("servers", servers.len(), &format!("{server}: {why}")),
        }
    }

    /// The volume is done.
    pub fn done(&mut self, volume: &ImageSpec) {
        self.volumes.done(volume);
    }
    /// A resync of it gives that up.
    pub fn gives_up(&mut self, volume: &ImageSpec, given_up: GivenUp) {
        self.given_up.insert(volume.clone(), given_up);
    }
    /// What the resyncs give up, as far as they said.
    #[must_use]
    pub fn given_up(&self) -> &BTreeMap<ImageSpec, GivenUp> {
        &self.given_up
    }
    /// It waits.
    pub fn waits(&mut self, volume: &ImageSpec, why: impl Into<String>) {
        self.volumes.waits(volume, why);
    }
    /// It failed for good.
    pub fn fail(&mut self, volume: &ImageSpec, why: impl Into<String>) {
        self.volumes.fail(volume, why);
    }
    /// The same of one whose image is not there any more, or is replicated no more.
    pub fn is_gone(&mut self, volume: &ImageSpec, why: impl Into<String>) {
        self.volumes.fail(volume, why);
        if self.volumes.failed.contains_key(volume) {
            self.gone.insert(volume.clone());
        }
    }

    pub(super) fn server_is_open(&self, server: &ServerKey) -> bool {
        self.servers.open.contains_key(server)
    }
    pub(super) fn server_failed(&self, server: &ServerKey) -> bool {
        self.servers.failed.contains_key(server)
    }
    pub(super) fn server_done(&mut self, server: &ServerKey) {
        self.servers.done(server);
        self.memos.remove(server);
    }
    pub(super) fn server_waits(&mut self, server: &ServerKey, why: impl Into<String>) {
        self.servers.waits(server, why);
    }
    pub(super) fn server_failed_for(&mut self, server: &ServerKey, why: impl Into<String>) {
        self.servers.fail(server, why);
        self.memos.remove(server);
    }
    /// It is done, and a person has to hear of it.
    pub(super) fn server_named(&mut self, server: &ServerKey, why: impl Into<String>) {
        self.server_done(server);
        self.named.insert(server.clone(), why.into());
    }
    /// Nothing of ours is to be done about it, as its policy says.
    pub(super) fn server_by_hand(&mut self, server: &ServerKey) {
        self.server_done(server);
        self.by_hand.insert(server.clone());
    }
    /// See [`Self::server_by_hand`].
    pub(super) fn servers_by_hand(&self) -> &BTreeSet<ServerKey> {
        &self.by_hand
    }
    pub(super) fn memo(&self, server: &ServerKey) -> Memo {
        self.memos.get(server).copied().unwrap_or_default()
    }
    pub(super) fn keep_memo(&mut self, server: &ServerKey, memo: Memo) {
        if self.server_is_open(server) {
            self.memos.insert(server.clone(), memo);
        }
    }

    /// Something may have been changed.
    pub fn touch(&mut self) {
        self.changed = true;
    }
    /// The time is over: what is open has failed.
    pub fn give_up(&mut self, why: &str) {
        self.volumes.give_up(why);
        self.servers.give_up(why);
    }
}

fn words(what: &str, open: usize, first: &str) -> String {
    match open {
        1 => first.to_owned(),
        n => format!("{n} {what}; {first}"),
    }
}
