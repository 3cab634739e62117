//! The gateway as a whole: built of its configuration, run until it is told to stop.

use crate::{
    actions::{Actions, Places, Rules, RulesError},
    admin,
    config::{ActionsConfig, Config},
    guards::Guards,
    metrics::Metrics,
    prefix::Prefix,
    proxy::Proxy,
    server::Server,
    status::{Names, Statuses},
    upstream::Upstream,
    workers::Workers,
};
use hyper::header::HeaderValue;
use rekindle_common::ApiError;
use rekindle_net::{Client, ClientLimits, Drained, ListenConfig, ServeError, ServerTls, TlsError};
use rekindle_openstack::{Cloud, CloudError};
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// The probes and the metrics are the last to end, and all that is asked there is answered at once: a connection that stands open, or has sent
/// half a head, is no reason to go past the drain time.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// What of the machine could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be listened on.
    #[error("listen.address: cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The clients' certificates.
    #[error("listen.tls")]
    ListenTls(#[source] TlsError),
    /// The threads that serve clients.
    #[error("cannot start the threads that serve clients")]
    Threads(#[source] io::Error),
    /// Cinder's authorities.
    #[error("upstream.ca")]
    UpstreamTls(#[source] TlsError),
    /// The metrics' address cannot be listened on.
    #[error("listen.metrics")]
    Metrics(#[source] ServeError),
    /// The gateway's own account.
    #[error("actions.cloud")]
    Cloud(#[from] CloudError),
    /// Who may ask for what.
    #[error("actions.rules")]
    Rules(#[from] RulesError),
    /// The sidecar's address or the certificates for it.
    #[error("actions.sidecar: {0}")]
    Sidecar(ApiError),
    /// A field that [`Config::check`] would have refused.
    #[error("{0} cannot be used")]
    Unchecked(&'static str),
}

/// Whether new requests are welcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether they are.
    #[must_use]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A gateway with its listeners bound, not yet serving.
pub struct Gateway {
    server: Server,
    address: SocketAddr,
    admin: rekindle_net::Server,
    admin_address: Option<SocketAddr>,
    ready: Ready,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Clients can connect from now on; they are answered once it runs. Cinder is contacted with the first request.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn bind(config: &Config) -> Result<Self, BuildError> {
        let metrics = Metrics::new(&config.zone);
        let ready = Ready::default();
        let up = &config.upstream;
        let upstream = Upstream::new(
            &up.url,
            up.ca.as_deref(),
            up.connections,
            up.times(),
            &metrics,
        )
        .map_err(BuildError::UpstreamTls)?;
        let prefix = config.forwarded.prefix.as_deref();
        let prefix = prefix.map(HeaderValue::from_str).transpose();
        let tls = config.listen.tls.as_ref();
        let tls = tls.map(|t| ServerTls::load(&t.cert, &t.key)).transpose();
        let (listener, address) = bind(config.listen.address).await?;
        let actions = config.actions.as_ref();
        let actions = actions.map(|a| acting(config, a, &metrics)).transpose()?;
        let server = Server {
            listener,
            workers: Workers::start().map_err(BuildError::Threads)?,
            tls: tls.map_err(BuildError::ListenTls)?,
            limits: config.limits.server(),
            proxy: Arc::new(Proxy {
                upstream,
                metrics: metrics.clone(),
                places: Arc::new(Semaphore::new(config.limits.requests)),
                coming: Arc::new(Semaphore::new((config.limits.requests / 2).max(1))),
                body_limit: config.limits.body,
                trusted: config.forwarded.trusted.clone(),
                prefix: prefix.map_err(|_| BuildError::Unchecked("forwarded.prefix"))?,
                cinders: Prefix::read(&up.prefix)
                    .ok_or(BuildError::Unchecked("upstream.prefix"))?,
                strayed: Once::new(),
                statuses: actions
                    .as_ref()
                    .filter(|_| config.status.shown)
                    .map(|actions| {
                        Statuses::new(
                            actions.sidecar.clone(),
                            actions.names.clone(),
                            config.peer.clone(),
                            config.status.settings(),
                            &metrics,
                        )
                    }),
                guards: actions
                    .as_ref()
                    .filter(|_| config.guards.enforced)
                    .map(|actions| {
                        Guards::new(
                            actions.names.clone(),
                            &actions.sidecar,
                            config.peer.clone(),
                            config.guards.wait_time.get(),
                        )
                    }),
                actions,
            }),
        };
        let mut admin = rekindle_net::Server::new(rekindle_net::Limits {
            drain_time: ADMIN_DRAIN.min(config.limits.drain_time.get()),
            ..rekindle_net::Limits::default()
        });
        let mut admin_address = None;
        if let Some(address) = config.listen.metrics {
            let router = admin::router(metrics, ready.clone());
            let at = ListenConfig::Loopback { address };
            let bound = admin.listen(&at, router).await;
            admin_address = bound.map_err(BuildError::Metrics)?.address();
        }
        Ok(Self {
            server,
            address,
            admin,
            admin_address,
            ready,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the metrics and the probes are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Runs until `stop`: then it is not ready any more, takes nothing new, and finishes what is in flight within the drain time.
    pub async fn run(self, stop: CancellationToken) -> Drained {
        let Self {
            server,
            admin,
            ready,
            ..
        } = self;
        ready.set(true);
        // The probes and the metrics stay to the end: they say that it drains.
        let admin_stop = CancellationToken::new();
        let draining = {
            let (ready, stop) = (ready.clone(), stop.clone());
            async move {
                stop.cancelled().await;
                ready.set(false);
            }
        };
        let serving = async {
            let (drained, ()) = tokio::join!(server.run(stop), draining);
            admin_stop.cancel();
            drained
        };
        let (drained, _) = tokio::join!(serving, admin.run(admin_stop.clone()));
        drained
    }
}

/// Whether the file of rules can be used, where the configuration names one.
///
/// # Errors
/// [`BuildError::Rules`].
pub fn check_rules(config: &Config) -> Result<(), BuildError> {
    let file = config.actions.as_ref().and_then(|a| a.rules.as_ref());
    file.map(|file| Rules::read(file)).transpose()?;
    Ok(())
}

/// What a gateway of that configuration does with which paths, in words.
#[must_use]
pub fn paths(config: &Config) -> String {
    let prefix = &config.upstream.prefix;
    if config.actions.is_none() {
        return "all paths go on to Cinder; without [actions] nothing is guarded".to_owned();
    }
    let guards = if config.guards.enforced {
        "is guarded"
    } else {
        "is not guarded (guards.enforced = false)"
    };
    format!(
        "what is under {prefix}/v3 goes on to Cinder, and {guards}; so do {prefix}/ and {prefix}/healthcheck, and all else is 404"
    )
}

/// Nobody is contacted yet.
fn acting(
    whole: &Config,
    config: &ActionsConfig,
    metrics: &Metrics,
) -> Result<Actions, BuildError> {
    let s = &config.sidecar;
    let limits = ClientLimits {
        call_time: s.call_time.get(),
        ..ClientLimits::default()
    };
    let sidecar = match (&s.unix, &s.url, &s.tls) {
        (Some(path), None, None) => Client::unix(path, limits),
        (None, Some(url), Some(files)) => {
            Client::mtls(url, files, limits).map_err(BuildError::Sidecar)?
        }
        (_, _, _) => return Err(BuildError::Unchecked("actions.sidecar")),
    };
    let cloud = Cloud::new(whole.zone.clone(), config.cloud.clone())?;
    Ok(Actions {
        names: Names::new(cloud.clone()),
        cloud,
        sidecar: sidecar.into(),
        rules: match &config.rules {
            Some(file) => Rules::read(file)?,
            None => Rules::default(),
        },
        places: Places::new(whole.limits.project_actions),
        metrics: metrics.clone(),
    })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BuildError> {
    let refused = |source| BuildError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}
