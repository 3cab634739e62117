//! What a zone's sidecars tell each other through their own cluster while one of them has no etcd.
//!
//! ```text
//!   no etcd: writes a question ──┐                              ┌── finds the answer to it: this lease was renewed after
//!                                v                              │   the question was written
//!   RADOS object rekindle.sidecars   { questions, answers }     │
//!                                │                              ^
//!   holder: reads the question ──┴─ renews in etcd ─ reads its keys ─ writes the answer
//! ```
//!
//! The holder has read the question before it sends its renewal, so etcd has it after the question was written. The asker counts
//! from there, by its own clock, as if it had renewed the lease itself: no two clocks are compared. A question is a new random text
//! each time, so an old answer fits none.

use super::keeper::Moment;
use rekindle_common::{Generation, GroupName, duration::Span};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Questions whose answers are still listened to.
const LISTENED_TO: usize = 4;
/// More sidecars than a zone has; beyond it names of hosts that are gone have gathered.
const MOST: usize = 32;

/// The questions of sidecars, by their names.
pub type Questions = BTreeMap<String, String>;

/// All that stands in the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The form of this record.
    pub v: u32,
    /// Each sidecar's newest question.
    pub questions: Questions,
    /// By who asked, then by who answered.
    pub answers: BTreeMap<String, BTreeMap<String, Answer>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            v: 1,
            questions: Questions::new(),
            answers: BTreeMap::new(),
        }
    }
}

/// A holder's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// To which question.
    pub question: String,
    /// The groups whose leases it holds.
    pub groups: BTreeMap<GroupName, HeldThere>,
}

/// A lease as its holder found it in etcd, after it had renewed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldThere {
    /// The record names this zone under it.
    pub generation: Generation,
    /// How long etcd keeps the lease after its renewal.
    pub ttl: Span,
}

/// What a sidecar does to the board before it reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoardChange {
    /// Nothing.
    None,
    /// Asks.
    Ask {
        /// The asker's name.
        name: String,
        /// A new text.
        question: String,
    },
    /// Answers these questions.
    Answer {
        /// The holder's name.
        name: String,
        /// Which it had read before it renewed.
        questions: Questions,
        /// What it holds.
        groups: BTreeMap<GroupName, HeldThere>,
    },
}

impl Board {
    /// Makes the change.
    pub fn change(&mut self, change: &BoardChange) {
        match change {
            BoardChange::None => {}
            BoardChange::Ask { name, question } => {
                if self.questions.len() >= MOST && !self.questions.contains_key(name) {
                    *self = Self::default();
                }
                self.questions.insert(name.clone(), question.clone());
                self.answers.remove(name);
            }
            BoardChange::Answer {
                name,
                questions,
                groups,
            } => {
                for (asker, question) in questions {
                    // It may have asked anew meanwhile.
                    if self.questions.get(asker) == Some(question) {
                        let answer = Answer {
                            question: question.clone(),
                            groups: groups.clone(),
                        };
                        let answers = self.answers.entry(asker.clone()).or_default();
                        answers.insert(name.clone(), answer);
                    }
                }
            }
        }
    }

    /// The others' questions that `name` has not answered.
    #[must_use]
    pub fn unanswered(&self, name: &str) -> Questions {
        let open = self.questions.iter().filter(|(asker, question)| {
            let answer = self.answers.get(*asker).and_then(|a| a.get(name));
            *asker != name && answer.is_none_or(|a| a.question != **question)
        });
        open.map(|(a, q)| (a.clone(), q.clone())).collect()
    }
}

/// A sidecar's own questions, with the moments before they were written.
#[derive(Debug, Default)]
pub(super) struct Asker {
    asked: VecDeque<(String, Moment)>,
}

impl Asker {
    /// A new question, where the last one is as old as that.
    pub(super) fn ask(&mut self, now: Moment, every: Duration) -> Option<String> {
        let last = self.asked.back().map(|(_, at)| *at);
        if last.is_some_and(|at| now.saturating_sub(at) < every) {
            return None;
        }
        let question = uuid::Uuid::new_v4().simple().to_string();
        self.asked.push_back((question.clone(), now));
        while self.asked.len() > LISTENED_TO {
            self.asked.pop_front();
        }
        Some(question)
    }

    /// What the others answered to `name`: each group, as it was held after that moment.
    pub(super) fn hear(&self, name: &str, board: &Board) -> Vec<(GroupName, HeldThere, Moment)> {
        let mut heard = Vec::new();
        for answer in board.answers.get(name).into_iter().flat_map(|a| a.values()) {
            let asked = self.asked.iter().find(|(q, _)| *q == answer.question);
            if let Some((_, at)) = asked {
                heard.extend(
                    answer
                        .groups
                        .iter()
                        .map(|(g, held)| (g.clone(), *held, *at)),
                );
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str, questions: Questions) -> BoardChange {
        let held = HeldThere {
            generation: Generation(3),
            ttl: Span::secs(30),
        };
        BoardChange::Answer {
            name: name.to_owned(),
            questions,
            groups: BTreeMap::from([(GroupName::new("db").unwrap(), held)]),
        }
    }
    fn ask(name: &str, question: String) -> BoardChange {
        BoardChange::Ask {
            name: name.to_owned(),
            question,
        }
    }

    #[test]
    fn an_answer_counts_from_its_own_question_and_an_old_one_from_none() {
        let (every, at) = (Duration::from_secs(2), Moment::from_secs);
        let (mut board, mut asker) = (Board::default(), Asker::default());
        board.change(&ask("b", asker.ask(at(10), every).unwrap()));
        assert_eq!(asker.ask(at(11), every), None);
        let read = board.unanswered("a");
        assert_eq!(read.len(), 1);
        assert_eq!(board.unanswered("b"), Questions::new(), "its own");
        board.change(&answer("a", read.clone()));
        assert_eq!(board.unanswered("a"), Questions::new());
        let heard = asker.hear("b", &board);
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].1.generation, heard[0].2), (Generation(3), at(10)));
        // Another's ears do not hear it, nor does the same sidecar after a restart.
        assert_eq!(asker.hear("c", &board), []);
        assert_eq!(Asker::default().hear("b", &board), []);
        // A new question stands open, and an answer to the old one is none to it.
        board.change(&ask("b", asker.ask(at(12), every).unwrap()));
        board.change(&answer("a", read));
        assert_eq!(asker.hear("b", &board), []);
        assert_eq!(board.unanswered("a").len(), 1);
        let read = board.unanswered("a");
        board.change(&answer("a", read));
        assert_eq!(asker.hear("b", &board)[0].2, at(12));
    }

    #[test]
    fn names_of_hosts_that_are_gone_do_not_gather() {
        let mut board = Board::default();
        for i in 0..100 {
            board.change(&ask(&format!("host-{i}"), format!("q{i}")));
            assert!(board.questions.len() <= MOST);
            assert!(board.unanswered("a").contains_key(&format!("host-{i}")));
        }
    }
}
