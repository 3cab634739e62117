//! The zone's Nova API, in uwsgi.

use std::time::Duration;

use super::mariadb::ask_nova;
use super::{Lane, Service, SiteCtx, answers, manage, once, tables, uwsgi};
use crate::error::Result;
use crate::openstack::{make_flavor, nova_conf, write_nova};
use crate::site::Site;
use crate::supervise::Spawn;

pub(super) struct NovaApi;

/// The cell of the servers that found no host, and the one of all others, as `nova-manage cell_v2` makes them in two starts. Nova
/// fills in what stands in braces from its own configuration, so these are good for every zone.
const CELLS: &str = "INSERT IGNORE INTO nova_api.cell_mappings (uuid, name, transport_url, database_connection, disabled) VALUES \
     ('00000000-0000-0000-0000-000000000000', 'cell0', 'none:///', \
      '{scheme}://{username}:{password}@{hostname}:{port}/nova_cell0?{query}', 0), \
     ('00000000-0000-0000-0000-000000000001', 'cell1', '{scheme}://{username}:{password}@{hostname}:{port}/{path}', \
      '{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}', 0)";

/// Puts the zone's one host into its cell, as `nova-manage cell_v2 discover_hosts` does; the scheduler takes none that is in no cell.
fn host_sql(site: Site) -> String {
    format!(
        "INSERT IGNORE INTO nova_api.host_mappings (cell_id, host) \
         SELECT id, '{site}' FROM nova_api.cell_mappings WHERE name = 'cell1'"
    )
}

impl Service for NovaApi {
    fn name(&self) -> &'static str {
        "nova-api"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_nova(ctx)?;
        let databases = ["nova_api", "nova_cell0", "nova"];
        tables::make(ctx, "nova", &databases, || {
            let manage = |words: &[&str]| manage(ctx, "nova-manage", &nova_conf(ctx), words)?.run();
            manage(&["api_db", "sync"])?;
            ask_nova(ctx, CELLS)?;
            // Both cells'.
            manage(&["db", "sync"]).map(drop)
        })?;
        ask_nova(ctx, &host_sql(ctx.site)).map(drop)
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let paste = ctx.install().map(|i| i.etc("nova", "api-paste.ini"));
        let files = [paste.unwrap_or_default(), nova_conf(ctx)];
        // Two, for some calls wait for nova-compute.
        uwsgi(
            ctx,
            ctx.ports().nova,
            "nova.wsgi.osapi_compute:application",
            2,
        )
        .env(
            "OS_NOVA_CONFIG_FILES",
            files.map(|f| f.display().to_string()).join(";"),
        )
    }

    /// The list of versions: the one page that needs no token.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().nova, "/", 200)
    }

    fn settle(&self, ctx: &SiteCtx) -> Result<()> {
        once(ctx, "nova", "flavor", make_flavor)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
