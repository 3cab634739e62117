//! Who stands at the door of the TLS listeners and has not shown yet who they are.
//!
//! Anybody who reaches the port may knock, and say nothing. So those who knock are few and take nobody's place inside; and where they are too many
//! the newest is not the one that is sent away, for it may be a peer, which is through in the time of a few messages. It is the oldest of those who
//! come from where the most do: a silent one has been there for longest, and one host alone sends away nobody but itself.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Knocking {
    most: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// The oldest first.
    all: Vec<Knocker>,
}

#[derive(Debug)]
struct Knocker {
    number: u64,
    from: IpAddr,
    sent_away: CancellationToken,
}

/// One at the door, for as long as it is held.
#[derive(Debug)]
pub(super) struct Knock {
    number: u64,
    sent_away: CancellationToken,
    door: Arc<Knocking>,
}

impl Knocking {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            inside: Mutex::default(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one more stand there. Where that is one too many another one is sent away.
    pub(super) fn knock(self: &Arc<Self>, from: IpAddr) -> Knock {
        let sent_away = CancellationToken::new();
        let mut inside = self.inside();
        if inside.all.len() >= self.most
            && let Some(at) = to_send_away(&inside.all)
        {
            inside.all.remove(at).sent_away.cancel();
        }
        let number = inside.next;
        inside.next += 1;
        inside.all.push(Knocker {
            number,
            from: place(from),
            sent_away: sent_away.clone(),
        });
        Knock {
            number,
            sent_away,
            door: Arc::clone(self),
        }
    }
}

impl Knock {
    /// Ends once it is to go.
    pub(super) async fn sent_away(&self) {
        self.sent_away.cancelled().await;
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.door.inside().all.retain(|k| k.number != self.number);
    }
}

/// The oldest of those from where the most are.
fn to_send_away(all: &[Knocker]) -> Option<usize> {
    let from_there = |k: &Knocker| all.iter().filter(|other| other.from == k.from).count();
    // Of several that are as many the last in this order is taken: the oldest.
    let newest_first = all.iter().enumerate().rev();
    newest_first
        .max_by_key(|(_, k)| from_there(k))
        .map(|(at, _)| at)
}

/// What one host may choose from counts as one: in IPv6 a network of 64 bits.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(most: usize) -> Arc<Knocking> {
        Arc::new(Knocking::new(most))
    }

    fn knocks(door: &Arc<Knocking>, from: &[&str]) -> Vec<Knock> {
        let one = |ip: &&str| door.knock(ip.parse().unwrap());
        from.iter().map(one).collect()
    }

    fn sent_away(all: &[Knock]) -> Vec<usize> {
        let gone = |(at, k): (usize, &Knock)| k.sent_away.is_cancelled().then_some(at);
        all.iter().enumerate().filter_map(gone).collect()
    }

    #[test]
    fn one_host_sends_away_nobody_but_itself() {
        let door = door(3);
        let mut all = knocks(&door, &["192.0.2.7", "192.0.2.1", "192.0.2.7"]);
        assert_eq!(sent_away(&all), [0; 0]);
        all.extend(knocks(&door, &["192.0.2.7"; 5]));
        assert_eq!(sent_away(&all), [0, 2, 3, 4, 5]);
        // Another is let in, at its cost again.
        all.extend(knocks(&door, &["192.0.2.2"]));
        assert_eq!(sent_away(&all), [0, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn from_as_many_places_the_oldest_goes() {
        let door = door(2);
        let all = knocks(&door, &["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        assert_eq!(sent_away(&all), [0]);
    }

    #[test]
    fn who_has_left_takes_no_place() {
        let door = door(2);
        let mut all = knocks(&door, &["192.0.2.1", "192.0.2.2"]);
        drop(all.remove(0));
        all.extend(knocks(&door, &["192.0.2.3"]));
        assert_eq!(sent_away(&all), [0; 0]);
    }

    #[test]
    fn a_network_of_which_a_host_takes_any_address_is_one_place() {
        let is = |a: &str| place(a.parse().unwrap()).to_string();
        assert_eq!(is("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(is("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(is("192.0.2.1"), "192.0.2.1");
    }
}
