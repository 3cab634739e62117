//! The zone's Neutron, in uwsgi: its API without an agent. Nova's API asks it for the security groups of every server that is
//! shown, also of one without a NIC, and answers 500 where there is none.
//!
//! What binds ports is a driver of the lab's own, found by the names that an installed package would have:
//!
//! ```text
//! ROOT/SITE/neutron/plugins/rekindle_lab_ports.py, rekindle_lab_ports-1.dist-info/{METADATA,entry_points.txt}
//! ```

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{Lane, Service, SiteCtx, answers, manage, once, tables, uwsgi};
use crate::error::{IoContext, Result};
use crate::layout::write_whole;
use crate::openstack::{make_network, neutron_conf, wake_neutron, write_neutron};
use crate::supervise::Spawn;

pub(super) struct Neutron;

/// The driver's files, under their names in the folder of plugins.
const PLUGIN: [(&str, &str); 3] = [
    (
        "rekindle_lab_ports.py",
        include_str!("../../guests/rekindle_lab_ports.py"),
    ),
    (
        "rekindle_lab_ports-1.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: rekindle-lab-ports\nVersion: 1\n",
    ),
    (
        "rekindle_lab_ports-1.dist-info/entry_points.txt",
        "[neutron.ml2.mechanism_drivers]\nrekindle_lab = rekindle_lab_ports:Ports\n",
    ),
];

fn plugins(ctx: &SiteCtx) -> PathBuf {
    ctx.dirs.data("neutron").join("plugins")
}

impl Service for Neutron {
    fn name(&self) -> &'static str {
        "neutron"
    }

    fn needs(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn prepare(&self, ctx: &SiteCtx) -> Result<()> {
        write_neutron(ctx)?;
        let dir = plugins(ctx).join("rekindle_lab_ports-1.dist-info");
        fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
        for (name, text) in PLUGIN {
            write_whole(&plugins(ctx).join(name), text)?;
        }
        tables::make(ctx, self.name(), &["neutron"], || {
            let (conf, words) = (neutron_conf(ctx), ["upgrade", "heads"]);
            manage(ctx, "neutron-db-manage", &conf, &words)?
                .run()
                .map(drop)
        })
    }

    fn command(&self, ctx: &SiteCtx) -> Spawn {
        let port = ctx.ports().neutron;
        let path = |path: PathBuf| path.display().to_string();
        uwsgi(ctx, port, "neutron.wsgi.api:application", 1)
            .args(["--pythonpath".to_owned(), path(plugins(ctx))])
            .env("OS_NEUTRON_CONFIG_FILES", path(neutron_conf(ctx)))
            // What it finds out of its plugins is kept, and in a folder of the zone rather than the user's.
            .env(
                "XDG_CACHE_HOME",
                path(ctx.dirs.data("neutron").join("cache")),
            )
    }

    /// The list of versions: the one page that needs no token.
    fn ready(&self, ctx: &SiteCtx) -> std::result::Result<(), String> {
        answers(ctx, ctx.ports().neutron, "/", 200)
    }

    fn settle(&self, ctx: &SiteCtx) -> Result<()> {
        wake_neutron(ctx)?;
        once(ctx, self.name(), "network", make_network)
    }

    fn patience(&self) -> Duration {
        super::PYTHON_PATIENCE
    }

    fn lane(&self) -> Lane {
        Lane::Cloud
    }
}
