//! Fixed addresses: one by one, by ranges that keep the host part, or not kept at all.
//!
//! ```text
//!   an entry of its own  ->  a range that it lies in  ->  a range whose addresses are not kept  ->  the same, where same_name says so
//! ```
//!
//! Also this is read both ways, so what two addresses of one zone would come to is refused.

use super::{Entry, Kind, Mapping, MappingError, Unmapped, no_entry, taken, twice};
use rekindle_common::ZoneName;
use std::net::IpAddr;

/// What an address is in the other zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// This one.
    One(IpAddr),
    /// Whichever that zone's subnet gives.
    Any,
}

/// A range: `10.0.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    base: IpAddr,
    prefix: u32,
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(a) => (u128::from(a.to_bits()), 32),
        IpAddr::V6(a) => (a.to_bits(), 128),
    }
}

/// The host part's mask.
fn hosts(prefix: u32, width: u32) -> u128 {
    let free = width.saturating_sub(prefix);
    u128::MAX
        .checked_shr(128_u32.saturating_sub(free))
        .unwrap_or(0)
}

impl Range {
    fn read(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "is no range of addresses: 10.0.0.0/24 is one";
        let (base, prefix) = text.split_once('/').ok_or(FORM)?;
        let base: IpAddr = base.parse().map_err(|_| FORM)?;
        let prefix: u32 = prefix.parse().map_err(|_| FORM)?;
        let (number, width) = bits(base);
        if prefix > width {
            return Err(FORM);
        }
        if number & hosts(prefix, width) != 0 {
            return Err("begins within its range: write its first address");
        }
        Ok(Self { base, prefix })
    }

    fn has(self, address: IpAddr) -> bool {
        let ((base, width), (number, other)) = (bits(self.base), bits(address));
        width == other && base == number & !hosts(self.prefix, width)
    }

    fn meets(self, other: Self) -> bool {
        self.has(other.base) || other.has(self.base)
    }

    /// The address that has the same place in this range as another has in its own. `None` where the ranges are not alike.
    fn at(self, address: IpAddr, of: Self) -> Option<IpAddr> {
        let ((base, width), (number, other)) = (bits(self.base), bits(address));
        if width != other || self.prefix != of.prefix {
            return None;
        }
        let number = base | (number & hosts(self.prefix, width));
        match self.base {
            IpAddr::V4(_) => u32::try_from(number).ok().map(|n| IpAddr::V4(n.into())),
            IpAddr::V6(_) => Some(IpAddr::V6(number.into())),
        }
    }
}

fn address_of(entry: &Entry, zone: &ZoneName) -> Option<IpAddr> {
    entry.get(zone)?.parse().ok()
}

fn range_of(entry: &Entry, zone: &ZoneName) -> Option<Range> {
    Range::read(entry.get(zone)?).ok()
}

fn range_with<'a>(
    entries: &'a [Entry],
    zone: &ZoneName,
    address: IpAddr,
) -> Option<(usize, &'a Entry)> {
    let mut all = entries.iter().enumerate();
    all.find(|(_, e)| range_of(e, zone).is_some_and(|r| r.has(address)))
}

impl Mapping {
    /// What a fixed address of one zone is in another.
    ///
    /// # Errors
    /// [`Unmapped`]. Whether it is free is for Neutron to say.
    pub fn address(
        &self,
        from: &ZoneName,
        address: IpAddr,
        to: &ZoneName,
    ) -> Result<Address, Unmapped> {
        let kind = Kind::Addresses;
        let name = address.to_string();
        let none = || no_entry(kind, &name, from, to);
        let own = |zone: &ZoneName, address: IpAddr| {
            let all = self.addresses.iter().enumerate();
            all.filter(move |(_, e)| address_of(e, zone) == Some(address))
                .map(|(n, e)| (n, e.clone()))
                .collect::<Vec<_>>()
        };
        match own(from, address).as_slice() {
            [] => {}
            [(_, entry)] => return address_of(entry, to).map(Address::One).ok_or_else(none),
            [(n, _), (other, _), ..] => return Err(twice(kind, *n, *other, from, &name)),
        }
        // What it would come to may be what another one is said to be.
        let unclaimed = |found: IpAddr| match own(to, found).first() {
            Some((n, _)) => Err(taken(kind, *n, &found.to_string(), from, to)),
            None => Ok(Address::One(found)),
        };
        if let Some((n, entry)) = range_with(&self.ranges, from, address) {
            let (own, other) = (range_of(entry, from), range_of(entry, to));
            let found = own.zip(other).and_then(|(own, o)| o.at(address, own));
            return unclaimed(found.ok_or_else(|| Unmapped::Ambiguous {
                field: format!("ranges[{n}]"),
                why: "its ranges are not of one size".to_owned(),
            })?);
        }
        if range_with(&self.any_address, from, address).is_some() {
            return Ok(Address::Any);
        }
        if !self.same_name.contains(&kind) {
            return Err(none());
        }
        for (list, entries) in [("ranges", &self.ranges), ("any_address", &self.any_address)] {
            if let Some((n, _)) = range_with(entries, to, address) {
                return Err(Unmapped::Ambiguous {
                    field: format!("{list}[{n}].{to}"),
                    why: format!(
                        "{address} of {to} lies in it, so it cannot be the same address of {from}: give that one an entry"
                    ),
                });
            }
        }
        unclaimed(address)
    }

    /// What is no address or no range, ranges that are not alike, and those of one zone that meet.
    pub(super) fn check_addresses(&self, found: &mut Vec<MappingError>) {
        for (n, entry) in self.addresses.iter().enumerate() {
            for (zone, text) in entry {
                // Two ways to write one address would be two names for one thing.
                let plain = text.parse::<IpAddr>().map(|a| a.to_string());
                let why = match plain {
                    Ok(plain) if plain == *text => continue,
                    Ok(plain) => format!("{text:?} is written {plain:?}"),
                    Err(_) => format!("{text:?} is no address: 10.0.0.5 is one"),
                };
                found.push(MappingError {
                    field: format!("addresses[{n}].{zone}"),
                    why,
                });
            }
        }
        let mut met: Vec<(&ZoneName, Range, String)> = Vec::new();
        for (list, entries) in [("ranges", &self.ranges), ("any_address", &self.any_address)] {
            for (n, entry) in entries.iter().enumerate() {
                let mut sizes = Vec::new();
                for (zone, text) in entry {
                    let field = format!("{list}[{n}].{zone}");
                    let mut say = |why| {
                        let field = field.clone();
                        found.push(MappingError { field, why });
                    };
                    let range = match Range::read(text) {
                        Ok(range) => range,
                        Err(why) => {
                            say(format!("{text:?} {why}"));
                            continue;
                        }
                    };
                    sizes.push((range.prefix, range.base.is_ipv4()));
                    let meets =
                        |(z, r, _): &&(&ZoneName, Range, String)| *z == zone && r.meets(range);
                    // The same text twice is said already.
                    if let Some((_, other, before)) = met.iter().find(meets)
                        && (*other != range || !before.starts_with(list))
                    {
                        say(format!("{text} meets that of {before}: which counts?"));
                    }
                    met.push((zone, range, field));
                }
                sizes.dedup();
                if list == "ranges" && sizes.len() > 1 {
                    found.push(MappingError {
                        field: format!("{list}[{n}]"),
                        why: "its ranges are not of one size: the host part cannot be kept"
                            .to_owned(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn zone(name: &str) -> ZoneName {
        ZoneName::new(name).unwrap()
    }
    fn entries(pairs: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(a, b): &(&str, &str)| {
            Entry::from([
                (zone("zone-a"), (*a).to_owned()),
                (zone("zone-b"), (*b).to_owned()),
            ])
        };
        pairs.iter().map(entry).collect()
    }
    fn both() -> BTreeSet<ZoneName> {
        [zone("zone-a"), zone("zone-b")].into()
    }
    fn ask(m: &Mapping, from: &str, address: &str, to: &str) -> Result<Address, Unmapped> {
        m.address(&zone(from), address.parse().unwrap(), &zone(to))
    }
    fn one(address: &str) -> Address {
        Address::One(address.parse().unwrap())
    }
    fn mapping() -> Mapping {
        Mapping {
            addresses: entries(&[("10.0.0.5", "10.1.0.77"), ("2001:db8::5", "2001:db8:1::9")]),
            ranges: entries(&[
                ("10.0.0.0/24", "10.1.0.0/24"),
                ("2001:db8::/64", "2001:db8:1::/64"),
            ]),
            any_address: entries(&[("192.168.0.0/24", "192.168.9.0/25")]),
            ..Mapping::default()
        }
    }

    #[test]
    fn an_address_goes_by_its_entry_then_by_its_range_then_by_none() {
        let m = mapping();
        assert_eq!(m.check(&both()), []);
        for (a, b) in [
            ("10.0.0.5", "10.1.0.77"),
            ("10.0.0.9", "10.1.0.9"),
            ("2001:db8::5", "2001:db8:1::9"),
            ("2001:db8::abcd", "2001:db8:1::abcd"),
        ] {
            assert_eq!(ask(&m, "zone-a", a, "zone-b"), Ok(one(b)), "{a}");
            assert_eq!(ask(&m, "zone-b", b, "zone-a"), Ok(one(a)), "{b}");
        }
        let any = ask(&m, "zone-a", "192.168.0.200", "zone-b");
        assert_eq!(any, Ok(Address::Any));
        let e = ask(&m, "zone-a", "172.16.0.1", "zone-b").unwrap_err();
        assert!(e.to_string().starts_with("addresses of the mapping"), "{e}");
    }

    #[test]
    fn no_two_addresses_come_to_the_same() {
        let mut m = mapping();
        // By its range it would be what 10.0.0.5 is; and 10.1.0.5 would be 10.0.0.5.
        let e = ask(&m, "zone-a", "10.0.0.77", "zone-b").unwrap_err();
        assert!(e.to_string().starts_with("addresses[0].zone-b"), "{e}");
        let e = ask(&m, "zone-b", "10.1.0.5", "zone-a").unwrap_err();
        assert!(e.to_string().starts_with("addresses[0].zone-a"), "{e}");
        m.same_name.insert(Kind::Addresses);
        let same = ask(&m, "zone-a", "172.16.0.1", "zone-b");
        assert_eq!(same, Ok(one("172.16.0.1")));
        for (address, field) in [
            ("10.1.0.9", "ranges[0].zone-b"),
            ("192.168.9.1", "any_address[0].zone-b"),
        ] {
            let e = ask(&m, "zone-a", address, "zone-b").unwrap_err();
            assert!(e.to_string().starts_with(field), "{e}");
        }
    }

    #[test]
    fn what_is_no_address_or_range_is_named() {
        type Lists = (Vec<Entry>, Vec<Entry>, Vec<Entry>);
        let none = Vec::new;
        let cases: [(Lists, &str); 8] = [
            (
                (entries(&[("10.0.0", "10.1.0.1")]), none(), none()),
                "addresses[0].zone-a",
            ),
            (
                (entries(&[("2001:DB8::1", "2001:db8:1::1")]), none(), none()),
                "addresses[0].zone-a",
            ),
            (
                (none(), entries(&[("10.0.0.0", "10.1.0.0/24")]), none()),
                "ranges[0].zone-a",
            ),
            (
                (none(), entries(&[("10.0.0.0/33", "10.1.0.0/24")]), none()),
                "ranges[0].zone-a",
            ),
            (
                (none(), entries(&[("10.0.0.1/24", "10.1.0.0/24")]), none()),
                "ranges[0].zone-a",
            ),
            (
                (none(), entries(&[("10.0.0.0/24", "10.1.0.0/25")]), none()),
                "ranges[0]",
            ),
            (
                (
                    none(),
                    entries(&[("10.0.0.0/24", "10.1.0.0/24")]),
                    entries(&[("10.0.0.0/16", "10.9.0.0/16")]),
                ),
                "any_address[0].zone-a",
            ),
            (
                (none(), entries(&[("10.0.0.0/24", "2001:d00::/24")]), none()),
                "ranges[0]",
            ),
        ];
        for ((addresses, ranges, any_address), field) in cases {
            let m = Mapping {
                addresses,
                ranges,
                any_address,
                ..Mapping::default()
            };
            let found = m.check(&both());
            let fields: Vec<&str> = found.iter().map(|e| e.field.as_str()).collect();
            assert_eq!(fields, [field], "{found:?}");
        }
    }

    prop_compose! {
        /// Few addresses, so that they meet.
        fn small()(net in 0_u8..3, host in 0_u8..8) -> IpAddr {
            IpAddr::from([10, 0, net, host])
        }
    }

    proptest! {
        /// What is one-to-one comes back as it was; nothing comes back as another.
        #[test]
        fn there_and_back(
            pairs in prop::collection::vec((small(), small()), 0..4), nets in prop::collection::vec((0_u8..3, 0_u8..3), 0..3),
            any in prop::option::of((0_u8..3, 0_u8..3)), same in any::<bool>(), address in small(),
        ) {
            let entry = |a: String, b: String| Entry::from([(zone("zone-a"), a), (zone("zone-b"), b)]);
            let net = |n: u8| format!("10.0.{n}.0/24");
            let m = Mapping {
                same_name: if same { [Kind::Addresses].into() } else { BTreeSet::new() },
                addresses: pairs.iter().map(|(a, b)| entry(a.to_string(), b.to_string())).collect(),
                ranges: nets.iter().map(|(a, b)| entry(net(*a), net(*b))).collect(),
                any_address: any.iter().map(|(a, b)| entry(net(*a), net(*b))).collect(),
                ..Mapping::default()
            };
            prop_assume!(m.check(&both()).is_empty());
            if let Ok(Address::One(there)) = m.address(&zone("zone-a"), address, &zone("zone-b")) {
                prop_assert_eq!(m.address(&zone("zone-b"), there, &zone("zone-a")), Ok(Address::One(address)));
            }
        }
    }
}
