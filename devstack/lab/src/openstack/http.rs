//! The few HTTP calls that the lab makes: plain HTTP/1.0 to a server of the same site, from inside it.
//!
//! What it is not: a client for anything else. No TLS, no redirects, no keep-alive, answers of 1 MiB at most.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::error::{IoContext, LabError, Result};
use crate::net::Net;
use crate::site::Site;

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
    /// The service's release of its API, as `compute 2.96`.
    pub(crate) version: Option<&'a str>,
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
            version: None,
            body: None,
        }
    }

    /// Makes the call. Any status is an answer; an error is a server that did not give one.
    pub(crate) fn send(&self, net: Net, site: Site) -> Result<Answer> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let size = body.len() as u64;
        self.exchange(net, site, ("application/json", size), body.as_bytes())
    }

    /// The same with a file for its body.
    pub(crate) fn send_file(&self, net: Net, site: Site, path: &Path) -> Result<Answer> {
        let what = || format!("reading {}", path.display());
        let file = File::open(path).context(what)?;
        let size = file.metadata().context(what)?.len();
        self.exchange(net, site, ("application/octet-stream", size), file)
    }

    fn exchange(
        &self,
        net: Net,
        site: Site,
        kind: (&str, u64),
        mut body: impl Read + Send,
    ) -> Result<Answer> {
        let addr = net.socket(site, self.port);
        let failed = |why: String| LabError::Command {
            command: format!("{} http://{addr}{}", self.method, self.path),
            status: "no answer".into(),
            stderr: why,
        };
        let head = self.head(addr, kind);
        let bytes = net.in_site(site, || exchange(addr, head.as_bytes(), &mut body))?;
        let bytes = bytes.map_err(|e| failed(e.to_string()))?;
        parse(&bytes).ok_or_else(|| failed("what came back is no HTTP".into()))
    }

    fn head(&self, addr: SocketAddr, (kind, size): (&str, u64)) -> String {
        let line = |name: &str, value: Option<&str>| {
            value.map_or_else(String::new, |value| format!("{name}: {value}\r\n"))
        };
        format!(
            "{} {} HTTP/1.0\r\nHost: {addr}\r\n{}{}Accept: application/json\r\nContent-Type: {kind}\r\n\
             Content-Length: {size}\r\n\r\n",
            self.method,
            self.path,
            line("X-Auth-Token", self.token),
            line("OpenStack-API-Version", self.version),
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

    /// An error where the server refused. The body of the request is not repeated: it may hold a password.
    pub(crate) fn or_refused(self, what: impl FnOnce() -> String) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(LabError::Command {
            command: what(),
            status: self.status.to_string(),
            stderr: message(&self.body).unwrap_or_default().to_owned(),
        })
    }
}

/// What an OpenStack says of its error: each service has a name of its own for what holds the message.
fn message(body: &Value) -> Option<&str> {
    body.as_object()?
        .values()
        .find_map(|error| error["message"].as_str())
}

fn exchange(addr: SocketAddr, head: &[u8], body: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, CONNECT)?;
    stream.set_read_timeout(Some(READ))?;
    stream.set_write_timeout(Some(READ))?;
    stream.write_all(head)?;
    std::io::copy(body, &mut stream)?;
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
    fn a_refusal_is_an_error_with_the_servers_words() {
        let answer = |status: u16, body: &str| Answer {
            status,
            headers: Vec::new(),
            body: serde_json::from_str(body).unwrap_or_default(),
        };
        let nova = r#"{"conflictingRequest": {"code": 409, "message": "Cannot 'stop'"}}"#;
        let refused = answer(409, nova).or_refused(|| "POST /x".into());
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("409") && error.contains("Cannot 'stop'"),
            "{error}"
        );
        assert!(answer(503, "").or_refused(String::new).is_err());
        assert!(answer(202, "").or_refused(String::new).is_ok());
    }

    #[test]
    fn a_release_of_the_api_is_asked_for_where_one_is_named() {
        let mut request = Request::get(8774, "/v2.1/servers");
        let addr = SocketAddr::from(([10, 231, 3, 11], 8774));
        let head = request.head(addr, ("application/json", 2));
        assert!(!head.contains("OpenStack-API-Version"), "{head}");
        assert!(head.ends_with("Content-Length: 2\r\n\r\n"), "{head}");
        request.version = Some("compute 2.96");
        let head = request.head(addr, ("application/json", 0));
        assert!(
            head.contains("\r\nOpenStack-API-Version: compute 2.96\r\n"),
            "{head}"
        );
    }

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
