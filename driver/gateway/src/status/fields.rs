//! What is said of one volume: five fields, as JSON and as something to compare.

use rekindle_common::{
    Timestamp, ZoneName,
    status::VolumeStatus,
    volume::{Lag, VolumeReport},
};
use std::cmp::Ordering;

/// The prefix of all that the gateway adds.
pub(crate) const PREFIX: &str = "rekindle:";

/// One of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    /// `rekindle:status`
    Status,
    /// `rekindle:mode`
    Mode,
    /// `rekindle:peer`
    Peer,
    /// `rekindle:last_sync`
    LastSync,
    /// `rekindle:lag`
    Lag,
}

impl Field {
    pub(crate) const ALL: [Self; 5] = [
        Self::Status,
        Self::Mode,
        Self::Peer,
        Self::LastSync,
        Self::Lag,
    ];

    /// Its key in a body and in a query.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Status => "rekindle:status",
            Self::Mode => "rekindle:mode",
            Self::Peer => "rekindle:peer",
            Self::LastSync => "rekindle:last_sync",
            Self::Lag => "rekindle:lag",
        }
    }
}

/// What the sidecar said of a volume, in the words that users see.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) status: VolumeStatus,
    mode: Option<&'static str>,
    peer: Option<String>,
    last_sync: Option<Timestamp>,
    lag: Lag,
    /// The five as they stand in an object, made once for all the bodies that they go into.
    text: String,
}

impl Row {
    pub(crate) fn of(report: &VolumeReport, peer: Option<&ZoneName>) -> Self {
        let mut row = Self {
            status: report.status,
            mode: report.mode.as_ref().map(|m| m.name()),
            peer: peer.map(ToString::to_string),
            last_sync: report.last_sync.as_ref().map(|s| s.at),
            lag: report.lag,
            text: String::new(),
        };
        row.text = in_object(|field| row.value(field));
        row
    }

    pub(super) fn last_sync(&self) -> Option<Timestamp> {
        self.last_sync
    }

    pub(super) fn lag(&self) -> Lag {
        self.lag
    }

    /// In words; `None` is a null.
    pub(crate) fn value(&self, field: Field) -> Option<String> {
        match field {
            Field::Status => Some(self.status.as_str().to_owned()),
            Field::Mode => self.mode.map(str::to_owned),
            Field::Peer => self.peer.clone(),
            Field::LastSync => self.last_sync.map(|at| at.to_string()),
            Field::Lag => Some(match self.lag {
                Lag::None => "none".to_owned(),
                Lag::Time { behind } => behind.to_string(),
                Lag::Entries { behind: 1 } => "1 entry".to_owned(),
                Lag::Entries { behind } => format!("{behind} entries"),
                Lag::Unknown => "unknown".to_owned(),
            }),
        }
    }

    /// By what the field means, and not by its text: 9 entries before 10.
    fn order(&self, other: &Self, field: Field) -> Ordering {
        match field {
            Field::Status => self.status.as_str().cmp(other.status.as_str()),
            Field::Mode => self.mode.cmp(&other.mode),
            Field::Peer => self.peer.cmp(&other.peer),
            Field::LastSync => self.last_sync.cmp(&other.last_sync),
            Field::Lag => behind(self.lag).cmp(&behind(other.lag)),
        }
    }
}

/// Entries and time cannot be compared: all of one kind come before all of the other.
fn behind(lag: Lag) -> (u8, u128) {
    match lag {
        Lag::None => (0, 0),
        Lag::Time { behind } => (1, behind.get().as_millis()),
        Lag::Entries { behind } => (2, u128::from(behind)),
        Lag::Unknown => (3, 0),
    }
}

/// What is known of one volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Told<'a> {
    /// It is replicated, or its policy says so.
    Row(&'a Row),
    /// It is not.
    Plain,
    /// The sidecar does not say, or it is not known which image the volume has.
    Unknown,
    /// Cinder does not know it any more.
    Gone,
}

impl<'a> Told<'a> {
    pub(crate) fn row(self) -> Option<&'a Row> {
        match self {
            Self::Row(row) => Some(row),
            Self::Plain | Self::Unknown | Self::Gone => None,
        }
    }

    /// What does not apply is null, as with Cinder's own fields; a volume that is no more is not known.
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Row(row) => &row.text,
            Self::Plain => PLAIN,
            Self::Unknown | Self::Gone => UNKNOWN,
        }
    }

    /// What does not apply is less than all that does, as a null is in Cinder's own lists.
    pub(crate) fn order(self, other: Self, field: Field) -> Ordering {
        match (self.row(), other.row()) {
            (Some(a), Some(b)) => a.order(b, field),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

/// In a query: the field is null.
pub(crate) const NONE: &str = "none";

const PLAIN: &str = r#""rekindle:status": null, "rekindle:mode": null, "rekindle:peer": null, "rekindle:last_sync": null, "rekindle:lag": null"#;
const UNKNOWN: &str = r#""rekindle:status": "unknown", "rekindle:mode": "unknown", "rekindle:peer": "unknown", "rekindle:last_sync": "unknown", "rekindle:lag": "unknown""#;

fn in_object(value: impl Fn(Field) -> Option<String>) -> String {
    let one = |field: Field| {
        let value = value(field).map_or(serde_json::Value::Null, serde_json::Value::String);
        format!("\"{}\": {value}", field.key())
    };
    Field::ALL.map(one).join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{super::filter::Filter, *};
    use serde_json::{Value, json};

    pub(crate) fn report(image: &str, change: impl FnOnce(&mut Value)) -> VolumeReport {
        let mut report = json!({
            "volume": image, "zone": "zone-a", "group": null, "status": "active - secondary", "role": "secondary",
            "mode": { "mode": "instant" }, "mirror_mode": "journal", "size": 1,
            "last_sync": { "at": "2026-11-26T10:00:00Z", "took": null, "bytes": null },
            "lag": { "kind": "entries", "behind": 12 }, "complete_copy": "yes", "local": null, "peer": null,
            "peer_primary": "yes", "concerns": [], "in_flight": null,
        });
        change(&mut report);
        serde_json::from_value(report).unwrap()
    }

    fn row(change: impl FnOnce(&mut Value)) -> Row {
        let zone = ZoneName::new("zone-b").unwrap();
        Row::of(&report("p/volume-1", change), Some(&zone))
    }

    #[test]
    fn a_report_becomes_five_fields() {
        let read: Value = serde_json::from_str(&format!("{{{}}}", row(|_| ()).text)).unwrap();
        assert_eq!(
            read,
            json!({
                "rekindle:status": "active - secondary", "rekindle:mode": "instant", "rekindle:peer": "zone-b",
                "rekindle:last_sync": "2026-11-26T10:00:00Z", "rekindle:lag": "12 entries",
            })
        );
        for (told, value) in [
            (Told::Plain, json!(null)),
            (Told::Unknown, json!("unknown")),
        ] {
            let read: Value = serde_json::from_str(&format!("{{{}}}", told.text())).unwrap();
            for field in Field::ALL {
                assert_eq!(read[field.key()], value, "{field:?}");
            }
            assert_eq!(read.as_object().unwrap().len(), 5);
        }
    }

    #[test]
    fn fields_are_compared_by_what_they_mean() {
        let lag = |lag: Value| row(|r| r["lag"] = lag);
        let rising = [
            lag(json!({ "kind": "none" })),
            lag(json!({ "kind": "time", "behind": "9s" })),
            lag(json!({ "kind": "time", "behind": "1m" })),
            lag(json!({ "kind": "entries", "behind": 9 })),
            lag(json!({ "kind": "entries", "behind": 10 })),
            lag(json!({ "kind": "unknown" })),
        ];
        for pair in rising.windows(2) {
            let (a, b) = (Told::Row(&pair[0]), Told::Row(&pair[1]));
            assert_eq!(a.order(b, Field::Lag), Ordering::Less, "{pair:?}");
        }
        let never = row(|r| r["last_sync"] = Value::Null);
        let once = row(|_| ());
        let (never, once) = (Told::Row(&never), Told::Row(&once));
        assert_eq!(never.order(once, Field::LastSync), Ordering::Less);
        assert_eq!(Told::Plain.order(never, Field::LastSync), Ordering::Less);
        assert_eq!(
            Told::Plain.order(Told::Plain, Field::Status),
            Ordering::Equal
        );
        let fits = |told, field, value: &str| Filter::read(field, value).unwrap().fits(told);
        assert!(fits(never, Field::LastSync, NONE) && !fits(once, Field::LastSync, NONE));
        assert!(fits(once, Field::Status, "active - secondary"));
        assert!(fits(Told::Plain, Field::Status, NONE));
        assert!(!fits(Told::Plain, Field::Status, "active - secondary"));
    }
}
