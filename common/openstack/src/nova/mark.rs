//! By what we know the servers that we built: never by name, for anybody may use that. A property too anybody may write on his own servers, so
//! that the mark counts only on one that has the root volume: see [`super::Server::has_volume`].

use std::{collections::BTreeMap, fmt};

/// The property that says whose stand-by a server is: `ZONE/SERVER`.
pub const STANDBY_OF: &str = "rekindle:standby-of";
/// The property that names the protection group.
pub const GROUP: &str = "rekindle:group";

/// Whose stand-by a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The zone of the server that it stands by for.
    pub zone: String,
    /// That server's id there, or what stands for one that was never built.
    pub server: String,
}

impl Mark {
    /// Reads it among a server's properties. A value of another form is none of ours.
    #[must_use]
    pub fn of(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let (zone, server) = metadata.get(STANDBY_OF)?.split_once('/')?;
        let whole = !zone.is_empty() && !server.is_empty();
        whole.then(|| Self {
            zone: zone.to_owned(),
            server: server.to_owned(),
        })
    }

    /// Writes it among a server's properties.
    pub fn write(&self, metadata: &mut BTreeMap<String, String>) {
        metadata.insert(STANDBY_OF.to_owned(), self.to_string());
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.zone, self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written(zone in "[a-z][a-z0-9-]{0,20}", server in "[a-z0-9/-]{1,40}") {
            let mark = Mark { zone, server };
            let mut metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
            mark.write(&mut metadata);
            prop_assert_eq!(Mark::of(&metadata), Some(mark));
        }
    }

    #[test]
    fn another_form_is_none_of_ours() {
        for value in ["", "zone-a", "/s1", "zone-a/"] {
            let metadata = BTreeMap::from([(STANDBY_OF.to_owned(), value.to_owned())]);
            assert_eq!(Mark::of(&metadata), None, "{value:?}");
        }
    }
}
