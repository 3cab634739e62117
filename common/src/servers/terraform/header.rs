//! Whether it is a state of the version that is read here. The whole text is gone through, and nothing but these few fields kept.

use super::{STATE_VERSION, StateError};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, error::Category};

/// What a state says of itself.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) serial: u64,
    pub(super) lineage: String,
    pub(super) terraform_version: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    version: Option<Value>,
    serial: Option<Value>,
    lineage: Option<Value>,
    terraform_version: Option<Value>,
    resources: Option<IgnoredAny>,
    /// OpenTofu's encryption leaves this and the outer fields.
    encrypted_data: Option<IgnoredAny>,
    /// `terraform show -json` writes this.
    format_version: Option<IgnoredAny>,
    /// So does this, and the next a plan's.
    values: Option<IgnoredAny>,
    planned_values: Option<IgnoredAny>,
}

pub(super) fn read(state: &[u8]) -> Result<Header, StateError> {
    let no_state = |why: &str| {
        Err(StateError::NoState {
            why: why.to_owned(),
        })
    };
    if state.iter().all(u8::is_ascii_whitespace) {
        return no_state("it is empty");
    }
    if state.starts_with(b"PK") {
        return no_state("it is an archive, as a plan's file is");
    }
    let raw: Raw = serde_json::from_slice(state).map_err(|e| broken(&e))?;
    if raw.format_version.is_some() || raw.values.is_some() || raw.planned_values.is_some() {
        return no_state("it is the output of `terraform show -json`");
    }
    if raw.encrypted_data.is_some() {
        return Err(StateError::Encrypted);
    }
    let Some(version) = raw.version.as_ref().and_then(Value::as_u64) else {
        return no_state("it has no version");
    };
    if version > STATE_VERSION {
        return Err(StateError::Newer { version });
    }
    if version < STATE_VERSION {
        return Err(StateError::Older { version });
    }
    if raw.resources.is_none() {
        return no_state("it has no resources");
    }
    let text = |value: Option<Value>, most: usize| {
        let value = value?;
        let text = value.as_str()?;
        (!text.is_empty()).then(|| {
            text.chars()
                .filter(|c| !c.is_control())
                .take(most)
                .collect()
        })
    };
    Ok(Header {
        serial: raw.serial.as_ref().and_then(Value::as_u64).unwrap_or(0),
        lineage: text(raw.lineage, 64).unwrap_or_default(),
        terraform_version: text(raw.terraform_version, 64),
    })
}

/// serde's words quote what they refuse; only its places are used.
fn broken(e: &serde_json::Error) -> StateError {
    let (line, column) = (e.line(), e.column());
    match e.classify() {
        Category::Eof => StateError::CutOff { line, column },
        Category::Syntax | Category::Io => StateError::NoState {
            why: format!("it is no JSON (line {line}, column {column})"),
        },
        Category::Data => StateError::NoState {
            why: "it is JSON, and no object".to_owned(),
        },
    }
}
