//! A real Nova, with the Neutron and the Cinder beside it.
//!
//! ```text
//!   look, hold, start   by id as an administrator of the home project; by its mark and its root volume where no id is known
//!   build               names -> ids, ports, then a server with the mark: under a token of the server's own project
//!   remove              what bears the mark and has the root volume, then the ports that were made for it
//!   record              Nova's server, its attachments and Neutron's ports, in names where a name is unique
//! ```

mod build;
mod names;
mod record;
mod root;
mod shared;
mod states;

use super::{
    control::{BuildOrder, Seen, Servers, ServersError, Wanted},
    translate::translated,
};
use crate::catalogue::volumes::VolumeFeed;
use futures::{FutureExt, future::BoxFuture};
use names::Names;
use rekindle_common::{
    ZoneName,
    duration::Span,
    servers::{KeptServer, ServerRecord},
};
use rekindle_core::catalogue::mapping::Mapping;
use rekindle_openstack::{
    Cloud, CloudError, Nova, Scope,
    neutron::{Neutron, PortError},
    nova::{LOCKED_BY_US, Mark, Patience, Server, ServerError, Status},
};
use shared::Shared;
use states::state;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::{Duration, Instant, timeout};

/// The most servers of a project that are looked through for a mark. More are an error: the one may be among those that were cut.
const MOST: usize = 20_000;
/// The same of a whole cloud, of which only those with a mark are kept.
const MOST_OF_ALL: usize = 200_000;
/// Networks, subnets and security groups are listed again after this: they are lists of the whole cloud, and change seldom.
const NAMES_FOR: Duration = Duration::from_secs(60);

/// One zone's servers.
#[derive(Debug)]
pub struct NovaServers {
    cloud: Cloud,
    poll: Span,
    names: Mutex<Option<(Instant, Arc<Names>)>>,
    marked: Shared<Vec<Server>>,
    translation: Option<(Mapping, VolumeFeed)>,
}

impl NovaServers {
    /// By its cloud; `poll`: between two looks at a server that is waited for.
    #[must_use]
    pub fn new(cloud: Cloud, poll: Span) -> Self {
        Self {
            cloud,
            poll,
            names: Mutex::default(),
            marked: Shared::default(),
            translation: None,
        }
    }

    /// With what translates other zones' records: without it none is translated.
    #[must_use]
    pub fn translating(mut self, mapping: Mapping, volumes: VolumeFeed) -> Self {
        self.translation = Some((mapping, volumes));
        self
    }

    /// A server's record in this zone's names and on this zone's volumes, by what the catalogue last said of them.
    ///
    /// # Errors
    /// [`ServersError`] names all that has no counterpart here.
    pub fn translated(&self, kept: &KeptServer) -> Result<ServerRecord, ServersError> {
        let Some((mapping, volumes)) = &self.translation else {
            return Err(ServersError::Refused(format!(
                "{}: no mapping is configured ([catalogue]): {} cannot be built here",
                self.zone(),
                kept.key
            )));
        };
        let volumes = volumes.last();
        translated(&kept.record, self.zone(), mapping, volumes.as_deref()).map_err(|gaps| {
            let words: Vec<String> = gaps.iter().map(ToString::to_string).collect();
            let words = format!(
                "{}: {} cannot be built: {}",
                self.zone(),
                kept.key,
                words.join("; ")
            );
            sorted(gaps.iter().all(|g| g.unknown), words)
        })
    }

    fn home(&self) -> Nova {
        self.cloud.nova(Scope::Home)
    }

    fn neutron(&self) -> Neutron {
        self.cloud.neutron(Scope::Home)
    }

    fn zone(&self) -> &ZoneName {
        self.cloud.zone()
    }

    fn patience(&self, end: Instant) -> Patience {
        Patience {
            within: Span(end.saturating_duration_since(Instant::now())),
            poll: self.poll,
        }
    }

    /// Within the time, also where a call of a look would take longer.
    async fn within<T>(
        &self,
        within: Span,
        call: impl Future<Output = Result<T, ServersError>>,
    ) -> Result<T, ServersError> {
        match timeout(within.get(), call).await {
            Ok(end) => end,
            Err(_) => Err(ServersError::NotNow(format!(
                "{}: its cloud did not answer within {within}",
                self.zone()
            ))),
        }
    }

    /// By its id, else by its mark; none: it is certain that there is none. One that its user deleted is none, also while Nova keeps it for a
    /// time (`reclaim_instance_interval`): what was deleted is neither held nor started, and does not come back in the other zone.
    async fn find(&self, wanted: &Wanted) -> Result<Option<Server>, ServersError> {
        self.find_where(wanted, |s| !is_deleted(s)).await
    }

    /// The same with those that Nova still keeps: what we built is taken away to its end, for it has its volumes until then. To be built upon
    /// or taken away, one has to have the root volume also where its id is known.
    async fn find_kept(&self, wanted: &Wanted) -> Result<Option<Server>, ServersError> {
        let counts = |s: &Server| s.status != Status::Deleted;
        let found = self.find_where(wanted, counts).await?;
        match found {
            Some(server) if self.is_a_stranger(wanted, &server).await? => {
                self.passed_over(wanted, &server);
                let by_its_mark = Wanted {
                    id: None,
                    ..wanted.clone()
                };
                self.find_where(&by_its_mark, counts).await
            }
            found => Ok(found),
        }
    }

    async fn find_where(
        &self,
        wanted: &Wanted,
        counts: impl Fn(&Server) -> bool,
    ) -> Result<Option<Server>, ServersError> {
        if let Some(id) = &wanted.id {
            match self.home().server(id).await {
                Ok(server) if !counts(&server) => {}
                Ok(server) => return Ok(Some(server)),
                Err(CloudError::NotFound { .. }) => {}
                Err(e) => return Err(unseen(&e)),
            }
        }
        // A stand-by may have been built again under another id, and the word of it lost.
        let Some(mark) = self.mark(wanted)? else {
            return Ok(None);
        };
        // Each server without an id is looked for so, and their levels side by side.
        let home = self.home();
        let all = self.marked.read(home.marked_servers(MOST_OF_ALL)).await;
        let all = all.map_err(|e| unseen(&e))?;
        let marked: Vec<&Server> = all
            .iter()
            .filter(|s| s.mark().as_ref() == Some(&mark) && counts(s))
            .collect();
        let ours = self.with_its_root(wanted, &mark, &marked).await?;
        let mut ours = ours.into_iter();
        match (ours.next(), ours.next()) {
            (one, None) => Ok(one),
            (first, Some(second)) => Err(told(&ServerError::Twice {
                zone: self.zone().clone(),
                mark: mark.clone(),
                servers: first
                    .into_iter()
                    .chain([second])
                    .chain(ours)
                    .map(|s| s.to_string())
                    .collect(),
            })),
        }
    }

    fn mark(&self, wanted: &Wanted) -> Result<Option<Mark>, ServersError> {
        let Some(text) = &wanted.counterpart else {
            return Ok(None);
        };
        match text.split_once('/') {
            Some((zone, server)) if !zone.is_empty() && !server.is_empty() => Ok(Some(Mark {
                zone: zone.to_owned(),
                server: server.to_owned(),
            })),
            Some(_) | None => Err(ServersError::Refused(format!(
                "{text:?} names no counterpart: ZONE/ID does"
            ))),
        }
    }

    /// What things are called, as of a moment ago.
    async fn names(&self) -> Result<Arc<Names>, ServersError> {
        let kept = self
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((at, names)) = kept
            && at.elapsed() < NAMES_FOR
        {
            return Ok(names);
        }
        let names = Arc::new(Names::read(&self.neutron()).await.map_err(|e| unseen(&e))?);
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&names)));
        Ok(names)
    }

    async fn held(
        &self,
        wanted: &Wanted,
        reason: &str,
        within: Span,
    ) -> Result<Option<Seen>, ServersError> {
        let end = Instant::now() + within.get();
        let Some(server) = self.within(within, self.find(wanted)).await? else {
            return Ok(None);
        };
        let held = self
            .home()
            .ensure_held(&server.id, reason, self.patience(end))
            .await;
        match held {
            // The lock came after the look that it was made on.
            Ok(server) => Ok(Some(Seen {
                held: true,
                ..seen(&server)
            })),
            Err(ServerError::Gone { .. }) => Ok(None),
            Err(e) => Err(told(&e)),
        }
    }

    async fn started(&self, wanted: &Wanted, within: Span) -> Result<Seen, ServersError> {
        let end = Instant::now() + within.get();
        let Some(server) = self.within(within, self.find(wanted)).await? else {
            return Err(ServersError::Refused(format!(
                "{}: {} of group {} is not there: it is built first",
                self.zone(),
                wanted.key,
                wanted.group
            )));
        };
        let started = self
            .home()
            .ensure_active(&server.id, self.patience(end))
            .await
            .map_err(|e| told(&e))?;
        Ok(seen(&started))
    }

    async fn removed(&self, wanted: &Wanted, within: Span) -> Result<(), ServersError> {
        let end = Instant::now() + within.get();
        let Some(mark) = self.mark(wanted)? else {
            return Err(ServersError::Refused(format!(
                "{}: whose stand-by {} is is not known: it is left alone",
                self.zone(),
                wanted.key
            )));
        };
        let Some(root) = &wanted.root else {
            return Err(ServersError::Refused(format!(
                "{}: which root volume {} has there is not known: its stand-by is left alone",
                self.zone(),
                wanted.key
            )));
        };
        let found = self.within(within, self.find_kept(wanted)).await?;
        if let Some(server) = &found {
            self.home()
                .ensure_absent(&server.id, &mark, self.patience(end))
                .await
                .map_err(|e| told(&e))?;
        }
        let left = Span(end.saturating_duration_since(Instant::now()));
        let project = found.and_then(|s| s.project_id);
        self.within(left, self.remove_ports(wanted, project, root))
            .await
    }

    /// Its ports alone: what is there all the same is not touched here.
    async fn cleared(&self, wanted: &Wanted) -> Result<(), ServersError> {
        let Some(root) = &wanted.root else {
            return Ok(());
        };
        match self.find_kept(wanted).await? {
            Some(_) => Ok(()),
            None => self.remove_ports(wanted, None, root).await,
        }
    }
}

impl Servers for NovaServers {
    fn look<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        async move {
            let found = self.within(within, self.find(wanted)).await?;
            Ok(found.as_ref().map(seen))
        }
        .boxed()
    }

    fn hold<'a>(
        &'a self,
        wanted: &'a Wanted,
        reason: &'a str,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<Seen>, ServersError>> {
        // The calls of a loop end with their own deadline, a second later at most where Nova hangs.
        let call = self.held(wanted, reason, within);
        self.within(a_little_more(within), call).boxed()
    }

    fn start<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        self.within(a_little_more(within), self.started(wanted, within))
            .boxed()
    }

    fn build<'a>(
        &'a self,
        order: &'a BuildOrder,
        within: Span,
    ) -> BoxFuture<'a, Result<Seen, ServersError>> {
        self.within(a_little_more(within), self.built(order, within))
            .boxed()
    }

    fn check<'a>(
        &'a self,
        order: &'a BuildOrder,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        self.within(within, self.checked(order)).boxed()
    }

    fn translate<'a>(
        &'a self,
        kept: &'a KeptServer,
        _: Span,
    ) -> BoxFuture<'a, Result<ServerRecord, ServersError>> {
        async move { self.translated(kept) }.boxed()
    }

    fn remove<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        self.within(a_little_more(within), self.removed(wanted, within))
            .boxed()
    }

    fn clear<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<(), ServersError>> {
        self.within(within, self.cleared(wanted)).boxed()
    }

    fn record<'a>(
        &'a self,
        wanted: &'a Wanted,
        within: Span,
    ) -> BoxFuture<'a, Result<Option<ServerRecord>, ServersError>> {
        self.within(within, self.recorded(wanted)).boxed()
    }
}

/// So that the loop within says itself why it is late.
fn a_little_more(within: Span) -> Span {
    Span(within.get() + Duration::from_secs(1))
}

/// Its user deleted it, though Nova may keep it for a time.
fn is_deleted(server: &Server) -> bool {
    matches!(server.status, Status::Deleted | Status::SoftDeleted)
}

/// As it is seen from here.
fn seen(server: &Server) -> Seen {
    let ours = server.locked_reason.as_deref().unwrap_or_default();
    let fault = server
        .fault
        .as_ref()
        .map_or_else(String::new, |f| format!(" ({f})"));
    Seen {
        id: server.id.clone(),
        state: state(server),
        held: server.locked && ours.starts_with(LOCKED_BY_US),
        words: format!("{}{fault}", server.seen()),
        address: address(server),
        volumes: server.volumes.iter().map(|v| v.id.clone()).collect(),
    }
}

/// A floating one is not taken: it may still lead to the other zone.
fn address(server: &Server) -> Option<IpAddr> {
    let fixed = server.addresses.values().flatten();
    let mut all: Vec<IpAddr> = fixed
        .filter(|a| a.kind.as_deref() != Some("floating"))
        .filter_map(|a| a.addr.parse().ok())
        .collect();
    // Stable: within a family the order stays.
    all.sort_by_key(IpAddr::is_ipv6);
    all.into_iter().next()
}

/// What came of an order.
fn told(e: &ServerError) -> ServersError {
    let unsure = matches!(e, ServerError::Cloud(c) if c.may_have_taken_effect());
    sorted(e.is_passing() || unsure, e.in_full())
}

/// Why something could not be looked at.
fn unseen(e: &CloudError) -> ServersError {
    sorted(e.is_passing() || e.may_have_taken_effect(), e.in_full())
}

/// Why a port could not be had.
fn no_port(e: &PortError) -> ServersError {
    match e {
        PortError::Cloud(e) => unseen(e),
        PortError::AddressTaken { .. }
        | PortError::OverQuota { .. }
        | PortError::InUse { .. }
        | PortError::Twice { .. } => ServersError::Refused(e.to_string()),
    }
}

fn sorted(passes: bool, words: String) -> ServersError {
    if passes {
        ServersError::NotNow(words)
    } else {
        ServersError::Refused(words)
    }
}

#[cfg(test)]
mod tests;
