//! How a zone's guests are reached: through their zone, from every site and from the host.
//!
//! ```text
//!   the other sites, the host ── via 10.231.N.11 ── zone-a ── a tap and a route for each guest, of 10.232.N.0/25
//!                             ── via 10.231.N.12 ── zone-b ── a tap and a route for each guest, of 10.232.N.128/25
//! ```
//!
//! The routes in the zone are `devstack/lab/guests/guest_dhcp.py`'s. A zone that is cut off takes its guests with it.

use std::net::Ipv4Addr;

use super::{DEADLINE, Net, ip};
use crate::error::Result;
use crate::site::Site;

impl Net {
    /// The addresses that the zone's guests may have.
    pub(crate) fn guests(self, site: Site) -> String {
        let first = Ipv4Addr::new(10, 232, self.number, 128 * site.index());
        format!("{first}/25")
    }

    /// Makes the zone pass on what is for its guests, and all others send it there.
    pub(crate) fn guests_up(self, site: Site) -> Result<()> {
        self.inside(site, "sh")
            .args(["-ec", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
            .deadline(DEADLINE)
            .run()?;
        let (guests, zone) = (self.guests(site), self.addr(site).to_string());
        let route = ["route", "replace", &guests, "via", &zone];
        for other in Site::ALL.into_iter().filter(|other| *other != site) {
            let ns = self.netns(other).unwrap_or_default();
            ip(&[&["-n", &ns], &route[..]].concat())?;
        }
        ip(&route).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NetMode;

    #[test]
    fn the_zones_of_a_lab_have_ranges_of_their_own() {
        let net = Net::new(NetMode::Namespaces, 7);
        assert_eq!(net.guests(Site::ZoneA), "10.232.7.0/25");
        assert_eq!(net.guests(Site::ZoneB), "10.232.7.128/25");
    }
}
