//! The search: breadth first, every state once.

use super::world::{Fault, Guards, Pace, World};
use std::collections::{HashMap, VecDeque};

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// How many different states were visited.
    pub states: usize,
    /// The shortest way to two writers, as the faults of each tick; `None` where there is no way.
    pub violation: Option<Vec<String>>,
    /// In how many states zone B could be written to: a search in which nobody ever takes over proves nothing.
    pub taken_over: usize,
}

/// Visits all that can be reached from `start` within `horizon` ticks with at most `budget` faults.
#[must_use]
pub fn explore(
    start: &World,
    guards: Guards,
    faults: &[Fault],
    horizon: u64,
    budget: u32,
) -> Found {
    let end = start.now + horizon;
    let mut index: HashMap<(World, u32), usize> = HashMap::new();
    // Where each state came from, and by what.
    let mut came: Vec<(usize, String)> = vec![(0, String::new())];
    let mut queue = VecDeque::from([(start.clone(), budget, 0usize)]);
    index.insert((start.clone(), budget), 0);
    let mut taken_over = 0;
    while let Some((world, left, me)) = queue.pop_front() {
        taken_over += usize::from(world.zones[super::world::B].writable());
        if world.now >= end {
            continue;
        }
        let mut next = Vec::new();
        for pace in Pace::ALL {
            let mut quiet = world.clone();
            quiet.pass(guards, pace);
            next.push((quiet, left, format!("quiet, {pace:?}")));
            if left == 0 {
                continue;
            }
            for fault in faults {
                if let Some(mut struck) = world.strike(*fault) {
                    struck.pass(guards, pace);
                    next.push((struck, left - 1, format!("{fault:?}, {pace:?}")));
                }
            }
        }
        for (world, left, how) in next {
            let violated = world.two_writers();
            let key = (world, left);
            if index.contains_key(&key) {
                continue;
            }
            let id = came.len();
            came.push((me, format!("{:2}: {how}", key.0.now)));
            if violated {
                let violation = Some(trace(&came, id));
                return Found {
                    states: came.len(),
                    violation,
                    taken_over,
                };
            }
            queue.push_back((key.0.clone(), left, id));
            index.insert(key, id);
        }
    }
    Found {
        states: came.len(),
        violation: None,
        taken_over,
    }
}

fn trace(came: &[(usize, String)], mut at: usize) -> Vec<String> {
    let mut steps = Vec::new();
    while at != 0 {
        steps.push(came[at].1.clone());
        at = came[at].0;
    }
    steps.reverse();
    steps
}
