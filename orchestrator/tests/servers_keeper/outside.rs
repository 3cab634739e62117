//! A server's volume that is not in its group.

use super::{Play, volumes};
use crate::common::{image, zone_a, zone_b};
use jiff::Timestamp;
use rekindle_common::{duration::Span, mode::ReplicationMode, schedule::Schedule};
use rekindle_orchestrator::catalogue::volumes::Mapped;

#[tokio::test(start_paused = true)]
async fn a_volume_that_a_plan_of_the_group_would_leave_behind_is_said() {
    let play = Play::settled().await;
    assert_eq!(play.trouble().await, "");
    let schedule = Schedule {
        start: Timestamp::UNIX_EPOCH,
        interval: Span::secs(10),
    };
    let mode = ReplicationMode::Periodic(schedule);
    play.rig.replicate_alone(&image(7), mode).await;
    let mut map = volumes(play.clock.now());
    for z in [zone_a(), zone_b()] {
        let mapped = Mapped {
            image: image(7),
            peer: None,
        };
        let all = map.zones.get_mut(&z).unwrap();
        all.insert(format!("vol-7-{z}"), mapped);
    }
    play.feed.tell(Some(map));
    play.a.change("s1", |s| {
        let mut disk = s.record.disks[1].clone();
        disk.volume.id = "vol-7-zone-a".to_owned();
        s.record.disks.push(disk);
    });
    let trouble = play.trouble().await;
    assert!(
        trouble.contains("volume-7 is not in the group"),
        "{trouble}"
    );
}
