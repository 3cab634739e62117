//! Quoting: how any text becomes one literal of another language. Proven by property tests that read it back.

use std::fmt::Write as _;

/// One word of a POSIX shell. A NUL cannot be in one; no record has any.
pub(super) fn sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A quoted string of Terraform's language, with nothing in it that is a template. Terraform normalises it to NFC.
pub(super) fn hcl(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // `${` and `%{` begin a template; doubled they are themselves, but for `$$${`. As an escape they never are one.
            '$' | '%' if chars.peek() == Some(&'{') => escape(&mut out, c),
            c if plain(c) => out.push(c),
            c => escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// A double-quoted scalar of YAML 1.1 and 1.2.
pub(super) fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if plain(c) => out.push(c),
            c => escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// What every reader takes as it is: what is printable in ASCII, and letters and digits of any script.
fn plain(c: char) -> bool {
    matches!(c, ' '..='~') || (c >= '\u{a0}' && c.is_alphanumeric())
}

/// Both languages write the others alike.
fn escape(out: &mut String, c: char) {
    let code = u32::from(c);
    // Writing into a String cannot fail.
    let _ = if code <= 0xffff {
        write!(out, "\\u{code:04x}")
    } else {
        write!(out, "\\U{code:08x}")
    };
}

/// A text within a line of comment: on one line, and of characters that every reader takes.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if plain(c) {
            out.push(c);
        } else {
            escape(&mut out, c);
        }
    }
    out
}

#[cfg(test)]
mod tests;
