//! What docs/ says of the words of this crate is so: each error code stands where it belongs, and a group's sample is the default policy.

#![allow(clippy::unwrap_used, reason = "tests")]

use rekindle_common::{
    ErrorCode,
    error::Advice,
    policy::{GroupPolicy, GroupSpec},
};
use std::path::Path;

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(docs.join(name)).unwrap()
}

/// The headings of docs/error-codes.md are what a caller should do.
fn heading(advice: Advice) -> &'static str {
    match advice {
        Advice::Retry => "Again, after a pause",
        Advice::Mend => "The request is wrong",
        Advice::StateForbids => "Something else comes first",
        Advice::AskOperator => "A person has to look",
    }
}

/// Every row of the page's tables: the heading above it, the codes that it is about, the statuses.
fn rows(text: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let mut under = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            under = heading.to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", codes, statuses, _, _, ""] = cells.as_slice()
            && codes.starts_with('`')
        {
            let list = |cell: &str| {
                cell.split(", ")
                    .map(|c| c.trim_matches('`').to_owned())
                    .collect()
            };
            rows.push((under.clone(), list(codes), list(statuses)));
        }
    }
    rows
}

#[test]
fn every_error_code_stands_once_with_its_status_under_what_to_do() {
    let rows = rows(&page("error-codes.md"));
    for code in ErrorCode::ALL {
        let of_it: Vec<_> = rows
            .iter()
            .filter(|(_, codes, _)| codes.iter().any(|c| c == code.as_str()))
            .collect();
        let [(under, codes, statuses)] = of_it.as_slice() else {
            panic!(
                "{code} stands in {} rows of docs/error-codes.md",
                of_it.len()
            );
        };
        assert_eq!(under, heading(code.advice()), "{code}");
        let at = codes.iter().position(|c| c == code.as_str()).unwrap();
        let status = if statuses.len() == 1 { 0 } else { at };
        assert_eq!(statuses[status], code.http_status().to_string(), "{code}");
    }
    let known = |c: &String| ErrorCode::ALL.iter().any(|k| k.as_str() == c);
    let told = rows.iter().flat_map(|(_, codes, _)| codes);
    assert_eq!(
        told.filter(|c| !known(c)).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

/// The sample in docs/installing.md, as a group of that name.
fn sample() -> String {
    let text = page("installing.md");
    let block = text
        .split("```toml\n")
        .find(|b| b.starts_with("home = "))
        .unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn a_groups_sample_is_the_default_policy_and_names_every_key() {
    let sample = sample();
    let spec: GroupSpec = toml::from_str(&format!("name = \"shop\"\n{sample}")).unwrap();
    assert_eq!(spec.policy, GroupPolicy::default());

    let text = page("installing.md");
    let policy = serde_json::to_value(GroupPolicy::default()).unwrap();
    let keys = policy.as_object().unwrap().keys().filter(|k| *k != "lease");
    let lease = policy["lease"].as_object().unwrap().keys();
    let rows = keys
        .clone()
        .cloned()
        .chain(lease.clone().map(|k| format!("lease.{k}")));
    for row in rows {
        assert!(
            text.contains(&format!("\n| `{row}` | ")),
            "{row} has no row in its table"
        );
    }
    for key in keys.chain(lease) {
        let named = |l: &str| l.trim_start_matches("# ").starts_with(&format!("{key} = "));
        assert!(sample.lines().any(named), "{key} is not in the sample");
    }
}

/// What an optional key is shown with can be read too.
#[test]
fn the_samples_optional_keys_can_be_taken_in() {
    let all = sample().replace("\n# ", "\n");
    let spec: GroupSpec = toml::from_str(&format!("name = \"shop\"\n{all}")).unwrap();
    assert!(spec.policy.rpo_limit.is_some() && spec.policy.fence_agent.is_some());
    assert!(spec.policy.application.is_some());
    spec.policy.check().unwrap();
}
