//! The clients' side: a listener, limits on connections and time, and a drain.

use crate::{
    client_io::{ClientIo, ClientTimes, Shared},
    fault::{Fault, new_id},
    framing::HeadLimits,
    headers::Scheme,
    proxy::{Client, Proxy},
    workers::Workers,
};
use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rekindle_net::{Drained, ServerTls};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Refusals that are written at once; beyond it a connection is closed without a word.
const REFUSALS_AT_ONCE: usize = 64;
/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// After a failed accept (no file descriptors, say): pause, rather than spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What hyper may hold of a connection beside its largest head.
const BUFFER: usize = 16 * 1024;

/// What clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerLimits {
    pub(crate) connections: usize,
    pub(crate) head: HeadLimits,
    pub(crate) times: ClientTimes,
    /// How long what is in flight may take to finish at the end.
    pub(crate) drain: Duration,
}

pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) workers: Workers,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) limits: ServerLimits,
    pub(crate) proxy: Arc<Proxy>,
}

struct Serving {
    tls: Option<ServerTls>,
    limits: ServerLimits,
    proxy: Arc<Proxy>,
    tracker: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    /// Serves until `stop`; then takes nothing new, lets what is in flight finish within the drain time, and cuts the rest.
    pub(crate) async fn run(self, stop: CancellationToken) -> Drained {
        let Self {
            listener,
            workers,
            tls,
            limits,
            proxy,
        } = self;
        let serving = Arc::new(Serving {
            tls,
            limits,
            proxy,
            tracker: TaskTracker::new(),
            stop: stop.clone(),
            cut: CancellationToken::new(),
        });
        serving.accept(&listener, &workers).await;
        // From now on a client is refused by the machine itself, and goes to another gateway.
        drop(listener);
        serving.tracker.close();
        if timeout(limits.drain, serving.tracker.wait()).await.is_ok() {
            return Drained::Clean;
        }
        let connections = serving.tracker.len();
        tracing::warn!(
            connections,
            "the drain time is over: cutting what is in flight"
        );
        serving.cut.cancel();
        serving.tracker.wait().await;
        Drained::Cut { connections }
    }
}

impl Serving {
    async fn accept(self: &Arc<Self>, listener: &TcpListener, workers: &Workers) {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let refusals = Arc::new(Semaphore::new(REFUSALS_AT_ONCE));
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => {
                    // It is known to this thread's runtime, and is to be to another's.
                    let Ok(stream) = stream.into_std() else {
                        continue;
                    };
                    let this = Arc::clone(self);
                    workers.serve(&self.tracker, async move {
                        let _slot = slot;
                        match TcpStream::from_std(stream) {
                            Ok(stream) => this.connection(stream, peer).await,
                            Err(error) => tracing::warn!(%error, "a connection was not taken up"),
                        }
                    });
                }
                Err(_) => {
                    self.proxy.metrics.fault("connections");
                    // Without a handshake there is no telling: closing is the answer.
                    if self.tls.is_none()
                        && let Ok(permit) = Arc::clone(&refusals).try_acquire_owned()
                    {
                        self.tracker.spawn(async move {
                            let _permit = permit;
                            let _ = timeout(REFUSAL_TIME, refuse(stream)).await;
                        });
                    }
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        let _counted = self.proxy.metrics.connection();
        // An answer's head and its body are two writes: waiting for more only delays them.
        if stream.set_nodelay(true).is_err() {
            // Only a connection that is gone already refuses this.
            return;
        }
        let Some(tls) = &self.tls else {
            return self.serve(stream, peer, Scheme::Http).await;
        };
        let acceptor = TlsAcceptor::from(tls.current());
        let handshake = tokio::select! {
            () = self.stop.cancelled() => return,
            done = timeout(self.limits.times.head, acceptor.accept(stream)) => done,
        };
        match handshake {
            // Boxed: it is larger than the one in the clear, which would be given as much room.
            Ok(Ok(stream)) => Box::pin(self.serve(stream, peer, Scheme::Https)).await,
            // Anybody may knock: this is no fault of ours.
            Ok(Err(error)) => tracing::info!(%peer, %error, "a TLS handshake was refused"),
            Err(_) => tracing::info!(%peer, "a TLS handshake took too long"),
        }
    }

    async fn serve<S>(&self, stream: S, peer: SocketAddr, scheme: Scheme)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let limits = &self.limits;
        let io = ClientIo::new(stream, limits.head, limits.times, Arc::clone(&shared));
        let client = Client {
            peer,
            scheme,
            shared: Arc::clone(&shared),
        };
        let service = service_fn(|request: Request<Incoming>| {
            let (proxy, client) = (Arc::clone(&self.proxy), client.clone());
            // At once: before this request is looked at, the connection is asked for the next one.
            let in_flight = client.shared.begin();
            // What it takes to answer is held for as long as that lasts: thousands of connections wait for their next request.
            Box::pin(
                async move { Ok::<_, Infallible>(proxy.handle(request, &client, in_flight).await) },
            )
        });
        let connection = http1::Builder::new()
            // All of these are kept by `ClientIo`, which knows what it waits for.
            .header_read_timeout(None)
            .max_buf_size(limits.head.bytes + BUFFER)
            .max_headers(limits.head.fields + 1)
            .preserve_header_case(true)
            // Cinder's own, or none.
            .auto_date_header(false)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                done = connection.as_mut() => {
                    if let Err(error) = done {
                        tracing::debug!(%peer, error = crate::upstream::in_full(&error), "a connection ended badly");
                    }
                    break;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => break,
            }
        }
        if let Some((why, id)) = shared.refused() {
            self.proxy.metrics.fault(why.name());
            tracing::info!(target: "access", status = why.status(), %peer, request.id = id, fault = why.name(), "{why}");
        }
    }
}

/// Says that there is no room, where that can be said.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let why = "the gateway has as many connections as it may: try again in a moment";
    let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, "connections", why);
    let text = fault.retry_after(1).closing().in_bytes(&new_id());
    stream.write_all(&text).await?;
    stream.shutdown().await?;
    // Closing with something unread would reset the connection and lose the answer.
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
