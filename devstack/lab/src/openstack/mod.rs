//! A zone's own Keystone, Cinder and Nova: what they are run from, their secrets, configuration and accounts.
//!
//! ```text
//! ROOT/SITE/openstack/       keystone.conf, cinder.conf, backends.json, nova.conf, nova-compute.conf, …
//! ROOT/SITE/openstack/secret/   a file for each password, readable by the owner alone
//! ```
//!
//! Reading order: `install.rs` (where the programs are), `secrets.rs`, `conf.rs`, `nova_conf.rs` (texts), `backend.rs` and `setup.rs`
//! (the part of `cinder.conf` that tests change), `compute.rs` (the same of Nova, and what guests are made of), `accounts.rs`
//! (projects, users, endpoints), `client.rs`, `call.rs` and `guests.rs` (for who uses it), `reset.rs`.

mod accounts;
mod backend;
mod call;
mod client;
mod compute;
mod conf;
mod guests;
mod http;
mod install;
mod nova_conf;
mod reset;
mod secrets;
mod setup;

use std::path::PathBuf;

use crate::services::SiteCtx;

pub(crate) use accounts::{make_accounts, make_nova_accounts};
pub(crate) use backend::setup as cinder_setup;
pub use backend::{Backend, Cinder};
pub use call::Api;
pub use client::{Account, OpenStack};
pub(crate) use client::{remove_clouds, write_clouds};
pub use compute::Nova;
pub(crate) use compute::{make_flavor, make_image, make_network, wake_neutron};
pub(crate) use conf::{DOWN_TIME, write_cinder, write_keystone, write_rabbitmq};
pub use guests::Guests;
pub(crate) use http::Request;
pub(crate) use install::Install;
pub(crate) use nova_conf::{
    DATABASES as NOVA_DATABASES, USER as NOVA_USER, glance_conf, neutron_conf, nova_compute_conf,
    nova_conf, placement_conf, write_glance, write_neutron, write_nova, write_placement,
};
pub(crate) use secrets::{Secret, fernet_key, make_private_dir, password, write_private};
pub(crate) use setup::{Setup, second_host};

/// The region's name, the same in every zone: each zone is a cloud of its own.
pub(crate) const REGION: &str = "RegionOne";

/// Folder of a zone's OpenStack.
pub(crate) fn dir(ctx: &SiteCtx) -> PathBuf {
    ctx.dirs.data("openstack")
}

pub(crate) fn keystone_conf(ctx: &SiteCtx) -> PathBuf {
    dir(ctx).join("keystone.conf")
}

pub(crate) fn cinder_conf(ctx: &SiteCtx) -> PathBuf {
    dir(ctx).join("cinder.conf")
}

/// What the second member of a cluster reads on top of that.
pub(crate) fn second_conf(ctx: &SiteCtx) -> PathBuf {
    dir(ctx).join("cinder-2.conf")
}

/// Keystone's address for clients.
pub(crate) fn auth_url(ctx: &SiteCtx) -> String {
    format!(
        "http://{}/v3",
        ctx.net.socket(ctx.site, ctx.ports().keystone)
    )
}

/// The zone's libvirt for its clients. The socket lies where the admin sockets do, for its path must be short.
pub(crate) fn libvirt_uri(ctx: &SiteCtx) -> String {
    format!(
        "qemu+unix:///system?socket={}",
        ctx.dirs.run().join("libvirt-sock").display()
    )
}
