//! Cinder, under one token's scope.
//!
//! ```text
//!   lists      whole or an error: never cut          volumes, snapshots: of all projects
//!   reads      retried within their deadline
//!   writes     once; `manage`, `unmanage` and `extend` only begin what Cinder does behind them: look at the status afterwards
//! ```

mod limits;
mod snapshots;
mod types;
pub(crate) mod version;
mod volumes;
mod wire;

use crate::{
    cloud::{Cloud, Op, Scope, To, Window, not_understood},
    error::CloudError,
    url::escaped,
};
use hyper::Method;
pub use limits::{BackendPool, Quota, QuotaSet, Service};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
pub use snapshots::{ManageSnapshot, Snapshot};
use std::collections::HashSet;
pub use types::{TypeEncryption, VolumeType};
pub use version::Microversion;
pub use volumes::{Attachment, ManageVolume, Volume};

/// Rows of a page that are asked for; Cinder may give fewer.
const PAGE: usize = 500;

/// What a record is called. `None` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Texts {
    /// Its name; Cinder cuts blanks at both ends off.
    pub name: Option<String>,
    /// Its description; the same.
    pub description: Option<String>,
}

/// A record that was begun. Cinder's answer shows less of it than a look does: look.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Made {
    /// Its id.
    pub id: String,
}

/// Cinder, under one token's scope. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cinder {
    cloud: Cloud,
    scope: Scope,
}

/// How a list says that there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    /// By a link to the next page.
    Link,
    /// Not at all: only an empty page is the end.
    EmptyPage,
}

impl Cinder {
    pub(crate) fn new(cloud: Cloud, scope: Scope) -> Self {
        Self { cloud, scope }
    }

    /// Whose.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Under which token.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The microversion that is spoken.
    ///
    /// # Errors
    /// See [`CloudError`]; `Config` where Cinder is older than we support.
    pub async fn microversion(&self) -> Result<Microversion, CloudError> {
        self.cloud.version_for(&self.scope).await
    }

    /// One thing, under `key` of the answer.
    async fn get<T: DeserializeOwned>(&self, path: &str, key: &str) -> Result<T, CloudError> {
        let op = op(Method::GET, path, None);
        let answer = self.cloud.read(&self.scope, &op, self.cloud.window());
        let answer = answer.await?;
        self.take(&op, answer, key)
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Op, Value), CloudError> {
        let op = op(method, path, body);
        let answer = self.cloud.write(&self.scope, &op).await?;
        Ok((op, answer))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(Op, Value), CloudError> {
        self.write(Method::POST, path, Some(body)).await
    }

    /// Does something to a thing; the answer says nothing.
    async fn act(&self, kind: &str, id: &str, body: &Value) -> Result<(), CloudError> {
        let path = format!("/{kind}/{}/action", escaped(id));
        self.post(&path, body).await.map(drop)
    }

    async fn delete_key(&self, kind: &str, id: &str, key: &str) -> Result<(), CloudError> {
        let path = format!("/{kind}/{}/metadata/{}", escaped(id), escaped(key));
        match self.write(Method::DELETE, &path, None).await {
            Ok(_) => Ok(()),
            Err(e @ CloudError::NotFound { .. }) => {
                // Is it the key that is not there, or the whole thing?
                let path = format!("/{kind}/{}/metadata", escaped(id));
                let there: Value = match self.get(&path, "metadata").await {
                    Err(CloudError::NotFound { .. }) => return Err(e),
                    answer @ (Ok(_) | Err(_)) => answer?,
                };
                if there.get(key).is_some() {
                    return Err(e);
                }
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn take<T: DeserializeOwned>(
        &self,
        op: &Op,
        mut answer: Value,
        key: &str,
    ) -> Result<T, CloudError> {
        let value = answer.get_mut(key).map(Value::take);
        let value =
            value.ok_or_else(|| self.unexpected(op, format!("the answer holds no {key}")))?;
        T::deserialize(value).map_err(|e| not_understood(&self.call(op), e))
    }

    /// All of a list, page by page, in the order of their making: what is made meanwhile comes last and is not missed.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        more: More,
        most: usize,
    ) -> Result<Vec<T>, CloudError> {
        let whole = self.cloud.long_window();
        let mut found = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        let mut marker: Option<String> = None;
        loop {
            let mut path = format!("{path}&limit={PAGE}");
            if let Some(marker) = &marker {
                path.push_str(&format!("&marker={}", escaped(marker)));
            }
            let op = op(Method::GET, &path, None);
            let mut answer = self.page(&op, marker.is_some(), whole).await?;
            let link = answer.get(format!("{key}_links")).and_then(Value::as_array);
            let link = link.is_some_and(|l| l.iter().any(|l| l["rel"] == "next"));
            let Some(Value::Array(rows)) = answer.get_mut(key).map(Value::take) else {
                return Err(self.unexpected(&op, format!("the answer holds no {key}")));
            };
            if found.len() + rows.len() > most {
                let call = self.call(&op);
                return Err(CloudError::TooMany { call, most });
            }
            marker = None;
            for row in rows {
                let id = row["id"].as_str().unwrap_or_default().to_owned();
                if !seen.insert(id.clone()) {
                    let why = format!("the list goes round: {id:?} came before");
                    return Err(self.unexpected(&op, why));
                }
                marker = Some(id);
                found.push(T::deserialize(row).map_err(|e| not_understood(&self.call(&op), e))?);
            }
            let ends = marker.is_none() || (more == More::Link && !link);
            if ends {
                return Ok(found);
            }
        }
    }

    /// A page. The thing that the last one ended with may be gone since: that is no "not found" of anything that was asked for.
    async fn page(&self, op: &Op, further: bool, whole: Window) -> Result<Value, CloudError> {
        let window = self.cloud.window_within(whole);
        match self.cloud.read(&self.scope, op, window).await {
            Err(e @ (CloudError::NotFound { .. } | CloudError::Invalid { .. })) if further => {
                Err(CloudError::Unexpected {
                    call: self.call(op),
                    why: "the list changed while it was read".to_owned(),
                    source: Some(Box::new(e)),
                })
            }
            answer @ (Ok(_) | Err(_)) => answer,
        }
    }

    fn call(&self, op: &Op) -> crate::error::Call {
        crate::error::Call {
            zone: self.cloud.zone().clone(),
            what: format!("{} {} of Cinder, for {}", op.method, op.path, self.scope),
        }
    }

    fn unexpected(&self, op: &Op, why: String) -> CloudError {
        CloudError::Unexpected {
            call: self.call(op),
            why,
            source: None,
        }
    }
}

fn op(method: Method, path: &str, body: Option<&Value>) -> Op {
    Op {
        to: To::Cinder,
        method,
        path: path.to_owned(),
        body: body.map(|b| b.to_string().into()),
    }
}
