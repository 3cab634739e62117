//! Volume types: a replicated one has a counterpart, and that makes the same kind of volume.

use super::{Judge, Way};
use crate::preflight::{GapKind, look::Rest};
use jiff::Timestamp;
use rekindle_common::{deletion::OnDelete, duration::Span};
use rekindle_openstack::{TypeEncryption, VolumeType};

/// What must not differ between two types that stand for each other.
const SPECS: [Spec; 5] = [
    Spec {
        name: "rekindle:mode",
        missing: "instant",
        means: same,
    },
    Spec {
        name: "rekindle:interval",
        missing: "none",
        means: interval,
    },
    Spec {
        name: "rekindle:start",
        // A schedule without a start begins at the epoch.
        missing: "1970-01-01T00:00:00Z",
        means: start,
    },
    Spec {
        name: "rekindle:group",
        missing: "none",
        means: same,
    },
    Spec {
        name: "rekindle:on_delete",
        // Cinder's own semantics; in a group it is the group's policy, on both sides.
        missing: "delete:0s",
        means: on_delete,
    },
];

/// An extra spec of ours.
struct Spec {
    name: &'static str,
    /// What a missing one means.
    missing: &'static str,
    /// What a text of it means, in one way of writing it. What makes no sense is compared as it is.
    means: fn(&str) -> String,
}

fn same(text: &str) -> String {
    text.to_owned()
}
fn interval(text: &str) -> String {
    let span = text.parse::<Span>();
    span.map_or_else(|_| same(text), |span| span.to_string())
}
fn start(text: &str) -> String {
    let time = text.parse::<Timestamp>();
    time.map_or_else(|_| same(text), |time| time.to_string())
}
fn on_delete(text: &str) -> String {
    let policy = text.parse::<OnDelete>();
    policy.map_or_else(|_| same(text), |policy| policy.to_string())
}

impl Judge<'_> {
    pub(super) fn types(&mut self) {
        for (zone, seen) in self.seen {
            let Some(rest) = seen.rest() else {
                continue;
            };
            let Some(types) = self.known(zone, "its volume types", &rest.types) else {
                continue;
            };
            self.counts.types += types.iter().filter(|t| t.is_replicated()).count();
            for (n, entry) in self.mapping.types.iter().enumerate() {
                if let Some(name) = entry.get(zone)
                    && !types.iter().any(|t| t.name == *name)
                {
                    let what = format!(
                        "there is no volume type {name:?}, which types[{n}].{zone} of the mapping names"
                    );
                    let advice = "make it there, or mend the mapping";
                    self.gap(GapKind::MissingType, Some(zone), what, advice);
                }
            }
        }
        for way in self.ways() {
            if let (Some(here), Some(there)) = (way.here.rest(), way.there.rest()) {
                for kind in here.types.iter().flatten().filter(|t| t.is_replicated()) {
                    self.counterpart(way, (here, kind), there);
                }
            }
        }
    }

    fn counterpart(&mut self, way: Way<'_>, (here, kind): (&Rest, &VolumeType), there: &Rest) {
        let name = match self.mapping.volume_type(way.from, &kind.name, way.to) {
            Ok(name) => name,
            Err(e) => {
                let about = format!("the replicated type {:?} of {}", kind.name, way.from);
                return self.unmapped(GapKind::UnmappedType, &e, &about);
            }
        };
        let Ok(types) = &there.types else {
            return;
        };
        let Some(other) = types.iter().find(|t| t.name == name) else {
            let what = format!(
                "there is no volume type {name:?}, which is to stand for {:?} of {}",
                kind.name, way.from
            );
            let advice = "make it there with the same specs, or name another in the mapping";
            return self.gap(GapKind::MissingType, Some(way.to), what, advice);
        };
        if !other.is_replicated() {
            let what = format!(
                "type {name:?} is not replicated, and stands for {:?} of {}, which is: after a failover its volumes would have no copy",
                kind.name, way.from
            );
            let advice = format!(
                "openstack volume type set --property replication_enabled='<is> True' {name}"
            );
            return self.gap(GapKind::TypeMismatch, Some(way.to), what, advice);
        }
        // Both ways lead here: said on one.
        if way.from < way.to || !self.leads_back(way, name, kind) {
            self.differences(way, (here, kind), (there, other));
        }
    }

    fn leads_back(&self, way: Way<'_>, name: &str, kind: &VolumeType) -> bool {
        let back = self.mapping.volume_type(way.to, name, way.from);
        back.is_ok_and(|b| b == kind.name)
    }

    fn differences(
        &mut self,
        way: Way<'_>,
        (here, a): (&Rest, &VolumeType),
        (there, b): (&Rest, &VolumeType),
    ) {
        let pair = format!(
            "type {:?} of {} and {:?} of {}",
            a.name, way.from, b.name, way.to
        );
        let mut differ = |what: &str, x: &str, y: &str| {
            let what = format!("{pair} differ in {what}: {x} and {y}");
            let advice = "give them the same: after a failover the other one's rules hold";
            self.gap(GapKind::TypeMismatch, None, what, advice);
        };
        for spec in SPECS {
            let of = |t: &VolumeType| {
                let said = t.extra_specs.get(spec.name);
                said.cloned().unwrap_or_else(|| spec.missing.to_owned())
            };
            let (x, y) = (of(a), of(b));
            if (spec.means)(&x) != (spec.means)(&y) {
                differ(spec.name, &x, &y);
            }
        }
        let yes = |t: &VolumeType| if t.is_multiattach() { "yes" } else { "no" };
        if yes(a) != yes(b) {
            differ("multiattach", yes(a), yes(b));
        }
        if let (Some(Ok(x)), Some(Ok(y))) =
            (here.encryption.get(&a.name), there.encryption.get(&b.name))
        {
            let (x, y) = (sealed(x.as_ref()), sealed(y.as_ref()));
            if x != y {
                differ("encryption", &x, &y);
            }
        }
        for (zone, rest, kind) in [(way.from, here, a), (way.to, there, b)] {
            let what = format!("how its type {:?} is encrypted", kind.name);
            match rest.encryption.get(&kind.name) {
                Some(answer) => {
                    self.known(zone, &what, answer);
                }
                None => self.unchecked(zone, what, "it was not asked for"),
            }
        }
    }
}

fn sealed(e: Option<&TypeEncryption>) -> String {
    let Some(e) = e else {
        return "none".to_owned();
    };
    let word = |t: &Option<String>| t.clone().unwrap_or("-".to_owned());
    let bits = e.key_size.map_or("-".to_owned(), |k| k.to_string());
    format!(
        "{} {} {bits} {}",
        word(&e.provider),
        word(&e.cipher),
        word(&e.control_location)
    )
}
