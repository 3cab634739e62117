//! Images that were seen demoted and are primary again, or cannot be seen: who promoted them is looked for, and not for long.

use super::*;

const G2: Generation = Generation(2);
const READ: [Action; 2] = [Action::Release, Action::ReadRecord];

fn stand_by(generation: Generation) -> Action {
    Action::StandBy { generation }
}
fn read(sent: u64, record: Record) -> Event {
    let sent = s(sent);
    Event::RecordRead { sent, record }
}
fn held_by_peer(sent: u64, generation: Generation) -> Event {
    let sent = s(sent);
    Event::HeldByPeer { sent, generation }
}

/// The other zone is recorded, and the images here are demoted.
fn replaced() -> Keeper {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), read(0, Record::Theirs { generation: G1 }));
    let seen = k.handle(s(1), looked(1, Images::NotPrimary));
    assert_eq!(seen, [Action::Release]);
    k
}

/// Whoever promoted may have done so on a lease: it is looked for first, and not for long.
#[test]
fn images_that_rise_in_an_isolated_zone_are_demoted_after_a_look_for_who_holds_them() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), looked(0, Images::NotPrimary));
    k.handle(s(0), OURS);
    assert!(matches!(k.state(), State::Isolated { .. }));
    assert_eq!(k.handle(s(50), looked(50, Images::Primary)), [stand_by(G1)]);
    assert_eq!(k.handle(s(59), looked(59, Images::Primary)), [stand_by(G1)]);
    // From then on both: a peer may take the lease at any moment.
    assert_eq!(
        k.handle(s(60), looked(60, Images::Primary)),
        [stand_by(G1), DEMOTE]
    );
    assert_eq!(k.handle(s(61), looked(61, Images::NotPrimary)), []);
    k.handle(s(70), looked(70, Images::Primary));
    assert_eq!(k.handle(s(71), held_by_peer(70, G1)), [TAKE]);
}

/// The record moves here and the zone's other sidecar promotes, all between two readings of this one.
#[test]
fn images_that_rise_in_a_replaced_zone_are_demoted_only_if_the_record_is_still_as_it_was() {
    let mut k = replaced();
    assert_eq!(k.handle(s(50), looked(50, Images::Primary)), READ);
    // A reading that was asked for before they were seen knows nothing of it.
    let theirs = Record::Theirs { generation: G1 };
    assert_eq!(k.handle(s(51), read(49, theirs)), READ);
    let mut by_hand = k.clone();
    let ours = Record::Ours { generation: G2 };
    assert_eq!(k.handle(s(51), read(51, ours)), [stand_by(G2)]);
    assert_eq!(
        k.handle(s(52), held_by_peer(51, G2)),
        [Action::Take { generation: G2 }]
    );

    assert_eq!(by_hand.handle(s(51), read(51, theirs)), REPLACED);
    assert_eq!(by_hand.handle(s(52), looked(52, Images::Primary)), REPLACED);
    let seen = by_hand.handle(s(53), looked(53, Images::NotPrimary));
    assert_eq!(seen, [Action::Release]);
    // Where etcd does not answer it is not waited for.
    assert_eq!(by_hand.handle(s(60), looked(60, Images::Primary)), READ);
    assert_eq!(by_hand.handle(s(69), looked(69, Images::Primary)), READ);
    assert_eq!(by_hand.handle(s(70), Event::Tick), REPLACED);
}

/// As after a resume: one look that fails must not stand between.
#[test]
fn images_that_cannot_be_seen_after_they_were_demoted_have_risen_perhaps() {
    let mut k = keeper(IsolationResponse::Demote);
    k.handle(s(0), looked(0, Images::NotPrimary));
    k.handle(s(0), OURS);
    assert_eq!(k.handle(s(50), looked(50, Images::Unknown)), [stand_by(G1)]);
    assert_eq!(k.handle(s(55), looked(55, Images::Primary)), [stand_by(G1)]);
    // That they are seen gives no more time.
    assert_eq!(k.handle(s(60), Event::Tick), [stand_by(G1), DEMOTE]);

    let mut k = replaced();
    assert_eq!(k.handle(s(50), looked(50, Images::Unknown)), READ);
    let theirs = Record::Theirs { generation: G1 };
    assert_eq!(
        k.handle(s(51), read(51, theirs)),
        READ,
        "they may rise after it"
    );
    assert_eq!(k.handle(s(60), Event::Tick), REPLACED);
    // Before this record nobody could promote on a lease; now somebody may.
    let ours = Record::Ours { generation: G2 };
    assert_eq!(k.handle(s(64), read(64, ours)), [stand_by(G2)]);
    assert_eq!(k.handle(s(74), Event::Tick), [stand_by(G2), DEMOTE]);
}

/// Nothing is waited for where the images were never seen demoted. Who may have promoted them is looked for beside it.
#[test]
fn hard_case_50_images_that_were_not_seen_demoted_have_not_risen() {
    let mut k = holding(IsolationResponse::Demote);
    assert_eq!(k.handle(s(20), Event::Tick), ISOLATED);
    assert_eq!(k.handle(s(22), looked(21, Images::Unknown)), ISOLATED);
    assert_eq!(k.handle(s(24), looked(23, Images::Primary)), ISOLATED);
    assert_eq!(k.handle(s(25), THEIRS), REPLACED);
    assert_eq!(k.handle(s(27), looked(26, Images::Unknown)), REPLACED);
    assert_eq!(k.handle(s(29), looked(28, Images::Primary)), REPLACED);
}

/// One image that cannot be read hides that the others were demoted: what the zone's other sidecar promoted meanwhile is left to it.
#[test]
fn images_that_were_never_seen_demoted_are_left_to_the_sidecar_that_holds_them() {
    for images in [Images::Unknown, Images::Primary] {
        let mut k = holding(IsolationResponse::Demote);
        k.handle(s(20), THEIRS);
        assert_eq!(k.handle(s(50), looked(50, Images::Unknown)), REPLACED);
        assert_eq!(k.handle(s(55), looked(55, images)), REPLACED);
        let ours = Record::Ours {
            generation: Generation(3),
        };
        let both = [stand_by(Generation(3)), DEMOTE];
        assert_eq!(k.handle(s(56), read(56, ours)), both);
        let take = Action::Take {
            generation: Generation(3),
        };
        let held = held_by_peer(56, Generation(3));
        assert_eq!(k.handle(s(57), held), [take], "{images:?}");
        // Its right ends as ever, and so does one that was over when it was heard of.
        let stood_by = k.handle(s(76), Event::Tick);
        assert_eq!(stood_by, both);
        assert_eq!(k.handle(s(77), held), both);
    }
}

/// Where policy has nothing demoted there is nothing to be spared, and etcd is not read for as long as that lasts.
#[test]
fn a_replaced_zone_that_does_not_demote_reads_no_record_for_it() {
    for response in [IsolationResponse::Freeze, IsolationResponse::Keep] {
        let mut k = holding(response);
        let isolate = Action::Isolate { response };
        assert_eq!(k.handle(s(5), THEIRS), [Action::Release, isolate]);
    }
}

proptest! {
    /// Whatever happens in whatever order: what a zone that does not serve has not seen demoted for as long as its budget is being demoted,
    /// unless the record came to name it meanwhile.
    #[test]
    fn what_rises_where_it_is_not_served_is_demoted_in_time(events in prop::collection::vec((0u64..8, any_event()), 1..120)) {
        let mut k = keeper(IsolationResponse::Demote);
        let (mut now, mut unseen_since) = (s(0), None::<Moment>);
        for (wait, event) in events {
            now += s(wait);
            let mut event = dated(now, event);
            if let Event::Looked { sent, .. } = &mut event {
                *sent = now;
            }
            let before = k.state();
            let actions = k.handle(now, event);
            let away = |state| matches!(state, State::NotOurs { .. });
            let waits = |state| away(state) || matches!(state, State::Isolated { .. });
            if !(waits(before) && waits(k.state())) || away(before) != away(k.state()) {
                unseen_since = None;
            }
            if let Event::Looked { images, .. } = event {
                match images {
                    Images::Primary | Images::Unknown => {
                        unseen_since.get_or_insert(now);
                    }
                    Images::NotPrimary | Images::None => unseen_since = None,
                }
            }
            let takes = actions.iter().any(|a| matches!(a, Action::Take { .. }));
            if waits(k.state()) && !takes && unseen_since.is_some_and(|at| now >= at + s(10)) {
                prop_assert!(actions.contains(&DEMOTE), "{:?} after {event:?}: {actions:?}", k.state());
            }
        }
    }
}
