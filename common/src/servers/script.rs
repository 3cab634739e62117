//! A script's JSON: records in our published format, one or many.
//!
//! ```json
//! {"servers": [{"version": 1, "name": "web-1", "zone": "zone-a", …}, …]}
//! ```
//!
//! A script need not say `source`, and not `zone` or `taken_at` where whoever reads it does. What it says of its source is not kept:
//! what came from a file is known from that file alone.

use super::{
    check::shown_name,
    read::{self, InvalidRecord},
    record::{RecordSource, ServerRecord},
};
use crate::ids::ZoneName;
use jiff::Timestamp;
use serde_json::Value;

/// The most bytes of a script's JSON.
pub const MAX_SCRIPT: usize = 64 * 1024 * 1024;
/// The most servers in one.
pub const MAX_SERVERS: usize = 10_000;

/// What a script may leave out.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The zone of a server that names none; one that names another is refused.
    pub zone: Option<ZoneName>,
    /// When all of it was true, where a record does not say.
    pub taken_at: Timestamp,
}

/// A server's record, or why it is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptServer {
    /// Its name as the script has it, if it has one that can be shown.
    pub name: Option<String>,
    /// Its record.
    pub record: Result<ServerRecord, InvalidRecord>,
}

/// Reads a script's JSON. One server's fault is no other's.
///
/// # Errors
/// [`InvalidRecord`]: it is no such JSON at all.
pub fn read(text: &str, defaults: &Defaults) -> Result<Vec<ScriptServer>, InvalidRecord> {
    if text.len() > MAX_SCRIPT {
        let why = format!(
            "has {} bytes, {MAX_SCRIPT} are allowed: split it",
            text.len()
        );
        return Err(InvalidRecord::new("the text", why));
    }
    let value = read::json(text)?;
    let many = value.get("servers").is_some();
    let list = if many { listed(value)? } else { vec![value] };
    if list.is_empty() {
        return Err(InvalidRecord::new("servers", "is empty"));
    }
    if list.len() > MAX_SERVERS {
        let why = format!("are {}, {MAX_SERVERS} are allowed", list.len());
        return Err(InvalidRecord::new("servers", why));
    }
    Ok(list
        .into_iter()
        .enumerate()
        .map(|(n, value)| {
            let name = value
                .get("name")
                .and_then(Value::as_str)
                .and_then(shown_name);
            let at = |e: InvalidRecord| match many {
                true => InvalidRecord::new(format!("servers[{n}].{}", e.field), e.why),
                false => e,
            };
            let record = one(value, defaults).map_err(at);
            ScriptServer { name, record }
        })
        .collect())
}

/// The list under `servers`, which stands alone.
fn listed(value: Value) -> Result<Vec<Value>, InvalidRecord> {
    let Value::Object(mut map) = value else {
        return Err(InvalidRecord::new("the text", "is no object"));
    };
    let servers = map.remove("servers");
    if let Some(name) = map.keys().next() {
        let shown: String = name.escape_debug().take(64).collect();
        return Err(InvalidRecord::new(
            shown,
            "stands beside `servers`, which stands alone",
        ));
    }
    match servers {
        Some(Value::Array(list)) => Ok(list),
        None | Some(_) => Err(InvalidRecord::new("servers", "is no list of servers")),
    }
}

fn one(mut value: Value, defaults: &Defaults) -> Result<ServerRecord, InvalidRecord> {
    if let Value::Object(map) = &mut value {
        map.entry("source")
            .or_insert_with(|| serde_json::json!({"type": "script"}));
        map.entry("taken_at")
            .or_insert_with(|| defaults.taken_at.to_string().into());
        if let Some(zone) = &defaults.zone {
            map.entry("zone").or_insert_with(|| zone.as_str().into());
        }
    }
    let mut record = ServerRecord::try_from(value)?;
    if let Some(zone) = &defaults.zone
        && record.zone != *zone
    {
        let why = format!("is {}, and {zone} was asked for", record.zone);
        return Err(InvalidRecord::new("zone", why));
    }
    record.source = RecordSource::Script;
    Ok(record)
}
