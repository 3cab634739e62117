//! Requests to a volume API as they stand in a file: recorded from clients, or written by hand. Pure.
//!
//! ```text
//!   # a remark
//!   == who sends what follows, and with which fields
//!     X-Auth-Token: {admin}
//!   200 GET /v3/{project}/types/{type}     what Cinder says to it, and the request; names in braces are filled in
//!     Accept: text/html                    a field more, or in the place of the section's
//!     > {"volume": {"size": 1}}            a line of its body
//!     = made volume.id                     of each answer, what is called {made} from here on
//!     ? volume.status available            asked again until the answer says so; a `?` alone: until the status is that
//!     ~                                    its figures are of their moment
//!     -                                    the gateway adds nothing to what it is answered with
//! ```

use std::collections::BTreeMap;

/// One request, and what is known of its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Where it stands in its file.
    pub line: usize,
    /// The status that Cinder answers with.
    pub status: u16,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// All fields but `Host`, `Connection` and `Content-Length`.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
    /// Names for parts of the answer, and where in it these are.
    pub keeps: Vec<(String, String)>,
    /// It is asked again until it is answered so.
    pub until: Option<Until>,
    /// Numbers in its answer are another moment's in the next one.
    pub of_its_moment: bool,
    /// It shows volumes by a path that the gateway does not take for one of theirs.
    pub untouched: bool,
}

/// What a request is asked again for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// The status alone.
    Status,
    /// The status, and this text at this place of the answer.
    Says {
        /// Where.
        at: String,
        /// What.
        word: String,
    },
}

/// Reads a file of them.
///
/// # Errors
/// A line that is none of the above, by its number.
pub fn read(text: &str) -> Result<Vec<Recorded>, String> {
    let mut all: Vec<Recorded> = Vec::new();
    let mut section: Vec<(String, String)> = Vec::new();
    let mut in_head = false;
    for (at, line) in (1..).zip(text.lines()) {
        let bad = || format!("line {at}: {line}");
        let words = line.trim();
        if words.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("== ") {
            section.clear();
            in_head = true;
        } else if !line.starts_with(' ') {
            in_head = false;
            all.push(request(at, words, &section).ok_or_else(bad)?);
        } else if in_head {
            section.push(field(words).ok_or_else(bad)?);
        } else {
            let last = all.last_mut().ok_or_else(bad)?;
            detail(last, words).ok_or_else(bad)?;
        }
    }
    Ok(all)
}

fn request(line: usize, words: &str, section: &[(String, String)]) -> Option<Recorded> {
    let mut words = words.splitn(3, ' ');
    Some(Recorded {
        line,
        status: words.next()?.parse().ok()?,
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        fields: section.to_vec(),
        ..Recorded::default()
    })
}

fn field(words: &str) -> Option<(String, String)> {
    let (name, value) = words.split_once(':')?;
    (!name.is_empty() && !name.contains(' ')).then(|| (name.to_owned(), value.trim().to_owned()))
}

fn detail(request: &mut Recorded, words: &str) -> Option<()> {
    let pair = |rest: &str| {
        let (a, b) = rest.trim().split_once(' ')?;
        Some((a.to_owned(), b.to_owned()))
    };
    if words == ">" || words.starts_with("> ") {
        let more = words.get(2..).unwrap_or_default();
        request.body = Some(match request.body.take() {
            Some(body) => format!("{body}\n{more}"),
            None => more.to_owned(),
        });
    } else if let Some(rest) = words.strip_prefix('=') {
        request.keeps.push(pair(rest)?);
    } else if words == "~" {
        request.of_its_moment = true;
    } else if words == "-" {
        request.untouched = true;
    } else if words == "?" {
        request.until = Some(Until::Status);
    } else if let Some(rest) = words.strip_prefix('?') {
        let (at, word) = pair(rest)?;
        request.until = Some(Until::Says { at, word });
    } else {
        let (name, value) = field(words)?;
        request
            .fields
            .retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
        request.fields.push((name, value));
    }
    Some(())
}

/// The text with names in braces filled in. A brace that no small letters follow is itself.
///
/// # Errors
/// Nobody knows such a name.
pub fn filled(text: &str, names: &BTreeMap<String, String>) -> Result<String, String> {
    let mut made = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        made.push_str(before);
        let name = from.get(1..).and_then(|t| t.split_once('}'));
        let is_name =
            |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        match name.map(|(name, _)| name).filter(is_name) {
            Some(name) => {
                let value = names.get(name);
                made.push_str(value.ok_or_else(|| format!("no {{{name}}} is known: {text}"))?);
                rest = from.get(name.len() + 2..).unwrap_or_default();
            }
            None => {
                made.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    made.push_str(rest);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_sections_fields_and_its_own() {
        let text = "# first\n== somebody\n  Accept: a\n  X-Auth-Token: {t}\n200 GET /v3/?a=b c\n202 POST /v3/x\n  accept: b: c\n  > {\n  >\n  > }\n  \
                    = made volume.id\n  ? volume.status in use\n  ~\n\n404 GET /y\n  ?\n  -\n";
        let all = read(text).unwrap();
        let owned = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].line, all[0].status), (5, 200));
        assert_eq!(all[0].target, "/v3/?a=b c");
        assert_eq!(
            all[0].fields,
            [owned("Accept", "a"), owned("X-Auth-Token", "{t}")]
        );
        assert_eq!(
            all[1].fields,
            [owned("X-Auth-Token", "{t}"), owned("accept", "b: c")]
        );
        assert_eq!(all[1].body.as_deref(), Some("{\n\n}"));
        assert_eq!(all[1].keeps, [owned("made", "volume.id")]);
        let says = Until::Says {
            at: "volume.status".to_owned(),
            word: "in use".to_owned(),
        };
        assert_eq!((&all[1].until, all[1].of_its_moment), (&Some(says), true));
        assert_eq!(all[2].until, Some(Until::Status));
        assert!(all[2].untouched && !all[1].untouched);
        assert_eq!(all[2].body, None);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in [
            ("GET /v3\n", 1),
            ("200 GET\n", 1),
            ("  > early\n", 1),
            ("== a\n  no field\n", 2),
            ("200 GET /\n  = made\n", 2),
            ("200 GET /\n  ? volume.status\n", 2),
        ] {
            let e = read(text).unwrap_err();
            assert!(e.starts_with(&format!("line {line}:")), "{text}: {e}");
        }
    }

    #[test]
    fn names_are_filled_in_and_json_stays() {
        let names = [("id", "1f"), ("a_b", "{id}")];
        let names = names.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, made) in [
            ("/v3/{id}/x", "/v3/1f/x"),
            ("{\"a\": {}, \"b\": \"{id}\"}", "{\"a\": {}, \"b\": \"1f\"}"),
            ("{a_b}{", "{id}{"),
            ("", ""),
        ] {
            assert_eq!(filled(text, &names).unwrap(), made);
        }
        assert!(filled("{nobody}", &names).unwrap_err().contains("{nobody}"));
    }
}
