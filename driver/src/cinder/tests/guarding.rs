//! What Cinder may do with an image now, and the grants for a stand-by.

use super::*;
use rekindle_net::GrantRequest;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_48_what_would_break_a_pair_is_refused_before_it_begins() {
    let bench = bench().await;
    let volumes = bench.replicated(1, &[]).await;
    let guard = |backend: Option<&str>, operation| GuardRequest {
        backend: backend.map(str::to_owned),
        operation,
        image: volumes[0].image.clone(),
        specs: Specs::new(),
    };
    let ask = async |backend, operation| bench.cinder.guard(&guard(backend, operation)).await;
    ask(None, Operation::Extend).await.unwrap();
    for operation in [Operation::Extend, Operation::Attach, Operation::Delete] {
        let e = ask(Some(PEER), operation).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::NotPrimary);
        assert!(e.message.contains("its primary is in zone-a"), "{e}");
    }
    bench.cinder.freeze(None, "moving house").await.unwrap();
    let e = ask(None, Operation::Delete).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::Frozen);
    assert!(e.message.contains("moving house"), "{e}");
    ask(None, Operation::Attach).await.unwrap();
    assert_eq!(
        bench.cinder.backend(None).await.unwrap().frozen.as_deref(),
        Some("moving house, by the Cinder of zone-a")
    );
    bench.cinder.thaw(None).await.unwrap();
    ask(None, Operation::Delete).await.unwrap();
    let busy = bench.cinder.inner.begin_moving().unwrap();
    assert_eq!(
        ask(None, Operation::Extend).await.unwrap_err().code,
        ErrorCode::Busy
    );
    assert_eq!(
        bench.failover(None, None, &volumes).await.unwrap_err().code,
        ErrorCode::Busy
    );
    drop(busy);
    bench.fabric.a().kill();
    let e = ask(None, Operation::Attach).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::ClusterUnreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_attached_for_a_stand_by_while_that_is_granted() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    let [first, second] = [&volumes[0].image, &volumes[1].image];
    for v in &volumes {
        bench
            .by_hand(&bench.a, v, VolumeAction::Demote { token: None })
            .await;
        let promote = VolumeAction::Promote {
            promotion: Promotion::Plain,
        };
        bench.by_hand(&bench.b, v, promote).await;
        bench
            .wait(&bench.a, &v.image, VolumeStatus::ActiveSecondary)
            .await;
    }
    let ask = async |image: &ImageSpec, operation| {
        let request = GuardRequest {
            backend: None,
            operation,
            image: image.clone(),
            specs: Specs::new(),
        };
        bench.cinder.guard(&request).await
    };
    let grant = async |image: &ImageSpec, within| {
        bench
            .a
            .grant_standby(
                image,
                &GrantRequest {
                    within,
                    generation: None,
                },
            )
            .await
    };
    let e = ask(first, Operation::Attach).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::NotPrimary);

    let until = grant(first, Span::secs(600)).await.unwrap().until;
    assert!(until > bench.a.clock().now());
    ask(first, Operation::Attach).await.unwrap();
    // For that image, and for nothing else.
    for (image, operation) in [
        (second, Operation::Attach),
        (first, Operation::Extend),
        (first, Operation::Delete),
    ] {
        let e = ask(image, operation).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::NotPrimary, "{operation:?}");
    }
    // It ends by itself.
    grant(second, Span::secs(1)).await.unwrap();
    ask(second, Operation::Attach).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(second, Operation::Attach).await.is_ok() {
        assert!(Instant::now() < deadline, "a grant does not end");
        sleep(Duration::from_millis(50)).await;
    }

    for within in [Span::secs(0), Span::secs(901)] {
        let e = grant(first, within).await.unwrap_err();
        assert_eq!(
            (e.code, e.field.as_deref()),
            (ErrorCode::InvalidField, Some("within"))
        );
    }
    let plain = ImageSpec::new("volumes", "volume-plain").unwrap();
    bench.fabric.a().create_image(&plain, 1 << 20);
    assert_eq!(
        grant(&plain, Span::secs(1)).await.unwrap_err().code,
        ErrorCode::NotReplicated
    );
    let nobody = ImageSpec::new("volumes", "volume-nobody").unwrap();
    assert_eq!(
        grant(&nobody, Span::secs(1)).await.unwrap_err().code,
        ErrorCode::UnknownVolume
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_in_a_group_is_given_under_its_generation() {
    let bench = bench().await;
    let image = ImageSpec::new("volumes", "volume-1").unwrap();
    bench.fabric.a().create_image(&image, 1 << 20);
    let order = |action, generation| Order { action, generation };
    let replicate = VolumeAction::Replicate {
        mode: ReplicationMode::Instant,
        group: Some("db".parse().unwrap()),
        leave_group: false,
        anew: false,
        cinder: None,
    };
    bench
        .a
        .take_lease(&"db".parse().unwrap(), rekindle_common::Generation(3))
        .await
        .unwrap();
    bench
        .a
        .act(
            &image,
            order(replicate, Some(rekindle_common::Generation(3))),
        )
        .await
        .unwrap();
    for (generation, code) in [
        (None, ErrorCode::GenerationRequired),
        (Some(2), ErrorCode::StaleGeneration),
    ] {
        let request = GrantRequest {
            within: Span::secs(60),
            generation: generation.map(rekindle_common::Generation),
        };
        let e = bench.a.grant_standby(&image, &request).await.unwrap_err();
        assert_eq!(e.code, code);
    }
    let request = GrantRequest {
        within: Span::secs(60),
        generation: Some(rekindle_common::Generation(3)),
    };
    bench.a.grant_standby(&image, &request).await.unwrap();
}

/// Cinder 21 makes a volume's image anew in a reimage. What a person made of it past its type would be lost by that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_made_anew_only_where_its_type_says_how_it_is_replicated() {
    let bench = bench().await;
    let volumes = bench.replicated(3, &[]).await;
    let of_type = |v: &CinderVolume, specs: Specs| GuardRequest {
        backend: None,
        operation: Operation::Remake,
        image: v.image.clone(),
        specs,
    };
    let refused = async |v: &CinderVolume, pairs: &[(&str, &str)]| {
        let asked = of_type(v, specs(pairs));
        let e = bench.cinder.guard(&asked).await.unwrap_err();
        assert_eq!(e.code, ErrorCode::Held, "{e}");
        e.message
    };
    let [grouped, other, kept] = [&volumes[0], &volumes[1], &volumes[2]];
    for v in &volumes {
        let asked = of_type(v, specs(&[]));
        bench.cinder.guard(&asked).await.unwrap();
    }
    let replicate = |group: Option<&str>| VolumeAction::Replicate {
        mode: ReplicationMode::Instant,
        group: group.map(|g| g.parse().unwrap()),
        leave_group: false,
        anew: false,
        cinder: None,
    };
    bench
        .by_hand(&bench.a, grouped, replicate(Some("db")))
        .await;
    let why = refused(grouped, &[]).await;
    assert!(
        why.contains("it is in group db, and that would be no group"),
        "{why}"
    );
    let db = of_type(grouped, specs(&[("rekindle:group", "db")]));
    bench.cinder.guard(&db).await.unwrap();

    let why = refused(other, &[("rekindle:mode", "once")]).await;
    assert!(
        why.contains("it is instant, and that would be once"),
        "{why}"
    );
    let why = refused(kept, &[("rekindle:on_delete", "refuse")]).await;
    assert!(why.contains("would be refuse"), "{why}");
    // Of a plain type it would have no copy at all.
    let plain = of_type(other, Specs::new());
    let e = bench.cinder.guard(&plain).await.unwrap_err();
    assert!(e.message.contains("not replicated"), "{e}");
    // And one that is not replicated has nothing to lose.
    let asked = VolumesRequest {
        backend: None,
        volumes: vec![other.clone()],
    };
    bench.cinder.unreplicate(asked).await.unwrap();
    bench.cinder.guard(&plain).await.unwrap();
}
