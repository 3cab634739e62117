//! A file of rules: oslo.policy's, as far as it is one rule a line, or JSON. Pure.
//!
//! ```yaml
//! # Members of a volume's project, and who drills.
//! "may_replicate": "role:admin or (role:member and project_id:%(project_id)s)"
//! "os-replicate": "rule:may_replicate or role:dr-operator"
//! ```
//!
//! That is what `oslopolicy-sample-generator` writes. All else that YAML knows (lines that go on, lists, anchors, tags) is refused: who
//! reads a rule by half reads another rule.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::fmt;

/// The rules' names and texts, in their order.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.trim_start().starts_with('{') {
        let Pairs(pairs) = serde_json::from_str(text).map_err(|e| e.to_string())?;
        return Ok(pairs);
    }
    let mut pairs = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let pair = pair(line).map_err(|why| format!("line {}: {why}", n + 1))?;
        pairs.extend(pair);
    }
    Ok(pairs)
}

/// One line's; a blank one and a comment have none.
fn pair(line: &str) -> Result<Option<(String, String)>, String> {
    let rest = line.trim_end();
    if rest.is_empty() || rest.trim_start().starts_with('#') || rest == "---" {
        return Ok(None);
    }
    if rest.starts_with(char::is_whitespace) {
        return Err(
            "it begins with a blank: a rule stands in one line, from its beginning".to_owned(),
        );
    }
    let (name, rest) = scalar(rest, ':')?;
    let rest = rest
        .strip_prefix(':')
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .ok_or("a rule is written \"name\": \"check\"")?;
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        return Err(
            "there is no check behind the name: \"@\" is for anybody, \"!\" for nobody".to_owned(),
        );
    }
    let (check, rest) = scalar(rest, '#')?;
    let rest = rest.trim_start();
    if !(rest.is_empty() || rest.starts_with('#')) {
        return Err(format!("{rest:?} stands behind the check"));
    }
    Ok(Some((name, check)))
}

/// A text in quotes, or one without that ends before `end`; and what stands behind it.
fn scalar(text: &str, end: char) -> Result<(String, &str), String> {
    let open = || format!("the quotes of {text} are not closed");
    if let Some(inner) = text.strip_prefix('\'') {
        // Two of them stand for one, and none of our rules has one.
        let (value, rest) = inner.split_once('\'').ok_or_else(open)?;
        if rest.starts_with('\'') {
            return Err("a rule has no quotes in it".to_owned());
        }
        return Ok((value.to_owned(), rest));
    }
    if let Some(inner) = text.strip_prefix('"') {
        let (value, rest) = inner.split_once('"').ok_or_else(open)?;
        if value.contains('\\') {
            return Err("a rule has no backslashes in it".to_owned());
        }
        return Ok((value.to_owned(), rest));
    }
    // What YAML would take for something else than a text.
    if text.starts_with(|c: char| "[]{}&*!|>@%`,?-#\"'".contains(c)) {
        return Err(format!("{text:?} has to stand in quotes"));
    }
    let at = match end {
        // A colon within a name is followed by no blank.
        ':' => text.find(": ").or_else(|| text.find(":\t")),
        _ => text.find(" #"),
    };
    let (value, rest) = text.split_at(at.unwrap_or(text.len()));
    if value.contains(": ") {
        return Err(format!("{value:?} has to stand in quotes"));
    }
    Ok((value.trim_end().to_owned(), rest))
}

/// A JSON object's, each key as often as it stands there.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of rules")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_stands_in_one_line() {
        let text = "---\n# who may\n\n\"os-promote\": \"role:admin\"  # and nobody else\nos-demote: role:admin or role:dr # as said\n\
                    'os-promote:force': '!'\nos-replicate:group: \"\"\n#\"os-resync\": \"@\"\n";
        let pairs = read(text).unwrap();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(n, c)| (n.as_str(), c.as_str()))
            .collect();
        let wanted = [
            ("os-promote", "role:admin"),
            ("os-demote", "role:admin or role:dr"),
            ("os-promote:force", "!"),
            ("os-replicate:group", ""),
        ];
        assert_eq!(pairs, wanted);
        // A sample has comments alone.
        assert_eq!(read("# nothing\n"), Ok(Vec::new()));
        let json = r#" { "os-promote": "role:admin", "os-promote": "@" } "#;
        assert_eq!(read(json).unwrap().len(), 2, "twice is for who reads on");
    }

    /// Held against a reader of all of YAML: what is read here is read so there.
    #[test]
    fn what_is_read_is_what_yaml_says() {
        for text in [
            "\"a\": \"role:x\"",
            "a: role:x or role:y",
            "a:b: \"@\" # c",
            "'a': '!'",
            "a:\t\"x\"",
            "a: \"\"",
            "a: x#y",
            "a: (role:x or role:y) and not role:z",
        ] {
            let pairs = read(text).unwrap();
            let yaml: std::collections::BTreeMap<String, String> =
                serde_yaml_ng::from_str(text).unwrap();
            assert_eq!(pairs, yaml.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_line_is_refused_with_its_number() {
        for (text, word) in [
            ("a: \"@\"\n  b: \"@\"", "line 2: it begins with a blank"),
            ("a", "written"),
            ("a:role:x", "written"),
            ("\"a\" \"b\"", "written"),
            ("a:", "written"),
            ("a: # none", "no check"),
            ("a: \"role:x", "not closed"),
            ("a: 'role:x", "not closed"),
            ("a: 'it''s'", "no quotes"),
            ("a: \"x\\\"y\"", "backslashes"),
            ("a: \"x\" or \"y\"", "behind the check"),
            ("a: !", "in quotes"),
            ("a: @", "in quotes"),
            ("a: [role:x]", "in quotes"),
            ("a: >", "in quotes"),
            ("- a: x", "in quotes"),
            ("a: b: c", "in quotes"),
            ("{\"a\": 1}", "string"),
            ("{\"a\": [[\"role:x\"]]}", "string"),
            ("{", "EOF"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(word), "{text:?}: {why}");
        }
    }
}
