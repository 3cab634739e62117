//! A body in chunks: RFC 9112 7.1, with nothing left out and nothing more.

use super::Refused::{self, Malformed};

/// Of a chunk's extensions, which nobody here knows.
const EXTENSION: usize = 256;
/// Of the fields after the last chunk, which are dropped.
const TRAILERS: usize = 8 * 1024;
/// Hexadecimal digits of a size that fits into an `i64`.
const DIGITS: usize = 15;

/// Where in it the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A size's digits; how many there were.
    Size(usize),
    /// After the `;`; so many bytes of it.
    Extension(usize),
    /// The LF of a size's line.
    SizeLf,
    /// A chunk's data.
    Data,
    /// The CR after it.
    DataCr,
    /// The LF after it.
    DataLf,
    /// The fields after the last chunk; bytes of the present line.
    Trailer(usize),
    /// The LF of such a line, which had so many bytes.
    TrailerLf(usize),
    /// After the end.
    Over,
}

/// Follows one body.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Of the present chunk.
    left: u64,
    trailers: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            place: Place::Size(0),
            left: 0,
            trailers: 0,
        }
    }
}

impl Chunks {
    /// Whether the last byte of it was seen.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// How many of these bytes belong to it: all, or those up to its end.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.place == Place::Over {
                break;
            }
            if self.place == Place::Data {
                let there = bytes.len() - at;
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(there);
                self.left -= n as u64;
                at += n;
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            self.place = self.next(byte)?;
            at += 1;
        }
        Ok(at)
    }

    fn next(&mut self, byte: u8) -> Result<Place, Refused> {
        let not_ended = Err(Malformed("a chunk does not end where its size says"));
        match self.place {
            Place::Size(digits) => match (byte, char::from(byte).to_digit(16)) {
                (_, Some(digit)) if digits < DIGITS => {
                    self.left = self.left * 16 + u64::from(digit);
                    Ok(Place::Size(digits + 1))
                }
                (_, Some(_)) => Err(Malformed("a chunk's size has too many digits")),
                (b'\r', None) if digits > 0 => Ok(Place::SizeLf),
                (b';', None) if digits > 0 => Ok(Place::Extension(0)),
                (_, None) => Err(Malformed("a chunk's size is no number")),
            },
            Place::Extension(n) => match byte {
                b'\r' => Ok(Place::SizeLf),
                b'\t' | 0x20..=0x7e if n < EXTENSION => Ok(Place::Extension(n + 1)),
                _ => Err(Malformed("a chunk's extension is none")),
            },
            Place::SizeLf => match (byte, self.left) {
                (b'\n', 0) => Ok(Place::Trailer(0)),
                (b'\n', _) => Ok(Place::Data),
                (_, _) => Err(Malformed("a chunk's size is no number")),
            },
            // Passed over by the caller, many bytes at a time.
            Place::Data => Ok(Place::Data),
            Place::DataCr if byte == b'\r' => Ok(Place::DataLf),
            Place::DataLf if byte == b'\n' => Ok(Place::Size(0)),
            Place::DataCr | Place::DataLf => not_ended,
            Place::Trailer(n) => {
                self.trailers += 1;
                match byte {
                    _ if self.trailers > TRAILERS => {
                        Err(Malformed("the fields after the last chunk are too long"))
                    }
                    b'\r' => Ok(Place::TrailerLf(n)),
                    b' ' | b'\t' if n == 0 => Err(Malformed("a trailer goes on in a second line")),
                    b'\t' | 0x20..=0x7e | 0x80..=0xff => Ok(Place::Trailer(n + 1)),
                    0..=0x1f | 0x7f => Err(Malformed("there is a control character in a trailer")),
                }
            }
            Place::TrailerLf(n) => match (byte, n) {
                (b'\n', 0) => Ok(Place::Over),
                (b'\n', _) => Ok(Place::Trailer(0)),
                (_, _) => Err(Malformed("a trailer does not end with CR and LF")),
            },
            Place::Over => Ok(Place::Over),
        }
    }
}
