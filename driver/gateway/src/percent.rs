//! Percent signs in paths and queries. Pure.

use std::fmt::Write as _;

/// A part of a query, as a form writes it: a plus is a blank. What is no text then stays as it was written.
pub(crate) fn of_form(raw: &str) -> String {
    decoded(raw, true)
}

/// A path, as Cinder's server reads it.
pub(crate) fn of_path(raw: &str) -> String {
    decoded(raw, false)
}

/// Whether each percent sign has its two digits.
pub(crate) fn is_whole(raw: &str) -> bool {
    let mut behind = raw.split('%').skip(1);
    behind.all(|text| {
        let digits = text.bytes().take(2).filter(u8::is_ascii_hexdigit);
        digits.count() == 2
    })
}

fn decoded(raw: &str, plus: bool) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2)));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|_| raw.to_owned())
}

/// A value for a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent_signs_stand_for_bytes() {
        for (raw, form, path) in [
            ("a%20b+c", "a b c", "a b+c"),
            ("%C3%BC%2f", "ü/", "ü/"),
            ("%", "%", "%"),
            ("%4", "%4", "%4"),
            ("%zz%41", "%zzA", "%zzA"),
            ("%ff", "%ff", "%ff"),
            ("%2541", "%41", "%41"),
        ] {
            assert_eq!((of_form(raw).as_str(), of_path(raw).as_str()), (form, path));
        }
    }

    #[test]
    fn a_percent_sign_has_two_digits() {
        for (raw, whole) in [
            ("", true),
            ("a%20%C3b", true),
            ("%", false),
            ("a%4", false),
            ("%4g", false),
            ("%41%", false),
        ] {
            assert_eq!(is_whole(raw), whole, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_as_it_was(text in ".{0,40}") {
            prop_assert_eq!(of_form(&encoded(&text)), text.clone());
            prop_assert_eq!(of_path(&encoded(&text)), text);
        }
    }
}
