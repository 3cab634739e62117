use super::*;
use crate::servers::samples;
use proptest::{prelude::*, strategy::ValueTree};
use std::process::Command;

/// Reads what [`hcl`] writes as Terraform does, and refuses what would be a template there.
fn read_hcl(quoted: &str) -> String {
    let body = quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
    let mut out = String::new();
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => panic!("it ends in the middle: {quoted}"),
            '\n' => panic!("a line ends in it: {quoted}"),
            '$' | '%' => {
                assert_ne!(chars.peek(), Some(&'{'), "a template: {quoted}");
                out.push(c);
            }
            '\\' => match chars.next().unwrap() {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                '"' => out.push('"'),
                '\\' => out.push('\\'),
                escape @ ('u' | 'U') => {
                    let digits = if escape == 'u' { 4 } else { 8 };
                    let hex: String = chars.by_ref().take(digits).collect();
                    let code = u32::from_str_radix(&hex, 16).unwrap();
                    out.push(char::from_u32(code).unwrap());
                }
                other => panic!("\\{other}: {quoted}"),
            },
            c => out.push(c),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_is_one_string_of_terraforms_language(text in any::<String>(), line in samples::line(60)) {
        for t in [text, line] {
            prop_assert_eq!(read_hcl(&hcl(&t)), t);
        }
    }

    #[test]
    fn any_text_is_one_scalar_of_yaml(text in any::<String>(), line in samples::line(60)) {
        for t in [text, line] {
            let read: String = serde_yaml_ng::from_str(&yaml(&t)).unwrap();
            prop_assert_eq!(&read, &t);
            let map = format!("{}: {}\nnext: 1\n", yaml(&t), yaml(&t));
            let map: std::collections::BTreeMap<String, serde_yaml_ng::Value> = serde_yaml_ng::from_str(&map).unwrap();
            prop_assert_eq!(map[&t].as_str(), Some(t.as_str()));
        }
    }

    #[test]
    fn a_comment_stays_on_its_line(text in any::<String>()) {
        let line = comment(&text);
        prop_assert!(line.chars().all(|c| !c.is_control() && plain(c)), "{line:?}");
    }
}

/// All at once: a shell is started once for a thousand texts.
#[test]
fn any_text_is_one_word_of_a_shell() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec(
        prop_oneof![
            samples::line(60),
            any::<String>().prop_map(|t| t.replace('\0', ""))
        ],
        1000,
    );
    let texts = strategy.new_tree(&mut runner).unwrap().current();
    let words: Vec<String> = texts.iter().map(|t| sh(t)).collect();
    let script = format!("printf '%s\\0' {}", words.join(" "));
    // Where a broken quoting can do no harm.
    let place = tempfile::tempdir().unwrap();
    let out = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(out.status.success());
    let read: Vec<&[u8]> = out.stdout.split(|b| *b == 0).collect();
    let expected: Vec<&[u8]> = texts
        .iter()
        .map(String::as_bytes)
        .chain([&b""[..]])
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn what_begins_a_template_never_does() {
    for (text, quoted) in [
        ("${x}", r#""\u0024{x}""#),
        ("$${x}", r#""$\u0024{x}""#),
        ("%{ if x }", r#""\u0025{ if x }""#),
        ("$x %d", r#""$x %d""#),
        ("a\"b\\", r#""a\"b\\""#),
        (
            "\u{7f}\u{feff}\u{1f600}\u{e9}",
            "\"\\u007f\\ufeff\\U0001f600\u{e9}\"",
        ),
    ] {
        assert_eq!(hcl(text), quoted);
    }
}
