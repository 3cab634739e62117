//! One proxy after the other under the same load. Who is first changes with each round, so that what the machine does meanwhile meets both.

use crate::{
    load::{self, Asked},
    proxies::Proxy,
};
use serde::Serialize;
use std::{fmt, time::Duration};
use tokio::runtime::Runtime;

/// What the gateway's throughput is to be, at least, of nginx's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Goal(pub(crate) f64);

impl Goal {
    pub(crate) const PASS_THROUGH: Self = Self(0.9);
    pub(crate) const WITH_STATUS: Self = Self(0.5);
}

/// Something that is asked of both.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) asked: Asked,
    pub(crate) connections: usize,
    pub(crate) goal: Goal,
}

/// One proxy in one case.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Side {
    /// Answers in a second; the round in the middle.
    pub(crate) per_s: f64,
    /// Of the processor, user and system, for one answer; the round in the middle.
    pub(crate) processor_us: f64,
    rounds_per_s: Vec<f64>,
    rounds_processor_us: Vec<f64>,
}

impl Side {
    fn end(&mut self) {
        self.per_s = middle(&self.rounds_per_s);
        self.processor_us = middle(&self.rounds_processor_us);
    }

    /// From the slowest round to the fastest.
    fn spread(&self) -> String {
        let least = self
            .rounds_per_s
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let most = self.rounds_per_s.iter().copied().fold(0.0, f64::max);
        format!("{:.0} ({least:.0} to {most:.0})", self.per_s)
    }
}

fn middle(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    let n = all.len();
    match (all.get(n.saturating_sub(1) / 2), all.get(n / 2)) {
        (Some(a), Some(b)) => f64::midpoint(*a, *b),
        (None, _) | (_, None) => f64::NAN,
    }
}

/// Both in one case.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    what: &'static str,
    connections: usize,
    pub(crate) nginx: Side,
    pub(crate) gateway: Side,
    /// The gateway's answers in a second by nginx's.
    pub(crate) ratio: f64,
    pub(crate) goal: Goal,
    pub(crate) reached: bool,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<10} nginx {:>24}/s  gateway {:>24}/s  {:.2} of it (goal {:.1}){}; processor {:.0} and {:.0} us an answer",
            self.name,
            self.nginx.spread(),
            self.gateway.spread(),
            self.ratio,
            self.goal.0,
            if self.reached { "" } else { " NOT REACHED" },
            self.nginx.processor_us,
            self.gateway.processor_us,
        )
    }
}

/// The two, and how they are measured.
#[derive(Debug)]
pub(crate) struct Turns<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) nginx: &'a Proxy,
    pub(crate) gateway: &'a Proxy,
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
}

impl Turns<'_> {
    /// One case.
    pub(crate) fn of(&self, case: &Case) -> anyhow::Result<Measured> {
        let (mut nginx, mut gateway) = (Side::default(), Side::default());
        for round in 0..self.rounds {
            let mut pair = [(self.nginx, &mut nginx), (self.gateway, &mut gateway)];
            if round % 2 == 1 {
                pair.reverse();
            }
            for (proxy, side) in pair {
                let before = proxy.processor()?;
                let load = load::rate(proxy.address, &case.asked, case.connections, self.turn);
                let rate = self.runtime.block_on(load)?;
                let took = proxy.processor()?.saturating_sub(before);
                let answers = f64::from(rate.answers.max(1));
                let tenths = |x: f64| (x * 10.0).round() / 10.0;
                side.rounds_per_s.push(tenths(answers / rate.seconds));
                let micros = took.as_secs_f64() * 1e6 / answers;
                side.rounds_processor_us.push(tenths(micros));
            }
        }
        nginx.end();
        gateway.end();
        let ratio = (gateway.per_s / nginx.per_s * 1000.0).round() / 1000.0;
        Ok(Measured {
            name: case.name,
            what: case.what,
            connections: case.connections,
            ratio,
            goal: case.goal,
            reached: ratio >= case.goal.0,
            nginx,
            gateway,
        })
    }
}
