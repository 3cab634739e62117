//! One request over one connection, as bytes: what the clients do not send, and do not show.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// An answer of a real Cinder on a slow machine.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The whole head.
    pub head: String,
    /// The body, put together where it came in chunks.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))
    }

    /// Its fields, with names in small letters.
    pub fn fields(&self) -> impl Iterator<Item = (String, &str)> {
        let lines = self.head.lines().skip(1);
        let split = lines.filter_map(|l| l.split_once(':'));
        split.map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
    }

    /// The value of a field that stands there.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

/// Sends a request that ends with its connection, and reads all of the answer.
///
/// # Errors
/// There is none in a minute, or it is not what its head says.
pub(super) async fn exchange(address: SocketAddr, request: &str) -> anyhow::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = timeout(ANSWER, exchange)
        .await
        .context("no answer in time")??;
    answer(&bytes, request.starts_with("HEAD "))
}

/// Sends bytes as they are, and reads until the other side has closed. What it does not want to read any more is not sent.
///
/// # Errors
/// There is no connection, or its end does not come in a minute.
pub(super) async fn raw(address: SocketAddr, bytes: &[u8], close: bool) -> anyhow::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let sent = stream.write_all(bytes).await;
        if close && sent.is_ok() {
            stream.shutdown().await?;
        }
        let mut read = Vec::new();
        // A connection that is cut has told what it had to tell.
        let _ = stream.read_to_end(&mut read).await;
        Ok::<_, std::io::Error>(read)
    };
    let read = timeout(ANSWER, exchange)
        .await
        .context("no end in time")??;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

pub(super) fn answer(bytes: &[u8], head_alone: bool) -> anyhow::Result<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.context("a head has an end")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    let mut answer = Answer {
        status,
        head,
        body: String::new(),
    };
    let body = &bytes[end + 4..];
    let chunked = answer.field("transfer-encoding") == Some("chunked");
    let body = if chunked && !head_alone {
        put_together(body).with_context(|| format!("chunks behind {}", answer.head))?
    } else {
        body.to_vec()
    };
    let said = answer.field("content-length").map(str::parse::<usize>);
    if let (Some(said), false) = (said.transpose()?, head_alone) {
        ensure!(
            said == body.len(),
            "{} bytes behind {}",
            body.len(),
            answer.head
        );
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer)
}

fn put_together(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n");
        let end = end.context("a chunk's size has an end")?;
        let size = std::str::from_utf8(&rest[..end])?;
        let size = usize::from_str_radix(size.trim(), 16)?;
        let from = end + 2;
        let chunk = rest.get(from..from + size).context("a whole chunk")?;
        if size == 0 {
            return Ok(all);
        }
        all.extend_from_slice(chunk);
        rest = rest.get(from + size + 2..).context("an end of a chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_its_head_says() {
        let whole = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n{}";
        let read = answer(whole, false).unwrap();
        assert_eq!((read.status, read.body.as_str()), (200, "{}"));
        assert_eq!(read.field("x-a"), Some("1"));
        assert!(answer(&whole[..whole.len() - 1], false).is_err());
        assert!(answer(&whole[..whole.len() - 2], true).is_ok());
        let chunks = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(answer(chunks, false).unwrap().body, "abc0123456789");
        assert!(answer(&chunks[..chunks.len() - 8], false).is_err());
    }
}
