//! The few HTTP calls that the lab itself makes: plain HTTP/1.0 to a server of the same site, from inside it.
//!
//! What it is not: a client for anything else. No TLS, no redirects, no keep-alive, answers of 1 MiB at most.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::error::{LabError, Result};
use crate::services::SiteCtx;

const CONNECT: Duration = Duration::from_secs(2);
const READ: Duration = Duration::from_secs(30);
const LIMIT: u64 = 1 << 20;

/// A call to be made.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) body: Option<Value>,
}

/// What came back.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl<'a> Request<'a> {
    pub(crate) fn get(port: u16, path: &'a str) -> Self {
        Self {
            method: "GET",
            port,
            path,
            token: None,
            body: None,
        }
    }

    /// Makes the call. Any status is an answer; an error is a server that did not give one.
    pub(crate) fn send(&self, ctx: &SiteCtx) -> Result<Answer> {
        let addr = ctx.net.socket(ctx.site, self.port);
        let what = format!("{} http://{addr}{}", self.method, self.path);
        let failed = |why: String| LabError::Command {
            command: what.clone(),
            status: "no answer".into(),
            stderr: why,
        };
        let text = self.text(addr);
        let bytes = ctx
            .net
            .in_site(ctx.site, || exchange(addr, text.as_bytes()))?;
        let bytes = bytes.map_err(|e| failed(e.to_string()))?;
        parse(&bytes).ok_or_else(|| failed("what came back is no HTTP".into()))
    }

    fn text(&self, addr: SocketAddr) -> String {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let token = self.token.map(|t| format!("X-Auth-Token: {t}\r\n"));
        format!(
            "{} {} HTTP/1.0\r\nHost: {addr}\r\n{}Accept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.method,
            self.path,
            token.unwrap_or_default(),
            body.len()
        )
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

fn exchange(addr: SocketAddr, text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, CONNECT)?;
    stream.set_read_timeout(Some(READ))?;
    stream.set_write_timeout(Some(READ))?;
    stream.write_all(text)?;
    let mut bytes = Vec::new();
    stream.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
        .collect();
    Some(Answer {
        status,
        headers,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_and_rubbish_is_none() {
        let answer =
            parse(b"HTTP/1.1 201 CREATED\r\nX-Subject-Token: abc\r\n\r\n{\"a\": 1}").unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("x-subject-token"), Some("abc"));
        assert_eq!(answer.body["a"], 1);
        assert_eq!(parse(b"HTTP/1.1 204 No\r\n\r\n").unwrap().body, Value::Null);
        assert_eq!(parse(b"AMQP\0\0\x09\x01"), None);
    }
}
