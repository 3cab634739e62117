//! Both zones on one machine: real Ceph, real etcd, and the faults that zones have.
//!
//! A [`Lab`] is three [`Site`]s: `zone-a` and `zone-b`, each a whole Ceph cluster (one mon, one mgr, one
//! OSD, rbd-mirror) paired with the other, and `witness`; an etcd member in each. As root each site is a
//! network namespace, so that it can be cut off from the others; otherwise all is on 127.0.0.1. With
//! [`Cloud::Cinder`] each zone has a Keystone and a Cinder too, with [`Cloud::Nova`] a Nova besides.
//!
//! Everything lies in one folder. The processes outlive whoever started them; what runs is looked up
//! each time, so a lab can be used from the `lab` command and from any number of tests at once.
//!
//! Reading order: [`Site`], [`Lab`] (`lab.rs`), `lifecycle.rs` (up, down), `lend.rs` (for tests), `faults.rs` (kill, isolate, …),
//! `services/` (one file a service), `ceph/` (configuration, keys, pairing), `openstack/` (the same, and
//! clients), `net.rs`, `supervise.rs`.
//!
//! What it is not: a way to deploy anything. One copy of the data, one mon, keys in plain files.

mod asok;
mod ceph;
mod certs;
mod error;
mod faults;
mod guest;
mod lab;
mod layout;
mod lend;
mod lifecycle;
mod net;
mod openstack;
mod process;
mod registry;
mod run;
mod services;
mod site;
mod state;
mod status;
mod supervise;

pub use certs::Certs;
pub use error::{LabError, Result};
pub use guest::{GuestConsole, GuestDisk, GuestRecord};
pub use lab::{Env, Lab, SiteEnv, Zone};
pub use lend::{KEEP_VARIABLE, LAB_VARIABLE};
pub use openstack::{Account, Api, Backend, Cinder, Guests, Nova, OpenStack};
pub use site::Site;
pub use state::{Cloud, LabOptions, NetMode, OPENSTACK_VARIABLE};
pub use status::{ServiceState, SiteStatus, Status};
pub use supervise::{OnStart, Spawn};
