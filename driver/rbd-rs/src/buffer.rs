//! Memory that crosses to C and back: texts, buffers that grow, lists of structs.

use std::ffi::{CStr, CString, c_char, c_int};

use crate::Error;
use crate::error::At;

/// The longest text or list that is asked for: far beyond anything sane, and a bound.
const LARGEST: usize = 16 << 20;
/// How often a buffer may turn out too small (a list can grow between two calls).
const ROUNDS: usize = 24;

/// What came of one call with buffers of a given size.
pub(crate) enum Attempt<const N: usize, T> {
    /// It fitted.
    Done(T),
    /// `ERANGE`: these sizes are needed, as far as the library tells.
    TooSmall([usize; N]),
    /// Any other return code.
    Failed(c_int),
}

impl<const N: usize, T> Attempt<N, T> {
    /// The usual reading of a return code: negative is an error, and `ERANGE` asks for more.
    pub(crate) fn from_code(
        code: c_int,
        needed: [usize; N],
        done: impl FnOnce(c_int) -> T,
    ) -> Self {
        if code == -libc::ERANGE {
            Self::TooSmall(needed)
        } else if code < 0 {
            Self::Failed(code)
        } else {
            Self::Done(done(code))
        }
    }
}

/// Calls with buffers of `sizes`, and again with larger ones as long as they are too small.
pub(crate) fn grow<const N: usize, T>(
    at: At<'_>,
    mut sizes: [usize; N],
    mut attempt: impl FnMut([usize; N]) -> Attempt<N, T>,
) -> Result<T, Error> {
    for _ in 0..ROUNDS {
        match attempt(sizes) {
            Attempt::Done(result) => return Ok(result),
            Attempt::Failed(code) => return Err(at.error(code)),
            Attempt::TooSmall(needed) => {
                let told = sizes.iter().zip(&needed).any(|(have, need)| need > have);
                for (have, need) in sizes.iter_mut().zip(needed) {
                    // A function that does not tell its need gets twice as much.
                    *have = if told {
                        need.max(*have)
                    } else {
                        have.saturating_mul(2).max(16)
                    };
                    if *have > LARGEST {
                        return Err(at.error(-libc::ERANGE));
                    }
                }
            }
        }
    }
    Err(at.error(-libc::ERANGE))
}

/// A text from a function that takes a buffer and a length, and sets the length it needs.
pub(crate) fn text(
    at: At<'_>,
    mut call: impl FnMut(*mut c_char, *mut usize) -> c_int,
) -> Result<String, Error> {
    let bytes = grow(at, [256], |[size]| {
        let mut buffer = vec![0_u8; size];
        let mut len = size;
        let code = call(buffer.as_mut_ptr().cast(), &mut len);
        Attempt::from_code(code, [len], |_| buffer)
    })?;
    until_nul(at, &bytes)
}

/// The text before the first NUL.
pub(crate) fn until_nul(at: At<'_>, bytes: &[u8]) -> Result<String, Error> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    utf8(at, bytes.get(..end).unwrap_or(bytes))
}

/// Texts with a NUL after each.
pub(crate) fn nul_separated(at: At<'_>, bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut texts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    if texts.last().is_some_and(|last| last.is_empty()) {
        texts.pop();
    }
    texts.into_iter().map(|text| utf8(at, text)).collect()
}

fn utf8(at: At<'_>, bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|error| at.unreadable(error))
}

/// A list of structs from a function that takes an array and its length, and sets the length.
///
/// # Safety
/// All-zero bytes must be a valid `T`, and `call` must pass the array to a C function that writes
/// at most as many as the length says.
pub(crate) unsafe fn records<T: Copy>(
    at: At<'_>,
    start: usize,
    mut call: impl FnMut(*mut T, &mut usize) -> c_int,
) -> Result<Vec<T>, Error> {
    grow(at, [start], |[size]| {
        let mut list: Vec<T> = Vec::with_capacity(size);
        // SAFETY: the memory is reserved for `size` values, and the caller vouches that zeros are
        // valid values.
        unsafe {
            list.as_mut_ptr().write_bytes(0, size);
            list.set_len(size);
        }
        let mut len = size;
        let code = call(list.as_mut_ptr(), &mut len);
        Attempt::from_code(code, [len], |_| {
            list.truncate(len);
            list
        })
    })
}

/// A C text of `text`.
pub(crate) fn c_text(what: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Text {
        what,
        text: text.to_owned(),
    })
}

/// A C text of the name of something, which may not be empty.
pub(crate) fn c_name(what: &'static str, text: &str) -> Result<CString, Error> {
    if text.is_empty() {
        return Err(Error::Text {
            what,
            text: String::new(),
        });
    }
    c_text(what, text)
}

/// A copy of a C text; the empty text for a null pointer, which librbd uses for "none".
///
/// # Safety
/// `text` is null or points to bytes that end with a NUL.
pub(crate) unsafe fn copied(at: At<'_>, text: *const c_char) -> Result<String, Error> {
    if text.is_null() {
        return Ok(String::new());
    }
    // SAFETY: not null, and the caller vouches for the rest.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map(str::to_owned)
        .map_err(|error| at.unreadable(error))
}

#[cfg(test)]
mod tests;
