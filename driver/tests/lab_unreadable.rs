//! An image that the sidecar's Ceph user may not read, on real Ceph.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use rbd_rs::CreateOptions;
use rekindle_common::{ErrorCode, ImageSpec, mode::ReplicationMode, volume::Role};
use rekindle_driver::actions::VolumeQuery;
use rekindle_lab::Site;
use support::*;

/// As a volume that Cinder made from one of Glance's images, before it is flattened: whoever opens it opens its parent too.
#[tokio::test(flavor = "multi_thread")]
async fn hard_case_37_a_clone_whose_parent_may_not_be_read_leaves_all_others_in_the_list() {
    let z = zones();
    let (group, specs) = z.replicated(1, ReplicationMode::Instant).await;
    let admin = z.admin(Site::ZoneA);
    let name = format!("images-{}", uuid::Uuid::new_v4());
    // The lab's user has the one pool.
    admin.create_pool(&name, 1).unwrap();
    let images = admin.pool(&name).unwrap();
    let options = CreateOptions::default();
    images.create_image("image", SIZE, &options).unwrap();
    let image = images.open("image").unwrap();
    image.create_snapshot("snap").unwrap();
    let volumes = admin.pool(POOL).unwrap();
    let clone = ImageSpec::new(POOL, format!("volume-{}", uuid::Uuid::new_v4())).unwrap();
    images
        .clone_image("image", "snap", &volumes, clone.image())
        .unwrap();

    let refused = z.a.volumes.volume(&clone).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::StorageError, "{refused}");
    let query = VolumeQuery {
        group: Some(group),
        ..VolumeQuery::default()
    };
    for _ in 0..2 {
        let page = z.a.volumes.volumes(&query).await.unwrap();
        let seen: Vec<_> = page.volumes.iter().map(|v| (&v.volume, v.role)).collect();
        assert_eq!(seen, [(&specs[0], Role::Primary)]);
        let whole = z.a.volumes.volumes(&VolumeQuery::default()).await.unwrap();
        assert!(whole.volumes.iter().all(|v| v.volume != clone));
        // Beyond the age of a list that is given out again.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    volumes.remove_image(clone.image()).unwrap();
}
