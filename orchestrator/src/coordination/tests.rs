use super::*;
use rekindle_common::SiteName;
use rekindle_store::{Compare, ElectionTiming, MemoryStore, Op, Txn};

fn coordinator(store: &MemoryStore, site: &str) -> Coordinator {
    let store: Store = store.handle(site).into();
    let me = LeaderRecord {
        site: SiteName::new(site).unwrap(),
        instance: format!("{site}-1"),
    };
    let election = Election::new(store.clone(), me, ElectionTiming::default());
    Coordinator::new(
        election,
        store,
        Duration::from_secs(1),
        Duration::from_secs(2),
    )
}

async fn leads(standing: &mut watch::Receiver<Standing>) -> Lead {
    let s = standing
        .wait_for(|s| matches!(s, Standing::Leader { .. }))
        .await
        .unwrap();
    match &*s {
        Standing::Leader { lead } => lead.clone(),
        Standing::Unknown | Standing::Follower { .. } => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_04_a_leader_that_is_cut_off_stops_before_another_leads() {
    let store = MemoryStore::default();
    let (a, b) = (coordinator(&store, "zone-a"), coordinator(&store, "zone-b"));
    let (mut sa, mut sb) = (a.standing(), b.standing());
    let cancel = CancellationToken::new();
    tokio::spawn(a.run(cancel.clone()));
    let lead_a = leads(&mut sa).await;
    tokio::spawn(b.run(cancel.clone()));
    lead_a.check().unwrap();

    let cut = Instant::now();
    store.handle("zone-a").hang();
    lead_a.ended().await;
    assert!(matches!(lead_a.check(), Err(LeadError::Lost)));
    let stopped = cut.elapsed();
    let lead_b = leads(&mut sb).await;
    assert!(stopped < cut.elapsed(), "another led first");
    lead_b.check().unwrap();

    // What the old leader still had in hand is refused.
    store.handle("zone-a").heal();
    let late = Txn::new()
        .when(Compare::Absent("/x".to_owned()))
        .then(Op::Delete {
            key: "/x".to_owned(),
        });
    assert!(matches!(lead_a.txn(late).await, Err(LeadError::Lost)));
}

#[tokio::test(start_paused = true)]
async fn hard_case_03_a_paused_leader_finds_out_before_it_acts() {
    let store = MemoryStore::default();
    let a = coordinator(&store, "zone-a");
    let mut standing = a.standing();
    let task = tokio::spawn(a.run(CancellationToken::new()));
    let lead = leads(&mut standing).await;
    // The whole process stands still: nothing of it runs, only time does.
    task.abort();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(matches!(lead.check(), Err(LeadError::Lost)));
    let txn = Txn::new().then(Op::Delete {
        key: "/x".to_owned(),
    });
    assert!(matches!(lead.txn(txn).await, Err(LeadError::Lost)));
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_resigns_and_another_leads_at_once() {
    let store = MemoryStore::default();
    let (a, b) = (coordinator(&store, "zone-a"), coordinator(&store, "zone-b"));
    let (mut sa, mut sb) = (a.standing(), b.standing());
    let (stop_a, go) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(a.run(stop_a.clone()));
    leads(&mut sa).await;
    tokio::spawn(b.run(go));
    sb.wait_for(|s| matches!(s, Standing::Follower { .. }))
        .await
        .unwrap();
    let before = Instant::now();
    stop_a.cancel();
    leads(&mut sb).await;
    assert!(
        before.elapsed() <= Duration::from_secs(1),
        "it waited for the lease to end"
    );
}
