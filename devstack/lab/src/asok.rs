//! Questions to a Ceph daemon through its admin socket.
//!
//! The protocol: the command as JSON and a zero byte; the answer is its length in four bytes, big
//! endian, and the text. It works without the mon, without Python and inside an isolated site, and
//! costs a hundredth of a `ceph` command.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{IoContext, LabError, Result};

const DEADLINE: Duration = Duration::from_secs(5);
/// An answer longer than this is no answer to any question asked here.
const MAX_ANSWER: usize = 8 << 20;

/// Asks and parses the answer; text that is no JSON comes back as a JSON string.
pub(crate) fn ask(socket: &Path, command: &str) -> Result<Value> {
    let what = || format!("asking `{command}` at {}", socket.display());
    let mut stream = UnixStream::connect(socket).context(what)?;
    stream.set_read_timeout(Some(DEADLINE)).context(what)?;
    stream.set_write_timeout(Some(DEADLINE)).context(what)?;
    let mut question = json!({ "prefix": command, "format": "json" })
        .to_string()
        .into_bytes();
    question.push(0);
    stream.write_all(&question).context(what)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).context(what)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_ANSWER {
        return Err(LabError::BadState {
            path: socket.to_owned(),
            why: format!("an answer of {length} bytes to `{command}`"),
        });
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).context(what)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_answer_is_read_by_its_length() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a.asok");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut s, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            let mut byte = [1];
            while byte[0] != 0 {
                s.read_exact(&mut byte).unwrap();
                question.push(byte[0]);
            }
            s.write_all(&[0, 0, 0, 11]).unwrap();
            s.write_all(b"{\"a\":\"b\"}\n\n").unwrap();
            String::from_utf8(question).unwrap()
        });
        assert_eq!(ask(&path, "status").unwrap()["a"], "b");
        assert!(daemon.join().unwrap().contains("\"prefix\":\"status\""));
    }

    #[test]
    fn no_daemon_is_an_error_that_names_the_socket() {
        let error = ask(Path::new("/no/such/osd.asok"), "status").unwrap_err();
        assert!(error.to_string().contains("osd.asok"), "{error}");
    }
}
