//! Two zones with the driver's actions on real Ceph, in the lab.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use rbd_rs::{Ceph, Cluster, ConnectOptions, CreateOptions};
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, Generation, GroupName, ImageSpec, ResyncToken, ZoneName,
    action::{ActionOutcome, Order, Promotion, SafetyCopy, VolumeAction},
    mode::ReplicationMode,
    status::VolumeStatus,
    volume::VolumeReport,
};
use rekindle_driver::{
    actions::{Limits, Parts, Volumes},
    backend::{
        Backend,
        rbd::{RbdBackend, RbdOptions},
    },
    clock::Clock,
    leases::FixedLeases,
};
use rekindle_lab::{Lab, Site};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The pool that the lab's zones mirror.
pub const POOL: &str = "volumes";
/// Small, for the first sync copies all of it.
pub const SIZE: u64 = 8 << 20;

/// One zone.
pub struct Side {
    pub site: Site,
    pub volumes: Volumes,
    pub leases: Arc<FixedLeases>,
}

/// Both.
pub struct Zones {
    pub a: Side,
    pub b: Side,
    pub ceph: Ceph,
    pub lab: Lab,
}

pub fn options(lab: &Lab, site: Site) -> RbdOptions {
    let zone = lab.zone(site).unwrap();
    RbdOptions {
        conf: zone.ceph_conf,
        client: format!("client.{}", zone.sidecar_id),
        keyring: None,
        pools: vec![POOL.to_owned()],
        threads: 20,
        connect_timeout: Duration::from_secs(5),
    }
}

pub fn side(lab: &Lab, site: Site, limits: Limits) -> Side {
    let leases = Arc::new(FixedLeases::default());
    let volumes = Volumes::new(Parts {
        zone: ZoneName::new(site.name()).unwrap(),
        backend: Backend::Rbd(RbdBackend::new(options(lab, site)).unwrap()),
        state_pool: POOL.to_owned(),
        leases: leases.clone(),
        clock: Clock::System,
        limits,
    });
    Side {
        site,
        volumes,
        leases,
    }
}

pub fn zones() -> Zones {
    let lab = Lab::for_tests().unwrap();
    Zones {
        a: side(&lab, Site::ZoneA, Limits::default()),
        b: side(&lab, Site::ZoneB, Limits::default()),
        ceph: Ceph::load().unwrap(),
        lab,
    }
}

/// A group of its own for each test, so that generations do not meet.
pub fn new_group() -> GroupName {
    let id = uuid::Uuid::new_v4().simple().to_string();
    GroupName::new(format!("g-{}", &id[..12])).unwrap()
}

impl Zones {
    /// The admin's connection, for what a client and an operator do.
    pub fn admin(&self, site: Site) -> Cluster {
        let zone = self.lab.zone(site).unwrap();
        Cluster::connect(&self.ceph, &ConnectOptions::from_conf_file(zone.ceph_conf)).unwrap()
    }

    /// A new image at A that is not mirrored.
    pub fn image(&self) -> ImageSpec {
        let name = format!("volume-{}", uuid::Uuid::new_v4());
        let pool = self.admin(Site::ZoneA).pool(POOL).unwrap();
        pool.create_image(&name, SIZE, &CreateOptions::default())
            .unwrap();
        ImageSpec::new(POOL, name).unwrap()
    }

    /// `n` new volumes of a new group, whose lease A holds under 1, in step at B.
    pub async fn replicated(&self, n: usize, mode: ReplicationMode) -> (GroupName, Vec<ImageSpec>) {
        let group = new_group();
        let specs: Vec<_> = (0..n).map(|_| self.image()).collect();
        self.a
            .volumes
            .take_lease(&group, Generation(1))
            .await
            .unwrap();
        for spec in &specs {
            self.a
                .volumes
                .act(spec, replicate(mode, &group))
                .await
                .unwrap();
        }
        for spec in &specs {
            wait(&self.b, spec, VolumeStatus::ActiveSecondary).await;
        }
        (group, specs)
    }
}

pub fn replicate(mode: ReplicationMode, group: &GroupName) -> Order {
    Order {
        action: VolumeAction::Replicate {
            mode,
            group: Some(group.clone()),
            leave_group: false,
            anew: false,
            cinder: None,
        },
        generation: None,
    }
}
pub fn order(action: VolumeAction, generation: u64) -> Order {
    Order {
        action,
        generation: Some(Generation(generation)),
    }
}
pub fn plain() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Plain,
    }
}
pub fn demote(token: &str) -> VolumeAction {
    VolumeAction::Demote {
        token: Some(DemotionToken::new(token).unwrap()),
    }
}
/// Plainly, once that demotion has arrived.
pub fn after(token: &str) -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::After {
            token: DemotionToken::new(token).unwrap(),
        },
    }
}
pub fn forced() -> VolumeAction {
    VolumeAction::Promote {
        promotion: Promotion::Forced {
            reason: "test".to_owned(),
            accept_torn: false,
        },
    }
}
pub fn resync(token: &str, safety: SafetyCopy) -> VolumeAction {
    VolumeAction::Resync {
        token: ResyncToken::new(token).unwrap(),
        safety,
    }
}

/// Waits for a status, for as long as Ceph may take.
pub async fn wait(side: &Side, spec: &ImageSpec, status: VolumeStatus) -> VolumeReport {
    wait_for(side, spec, &format!("{status}"), |r| r.status == status).await
}

pub async fn wait_for(
    side: &Side,
    spec: &ImageSpec,
    what: &str,
    met: impl Fn(&VolumeReport) -> bool,
) -> VolumeReport {
    let deadline = Instant::now() + Duration::from_secs(150);
    let mut last = None;
    while Instant::now() < deadline {
        match side.volumes.volume(spec).await {
            Ok(r) if met(&r) => return r,
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{spec} at {:?} was never {what}: {last:#?}", side.site)
}

/// Gives an order again as long as its refusal says that it may pass by itself.
pub async fn insist(
    side: &Side,
    spec: &ImageSpec,
    order: &Order,
) -> Result<ActionOutcome, ApiError> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match side.volumes.act(spec, order.clone()).await {
            // The second: the other zone's daemon, shut out by a forced promotion, has not come back to say so.
            Err(e)
                if matches!(
                    e.code,
                    ErrorCode::DemotionNotReplayed | ErrorCode::PeerNotPrimary
                ) && Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            other => return other,
        }
    }
}
