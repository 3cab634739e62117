//! The server: listeners, limits on connections and time, and a drain.

mod allowed;
mod knocking;
mod listen;
mod reading;
mod request;

pub use allowed::{AllowedNames, InvalidPattern};
use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use knocking::{Knock, Knocking};
pub use listen::{Bound, ListenConfig, ServeError, SocketOptions};
use listen::{Conn, Listener};
use reading::Reading;
use rekindle_common::{ApiError, ErrorCode};
pub use request::Peer;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Refusals that are written at once; beyond it a connection is closed without a word.
const REFUSALS_AT_ONCE: usize = 64;
/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Connections whose TLS handshake is not through, or whose certificate may not ask: they have no slot.
const KNOCKING: usize = 64;
/// For a handshake at most: two lost messages are sent again within it, and our own clients wait for no more than two seconds.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// For a slot, once a peer has shown who it is.
const SLOT_TIME: Duration = Duration::from_secs(1);
/// After a failed accept (no file descriptors, say): pause, rather than spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one client, and all together, may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of peers over all TLS listeners; as many again over the unix ones, and again over the loopback ones. Who has not shown a
    /// certificate that may ask is in none.
    pub connections: usize,
    /// From a connection's start, or its last answer, to a complete head; also for the TLS handshake, which has five seconds at most.
    pub header_time: Duration,
    /// Bytes of a body.
    pub body: usize,
    /// From a request's head to the head of its answer. A stream may go on after it.
    pub request_time: Duration,
    /// How long what is in flight may take to finish once the server is to stop.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            header_time: Duration::from_secs(10),
            body: 2 * 1024 * 1024,
            request_time: Duration::from_secs(60),
            drain_time: Duration::from_secs(20),
        }
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All that was in flight has finished.
    Clean,
    /// The drain time ran out; so many connections were cut.
    Cut {
        /// How many.
        connections: usize,
    },
}

/// Listeners with their routers, not yet serving.
pub struct Server {
    limits: Limits,
    listeners: Vec<(Listener, Router)>,
}

impl Server {
    /// A server without listeners.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            listeners: Vec::new(),
        }
    }

    /// Binds a listener and serves `router` there. Clients can connect from now on; they are answered once it runs.
    ///
    /// # Errors
    /// [`ServeError`] where it cannot be bound, or its certificates cannot be used.
    pub async fn listen(
        &mut self,
        config: &ListenConfig,
        router: Router,
    ) -> Result<Bound, ServeError> {
        let (listener, bound) = Listener::bind(config).await?;
        let router = request::layers(router, self.limits);
        self.listeners.push((listener, router));
        Ok(bound)
    }

    /// Serves until `stop`; then takes nothing new, lets what is in flight finish within the drain time, and cuts the rest.
    pub async fn run(self, stop: CancellationToken) -> Drained {
        let shared = Arc::new(Shared::new(self.limits, stop.clone()));
        let accepting = TaskTracker::new();
        for (listener, router) in self.listeners {
            accepting.spawn(accept(listener, router, Arc::clone(&shared)));
        }
        accepting.close();
        accepting.wait().await;
        stop.cancelled().await;
        shared.tracker.close();
        let drained = timeout(self.limits.drain_time, shared.tracker.wait()).await;
        if drained.is_ok() {
            return Drained::Clean;
        }
        let connections = shared.tracker.len();
        tracing::warn!(
            connections,
            "the drain time is over: cutting what is in flight"
        );
        shared.cut.cancel();
        shared.tracker.wait().await;
        Drained::Cut { connections }
    }
}

struct Shared {
    limits: Limits,
    /// Slots of the unix listeners: neither what comes over the network takes any of them, nor any user of the machine.
    unix: Arc<Semaphore>,
    /// Slots of the loopback listeners.
    loopback: Arc<Semaphore>,
    /// Slots of the TLS listeners.
    peers: Arc<Semaphore>,
    knocking: Arc<Knocking>,
    refusals: Arc<Semaphore>,
    tracker: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Shared {
    fn new(limits: Limits, stop: CancellationToken) -> Self {
        let slots = || Arc::new(Semaphore::new(limits.connections));
        Self {
            limits,
            unix: slots(),
            loopback: slots(),
            peers: slots(),
            knocking: Arc::new(Knocking::new(KNOCKING)),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE)),
            tracker: TaskTracker::new(),
            stop,
            cut: CancellationToken::new(),
        }
    }
}

async fn accept(listener: Listener, router: Router, shared: Arc<Shared>) {
    loop {
        let conn = tokio::select! {
            () = shared.stop.cancelled() => return,
            conn = listener.accept() => conn,
        };
        let conn = match conn {
            Ok(conn) => conn,
            Err(error) => {
                tracing::warn!(%error, listener = %listener.name(), "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, shared) = (router.clone(), Arc::clone(&shared));
        let tracker = shared.tracker.clone();
        match conn {
            Conn::Unix(stream, peer) => match slot(&shared.unix, &listener) {
                Some(slot) => tracker.spawn(local(stream, peer, router, shared, slot)),
                None => tracker.spawn(refuse(stream, shared)),
            },
            Conn::Plain(stream, peer) => match slot(&shared.loopback, &listener) {
                Some(slot) => tracker.spawn(local(stream, peer, router, shared, slot)),
                None => tracker.spawn(refuse(stream, shared)),
            },
            Conn::Tls {
                stream,
                address,
                acceptor,
                allowed,
            } => {
                // Before the task is: so they stay few.
                let knock = shared.knocking.knock(address.ip());
                let knocker = Knocker {
                    stream,
                    address,
                    acceptor,
                    allowed,
                    knock,
                };
                tracker.spawn(knocker.let_in(router, shared))
            }
        };
    }
}

fn slot(slots: &Arc<Semaphore>, listener: &Listener) -> Option<OwnedSemaphorePermit> {
    let slot = Arc::clone(slots).try_acquire_owned().ok();
    if slot.is_none() {
        tracing::debug!(listener = %listener.name(), "too many connections");
    }
    slot
}

async fn local<S>(
    stream: S,
    peer: Peer,
    router: Router,
    shared: Arc<Shared>,
    slot: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _slot = slot;
    serve(Reading::new(stream), peer, router, &shared).await;
}

/// Somebody at the door of a TLS listener.
struct Knocker {
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    allowed: Arc<AllowedNames>,
    knock: Knock,
}

impl Knocker {
    /// Serves it once it has shown that it may ask, and takes a slot only then.
    async fn let_in(self, router: Router, shared: Arc<Shared>) {
        let Self {
            stream,
            address,
            acceptor,
            allowed,
            knock,
        } = self;
        let within = shared.limits.header_time.min(HANDSHAKE_TIME);
        let handshake = tokio::select! {
            () = shared.stop.cancelled() => return,
            () = knock.sent_away() => return crowded(address),
            done = timeout(within, acceptor.accept(Reading::new(stream))) => done,
        };
        let tls = match handshake {
            Ok(Ok(tls)) => tls,
            // Anybody may knock: this is no fault of ours.
            Ok(Err(error)) => {
                tracing::info!(%address, %error, "a TLS handshake was refused");
                return;
            }
            Err(_) => {
                tracing::info!(%address, "a TLS handshake took too long");
                return;
            }
        };
        let names = crate::tls::names(tls.get_ref().1.peer_certificates());
        if !allowed.admits(&names) {
            let router = request::layers(allowed::refusing(&names), shared.limits);
            let peer = Peer::Certificate { address, names };
            let told = serve(tls, peer, router, &shared);
            // It stays at the door while it is told, and not for longer than it takes to ask.
            tokio::select! {
                _ = timeout(shared.limits.header_time, told) => {}
                () = knock.sent_away() => crowded(address),
            }
            return;
        }
        let slot = tokio::select! {
            () = shared.stop.cancelled() => return,
            () = knock.sent_away() => return crowded(address),
            slot = timeout(SLOT_TIME, Arc::clone(&shared.peers).acquire_owned()) => slot,
        };
        drop(knock);
        let Ok(Ok(_slot)) = slot else {
            tracing::debug!(%address, "too many connections");
            return refuse(tls, shared).await;
        };
        let peer = Peer::Certificate { address, names };
        serve(tls, peer, router, &shared).await;
    }
}

fn crowded(address: SocketAddr) {
    tracing::info!(%address, "too many connections without a certificate that may ask: this one is closed");
}

async fn serve<S>(stream: S, peer: Peer, router: Router, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(request::for_peer(router, peer));
    let conn = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.header_time)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut conn = std::pin::pin!(conn);
    let mut stopping = false;
    loop {
        tokio::select! {
            done = conn.as_mut() => {
                if let Err(error) = done {
                    tracing::debug!(%error, "a connection ended badly");
                }
                return;
            }
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                conn.as_mut().graceful_shutdown();
            }
            () = shared.cut.cancelled() => return,
        }
    }
}

/// Says why, where not too many are told so already.
async fn refuse(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let Ok(_permit) = shared.refusals.try_acquire() else {
        return;
    };
    let _ = timeout(REFUSAL_TIME, write_refusal(stream)).await;
}

async fn write_refusal(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let error = ApiError::new(
        ErrorCode::TooManyRequests,
        "too many connections: try again in a moment",
    );
    let body = serde_json::to_string(&error).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with something unread would reset the connection and lose the answer.
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests;
