//! A request's head: first that it is whole and of clean lines, then what it says of itself.

use super::{Body, HeadLimits, Refused};
use Refused::Malformed;

/// How far a head was looked at.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// So many bytes.
    seen: usize,
    /// Where the line that is being looked at begins.
    line: usize,
    /// Lines that have ended, without an empty one before the head.
    ended: usize,
}

impl Lines {
    /// The head's length, with the empty line at its end; `None` where more of it is to come.
    ///
    /// Each byte is looked at once, however small the pieces are in which they come.
    pub(super) fn whole(
        &mut self,
        held: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, Refused> {
        while let Some(&byte) = held.get(self.seen) {
            let before = self.seen.checked_sub(1).and_then(|i| held.get(i));
            let after_cr = before == Some(&b'\r') && self.seen > self.line;
            match byte {
                b'\n' if !after_cr => return Err(Malformed("a line ends without CR")),
                _ if after_cr && byte != b'\n' => {
                    return Err(Malformed("there is a CR within a line"));
                }
                b'\n' => {
                    let empty = self.seen - self.line == 1;
                    self.seen += 1;
                    let first = self.line == 0;
                    self.line = self.seen;
                    match (empty, self.ended) {
                        // RFC 9112 2.2: one empty line before a request is what old clients send after a body.
                        (true, 0) if first => {}
                        (true, 0) => {
                            return Err(Malformed("there are empty lines before the request"));
                        }
                        (true, _) => return Ok(Some(self.seen)),
                        (false, _) => self.ended += 1,
                    }
                    if self.ended > limits.fields + 1 {
                        return Err(Refused::TooManyFields(limits.fields));
                    }
                    continue;
                }
                b'\r' | b'\t' => self.seen += 1,
                0..=0x1f | 0x7f => {
                    return Err(Malformed("there is a control character in the head"));
                }
                _ => self.seen += self.plain(held, limits),
            }
            if self.ended == 0 && self.seen - self.line > limits.target + TARGET_ROOM {
                return Err(Refused::TargetTooLong(limits.target));
            }
            if self.seen > limits.bytes {
                return Err(Refused::HeadTooLarge(limits.bytes));
            }
        }
        Ok(None)
    }

    /// How many bytes come next, this one among them, that end nothing and are nothing to refuse: up to one past the first limit. Most of a
    /// head is such.
    fn plain(&self, held: &[u8], limits: &HeadLimits) -> usize {
        let mut most = limits.bytes.saturating_sub(self.seen);
        if self.ended == 0 {
            let of_the_line = self.seen - self.line;
            most = most.min((limits.target + TARGET_ROOM).saturating_sub(of_the_line));
        }
        let rest = held.get(self.seen..).unwrap_or_default();
        let rest = rest.get(..=most).unwrap_or(rest);
        let ends = rest.iter().position(|b| *b < b' ' || *b == 0x7f);
        ends.unwrap_or(rest.len()).max(1)
    }
}

/// What stands in a request's first line beside the target.
const TARGET_ROOM: usize = 64;

/// Checks a whole head of clean lines, and says how its message ends.
pub(super) fn check(head: &[u8], limits: &HeadLimits) -> Result<Body, Refused> {
    // What ends a line is `\r\n`, and neither stands elsewhere: that was looked at.
    let mut lines = head
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let minor = request_line(first, limits)?;
    let mut fields = Fields::default();
    for line in lines {
        fields.take(line)?;
    }
    fields.body(minor)
}

/// Which HTTP/1 it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Minor {
    Zero,
    One,
}

fn request_line(line: &[u8], limits: &HeadLimits) -> Result<Minor, Refused> {
    let mut words = line.split(|b| *b == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Malformed("the first line is not METHOD TARGET VERSION"));
    };
    if method.is_empty() || !method.iter().all(|b| is_token(*b)) {
        return Err(Malformed("the method is no token"));
    }
    let minor = match version {
        b"HTTP/1.1" => Minor::One,
        b"HTTP/1.0" => Minor::Zero,
        _ if version.starts_with(b"HTTP/") => return Err(Refused::Version),
        _ => return Err(Malformed("the first line is not METHOD TARGET VERSION")),
    };
    if target.len() > limits.target {
        return Err(Refused::TargetTooLong(limits.target));
    }
    let of_the_server = target == b"*" && method == b"OPTIONS";
    if !of_the_server && target.first() != Some(&b'/') {
        return Err(Malformed(
            "the target is no path: this is no proxy, and it asks no other server",
        ));
    }
    if target.iter().any(|b| matches!(b, b'#' | b'\t')) {
        return Err(Malformed("the target holds what no path or query may"));
    }
    Ok(minor)
}

#[derive(Debug, Default)]
struct Fields {
    hosts: usize,
    lengths: usize,
    length: u64,
    encodings: usize,
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), Refused> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Malformed("a header field goes on in a second line"));
        }
        let colon = line.iter().position(|b| *b == b':');
        let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
            return Err(Malformed("a header field has no colon"));
        };
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return Err(Malformed("a header field's name is no token"));
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = length(value).ok_or(Malformed("Content-Length is no number"))?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed(
                    "Transfer-Encoding is something else than chunked",
                ));
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            if value.is_empty() || !value.iter().all(|b| is_of_a_host(*b)) {
                return Err(Malformed("Host is no host"));
            }
        }
        Ok(())
    }

    fn body(&self, minor: Minor) -> Result<Body, Refused> {
        match (self.hosts, minor) {
            (0, Minor::One) => return Err(Malformed("Host is missing")),
            (0, Minor::Zero) | (1, _) => {}
            (_, _) => return Err(Malformed("there is more than one Host")),
        }
        match (self.lengths, self.encodings, minor) {
            (0, 0, _) => Ok(Body::Length(0)),
            (1, 0, _) => Ok(Body::Length(self.length)),
            (0, 1, Minor::One) => Ok(Body::Chunked),
            (0, _, Minor::Zero) => Err(Malformed("HTTP/1.0 knows no Transfer-Encoding")),
            (0, _, Minor::One) => Err(Malformed("there is more than one Transfer-Encoding")),
            (_, 0, _) => Err(Malformed("there is more than one Content-Length")),
            (_, _, _) => Err(Malformed(
                "there are both Content-Length and Transfer-Encoding",
            )),
        }
    }
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte)
}

/// Digits and nothing else: no sign, no list, no more than fits.
fn length(value: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
