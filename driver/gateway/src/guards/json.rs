//! A body, as Cinder reads it and as we do. Pure.
//!
//! Cinder's reader is Python's, which takes more than JSON has: `NaN` and `Infinity`, numbers of any size, halves of surrogate pairs, and
//! nesting that ours gives up on. A guard that cannot read what Cinder can would be walked round by a `NaN` in a field that nobody looks at.
//! So there are three kinds of bodies: both read them, and alike; neither does, and Cinder says so; and those that are refused.

use serde_json::Value;

/// What a body is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Read(Value),
    /// There is none, or Cinder refuses it.
    Nobodys,
    /// Cinder would read it, and we do not.
    Unclear,
}

impl Body {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if let Ok(value) = serde_json::from_slice(bytes) {
            return Self::Read(value);
        }
        // Neither takes what is no UTF-8.
        match std::str::from_utf8(bytes) {
            Ok(text) if python_reads(text.as_bytes()) => Self::Unclear,
            Ok(_) | Err(_) => Self::Nobodys,
        }
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// Behind a list's bracket.
    ValueOrEnd,
    /// Behind an object's brace.
    KeyOrEnd,
    Key,
    Colon,
    /// Behind a value.
    CommaOrEnd,
}

/// By the grammar of Python's `json.loads`, without its bound on nesting.
fn python_reads(text: &[u8]) -> bool {
    let mut rest = text;
    let mut open: Vec<u8> = Vec::new();
    let mut next = Next::Value;
    loop {
        rest = rest.trim_ascii_start_of_json();
        let Some((&byte, behind)) = rest.split_first() else {
            return open.is_empty() && next == Next::CommaOrEnd;
        };
        next = match (next, byte) {
            (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => {
                open.pop();
                rest = behind;
                Next::CommaOrEnd
            }
            (Next::CommaOrEnd, b']' | b'}') => {
                if open.pop() != Some(byte) {
                    return false;
                }
                rest = behind;
                Next::CommaOrEnd
            }
            (Next::CommaOrEnd, b',') => {
                rest = behind;
                match open.last() {
                    Some(b'}') => Next::Key,
                    Some(_) => Next::Value,
                    None => return false,
                }
            }
            (Next::KeyOrEnd | Next::Key, b'"') => {
                let Some(behind) = behind_string(behind) else {
                    return false;
                };
                rest = behind;
                Next::Colon
            }
            (Next::Colon, b':') => {
                rest = behind;
                Next::Value
            }
            (Next::Value | Next::ValueOrEnd, b'[') => {
                open.push(b']');
                rest = behind;
                Next::ValueOrEnd
            }
            (Next::Value | Next::ValueOrEnd, b'{') => {
                open.push(b'}');
                rest = behind;
                Next::KeyOrEnd
            }
            (Next::Value | Next::ValueOrEnd, _) => {
                let Some(behind) = behind_plain(rest) else {
                    return false;
                };
                rest = behind;
                Next::CommaOrEnd
            }
            (Next::KeyOrEnd | Next::Key | Next::Colon | Next::CommaOrEnd, _) => return false,
        };
    }
}

trait Json {
    fn trim_ascii_start_of_json(&self) -> &Self;
}

impl Json for [u8] {
    /// Four bytes are blanks, and a form feed is none.
    fn trim_ascii_start_of_json(&self) -> &Self {
        let blanks = self.iter().take_while(|b| b" \t\n\r".contains(b)).count();
        self.get(blanks..).unwrap_or_default()
    }
}

/// What stands behind a string, the first quote of which was read.
fn behind_string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = match byte {
            b'"' => return Some(behind),
            b'\\' => {
                let (&escaped, behind) = behind.split_first()?;
                match escaped {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => behind,
                    b'u' => {
                        let (digits, behind) = behind.split_at_checked(4)?;
                        // Any four: Python takes half of a pair too.
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        behind
                    }
                    _ => return None,
                }
            }
            0..0x20 => return None,
            _ => behind,
        };
    }
}

/// What stands behind a word, a string or a number.
fn behind_plain(text: &[u8]) -> Option<&[u8]> {
    let words: [&[u8]; 6] = [
        b"null",
        b"true",
        b"false",
        b"NaN",
        b"Infinity",
        b"-Infinity",
    ];
    if let Some(behind) = words.iter().find_map(|word| text.strip_prefix(*word)) {
        return Some(behind);
    }
    if let Some(behind) = text.strip_prefix(b"\"") {
        return behind_string(behind);
    }
    let digits = |text: &'_ [u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    rest = match rest.split_first()? {
        (b'0', behind) => behind,
        (b'1'..=b'9', _) => rest.get(digits(rest)..)?,
        _ => return None,
    };
    if let Some(behind) = rest.strip_prefix(b".")
        && digits(behind) > 0
    {
        rest = behind.get(digits(behind)..)?;
    }
    if let Some((b'e' | b'E', behind)) = rest.split_first() {
        let signed = behind.split_first().filter(|(b, _)| b"+-".contains(b));
        let power = signed.map_or(behind, |(_, behind)| behind);
        if digits(power) > 0 {
            rest = power.get(digits(power)..)?;
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    fn kind(text: &str) -> &'static str {
        match Body::of(text.as_bytes()) {
            Body::Read(_) => "read",
            Body::Nobodys => "nobody's",
            Body::Unclear => "unclear",
        }
    }

    fn unclear() -> Vec<String> {
        let mut all: Vec<String> = [
            r#"{"a": NaN}"#,
            r#"{"a": -Infinity, "b": [Infinity]}"#,
            r#"{"a": 1e999}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"\udc00": 1}"#,
            r#"{"a": "\ud800\u0041"}"#,
            " NaN ",
        ]
        .map(str::to_owned)
        .to_vec();
        all.push(format!("{}{}", "[".repeat(300), "]".repeat(300)));
        all.push(format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)));
        all
    }

    const NOBODYS: [&str; 28] = [
        "",
        " ",
        "{",
        "}",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "[,1]",
        "{1:2}",
        "{'a':1}",
        "[1] 2",
        "nan",
        "+Infinity",
        "-NaN",
        "Infinit",
        "NaN NaN",
        "{\"a\": NaN",
        "[NaN,]",
        "{NaN: 1}",
        "[NaN, 00]",
        "[NaN, 1.]",
        "[NaN, \"\\x\"]",
        "[NaN, \"\\u12\"]",
        "[NaN, \"\t\"]",
        "[NaN]\u{c}",
        "\u{feff}[NaN]",
    ];

    #[test]
    fn what_cinder_reads_and_we_do_not_is_unclear() {
        for text in unclear() {
            assert_eq!(kind(&text), "unclear", "{text}");
        }
        for text in NOBODYS {
            assert_eq!(kind(text), "nobody's", "{text}");
        }
        for text in [
            "{}",
            "null",
            r#"{"a": "\ud83d\ude00"}"#,
            r#"{"a": 1, "a": 2}"#,
        ] {
            assert_eq!(kind(text), "read", "{text}");
        }
        assert_eq!(Body::of(b"[NaN, \"\xff\"]"), Body::Nobodys);
    }

    /// Python's own word on the same texts; where there is no Python, Cinder is not either.
    #[test]
    fn python_reads_what_is_said_that_it_does() {
        let mut texts = unclear();
        texts.extend(NOBODYS.map(str::to_owned));
        texts.extend(["[1, 2.5e-3, -0, \"\\u00e9\"]", "[1.e3]", "[-]", "[1e+]"].map(str::to_owned));
        let script = "import json, sys\nfor t in json.load(sys.stdin):\n    try: json.loads(t); print('read')\n    except ValueError: print('no')";
        let python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut python) = python else { return };
        let input = serde_json::to_string(&texts).unwrap();
        let mut stdin = python.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let said = python.wait_with_output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.lines().count(), texts.len(), "{said}");
        for (text, said) in texts.iter().zip(said.lines()) {
            assert_eq!(python_reads(text.as_bytes()), said == "read", "{text}");
        }
    }

    proptest! {
        /// Python reads all JSON; so what serde_json reads, this does.
        #[test]
        fn what_is_json_is_read_by_both(text in "[\\[\\]{}\",:0-9eE.+\\- \\\\untrfalsNIiy]{0,24}") {
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert!(python_reads(text.as_bytes()), "{}", text);
            }
            let _ = Body::of(text.as_bytes());
        }
    }
}
