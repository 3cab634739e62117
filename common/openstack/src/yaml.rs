//! A YAML file as a tree: what `clouds.yaml` needs of it, and no more.
//!
//! It is read by hand, from the parser's events: the file holds passwords, and no message here quotes any of it but names of fields.
//! Values stay the text that was written: `password: 0123` is `0123`, whatever type YAML gives it. Anchors and merges (`<<`) are
//! followed, within bounds.

use saphyr_parser::{Event, Parser, ScalarStyle};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read as _,
    path::Path,
};

/// A file of more bytes is another file.
const BYTES: u64 = 1024 * 1024;
/// Values in it, with those that aliases stand for.
const VALUES: usize = 100_000;
/// One within the other.
const DEEP: usize = 32;

/// A value. `Debug` is not there: it would print secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Nothing was written, or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Map),
    /// It has a tag of somebody's own, such as `!vault`: what it stands for is not known.
    Tagged,
}

pub(crate) type Map = BTreeMap<String, Node>;

/// Reads a file, or says why not.
pub(crate) fn read(path: &Path) -> Result<Node, String> {
    let unread = |e: std::io::Error| format!("cannot be read: {e}");
    let mut text = String::new();
    let file = File::open(path).map_err(unread)?;
    let read = file.take(BYTES + 1).read_to_string(&mut text);
    if read.map_err(unread)? as u64 > BYTES {
        return Err(format!(
            "is larger than {BYTES} bytes, which no clouds.yaml is"
        ));
    }
    parse(&text)
}

/// A list or a map that has not ended.
struct Open {
    node: Node,
    /// 0: none.
    anchor: usize,
    /// Its value comes next.
    key: Option<String>,
    merged: Vec<Map>,
}

/// Takes one document.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let mut whole: Option<Node> = None;
    let mut values = 0;
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        // The parser's own words are left out: nobody promises that they never quote.
        let (event, span) =
            next.map_err(|e| format!("line {}: this is no YAML", e.marker().line()))?;
        let line = span.start.line();
        let at = |why: &str| format!("line {line}: {why}");
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                values += 1;
                let node = match tag {
                    Some(tag) if !tag.is_yaml_core_schema() => Node::Tagged,
                    Some(_) => Node::Text(text.into_owned()),
                    None => scalar(text.into_owned(), style),
                };
                (node, anchor)
            }
            Event::Alias(anchor) => {
                let node = anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| at("what stands here is not complete yet"))?;
                values += size(&node);
                (node, 0)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEEP => {
                return Err(at("too much stands one within the other"));
            }
            Event::SequenceStart(anchor, _) => {
                values += 1;
                open.push(Open::new(Node::List(Vec::new()), anchor));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                values += 1;
                open.push(Open::new(Node::Map(Map::new()), anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(done) => {
                    let anchor = done.anchor;
                    (done.closed(), anchor)
                }
                None => continue,
            },
            Event::DocumentStart(_) if whole.is_some() => {
                return Err(at("a second document begins"));
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => continue,
        };
        if values > VALUES {
            return Err(format!("has more than {VALUES} values, with its aliases"));
        }
        if anchor != 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            None => whole = Some(node),
            Some(inner) => inner.put(node).map_err(|why| at(&why))?,
        }
    }
    Ok(whole.unwrap_or(Node::Null))
}

impl Open {
    fn new(node: Node, anchor: usize) -> Self {
        Self {
            node,
            anchor,
            key: None,
            merged: Vec::new(),
        }
    }

    /// Takes what comes next in it.
    fn put(&mut self, node: Node) -> Result<(), String> {
        let map = match &mut self.node {
            Node::List(list) => {
                list.push(node);
                return Ok(());
            }
            Node::Map(map) => map,
            Node::Null | Node::Text(_) | Node::Tagged => return Ok(()),
        };
        let Some(key) = self.key.take() else {
            return match node {
                Node::Text(key) => {
                    self.key = Some(key);
                    Ok(())
                }
                Node::Null | Node::List(_) | Node::Map(_) | Node::Tagged => {
                    Err("a field's name is no text".to_owned())
                }
            };
        };
        if key == "<<" {
            let all = match node {
                Node::Map(one) => vec![Node::Map(one)],
                Node::List(all) => all,
                Node::Null | Node::Text(_) | Node::Tagged => Vec::new(),
            };
            for one in all {
                match one {
                    Node::Map(one) => self.merged.push(one),
                    Node::Null | Node::Text(_) | Node::List(_) | Node::Tagged => {
                        return Err("<< takes maps".to_owned());
                    }
                }
            }
            return Ok(());
        }
        match map.insert(key, node) {
            None => Ok(()),
            Some(_) => Err("a field stands twice in its map".to_owned()),
        }
    }

    /// What is merged gives way to what stands there, and to what is merged before it.
    fn closed(self) -> Node {
        match self.node {
            Node::Map(mut map) => {
                for (key, node) in self.merged.into_iter().flatten() {
                    map.entry(key).or_insert(node);
                }
                Node::Map(map)
            }
            node @ (Node::Null | Node::Text(_) | Node::List(_) | Node::Tagged) => node,
        }
    }
}

fn scalar(text: String, style: ScalarStyle) -> Node {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        Node::Null
    } else {
        Node::Text(text)
    }
}

fn size(node: &Node) -> usize {
    match node {
        Node::Null | Node::Text(_) | Node::Tagged => 1,
        Node::List(all) => 1 + all.iter().map(size).sum::<usize>(),
        Node::Map(all) => 1 + all.values().map(size).sum::<usize>(),
    }
}

impl Node {
    /// What stands in a map under a field.
    pub(crate) fn get(&self, field: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(field),
            Self::Null | Self::Text(_) | Self::List(_) | Self::Tagged => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(node: &'a Node, path: &str) -> Option<&'a str> {
        let found = path.split('.').try_fold(node, |n, part| n.get(part));
        match found? {
            Node::Text(text) => Some(text),
            Node::Null | Node::List(_) | Node::Map(_) | Node::Tagged => None,
        }
    }

    #[test]
    fn a_text_is_what_was_written() {
        let text = "clouds:\n  a:\n    p: 0123\n    q: 'x: #y'\n    r: yes\n    n: ~\n    e: ''\n    d: \"\\u00e9\"\n    v: !vault |\n      abc\n    s: !!str 5\n    l: [a, b]\n";
        let node = parse(text).ok().unwrap();
        for (path, text) in [
            ("p", "0123"),
            ("q", "x: #y"),
            ("r", "yes"),
            ("e", ""),
            ("d", "é"),
            ("s", "5"),
        ] {
            assert_eq!(at(&node, &format!("clouds.a.{path}")), Some(text), "{path}");
        }
        let a = node.get("clouds").unwrap().get("a").unwrap();
        assert!(a.get("n") == Some(&Node::Null) && a.get("v") == Some(&Node::Tagged));
        assert!(matches!(a.get("l"), Some(Node::List(l)) if l.len() == 2));
        assert!(parse("").ok() == Some(Node::Null));
    }

    #[test]
    fn merges_are_followed_and_give_way() {
        let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: own\nw: {<<: *x}\nv: *x\n";
        let node = parse(text).ok().unwrap();
        for (path, text) in [
            ("z.a", "own"),
            ("z.b", "2"),
            ("z.c", "4"),
            ("w.b", "2"),
            ("v.a", "1"),
        ] {
            assert_eq!(at(&node, path), Some(text), "{path}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_never_quoted() {
        let deep = "[".repeat(40);
        for (text, why) in [
            ("a: 1\nb: \"pw-secret\n", "line"),
            (
                "a: pw-secret\na: pw-secret\n",
                "line 2: a field stands twice",
            ),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: &a [*a]\n", "line 1"),
            ("a: *pw-secret\n", "line 1"),
            ("a:\n  <<: [pw-secret]\n", "<< takes maps"),
            ("[pw-secret]: 1\n", "no text"),
            (deep.as_str(), "one within the other"),
        ] {
            let e = parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text} is taken"));
            assert!(e.contains(why) && !e.contains("pw-secret"), "{text}: {e}");
        }
    }

    #[test]
    fn aliases_of_aliases_end_at_a_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let one = format!("*a{}, ", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{one}]\n"));
        }
        assert!(parse(&text).err().unwrap().contains("more than"));
    }
}
