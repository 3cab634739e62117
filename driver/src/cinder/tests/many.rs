//! A zone with very many volumes.

use super::*;
use crate::{actions::MAX_PAGE, cinder::sides::whole};
use rekindle_common::volume::VolumeReport;
use rekindle_net::VolumePage;

/// What is left out is taken for what is not there: it would be demoted by nobody, and its deletion would never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_04_no_volume_of_a_zone_is_left_out_however_many_there_are() {
    let bench = bench().await;
    let v = bench.replicated(1, &[]).await.remove(0);
    let one = bench.a.volume(&v.image).await.unwrap();
    let all: Vec<VolumeReport> = (0..12_345)
        .map(|n| VolumeReport {
            volume: ImageSpec::new("volumes", format!("volume-{n:06}")).unwrap(),
            ..one.clone()
        })
        .collect();
    let all = &all;
    let listed = whole(|query| async move {
        let after = query.after.as_ref();
        let left = all
            .iter()
            .filter(|r| after.is_none_or(|after| r.volume > *after));
        let volumes: Vec<VolumeReport> = left.take(MAX_PAGE).cloned().collect();
        let last = volumes.last().map(|r| r.volume.clone());
        let next = last.filter(|last| all.last().is_some_and(|r| r.volume > *last));
        Ok(VolumePage { volumes, next })
    });
    assert_eq!(listed.await.unwrap().len(), all.len());
}
