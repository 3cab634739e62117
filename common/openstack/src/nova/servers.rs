//! Servers: looked at, found, and told what to do. Each of these is one call; what looks first and waits is in `ensure.rs`.

use super::{
    Nova,
    error::{Refusal, ServerError},
    mark::Mark,
    request::ServerRequest,
    server::Server,
    wish::Verb,
};
use crate::{
    cloud::Window,
    error::CloudError,
    nova::looks::ServiceStatus,
    service::{List, Made, More},
    url::escaped,
};
use hyper::Method;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Whose servers a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of the scope's project.
    Project,
    /// Of all; for administrators.
    All,
}

/// What there is with a mark and its root volume, or with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    None,
    /// The one.
    One(Box<Server>),
    /// None with the mark, and servers that have the name.
    NameTaken(Vec<String>),
}

/// A server, where it bears a mark.
struct IfMarked(Option<Box<Server>>);

impl<'de> Deserialize<'de> for IfMarked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let server = Server::deserialize(from)?;
        Ok(Self(server.mark().is_some().then(|| Box::new(server))))
    }
}

impl Nova {
    /// The servers. Whole, or an error: also where a cell of this Nova does not answer, whose servers it would leave out in silence.
    ///
    /// # Errors
    /// See [`CloudError`]; `TooMany` where there are more than `most`, `Unavailable` where a cell does not answer.
    pub async fn servers(&self, whose: Whose, most: usize) -> Result<Vec<Server>, CloudError> {
        self.listed(whose, most).await
    }

    /// The servers of all projects that bear a [`Mark`]. Of the others nothing is kept: a cloud may have many more of them than memory
    /// should hold. Whole, or an error, as [`Self::servers`].
    ///
    /// # Errors
    /// As of [`Self::servers`]; `most` counts all that are looked through.
    pub async fn marked_servers(&self, most: usize) -> Result<Vec<Server>, CloudError> {
        let all: Vec<IfMarked> = self.listed(Whose::All, most).await?;
        Ok(all.into_iter().filter_map(|s| s.0).map(|s| *s).collect())
    }

    async fn listed<T: DeserializeOwned>(
        &self,
        whose: Whose,
        most: usize,
    ) -> Result<Vec<T>, CloudError> {
        let order = "sort_key=created_at&sort_dir=asc&sort_key=uuid&sort_dir=asc";
        let path = match whose {
            Whose::Project => format!("/servers/detail?{order}"),
            Whose::All => format!("/servers/detail?all_tenants=1&{order}"),
        };
        let list = List {
            path: &path,
            key: "servers",
            id: "/id",
            // One that is being made comes first, and again at its place.
            more: More::LinkTwice,
            most,
        };
        let all = self.at.list(list).await?;
        self.all_cells_answer().await?;
        Ok(all)
    }

    /// Nova leaves the servers of a cell that does not answer out of a list that comes in pages. Its services show them, or a list that does not.
    async fn all_cells_answer(&self) -> Result<(), CloudError> {
        let silent = match self.services().await {
            Ok(all) => {
                let hidden = all.iter().find(|s| s.status == ServiceStatus::Unknown);
                hidden.map(ToString::to_string)
            }
            Err(CloudError::Forbidden { .. }) => {
                let all: Vec<Value> = self.at.get("/servers", "servers").await?;
                let hidden = all.iter().find(|s| s["status"] == "UNKNOWN");
                hidden.map(|s| format!("server {}", s["id"]))
            }
            Err(e) => return Err(e),
        };
        let Some(what) = silent else {
            return Ok(());
        };
        let op = self.at.op(Method::GET, "/servers/detail", None);
        Err(CloudError::Unavailable {
            call: self.at.call(&op),
            status: 200,
            message: format!(
                "a cell of this Nova does not answer ({what}): the list would lack its servers"
            ),
        })
    }

    /// For a server of which Nova shows no volume, where it depends on them whether it is ours.
    fn not_shown(&self, server: &Server, mark: &Mark, root: &str) -> CloudError {
        let op = self.at.op(Method::GET, "/servers/detail", None);
        CloudError::Unavailable {
            call: self.at.call(&op),
            status: 200,
            message: format!(
                "server {server} is marked as the stand-by of {mark}, and Nova shows no volume of it now: whether it has volume {root}, and so is the one, is not known"
            ),
        }
    }

    /// For what cannot be done to a server that Nova cannot see.
    pub(super) fn hidden(&self, id: &str) -> CloudError {
        let op = self.at.op(Method::GET, &format!("/servers/{id}"), None);
        CloudError::Unavailable {
            call: self.at.call(&op),
            status: 200,
            message: "its cell does not answer: whose it is cannot be seen now".to_owned(),
        }
    }

    /// One server.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn server(&self, id: &str) -> Result<Server, CloudError> {
        self.server_within(id, self.at.cloud.window()).await
    }

    pub(super) async fn server_within(
        &self,
        id: &str,
        window: Window,
    ) -> Result<Server, CloudError> {
        let path = format!("/servers/{}", escaped(id));
        self.at.get_within(&path, "server", window).await
    }

    /// The server with that mark and that root volume in the scope's project, or those that have the name without the mark. The mark alone is
    /// a property, which everybody may write on servers of his own.
    ///
    /// # Errors
    /// See [`ServerError`]; `Twice` where two are it, `Unavailable` where it is not shown whether one is.
    pub async fn find(
        &self,
        mark: &Mark,
        root: &str,
        name: &str,
        most: usize,
    ) -> Result<Found, ServerError> {
        let all = self.servers(Whose::Project, most).await?;
        self.pick(all, mark, root, name)
    }

    /// The same in a list that is there already.
    ///
    /// # Errors
    /// As of [`Self::find`].
    pub fn pick(
        &self,
        servers: impl IntoIterator<Item = Server>,
        mark: &Mark,
        root: &str,
        name: &str,
    ) -> Result<Found, ServerError> {
        let mut ours: Vec<Server> = Vec::new();
        let mut not_shown = Vec::new();
        let mut namesakes = Vec::new();
        for server in servers {
            match server.mark() {
                Some(m) if m == *mark => match server.has_volume(root) {
                    Some(true) => ours.push(server),
                    Some(false) => {
                        tracing::warn!(server.id = %server.id, %mark, volume.id = root, "a server bears the mark of a stand-by, and does not have its root volume: it is none");
                    }
                    None => not_shown.push(server),
                },
                // Somebody else's stand-by may have the same name: names are nobody's alone.
                Some(_) => {}
                None if server.name.as_deref() == Some(name) => namesakes.push(server.id),
                None => {}
            }
        }
        if ours.len() > 1 {
            return Err(ServerError::Twice {
                zone: self.zone(),
                mark: mark.clone(),
                servers: ours.iter().map(ToString::to_string).collect(),
            });
        }
        Ok(match (ours.pop(), not_shown.first()) {
            (Some(server), _) => Found::One(Box::new(server)),
            (None, Some(server)) => return Err(self.not_shown(server, mark, root).into()),
            (None, None) if namesakes.is_empty() => Found::None,
            (None, None) => Found::NameTaken(namesakes),
        })
    }

    /// Begins to build a server. It is `BUILD` until it runs, or ends as `ERROR`. Where the answer is lost it may be there all the same: look before it
    /// is asked for again.
    ///
    /// # Errors
    /// See [`ServerError`]; `Refused` says why where a look around has found it.
    pub async fn create(&self, new: &ServerRequest) -> Result<Made, ServerError> {
        new.check().map_err(|why| ServerError::Unfit {
            zone: self.zone(),
            name: new.name.clone(),
            why,
        })?;
        let (op, answer) = match self.at.post("/servers", &new.body()).await {
            Ok(done) => done,
            Err(e) => return Err(self.refused(&new.name, e, self.why(new)).await),
        };
        Ok(self.at.take(&op, answer, "server")?)
    }

    /// What Nova would not take, with why where that can be found out; any other error as it is.
    pub(super) async fn refused(
        &self,
        server: &str,
        error: CloudError,
        look: impl Future<Output = Option<Refusal>>,
    ) -> ServerError {
        if !error.is_refusal() {
            return error.into();
        }
        match look.await {
            None => error.into(),
            Some(why) => ServerError::Refused {
                zone: self.zone(),
                server: server.to_owned(),
                why,
                source: Box::new(error),
            },
        }
    }

    /// Tells Nova to do something to a server, once. It has only begun when this ends: look.
    ///
    /// # Errors
    /// See [`CloudError`]; `Conflict` where it is in another state than that wants, or locked.
    pub async fn order(&self, id: &str, verb: Verb) -> Result<(), CloudError> {
        self.order_until(id, verb, None).await
    }

    pub(super) async fn order_until(
        &self,
        id: &str,
        verb: Verb,
        end: Option<Instant>,
    ) -> Result<(), CloudError> {
        let cloud = &self.at.cloud;
        let window = end.map_or_else(|| cloud.window(), |end| cloud.window_until(end));
        let path = format!("/servers/{}", escaped(id));
        let body = match verb {
            Verb::Start => json!({ "os-start": null }),
            Verb::Stop => json!({ "os-stop": null }),
            Verb::Shelve => json!({ "shelve": null }),
            Verb::ShelveOffload => json!({ "shelveOffload": null }),
            Verb::Unshelve => json!({ "unshelve": null }),
            Verb::ForceDelete => json!({ "forceDelete": null }),
            Verb::Delete => {
                let done = self.at.write_within(Method::DELETE, &path, None, window);
                return done.await.map(drop);
            }
        };
        let path = format!("{path}/action");
        let done = self
            .at
            .write_within(Method::POST, &path, Some(&body), window);
        done.await.map(drop)
    }

    /// Locks it: its owner can then do nothing to it, and sees why. Under a token of the server's own project Nova takes it for the owner's
    /// lock: he may take it off, and one that is locked already keeps its reason. One without a reason has none.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn lock(&self, id: &str, reason: &str) -> Result<(), CloudError> {
        let body = match reason {
            "" => json!({ "lock": null }),
            reason => json!({ "lock": { "locked_reason": reason } }),
        };
        self.at.act("servers", id, &body).await
    }

    /// Unlocks it. One that is not locked is well.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn unlock(&self, id: &str) -> Result<(), CloudError> {
        self.at.act("servers", id, &json!({ "unlock": null })).await
    }

    /// Sets properties, and leaves those that are not named.
    ///
    /// # Errors
    /// See [`CloudError`]; `Conflict` where it is shelved: Nova writes on none then.
    pub async fn set_metadata(
        &self,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        let path = format!("/servers/{}/metadata", escaped(id));
        let body = json!({ "metadata": metadata });
        self.at.post(&path, &body).await.map(drop)
    }

    /// Takes a property away. One that is not there is well.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn delete_metadata(&self, id: &str, key: &str) -> Result<(), CloudError> {
        self.at.delete_key("servers", id, key).await
    }

    /// The last lines of its console.
    ///
    /// # Errors
    /// See [`CloudError`]; `NotFound` or `Conflict` where there is none yet.
    pub async fn console_output(&self, id: &str, lines: u32) -> Result<String, CloudError> {
        let path = format!("/servers/{}/action", escaped(id));
        let body = json!({ "os-getConsoleOutput": { "length": lines } });
        // It changes nothing: read again and again like any other.
        let op = self.at.op(Method::POST, &path, Some(&body));
        let cloud = &self.at.cloud;
        let answer = cloud.read(&self.at.scope, &op, cloud.window()).await?;
        let output: Option<String> = self.at.take(&op, answer, "output")?;
        Ok(output.unwrap_or_default())
    }

    /// What was done to it, newest first: `create`, `stop`, … and by whom.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn actions(&self, id: &str) -> Result<Vec<Action>, CloudError> {
        let path = format!("/servers/{}/os-instance-actions?limit=50", escaped(id));
        self.at.get(&path, "instanceActions").await
    }
}

/// Something that was done to a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Action {
    /// `create`, `stop`, …
    pub action: String,
    /// By whose user.
    #[serde(default, deserialize_with = "crate::wire::text")]
    pub user_id: Option<String>,
    /// `Error` where it failed.
    #[serde(default, deserialize_with = "crate::wire::text")]
    pub message: Option<String>,
    /// When it began.
    #[serde(default, deserialize_with = "crate::wire::moment")]
    pub start_time: Option<jiff::Timestamp>,
}
