//! What a deletion does to a volume, from what was seen of it. Pure.

use crate::{cinder::rules::not_in_step, replication::is_of_a_keeping};
use rekindle_common::{
    ApiError, DemotionToken, ErrorCode, GroupName, ZoneName,
    deletion::{After, OnDelete},
    duration::Span,
    mode::{MirrorImageMode, ReplicationMode},
    status::VolumeStatus,
    volume::{Role, VolumeReport},
};

/// What a deletion in a zone comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Cinder's own driver removes it.
    Proceed,
    /// Cinder forgets it, and its image is not touched.
    RecordAlone,
    /// It is marked, and removed later.
    Schedule {
        /// After so long.
        after: Span,
    },
    /// It is handed over to the other zone.
    Keep,
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(code, message))
}

/// What the volume's state and policy say to its deletion in `zone`.
pub(super) fn verdict(here: &VolumeReport, zone: &ZoneName) -> Result<Verdict, ApiError> {
    if let Some(action) = &here.in_flight {
        return refuse(
            ErrorCode::Busy,
            format!("{action} is in flight on this volume: try again when it has ended"),
        );
    }
    match here.role {
        Role::Unknown => refuse(
            ErrorCode::ClusterUnreachable,
            format!("{zone}'s cluster does not answer"),
        ),
        Role::NotMirrored => Ok(Verdict::Proceed),
        // A keeping that was begun here looks like a copy from its demotion on.
        Role::Secondary if is_kept_from(here, zone) => Ok(Verdict::Keep),
        Role::Secondary => Ok(Verdict::RecordAlone),
        Role::Primary if here.status == VolumeStatus::ErrorSplitBrain => refuse(
            ErrorCode::SplitBrain,
            "it is primary in both zones: name the side to keep first, see docs/operations.md",
        ),
        // A primary always has a policy; one that is not told refuses.
        Role::Primary => match here.on_delete.unwrap_or(OnDelete::Refuse) {
            OnDelete::Refuse => refuse(
                ErrorCode::Held,
                match &here.group {
                    Some(group) => format!(
                        "the policy of its group {group} is to refuse deletions: take the volume out of the group first, or change its on_delete"
                    ),
                    None => format!(
                        "its type's rekindle:on_delete is to refuse deletions: retype it first{}",
                        if here.concerns.is_empty() {
                            ""
                        } else {
                            ", or see its concerns"
                        }
                    ),
                },
            ),
            OnDelete::Keep => Ok(Verdict::Keep),
            OnDelete::Delete { after } if after.get().is_zero() => Ok(Verdict::Proceed),
            OnDelete::Delete { after } => Ok(Verdict::Schedule { after }),
        },
    }
}

/// Whether its mark says that `zone` hands it over.
pub(super) fn is_kept_from(report: &VolumeReport, zone: &ZoneName) -> bool {
    match report.deletion.as_ref().map(|d| &d.then) {
        Some(After::Keep { from, .. }) => from == zone,
        Some(After::Delete { .. }) | None => false,
    }
}

/// The group that it left to be handed over, or is about to leave.
pub(super) fn group_left(report: &VolumeReport) -> Option<&GroupName> {
    match report.deletion.as_ref().map(|d| &d.then) {
        Some(After::Keep { group, .. }) => group.as_ref(),
        Some(After::Delete { .. }) | None => None,
    }
}

/// The next step of a keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keep {
    /// Note what is going on, so that it can be gone on with or taken back.
    Mark {
        /// The group that it is going to leave.
        group: Option<GroupName>,
    },
    /// Take it out of its group: the group's primary stays where it is, this volume's changes.
    LeaveGroup {
        /// How it is replicated.
        mode: ReplicationMode,
    },
    /// Demote it here.
    Demote,
    /// Promote it there, once that has arrived.
    Promote {
        /// The demotion's name.
        token: DemotionToken,
    },
    /// It is handed over; this zone's daemon does not follow the other zone yet.
    Wait,
    /// It follows: mirroring off there.
    Unmirror,
    /// It was moved to the other zone and is in use there: its deletion had failed before.
    Over,
    /// This zone's image is gone.
    Gone,
}

/// Where a keeping stands. `left` is the image of the zone that deletes, `kept` the other's.
pub(super) fn keep(
    left: Option<&VolumeReport>,
    kept: Option<&VolumeReport>,
    from: &ZoneName,
    to: &ZoneName,
) -> Result<Keep, ApiError> {
    let Some(left) = left else {
        return Ok(Keep::Gone);
    };
    let no_copy = || {
        refuse(
            ErrorCode::NoCompleteCopy,
            format!(
                "it is to be kept in {to}, which has no image of it: see `rekindle volume show`"
            ),
        )
    };
    match (left.role, kept.map(|k| k.role)) {
        (Role::Unknown, _) | (_, Some(Role::Unknown)) => refuse(
            ErrorCode::ClusterUnreachable,
            "a zone's cluster does not answer: delete it again when it does",
        ),
        (Role::NotMirrored, _) => refuse(
            ErrorCode::NotReplicated,
            format!("its image in {from} is not replicated any more"),
        ),
        (Role::Primary, None | Some(Role::NotMirrored)) => no_copy(),
        (Role::Primary, Some(Role::Primary)) => refuse(
            ErrorCode::SplitBrain,
            format!(
                "it is primary in {from} and in {to}: name the side to keep first, see docs/operations.md"
            ),
        ),
        (Role::Primary, Some(Role::Secondary)) => {
            let marked = is_kept_from(left, from);
            // In snapshot mode the mark's own snapshot is on its way then; the demotion carries what is missing in any case.
            let arriving = marked && kept.is_some_and(|k| k.status == VolumeStatus::ActiveUpdating);
            if let Some(why) = kept.and_then(not_in_step).filter(|_| !arriving) {
                return refuse(
                    ErrorCode::Held,
                    format!(
                        "it is to be kept in {to}, and its copy there {why}: delete it again when it is in step"
                    ),
                );
            }
            match (marked, &left.group, left.mode) {
                (false, group, _) => Ok(Keep::Mark {
                    group: group.clone(),
                }),
                // An older version's mark, say: what it leaves is noted first.
                (true, Some(group), _) if group_left(left) != Some(group) => Ok(Keep::Mark {
                    group: Some(group.clone()),
                }),
                (true, Some(_), Some(mode)) => Ok(Keep::LeaveGroup { mode }),
                (true, Some(_), None) => {
                    refuse(ErrorCode::CorruptRecord, "its policy cannot be read")
                }
                (true, None, _) => Ok(Keep::Demote),
            }
        }
        (Role::Secondary, _) if !is_kept_from(left, from) => refuse(
            ErrorCode::NotPrimary,
            format!("its image in {from} is a copy, and no keeping of it was begun"),
        ),
        // The other zone's is gone and this one may be the last: nothing happens to it by itself.
        (Role::Secondary, None) => no_copy(),
        (Role::Secondary, Some(Role::Secondary)) => match &left.demotion {
            Some(token) if is_of_a_keeping(token) => Ok(Keep::Promote {
                token: token.clone(),
            }),
            // A move is under way, or was: a mark that a failed deletion left says nothing of it.
            Some(_) | None => refuse(
                ErrorCode::DemotedOtherwise,
                format!(
                    "it was demoted in {from} by another hand, or by an older version: if it is still to go, promote it there again and delete it anew"
                ),
            ),
        },
        (Role::Secondary, Some(Role::Primary)) if !kept.is_some_and(|k| takes_over(k, from)) => {
            Ok(Keep::Over)
        }
        (Role::Secondary, Some(Role::Primary)) if follows(left) => Ok(Keep::Unmirror),
        (Role::Secondary, Some(Role::Primary | Role::NotMirrored)) => Ok(Keep::Wait),
    }
}

/// Whether the other zone's primary is there because this zone hands it over. Its own word counts: a promotion that is none of a
/// keeping takes the mark away, and in snapshot mode this zone's image hears of that late. Where that could not be written down, the
/// name of the demotion before it is still there.
fn takes_over(kept: &VolumeReport, from: &ZoneName) -> bool {
    is_kept_from(kept, from) && kept.demotion.as_ref().is_none_or(is_of_a_keeping)
}

/// Whether this zone's daemon has taken the other's image for its primary: only then does it remove its own with it. It says that it
/// replays between the demotion and the promotion too, and its word may be that one. So something of after the promotion has to be
/// here: in journal mode it takes the demotion's name off, and in snapshot mode its own snapshot makes this a copy that is in step.
fn follows(left: &VolumeReport) -> bool {
    let replays = left
        .local
        .as_ref()
        .is_some_and(|l| l.state == "up+replaying");
    replays
        && match left.mirror_mode {
            Some(MirrorImageMode::Journal) => left.demotion.is_none(),
            Some(MirrorImageMode::Snapshot) => left.status == VolumeStatus::ActiveSecondary,
            None => false,
        }
}

/// Whether the other zone's daemon has not taken this primary for its own yet, and is going to.
pub(super) fn is_about_to_follow(here: &VolumeReport) -> bool {
    let begins = |state: &str| {
        matches!(
            state,
            "up+unknown" | "up+stopped" | "up+starting_replay" | "up+stopping_replay"
        )
    };
    here.role == Role::Primary && here.peer.as_ref().is_some_and(|p| begins(&p.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_common::{
        GroupName, ImageSpec,
        deletion::Deletion,
        volume::{Known, Lag, SiteView},
    };

    fn zone(name: &str) -> ZoneName {
        ZoneName::new(name).unwrap()
    }
    fn image() -> ImageSpec {
        ImageSpec::new("volumes", "volume-1").unwrap()
    }
    fn report(at: &str, role: Role, status: VolumeStatus) -> VolumeReport {
        VolumeReport {
            volume: image(),
            zone: zone(at),
            group: None,
            status,
            role,
            mode: Some(ReplicationMode::Instant),
            mirror_mode: Some(MirrorImageMode::Journal),
            size: None,
            last_sync: None,
            lag: Lag::None,
            complete_copy: Known::Yes,
            local: None,
            peer: None,
            peer_primary: Known::Unknown,
            demotion: None,
            forced: None,
            cinder: None,
            on_delete: None,
            deletion: None,
            concerns: Vec::new(),
            in_flight: None,
        }
    }
    fn primary(at: &str) -> VolumeReport {
        report(at, Role::Primary, VolumeStatus::ActivePrimary)
    }
    fn copy(at: &str) -> VolumeReport {
        report(at, Role::Secondary, VolumeStatus::ActiveSecondary)
    }
    fn kept(mut r: VolumeReport, from: &str) -> VolumeReport {
        r.deletion = Some(Deletion {
            image: image(),
            at: "2026-11-25T10:00:00Z".parse().unwrap(),
            then: After::Keep {
                from: zone(from),
                group: r.group.clone(),
            },
        });
        r
    }
    fn by_policy(policy: &str) -> Result<Verdict, ErrorCode> {
        let here = VolumeReport {
            on_delete: Some(policy.parse().unwrap()),
            ..primary("zone-a")
        };
        verdict(&here, &zone("zone-a")).map_err(|e| e.code)
    }
    fn step(left: Option<&VolumeReport>, there: Option<&VolumeReport>) -> Result<Keep, ErrorCode> {
        keep(left, there, &zone("zone-a"), &zone("zone-b")).map_err(|e| e.code)
    }

    #[test]
    fn hard_case_32_a_primarys_policy_decides() {
        assert_eq!(by_policy("refuse"), Err(ErrorCode::Held));
        assert_eq!(by_policy("keep"), Ok(Verdict::Keep));
        assert_eq!(by_policy("delete:0s"), Ok(Verdict::Proceed));
        let week = Span::secs(7 * 86_400);
        assert_eq!(
            by_policy("delete:7d"),
            Ok(Verdict::Schedule { after: week })
        );
        // What says nothing refuses; what is in flight, or split, is not deleted.
        assert!(verdict(&primary("zone-a"), &zone("zone-a")).is_err());
        let busy = VolumeReport {
            in_flight: Some("demote".into()),
            ..primary("zone-a")
        };
        assert_eq!(
            verdict(&busy, &zone("zone-a")).unwrap_err().code,
            ErrorCode::Busy
        );
        let split = report("zone-a", Role::Primary, VolumeStatus::ErrorSplitBrain);
        assert_eq!(
            verdict(&split, &zone("zone-a")).unwrap_err().code,
            ErrorCode::SplitBrain
        );
        let grouped = VolumeReport {
            group: Some(GroupName::new("db").unwrap()),
            ..primary("zone-a")
        };
        assert!(
            verdict(&grouped, &zone("zone-a"))
                .unwrap_err()
                .message
                .contains("group db")
        );
    }

    #[test]
    fn hard_case_32_a_copys_record_goes_alone_and_a_keeping_is_gone_on_with_where_it_was_begun() {
        let here = |r: &VolumeReport| verdict(r, &zone("zone-a")).unwrap();
        assert_eq!(here(&copy("zone-a")), Verdict::RecordAlone);
        assert_eq!(here(&kept(copy("zone-a"), "zone-a")), Verdict::Keep);
        // The mark travels with the data: in the zone that takes over it means nothing.
        assert_eq!(here(&kept(copy("zone-a"), "zone-b")), Verdict::RecordAlone);
        assert_eq!(
            here(&report(
                "zone-a",
                Role::NotMirrored,
                VolumeStatus::ErrorNotMirrored
            )),
            Verdict::Proceed
        );
    }

    #[test]
    fn a_keeping_goes_step_by_step_and_never_promotes_what_was_not_demoted() {
        let there = copy("zone-b");
        let mut left = primary("zone-a");
        let mark = |group| Ok(Keep::Mark { group });
        assert_eq!(step(Some(&left), Some(&there)), mark(None));
        let older = kept(left.clone(), "zone-a");
        let db = Some(GroupName::new("db").unwrap());
        left.group = db.clone();
        assert_eq!(step(Some(&left), Some(&there)), mark(db.clone()));
        let older = VolumeReport {
            group: db.clone(),
            ..older
        };
        assert_eq!(step(Some(&older), Some(&there)), mark(db));
        let mut left = kept(left, "zone-a");
        let mode = ReplicationMode::Instant;
        assert_eq!(
            step(Some(&left), Some(&there)),
            Ok(Keep::LeaveGroup { mode })
        );
        left.group = None;
        let arriving = VolumeReport {
            lag: Lag::Time {
                behind: Span::secs(3600),
            },
            ..report("zone-b", Role::Secondary, VolumeStatus::ActiveUpdating)
        };
        for there in [&there, &arriving] {
            assert_eq!(step(Some(&left), Some(there)), Ok(Keep::Demote));
        }
        let down = report("zone-b", Role::Secondary, VolumeStatus::ErrorMirrorDown);
        assert_eq!(step(Some(&left), Some(&down)), Err(ErrorCode::Held));
        let mut demoted = kept(copy("zone-a"), "zone-a");
        demoted.status = VolumeStatus::PendingPromotion;
        assert_eq!(
            step(Some(&demoted), Some(&there)),
            Err(ErrorCode::DemotedOtherwise)
        );
        // A move's, or an older version's, which named them all alike.
        demoted.demotion = Some(DemotionToken::new("cinder-1").unwrap());
        assert_eq!(
            step(Some(&demoted), Some(&there)),
            Err(ErrorCode::DemotedOtherwise)
        );
        let token = DemotionToken::new("keeping-1").unwrap();
        demoted.demotion = Some(token.clone());
        assert_eq!(
            step(Some(&demoted), Some(&there)),
            Ok(Keep::Promote { token })
        );
        let there = kept(primary("zone-b"), "zone-a");
        assert_eq!(step(Some(&demoted), Some(&there)), Ok(Keep::Wait));
        let says = |state: &str| SiteView {
            state: state.into(),
            description: String::new(),
            last_update: None,
        };
        for (state, expected) in [
            ("up+unknown", Keep::Wait),
            ("up+error", Keep::Wait),
            ("down+replaying", Keep::Wait),
            ("up+replaying", Keep::Unmirror),
        ] {
            demoted.local = Some(says(state));
            // Its word may be of before the promotion, which takes the demotion's name off.
            assert_eq!(
                step(Some(&demoted), Some(&there)),
                Ok(Keep::Wait),
                "{state}"
            );
            let followed = VolumeReport {
                demotion: None,
                ..demoted.clone()
            };
            assert_eq!(step(Some(&followed), Some(&there)), Ok(expected), "{state}");
        }
        // With snapshots the name stays, and the promotion's own snapshot has to be here.
        demoted.mirror_mode = Some(MirrorImageMode::Snapshot);
        for (status, expected) in [
            (VolumeStatus::PendingPromotion, Keep::Wait),
            (VolumeStatus::ActiveUpdating, Keep::Wait),
            (VolumeStatus::ActiveSecondary, Keep::Unmirror),
        ] {
            demoted.status = status;
            assert_eq!(step(Some(&demoted), Some(&there)), Ok(expected), "{status}");
        }
        let plain = report("zone-b", Role::NotMirrored, VolumeStatus::ErrorNotMirrored);
        assert_eq!(step(Some(&demoted), Some(&plain)), Ok(Keep::Wait));
        assert_eq!(step(None, Some(&plain)), Ok(Keep::Gone));
    }

    #[test]
    fn hard_case_32_what_was_moved_is_in_use_whatever_an_old_mark_says_here() {
        let mut left = kept(copy("zone-a"), "zone-a");
        left.local = Some(SiteView {
            state: "up+replaying".into(),
            description: String::new(),
            last_update: None,
        });
        let mut there = primary("zone-b");
        assert_eq!(step(Some(&left), Some(&there)), Ok(Keep::Over));
        // The other way round, once: that is no keeping of this zone.
        there = kept(there, "zone-b");
        assert_eq!(step(Some(&left), Some(&there)), Ok(Keep::Over));
        // The promotion could not be noted.
        there = kept(primary("zone-b"), "zone-a");
        for (name, expected) in [("p-1", Keep::Over), ("keeping-1", Keep::Unmirror)] {
            there.demotion = Some(DemotionToken::new(name).unwrap());
            assert_eq!(step(Some(&left), Some(&there)), Ok(expected), "{name}");
        }
    }

    #[test]
    fn hard_case_33_a_primary_goes_once_it_is_followed_or_will_not_be() {
        let says = |role, state: &str| VolumeReport {
            peer: Some(SiteView {
                state: state.into(),
                description: String::new(),
                last_update: None,
            }),
            ..report("zone-a", role, VolumeStatus::ActivePrimary)
        };
        for (state, waits) in [
            ("up+stopped", true),
            ("up+unknown", true),
            ("up+starting_replay", true),
            ("up+replaying", false),
            ("up+syncing", false),
            ("up+error", false),
            ("down+unknown", false),
            ("down+stopped", false),
        ] {
            let here = says(Role::Primary, state);
            assert_eq!(is_about_to_follow(&here), waits, "{state}");
        }
        // Nobody says anything of it; and what is no primary is nobody's to follow.
        assert!(!is_about_to_follow(&primary("zone-a")));
        assert!(!is_about_to_follow(&says(Role::NotMirrored, "up+unknown")));
    }

    #[test]
    fn hard_case_57_nothing_is_handed_over_to_a_zone_that_is_behind_or_has_nothing() {
        let left = primary("zone-a");
        let behind = VolumeReport {
            lag: Lag::Entries { behind: 100_000 },
            ..report("zone-b", Role::Secondary, VolumeStatus::ActiveUpdating)
        };
        assert_eq!(step(Some(&left), Some(&behind)), Err(ErrorCode::Held));
        let first = report("zone-b", Role::Secondary, VolumeStatus::PendingFirstSync);
        assert_eq!(step(Some(&left), Some(&first)), Err(ErrorCode::Held));
        assert_eq!(step(Some(&left), None), Err(ErrorCode::NoCompleteCopy));
        assert_eq!(
            step(Some(&left), Some(&primary("zone-b"))),
            Err(ErrorCode::SplitBrain)
        );
        let unknown = report("zone-b", Role::Unknown, VolumeStatus::ErrorUnknown);
        assert_eq!(
            step(Some(&left), Some(&unknown)),
            Err(ErrorCode::ClusterUnreachable)
        );
        // The other zone's is gone: what is left here may be the only one.
        assert_eq!(
            step(Some(&kept(copy("zone-a"), "zone-a")), None),
            Err(ErrorCode::NoCompleteCopy)
        );
    }
}
