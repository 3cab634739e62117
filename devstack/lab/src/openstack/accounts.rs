//! Who is who in a zone's Keystone: projects, users, roles, and where Cinder and Nova are.
//!
//! `keystone-manage bootstrap` made the administrator and Keystone's own endpoint before. Everything here is looked up
//! first, so it may be done again at any time.

use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::{NOVA_USER, REGION, Secret, password};
use crate::error::Result;
use crate::net::Net;
use crate::services::SiteCtx;
use crate::site::Site;

/// Makes what is missing. Keystone must be serving.
pub(crate) fn make_accounts(ctx: &SiteCtx) -> Result<()> {
    let keystone = Keystone {
        ctx,
        token: token(ctx)?,
    };
    let in_domain = |name: &str| json!({ "name": name, "domain_id": "default" });
    let user = |name: &str, secret| -> Result<Value> {
        let mut user = in_domain(name);
        user["password"] = password(ctx, secret)?.into();
        Ok(user)
    };
    let demo_project = keystone.ensure("project", in_domain("demo"))?;
    let service_project = keystone.ensure("project", in_domain("service"))?;
    let demo = keystone.ensure("user", user("demo", Secret::Demo)?)?;
    let cinder = keystone.ensure("user", user("cinder", Secret::Cinder)?)?;
    let admin = keystone.ensure("user", json!({ "name": "admin" }))?;
    let role = |name: &str| keystone.ensure("role", json!({ "name": name }));
    let (admin_role, member, service) = (role("admin")?, role("member")?, role("service")?);
    for (project, user, role) in [
        (&demo_project, &demo, &member),
        (&demo_project, &admin, &admin_role),
        (&service_project, &cinder, &admin_role),
        (&service_project, &cinder, &service),
    ] {
        keystone.grant(project, user, role)?;
    }
    let url = keystone.url(ctx.ports().cinder, "/v3/%(project_id)s");
    keystone.endpoint("cinder", "block-storage", &url)
}

/// The account of Nova and its kin, and where they are.
pub(crate) fn make_nova_accounts(ctx: &SiteCtx) -> Result<()> {
    let keystone = Keystone {
        ctx,
        token: token(ctx)?,
    };
    let project = keystone.ensure("project", json!({ "name": "service" }))?;
    let user = json!({
        "name": NOVA_USER, "domain_id": "default", "password": password(ctx, Secret::Nova)?,
    });
    let user = keystone.ensure("user", user)?;
    for role in ["admin", "service"] {
        let role = keystone.ensure("role", json!({ "name": role }))?;
        keystone.grant(&project, &user, &role)?;
    }
    let ports = ctx.ports();
    for (name, kind, port, path) in [
        ("nova", "compute", ports.nova, "/v2.1"),
        ("placement", "placement", ports.placement, ""),
        ("neutron", "network", ports.neutron, ""),
        ("glance", "image", ports.glance, ""),
    ] {
        keystone.endpoint(name, kind, &keystone.url(port, path))?;
    }
    Ok(())
}

struct Keystone<'a> {
    ctx: &'a SiteCtx,
    token: String,
}

impl Keystone<'_> {
    fn url(&self, port: u16, path: &str) -> String {
        format!("http://{}{path}", self.ctx.net.socket(self.ctx.site, port))
    }

    /// Names a service in the catalogue.
    fn endpoint(&self, name: &str, kind: &str, url: &str) -> Result<()> {
        let service = self.ensure("service", json!({ "name": name, "type": kind }))?;
        for interface in ["public", "internal"] {
            let query = format!("/v3/endpoints?service_id={service}&interface={interface}");
            let found = self.call("GET", &query, None)?;
            if found.body["endpoints"]
                .as_array()
                .is_some_and(Vec::is_empty)
            {
                let endpoint = json!({
                    "service_id": service, "interface": interface, "url": url, "region": REGION,
                });
                self.call(
                    "POST",
                    "/v3/endpoints",
                    Some(json!({ "endpoint": endpoint })),
                )?;
            }
        }
        Ok(())
    }

    /// The id of the thing of that name, made if it is not there.
    fn ensure(&self, kind: &str, thing: Value) -> Result<String> {
        let name = thing["name"].as_str().unwrap_or_default().to_owned();
        let found = self.call("GET", &format!("/v3/{kind}s?name={name}"), None)?;
        let id = match found.body[format!("{kind}s")][0]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => {
                let made = self.call(
                    "POST",
                    &format!("/v3/{kind}s"),
                    Some(json!({ kind: thing })),
                )?;
                made.body[kind]["id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            }
        };
        Ok(id)
    }

    fn grant(&self, project: &str, user: &str, role: &str) -> Result<()> {
        let path = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        self.call("PUT", &path, None).map(drop)
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Answer> {
        call(
            (self.ctx.net, self.ctx.site),
            method,
            path,
            Some(&self.token),
            body,
        )
    }
}

/// A token of the administrator for his own project.
pub(super) fn token(ctx: &SiteCtx) -> Result<String> {
    token_of(
        (ctx.net, ctx.site),
        "admin",
        "admin",
        &password(ctx, Secret::Admin)?,
    )
}

/// A token of that user for that project.
pub(super) fn token_of(
    at: (Net, Site),
    user: &str,
    project: &str,
    password: &str,
) -> Result<String> {
    let domain = json!({ "id": "default" });
    let user = json!({ "name": user, "domain": domain, "password": password });
    let body = json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": user } },
        "scope": { "project": { "name": project, "domain": domain } },
    }});
    let answer = call(at, "POST", "/v3/auth/tokens", None, Some(body))?;
    Ok(answer
        .header("x-subject-token")
        .unwrap_or_default()
        .to_owned())
}

fn call(
    (net, site): (Net, Site),
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Result<Answer> {
    let request = Request {
        method,
        port: net.ports(site).keystone,
        path,
        token,
        version: None,
        body,
    };
    request
        .send(net, site)?
        .or_refused(|| format!("{method} {path} at Keystone of {site}"))
}
