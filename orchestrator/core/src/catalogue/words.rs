//! The metadata that records carry, and texts as Cinder keeps them.

/// What a user is shown of the volume: exactly a `VolumeStatus`.
pub const STATUS: &str = "rekindle:status";
/// The zone of this record.
pub const ZONE: &str = "rekindle:zone";
/// The other zone's record of the same volume: `zone-b/VOLUME-ID`.
pub const PEER: &str = "rekindle:peer";
/// How it is replicated: `instant`, `once`, `periodic`.
pub const MODE: &str = "rekindle:mode";
/// That it was deleted in Cinder, and what comes of its images.
pub const DELETION: &str = "rekindle:deletion";
/// The image under a record that the catalogue made: `volume-UUID`. With it a record is found again while Cinder is still making it,
/// and only a record that carries it is ever forgotten. Who takes it away makes the record their own.
pub const IMAGE: &str = "rekindle:image";
/// On a snapshot that the catalogue made: the RBD snapshot's name, `snapshot-UUID`.
pub const SNAPSHOT: &str = "rekindle:snapshot";

/// All that stand on volumes.
pub const ON_VOLUMES: [&str; 6] = [STATUS, ZONE, PEER, MODE, DELETION, IMAGE];

/// The most characters of a name, a description, and of a value of metadata. Cinder counts code points.
pub const MOST: usize = 255;

/// A text as Cinder keeps it: without blanks around it, and at most [`MOST`] characters; an empty one is none.
#[must_use]
pub fn fit(text: Option<&str>) -> Option<String> {
    // Python takes these four for blanks too.
    let blank = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let text = text?.trim_matches(blank);
    let cut = text
        .char_indices()
        .nth(MOST)
        .map_or(text.len(), |(at, _)| at);
    let text = text.get(..cut)?.trim_end_matches(blank);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether this is the name of a Cinder volume's image, `volume-UUID`: only such a one can be a record without a rename.
#[must_use]
pub fn is_volume_image(image: &str) -> bool {
    image.strip_prefix("volume-").is_some_and(is_uuid)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_255_code_points_and_never_within_one() {
        let long = "ž".repeat(300);
        let cut = fit(Some(&long)).unwrap();
        assert_eq!(cut.chars().count(), 255);
        assert_eq!(cut.len(), 510);
        let mixed = format!("{}🦀🦀", "a".repeat(254));
        assert_eq!(fit(Some(&mixed)).unwrap().chars().last(), Some('🦀'));
        // The cut may leave a blank at the end, which Cinder would take away: then both would never be equal.
        let blank = format!("{} {}", "b".repeat(254), "c".repeat(10));
        assert_eq!(fit(Some(&blank)).unwrap().len(), 254);
        for none in [None, Some(""), Some(" \u{3000}\u{1f}\n")] {
            assert_eq!(fit(none), None);
        }
        // Fitting twice changes nothing.
        for text in [long, mixed, blank] {
            let once = fit(Some(&text));
            assert_eq!(fit(once.as_deref()), once);
        }
    }

    #[test]
    fn only_a_uuid_makes_a_volumes_image() {
        assert!(is_volume_image(
            "volume-01234567-89ab-cdef-0123-456789abcdef"
        ));
        for other in [
            "volume-demo-1",
            "01234567-89ab-cdef-0123-456789abcdef",
            "volume-01234567-89ab-cdef-0123-456789abcdeg",
            "volume-01234567-89ab-cdef-0123-456789abcdef.deleted",
        ] {
            assert!(!is_volume_image(other), "{other}");
        }
    }
}
