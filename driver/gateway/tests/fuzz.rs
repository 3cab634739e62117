//! A short run of the fuzz targets: their seeds, and what becomes of them by chance. `cargo fuzz` goes on from there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use rekindle_gateway::targets;
use std::{
    panic,
    path::Path,
    time::{Duration, Instant},
};

/// For each target.
const RUN: Duration = Duration::from_secs(3);
/// What JSON, and what is asked, are made of.
const PIECES: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "true",
    "1e999",
    "-0",
    "\"id\"",
    "\"volume\"",
    "\"volumes\"",
    "\"os-promote\"",
    "\"rekindle:status\"",
    "\\u0000",
    "\u{feff}",
    " ",
    "\n",
    "ü",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = std::fs::read_dir(folder).unwrap();
    let seeds: Vec<_> = files
        .map(|f| std::fs::read(f.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty());
    seeds
}

fn changed(rng: &mut impl Rng, data: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = |rng: &mut dyn Rng, len: usize| rng.random_range(0..=len);
    let (a, b) = (at(rng, data.len()), at(rng, data.len()));
    let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 16));
    match rng.random_range(0..6) {
        0 => {
            data.drain(from..to);
        }
        1 => {
            let again = data[from..to].to_vec();
            data.splice(to..to, again);
        }
        2 => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            data.splice(from..from, piece.bytes());
        }
        3 if from < data.len() => data[from] = rng.random(),
        4 => {
            let other = &others[rng.random_range(0..others.len())];
            let cut = at(rng, other.len());
            data.splice(from..from, other[cut..].iter().copied());
        }
        _ => data.truncate(to),
    }
    data.truncate(4096);
}

fn run(name: &str, target: fn(&[u8])) {
    let mut pool = seeds(name);
    for seed in &pool {
        target(seed);
    }
    let chance: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(chance);
    let until = Instant::now() + RUN;
    let mut runs = 0_u64;
    while Instant::now() < until {
        let mut data = pool[rng.random_range(0..pool.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            changed(&mut rng, &mut data, &pool);
        }
        let ended = panic::catch_unwind(|| target(&data));
        assert!(
            ended.is_ok(),
            "run {runs} of seed {chance}: {:?}",
            String::from_utf8_lossy(&data)
        );
        // What is still JSON is worth going on from.
        if pool.len() < 200 && serde_json::from_slice::<serde_json::Value>(&data).is_ok() {
            pool.push(data);
        }
        runs += 1;
    }
    assert!(runs > 1000, "{runs} runs");
}

#[test]
fn actions_of_any_bytes() {
    run("actions", targets::actions);
}

#[test]
fn bodies_of_any_bytes() {
    run("bodies", targets::bodies);
}
