//! Clients: so many connections, each with one request at a time. They write and read bytes, for what they take of the machine is taken from
//! the proxies: of an answer they look at the status and the length, and throw the rest away.

use anyhow::{Context, bail, ensure};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// For what has to happen at once: a proxy that hangs ends the bench.
const PATIENCE: Duration = Duration::from_secs(60);
/// Read at once. A long answer takes few reads so.
const PIECE: usize = 256 * 1024;
/// Between two looks whether somebody listens.
const BEAT: Duration = Duration::from_millis(20);

/// A request as it stands on the wire, and what is to come of it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    bytes: Vec<u8>,
    status: u16,
}

impl Asked {
    /// As python-cinderclient sends it. A token of Keystone's is about so long.
    fn new(line: &str, token: &str, body: &[u8], status: u16) -> Self {
        let mut bytes = format!(
            "{line} HTTP/1.1\r\nHost: volumes.example\r\nUser-Agent: python-cinderclient\r\nAccept-Encoding: gzip, deflate\r\n\
             Accept: application/json\r\nConnection: keep-alive\r\nOpenStack-API-Version: volume 3.70\r\n\
             X-Auth-Token: {token}\r\n"
        )
        .into_bytes();
        if !body.is_empty() {
            let fields = format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
            bytes.extend_from_slice(fields.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self { bytes, status }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(&format!("GET {path}"), &"t".repeat(200), b"", 200)
    }

    /// The same with a token that somebody looks at.
    pub(crate) fn get_as(path: &str, token: &str) -> Self {
        Self::new(&format!("GET {path}"), token, b"", 200)
    }

    pub(crate) fn post(path: &str, size: usize) -> Self {
        let body = vec![b' '; size];
        Self::new(&format!("POST {path}"), &"t".repeat(200), &body, 202)
    }

    pub(crate) fn post_as(path: &str, token: &str, body: &str) -> Self {
        Self::new(&format!("POST {path}"), token, body.as_bytes(), 202)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    held: Vec<u8>,
}

struct Head {
    length: usize,
    /// Of the body.
    rest: usize,
}

impl Client {
    async fn connect(at: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            held: Vec::new(),
        })
    }

    /// Sends a request and reads to the end of the answer's head; what came with it of the body is held behind it.
    async fn head(&mut self, asked: &Asked) -> anyhow::Result<Head> {
        self.stream.write_all(&asked.bytes).await?;
        self.held.clear();
        self.held.reserve(PIECE);
        loop {
            let from = self.held.len().saturating_sub(3);
            let n = self.stream.read_buf(&mut self.held).await?;
            ensure!(
                n > 0,
                "the connection ended before an answer: {:?}",
                self.start()
            );
            let end = self
                .held
                .get(from..)
                .and_then(|new| new.windows(4).position(|w| w == b"\r\n\r\n"));
            if let Some(end) = end {
                let length = from + end + 4;
                let rest = self.parse(length, asked.status)?;
                return Ok(Head { length, rest });
            }
        }
    }

    fn start(&self) -> String {
        let start = self.held.get(..self.held.len().min(400));
        String::from_utf8_lossy(start.unwrap_or_default()).into_owned()
    }

    fn parse(&self, length: usize, status: u16) -> anyhow::Result<usize> {
        let head = self.held.get(..length).unwrap_or_default();
        let mut lines = head.split(|b| *b == b'\n');
        let first = lines.next().unwrap_or_default();
        if first.get(9..12) != Some(status.to_string().as_bytes()) {
            bail!("not {status}: {}", self.start());
        }
        for line in lines {
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            if name.eq_ignore_ascii_case(b"content-length") {
                let value = value.get(1..).unwrap_or_default().trim_ascii();
                return std::str::from_utf8(value)?.parse().context("a length");
            }
        }
        bail!("an answer without a length: {}", self.start())
    }

    /// One answer, of which nothing is kept.
    async fn count(&mut self, asked: &Asked) -> anyhow::Result<()> {
        let head = self.head(asked).await?;
        let mut left = (head.length + head.rest)
            .checked_sub(self.held.len())
            .context("more than the answer")?;
        while left > 0 {
            self.held.clear();
            let n = self.stream.read_buf(&mut self.held).await?;
            ensure!(n > 0 && n <= left, "the answer broke off");
            left -= n;
        }
        Ok(())
    }

    /// One answer's body.
    async fn body(&mut self, asked: &Asked) -> anyhow::Result<Vec<u8>> {
        let head = self.head(asked).await?;
        let mut body = self.held.split_off(head.length);
        while body.len() < head.rest {
            let n = self.stream.read_buf(&mut body).await?;
            ensure!(n > 0, "the answer broke off");
        }
        Ok(body)
    }
}

/// Answers and the seconds that they took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) answers: u32,
    pub(crate) seconds: f64,
}

/// As many answers as come in that time.
pub(crate) async fn rate(
    at: SocketAddr,
    asked: &Asked,
    connections: usize,
    during: Duration,
) -> anyhow::Result<Rate> {
    let opening = (0..connections).map(|_| Client::connect(at));
    let clients = futures::future::try_join_all(opening).await?;
    let began = Instant::now();
    let until = began + during;
    let all = clients.into_iter().map(|mut client| {
        let asked = asked.clone();
        tokio::spawn(async move {
            let mut answers = 0;
            while Instant::now() < until {
                client.count(&asked).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        })
    });
    let all = timeout(during + PATIENCE, futures::future::try_join_all(all));
    let all = all.await.context("the proxy hangs")??;
    Ok(Rate {
        answers: all.into_iter().sum::<anyhow::Result<u32>>()?,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Waits until somebody answers there.
pub(crate) async fn answers(at: SocketAddr, asked: &Asked) -> anyhow::Result<()> {
    let trying = async {
        while TcpStream::connect(at).await.is_err() {
            sleep(BEAT).await;
        }
    };
    let up = timeout(PATIENCE, trying).await;
    up.with_context(|| format!("nobody listens at {at}"))?;
    once(at, asked).await.map(drop)
}

/// The body of one answer.
pub(crate) async fn once(at: SocketAddr, asked: &Asked) -> anyhow::Result<Vec<u8>> {
    let asking = async { Client::connect(at).await?.body(asked).await };
    timeout(PATIENCE, asking)
        .await
        .with_context(|| format!("{at} does not answer"))?
}

/// So many connections that stay open, each of which has asked once.
pub(crate) async fn open(
    at: SocketAddr,
    connections: usize,
    asked: &Asked,
) -> anyhow::Result<Vec<Client>> {
    let opening = async {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut client = Client::connect(at).await?;
            client.count(asked).await?;
            // The bench's own memory is in nobody's figures, and has to be had all the same.
            client.held = Vec::new();
            open.push(client);
        }
        Ok(open)
    };
    timeout(PATIENCE, opening)
        .await
        .context("the connections do not open")?
}
