//! One service under one token's scope: reads, writes and whole lists. What each service says is in its own module.

use crate::{
    cloud::{Cloud, Op, Scope, To, Window, not_understood},
    error::{Call, CloudError},
    url::escaped,
};
use hyper::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::{HashMap, hash_map::Entry};

/// Rows of a page that are asked for; the service may give fewer.
const PAGE: usize = 500;

/// A thing that was begun. The answer shows less of it than a look does: look.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Made {
    /// Its id.
    pub id: String,
}

/// How a list goes on, and how it says that there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// By a link to the next page; a page begins after the last one's last row.
    Link,
    /// The same, and a row may come again later, newer: each page has to bring something new all the same.
    LinkTwice,
    /// Not at all: only an empty page is the end. A page begins as above.
    EmptyPage,
    /// Not at all; a page begins after so many rows.
    Offset,
}

/// A list that is read page by page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<'a> {
    /// With a query already: `/volumes/detail?all_tenants=1`.
    pub(crate) path: &'a str,
    /// Under which the rows stand in the answer.
    pub(crate) key: &'a str,
    /// In which field of a row its id is, by JSON pointer.
    pub(crate) id: &'a str,
    pub(crate) more: More,
    pub(crate) most: usize,
}

/// A service of a cloud, for a scope.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) cloud: Cloud,
    pub(crate) scope: Scope,
    pub(crate) to: To,
}

impl Client {
    pub(crate) fn op(&self, method: Method, path: &str, body: Option<&Value>) -> Op {
        Op {
            to: self.to,
            method,
            path: path.to_owned(),
            body: body.map(|b| b.to_string().into()),
        }
    }

    pub(crate) async fn read(&self, path: &str) -> Result<(Op, Value), CloudError> {
        self.read_within(path, self.cloud.window()).await
    }

    pub(crate) async fn read_within(
        &self,
        path: &str,
        window: Window,
    ) -> Result<(Op, Value), CloudError> {
        let op = self.op(Method::GET, path, None);
        let answer = self.cloud.read(&self.scope, &op, window).await?;
        Ok((op, answer))
    }

    /// One thing, under `key` of the answer.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
    ) -> Result<T, CloudError> {
        self.get_within(path, key, self.cloud.window()).await
    }

    pub(crate) async fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        window: Window,
    ) -> Result<T, CloudError> {
        let (op, answer) = self.read_within(path, window).await?;
        self.take(&op, answer, key)
    }

    pub(crate) async fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Op, Value), CloudError> {
        self.write_within(method, path, body, self.cloud.window())
            .await
    }

    pub(crate) async fn write_within(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        window: Window,
    ) -> Result<(Op, Value), CloudError> {
        let op = self.op(method, path, body);
        let answer = self.cloud.write(&self.scope, &op, window).await?;
        Ok((op, answer))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<(Op, Value), CloudError> {
        self.write(Method::POST, path, Some(body)).await
    }

    /// Does something to a thing; the answer says nothing.
    pub(crate) async fn act(&self, kind: &str, id: &str, body: &Value) -> Result<(), CloudError> {
        let path = format!("/{kind}/{}/action", escaped(id));
        self.post(&path, body).await.map(drop)
    }

    pub(crate) async fn delete_key(
        &self,
        kind: &str,
        id: &str,
        key: &str,
    ) -> Result<(), CloudError> {
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

    pub(crate) fn take<T: DeserializeOwned>(
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

    /// All of a list, page by page, in the order of their making where the path asks for it: what is made meanwhile comes last and
    /// is not missed.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        list: List<'_>,
    ) -> Result<Vec<T>, CloudError> {
        let whole = self.cloud.long_window();
        let mut found: Vec<T> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut marker: Option<String> = None;
        loop {
            let further = marker.is_some();
            let and = if list.path.contains('?') { '&' } else { '?' };
            let mut path = format!("{}{and}limit={PAGE}", list.path);
            if let Some(m) = &marker {
                path.push_str(&match list.more {
                    More::Offset => format!("&offset={}", found.len()),
                    More::Link | More::LinkTwice | More::EmptyPage => {
                        format!("&marker={}", escaped(m))
                    }
                });
            }
            let op = self.op(Method::GET, &path, None);
            let mut answer = self.page(&op, further, whole).await?;
            let link = answer.get(format!("{}_links", list.key));
            let link = link.and_then(Value::as_array);
            let link = link.is_some_and(|l| l.iter().any(|l| l["rel"] == "next"));
            let Some(Value::Array(rows)) = answer.get_mut(list.key).map(Value::take) else {
                return Err(self.unexpected(&op, format!("the answer holds no {}", list.key)));
            };
            let before = found.len();
            marker = None;
            for row in rows {
                let id = row.pointer(list.id).and_then(Value::as_str);
                let id = id.unwrap_or_default().to_owned();
                let row = T::deserialize(row).map_err(|e| not_understood(&self.call(&op), e))?;
                match (seen.entry(id.clone()), list.more) {
                    (Entry::Vacant(place), _) => {
                        place.insert(found.len());
                        found.push(row);
                    }
                    (Entry::Occupied(place), More::LinkTwice) => {
                        if let Some(older) = found.get_mut(*place.get()) {
                            *older = row;
                        }
                    }
                    (Entry::Occupied(_), More::Link | More::EmptyPage | More::Offset) => {
                        return Err(self.goes_round(&op, &id));
                    }
                }
                marker = Some(id);
            }
            if found.len() > list.most {
                return Err(CloudError::TooMany {
                    call: self.call(&op),
                    most: list.most,
                });
            }
            let Some(last) = &marker else {
                return Ok(found);
            };
            let goes_on = match list.more {
                More::Link | More::LinkTwice => link,
                More::EmptyPage | More::Offset => true,
            };
            if !goes_on {
                return Ok(found);
            }
            if found.len() == before {
                return Err(self.goes_round(&op, last));
            }
        }
    }

    fn goes_round(&self, op: &Op, id: &str) -> CloudError {
        self.unexpected(op, format!("the list goes round: {id:?} came before"))
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

    pub(crate) fn call(&self, op: &Op) -> Call {
        Call {
            zone: self.cloud.zone().clone(),
            what: format!(
                "{} {} of {}, for {}",
                op.method, op.path, self.to, self.scope
            ),
        }
    }

    pub(crate) fn unexpected(&self, op: &Op, why: String) -> CloudError {
        CloudError::Unexpected {
            call: self.call(op),
            why,
            source: None,
        }
    }
}
