//! Who we are: a token, what Keystone says with it, and the way to the other services that it holds.

mod catalog;
pub(crate) mod projects;

use crate::{
    cloud::{Cloud, Scope, To, Window, judge, not_understood},
    error::{Call, CloudError},
    http::Ask,
    login::{self, SecretAt, Who},
    url::Url,
};
use catalog::CatalogService;
pub(crate) use catalog::Place;
use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use jiff::Timestamp;
pub use projects::Project;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// A token is not used for the last tenth of its life, and no more than so much of it.
const SPARE: Duration = Duration::from_secs(300);

/// What Keystone says of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id.
    pub user_id: String,
    /// The project that the token is for.
    pub project_id: String,
    /// Its name.
    pub project_name: String,
    /// Our roles in it, by name.
    pub roles: Vec<String>,
    /// What Keystone's clock showed, and when.
    pub clock: Clock,
}

impl Identity {
    /// Whether we have the role that Cinder's usual policy takes for an administrator.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|r| r.eq_ignore_ascii_case("admin"))
    }
}

/// Who holds a token of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The user's id.
    pub user_id: String,
    /// The project that the token is for. `None`: it is for none.
    pub project_id: Option<String>,
    /// The user's roles there, by name.
    pub roles: Vec<String>,
}

/// What another clock showed between two moments of ours. Keystone's shows whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The other's.
    pub theirs: Timestamp,
    /// Ours, when we asked.
    pub asked: Timestamp,
    /// Ours, when the answer was here.
    pub answered: Timestamp,
}

/// A token; its text is in no `Debug` and no message.
pub(crate) struct Token {
    secret: HeaderValue,
    pub(crate) identity: Identity,
    catalog: Vec<CatalogService>,
    good_until: Instant,
}

#[derive(Deserialize)]
struct Issued {
    token: Body,
}

#[derive(Deserialize)]
struct Body {
    expires_at: Timestamp,
    issued_at: Timestamp,
    user: Named,
    project: Named,
    #[serde(default)]
    roles: Vec<Named>,
    #[serde(default)]
    catalog: Vec<CatalogService>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Looked {
    token: LookedBody,
}

#[derive(Deserialize)]
struct LookedBody {
    user: Named,
    #[serde(default)]
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Named>,
}

impl Token {
    /// Asks Keystone about another token. `NotFound`: it is none, or none any more.
    pub(crate) async fn look_at(
        &self,
        cloud: &Cloud,
        shown: &HeaderValue,
        window: Window,
    ) -> Result<Holder, CloudError> {
        let url = cloud.keystone_url().join("/auth/tokens?nocatalog");
        let mut shown = shown.clone();
        shown.set_sensitive(true);
        let headers = vec![
            self.header(),
            (HeaderName::from_static("x-subject-token"), shown),
        ];
        let answer = cloud.exchange(&Method::GET, &url, headers, None, window);
        let answer = answer.await?;
        let Looked { token } = Looked::deserialize(answer)
            .map_err(|e| not_understood(&cloud.call(&Method::GET, &url), e))?;
        Ok(Holder {
            user_id: token.user.id,
            project_id: token.project.map(|p| p.id),
            roles: token.roles.into_iter().map(|r| r.name).collect(),
        })
    }

    /// Asks Keystone for one.
    pub(crate) async fn ask(
        cloud: &Cloud,
        scope: &Scope,
        window: Window,
    ) -> Result<Self, CloudError> {
        let url = tokens(cloud);
        let call = Self::call(cloud);
        let body = body(cloud, scope)?;
        let ask = Ask {
            method: Method::POST,
            url: &url,
            headers: Vec::new(),
            body: Some(body.to_string().into()),
        };
        let asked = Timestamp::now();
        let http = cloud.http();
        let answer = http.send(&call, ask, window.begun, window.deadline).await?;
        let (answered, here) = (Timestamp::now(), Instant::now());
        let json = judge(&call, &answer)?;
        let Issued { token } = Issued::deserialize(json).map_err(|e| not_understood(&call, e))?;
        let secret = answer.headers.get("x-subject-token").cloned();
        let mut secret = secret.ok_or_else(|| CloudError::Unexpected {
            call: call.clone(),
            why: "the answer has no token: is this Keystone?".to_owned(),
            source: None,
        })?;
        secret.set_sensitive(true);
        let token = Self {
            secret,
            // Of Keystone's clock only a difference is used: ours may show anything else.
            good_until: here + usable(token.issued_at, token.expires_at),
            catalog: token.catalog,
            identity: Identity {
                user_id: token.user.id,
                project_id: token.project.id,
                project_name: token.project.name,
                roles: token.roles.into_iter().map(|r| r.name).collect(),
                clock: Clock {
                    theirs: token.issued_at,
                    asked,
                    answered,
                },
            },
        };
        match scope {
            Scope::Project(id) if *id != token.identity.project_id => Err(CloudError::Forbidden {
                call,
                message: format!(
                    "an application credential is bound to its own project, {}: for project {id} name a user with a password",
                    token.identity.project_id
                ),
            }),
            Scope::Project(_) | Scope::Home => Ok(token),
        }
    }

    /// By which one is asked for.
    pub(crate) fn call(cloud: &Cloud) -> Call {
        cloud.call(&Method::POST, &tokens(cloud))
    }

    /// Whether it may still be used.
    pub(crate) fn is_good(&self) -> bool {
        Instant::now() < self.good_until
    }

    pub(crate) fn header(&self) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static("x-auth-token"), self.secret.clone())
    }

    /// Where a service is, for this token.
    pub(crate) fn place(&self, cloud: &Cloud, to: To) -> Result<Place, CloudError> {
        catalog::find(&self.catalog, to, &self.identity.project_id, cloud.login())
            .map_err(|e| cloud.misfit(e.field, e.why))
    }
}

fn tokens(cloud: &Cloud) -> Url {
    cloud.keystone_url().join("/auth/tokens")
}

fn usable(from: Timestamp, to: Timestamp) -> Duration {
    let life = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    life - (life / 10).min(SPARE)
}

fn body(cloud: &Cloud, scope: &Scope) -> Result<Value, CloudError> {
    let secret = |at: &SecretAt| {
        at.read(&login::process).map_err(|e| CloudError::Config {
            zone: cloud.zone().clone(),
            field: e.field.to_owned(),
            why: e.why,
            source: e.source.map(|e| Box::new(e) as _),
        })
    };
    Ok(match &cloud.login().who {
        Who::Password {
            user,
            project,
            secret: at,
        } => {
            let mut user = user.json();
            user["password"] = secret(at)?.into();
            let project = match scope {
                Scope::Home => project.json(),
                Scope::Project(id) => json!({ "id": id }),
            };
            json!({ "auth": {
                "identity": { "methods": ["password"], "password": { "user": user } },
                "scope": { "project": project },
            }})
        }
        Who::Application {
            credential,
            secret: at,
        } => json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": credential.json(&secret(at)?),
        }}}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_given_up_before_its_end() {
        let at = |s: i64| Timestamp::from_second(1_800_000_000 + s).unwrap();
        assert_eq!(usable(at(0), at(3600)), Duration::from_secs(3300));
        assert_eq!(usable(at(0), at(60)), Duration::from_secs(54));
        assert_eq!(usable(at(60), at(0)), Duration::ZERO);
    }
}
