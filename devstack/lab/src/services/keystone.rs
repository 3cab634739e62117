//! The zone's Keystone, in uwsgi.

use std::fs;
use std::time::Duration;

use super::{Lane, Service, SiteCtx, answers, manage, once, uwsgi};
use crate::error::{IoContext, Result};
use crate::openstack::{
    REGION, Secret, auth_url, fernet_key, keystone_conf, make_accounts, make_nova_accounts,
    make_private_dir, password, write_keystone, write_private,
};
use crate::supervise::Spawn;

pub(super) struct Keystone;

impl Service for Keystone {
    fn name(&self) -> &'static str {
        "keystone"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_keystone(ctx)?;
        let data = ctx.dirs.data("keystone");
        let done = data.join("tables");
        if done.exists() {
            return Ok(());
        }
        // `keystone-manage fernet_setup` does just this, in three seconds.
        for dir in ["fernet-keys", "credential-keys"] {
            let dir = data.join(dir);
            make_private_dir(&dir)?;
            for name in ["0", "1"] {
                write_private(&dir.join(name), &fernet_key()?)?;
            }
        }
        let url = auth_url(ctx);
        let manage = |words: &[&str]| manage(ctx, "keystone-manage", &keystone_conf(ctx), words);
        manage(&["db_sync"])?.run()?;
        manage(&["bootstrap", "--bootstrap-region-id", REGION])?
            .args([
                "--bootstrap-public-url",
                &url,
                "--bootstrap-internal-url",
                &url,
            ])
            .args(["--bootstrap-admin-url", &url])
            .env("OS_BOOTSTRAP_PASSWORD", password(ctx, Secret::Admin)?)
            .run()?;
        fs::write(&done, "").context(|| "marking Keystone's tables as made".into())
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        // It calls nobody and answers in a tenth of a second: one is enough.
        uwsgi(
            ctx,
            ctx.ports().keystone,
            "keystone.wsgi.api:application",
            1,
        )
        .env(
            "OS_KEYSTONE_CONFIG_FILES",
            keystone_conf(ctx).display().to_string(),
        )
    }

    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().keystone, "/v3", 200)
    }

    fn settle(&self, ctx: &SiteCtx) -> Result<()> {
        once(ctx, self.name(), "accounts", make_accounts)?;
        if ctx.cloud.has_nova() {
            once(ctx, self.name(), "nova-accounts", make_nova_accounts)?;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
