//! Images that were seen demoted, and may be primary again.

use super::words::{Images, Moment};
use std::time::Duration;

/// Images of a zone that does not serve were seen demoted, and the looks since do not show them so. Somebody may have promoted them, on
/// a lease or under a record that this sidecar has not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rise {
    /// The first look that did not show them demoted.
    since: Moment,
    /// The first of the last looks that show them primary; `None` where they cannot be seen.
    seen: Option<Moment>,
}

impl Rise {
    /// What a look makes of it; `known` is what was known of the images before. Only what was seen demoted can rise.
    pub(super) fn after(
        rise: Option<Self>,
        known: Images,
        now: Moment,
        images: Images,
    ) -> Option<Self> {
        let begun = match known {
            Images::NotPrimary => Self::at(now),
            Images::Primary | Images::Unknown => rise?,
            Images::None => return None,
        };
        match images {
            Images::Primary => Some(Self {
                seen: begun.seen.or(Some(now)),
                ..begun
            }),
            Images::Unknown => Some(Self {
                seen: None,
                ..begun
            }),
            Images::NotPrimary | Images::None => None,
        }
    }

    /// As if they had been seen demoted until now.
    pub(super) fn at(now: Moment) -> Self {
        Self {
            since: now,
            seen: None,
        }
    }

    /// Until then it is looked who promoted them, before they are demoted.
    pub(super) fn until(self, budget: Duration) -> Moment {
        self.since + budget
    }

    /// Whether what was asked for at `sent` knows of whatever they were promoted on.
    pub(super) fn is_known_to(self, sent: Moment) -> bool {
        self.seen.is_some_and(|seen| seen <= sent)
    }
}
