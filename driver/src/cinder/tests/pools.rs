//! A Cinder backend whose pool the sidecar was not given.

use super::*;

/// What is there was not looked at: neither may it pass for gone, nor for a volume without replication.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_32_a_pool_that_the_sidecar_was_not_given_is_no_word_that_there_is_no_image() {
    let bench = bench().await;
    let elsewhere = ImageSpec::new("fast", "volume-1").unwrap();
    let volume = CinderVolume {
        id: "1".to_owned(),
        image: elsewhere.clone(),
        facts: None,
        taken_in: false,
    };
    let named = |e: ApiError| {
        assert_eq!(e.code, ErrorCode::StorageError, "{e}");
        assert!(
            e.message.contains("fast") && e.message.contains("ceph.pools"),
            "{e}"
        );
    };
    let deleted = bench.cinder.delete(DeleteRequest {
        backend: None,
        volume: volume.clone(),
        step: DeleteStep::Volume,
    });
    named(deleted.await.unwrap_err());
    for operation in [Operation::Delete, Operation::Attach, Operation::Extend] {
        let asked = GuardRequest {
            backend: None,
            operation,
            image: elsewhere.clone(),
            specs: Specs::new(),
        };
        named(bench.cinder.guard(&asked).await.unwrap_err());
    }
    named(bench.a.volume(&elsewhere).await.unwrap_err());
    // A failover says it too, and moves nothing by guessing.
    let refused = bench.failover(None, None, &[volume]).await.unwrap_err();
    named(refused);
    // In a pool that it has, its word is that there is none.
    let gone = ImageSpec::new("volumes", "volume-gone").unwrap();
    let error = bench.a.volume(&gone).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownVolume);
}
