//! `rekindle demo-ready`: what a runbook on the lab waits for. It ends with 0 once the server that it is asked about answers.
//!
//! Which address a server has in a zone stands in a file, `{"zone-b": {"db": "10.232.1.138"}}`: one order serves both zones.

use crate::{args::DemoReadyArgs, error::CliError, exit::Exit};
use rekindle_lab::GuestRecord;
use rekindle_orchestrator::agent::AgentOrder;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

/// Guests answer here.
const PORT: u16 = 80;
/// For a connection to one.
const CONNECT: Duration = Duration::from_secs(2);

/// The servers' addresses, by zone and by their names in the runbook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Addresses(pub BTreeMap<String, BTreeMap<String, IpAddr>>);

impl Addresses {
    /// As a file that is not there yet says.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub fn load(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Adds one.
    pub fn add(&mut self, zone: &str, server: &str, address: IpAddr) {
        let zone = self.0.entry(zone.to_owned()).or_default();
        zone.insert(server.to_owned(), address);
    }

    /// Writes them down, so that who reads sees the old ones or the new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }
}

/// Asks the server that an order is about.
///
/// # Errors
/// It does not answer; or the order is none, or names a server without an address.
pub fn run(args: &DemoReadyArgs) -> Result<Exit, CliError> {
    let order: AgentOrder = serde_json::from_reader(io::stdin())
        .map_err(|e| CliError::usage(format!("no order: {e}")))?;
    let server = order
        .runbook
        .and_then(|r| r.server)
        .ok_or_else(|| CliError::usage("the order is about no server"))?;
    let all = Addresses::load(&args.addresses)
        .map_err(|e| CliError::usage(format!("{}: {e}", args.addresses.display())))?;
    let address = all
        .0
        .get(order.zone.as_str())
        .and_then(|zone| zone.get(server.as_str()))
        .ok_or_else(|| CliError::usage(format!("{server} has no address in {}", order.zone)))?;
    match ask(*address) {
        Ok(_) => Ok(Exit::Ok),
        Err(e) => Err(CliError::failed(format!("{server} at {address}: {e}"))),
    }
}

/// A guest's last record, over the network.
///
/// # Errors
/// It does not answer with one.
pub fn ask(address: IpAddr) -> io::Result<GuestRecord> {
    let to = SocketAddr::new(address, PORT);
    GuestRecord::ask(TcpStream::connect_timeout(&to, CONNECT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses.json");
        assert_eq!(Addresses::load(&path).unwrap(), Addresses::default());
        let mut all = Addresses::default();
        all.add("zone-a", "db", [10, 232, 1, 10].into());
        all.add("zone-b", "db", [10, 232, 1, 138].into());
        all.save(&path).unwrap();
        assert_eq!(Addresses::load(&path).unwrap(), all);
        fs::write(&path, "no").unwrap();
        assert!(Addresses::load(&path).is_err());
    }
}
