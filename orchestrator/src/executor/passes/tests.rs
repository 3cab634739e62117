use super::*;
use rekindle_common::{
    Generation, PlanId, ResyncToken, ZoneName,
    action::SafetyCopy,
    given_up::{GivenUp, Written},
};
use rekindle_core::{
    plan::{OldLease, PlanKind, PlannedStep},
    saga::{End, Event, Next, Record},
};

fn resync(volumes: Vec<ImageSpec>) -> Plan {
    let zone = ZoneName::new("zone-a").unwrap();
    let id = PlanId::new("p-1").unwrap();
    let step = Step::Resync {
        zone: zone.clone(),
        volumes,
        token: ResyncToken::from_plan(&id),
        safety: SafetyCopy::Keep,
        generation: Generation(2),
    };
    Plan {
        id,
        parent: None,
        group: "db".parse().unwrap(),
        kind: PlanKind::Reprotect,
        from: zone.clone(),
        to: zone,
        made_for: Generation(2),
        at: jiff::Timestamp::UNIX_EPOCH,
        why: String::new(),
        proof: None,
        expected_loss: vec![],
        left_out: vec![],
        runbook: Default::default(),
        steps: vec![PlannedStep {
            step,
            deadline: Span::secs(1),
            unwind: vec![],
        }],
    }
}

/// A record that etcd never takes would halt its plan for ever; a failure that is left out would pass for a success.
#[test]
fn a_record_of_many_fits_into_etcd_and_leaves_out_none_that_failed() {
    // In an order that is not that of their names.
    let volume = |n: usize| -> ImageSpec {
        let n = n * 7919 % 50_000;
        let name = format!("volumes/volume-00000000-0000-4000-8000-{n:012}");
        name.parse().unwrap()
    };
    let all: Vec<ImageSpec> = (0..50_000).map(volume).collect();
    let plan = resync(all.clone());
    let step = &plan.steps[0].step;
    let mut tally = Tally::new(steps::volumes_of(step), &BTreeSet::new());
    for (n, v) in all.iter().enumerate() {
        let given_up = GivenUp {
            written: Written::unknown("\u{1}".repeat(200)),
            kept_as: Some(v.clone()),
        };
        tally.gives_up(v, given_up);
        if n == 0 {
            tally.done(v);
        } else {
            tally.fail(v, "\u{1}".repeat(1200));
        }
    }
    let Ok(outcome) = settle(tally, "x".repeat(5000), Owes::Some) else {
        panic!("one is enough")
    };
    assert_eq!(outcome.volumes_failed(), all.len() - 1);
    assert_eq!(outcome.given_up.len() + outcome.given_up_more, all.len());
    assert!(!outcome.given_up.is_empty());
    let record = |event| Record {
        at: plan.at,
        by: "witness".to_owned(),
        event,
    };
    let journal = [
        record(Event::Begun),
        record(Event::StepBegun { step: 0 }),
        record(Event::StepDone { step: 0, outcome }),
    ];
    let text = serde_json::to_string(&journal[2]).unwrap();
    assert!(text.len() < 700 * 1024, "{}", text.len());
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), journal[2]);
    let saga = Saga::replay(&plan, &journal).unwrap();
    assert_eq!(saga.next(), Next::Finish { end: End::Partial });
    let failed: BTreeSet<_> = saga.failed().iter().map(|f| &f.volume).collect();
    assert_eq!(failed, all[1..].iter().collect::<BTreeSet<_>>());
}

#[test]
fn of_a_few_that_failed_each_reason_is_whole() {
    let all: Vec<ImageSpec> = (0..100)
        .map(|n| format!("volumes/v{n}").parse().unwrap())
        .collect();
    let mut tally = Tally::new(all.clone(), &BTreeSet::new());
    for v in &all {
        tally.fail(v, "r".repeat(500));
    }
    let Ok(outcome) = settle(tally, String::new(), Owes::None) else {
        panic!("it owes none")
    };
    assert_eq!(outcome.failed.len(), 100);
    assert!(outcome.failed.iter().all(|f| f.why.len() == 500));
    assert_eq!((outcome.failed_more.len(), outcome.note.as_str()), (0, ""));
}

#[test]
fn a_record_that_was_refused_to_the_end_has_changed_nothing() {
    let zone = ZoneName::new("zone-b").unwrap();
    let record = Step::RecordPrimary {
        zone: zone.clone(),
        generation: Generation(2),
        replaces: Generation(1),
        lease: OldLease::Gone,
    };
    let take = Step::TakeLease {
        zone,
        generation: Generation(2),
    };
    let tally = || Tally::new(steps::volumes_of(&record), &BTreeSet::new());
    let left = |step: &Step, unsure| {
        let left = left_by(step, unsure);
        match give_up(tally(), "not within 30s", "refused", Owes::All, left) {
            Err(Stop::Failed { left, .. }) => Some(left),
            Err(Stop::Lost) | Ok(_) => None,
        }
    };
    assert_eq!(left(&record, false), Some(Left::Nothing));
    assert_eq!(left(&record, true), Some(Left::MaybeSomething));
    assert_eq!(left(&take, false), Some(Left::MaybeSomething));
}
