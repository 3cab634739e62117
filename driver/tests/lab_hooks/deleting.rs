//! Deletions on real zones: what librbd and the mirror daemons make of each policy.

use super::*;
use rekindle_common::facts::MAX_FACTS;
use std::collections::BTreeMap;

const WORDS: &[u8] = b"the last word";

impl Hooks {
    async fn delete(&self, v: &CinderVolume) -> Deleted {
        let begun = Instant::now();
        let request = DeleteRequest {
            backend: None,
            volume: v.clone(),
            step: DeleteStep::Volume,
        };
        let answer = self.cinder.delete(request).await.unwrap();
        println!("{:?} in {:?}", answer.outcome, begun.elapsed());
        answer.outcome
    }

    async fn one(&self, pairs: &[(&str, &str)], facts: Option<VolumeFacts>) -> CinderVolume {
        let v = CinderVolume {
            facts,
            ..volume_of(self.zones.image())
        };
        self.replicate(std::slice::from_ref(&v), pairs).await;
        v
    }

    async fn gone(&self, side: &Side, v: &CinderVolume) {
        let begun = Instant::now();
        self.until("the image is gone", async || {
            let e = side.volumes.volume(&v.image).await;
            e.is_err_and(|e| e.code == ErrorCode::UnknownVolume)
        })
        .await;
        println!("gone after {:?}", begun.elapsed());
    }
}

/// As much as there is room for.
fn facts() -> VolumeFacts {
    let long = |n: usize| (format!("key-{n}"), "x".repeat(1000));
    VolumeFacts {
        project_id: "p".to_owned(),
        name: Some("»Konto« \u{1f525}".to_owned()),
        description: None,
        volume_type: Some("gold".to_owned()),
        size_gib: 1,
        bootable: true,
        image_metadata: (0..15).map(long).collect::<BTreeMap<_, _>>(),
        encryption_key_id: None,
        snapshots: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_deleted_primary_is_kept_or_goes_as_its_policy_says() {
    let hooks = hooks().await;
    let (a, b) = (&hooks.zones.a, &hooks.zones.b);
    let once = ("rekindle:mode", "once");
    let keep = ("rekindle:on_delete", "keep");
    let soon = ("rekindle:on_delete", "delete:2s");
    let kept = [
        hooks.one(&[keep], Some(facts())).await,
        hooks.one(&[keep, once], Some(facts())).await,
    ];
    let going = [
        hooks.one(&[soon], None).await,
        hooks.one(&[soon, once], None).await,
    ];
    for v in kept.iter().chain(&going) {
        wait(b, &v.image, VolumeStatus::ActiveSecondary).await;
    }
    for v in &kept {
        // What Cinder says has crossed, whole, up to the bound.
        let there = b.volumes.volume(&v.image).await.unwrap().cinder.unwrap();
        assert_eq!(there.image_metadata, facts().image_metadata);
        assert_eq!((&there.id, there.zone.as_str()), (&v.id, "zone-a"));
        let length = there.to_metadata().unwrap().len();
        assert!(length > 15_000 && length <= MAX_FACTS, "{length}");
        hooks.write(Site::ZoneA, &v.image, WORDS);
        assert_eq!(hooks.delete(v).await, Deleted::RemovedByUs);
    }
    for v in &going {
        assert_eq!(hooks.delete(v).await, Deleted::Scheduled);
    }
    for v in &kept {
        hooks.gone(a, v).await;
        // Its mark goes right behind its mirroring, with which the other zone's image goes too.
        let plain = |r: &rekindle_common::volume::VolumeReport| {
            r.role == Role::NotMirrored && r.deletion.is_none()
        };
        wait_for(b, &v.image, "a plain volume without a mark", plain).await;
        assert_eq!(hooks.read(Site::ZoneB, &v.image, WORDS.len()), WORDS);
        hooks.write(Site::ZoneB, &v.image, b"and on");
        let pool = hooks.zones.admin(Site::ZoneB).pool(POOL).unwrap();
        pool.remove_image(v.image.image()).unwrap();
    }
    for v in &going {
        hooks.gone(a, v).await;
        hooks.gone(b, v).await;
    }
}
