//! Who is who in a zone's Keystone: projects, users, roles, and where Cinder is.
//!
//! `keystone-manage bootstrap` made the administrator and Keystone's own endpoint before. Everything here is looked up
//! first, so it may be done again at any time.

use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::{REGION, Secret, password};
use crate::error::{LabError, Result};
use crate::services::SiteCtx;

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
    keystone.make_catalog()
}

struct Keystone<'a> {
    ctx: &'a SiteCtx,
    token: String,
}

impl Keystone<'_> {
    fn make_catalog(&self) -> Result<()> {
        let service = self.ensure(
            "service",
            json!({ "name": "cinder", "type": "block-storage" }),
        )?;
        let url = format!(
            "http://{}/v3/%(project_id)s",
            self.ctx.net.socket(self.ctx.site, self.ctx.ports().cinder)
        );
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
        call(self.ctx, method, path, Some(&self.token), body)
    }
}

/// A token of the administrator for his own project.
fn token(ctx: &SiteCtx) -> Result<String> {
    let domain = json!({ "id": "default" });
    let user =
        json!({ "name": "admin", "domain": domain, "password": password(ctx, Secret::Admin)? });
    let body = json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": user } },
        "scope": { "project": { "name": "admin", "domain": domain } },
    }});
    let answer = call(ctx, "POST", "/v3/auth/tokens", None, Some(body))?;
    Ok(answer
        .header("x-subject-token")
        .unwrap_or_default()
        .to_owned())
}

fn call(
    ctx: &SiteCtx,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Result<Answer> {
    let port = ctx.ports().keystone;
    let answer = Request {
        method,
        port,
        path,
        token,
        body,
    }
    .send(ctx)?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    // The body of the request is not repeated: it holds a password.
    Err(LabError::Command {
        command: format!("{method} {path} at Keystone of {}", ctx.site),
        status: answer.status.to_string(),
        stderr: answer.body["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    })
}
