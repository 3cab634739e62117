//! A failover-host is heard of by who asks about one of its volumes.

use super::*;
use crate::backend::Op;
use rekindle_common::volume::UnderWay;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_48_a_failover_host_is_told_of_before_its_first_demotion() {
    let bench = bench().await;
    let volumes = bench.replicated(2, &[]).await;
    let other = bench.replicated(1, &[]).await.remove(0);
    let under_way = async |v: &CinderVolume| bench.a.outlook(&v.image).await.unwrap().under_way;
    bench.fabric.a().hang(Op::Demote);
    let moving = {
        let (cinder, volumes) = (bench.cinder.clone(), volumes.clone());
        tokio::spawn(async move {
            let request = FailoverRequest {
                backend: None,
                target: None,
                volumes,
            };
            cinder.failover(request).await
        })
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    for v in &volumes {
        while under_way(v).await != [UnderWay::FailoverHost] {
            assert!(Instant::now() < deadline, "{v:?} is not told of");
            sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(under_way(&other).await, [], "it is not among them");
    bench.fabric.a().release(Op::Demote);
    moving.await.unwrap().unwrap();
    assert_eq!(under_way(&volumes[0]).await, []);
}
