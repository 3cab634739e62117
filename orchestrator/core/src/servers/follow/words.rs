//! What is in the way, for people.

use super::{Mapped, Sight};
use crate::servers::mapped::Gap;

/// Volumes that do not go with the server: after a failover they are copies under it, and it is not started.
pub(super) fn outside(s: &Sight<'_>) -> Option<String> {
    let all: Vec<String> = s.outside.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| {
        format!(
            "{} is not in the group {}, and not moved with the server, which is not started on a copy: `rekindle volume replicate --group {}` puts it there",
            all.join(", "),
            s.group,
            s.group
        )
    })
}

pub(super) fn journaled(s: &Sight<'_>) -> String {
    format!(
        "a volume of it is mirrored through its journal, and no server can open such a copy in {} before it is promoted. It is built from its record \
         when it is needed: say standby = \"record\" for it, or replicate its volumes periodically",
        s.other
    )
}

pub(super) fn writable(s: &Sight<'_>) -> String {
    format!(
        "a volume of it can be written in {}, which is not the primary: look at `rekindle volume show`",
        s.other
    )
}

pub(super) fn in_words(gaps: &[Gap]) -> String {
    let all: Vec<String> = gaps.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Its volumes there are others than the server's here.
pub(super) fn other_disks(s: &Sight<'_>, disks: Option<&[String]>) -> Option<String> {
    let (Mapped::Record(wanted), Some(disks)) = (&s.mapped, disks) else {
        return None;
    };
    let wanted: Vec<&str> = wanted.disks.iter().map(|d| d.volume.id.as_str()).collect();
    let same = wanted.len() == disks.len() && wanted.iter().zip(disks).all(|(a, b)| a == b);
    (!same).then(|| {
        format!(
            "its stand-by in {} was built by its users, and has the volumes {} where it should have {}: attach and detach them there, in this order",
            s.other,
            disks.join(", "),
            wanted.join(", ")
        )
    })
}
