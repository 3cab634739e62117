//! Projects, with their domains' names.

use crate::{
    cloud::{Cloud, Op, Scope, To, not_understood},
    error::CloudError,
    url::escaped,
};
use hyper::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// No cloud has more; a list that does is a mistake, or without end.
const MOST: usize = 100_000;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name: unique in its domain alone.
    pub name: String,
    /// Its domain's id.
    pub domain_id: String,
    /// Its domain's name; the id where we may not see the domain.
    pub domain: String,
    /// Whether it may be used.
    pub enabled: bool,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    name: String,
    #[serde(default)]
    domain_id: Option<String>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Domain {
    id: String,
    name: String,
}

pub(crate) async fn all(cloud: &Cloud) -> Result<Vec<Project>, CloudError> {
    let rows: Vec<Row> = list(cloud, "projects", "projects").await?;
    let domains: Vec<Domain> = list(cloud, "domains", "domains").await?;
    Ok(named(rows, domains))
}

pub(crate) async fn mine(cloud: &Cloud) -> Result<Vec<Project>, CloudError> {
    let rows: Vec<Row> = list(cloud, "auth/projects", "projects").await?;
    let domains = match list(cloud, "domains", "domains").await {
        Ok(domains) => domains,
        // Who may not see domains still sees what is his.
        Err(CloudError::Forbidden { .. }) => Vec::new(),
        Err(e) => return Err(e),
    };
    Ok(named(rows, domains))
}

fn named(rows: Vec<Row>, domains: Vec<Domain>) -> Vec<Project> {
    let names: BTreeMap<String, String> = domains.into_iter().map(|d| (d.id, d.name)).collect();
    rows.into_iter()
        .map(|row| {
            let domain_id = row.domain_id.unwrap_or_default();
            Project {
                domain: names.get(&domain_id).unwrap_or(&domain_id).clone(),
                id: row.id,
                name: row.name,
                domain_id,
                enabled: row.enabled,
            }
        })
        .collect()
}

/// Keystone gives everything at once, or cuts it at its own limit: newer ones then say how to go on, older ones only that they did.
async fn list<T: DeserializeOwned>(
    cloud: &Cloud,
    path: &str,
    key: &str,
) -> Result<Vec<T>, CloudError> {
    let whole = cloud.long_window();
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut marker: Option<String> = None;
    loop {
        let query = marker.map_or_else(String::new, |m| format!("?marker={}", escaped(&m)));
        let op = Op {
            to: To::Keystone,
            method: Method::GET,
            path: format!("/{path}{query}"),
            body: None,
        };
        let url = cloud.keystone_url().join(&op.path);
        let call = cloud.call(&op.method, &url);
        let window = cloud.window_within(whole);
        let mut page = cloud.read(&Scope::Home, &op, window).await?;
        let more = page["links"]["next"].is_string();
        if page["truncated"] == Value::Bool(true) && !more {
            return Err(CloudError::Unexpected {
                call,
                why: "Keystone cut the list short: raise its list_limit".to_owned(),
                source: None,
            });
        }
        let Some(Value::Array(rows)) = page.get_mut(key).map(Value::take) else {
            return Err(CloudError::Unexpected {
                call,
                why: format!("the answer holds no {key}"),
                source: None,
            });
        };
        if found.len() + rows.len() > MOST {
            return Err(CloudError::TooMany { call, most: MOST });
        }
        let last = rows
            .last()
            .and_then(|r| r["id"].as_str().map(str::to_owned));
        for row in rows {
            found.push(T::deserialize(row).map_err(|e| not_understood(&call, e))?);
        }
        marker = last.filter(|_| more);
        match &marker {
            None => return Ok(found),
            Some(m) if !seen.insert(m.clone()) => {
                return Err(CloudError::Unexpected {
                    call,
                    why: format!("the list goes round: {m} came before"),
                    source: None,
                });
            }
            Some(_) => {}
        }
    }
}
