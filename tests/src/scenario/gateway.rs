//! The gateway in front of a zone's real Cinder, in Keystone's catalogue, and a plain HTTP client for what the clients do not show.

use super::{
    CinderZone, Cloud, Program, config,
    http::{ANSWER, Answer, exchange, raw},
};
use anyhow::{Context, ensure};
use rekindle_lab::Account;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// The gateway's name as a spawned process, and the second one's.
const GATEWAY: &str = "rekindle-gateway";
const SECOND: &str = "rekindle-gateway-2";

/// A zone's gateway. While it is there, the zone's clients find it where they look for Cinder.
#[derive(Debug)]
pub struct Gateway<'a> {
    zone: &'a CinderZone<'a>,
    cloud: &'a Cloud,
    name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The endpoints that lead to it.
    endpoints: Vec<String>,
}

impl Cloud {
    /// Starts a gateway in front of that zone's Cinder, and puts it into the catalogue.
    ///
    /// # Errors
    /// It does not start, or Keystone refuses.
    pub async fn gateway<'a>(&'a self, zone: &'a CinderZone<'a>) -> anyhow::Result<Gateway<'a>> {
        let site = zone.site;
        let address: SocketAddr = SocketAddr::new(self.lab.addr(site), self.lab.free_port(site)?);
        let file = config::gateway(&self.lab, site, address)?;
        let mut gateway = self.start_gateway(zone, GATEWAY, address, &file).await?;
        gateway.enter_catalogue()?;
        Ok(gateway)
    }

    /// A second one in front of the same Cinder, which no catalogue names: with rules of its own, short times, a page of metrics at that port of
    /// the zone's own `127.0.0.1`, and the sidecar over mutual TLS.
    ///
    /// # Errors
    /// It does not start.
    pub async fn gateway_beside<'a>(
        &'a self,
        zone: &'a CinderZone<'a>,
        rules: &str,
        metrics: u16,
    ) -> anyhow::Result<Gateway<'a>> {
        let site = zone.site;
        let address = SocketAddr::new(self.lab.addr(site), self.lab.free_port(site)?);
        let path = self.log(site, "rules");
        std::fs::write(&path, rules).with_context(|| format!("writing {}", path.display()))?;
        let mut file = config::gateway(&self.lab, site, address)?;
        config::gateway_beside(
            &mut file,
            &self.lab,
            site,
            &self.sidecar_url(site)?,
            &path,
            metrics,
        )?;
        self.start_gateway(zone, SECOND, address, &file).await
    }

    async fn start_gateway<'a>(
        &'a self,
        zone: &'a CinderZone<'a>,
        name: &'static str,
        address: SocketAddr,
        file: &toml::Value,
    ) -> anyhow::Result<Gateway<'a>> {
        self.start_program(zone.site, name, self.programs().gateway()?, file)?;
        let gateway = Gateway {
            zone,
            cloud: self,
            name,
            address,
            endpoints: Vec::new(),
        };
        super::until("the gateway to answer", ANSWER, async || {
            let answer = gateway.get("/", None).await.map_err(|e| format!("{e:#}"))?;
            if answer.status == 300 {
                Ok(())
            } else {
                Err(answer.head)
            }
        })
        .await?;
        Ok(gateway)
    }
}

impl Gateway<'_> {
    fn enter_catalogue(&mut self) -> anyhow::Result<()> {
        let clients = &self.zone.clients;
        let args = ["endpoint", "list", "--service", "block-storage"];
        let all = clients.openstack_json(&clients.admin, &args)?;
        for endpoint in all.as_array().context("a list of endpoints")? {
            let text = |key: &str| endpoint[key].as_str().map(str::to_owned);
            if text("Interface").as_deref() != Some("public") {
                continue;
            }
            let id = text("ID").context("an endpoint has an id")?;
            let ours = format!("http://{}/v3/%(project_id)s", self.address);
            self.zone.admin(&["endpoint", "set", "--url", &ours, &id])?;
            self.endpoints.push(id);
        }
        ensure!(!self.endpoints.is_empty(), "no public endpoint in {all}");
        Ok(())
    }

    /// The process.
    #[must_use]
    pub fn program(&self) -> Program<'_> {
        Program(self.cloud.member(self.zone.site, self.name))
    }

    /// A token of that account.
    ///
    /// # Errors
    /// Keystone refuses.
    pub fn token(&self, who: &Account) -> anyhow::Result<String> {
        Ok(self.token_and_project(who)?.0)
    }

    /// The same, and the project that it is for.
    ///
    /// # Errors
    /// Keystone refuses.
    pub fn token_and_project(&self, who: &Account) -> anyhow::Result<(String, String)> {
        let clients = &self.zone.clients;
        let issued = clients.openstack_json(who, &["token", "issue"])?;
        let part = |key: &str| issued[key].as_str().map(str::to_owned);
        let token = part("id").context("a token has an id")?;
        Ok((token, part("project_id").context("and a project")?))
    }

    /// A token of somebody new, who has that role in that project, and nothing else. `admin` is a token that may say so.
    ///
    /// # Errors
    /// Keystone refuses.
    pub async fn somebody(&self, admin: &str, project: &str, role: &str) -> anyhow::Result<String> {
        let url = &self.zone.clients.auth_url;
        let address = url
            .strip_prefix("http://")
            .and_then(|u| u.split('/').next());
        let keystone: SocketAddr = address.context("Keystone's URL")?.parse()?;
        let name = format!("{}-{role}-{}", self.cloud.name(), self.cloud.next());
        let roles = format!("/v3/roles?name={role}");
        let roles = ask(keystone, "GET", &roles, Some(admin), None).await?;
        let role = roles.json()?["roles"][0]["id"].clone();
        let user = json!({ "user": { "name": name, "password": name, "domain_id": "default" } });
        let user = ask(keystone, "POST", "/v3/users", Some(admin), Some(&user)).await?;
        let user = user.json()?["user"]["id"].clone();
        let (Some(role), Some(user)) = (role.as_str(), user.as_str()) else {
            anyhow::bail!("no role, or no user: {roles:?}");
        };
        let path = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        let given = ask(keystone, "PUT", &path, Some(admin), None).await?;
        ensure!(given.status == 204, "{given:?}");
        let asked = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": { "id": user, "password": name } } },
            "scope": { "project": { "id": project } },
        }});
        let token = ask(keystone, "POST", "/v3/auth/tokens", None, Some(&asked)).await?;
        let found = token.field("x-subject-token").map(str::to_owned);
        found.with_context(|| format!("a token in {token:?}"))
    }

    /// Makes a volume of 1 GiB of that type as the holder of that token, to be deleted with the scenario.
    ///
    /// # Errors
    /// It did not become available.
    pub async fn volume_of(&self, token: &str, of_type: &str) -> anyhow::Result<String> {
        let body = json!({ "volume": { "size": 1, "name": "theirs", "volume_type": of_type } });
        let made = self.post("/v3/volumes", token, &body).await?;
        let made = made.json()?;
        let id = made["volume"]["id"]
            .as_str()
            .with_context(|| format!("an id in {made}"))?;
        let id = self.zone.made(id)?;
        self.zone.wait(&id, &[("status", "available")]).await?;
        Ok(id)
    }

    /// Sends bytes as they are, closes its own side where that is asked for, and returns all that came back until the other side closed.
    ///
    /// # Errors
    /// There is no connection, or the other side does not close it in time.
    pub async fn bytes(&self, bytes: &[u8], close: bool) -> anyhow::Result<String> {
        raw(self.address, bytes, close).await
    }

    /// Asks the gateway for a page.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        ask(self.address, "GET", path, token, None).await
    }

    /// Posts JSON to it.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> anyhow::Result<Answer> {
        ask(self.address, "POST", path, Some(token), Some(body)).await
    }

    /// The same of Cinder itself, without the gateway.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn cinder_itself(&self, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        ask(self.cinders_address()?, "GET", path, token, None).await
    }

    /// Where Cinder itself listens.
    ///
    /// # Errors
    /// Its URL has no address.
    pub fn cinders_address(&self) -> anyhow::Result<SocketAddr> {
        let url = &self.zone.clients.volume_url;
        let address = url
            .strip_prefix("http://")
            .and_then(|u| u.split('/').next());
        Ok(address.context("Cinder's URL")?.parse()?)
    }
}

/// The catalogue is as it was, whatever came of the scenario.
impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        // What stood there may be an earlier run's gateway, which died with its test.
        let url = format!("{}/%(project_id)s", self.zone.clients.volume_url);
        for id in &self.endpoints {
            let _ = self.zone.admin(&["endpoint", "set", "--url", &url, id]);
        }
    }
}

/// One request over one connection.
async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let token = token.map_or_else(String::new, |t| format!("X-Auth-Token: {t}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{token}OpenStack-API-Version: volume 3.70\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    exchange(address, &request).await
}

/// What it adds to each volume.
const FIELDS: [&str; 5] = [
    "rekindle:status",
    "rekindle:mode",
    "rekindle:peer",
    "rekindle:last_sync",
    "rekindle:lag",
];

/// A body without what the gateway adds, and whether it had all of that in each volume. `None`: it has no volumes.
#[must_use]
pub fn without_fields(body: &str) -> Option<(Value, bool)> {
    let mut body: Value = serde_json::from_str(body).ok()?;
    let mut all = true;
    let mut take = |volume: &mut Value| {
        let had = |volume: &mut Map<String, Value>| {
            let gone: Vec<_> = FIELDS.iter().map(|f| volume.remove(*f)).collect();
            gone.iter().all(Option::is_some)
        };
        all &= volume.as_object_mut().is_some_and(had);
    };
    if let Some(volumes) = body.get_mut("volumes") {
        volumes.as_array_mut()?.iter_mut().for_each(take);
    } else {
        take(body.get_mut("volume")?);
    }
    Some((body, all))
}

/// The ids of a page of volumes, and the link to the next one. `None`: it is no such page.
#[must_use]
pub fn page(answer: &Value) -> Option<(Vec<String>, Option<String>)> {
    let volumes = answer["volumes"].as_array()?;
    let ids = volumes.iter().map(|v| v["id"].as_str().map(str::to_owned));
    let next = answer["volumes_links"][0]["href"].as_str();
    Some((ids.collect::<Option<_>>()?, next.map(str::to_owned)))
}
