//! Where a request goes that may do something to a volume, however its path is spelled. Pure.
//!
//! ```text
//!   /v3//p/./%76olumes/{ID}.json   what Cinder's server makes of a path: percent signs are taken for what they stand for,
//!   /v3/p/volumes/{id}             empty parts and single dots go, and what follows a dot is a format
//! ```
//!
//! That is for knowing it alone: the request itself goes on as it was. What servers read in more ways than one, or we not at all, is
//! [`Unclear`] where it would change something.

use hyper::Method;

/// Where a request goes that may be one to guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) kind: Kind,
    /// `/v3` or `/v3/PROJECT`: what stands in front of `/volumes`.
    pub(crate) base: String,
}

/// A change that cannot be said to go to no volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclear;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `DELETE …/volumes/{id}`
    Volume(String),
    /// `POST …/volumes/{id}/action`
    Action(String),
    /// `POST …/groups/{id}/action`, or `DELETE …/groups/{id}`
    Group(String),
    /// `POST …/consistencygroups/{id}/delete`
    ConsistencyGroup(String),
    /// `PUT …/attachments/{id}`
    Attachment(String),
    /// `POST …/{this}`, with the volume in the body.
    Under(Collection),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Volumes,
    Attachments,
    Snapshots,
    GroupSnapshots,
    ConsistencySnapshots,
    ConsistencyGroups,
    Backups,
    Restore,
    Transfers,
}

/// The one that there is.
const VERSION: &str = "v3";

impl Place {
    /// Of a request's method, and its path behind the prefix.
    pub(crate) fn of(method: &Method, path: &str) -> Result<Option<Self>, Unclear> {
        if ![Method::DELETE, Method::POST, Method::PUT].contains(method) {
            return Ok(None);
        }
        let path = parts(path)?;
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        // Nothing else goes on to Cinder ([`is_cinders`]).
        let [VERSION, parts @ ..] = parts.as_slice() else {
            return Ok(None);
        };
        let (project, rest) = match parts {
            [first, ..] if is_collection(first) => (None, parts),
            [project, rest @ ..] => (Some(*project), rest),
            [] => return Ok(None),
        };
        let Some(kind) = kind(method, rest) else {
            return Ok(None);
        };
        // Cinder's database may find a volume by an id that is not written as it is: with a blank behind it, or an accent on it.
        if !parts.iter().all(|part| is_plain(part)) {
            return Err(Unclear);
        }
        let base = match project {
            Some(project) => format!("/v3/{project}"),
            None => "/v3".to_owned(),
        };
        Ok(Some(Self { kind, base }))
    }
}

impl Place {
    /// Where Cinder shows one of its groups: one that was a consistency group it shows under that name alone.
    pub(crate) fn path_of_group(&self, id: &str) -> String {
        let Self { kind, base } = self;
        match kind {
            Kind::ConsistencyGroup(_) => format!("{base}/consistencygroups/{id}"),
            Kind::Volume(_)
            | Kind::Action(_)
            | Kind::Group(_)
            | Kind::Attachment(_)
            | Kind::Under(_) => format!("{base}/groups/{id}"),
        }
    }
}

fn kind(method: &Method, rest: &[&str]) -> Option<Kind> {
    // In the one case that Cinder writes ids in: its database may take the other for the same.
    let id = |id: &str| id.to_ascii_lowercase();
    if method == Method::DELETE {
        return match rest {
            ["volumes", volume] if !is_list(volume) => Some(Kind::Volume(id(volume))),
            // Cinder has no method for it, and then takes the action of that name, with the same body.
            ["groups", group] => Some(Kind::Group(id(group))),
            ["consistencygroups", group] => Some(Kind::ConsistencyGroup(id(group))),
            _ => None,
        };
    }
    if method == Method::PUT {
        return match rest {
            ["attachments", attachment] => Some(Kind::Attachment(id(attachment))),
            _ => None,
        };
    }
    Some(match rest {
        ["volumes", volume, "action"] if !is_list(volume) => Kind::Action(id(volume)),
        ["groups", group, "action"] => Kind::Group(id(group)),
        ["groups", "action"] => Kind::Group(String::new()),
        ["consistencygroups", "create_from_src"] => Kind::Under(Collection::ConsistencyGroups),
        ["consistencygroups", group, "delete"] => Kind::ConsistencyGroup(id(group)),
        ["volumes"] => Kind::Under(Collection::Volumes),
        ["attachments"] => Kind::Under(Collection::Attachments),
        ["snapshots"] => Kind::Under(Collection::Snapshots),
        ["group_snapshots"] => Kind::Under(Collection::GroupSnapshots),
        ["cgsnapshots"] => Kind::Under(Collection::ConsistencySnapshots),
        ["backups"] => Kind::Under(Collection::Backups),
        ["backups", _, "restore"] => Kind::Under(Collection::Restore),
        ["volume-transfers" | "os-volume-transfer"] => Kind::Under(Collection::Transfers),
        _ => return None,
    })
}

/// A path's parts, as Cinder's server has them. Two dots lead back in one server and not in another, and a percent sign without its two
/// digits stands for something else in each.
fn parts(path: &str) -> Result<Vec<String>, Unclear> {
    if !crate::percent::is_whole(path) {
        return Err(Unclear);
    }
    let path = crate::percent::of_path(path);
    let parts = path.split('/').filter(|part| !["", "."].contains(part));
    // Routes are matched up to a last line feed.
    let mut parts: Vec<String> = parts
        .map(|part| part.trim_end_matches('\n').to_owned())
        .collect();
    if parts.iter().any(|part| part == "..") {
        return Err(Unclear);
    }
    if let Some(last) = parts.last_mut() {
        *last = last.split('.').next().unwrap_or_default().to_owned();
    }
    Ok(parts)
}

/// Whether a path, behind the prefix, is one of those that Cinder has: the documents of its versions, its health, and what is under the version
/// that is guarded. A version may be asked for in a field too (`Accept`), and then stands in no path; and releases before Xena have another one
/// (`/v2`). Neither is read here, so neither goes on. What servers read in more ways than one may be Cinder's.
pub(crate) fn is_cinders(path: &str) -> bool {
    // Nearly all are written as they should be.
    if path.starts_with("/v3/") || ["", "/", "/v3"].contains(&path) {
        return true;
    }
    match parts(path) {
        Ok(parts) => match parts.first().map(String::as_str) {
            None | Some(VERSION) => true,
            Some(first) => first == "healthcheck" && parts.len() == 1,
        },
        Err(Unclear) => true,
    }
}

/// Whether a query names another method than the request's line: Cinder goes by that one.
pub(crate) fn renames_its_method(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        // Each request comes by here, and hardly one has a percent sign in a key.
        key == "_method" || key.contains('%') && crate::percent::of_form(key) == "_method"
    })
}

/// Of an id or a name in a path.
fn is_plain(part: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&part.len()) && part.bytes().all(is_plain)
}

/// These two are lists of volumes to whoever looks, and no volume to Cinder.
fn is_list(part: &str) -> bool {
    ["detail", "summary"].contains(&part)
}

/// Whether it may be a volume's id, or another's.
pub(super) fn is_volume(part: &str) -> bool {
    is_plain(part) && !is_list(part)
}

fn is_collection(part: &str) -> bool {
    [
        "volumes",
        "attachments",
        "snapshots",
        "groups",
        "group_snapshots",
        "consistencygroups",
        "cgsnapshots",
        "backups",
        "volume-transfers",
        "os-volume-transfer",
    ]
    .contains(&part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9d2a4c1e-0000-4000-8000-000000000001";

    #[test]
    fn a_volume_is_the_same_however_its_path_is_spelled() {
        for path in [
            "/v3/p/volumes/{}",
            "/v3/p//volumes/{}",
            "/v3//p/volumes/{}",
            "//v3/p/volumes//{}",
            "/v3/p/./volumes/{}",
            "/./v3/p/volumes/./{}",
            "/v3/p/%2e/volumes/{}",
            "/v3/p/%76olumes/{}",
            "/v3/p%2Fvolumes%2f{}",
            "/%76%33/p%2f%2fvolumes/{}",
            "/v3/p/volumes/{}.json",
            "/v3/p/volumes/{}%2ejson",
            "/v3/p/volumes/{}%0A",
            "/v3/p/volumes/{}/",
        ] {
            for id in [ID.to_owned(), ID.to_uppercase(), format!("%39{}", &ID[1..])] {
                let path = path.replace("{}", &id);
                let place = Place::of(&Method::DELETE, &path);
                let whole = Place {
                    kind: Kind::Volume(ID.to_owned()),
                    base: "/v3/p".to_owned(),
                };
                assert_eq!(place, Ok(Some(whole)), "{path}");
                let place = Place::of(&Method::POST, &format!("{path}/action"));
                let format = path.contains('.') && !path.contains("/.") || path.contains("%2ej");
                assert!(
                    format || place.is_ok_and(|place| place.is_some()),
                    "{path}/action"
                );
            }
        }
    }

    #[test]
    fn what_a_change_may_mean_is_unclear_where_servers_differ() {
        for path in [
            "/v3/p/volumes/../volumes/1",
            "/v3/p/volumes/%2e%2e/volumes/1",
            "/v3/p/types/.%2E/volumes/1",
            "/v3/p/volumes/..",
            "/v3/p/volumes/1%",
            "/v3/p/volumes/1%4",
            "/v3/p/%zzvolumes/1",
            "/v3/p/volumes/1%20",
            "/v3/p/volumes/1%00",
            "/v3/p/volumes/%C3%A1",
            "/v3/p/volumes/%ff",
            "/v3/p/volumes/1;a=b",
        ] {
            assert_eq!(Place::of(&Method::DELETE, path), Err(Unclear), "{path}");
            // Who only looks may write as they like.
            assert_eq!(Place::of(&Method::GET, path), Ok(None), "{path}");
        }
        for path in [
            "/",
            "/v3",
            "/v3/p/volumes",
            "/v3/p/snapshots/%20",
            "/v3/p/Volumes/1",
            "/v3/p/volumes/1/metadata/%C3%A1",
            "/v2/p/volumes/1",
        ] {
            assert_eq!(Place::of(&Method::DELETE, path), Ok(None), "{path}");
        }
    }

    #[test]
    fn what_is_none_of_cinders_paths_is_known() {
        for path in [
            "",
            "/",
            "//",
            "/v3",
            "/v3/",
            "//v3//p/volumes/1",
            "/./%763/p",
            "/v3.json",
            "/healthcheck",
            "/v3/../x",
            "/x/../v3",
        ] {
            assert!(is_cinders(path), "{path}");
        }
        for path in [
            "/v2/p/volumes/1",
            "/v30/p",
            // With the version in `Accept`.
            "/p/volumes/1",
            "/volumes/1",
            "/volume/v3/p/volumes/1",
            "/healthcheck/v3",
            "/V3/p",
            "*",
        ] {
            assert!(!is_cinders(path), "{path}");
        }
    }

    #[test]
    fn a_query_may_name_another_method() {
        for query in [
            "_method=DELETE",
            "a=b&_method=delete",
            "a;_method",
            "%5fmethod=PUT",
        ] {
            assert!(renames_its_method(query), "{query}");
        }
        for query in ["", "name=_method", "a_method=x", "_methods=x"] {
            assert!(!renames_its_method(query), "{query}");
        }
    }
}
