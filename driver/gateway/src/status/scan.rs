//! JSON gone through by its grammar, once, and without keeping any of it: where its values stand is all that is asked.
//!
//! A page of 1,000 volumes is a megabyte, of which a few words matter here. Pure. `None` is for what is no JSON, and for what is
//! nested deeper than anything of Cinder's.

use std::{borrow::Cow, ops::Range};

/// Objects and lists in each other.
const DEPTH: u8 = 64;

/// Keys of an object that are kept for those that are like it.
const ALIKE: usize = 128;

/// The keys of objects that are alike, as the last one had them, and what they mean: where the next one has the same text in the same
/// place, it is not read again.
#[derive(Debug)]
pub(super) struct Keys<'a, K> {
    /// Each from its first quote to its colon.
    seen: Vec<(&'a str, K)>,
    means: fn(&str) -> K,
}

impl<K> Keys<'_, K> {
    pub(super) fn new(means: fn(&str) -> K) -> Self {
        Self {
            seen: Vec::new(),
            means,
        }
    }
}

/// How far a text was read.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// So many more may be opened.
    deeper: u8,
}

/// A string, as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    within: &'a str,
    /// It has an escape in it, so that what it says is not what stands there.
    escaped: bool,
}

impl<'a> Word<'a> {
    /// What it says. `None`: an escape that is no character's.
    #[inline]
    pub(super) fn says(self) -> Option<Cow<'a, str>> {
        if self.escaped {
            return self.without_escapes().map(Cow::Owned);
        }
        Some(Cow::Borrowed(self.within))
    }

    #[cold]
    fn without_escapes(self) -> Option<String> {
        serde_json::from_str(&format!("\"{}\"", self.within)).ok()
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            deeper: DEPTH,
        }
    }

    /// How far it is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What comes next that is no space.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                other => return Some(other),
            }
        }
    }

    fn takes(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// That nothing comes any more.
    pub(super) fn end(mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    /// An object: `each` is given every key, and reads its value.
    pub(super) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, Word<'a>) -> Option<()>,
    ) -> Option<()> {
        self.members(|scan, _| {
            let key = scan.key()?;
            each(scan, key)
        })
    }

    /// One of many objects that are alike: `each` is given what every key means.
    pub(super) fn alike<K: Copy>(
        &mut self,
        keys: &mut Keys<'a, K>,
        mut each: impl FnMut(&mut Self, K) -> Option<()>,
    ) -> Option<()> {
        self.members(|scan, n| {
            let key = scan.nth_key(n, keys)?;
            each(scan, key)
        })
    }

    fn members(&mut self, mut each: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<()> {
        self.takes(b'{')?;
        self.deeper = self.deeper.checked_sub(1)?;
        if self.next()? == b'}' {
            self.at += 1;
        } else {
            for n in 0.. {
                each(self, n)?;
                if !self.goes_on(b'}')? {
                    break;
                }
            }
        }
        self.deeper += 1;
        Some(())
    }

    /// A key, up to its value.
    #[inline]
    fn key(&mut self) -> Option<Word<'a>> {
        let key = self.word()?;
        self.takes(b':')?;
        Some(key)
    }

    fn nth_key<K: Copy>(&mut self, n: usize, keys: &mut Keys<'a, K>) -> Option<K> {
        self.next()?;
        let rest = self.text.as_bytes().get(self.at..)?;
        if let Some((text, key)) = keys.seen.get(n)
            && begins(rest, text.as_bytes())
        {
            self.at += text.len();
            return Some(*key);
        }
        let from = self.at;
        let key = (keys.means)(&self.key()?.says()?);
        let seen = (self.text.get(from..self.at)?, key);
        match keys.seen.get_mut(n) {
            Some(last) => *last = seen,
            None if n < ALIKE => keys.seen.push(seen),
            None => {}
        }
        Some(key)
    }

    /// A list: `each` reads every value.
    pub(super) fn list(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.takes(b'[')?;
        self.deeper = self.deeper.checked_sub(1)?;
        if self.next()? == b']' {
            self.at += 1;
        } else {
            each(self)?;
            while self.goes_on(b']')? {
                each(self)?;
            }
        }
        self.deeper += 1;
        Some(())
    }

    /// Whether another comes after this one, or that was the last.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let next = self.next()?;
        self.at += 1;
        match next {
            b',' => Some(true),
            next if next == end => Some(false),
            _ => None,
        }
    }

    /// A value, and where it stands.
    pub(super) fn value(&mut self) -> Option<Range<usize>> {
        let next = self.next()?;
        let from = self.at;
        match next {
            b'"' => self.quoted().map(drop)?,
            b'{' => self.object(|scan, _| scan.value().map(drop))?,
            b'[' => self.list(|scan| scan.value().map(drop))?,
            b't' => self.is(b"true")?,
            b'f' => self.is(b"false")?,
            b'n' => self.is(b"null")?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return None,
        }
        Some(from..self.at)
    }

    fn is<const N: usize>(&mut self, name: &[u8; N]) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        (rest.first_chunk()? == name).then(|| self.at += N)
    }

    fn number(&mut self) -> Option<()> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One at least.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// A string.
    #[inline]
    pub(super) fn word(&mut self) -> Option<Word<'a>> {
        if self.next()? != b'"' {
            return None;
        }
        let from = self.at + 1;
        let escaped = self.quoted()?;
        let within = self.text.get(from..self.at - 1)?;
        Some(Word { within, escaped })
    }

    /// Goes from a string's first quote past its last, and says whether there was an escape.
    #[inline]
    fn quoted(&mut self) -> Option<bool> {
        self.at += 1;
        self.plain();
        if self.byte()? == b'"' {
            self.at += 1;
            return Some(false);
        }
        self.rest_of_quoted()
    }

    /// From what is no plain character on. Says whether there was an escape.
    #[cold]
    fn rest_of_quoted(&mut self) -> Option<bool> {
        let mut escaped = false;
        loop {
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                // Those have to be escaped.
                0..0x20 => return None,
                _ => self.at += 1,
            }
            self.plain();
        }
    }

    /// Past what has no meaning within a string, eight bytes at once as long as there are so many.
    #[inline]
    fn plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(eight) = bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let meant = meant(u64::from_le_bytes(*eight));
            if meant != 0 {
                self.at += (meant.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        let next = self.byte()?;
        self.at += 1;
        match next {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let four = self.text.as_bytes().get(self.at..self.at + 4)?;
                self.at += 4;
                four.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }
}

/// Whether `text` begins with that. A key is two or three words of the processor's: calling what compares memory takes longer than they do,
/// and a list has twenty-five thousand of them.
#[inline]
fn begins(text: &[u8], with: &[u8]) -> bool {
    let Some(text) = text.get(..with.len()) else {
        return false;
    };
    match (text.last_chunk::<8>(), with.last_chunk::<8>()) {
        (Some(last), Some(wanted)) => {
            let (text, _) = text.as_chunks::<8>();
            let (with, _) = with.as_chunks::<8>();
            last == wanted && text.iter().zip(with).all(|(a, b)| a == b)
        }
        (_, _) => text == with,
    }
}

/// The high bit of the first byte of eight that is a quote, a backslash or a control character. Of those behind it some bits may be
/// wrong, for the subtraction borrows from them.
#[inline]
const fn meant(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let quote = eight ^ (ONES * b'"' as u64);
    let backslash = eight ^ (ONES * b'\\' as u64);
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH
}

#[cfg(test)]
mod tests {
    use super::begins;

    #[test]
    fn a_text_begins_with_another_as_it_does_for_everybody() {
        let text = b"\"os-vol-host-attr:host\": 1";
        for length in 0..text.len() {
            let with = &text[..length];
            assert!(begins(text, with), "{length}");
            // Each byte of it counts, and one behind it does not.
            for at in 0..length {
                let mut other = with.to_vec();
                other[at] ^= 1;
                assert!(!begins(text, &other), "{length} {at}");
            }
            assert!(!begins(with, text), "{length}");
        }
    }
}
