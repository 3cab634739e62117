//! A volume type's extra specs, understood. Pure; each fault names the spec, for the user who made a volume of that type
//! reads it.

use super::wire::{Specs, Wanted};
use jiff::Timestamp;
use rekindle_common::{
    ApiError, ErrorCode, GroupName,
    deletion::{InvalidOnDelete, OnDelete},
    duration::Span,
    mode::ReplicationMode,
    schedule::Schedule,
};

/// Cinder's own word for a replicated type.
const REPLICATION_ENABLED: &str = "replication_enabled";
const IS_TRUE: &str = "<is> True";
const MULTIATTACH: &str = "multiattach";
const PREFIX: &str = "rekindle:";
const MODE: &str = "rekindle:mode";
const START: &str = "rekindle:start";
const INTERVAL: &str = "rekindle:interval";
const GROUP: &str = "rekindle:group";
const ON_DELETE: &str = "rekindle:on_delete";
const OURS: [&str; 5] = [MODE, START, INTERVAL, GROUP, ON_DELETE];

fn bad(spec: &str, why: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidField, format!("{spec}: {}", why.into())).at(spec)
}

/// What a type asks for. Without a mode it is `instant`, which is what upstream's driver does; a schedule without a start
/// begins at the epoch, so that its ticks are at whole multiples of the interval.
///
/// # Errors
/// [`ApiError`] `invalid_field`; `field` is the spec at fault.
pub fn wanted(specs: &Specs) -> Result<Wanted, ApiError> {
    if let Some(unknown) = specs
        .keys()
        .find(|k| k.starts_with(PREFIX) && !OURS.contains(&k.as_str()))
    {
        return Err(bad(
            unknown,
            format!("no such spec; there are {}", OURS.join(", ")),
        ));
    }
    if specs.get(REPLICATION_ENABLED).map(String::as_str) != Some(IS_TRUE) {
        // A type that says how, and not that: a slip, and the volume would be unprotected without a word.
        if let Some(ours) = specs.keys().find(|k| k.starts_with(PREFIX)) {
            return Err(bad(
                ours,
                format!("has no effect without {REPLICATION_ENABLED}='{IS_TRUE}'"),
            ));
        }
        return Ok(Wanted {
            replicated: false,
            mode: None,
            group: None,
            on_delete: None,
        });
    }
    if specs.get(MULTIATTACH).map(String::as_str) == Some(IS_TRUE) {
        return Err(bad(
            MULTIATTACH,
            "a volume that several servers write to cannot be replicated: take one of the two off the type",
        ));
    }
    let mode = match specs.get(MODE).map_or("instant", String::as_str) {
        "instant" => {
            no_schedule(specs, "instant")?;
            ReplicationMode::Instant
        }
        "once" => {
            no_schedule(specs, "once")?;
            ReplicationMode::Once
        }
        "periodic" => ReplicationMode::Periodic(schedule(specs)?),
        other => {
            return Err(bad(
                MODE,
                format!(
                    "{:?} is no mode: give instant, once or periodic",
                    cut(other)
                ),
            ));
        }
    };
    let group = specs
        .get(GROUP)
        .map(|g| GroupName::new(g.as_str()).map_err(|e| bad(GROUP, e.to_string())))
        .transpose()?;
    Ok(Wanted {
        replicated: true,
        mode: Some(mode),
        on_delete: on_delete(specs, group.as_ref())?,
        group,
    })
}

/// A volume that belongs to no group has what its type says, or Cinder's own semantics.
fn on_delete(specs: &Specs, group: Option<&GroupName>) -> Result<Option<OnDelete>, ApiError> {
    match (specs.get(ON_DELETE), group) {
        (None, None) => Ok(Some(OnDelete::AS_CINDER)),
        (None, Some(_)) => Ok(None),
        (Some(_), Some(group)) => Err(bad(
            ON_DELETE,
            format!(
                "is the policy of group {group} itself: `rekindle group set {group} --on-delete ...`"
            ),
        )),
        (Some(text), None) => {
            let policy: OnDelete = text
                .parse()
                .map_err(|e: InvalidOnDelete| bad(ON_DELETE, e.to_string()))?;
            policy.check().map_err(|why| bad(ON_DELETE, why))?;
            Ok(Some(policy))
        }
    }
}

fn no_schedule(specs: &Specs, mode: &str) -> Result<(), ApiError> {
    match [START, INTERVAL]
        .into_iter()
        .find(|k| specs.contains_key(*k))
    {
        None => Ok(()),
        Some(k) => Err(bad(
            k,
            format!("belongs to {MODE}='periodic', and this type's mode is {mode}"),
        )),
    }
}

fn schedule(specs: &Specs) -> Result<Schedule, ApiError> {
    let Some(interval) = specs.get(INTERVAL) else {
        return Err(bad(INTERVAL, "is needed with periodic, such as 15m"));
    };
    let interval: Span = interval
        .parse()
        .map_err(|e: rekindle_common::duration::InvalidSpan| bad(INTERVAL, e.to_string()))?;
    let start = match specs.get(START) {
        None => Timestamp::UNIX_EPOCH,
        Some(text) => text.parse().map_err(|_| {
            bad(
                START,
                format!(
                    "{:?} is no time: write it as 2026-01-01T00:00:00Z",
                    cut(text)
                ),
            )
        })?,
    };
    let schedule = Schedule { start, interval };
    schedule.check().map_err(|e| bad(INTERVAL, e.to_string()))?;
    Ok(schedule)
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(pairs: &[(&str, &str)]) -> Specs {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }
    const ON: (&str, &str) = (REPLICATION_ENABLED, IS_TRUE);

    #[test]
    fn a_type_says_how_its_volumes_are_replicated() {
        let none = wanted(&specs(&[("volume_backend_name", "rbd")])).unwrap();
        assert!(!none.replicated);
        let plain = wanted(&specs(&[ON])).unwrap();
        assert_eq!(plain.mode, Some(ReplicationMode::Instant));
        assert_eq!(plain.on_delete, Some(OnDelete::AS_CINDER));
        let kept = wanted(&specs(&[ON, (ON_DELETE, "keep")])).unwrap();
        assert_eq!(kept.on_delete, Some(OnDelete::Keep));
        let db = wanted(&specs(&[
            ON,
            (MODE, "periodic"),
            (INTERVAL, "15m"),
            (START, "2026-01-01T00:00:00Z"),
            (GROUP, "db"),
        ]))
        .unwrap();
        assert_eq!(db.group, Some(GroupName::new("db").unwrap()));
        assert_eq!(db.on_delete, None, "it is the group's to say");
        let Some(ReplicationMode::Periodic(s)) = db.mode else {
            panic!("{db:?}")
        };
        assert_eq!(s.interval, Span::secs(900));
        let aligned = wanted(&specs(&[ON, (MODE, "periodic"), (INTERVAL, "1h")])).unwrap();
        let Some(ReplicationMode::Periodic(s)) = aligned.mode else {
            panic!("{aligned:?}")
        };
        assert_eq!(s.start, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_nonsensical_type_is_refused_by_its_spec() {
        for (given, at) in [
            (vec![ON, (MODE, "sometimes")], MODE),
            (vec![(MODE, "instant")], MODE),
            (vec![(REPLICATION_ENABLED, "True"), (MODE, "once")], MODE),
            (vec![ON, (MODE, "periodic")], INTERVAL),
            (vec![ON, (MODE, "periodic"), (INTERVAL, "0s")], INTERVAL),
            (vec![ON, (MODE, "periodic"), (INTERVAL, "365d")], INTERVAL),
            (vec![ON, (MODE, "periodic"), (INTERVAL, "soon")], INTERVAL),
            (
                vec![ON, (MODE, "periodic"), (INTERVAL, "1h"), (START, "noon")],
                START,
            ),
            (vec![ON, (INTERVAL, "1h")], INTERVAL),
            (
                vec![ON, (MODE, "once"), (START, "2026-01-01T00:00:00Z")],
                START,
            ),
            (vec![ON, (GROUP, "Not A Name")], GROUP),
            (vec![ON, (ON_DELETE, "perhaps")], ON_DELETE),
            (vec![ON, (ON_DELETE, "delete:400d")], ON_DELETE),
            (vec![ON, (ON_DELETE, "keep"), (GROUP, "db")], ON_DELETE),
            (vec![(ON_DELETE, "keep")], ON_DELETE),
            (vec![ON, ("rekindle:intervall", "1h")], "rekindle:intervall"),
            (vec![ON, (MULTIATTACH, IS_TRUE)], MULTIATTACH),
        ] {
            let refused = wanted(&specs(&given)).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidField, "{given:?}");
            assert_eq!(refused.field.as_deref(), Some(at), "{given:?}");
            assert!(refused.message.starts_with(at), "{}", refused.message);
        }
    }
}
