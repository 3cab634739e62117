//! Which kind of request it is, for metrics and the log: a few classes, whatever clients send.

use hyper::Method;

/// A class of requests. It decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    /// What the server speaks.
    Versions,
    /// A page of volumes.
    Volumes,
    /// A page of volumes in detail.
    VolumesDetail,
    /// One volume, to look at.
    Volume,
    /// A volume that is made, changed or deleted.
    VolumeChange,
    /// An action on a volume.
    VolumeAction,
    /// All of snapshots.
    Snapshots,
    /// All of attachments.
    Attachments,
    /// All of types.
    Types,
    /// All of quotas and limits.
    Quotas,
    /// All of backups.
    Backups,
    /// The rest.
    Other,
}

impl Route {
    /// Its name in metrics.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Versions => "versions",
            Self::Volumes => "volumes",
            Self::VolumesDetail => "volumes_detail",
            Self::Volume => "volume",
            Self::VolumeChange => "volume_change",
            Self::VolumeAction => "volume_action",
            Self::Snapshots => "snapshots",
            Self::Attachments => "attachments",
            Self::Types => "types",
            Self::Quotas => "quotas",
            Self::Backups => "backups",
            Self::Other => "other",
        }
    }

    /// Of a request, by its path behind the prefix.
    #[must_use]
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let looks = method == Method::GET || method == Method::HEAD;
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let Some("v3") = parts.next() else {
            let versions = path.trim_matches('/').is_empty();
            return if versions {
                Self::Versions
            } else {
                Self::Other
            };
        };
        let Some(first) = parts.next() else {
            return Self::Versions;
        };
        // Since 3.67 the project may be left out; then the resource stands where it was.
        let (resource, rest) = match Self::resource(first) {
            Some(known) => (Some(known), parts),
            None => {
                let known = parts.next().and_then(Self::resource);
                (known, parts)
            }
        };
        let mut rest = rest;
        match (resource, rest.next(), rest.next()) {
            (Some(Self::Volumes), None, _) if looks => Self::Volumes,
            (Some(Self::Volumes), Some("detail"), None) if looks => Self::VolumesDetail,
            (Some(Self::Volumes), Some(_), None) if looks => Self::Volume,
            (Some(Self::Volumes), Some(_), Some("action")) if !looks => Self::VolumeAction,
            (Some(Self::Volumes), _, None) => Self::VolumeChange,
            (Some(Self::Volumes), _, Some(_)) => Self::Other,
            (Some(other), _, _) => other,
            (None, _, _) => Self::Other,
        }
    }

    fn resource(name: &str) -> Option<Self> {
        match name {
            "volumes" => Some(Self::Volumes),
            "snapshots" => Some(Self::Snapshots),
            "attachments" => Some(Self::Attachments),
            "types" => Some(Self::Types),
            "os-quota-sets" | "os-quota-class-sets" | "limits" => Some(Self::Quotas),
            "backups" => Some(Self::Backups),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_into_few_classes() {
        for (method, path, name) in [
            ("GET", "/", "versions"),
            ("GET", "/v3/", "versions"),
            ("GET", "/healthcheck", "other"),
            ("GET", "/v3/abc/volumes", "volumes"),
            ("GET", "/v3/volumes", "volumes"),
            ("GET", "/v3/abc/volumes/detail", "volumes_detail"),
            ("GET", "/v3/abc/volumes/123", "volume"),
            ("HEAD", "/v3/volumes/123", "volume"),
            ("POST", "/v3/abc/volumes", "volume_change"),
            ("DELETE", "/v3/abc/volumes/123", "volume_change"),
            ("POST", "/v3/abc/volumes/123/action", "volume_action"),
            ("POST", "/v3/abc/volumes/123/metadata", "other"),
            ("POST", "/v3/abc/snapshots/1/action", "snapshots"),
            ("GET", "/v3/abc/types/1/extra_specs", "types"),
            ("GET", "/v3/abc/os-quota-sets/1", "quotas"),
            ("GET", "/v3/abc/limits", "quotas"),
            ("POST", "/v3/attachments", "attachments"),
            ("GET", "/v3/abc", "other"),
            ("GET", "/v2/abc/volumes", "other"),
            ("BREW", "/../..//", "other"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Route::of(&method, path).name(), name, "{method} {path}");
        }
    }
}
