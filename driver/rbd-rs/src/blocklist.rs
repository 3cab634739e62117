//! The cluster's list of clients that it no longer serves: the fence.

use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

use crate::{Cluster, Error};

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BlocklistEntry {
    /// The client's address, `10.0.0.7:0/3710147553`; with nonce 0 every client of that host.
    #[serde(rename = "addr")]
    pub address: String,
    /// When it ends by itself, in the cluster's own words.
    pub until: String,
}

impl Cluster {
    /// Stops serving a client. What it has sent and the OSDs have not yet taken is refused; it
    /// gets [`Error::Blocklisted`] for everything from then on.
    ///
    /// `address` is a watcher's or a lock owner's, as [`Image::watchers`](crate::Image::watchers)
    /// gives it. On return the monitors have it, and every OSD has it before it serves anybody
    /// who has seen the new map: call [`Cluster::wait_for_latest_osdmap`] before touching what
    /// the client may have been writing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `address` is no address.
    ///
    /// # Implements:
    /// `osd blocklist add`
    pub fn blocklist_add(&self, address: &str, lasts: Duration) -> Result<(), Error> {
        self.mon_command(
            &json!({
                "prefix": "osd blocklist",
                "blocklistop": "add",
                "addr": address,
                "expire": lasts.as_secs_f64(),
            }),
            &[],
        )?;
        Ok(())
    }

    /// Serves a client again. It needs a new connection all the same.
    ///
    /// # Errors
    /// None if it was not on the list: the monitors take that as done.
    ///
    /// # Implements:
    /// `osd blocklist rm`
    pub fn blocklist_remove(&self, address: &str) -> Result<(), Error> {
        self.mon_command(
            &json!({"prefix": "osd blocklist", "blocklistop": "rm", "addr": address}),
            &[],
        )?;
        Ok(())
    }

    /// The list.
    ///
    /// # Errors
    /// As any command.
    ///
    /// # Implements:
    /// `osd blocklist ls`
    pub fn blocklist(&self) -> Result<Vec<BlocklistEntry>, Error> {
        let command = json!({"prefix": "osd blocklist ls", "format": "json"});
        let reply = self.mon_command(&command, &[])?;
        entries(&reply.output).map_err(|error| self.at("osd blocklist ls").unreadable(error))
    }
}

/// Later releases give two lists one after the other, of addresses and of ranges.
fn entries(output: &[u8]) -> Result<Vec<BlocklistEntry>, serde_json::Error> {
    let lists = serde_json::Deserializer::from_slice(output).into_iter::<Vec<BlocklistEntry>>();
    Ok(lists
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_or_two_are_read() {
        let one = br#"[{"addr":"10.0.0.7:0/37","until":"2026-01-02T03:04:05.0+0000"}]"#;
        assert_eq!(entries(one).unwrap()[0].address, "10.0.0.7:0/37");
        let two = br#"
            [{"addr":"10.0.0.7:0/37","until":"x"}][{"addr":"10.0.1.0:0/24","until":"x"}]"#;
        assert_eq!(entries(two).unwrap().len(), 2);
        assert!(entries(b"\n[][]").unwrap().is_empty());
        assert!(entries(b"[{").is_err());
    }
}
