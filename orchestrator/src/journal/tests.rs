use super::*;
use crate::coordination::{Coordinator, Standing};
use rekindle_common::{Generation, GroupName, SiteName, ZoneName};
use rekindle_core::{
    plan::{PlanKind, PlannedStep, Step},
    saga::{End, Event},
};
use rekindle_store::{Election, LeaderRecord, MemoryStore};
use tokio_util::sync::CancellationToken;

async fn leader(store: &MemoryStore) -> Lead {
    let site = store.handle("witness");
    let me = LeaderRecord {
        site: SiteName::new("witness").unwrap(),
        instance: "w".to_owned(),
    };
    let election = Election::new(site.clone().into(), me, Default::default());
    let second = Duration::from_secs(1);
    let coordinator = Coordinator::new(election, site.into(), second, second);
    let mut standing = coordinator.standing();
    tokio::spawn(coordinator.run(CancellationToken::new()));
    let now = standing
        .wait_for(|s| matches!(s, Standing::Leader { .. }))
        .await
        .unwrap();
    match &*now {
        Standing::Leader { lead } => lead.clone(),
        Standing::Unknown | Standing::Follower { .. } => unreachable!(),
    }
}

fn plan(id: &str) -> Plan {
    let zone = ZoneName::new("zone-a").unwrap();
    Plan {
        id: PlanId::new(id).unwrap(),
        parent: None,
        group: GroupName::new("db").unwrap(),
        kind: PlanKind::Reprotect,
        from: zone.clone(),
        to: zone,
        made_for: Generation(1),
        at: jiff::Timestamp::UNIX_EPOCH,
        why: "a test".to_owned(),
        proof: None,
        expected_loss: vec![],
        left_out: vec![],
        runbook: Default::default(),
        steps: vec![PlannedStep {
            step: Step::MarkProtected,
            deadline: rekindle_common::duration::Span::secs(1),
            unwind: vec![],
        }],
    }
}

fn record(event: Event) -> Record {
    Record {
        at: jiff::Timestamp::UNIX_EPOCH,
        by: "witness".to_owned(),
        event,
    }
}

async fn write(lead: &Lead, p: &Plan, events: Vec<Event>) {
    let put = Op::put_json(keys::plan(&p.id), p, None).unwrap();
    lead.txn(Txn::new().then(put)).await.unwrap();
    for (seq, event) in events.into_iter().enumerate() {
        append(lead, &p.id, seq, &record(event), vec![])
            .await
            .unwrap();
    }
}

fn whole() -> Vec<Event> {
    vec![
        Event::Begun,
        Event::StepBegun { step: 0 },
        Event::StepDone {
            step: 0,
            outcome: Default::default(),
        },
        Event::Ended {
            end: End::Succeeded,
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_answer_was_lost_is_written_once() {
    let store = MemoryStore::default();
    let lead = leader(&store).await;
    let p = plan("p1");
    write(&lead, &p, vec![]).await;
    store.handle("witness").lose_answers(1);
    append(&lead, &p.id, 0, &record(Event::Begun), vec![])
        .await
        .unwrap();
    let read = read_records(lead.store(), &p.id).await.unwrap();
    assert_eq!(read, [record(Event::Begun)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_another_is_never_written_over() {
    let store = MemoryStore::default();
    let lead = leader(&store).await;
    let p = plan("p1");
    write(&lead, &p, vec![Event::Begun]).await;
    let mine = record(Event::Retried);
    let e = append(&lead, &p.id, 0, &mine, vec![]).await.unwrap_err();
    assert!(matches!(e, JournalError::Overtaken { seq: 0 }), "{e}");
    let read = read_records(lead.store(), &p.id).await.unwrap();
    assert_eq!(read, [record(Event::Begun)]);
}

#[tokio::test(start_paused = true)]
async fn while_etcd_is_away_it_waits_and_stops_with_the_lease() {
    let store = MemoryStore::default();
    let lead = leader(&store).await;
    let p = plan("p1");
    write(&lead, &p, vec![]).await;
    store.handle("witness").partition();
    let e = append(&lead, &p.id, 0, &record(Event::Begun), vec![])
        .await
        .unwrap_err();
    assert!(matches!(e, JournalError::Lost), "{e}");
    let reader: Store = store.handle("reader").into();
    assert!(read_records(&reader, &p.id).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_history_is_kept_short_and_plans_that_wait_are_kept() {
    let store = MemoryStore::default();
    let lead = leader(&store).await;
    for n in 0..6 {
        let events = if n == 1 { vec![Event::Begun] } else { whole() };
        write(&lead, &plan(&format!("p{n}")), events).await;
    }
    let names = |ids: Vec<PlanId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let all = names(ids(lead.store()).await.unwrap());
    assert_eq!(all, ["p0", "p1", "p2", "p3", "p4", "p5"]);
    assert_eq!(names(prune(&lead, 3).await.unwrap()), ["p0", "p2"]);
    let left = names(ids(lead.store()).await.unwrap());
    assert_eq!(left, ["p1", "p3", "p4", "p5"]);
}

#[tokio::test(start_paused = true)]
async fn old_plans_that_are_kept_do_not_keep_those_behind_them() {
    let store = MemoryStore::default();
    let lead = leader(&store).await;
    for n in 0..50 {
        let events = if n < 25 { vec![Event::Begun] } else { whole() };
        write(&lead, &plan(&format!("p{n:02}")), events).await;
    }
    let names = |ids: Vec<PlanId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    // So many go at once.
    let twenty: Vec<String> = (25..45).map(|n| format!("p{n:02}")).collect();
    assert_eq!(names(prune(&lead, 3).await.unwrap()), twenty);
    assert_eq!(names(prune(&lead, 3).await.unwrap()), ["p45", "p46"]);
    assert_eq!(ids(lead.store()).await.unwrap().len(), 25 + 3);
}
