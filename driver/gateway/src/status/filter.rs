//! What a list is filtered by: the text that a volume shows, or how long ago and how far behind. Pure.
//!
//! Comparisons are written as Cinder's of times are (`created_at=gt:2026-01-01T00:00:00,lte:…`): `rekindle:last_sync=lt:2026-11-26T10:00:00Z`,
//! `rekindle:lag=gt:5m`, `rekindle:lag=gte:100 entries`. What a field does not have fits none of them.

use super::fields::{Field, NONE, Told};
use rekindle_common::{Timestamp, ZoneName, duration::Span, status::VolumeStatus, volume::Lag};
use std::{cmp::Ordering, str::FromStr};

/// One field's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// It shows that; `None`: it is null.
    Shows(Field, Option<String>),
    /// The last complete copy shows a moment that all of these are true of.
    Synced(Vec<(Than, Timestamp)>),
    /// It is behind by so much. No entries and no time are the same: it is in step.
    Behind(Vec<(Than, Lag)>),
}

/// Cinder's six words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Than {
    Gt,
    Gte,
    Eq,
    Neq,
    Lt,
    Lte,
}

impl Than {
    const ALL: [(&str, Self); 6] = [
        ("gt", Self::Gt),
        ("gte", Self::Gte),
        ("eq", Self::Eq),
        ("neq", Self::Neq),
        ("lt", Self::Lt),
        ("lte", Self::Lte),
    ];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
            Self::Eq => order.is_eq(),
            Self::Neq => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
        }
    }
}

impl Filter {
    /// Of a field's value in a query. In words, what is wrong with it.
    pub(super) fn read(field: Field, value: &str) -> Result<Self, String> {
        let key = field.key();
        let short: String = value.chars().take(64).collect();
        let shows = |is_one: bool, what: String| {
            if value == NONE {
                Ok(Self::Shows(field, None))
            } else if is_one {
                Ok(Self::Shows(field, Some(value.to_owned())))
            } else {
                Err(format!("{key}: {short:?} is {what}"))
            }
        };
        match field {
            Field::Status => {
                let all = VolumeStatus::ALL.map(VolumeStatus::as_str).join(", ");
                let is_one = value.parse::<VolumeStatus>().is_ok();
                shows(is_one, format!("no status: there are {all}, and {NONE}"))
            }
            Field::Mode => {
                let is_one = ["instant", "once", "periodic"].contains(&value);
                shows(is_one, format!("none of instant, once, periodic, {NONE}"))
            }
            Field::Peer => shows(
                ZoneName::new(value).is_ok(),
                format!("no zone's name, nor {NONE}"),
            ),
            Field::LastSync if value == NONE => Ok(Self::Shows(field, None)),
            Field::LastSync => compared(value, |v| Timestamp::from_str(v).ok())
                .map(Self::Synced)
                .map_err(|why| {
                    format!(
                        "{key}: {why}: write a time (2026-11-26T10:00:00Z), gt:TIME,lte:TIME, or {NONE}"
                    )
                }),
            // These two are shown so. Of a volume that is not replicated the status is asked for.
            Field::Lag if ["none", "unknown"].contains(&value) => {
                Ok(Self::Shows(field, Some(value.to_owned())))
            }
            Field::Lag => compared(value, lag).map(Self::Behind).map_err(|why| {
                format!(
                    "{key}: {why}: write a length of time (1m 30s), a number of entries (12 entries), gt:5m,lte:1h, none or unknown"
                )
            }),
        }
    }

    /// Whether a volume fits.
    pub(crate) fn fits(&self, told: Told<'_>) -> bool {
        match self {
            Self::Shows(field, wanted) => {
                told.row().and_then(|row| row.value(*field)).as_ref() == wanted.as_ref()
            }
            Self::Synced(all) => {
                let at = told.row().and_then(super::fields::Row::last_sync);
                at.is_some_and(|at| all.iter().all(|(than, of)| than.holds(at.cmp(of))))
            }
            Self::Behind(all) => {
                let lag = told.row().map(super::fields::Row::lag);
                let fits = |lag| all.iter().all(|(than, of)| is_behind(lag, *than, *of));
                lag.is_some_and(fits)
            }
        }
    }
}

/// Entries and time cannot be compared: a lag of the other kind fits nothing that is asked of this one.
fn is_behind(lag: Lag, than: Than, of: Lag) -> bool {
    match (lag, of) {
        (Lag::Time { behind }, Lag::Time { behind: of }) => than.holds(behind.cmp(&of)),
        (Lag::Entries { behind }, Lag::Entries { behind: of }) => than.holds(behind.cmp(&of)),
        (Lag::None, Lag::Time { behind: of }) => than.holds(Span::secs(0).cmp(&of)),
        (Lag::None, Lag::Entries { behind: of }) => than.holds(0.cmp(&of)),
        (Lag::Time { .. } | Lag::Entries { .. } | Lag::None | Lag::Unknown, _) => false,
    }
}

/// `5m`, `1m 30s`, `12 entries`: as it is shown.
fn lag(text: &str) -> Option<Lag> {
    let entries = text.strip_suffix(" entries");
    if let Some(n) = entries.or_else(|| text.strip_suffix(" entry")) {
        let behind = n.parse().ok()?;
        return Some(Lag::Entries { behind });
    }
    let behind = text.parse().ok()?;
    Some(Lag::Time { behind })
}

/// `VALUE`, or `gt:VALUE,lte:VALUE`, each word once, as Cinder takes them.
fn compared<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<(Than, T)>, String> {
    let mut all: Vec<(Than, T)> = Vec::new();
    for one in value.split(',').map(str::trim) {
        let word = one.split_once(':').and_then(|(word, of)| {
            let found = Than::ALL.into_iter().find(|(name, _)| *name == word);
            found.map(|(_, than)| (than, of))
        });
        let (than, text) = word.unwrap_or((Than::Eq, one));
        let short: String = text.chars().take(64).collect();
        let of = read(text.trim()).ok_or_else(|| format!("{short:?} is none"))?;
        if all.iter().any(|(other, _)| *other == than) {
            return Err(format!(
                "{short:?} is compared in a way that stands there already"
            ));
        }
        all.push((than, of));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::fields::{Row, tests::report};
    use serde_json::{Value, json};

    fn fits(field: Field, value: &str, change: impl FnOnce(&mut Value)) -> bool {
        let row = Row::of(&report("p/volume-1", change), None);
        Filter::read(field, value).unwrap().fits(Told::Row(&row))
    }

    #[test]
    fn a_time_is_compared_as_cinders_are() {
        // The report's is 10:00.
        for (value, is) in [
            ("2026-11-26T10:00:00Z", true),
            ("2026-11-26T11:00:00+01:00", true),
            ("eq:2026-11-26T10:00:01Z", false),
            ("neq:2026-11-26T10:00:01Z", true),
            ("gt:2026-11-26T09:59:59Z", true),
            ("gt:2026-11-26T10:00:00Z", false),
            ("gte:2026-11-26T10:00:00Z", true),
            ("lt:2026-11-26T10:00:00Z", false),
            ("lte:2026-11-26T10:00:00Z", true),
            ("gt:2026-11-26T09:00:00Z,lt:2026-11-26T10:00:00Z", false),
            ("gt:2026-11-26T09:00:00Z, lt:2026-11-26T10:00:01Z", true),
            ("none", false),
        ] {
            assert_eq!(fits(Field::LastSync, value, |_| ()), is, "{value}");
        }
        let never = |r: &mut Value| r["last_sync"] = Value::Null;
        assert!(fits(Field::LastSync, "none", never));
        assert!(!fits(Field::LastSync, "neq:2026-11-26T10:00:00Z", never));
        let filter = Filter::read(Field::LastSync, "lt:2027-01-01T00:00:00Z").unwrap();
        assert!(!filter.fits(Told::Plain) && !filter.fits(Told::Unknown));
    }

    #[test]
    fn a_lag_is_compared_with_its_own_kind() {
        let entries =
            |n: u64| move |r: &mut Value| r["lag"] = json!({"kind": "entries", "behind": n});
        let time =
            |t: &'static str| move |r: &mut Value| r["lag"] = json!({"kind": "time", "behind": t});
        let kind = |k: &'static str| move |r: &mut Value| r["lag"] = json!({ "kind": k });
        let lag = Field::Lag;
        assert!(fits(lag, "12 entries", entries(12)) && fits(lag, "1 entry", entries(1)));
        assert!(fits(lag, "gt:9 entries", entries(10)) && !fits(lag, "gt:10 entries", entries(10)));
        assert!(fits(lag, "gt:5m", time("1h")) && !fits(lag, "gt:5m", time("4m 59s")));
        assert!(fits(lag, "90s", time("1m 30s")) && fits(lag, "gte:1m,lt:2m", time("90s")));
        assert!(!fits(lag, "gt:0s", entries(9)) && !fits(lag, "lt:9 entries", time("1s")));
        assert!(fits(lag, "lt:5m", kind("none")) && fits(lag, "lte:0 entries", kind("none")));
        assert!(fits(lag, "none", kind("none")) && !fits(lag, "none", entries(1)));
        assert!(fits(lag, "unknown", kind("unknown")) && !fits(lag, "lt:5m", kind("unknown")));
        assert!(!Filter::read(lag, "none").unwrap().fits(Told::Plain));
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        for (field, value) in [
            (Field::LastSync, ""),
            (Field::LastSync, "yesterday"),
            (Field::LastSync, "gt:"),
            (Field::LastSync, "above:2026-11-26T10:00:00Z"),
            (Field::LastSync, "2026-11-26"),
            (
                Field::LastSync,
                "gt:2026-11-26T10:00:00Z,gt:2026-11-26T11:00:00Z",
            ),
            (Field::LastSync, "2026-11-26T10:00:00Z,"),
            (Field::Lag, ""),
            (Field::Lag, "5"),
            (Field::Lag, "-5m"),
            (Field::Lag, "12 apples"),
            (Field::Lag, "x entries"),
            (Field::Lag, "gt:none"),
            (Field::Lag, "gt:5m,gt:6m"),
        ] {
            let why = Filter::read(field, value).unwrap_err();
            assert!(why.starts_with(field.key()), "{value}: {why}");
            assert!(why.contains("write a "), "{value}: {why}");
        }
    }
}
