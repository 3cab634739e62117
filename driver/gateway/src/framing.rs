//! What a request looks like on the wire, checked before any parser of HTTP sees it.
//!
//! ```text
//!   held bytes ── head: every line, then all of it ── refused: nothing of it goes on
//!                                                  └─ body: none, of a length, in chunks ── the next head
//! ```
//!
//! Two servers that read one stream of bytes differently are how requests are smuggled past the first to the second. A parser is
//! kind where it can be; in front of another server that is a fault. So only what can be read in one way goes on: a head is held back
//! until it is whole and right, and where a message ends is known here, not guessed. It does no I/O and knows no time.
//!
//! What it is not: a parser of HTTP. What goes on is read again by one, and written anew for Cinder.

mod chunks;
mod head;

use chunks::Chunks;
use head::Lines;

/// What a head may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
    /// Bytes of the request's target: path and query.
    pub target: usize,
}

/// Why bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It can be read in more ways than one, or in none.
    #[error("{0}")]
    Malformed(&'static str),
    /// It speaks another version.
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    /// The target is too long.
    #[error("the request's path and query are longer than {0} bytes")]
    TargetTooLong(usize),
    /// The head is too large.
    #[error("the request's head is larger than {0} bytes")]
    HeadTooLarge(usize),
    /// It has too many fields.
    #[error("the request has more than {0} header fields")]
    TooManyFields(usize),
    /// The head took too long. Not found here: by who reads.
    #[error("the request's head was not complete in time")]
    TooSlow,
}

impl Refused {
    /// The status that says so.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooSlow => 408,
            Self::TargetTooLong(_) => 414,
            Self::HeadTooLarge(_) | Self::TooManyFields(_) => 431,
            Self::Version => 505,
        }
    }

    /// For metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooSlow => "too_slow",
            Self::TargetTooLong(_) => "target_too_long",
            Self::HeadTooLarge(_) => "head_too_large",
            Self::TooManyFields(_) => "too_many_fields",
            Self::Version => "version",
        }
    }
}

/// How a message's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

#[derive(Debug)]
enum At {
    Head(Lines),
    Length { left: u64 },
    Chunked(Chunks),
}

/// Follows one connection's requests.
#[derive(Debug)]
pub struct Framing {
    at: At,
    limits: HeadLimits,
    refused: Option<Refused>,
}

impl Framing {
    /// From the first byte of a connection.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            at: At::Head(Lines::default()),
            limits,
            refused: None,
        }
    }

    /// Looks at all bytes that did not go on yet, in their order, and says how many may. After a refusal none may any more.
    pub fn clear(&mut self, held: &[u8]) -> usize {
        let mut cleared = 0;
        while self.refused.is_none() {
            let rest = held.get(cleared..).unwrap_or_default();
            match self.step(rest) {
                Ok(0) => break,
                Ok(n) => cleared += n,
                Err(why) => self.refused = Some(why),
            }
        }
        cleared
    }

    /// Why nothing goes on any more.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Refuses what is held, for a reason that is not in the bytes.
    pub fn refuse(&mut self, why: Refused) {
        self.refused.get_or_insert(why);
    }

    /// Whether the bytes to come belong to a body.
    #[must_use]
    pub fn in_body(&self) -> bool {
        match self.at {
            At::Head(_) => false,
            At::Length { .. } | At::Chunked(_) => true,
        }
    }

    /// How many of these bytes go on together; none where more are needed.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Refused> {
        match &mut self.at {
            At::Head(lines) => {
                let Some(length) = lines.whole(rest, &self.limits)? else {
                    return Ok(0);
                };
                let head = rest.get(..length).unwrap_or_default();
                self.at = match head::check(head, &self.limits)? {
                    Body::Length(0) => At::Head(Lines::default()),
                    Body::Length(left) => At::Length { left },
                    Body::Chunked => At::Chunked(Chunks::default()),
                };
                Ok(length)
            }
            At::Length { left } => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= n as u64;
                if *left == 0 {
                    self.at = At::Head(Lines::default());
                }
                Ok(n)
            }
            At::Chunked(chunks) => {
                let n = chunks.advance(rest)?;
                if chunks.is_over() {
                    self.at = At::Head(Lines::default());
                }
                Ok(n)
            }
        }
    }
}

#[cfg(test)]
mod tests;
