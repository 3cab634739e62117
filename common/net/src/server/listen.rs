//! Where clients connect: a unix socket, mutual TLS, or plain TCP for the metrics of this machine.

use super::{AllowedNames, Peer};
use crate::{TlsError, tls::ServerFiles};
use rekindle_common::tls::TlsFiles;
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// Who may use a unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// Its mode; `0o660` lets its owner and its group in.
    pub mode: u32,
    /// Its group's number; `None` leaves that of the process.
    pub group: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            mode: 0o660,
            group: None,
        }
    }
}

/// A listener to bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenConfig {
    /// A unix socket.
    Unix {
        /// Its path; a socket that nobody listens on any more is replaced.
        path: PathBuf,
        /// Who may use it.
        options: SocketOptions,
    },
    /// TCP with mutual TLS.
    Tls {
        /// Address and port; port 0 takes a free one.
        address: SocketAddr,
        /// Certificates: a client without one of this authority is refused. They are read again when the files change.
        files: TlsFiles,
        /// Whose certificates may ask for anything; the others are told that they may not.
        allowed: AllowedNames,
    },
    /// TCP in the clear, on a loopback address only.
    Loopback {
        /// Address and port; port 0 takes a free one.
        address: SocketAddr,
    },
}

/// Where a listener has come to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// At that path.
    Unix(PathBuf),
    /// At that address.
    Tcp(SocketAddr),
}

impl Bound {
    /// The TCP address, for a listener that took a free port.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(address) => Some(*address),
        }
    }
}

/// Why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address or path cannot be bound.
    #[error("cannot listen on {place}")]
    Bind {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// Another program listens on the unix socket.
    #[error("another program listens on {}", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket stands at the path: it is not removed.
    #[error("{} exists and is no socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Plain TCP elsewhere than on loopback.
    #[error("{address} is no loopback address, and without TLS only those are listened on")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The certificates.
    #[error("the certificates cannot be used")]
    Tls(#[from] TlsError),
}

pub(super) enum Listener {
    Unix(UnixListener, SocketFile),
    Tls {
        listener: TcpListener,
        files: Box<ServerFiles>,
        allowed: Arc<AllowedNames>,
        name: String,
    },
    Loopback(TcpListener, String),
}

pub(super) enum Conn {
    Unix(UnixStream, Peer),
    Plain(TcpStream, Peer),
    Tls {
        stream: TcpStream,
        address: SocketAddr,
        acceptor: TlsAcceptor,
        allowed: Arc<AllowedNames>,
    },
}

/// Removes the socket when the listener goes.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn bind_error(place: impl ToString) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::Bind {
        place: place.to_string(),
        source,
    }
}

impl Listener {
    pub(super) async fn bind(config: &ListenConfig) -> Result<(Self, Bound), ServeError> {
        match config {
            ListenConfig::Unix { path, options } => {
                let listener = bind_unix(path, *options).await?;
                let file = SocketFile(path.clone());
                Ok((Self::Unix(listener, file), Bound::Unix(path.clone())))
            }
            ListenConfig::Tls {
                address,
                files,
                allowed,
            } => {
                let files = ServerFiles::server(files)?;
                let (listener, bound) = bind_tcp(*address).await?;
                let tls = Self::Tls {
                    listener,
                    files,
                    allowed: Arc::new(allowed.clone()),
                    name: bound.to_string(),
                };
                Ok((tls, Bound::Tcp(bound)))
            }
            ListenConfig::Loopback { address } => {
                if !address.ip().is_loopback() {
                    return Err(ServeError::NotLoopback { address: *address });
                }
                let (listener, bound) = bind_tcp(*address).await?;
                Ok((
                    Self::Loopback(listener, bound.to_string()),
                    Bound::Tcp(bound),
                ))
            }
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Unix(_, file) => file.0.display().to_string(),
            Self::Tls { name, .. } | Self::Loopback(_, name) => name.clone(),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Conn> {
        match self {
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok(Conn::Unix(stream, Peer::Unix { uid }))
            }
            Self::Tls {
                listener,
                files,
                allowed,
                ..
            } => {
                let (stream, address) = listener.accept().await?;
                // An answer is one small write: waiting for more only delays it.
                stream.set_nodelay(true)?;
                Ok(Conn::Tls {
                    stream,
                    address,
                    acceptor: TlsAcceptor::from(files.current()),
                    allowed: Arc::clone(allowed),
                })
            }
            Self::Loopback(listener, _) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Conn::Plain(stream, Peer::Loopback { address }))
            }
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(bind_error(address))?;
    let bound = listener.local_addr().map_err(bind_error(address))?;
    Ok((listener, bound))
}

/// Binds beside the path, sets mode and group, and moves it there: nobody can connect before the mode is right, and a
/// socket left by a dead process is replaced in one step.
async fn bind_unix(path: &Path, options: SocketOptions) -> Result<UnixListener, ServeError> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ServeError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(ServeError::InUse {
                    path: path.to_owned(),
                });
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(bind_error(path.display())(source)),
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside).map_err(bind_error(path.display()))?;
    let ready = fs::set_permissions(&beside, fs::Permissions::from_mode(options.mode))
        .and_then(|()| match options.group {
            Some(group) => chown(&beside, None, Some(group)),
            None => Ok(()),
        })
        .and_then(|()| fs::rename(&beside, path));
    if let Err(source) = ready {
        let _ = fs::remove_file(&beside);
        return Err(bind_error(path.display())(source));
    }
    Ok(listener)
}
