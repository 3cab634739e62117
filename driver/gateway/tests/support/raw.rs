//! A client of bytes.

use super::soon;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// An answer as it stood on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    /// In their order and writing.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body's end was seen, rather than the connection's.
    pub whole: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A request without a body, over a connection of its own.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: volumes.example\r\nConnection: close\r\n\r\n")
}

/// One request over one connection.
pub async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    let head = request.starts_with("HEAD ");
    raw.answer_to(head).await.expect("no answer")
}

/// A connection.
pub struct Raw<S = TcpStream> {
    pub stream: S,
    read: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(soon(TcpStream::connect(address)).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends what the other side may not want any more.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        soon(self.stream.write_all(bytes.as_ref())).await
    }

    /// More bytes; false at the end.
    pub async fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        match soon(self.stream.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
        }
    }

    /// Reads until so many bytes are here that were not taken yet, and takes them.
    pub async fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.read.len() < n {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..n).collect())
    }

    /// Reads up to that text and takes all to its end.
    pub async fn until(&mut self, end: &str) -> Option<Vec<u8>> {
        loop {
            let at = self
                .read
                .windows(end.len())
                .position(|w| w == end.as_bytes());
            if let Some(at) = at {
                return self.take(at + end.len()).await;
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// All up to the connection's end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// The head of an answer: `None` where the connection ends before it.
    pub async fn head(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.until("\r\n\r\n").await?).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().unwrap();
        let mut words = first.splitn(3, ' ');
        assert!(words.next().unwrap().starts_with("HTTP/1."), "{first}");
        Some(Answer {
            status: words.next().unwrap().parse().unwrap(),
            reason: words.next().unwrap_or_default().to_owned(),
            headers: lines
                .map(|l| l.split_once(':').unwrap())
                .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
                .collect(),
            body: Vec::new(),
            whole: false,
        })
    }

    /// One chunk of a body in chunks; empty is the last.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = String::from_utf8(self.until("\r\n").await?).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut data = self.take(size + 2).await?;
        assert!(data.ends_with(b"\r\n"));
        data.truncate(size);
        Some(data)
    }

    pub async fn answer(&mut self) -> Option<Answer> {
        self.answer_to(false).await
    }

    /// An answer, with its body; to a HEAD it has none. An interim one is passed over.
    pub async fn answer_to(&mut self, head: bool) -> Option<Answer> {
        let mut answer = self.head().await?;
        while (100..200).contains(&answer.status) {
            answer = self.head().await?;
        }
        if head || matches!(answer.status, 204 | 304) {
            answer.whole = true;
            return Some(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                match self.chunk().await {
                    Some(data) if data.is_empty() => {
                        answer.whole = true;
                        return Some(answer);
                    }
                    Some(data) => answer.body.extend(data),
                    None => return Some(answer),
                }
            }
        }
        let length = answer.header("content-length").map(|l| l.parse().unwrap());
        if let Some(length) = length {
            match self.take(length).await {
                Some(body) => {
                    answer.body = body;
                    answer.whole = true;
                }
                None => answer.body = std::mem::take(&mut self.read),
            }
            return Some(answer);
        }
        answer.body = self.rest().await;
        Some(answer)
    }
}
