//! Plan ids: the moment, to the millisecond, and four random digits. Later ones of one clock sort after earlier ones.

use jiff::Timestamp;
use rekindle_common::PlanId;

/// A new id for a plan made at that moment.
#[must_use]
pub(crate) fn new(at: Timestamp) -> PlanId {
    let millis = at.subsec_millisecond();
    let random: u16 = rand::random();
    let text = format!("{}-{millis:03}-{random:04x}", at.strftime("%Y%m%dt%H%M%S"));
    // Digits, letters and inner hyphens: always a label. Were it not, a random one is as good.
    PlanId::new(text).unwrap_or_else(|_| fallback(random))
}

fn fallback(random: u16) -> PlanId {
    let mut n = u64::from(random);
    loop {
        if let Ok(id) = PlanId::new(format!("p{n}")) {
            return id;
        }
        n += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_labels_and_sort_by_time() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let a = new(at(1_795_000_000_000));
        let b = new(at(1_795_000_000_001));
        assert!(a < b, "{a} {b}");
        assert!(a.as_str().starts_with("2026"), "{a}");
        assert_ne!(new(at(0)), new(at(0)));
    }
}
