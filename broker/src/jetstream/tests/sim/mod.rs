//! A simulator of whole clusters: cores on faulty disks, links that break, clocks that disagree, clients that remember
//! what they were told. Everything follows from one seed, and one thread does it all.
//!
//! Seeds from a million on have files that rot as well.
//!
//! `JETWAKE_SIM_SEEDS=from..to` runs other seeds than the usual ones, `JETWAKE_SIM_TELL=1` says what happens.

mod check;
mod clients;
mod idle;
mod net;
mod node;
mod random;
mod world;

use std::cell::Cell;
use std::sync::Once;

use crate::jetstream::replica::planted::{self, Bug};
use world::{Plan, World};

/// Seeds of every test run.
const SEEDS: std::ops::Range<u64> = 0..9;

/// Runs a seed; the digest of everything that happened.
fn run(seed: u64) -> (u64, World) {
    let plan = Plan {
        seed,
        seconds: 12,
        rot: if seed >= 1_000_000 { 1000 } else { 0 },
    };
    let mut world = World::new(plan);
    world.trouble(plan);
    world.heal();
    (world.check.trace, world)
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("JETWAKE_SIM_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What fails on purpose in this thread says nothing; other tests are not concerned.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
}

fn try_seed(seed: u64) -> Result<u64, String> {
    keep_quiet();
    QUIET.set(std::env::var("JETWAKE_SIM_TELL").is_err());
    let ran = std::panic::catch_unwind(|| {
        let (trace, world) = run(seed);
        if world.told {
            println!("{:?}", world.clients.counts);
        }
        trace
    });
    QUIET.set(false);
    ran.map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|one| (*one).to_owned()))
            .unwrap_or_default()
    })
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    let mut failed = Vec::new();
    for seed in seeds() {
        if let Err(cause) = try_seed(seed) {
            println!("seed {seed}: {cause}");
            failed.push(seed);
        }
    }
    assert!(
        failed.is_empty(),
        "seeds {failed:?} fail; to repeat one: JETWAKE_SIM_SEEDS={}..{} JETWAKE_SIM_TELL=1 \
         cargo test -p jetwake --lib sim::nothing_acknowledged -- --nocapture",
        failed[0],
        failed[0] + 1
    );
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [3, 4] {
        assert_eq!(try_seed(seed), try_seed(seed), "seed {seed}");
    }
}

/// Whether one of these seeds shows that something is wrong.
fn is_found(bug: Bug, mut seeds: std::ops::Range<u64>) {
    planted::plant(Some(bug));
    let found =
        seeds.find(|seed| try_seed(*seed).is_err_and(|cause| !cause.contains("is refused")));
    planted::plant(None);
    println!("{bug:?}: found with seed {found:?}");
    assert!(found.is_some(), "{bug:?} is not found");
}

#[test]
fn answers_before_the_sync_are_found() {
    is_found(Bug::AnswersBeforeSync, 28..60);
}

#[test]
fn forgotten_votes_are_found() {
    is_found(Bug::ForgetsVotes, 1..60);
}

#[test]
fn a_lost_tail_is_found() {
    is_found(Bug::LosesTail, 1..60);
}

#[test]
fn early_deliveries_are_found() {
    is_found(Bug::DeliversEarly, 1..60);
}
