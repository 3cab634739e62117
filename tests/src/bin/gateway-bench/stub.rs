//! Cinder, Keystone and the sidecar, as one thread that has its answers at hand. What it reads of a request is the first line and the length.

use crate::answers::Answers;
use anyhow::Context;
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
};

/// Of a request's head; more is none of this bench's.
const HEAD: usize = 64 * 1024;

/// The upstream. It lives as long as the process.
#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
}

impl Stub {
    /// Listens: for Cinder's and Keystone's requests at the address, for the sidecar's at the socket.
    pub(crate) fn start(socket: &Path) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let answers = Arc::new(Answers::new(address));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let sidecar = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        drop(guard);
        std::thread::Builder::new()
            .name("upstream".into())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        let answers = Arc::clone(&answers);
                        tokio::select! {
                            Ok((stream, _)) = listener.accept() => {
                                if stream.set_nodelay(true).is_ok() {
                                    tokio::spawn(serve(stream, answers));
                                }
                            }
                            Ok((stream, _)) = sidecar.accept() => {
                                tokio::spawn(serve(stream, answers));
                            }
                            else => return,
                        }
                    }
                });
            })?;
        Ok(Self { address })
    }
}

/// Until the other side closes, or sends what this does not read: then it sees that the connection ends.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answers: Arc<Answers>) {
    let mut held: Vec<u8> = Vec::with_capacity(HEAD);
    loop {
        let end = loop {
            if let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut held).await {
                Ok(n) if n > 0 && held.len() < HEAD => {}
                Ok(_) | Err(_) => return,
            }
        };
        let head = held.get(..end).unwrap_or_default();
        let Ok(head) = std::str::from_utf8(head) else {
            return;
        };
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let field = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = field.map_or(Ok(0), |(_, value)| value.trim().parse::<usize>());
        let (Ok(length), Some(answer)) = (length, answers.to(first)) else {
            return;
        };
        while held.len() < end + length {
            match stream.read_buf(&mut held).await {
                Ok(n) if n > 0 => {}
                Ok(_) | Err(_) => return,
            }
        }
        held.drain(..end + length);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
