mod rises;

use super::*;
use proptest::prelude::*;

/// ttl 30 s, renewed every 5 s, 10 s to demote in: a right lasts 20 s from its sending.
fn timing() -> LeaseTiming {
    LeaseTiming {
        demote_budget: Span::secs(10),
        margin: Span::secs(30),
        ..LeaseTiming::default()
    }
}
fn s(n: u64) -> Moment {
    Moment::from_secs(n)
}
const G1: Generation = Generation(1);
/// Read long ago.
const OURS: Event = Event::RecordRead {
    sent: Moment::ZERO,
    record: Record::Ours { generation: G1 },
};
const THEIRS: Event = Event::RecordRead {
    sent: Moment::ZERO,
    record: Record::Theirs {
        generation: Generation(2),
    },
};
const DEMOTE: Action = Action::Isolate {
    response: IsolationResponse::Demote,
};
const TAKE: Action = Action::Take { generation: G1 };

/// The right has ended. Whether the zone's other sidecar holds the lease is looked for beside the demotion.
const ISOLATED: [Action; 2] = [Action::StandBy { generation: G1 }, DEMOTE];
/// The other zone is recorded, and what is primary here is demoted.
const REPLACED: [Action; 3] = [Action::Release, Action::ReadRecord, DEMOTE];

fn looked(at: u64, images: Images) -> Event {
    Event::Looked {
        sent: s(at),
        images,
    }
}
fn keeper(response: IsolationResponse) -> Keeper {
    Keeper::start(s(0), timing(), response)
}
/// Holds generation 1, asked for at second 0, with primary images.
fn holding(response: IsolationResponse) -> Keeper {
    let mut k = keeper(response);
    k.handle(s(0), looked(0, Images::Primary));
    assert_eq!(k.handle(s(0), OURS), [TAKE]);
    k.handle(
        s(1),
        Event::Taken {
            sent: s(0),
            generation: G1,
        },
    );
    assert_eq!(
        k.state(),
        State::Held {
            generation: G1,
            until: s(20),
            by: Holder::Us
        }
    );
    k
}

/// A sidecar that found its group late: its grace was over before its images, of which there are none, were looked at.
#[test]
fn an_empty_group_takes_its_lease_also_after_the_grace() {
    let mut k = keeper(IsolationResponse::Demote);
    assert!(k.awaits_look());
    k.handle(s(1), OURS);
    assert_eq!(k.handle(s(12), looked(11, Images::None)), [TAKE]);
    assert_eq!(k.state(), State::Isolated { generation: G1 });
    let taken = Event::Taken {
        sent: s(12),
        generation: G1,
    };
    k.handle(s(13), taken);
    assert!(matches!(k.state(), State::Held { .. }), "{:?}", k.state());
    // Where there are images, only an order lets it serve.
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(1), OURS);
    k.handle(s(12), looked(11, Images::NotPrimary));
    k.handle(s(13), taken);
    assert!(!k.awaits_look());
    assert_eq!(k.state(), State::Isolated { generation: G1 });
}

#[test]
fn a_renewal_counts_from_its_sending() {
    let mut k = holding(IsolationResponse::Demote);
    k.handle(s(19), Event::Renewed { sent: s(5) });
    assert_eq!(k.next_deadline(), Some(s(25)));
    // An older answer that comes late shortens nothing.
    k.handle(s(19), Event::Renewed { sent: s(3) });
    assert_eq!(k.next_deadline(), Some(s(25)));
}

#[test]
fn hard_case_06_a_lease_that_is_not_renewed_demotes_before_it_can_end() {
    let mut k = holding(IsolationResponse::Demote);
    assert_eq!(
        k.handle(s(11), Event::Tick),
        [Action::AskSites { generation: G1 }]
    );
    assert_eq!(k.handle(s(20), Event::Tick), ISOLATED);
    assert_eq!(k.view(s(20)), LeaseView::Isolated { generation: G1 });
    // Again and again, until the images are seen demoted by a look that began after it.
    assert_eq!(k.handle(s(21), looked(19, Images::NotPrimary)), ISOLATED);
    assert_eq!(k.handle(s(22), looked(21, Images::Primary)), ISOLATED);
    assert_eq!(k.handle(s(23), looked(22, Images::NotPrimary)), []);
}

#[test]
fn hard_case_02_an_ill_etcd_alone_does_not_stop_a_primary() {
    let mut k = holding(IsolationResponse::Demote);
    k.handle(s(13), Event::SitesConfirmed { sent: s(12) });
    assert_eq!(
        k.state(),
        State::KeptByFailsafe {
            generation: G1,
            until: s(32)
        }
    );
    let wanted = k.handle(s(31), Event::Tick);
    assert_eq!(wanted, [TAKE, Action::AskSites { generation: G1 }]);
    assert_eq!(k.handle(s(32), Event::Tick), ISOLATED);
}

#[test]
fn a_key_lost_in_an_outage_is_taken_again_under_its_generation() {
    let mut k = holding(IsolationResponse::Demote);
    k.handle(s(13), Event::SitesConfirmed { sent: s(12) });
    assert!(k.handle(s(14), Event::Gone).contains(&TAKE));
    k.handle(s(14), OURS);
    k.handle(
        s(15),
        Event::Taken {
            sent: s(14),
            generation: G1,
        },
    );
    assert_eq!(
        k.state(),
        State::Held {
            generation: G1,
            until: s(34),
            by: Holder::Us
        }
    );
}

#[test]
fn an_isolated_zone_takes_its_lease_only_when_ordered() {
    let mut k = holding(IsolationResponse::Demote);
    k.handle(s(20), Event::Tick);
    k.handle(s(22), looked(21, Images::NotPrimary));
    assert_eq!(k.handle(s(60), OURS), []);
    k.handle(
        s(60),
        Event::Taken {
            sent: s(59),
            generation: G1,
        },
    );
    assert_eq!(
        k.view(s(60)),
        LeaseView::Isolated { generation: G1 },
        "a late answer was taken for a right"
    );
    assert_eq!(
        k.handle(s(61), Event::OrderedToTake { generation: G1 }),
        [TAKE]
    );
    k.handle(
        s(61),
        Event::Taken {
            sent: s(61),
            generation: G1,
        },
    );
    assert!(matches!(k.state(), State::Held { .. }));
}

/// `ttl`, `demote_budget` in seconds.
fn times(ttl: u64, demote_budget: u64) -> LeaseTiming {
    LeaseTiming {
        ttl: Span::secs(ttl),
        demote_budget: Span::secs(demote_budget),
        ..timing()
    }
}

/// Its key is about to be put on the shorter lease, and from then on etcd judges by that.
#[test]
fn a_shorter_time_to_live_shortens_a_right_that_is_held() {
    let demote = IsolationResponse::Demote;
    let mut k = holding(demote);
    k.set_policy(s(1), times(120, 5), demote);
    assert_eq!(k.next_deadline(), Some(s(20)), "longer by word alone");
    k.handle(s(10), Event::Renewed { sent: s(10) });
    assert_eq!(k.next_deadline(), Some(s(125)));
    k.set_policy(s(10), times(30, 5), demote);
    assert_eq!(k.next_deadline(), Some(s(35)));
    // The next readings change nothing more, and a right that is kept is cut as well.
    k.set_policy(s(15), times(30, 5), demote);
    k.handle(s(15), Event::Gone);
    assert_eq!(k.next_deadline(), Some(s(35)));
    k.set_policy(s(15), times(20, 5), demote);
    assert_eq!(k.next_deadline(), Some(s(30)));
    assert!(k.handle(s(30), Event::Tick).contains(&DEMOTE));
}

#[test]
fn a_longer_budget_is_kept_back_from_a_right_that_is_held() {
    let demote = IsolationResponse::Demote;
    let mut k = holding(demote);
    k.handle(s(9), Event::Renewed { sent: s(6) });
    assert_eq!(k.next_deadline(), Some(s(26)));
    k.set_policy(s(9), times(30, 12), demote);
    assert_eq!(k.next_deadline(), Some(s(24)), "the lease ends at 36");
    k.set_policy(s(9), times(30, 5), demote);
    assert_eq!(k.next_deadline(), Some(s(24)), "until it is renewed");
}

/// Its peer has not read the shorter time to live yet; whoever watches takes over on its own.
#[test]
fn what_a_peer_holds_for_longer_is_believed_for_as_long_as_ones_own() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), looked(0, Images::Primary));
    k.handle(s(0), OURS);
    let sent = s(90);
    for event in [
        Event::HeldByPeer {
            sent,
            generation: G1,
        },
        Event::PeerVouched {
            sent,
            generation: G1,
        },
    ] {
        let mut k = k.clone();
        k.handle(s(1), event);
        assert_eq!(k.next_deadline(), Some(s(21)), "{event:?}");
    }
}

/// Found by the exploration in `tests/`: an order that came while the lease was held was kept for later, and stood in the
/// way of the demotion.
#[test]
fn an_order_from_before_does_not_stop_a_demotion() {
    let mut k = holding(IsolationResponse::Demote);
    k.handle(s(5), Event::OrderedToTake { generation: G1 });
    assert_eq!(k.handle(s(20), Event::Tick), ISOLATED);
}

#[test]
fn freeze_and_keep_go_on_and_take_the_lease_again() {
    for response in [IsolationResponse::Freeze, IsolationResponse::Keep] {
        let mut k = holding(response);
        assert_eq!(k.handle(s(20), Event::Tick), [Action::Isolate { response }]);
        let again = k.handle(s(22), looked(21, Images::Primary));
        assert_eq!(again, [Action::Isolate { response }, TAKE]);
        k.handle(
            s(23),
            Event::Taken {
                sent: s(22),
                generation: G1,
            },
        );
        assert!(matches!(k.state(), State::Held { .. }));
    }
}

#[test]
fn hard_case_50_a_zone_that_was_replaced_demotes_itself() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), looked(0, Images::Primary));
    assert_eq!(k.handle(s(1), THEIRS), REPLACED);
    assert_eq!(
        k.handle(s(2), looked(1, Images::NotPrimary)),
        [Action::Release]
    );
    // Somebody promotes by hand: once it is made sure that the record is as it was, it is undone.
    k.handle(s(9), looked(8, Images::Primary));
    let again = Event::RecordRead {
        sent: s(9),
        record: Record::Theirs {
            generation: Generation(2),
        },
    };
    assert_eq!(k.handle(s(9), again), REPLACED);
}

#[test]
fn hard_case_05_a_lease_of_an_older_record_is_void() {
    let mut k = holding(IsolationResponse::Demote);
    assert_eq!(k.handle(s(5), THEIRS), REPLACED);
    k.handle(
        s(6),
        Event::Taken {
            sent: s(5),
            generation: G1,
        },
    );
    k.handle(s(6), Event::Renewed { sent: s(6) });
    k.handle(s(6), Event::SitesConfirmed { sent: s(6) });
    assert_eq!(k.view(s(6)), LeaseView::NotHeld);
}

#[test]
fn a_start_without_etcd_demotes_when_its_grace_is_over() {
    let mut k = keeper(IsolationResponse::Demote);
    assert_eq!(k.handle(s(1), looked(0, Images::Primary)), []);
    assert_eq!(k.handle(s(9), Event::Tick), []);
    assert_eq!(k.handle(s(10), Event::Tick), [DEMOTE]);
}

#[test]
fn a_start_with_demoted_images_waits_for_an_order() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(1), looked(0, Images::NotPrimary));
    assert_eq!(k.handle(s(1), OURS), []);
    assert_eq!(k.view(s(1)), LeaseView::Isolated { generation: G1 });
}

#[test]
fn a_dead_cluster_does_not_cost_the_lease() {
    let mut k = keeper(IsolationResponse::Demote);
    assert_eq!(k.handle(s(1), OURS), []);
    assert_eq!(k.handle(s(10), Event::Tick), [TAKE]);
    k.handle(
        s(11),
        Event::Taken {
            sent: s(10),
            generation: G1,
        },
    );
    assert!(matches!(k.view(s(11)), LeaseView::Held { .. }));
}

#[test]
fn a_released_lease_stays_released() {
    let mut k = holding(IsolationResponse::Demote);
    assert_eq!(
        k.handle(s(5), Event::OrderedToRelease { generation: G1 }),
        [Action::Release]
    );
    for event in [
        Event::Tick,
        OURS,
        looked(5, Images::Primary),
        Event::Renewed { sent: s(6) },
    ] {
        assert_eq!(k.handle(s(7), event), [], "{event:?}");
    }
    assert_eq!(
        k.handle(s(8), Event::OrderedToTake { generation: G1 }),
        [TAKE]
    );
}

#[test]
fn a_group_without_a_record_is_left_alone_until_it_has_one() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), looked(0, Images::Primary));
    let absent = Event::RecordRead {
        sent: s(1),
        record: Record::Absent,
    };
    k.handle(s(1), absent);
    assert_eq!(k.handle(s(100), Event::Tick), []);
    assert_eq!(k.handle(s(101), OURS), [TAKE]);
}

#[test]
fn a_second_sidecar_watches_over_the_first() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), looked(0, Images::Primary));
    k.handle(s(0), OURS);
    assert_eq!(
        k.handle(
            s(1),
            Event::HeldByPeer {
                sent: s(0),
                generation: G1
            }
        ),
        [TAKE]
    );
    assert_eq!(k.view(s(1)), LeaseView::NotHeld);
    assert_eq!(
        k.handle(s(20), Event::Tick),
        ISOLATED,
        "etcd and the holder out of sight"
    );
}

/// A second sidecar that has no etcd, at second 20: its own right is over, the holder's is not.
#[test]
fn a_peer_that_vouches_counts_from_the_question_and_for_a_newer_record() {
    let vouched = |sent, generation| Event::PeerVouched {
        sent: s(sent),
        generation,
    };
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(5), looked(5, Images::Primary));
    assert_eq!(k.handle(s(9), vouched(8, G1)), [TAKE]);
    assert_eq!(
        k.handle(s(20), Event::Tick).len(),
        2,
        "late: takes and asks"
    );
    assert_eq!(k.handle(s(27), vouched(25, G1)), [TAKE]);
    // The same answer again grants nothing new.
    k.handle(s(44), vouched(25, G1));
    assert_eq!(k.handle(s(45), vouched(25, G1)), ISOLATED);
    k.handle(s(46), looked(46, Images::NotPrimary));
    assert!(matches!(k.state(), State::Isolated { .. }));
    // The zone lost the group and has it again, and this sidecar has heard of neither.
    k.handle(s(100), vouched(99, Generation(3)));
    assert_eq!(
        k.state(),
        State::Held {
            generation: Generation(3),
            until: s(119),
            by: Holder::Peer
        }
    );
    // What it holds itself is not given away for an older word.
    let mut k = holding(IsolationResponse::Demote);
    k.handle(s(11), Event::Renewed { sent: s(10) });
    k.handle(s(12), vouched(9, G1));
    assert!(matches!(k.view(s(12)), LeaseView::Held { .. }));
    // Nor does a peer's old word make a group that was lost this zone's.
    k.handle(s(13), THEIRS);
    assert_eq!(k.handle(s(14), vouched(13, G1)), REPLACED);
}

fn any_event() -> impl Strategy<Value = Event> {
    let generation = (1u64..4).prop_map(Generation);
    let images = prop_oneof![
        Just(Images::Unknown),
        Just(Images::None),
        Just(Images::Primary),
        Just(Images::NotPrimary)
    ];
    let record = prop_oneof![
        1 => Just(Record::Absent),
        4 => generation.clone().prop_map(|generation| Record::Ours { generation }),
        2 => generation.clone().prop_map(|generation| Record::Theirs { generation }),
    ];
    // Answers may be up to 9 s old when they come.
    let ago = 0u64..10;
    prop_oneof![
        4 => Just(Event::Tick),
        2 => (ago.clone(), images).prop_map(|(a, images)| Event::Looked { sent: s(a), images }),
        3 => (ago.clone(), record).prop_map(|(a, record)| Event::RecordRead { sent: s(a), record }),
        2 => (ago.clone(), generation.clone()).prop_map(|(a, generation)| Event::Taken { sent: s(a), generation }),
        1 => (ago.clone(), generation.clone()).prop_map(|(a, generation)| Event::HeldByPeer { sent: s(a), generation }),
        1 => (ago.clone(), generation.clone()).prop_map(|(a, generation)| Event::PeerVouched { sent: s(a), generation }),
        3 => ago.clone().prop_map(|a| Event::Renewed { sent: s(a) }),
        1 => Just(Event::Gone),
        2 => ago.prop_map(|a| Event::SitesConfirmed { sent: s(a) }),
        1 => generation.clone().prop_map(|generation| Event::OrderedToTake { generation }),
        1 => generation.prop_map(|generation| Event::OrderedToRelease { generation }),
    ]
}
/// Seldom another policy: a time to live, and what is kept back of it.
fn any_times() -> impl Strategy<Value = Option<LeaseTiming>> {
    let changed = (15u64..120, 1u64..15).prop_map(|(ttl, budget)| Some(times(ttl, budget)));
    prop_oneof![7 => Just(None), 1 => changed]
}
/// `sent` was generated as an age; made a moment here.
fn dated(now: Moment, event: Event) -> Event {
    let back = |age: Moment| now.saturating_sub(age);
    match event {
        Event::Looked { sent, images } => Event::Looked {
            sent: back(sent),
            images,
        },
        Event::Taken { sent, generation } => Event::Taken {
            sent: back(sent),
            generation,
        },
        Event::HeldByPeer { sent, generation } => Event::HeldByPeer {
            sent: back(sent),
            generation,
        },
        Event::PeerVouched { sent, generation } => Event::PeerVouched {
            sent: back(sent),
            generation,
        },
        Event::RecordRead { sent, record } => Event::RecordRead {
            sent: back(sent),
            record,
        },
        Event::Renewed { sent } => Event::Renewed { sent: back(sent) },
        Event::SitesConfirmed { sent } => Event::SitesConfirmed { sent: back(sent) },
        Event::Tick
        | Event::Gone
        | Event::OrderedToTake { .. }
        | Event::OrderedToRelease { .. } => event,
    }
}

proptest! {
    /// Whatever happens in whatever order: without a grant that was sent less than `ttl - demote_budget` ago this zone does
    /// not believe that it holds anything; and once a right has ended it demotes until it has seen that it is demoted.
    #[test]
    fn no_right_outlives_its_sending(events in prop::collection::vec((0u64..8, any_event(), any_times()), 1..120)) {
        let mut k = keeper(IsolationResponse::Demote);
        let (mut now, mut granted_until, mut owes_demotion) = (s(0), None::<Moment>, false);
        let mut last_look = s(0);
        let mut right = s(20);
        for (wait, event, times) in events {
            now += s(wait);
            if let Some(times) = times {
                k.set_policy(now, times, IsolationResponse::Demote);
                right = times.ttl.get() - times.demote_budget.get();
            }
            let event = dated(now, event);
            let before = k.state();
            let actions = k.handle(now, event);
            // The key may be put on a lease that is asked for from now on, and nobody hear of it.
            if let State::Held { until, .. } | State::KeptByFailsafe { until, .. } = k.state() {
                prop_assert!(until <= now + right, "{:?} at {now:?}, a right is {right:?}", k.state());
            }
            if let Event::Taken { sent, .. } | Event::HeldByPeer { sent, .. } | Event::PeerVouched { sent, .. } | Event::Renewed { sent } | Event::SitesConfirmed { sent } = event {
                granted_until = granted_until.max(Some(sent + right));
            }
            let serves = matches!(k.state(), State::Held { .. } | State::KeptByFailsafe { .. });
            if serves {
                prop_assert!(granted_until.is_some_and(|end| now < end), "{:?} at {now:?}", k.state());
            }
            let served = matches!(before, State::Held { .. } | State::KeptByFailsafe { .. });
            if served && matches!(k.state(), State::Isolated { generation } if generation != Generation::ZERO) && !matches!(event, Event::RecordRead { .. }) {
                owes_demotion = true;
                last_look = now;
            }
            if let Event::Looked { sent, images: Images::NotPrimary | Images::None } = event && sent >= last_look {
                owes_demotion = false;
            }
            if !matches!(k.state(), State::Isolated { .. }) {
                owes_demotion = false;
            }
            if owes_demotion && !actions.contains(&TAKE) && !actions.iter().any(|a| matches!(a, Action::Take { .. })) {
                prop_assert!(actions.contains(&DEMOTE), "{:?} after {event:?}: {actions:?}", k.state());
            }
        }
    }

    /// A zone that the record does not name never asks for the lease.
    #[test]
    fn a_replaced_zone_never_takes(events in prop::collection::vec((0u64..8, any_event()), 1..60)) {
        let mut k = keeper(IsolationResponse::Demote);
        let mut now = s(0);
        for (wait, event) in events {
            now += s(wait);
            let event = dated(now, event);
            // What a peer vouches for may be of a newer record.
            if matches!(event, Event::RecordRead { record: Record::Ours { .. } | Record::Absent, .. })
                || matches!(event, Event::PeerVouched { generation, .. } if generation > Generation(2))
            {
                continue;
            }
            k.handle(now, THEIRS);
            let actions = k.handle(now, event);
            prop_assert!(!actions.iter().any(|a| matches!(a, Action::Take { .. })), "{event:?}: {actions:?}");
        }
    }
}
