//! From a configuration to a sidecar on real parts.

use crate::{
    actions::{self, Parts, Volumes},
    backend::{
        Backend,
        rbd::{RbdBackend, RbdOptions},
    },
    cinder::Side,
    clock::Clock,
    config::Config,
    lease::{LeaseConfig, LeaseRunner, OtherSite},
    leases::{Leases, NoLeases},
    schedule::{self, ScheduleConfig},
    sidecar::{Sidecar, Task},
};
use rekindle_common::{ApiError, SiteName};
use rekindle_net::{
    Client, ClientLimits, ListenConfig, OrchestratorClient, Orchestrators, SocketOptions,
};
use rekindle_store::{EtcdStore, Store};
use std::{sync::Arc, time::Duration};

/// What of the machine could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// librbd cannot be loaded.
    #[error("librbd cannot be used")]
    Library(#[from] rbd_rs::Error),
    /// etcd's configuration cannot be used; that it does not answer is no error here.
    #[error("etcd cannot be used")]
    Store(#[from] rekindle_store::StoreError),
    /// A listener cannot be bound.
    #[error("cannot listen")]
    Listen(#[from] rekindle_net::ServeError),
    /// Another site's orchestrator cannot be asked.
    #[error("failsafe.sites: {site}: {why}")]
    Site {
        /// Which.
        site: SiteName,
        /// Why; names the field.
        why: ApiError,
    },
    /// The other zone's sidecar cannot be asked.
    #[error("peer: {0}")]
    Peer(ApiError),
    /// A field that [`Config::check`] would have refused.
    #[error("{0} cannot be used")]
    Unchecked(&'static str),
}

/// A sidecar with its listeners bound, not yet serving. Its cluster and etcd are contacted with the first call.
///
/// # Errors
/// [`BuildError`].
pub async fn sidecar(config: &Config) -> Result<Sidecar, BuildError> {
    let backend = RbdBackend::new(RbdOptions {
        conf: config.ceph.conf.clone(),
        client: config.ceph.client.clone(),
        keyring: config.ceph.keyring.clone(),
        pools: config.ceph.pools.clone(),
        threads: config.ceph.threads,
        connect_timeout: config.ceph.connect_timeout.get(),
    })?;
    let instance = uuid::Uuid::new_v4().to_string();
    let (keeper, leases) = leases(config, &instance).await?;
    let volumes = Volumes::of_instance(
        instance,
        Parts {
            zone: config.zone.clone(),
            backend: Backend::Rbd(backend),
            state_pool: config.state_pool().to_owned(),
            leases,
            clock: Clock::System,
            limits: config.limits,
        },
    );
    let mut sidecar = Sidecar::of(volumes, config.http.get())
        .with_task(Box::new(|volumes, stop| {
            Box::pin(actions::watch(volumes, stop))
        }))
        .with_task(Box::new(|volumes, stop| {
            let config = ScheduleConfig::default();
            Box::pin(schedule::run(volumes, Clock::System, config, stop))
        }));
    if let Some(keeper) = keeper {
        sidecar = sidecar.with_task(keeper);
    }
    let peer = peer(config)?;
    let orchestrators = orchestrators(config)?;
    sidecar = sidecar.with_cinder(peer, orchestrators, config.cinder);
    listen(config, &mut sidecar).await?;
    Ok(sidecar)
}

/// The lease keeper as a task, and the leases as the actions see them.
async fn leases(
    config: &Config,
    instance: &str,
) -> Result<(Option<Task>, Arc<dyn Leases>), BuildError> {
    let Some(etcd) = &config.etcd else {
        return Ok((None, Arc::new(NoLeases)));
    };
    let store = Store::from(EtcdStore::connect(etcd).await?);
    let sites = sites(config, SITE_LIMITS)?
        .into_iter()
        .map(|(site, client)| OtherSite { site, client })
        .collect::<Vec<_>>();
    let lease_config = LeaseConfig::new(config.zone.clone(), instance);
    let (runner, handle) = LeaseRunner::new(lease_config, store, sites);
    let task: Task = Box::new(|volumes, stop| Box::pin(runner.run(volumes, stop)));
    Ok((Some(task), Arc::new(handle)))
}

/// The other sites' orchestrators.
fn sites(
    config: &Config,
    limits: ClientLimits,
) -> Result<Vec<(SiteName, OrchestratorClient)>, BuildError> {
    let mut sites = Vec::new();
    for (site, url) in &config.failsafe.sites {
        let files = config
            .failsafe_tls()
            .ok_or(BuildError::Unchecked("failsafe.tls"))?;
        let client = Client::mtls(url, files, limits).map_err(|why| BuildError::Site {
            site: site.clone(),
            why,
        })?;
        sites.push((site.clone(), client.into()));
    }
    Ok(sites)
}

/// Whom to ask for a group's plan. The leader may be this zone's own orchestrator: the others give its address.
fn orchestrators(config: &Config) -> Result<Orchestrators, BuildError> {
    let known = sites(config, PLAN_LIMITS)?;
    let beyond = config.failsafe_tls().map(|f| (f.clone(), PLAN_LIMITS));
    Ok(Orchestrators::new(known, beyond))
}

/// The other zone, as Cinder names it.
fn peer(config: &Config) -> Result<Option<(String, Side)>, BuildError> {
    let Some(peer) = &config.peer else {
        return Ok(None);
    };
    let files = config.peer_tls().ok_or(BuildError::Unchecked("peer.tls"))?;
    let client =
        Client::mtls(&peer.url, files, ClientLimits::default()).map_err(BuildError::Peer)?;
    let side = Side::other(peer.zone.clone(), client.into());
    Ok(Some((peer.backend_id().to_owned(), side)))
}

/// Another site tries its own etcd before it answers.
const SITE_LIMITS: ClientLimits = ClientLimits {
    connect_time: Duration::from_secs(1),
    call_time: Duration::from_secs(4),
    line_time: Duration::from_secs(4),
    answer: 64 * 1024,
};

/// A plan's lines come when something happens; who waits for them has a deadline of their own.
const PLAN_LIMITS: ClientLimits = ClientLimits {
    connect_time: Duration::from_secs(1),
    call_time: Duration::from_secs(10),
    line_time: Duration::from_secs(120),
    answer: 16 * 1024 * 1024,
};

async fn listen(config: &Config, sidecar: &mut Sidecar) -> Result<(), BuildError> {
    if let Some(path) = &config.listen.unix {
        let mode = config
            .socket_mode()
            .ok_or(BuildError::Unchecked("listen.unix_mode"))?;
        let at = ListenConfig::Unix {
            path: path.clone(),
            options: SocketOptions {
                mode,
                group: config.listen.unix_group,
            },
        };
        sidecar.listen(&at).await?;
    }
    if let (Some(address), Some(files)) = (config.listen.tcp, &config.listen.tls) {
        let at = ListenConfig::Tls {
            address,
            files: files.clone(),
            allowed: config.listen.allowed.clone(),
        };
        let bound = sidecar.listen(&at).await?;
        tracing::info!(address = ?bound.address(), "listening");
    }
    if let Some(address) = config.listen.metrics {
        sidecar
            .listen_probes(&ListenConfig::Loopback { address })
            .await?;
    }
    Ok(())
}
