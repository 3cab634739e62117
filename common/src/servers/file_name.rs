//! The name of a record's file.

use super::record::ServerRecord;

/// The most characters of a server's name in its file's name.
const MOST: usize = 80;

impl ServerRecord {
    /// A file's name for it: what is safe of the server's name in every file system, and eight digits that hang on what the record is
    /// of, so that two servers of one name have two files and one server has the same file always.
    #[must_use]
    pub fn file_name(&self) -> String {
        let safe: String = self
            .name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .take(MOST)
            .collect();
        // No hidden file, and none that looks like an option.
        let safe = safe.trim_start_matches(['.', '-']);
        let (zone, identity) = self.identity();
        let digits = fnv(&[zone.as_str(), "/", identity]);
        if safe.is_empty() {
            format!("server-{digits:08x}.json")
        } else {
            format!("{safe}-{digits:08x}.json")
        }
    }
}

/// FNV-1a: the same on every machine and in every release.
fn fnv(parts: &[&str]) -> u32 {
    parts
        .iter()
        .flat_map(|p| p.bytes())
        .fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
}

#[cfg(test)]
mod tests {
    use crate::servers::samples::{any_record, record};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::servers::samples::some())]

        #[test]
        fn a_files_name_is_safe_and_the_servers_own(r in any_record()) {
            let name = r.file_name();
            prop_assert!(name.len() <= 100, "{name}");
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
            prop_assert!(!name.starts_with(['.', '-']) && name.ends_with(".json"), "{name}");
            prop_assert_eq!(r.file_name(), name);
        }
    }

    #[test]
    fn two_servers_of_one_name_have_two_files_and_names_stay() {
        let mut r = record();
        let name = r.file_name();
        // Written down: a release that names files otherwise leaves the old ones behind.
        assert_eq!(name, "web-1-ad0715d3.json");
        r.description = Some("another".to_owned());
        assert_eq!(r.file_name(), name);
        r.id = Some("other".to_owned());
        assert_ne!(r.file_name(), name);
        for odd in ["../../etc/passwd", "..", "-rf", "\u{1f600}"] {
            r.name = odd.to_owned();
            let name = r.file_name();
            assert!(
                !name.contains('/') && !name.starts_with(['.', '-']),
                "{name}"
            );
        }
    }
}
