//! A zone's servers that are kept in memory, with faults as verbs.

use futures::{FutureExt, future::BoxFuture};
use rekindle_common::{
    ZoneName,
    duration::Span,
    runbook::StandbyPolicy,
    servers::{PowerWish, ServerRecord},
};
use rekindle_orchestrator::servers::control::{
    BuildOrder, Seen, ServerState, Servers, ServersError, Wanted,
};
use std::sync::Mutex;

/// A server.
#[derive(Debug, Clone)]
pub struct Srv {
    pub id: String,
    pub record: ServerRecord,
    pub state: ServerState,
    pub held: bool,
    pub mark: Option<String>,
}

impl Srv {
    fn bears(&self, wanted: &Wanted) -> bool {
        self.mark.is_some() && self.mark == wanted.counterpart
    }

    fn has_root(&self, wanted: &Wanted) -> bool {
        let root = self.record.disks.first().map(|d| &d.volume.id);
        root.is_some() && root == wanted.root.as_ref()
    }
}

/// What every call meets with.
#[derive(Debug, Clone, Default)]
pub enum Mode {
    #[default]
    Well,
    /// It never answers.
    Hangs,
    /// Builds alone never end.
    BuildsHang,
    /// Builds alone are refused.
    BuildsFail(String),
    /// Another could not be built.
    ChecksFail(String),
}

#[derive(Debug, Default)]
struct World {
    servers: Vec<Srv>,
    mode: Mode,
    log: Vec<String>,
    made: u32,
}

/// It.
#[derive(Debug)]
pub struct FakeCloud {
    zone: ZoneName,
    world: Mutex<World>,
}

impl FakeCloud {
    pub fn new(zone: ZoneName) -> Self {
        Self {
            zone,
            world: Mutex::default(),
        }
    }

    /// Its users build one.
    pub fn put(&self, id: &str, record: ServerRecord) {
        let record = ServerRecord {
            id: Some(id.to_owned()),
            zone: self.zone.clone(),
            ..record
        };
        self.world.lock().unwrap().servers.push(Srv {
            id: id.to_owned(),
            record,
            state: ServerState::Running,
            held: false,
            mark: None,
        });
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Srv)) {
        let mut world = self.world.lock().unwrap();
        change(world.servers.iter_mut().find(|s| s.id == id).unwrap());
    }

    pub fn remove_by_hand(&self, id: &str) {
        self.world.lock().unwrap().servers.retain(|s| s.id != id);
    }

    pub fn mode(&self, mode: Mode) {
        self.world.lock().unwrap().mode = mode;
    }

    pub fn servers(&self) -> Vec<Srv> {
        self.world.lock().unwrap().servers.clone()
    }

    /// The orders so far: what changes something. Emptied by that.
    pub fn orders(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().log)
    }

    /// Looks at one, or meets with what every call does.
    async fn with<T>(
        &self,
        within: Span,
        build: bool,
        act: impl FnOnce(&mut World) -> Result<T, ServersError>,
    ) -> Result<T, ServersError> {
        let mode = self.world.lock().unwrap().mode.clone();
        let hangs = match &mode {
            Mode::Hangs => true,
            Mode::BuildsHang => build,
            _ => false,
        };
        if hangs {
            tokio::time::sleep(within.get()).await;
            return Err(ServersError::NotNow("it did not answer".to_owned()));
        }
        match mode {
            Mode::BuildsFail(words) if build => Err(ServersError::Refused(words)),
            _ => act(&mut self.world.lock().unwrap()),
        }
    }
}

fn seen(s: &Srv) -> Seen {
    Seen {
        id: s.id.clone(),
        state: s.state,
        held: s.held,
        words: format!("{:?}", s.state),
        address: None,
        volumes: Vec::new(),
    }
}

impl World {
    /// What may be built upon or taken away: one that bears the mark has the root volume too, also where its id is known.
    fn find_ours(&mut self, wanted: &Wanted) -> Option<&mut Srv> {
        let by_its_mark = Wanted {
            id: None,
            ..wanted.clone()
        };
        let stranger = |s: &mut Srv| s.bears(wanted) && !s.has_root(wanted);
        if self.find(wanted).is_some_and(stranger) {
            return self.find(&by_its_mark);
        }
        self.find(wanted)
    }

    fn find(&mut self, wanted: &Wanted) -> Option<&mut Srv> {
        let by_id = self
            .servers
            .iter()
            .position(|s| Some(&s.id) == wanted.id.as_ref());
        // As the real one: the mark alone is nobody's word.
        let by_mark = || {
            let mut all = self.servers.iter();
            all.position(|s| s.bears(wanted) && s.has_root(wanted))
        };
        let at = by_id.or_else(by_mark)?;
        self.servers.get_mut(at)
    }
}

impl Servers for FakeCloud {
    fn look<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        self.with(within, false, |w| Ok(w.find(wanted).map(|s| seen(s))))
            .boxed()
    }
    fn hold<'a>(
        &'a self,
        wanted: &'a Wanted,
        _: &'a str,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        self.with(within, false, |w| {
            let Some(s) = w.find(wanted) else {
                return Ok(None);
            };
            (s.state, s.held) = (ServerState::Stopped, true);
            let (seen, id) = (seen(s), s.id.clone());
            w.log.push(format!("hold {id}"));
            Ok(Some(seen))
        })
        .boxed()
    }
    fn start<'a>(
        &'a self,
        _: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        self.with(within, false, |_| {
            Err(ServersError::Refused(
                "the keeper starts nothing".to_owned(),
            ))
        })
        .boxed()
    }
    fn build<'a>(
        &'a self,
        order: &'a BuildOrder,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        self.with(within, true, |w| {
            let wanted = Wanted {
                root: order.record.disks.first().map(|d| d.volume.id.clone()),
                ..order.wanted.clone()
            };
            if let Some(s) = w.find_ours(&wanted) {
                if s.mark != order.wanted.counterpart {
                    return Err(ServersError::Refused(format!(
                        "{} bears {:?} where {:?} is due",
                        s.id, s.mark, order.wanted.counterpart
                    )));
                }
                (s.state, s.held) = (ServerState::Stopped, true);
                let (seen, id) = (seen(s), s.id.clone());
                w.log.push(format!("adopt {id}"));
                return Ok(seen);
            }
            w.made += 1;
            let id = format!("built-{}", w.made);
            let rest = if order.rest == StandbyPolicy::Shelved {
                " shelved"
            } else {
                ""
            };
            w.log.push(format!("build {id}{rest}"));
            let record = ServerRecord {
                id: Some(id.clone()),
                power: PowerWish::ShutOff,
                ..order.record.clone()
            };
            w.servers.push(Srv {
                id,
                record,
                state: ServerState::Stopped,
                held: true,
                mark: order.wanted.counterpart.clone(),
            });
            Ok(seen(w.servers.last().unwrap()))
        })
        .boxed()
    }
    fn check<'a>(
        &'a self,
        _: &'a BuildOrder,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        let fails = match &self.world.lock().unwrap().mode {
            Mode::ChecksFail(words) => Some(words.clone()),
            _ => None,
        };
        self.with(within, false, |_| {
            fails.map_or(Ok(()), |words| Err(ServersError::Refused(words)))
        })
        .boxed()
    }
    fn remove<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        self.with(within, false, |w| {
            let Some(s) = w.find_ours(wanted) else {
                return Ok(());
            };
            if !s.bears(wanted) {
                return Err(ServersError::Refused(format!("{} is left alone", s.id)));
            }
            let id = s.id.clone();
            w.log.push(format!("remove {id}"));
            w.servers.retain(|s| s.id != id);
            Ok(())
        })
        .boxed()
    }
    fn clear<'a>(&'a self, _: &'a Wanted, within: Span) -> BoxFuture<'a, Result<(), ServersError>> {
        self.with(within, false, |w| {
            w.log.push("clear".to_owned());
            Ok(())
        })
        .boxed()
    }
    fn record<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<ServerRecord>, ServersError>> {
        self.with(within, false, |w| {
            Ok(w.find(wanted).map(|s| s.record.clone()))
        })
        .boxed()
    }
}
