//! A zone's Nova in this process, for the plan suites. Faults are verbs.

use super::{group, image, zone_a, zone_b};
use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{
    ServerKey, ZoneName,
    duration::Span,
    keys,
    runbook::{Hook, Level, Runbook, RunbookServer, StandbyPolicy, Wait},
    servers::{
        Build, DiskRecord, FlavorRecord, Instance, KeptServer, PowerWish, RecordSource,
        ServerRecord, VolumeRef,
    },
};
use rekindle_driver::backend::memory::Fabric;
use rekindle_orchestrator::{
    catalogue::volumes::{Mapped, VolumeMap},
    servers::control::{BuildOrder, Seen, ServerState, Servers, ServersError, Wanted},
};
use rekindle_store::{Op, Store, Txn};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::sleep;

/// What is asked that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Hold,
    Start,
    Build,
}

#[derive(Debug, Clone)]
pub struct Server {
    pub key: String,
    pub state: ServerState,
    pub held: bool,
    /// Built by Rekindle, and bears its mark.
    pub ours: bool,
    /// The numbers of its volumes.
    pub disks: Vec<usize>,
}

#[derive(Debug, Default)]
struct Inside {
    servers: BTreeMap<String, Server>,
    /// What those that were built here bear.
    marks: BTreeMap<String, String>,
    /// Every call, looks too.
    calls: u64,
    orders: Vec<(Verb, String)>,
    hangs: bool,
    /// For the next so many orders of that sort.
    faults: BTreeMap<(Verb, String), (ServersError, u32)>,
    /// A server of that key is deleted by its users right after the next order of that sort to it.
    deletes: Vec<(Verb, String)>,
    /// Orders on a server whose volume is not primary here.
    wrong: Vec<String>,
    built: u32,
    /// Calls that change something, at this moment; and the most there ever were.
    at_once: (u32, u32),
}

#[derive(Debug)]
pub struct FakeNova {
    zone: ZoneName,
    fabric: Fabric,
    inside: Mutex<Inside>,
}

pub fn key(k: &str) -> ServerKey {
    ServerKey::new(k).unwrap()
}

impl FakeNova {
    pub fn new(zone: ZoneName, fabric: Fabric) -> Arc<Self> {
        Arc::new(Self {
            zone,
            fabric,
            inside: Mutex::default(),
        })
    }
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }
    pub fn has(&self, id: &str, server: Server) {
        self.inside().servers.insert(id.to_owned(), server);
    }
    /// From now on nothing is answered.
    pub fn hang(&self) {
        self.inside().hangs = true;
    }
    pub fn heal(&self) {
        self.inside().hangs = false;
    }
    /// The next so many orders of that sort to that server end so.
    pub fn fails(&self, verb: Verb, key: &str, with: ServersError, times: u32) {
        let mut i = self.inside();
        i.faults.insert((verb, key.to_owned()), (with, times));
    }
    pub fn works(&self, verb: Verb, key: &str) {
        self.inside().faults.remove(&(verb, key.to_owned()));
    }
    /// Its users delete it.
    pub fn delete(&self, key: &str) {
        self.inside().servers.retain(|_, s| s.key != key);
    }
    /// Its users delete it right after the next order of that sort.
    pub fn delete_after(&self, verb: Verb, key: &str) {
        self.inside().deletes.push((verb, key.to_owned()));
    }
    /// The hypervisors are on again and start what ran, as `resume_guests_state_on_host_boot` has it.
    pub fn hypervisors_start_everything(&self) {
        for s in self.inside().servers.values_mut() {
            s.state = ServerState::Running;
            s.held = false;
        }
    }
    /// Everything died with its host.
    pub fn hypervisors_die(&self) {
        for s in self.inside().servers.values_mut() {
            s.state = ServerState::Stopped;
        }
    }
    /// All calls so far, looks too.
    pub fn calls(&self) -> u64 {
        self.inside().calls
    }
    /// The most orders that were under way at once.
    pub fn most_at_once(&self) -> u32 {
        self.inside().at_once.1
    }
    /// All orders so far.
    pub fn orders(&self) -> Vec<(Verb, String)> {
        self.inside().orders.clone()
    }
    pub fn of(&self, key: &str) -> Vec<Server> {
        let i = self.inside();
        i.servers
            .values()
            .filter(|s| s.key == key)
            .cloned()
            .collect()
    }
    /// What a server that was built here bears.
    pub fn mark_of(&self, key: &str) -> Option<String> {
        let i = self.inside();
        let built = i.marks.iter();
        let mut of_it = built.filter(|(id, _)| i.servers.get(*id).is_some_and(|s| s.key == key));
        of_it.next().map(|(_, mark)| mark.clone())
    }
    /// The servers that run and are not held.
    pub fn serving(&self) -> Vec<String> {
        let i = self.inside();
        let serves = |s: &&Server| s.state == ServerState::Running && !s.held;
        let mut keys: Vec<String> = i
            .servers
            .values()
            .filter(serves)
            .map(|s| s.key.clone())
            .collect();
        keys.sort();
        keys
    }
    /// Whether all that it has is stopped and locked.
    pub fn all_held(&self) -> bool {
        let i = self.inside();
        i.servers
            .values()
            .all(|s| s.state == ServerState::Stopped && s.held)
    }
    /// What was ordered on volumes that are not primary here.
    pub fn wrong(&self) -> Vec<String> {
        self.inside().wrong.clone()
    }

    /// The call's end, where it hangs; else a moment.
    async fn called(&self, within: Span) -> Result<(), ServersError> {
        let hangs = {
            let mut i = self.inside();
            i.calls += 1;
            i.hangs
        };
        if hangs {
            sleep(within.get()).await;
            let why = format!("the Nova of {} did not answer within {within}", self.zone);
            return Err(ServersError::NotNow(why));
        }
        sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    fn fault(i: &mut Inside, verb: Verb, key: &str) -> Option<ServersError> {
        let (with, times) = i.faults.get_mut(&(verb, key.to_owned()))?;
        *times = times.checked_sub(1)?;
        Some(with.clone())
    }

    fn find(i: &Inside, wanted: &Wanted) -> Result<Option<String>, ServersError> {
        match &wanted.id {
            Some(id) => Ok(i.servers.contains_key(id).then(|| id.clone())),
            None => Self::marked(i, wanted),
        }
    }

    /// What bears the mark that is looked for, and has the root volume. Of one that a test has put there the mark is taken to be that.
    fn marked(i: &Inside, wanted: &Wanted) -> Result<Option<String>, ServersError> {
        let Some(mark) = &wanted.counterpart else {
            return Ok(None);
        };
        let bears = |(id, s): &(&String, &Server)| {
            let its = i.marks.get(*id);
            s.ours && s.key == wanted.key.as_str() && its.is_none_or(|m| m == mark)
        };
        for (id, s) in i.servers.iter().filter(bears) {
            // As the real one.
            let Some(root) = &wanted.root else {
                let why = format!("which root volume {} has is not known", wanted.key);
                return Err(ServersError::NotNow(why));
            };
            if s.disks.first().map(ToString::to_string).as_ref() == Some(root) {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    fn seen(i: &Inside, id: &str) -> Option<Seen> {
        let s = i.servers.get(id)?;
        Some(Seen {
            id: id.to_owned(),
            state: s.state,
            held: s.held,
            words: format!("{:?}", s.state),
            address: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            volumes: s.disks.iter().map(ToString::to_string).collect(),
        })
    }

    /// The client neither stops nor starts what is held in memory.
    fn thawed(i: &Inside, id: &str) -> Result<(), ServersError> {
        match i.servers[id].state {
            ServerState::Frozen => Err(ServersError::Refused(format!(
                "{id} is PAUSED: `openstack server unpause` and stop it, or delete it"
            ))),
            ServerState::Running
            | ServerState::Stopped
            | ServerState::Changing
            | ServerState::Failed { .. }
            | ServerState::Unknown => Ok(()),
        }
    }

    /// A server whose volumes are not primary here must not run.
    fn check(&self, i: &mut Inside, id: &str) {
        let cluster = self.fabric.cluster(&self.zone).unwrap();
        let disks = i.servers[id].disks.clone();
        for n in disks {
            if !cluster.is_primary(&image(n)) {
                let what = format!("{id} was started in {} on volume {n}", self.zone);
                i.wrong.push(what);
            }
        }
    }

    fn ordered(i: &mut Inside, verb: Verb, key: &str) {
        i.orders.push((verb, key.to_owned()));
        let at = i.deletes.iter().position(|(v, k)| *v == verb && k == key);
        if let Some(at) = at {
            i.deletes.remove(at);
            i.servers.retain(|_, s| s.key != key);
        }
    }
}

impl Servers for FakeNova {
    fn look<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        async move {
            self.called(within).await?;
            let i = self.inside();
            Ok(Self::find(&i, wanted)?.and_then(|id| Self::seen(&i, &id)))
        }
        .boxed()
    }

    fn hold<'a>(
        &'a self,
        wanted: &'a Wanted,
        _reason: &'a str,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        async move {
            self.called(within).await?;
            let mut i = self.inside();
            let k = wanted.key.as_str();
            let fault = Self::fault(&mut i, Verb::Hold, k);
            let found = Self::find(&i, wanted)?;
            if let Some(e) = fault {
                // As the real one: locked first, and what failed then does not stop.
                if let Some(s) = found.as_ref().and_then(|id| i.servers.get_mut(id))
                    && matches!(s.state, ServerState::Failed { .. })
                {
                    s.held = true;
                }
                return Err(e);
            }
            if let Some(id) = &found {
                Self::thawed(&i, id)?;
            }
            if let Some(s) = found.as_ref().and_then(|id| i.servers.get_mut(id)) {
                s.state = ServerState::Stopped;
                s.held = true;
            }
            Self::ordered(&mut i, Verb::Hold, k);
            Ok(found.and_then(|id| Self::seen(&i, &id)))
        }
        .boxed()
    }

    fn start<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        async move {
            self.called(within).await?;
            {
                let mut i = self.inside();
                if let Some(e) = Self::fault(&mut i, Verb::Start, wanted.key.as_str()) {
                    return Err(e);
                }
                let Some(id) = Self::find(&i, wanted)? else {
                    return Err(ServersError::Refused("there is none".to_owned()));
                };
                Self::thawed(&i, &id)?;
                self.check(&mut i, &id);
                let s = i.servers.get_mut(&id).unwrap();
                s.held = false;
                s.state = ServerState::Changing;
                i.at_once.0 += 1;
                i.at_once.1 = i.at_once.1.max(i.at_once.0);
            }
            sleep(Duration::from_secs(2)).await;
            let mut i = self.inside();
            i.at_once.0 -= 1;
            let Some(id) = Self::find(&i, wanted)? else {
                return Err(ServersError::NotNow("it is gone".to_owned()));
            };
            i.servers.get_mut(&id).unwrap().state = ServerState::Running;
            let seen = Self::seen(&i, &id).unwrap();
            Self::ordered(&mut i, Verb::Start, wanted.key.as_str());
            Ok(seen)
        }
        .boxed()
    }

    fn build<'a>(
        &'a self,
        order: &'a BuildOrder,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        async move {
            self.called(within).await?;
            assert_eq!(order.record.zone, self.zone, "names of the other zone");
            let mut i = self.inside();
            let k = order.wanted.key.as_str();
            if let Some(e) = Self::fault(&mut i, Verb::Build, k) {
                return Err(e);
            }
            // As the real one: what nobody could find again is not built.
            let Some(mark) = order.wanted.counterpart.clone() else {
                let why = format!("{}: whose counterpart {k} is to be is not known", self.zone);
                return Err(ServersError::Refused(why));
            };
            // What bears the mark is adopted, and what is half of it is built to its end.
            let wanted = Wanted {
                root: order.record.disks.first().map(|d| d.volume.id.clone()),
                ..order.wanted.clone()
            };
            let found = Self::marked(&i, &wanted)?;
            let id = found.unwrap_or_else(|| {
                i.built += 1;
                format!("{}-{k}-built-{}", self.zone, i.built)
            });
            let disks = order.record.disks.iter();
            let server = Server {
                key: k.to_owned(),
                state: ServerState::Stopped,
                held: true,
                ours: true,
                disks: disks.map(|d| d.volume.id.parse().unwrap()).collect(),
            };
            i.servers.insert(id.clone(), server);
            i.marks.insert(id.clone(), mark);
            Self::ordered(&mut i, Verb::Build, k);
            Self::seen(&i, &id).ok_or_else(|| ServersError::NotNow("it is gone".to_owned()))
        }
        .boxed()
    }

    fn translate<'a>(
        &'a self,
        kept: &'a KeptServer,
        _within: Span,
    ) -> BoxFuture<'a, Result<ServerRecord, ServersError>> {
        let record = ServerRecord {
            zone: self.zone.clone(),
            ..kept.record.clone()
        };
        async move { Ok(record) }.boxed()
    }

    fn remove<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        async move {
            self.called(within).await?;
            panic!("no plan removes {}", wanted.key)
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<ServerRecord>, ServersError>> {
        async move {
            self.called(within).await?;
            panic!("no plan reads {}", wanted.key)
        }
        .boxed()
    }
}

/// The suite's servers, each with the number of its volume: a database that a command is asked about, and two of a second level,
/// behind a pause; of the last there is only a record in zone-b.
pub const SERVERS: [(&str, usize); 3] = [("db", 0), ("web-1", 1), ("web-2", 2)];

fn of_runbook(k: &str) -> RunbookServer {
    RunbookServer {
        key: key(k),
        server: Some(format!("a-{k}")),
        standby: None,
        after: Vec::new(),
        wait: Vec::new(),
        within: Span::secs(300),
    }
}

pub fn runbook() -> Runbook {
    let hook = |agent: &str| Hook {
        agent: agent.to_owned(),
        within: Span::secs(30),
    };
    let db = RunbookServer {
        wait: vec![Wait::Command {
            command: "db-answers".to_owned(),
            within: Span::secs(120),
        }],
        ..of_runbook("db")
    };
    let web_2 = RunbookServer {
        standby: Some(StandbyPolicy::Record),
        after: vec![key("web-1")],
        ..of_runbook("web-2")
    };
    Runbook {
        before: vec![hook("open-ticket")],
        after: vec![hook("close-ticket")],
        levels: vec![
            Level {
                pause: None,
                servers: vec![db],
            },
            Level {
                pause: Some("look at the database".to_owned()),
                servers: vec![of_runbook("web-1"), web_2],
            },
        ],
        ..Runbook::default()
    }
}

pub fn record(k: &str, disk: usize) -> ServerRecord {
    ServerRecord {
        name: k.to_owned(),
        zone: zone_a(),
        id: Some(format!("a-{k}")),
        project: None,
        flavor: FlavorRecord {
            name: "small".to_owned(),
            vcpus: None,
            ram_mib: None,
            disk_gib: None,
            extra_specs: BTreeMap::new(),
        },
        disks: vec![DiskRecord {
            volume: VolumeRef {
                id: disk.to_string(),
                name: None,
            },
            boot_index: Some(0),
            device: None,
            tag: None,
            delete_on_termination: false,
        }],
        ports: vec![],
        security_groups: vec![],
        key_name: None,
        availability_zone: None,
        metadata: BTreeMap::new(),
        tags: Default::default(),
        user_data: None,
        config_drive: false,
        server_group: None,
        description: None,
        locked: false,
        power: PowerWish::Running,
        taken_at: jiff::Timestamp::UNIX_EPOCH,
        source: RecordSource::Nova,
    }
}

fn instance(id: String, build: Build) -> Instance {
    Instance {
        id,
        build,
        seen_at: jiff::Timestamp::UNIX_EPOCH,
        unsettled: false,
    }
}

/// What the catalogue says: each volume has its number in both zones.
pub fn volumes(count: usize) -> VolumeMap {
    let one = |n: usize| {
        let mapped = Mapped {
            image: image(n),
            peer: None,
        };
        (n.to_string(), mapped)
    };
    let of = |zone: ZoneName| (zone, (0..count).map(one).collect());
    VolumeMap {
        at: jiff::Timestamp::UNIX_EPOCH,
        zones: BTreeMap::from([of(zone_a()), of(zone_b())]),
    }
}

/// The servers run in zone-a, what stands by for them is in zone-b, and etcd has what is kept of them.
pub async fn populate(a: &FakeNova, b: &FakeNova, store: &Store) {
    for (k, disk) in SERVERS {
        let server = |state, held, ours| Server {
            key: k.to_owned(),
            state,
            held,
            ours,
            disks: vec![disk],
        };
        a.has(
            &format!("a-{k}"),
            server(ServerState::Running, false, false),
        );
        let mut instances = BTreeMap::from([(zone_a(), instance(format!("a-{k}"), Build::Users))]);
        if k != "web-2" {
            b.has(&format!("b-{k}"), server(ServerState::Stopped, true, true));
            let policy = StandbyPolicy::Shutoff;
            let standby = instance(format!("b-{k}"), Build::Standby { policy });
            instances.insert(zone_b(), standby);
        }
        let kept = KeptServer {
            key: key(k),
            record: record(k, disk),
            instances,
            trouble: None,
        };
        let at = keys::kept_server(&group(), &kept.key);
        let put = Op::put_json(at, &kept, None).unwrap();
        store.txn(Txn::new().then(put)).await.unwrap();
    }
}
