//! What a scenario looks at again and again, asked of Cinder's API itself: a client program takes a second of a core for each look.
//! What people do is done with their clients, in `CinderZone`.

use super::http::{self, Answer};
use anyhow::{Context, ensure};
use rekindle_lab::{Lab, OpenStack, Site};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Mutex,
};

/// The administrator, as Keystone knows it.
#[derive(Debug, Clone)]
struct Session {
    token: String,
    project: String,
}

/// A zone's Cinder, asked as its administrator.
#[derive(Debug)]
pub(super) struct CinderApi {
    clients: OpenStack,
    kept: Mutex<Option<Session>>,
}

impl CinderApi {
    pub(super) fn of(lab: &Lab, site: Site) -> anyhow::Result<Self> {
        Ok(Self {
            clients: lab.openstack(site)?,
            kept: Mutex::default(),
        })
    }

    /// What Cinder answers to a request below its project's URL. `version` is the microversion.
    ///
    /// # Errors
    /// It is a refusal, or there is none in time.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        version: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let once = || {
            let Session { token, project } = self.session()?;
            let url = format!("{}/{project}/{path}", self.clients.volume_url);
            let head = [
                ("X-Auth-Token", token.as_str()),
                ("OpenStack-API-Version", &format!("volume {version}")),
            ];
            request(method, &url, &head, body)
        };
        let mut answer = once()?;
        if answer.status == 401 {
            // A Keystone that was killed with its zone may have forgotten the token.
            self.forget_session();
            answer = once()?;
        }
        let Answer { status, body, .. } = &answer;
        ensure!(
            (200..300).contains(status),
            "{method} {path}: {status} {body}"
        );
        if body.is_empty() {
            return Ok(Value::Null);
        }
        answer.json()
    }

    fn session(&self) -> anyhow::Result<Session> {
        let mut kept = self.kept.lock().map_err(|e| anyhow::anyhow!("{e}"))?;
        if let Some(known) = &*kept {
            return Ok(known.clone());
        }
        let who = &self.clients.admin;
        let password = std::fs::read_to_string(&who.password_file)?;
        let domain = json!({ "id": "default" });
        let user = json!({ "name": who.username, "domain": domain, "password": password.trim() });
        let auth = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": who.project, "domain": domain } },
        }});
        let url = format!("{}/auth/tokens", self.clients.auth_url);
        let answer = request("POST", &url, &[], Some(&auth))?;
        let token = answer.field("x-subject-token").context("a token")?;
        let said = answer.json()?;
        let project = said["token"]["project"]["id"].as_str();
        let new = Session {
            token: token.to_owned(),
            project: project.context("a project")?.to_owned(),
        };
        *kept = Some(new.clone());
        Ok(new)
    }

    fn forget_session(&self) {
        if let Ok(mut kept) = self.kept.lock() {
            *kept = None;
        }
    }

    /// All volumes of all projects, each as [`Self::show`] has it.
    ///
    /// # Errors
    /// Cinder does not answer.
    pub(super) fn list(&self) -> anyhow::Result<Vec<Value>> {
        let said = self.ask("GET", "volumes/detail?all_tenants=1", "3.0", None)?;
        let all = said["volumes"].as_array().context("volumes")?;
        Ok(all.iter().cloned().map(as_openstack_shows).collect())
    }

    /// A volume, with its fields named as `openstack volume show` prints them.
    ///
    /// # Errors
    /// Cinder does not answer, or has no such volume.
    pub(super) fn show(&self, id: &str) -> anyhow::Result<Value> {
        let mut said = self.ask("GET", &format!("volumes/{id}"), "3.0", None)?;
        Ok(as_openstack_shows(said["volume"].take()))
    }

    /// Has a volume deleted whatever state it is in; with its snapshots, where it is one that may have some.
    ///
    /// # Errors
    /// Cinder refuses, or does not answer.
    pub(super) fn remove(&self, id: &str, with_snapshots: bool) -> anyhow::Result<()> {
        if with_snapshots {
            // A volume that went wrong is refused this, and has the other.
            let _ = self.ask("DELETE", &format!("volumes/{id}?cascade=true"), "3.0", None);
        }
        let force = json!({ "os-force_delete": {} });
        self.ask("POST", &format!("volumes/{id}/action"), "3.0", Some(&force))
            .map(drop)
    }
}

fn as_openstack_shows(mut volume: Value) -> Value {
    for (ours, theirs) in [("properties", "metadata"), ("type", "volume_type")] {
        volume[ours] = volume[theirs].take();
    }
    volume["bootable"] = (volume["bootable"] == "true").into();
    volume
}

fn request(
    method: &str,
    url: &str,
    head: &[(&str, &str)],
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let rest = url.strip_prefix("http://").context("a plain URL")?;
    let (host, path) = rest.split_once('/').context("a path")?;
    let address: SocketAddr = host.parse().with_context(|| host.to_owned())?;
    let mut text = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in head {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    text.push_str(&format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let mut stream = TcpStream::connect_timeout(&address, http::ANSWER)?;
    stream.set_read_timeout(Some(http::ANSWER))?;
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    http::answer(&bytes, false)
}
