//! The search: one tick after the other, every state once.

use super::world::{B, Fault, Guards, Pace, World};
use std::collections::{HashMap, hash_map::Entry};

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

/// How a state was come to.
#[derive(Debug, Clone, Copy)]
struct Came {
    /// From which, by its number.
    from: usize,
    struck: Option<Fault>,
    pace: Pace,
}

/// A state's number, and how many faults may still happen in it.
#[derive(Debug, Clone, Copy)]
struct Visit {
    id: usize,
    left: u32,
}

/// The states of one tick. The hasher is the same in each run, and so is what is found.
type Layer = HashMap<World, Visit, foldhash::fast::FixedState>;

/// Visits all that can be reached from `start` within `horizon` ticks with at most `budget` faults.
///
/// Time is a part of a state, so that only those of the same tick can be the same: no earlier ones are kept. One that is come to in
/// several ways is gone on from once, with the most faults that are left: what fewer lead to is among it.
#[must_use]
pub fn explore(
    start: &World,
    guards: Guards,
    faults: &[Fault],
    horizon: u64,
    budget: u32,
) -> Found {
    let mut search = Search {
        guards,
        came: Vec::new(),
        taken_over: 0,
    };
    let mut layer = Layer::from_iter([(start.clone(), search.first(budget))]);
    for _ in 0..horizon {
        let mut next = Layer::default();
        for (world, visit) in &layer {
            search.taken_over += usize::from(world.zones[B].writable());
            if let Some(violation) = search.go_on(world, *visit, faults, &mut next) {
                return search.ended(Some(violation));
            }
        }
        layer = next;
    }
    let last = layer.keys().filter(|world| world.zones[B].writable());
    search.taken_over += last.count();
    search.ended(None)
}

struct Search {
    guards: Guards,
    /// How each state was come to, by its number. The first came from nowhere, and is its own.
    came: Vec<Came>,
    taken_over: usize,
}

impl Search {
    fn first(&mut self, left: u32) -> Visit {
        self.came.push(Came {
            from: 0,
            struck: None,
            pace: Pace::ZonesFirst,
        });
        Visit { id: 0, left }
    }

    /// Puts all that one tick makes of a state into `next`, up to the first with two writers, whose number it tells.
    fn go_on(
        &mut self,
        world: &World,
        at: Visit,
        faults: &[Fault],
        next: &mut Layer,
    ) -> Option<usize> {
        let strikes = faults.iter().filter(|_| at.left > 0).map(|f| Some(*f));
        for struck in std::iter::once(None).chain(strikes) {
            let (before, left) = match struck {
                None => (world.clone(), at.left),
                Some(fault) => match world.strike(fault) {
                    Some(struck) => (struck, at.left - 1),
                    None => continue,
                },
            };
            for pace in Pace::ALL {
                let mut world = before.clone();
                world.pass(self.guards, pace);
                let came = Came {
                    from: at.id,
                    struck,
                    pace,
                };
                let violated = world.two_writers();
                let id = self.visit(world, left, came, next);
                if violated {
                    return Some(id);
                }
            }
        }
        None
    }

    fn visit(&mut self, world: World, left: u32, came: Came, next: &mut Layer) -> usize {
        match next.entry(world) {
            Entry::Vacant(entry) => {
                let id = self.came.len();
                self.came.push(came);
                entry.insert(Visit { id, left });
                id
            }
            Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                if seen.left < left {
                    seen.left = left;
                    self.came[seen.id] = came;
                }
                seen.id
            }
        }
    }

    fn ended(&self, violation: Option<usize>) -> Found {
        Found {
            states: self.came.len(),
            violation: violation.map(|id| self.trace(id)),
            taken_over: self.taken_over,
        }
    }

    fn trace(&self, mut at: usize) -> Vec<String> {
        let mut steps = Vec::new();
        while at != 0 {
            let Came { from, struck, pace } = self.came[at];
            let how = struck.map_or_else(|| "quiet".to_owned(), |fault| format!("{fault:?}"));
            steps.push(format!("{how}, {pace:?}"));
            at = from;
        }
        steps.reverse();
        let numbered = steps.iter().enumerate();
        numbered
            .map(|(tick, how)| format!("{:2}: {how}", tick + 1))
            .collect()
    }
}
