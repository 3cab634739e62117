//! Where in a path Cinder's API begins. Pure.
//!
//! ```text
//!   /volume/v3/p/volumes   a web server often offers several services, each under a path of its own: `upstream.prefix`
//!          /v3/p/volumes   what all that knows Cinder's paths reads
//! ```

/// The path under which Cinder offers its API; none where it has the server for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Of a configuration. A path's parts are plain names there, and the last is no version.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let plain = |part: &str| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_~.".contains(&b);
            !["", ".", ".."].contains(&part) && part.bytes().all(is_plain)
        };
        let is_version = |part: &str| ["v1", "v2", "v3"].contains(&part);
        let is_path = match text.strip_prefix('/') {
            Some(parts) => parts
                .split('/')
                .all(|part| plain(part) && !is_version(part)),
            None => text.is_empty(),
        };
        is_path.then(|| Self(text.to_owned()))
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What of a request's path is Cinder's: as it was spelled, from a slash on, or nothing. Another spelling of the prefix is the same where all
    /// servers agree on it; `None` is a path that is not under it.
    pub(crate) fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        // Nearly all are written as they should be.
        if let Some(rest) = path.strip_prefix(&self.0)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Some(rest);
        }
        let mut rest = path;
        for wanted in self.0.split('/').skip(1) {
            loop {
                let behind = rest.strip_prefix('/')?;
                let (part, after) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
                rest = after;
                let part = crate::percent::of_path(part);
                if part == wanted {
                    break;
                }
                if !["", "."].contains(&part.as_str()) {
                    return None;
                }
            }
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path_without_a_version() {
        for good in ["", "/volume", "/open.stack/block-storage"] {
            assert_eq!(Prefix::read(good).as_ref().map(Prefix::as_str), Some(good));
        }
        for bad in [
            "volume",
            "/",
            "/volume/",
            "//volume",
            "/a b",
            "/%76",
            "/../x",
            "/./x",
            "/volume/v3",
            "/v3",
            "/x?y",
            "/x#y",
            "/x;y",
        ] {
            assert_eq!(Prefix::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_cinders_begins_behind_it_however_it_is_spelled() {
        let two = Prefix::read("/a/volume").unwrap();
        for (path, rest) in [
            ("/a/volume/v3/p", Some("/v3/p")),
            ("/a/volume", Some("")),
            ("/a/volume/", Some("/")),
            ("/a/volume//v3", Some("//v3")),
            ("//a/./volume/v3", Some("/v3")),
            ("/%61/%2e/vol%75me/v3/%70", Some("/v3/%70")),
            ("/a/volumes/v3", None),
            ("/a/v3", None),
            ("/volume/v3", None),
            ("/v3", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("/A/volume/v3", None),
            ("/a%2Fvolume/v3", None),
            ("/x/../a/volume/v3", None),
            ("/a/%2e%2e/a/volume/v3", None),
        ] {
            assert_eq!(two.strip(path), rest, "{path}");
        }
        let none = Prefix::default();
        for path in ["", "/", "/v3/p", "//v3"] {
            assert_eq!(none.strip(path), Some(path));
        }
    }
}
