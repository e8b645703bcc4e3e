//! The runs: many seeds, planted faults, the same seed twice.

use super::{Bug, RECOVERY, STORM, World};
use crate::consensus::NodeId;

/// A run of a seed: a digest of all that happened, and how much was acknowledged; or what did not hold.
fn run(seed: u64, bug: Bug) -> Result<(u64, usize), String> {
    let mut world = World::new(seed, bug);
    world.run_until(STORM);
    let before: Vec<u64> = (1..=world.groups)
        .map(|one| world.truth.last(one))
        .collect();
    let mut served = false;
    for _ in 0..RECOVERY / 100 {
        world.run_until(world.now + 100);
        served = (1..=world.groups).all(|group| {
            world.publish_to(group);
            world.truth.last(group) > before[group as usize - 1] + 1
        });
        if served {
            break;
        }
    }
    if !served && world.truth.broken.is_none() {
        world
            .truth
            .fail("nothing is served after everything was healed".to_owned());
    }
    world.run_until(world.now + RECOVERY / 2);
    if let Some((id, group)) = world.laggard() {
        let text = format!("node {id} does not follow in group {group}");
        world.truth.fail(text);
    }
    world.truth.finish();
    match world.truth.broken.take() {
        Some(text) => Err(format!("seed {seed} at {} ms: {text}", world.now)),
        None => Ok((world.truth.trace, world.truth.acks())),
    }
}

impl World {
    /// A member that does not have what its leader has. Clients go on publishing, so a few entries are forgiven.
    fn laggard(&self) -> Option<(NodeId, u64)> {
        for group in 1..=self.groups {
            let last = self.truth.last(group);
            let Some(leader) = self.leader(group) else {
                return Some((0, group));
            };
            let members = &self
                .nodes
                .get(&leader)?
                .members
                .get(&group)?
                .state
                .membership;
            let behind = self.nodes.values().find(|node| {
                let own = node.members.get(&group);
                let has = own.is_some_and(|own| own.state.index + 20 >= last);
                members.contains(node.id) && !has
            });
            if let Some(node) = behind {
                return Some((node.id, group));
            }
        }
        None
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a part of the seeds.
fn storm(part: u64) {
    let seeds: Vec<u64> = match number("JETWAKE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("JETWAKE_SEEDS").unwrap_or(80))
            .filter(|seed| seed % 2 == part)
            .collect(),
    };
    let mut acks = 0;
    for seed in &seeds {
        match run(*seed, Bug::None) {
            Ok((_, acked)) => acks += acked,
            Err(text) => panic!("{text}; JETWAKE_SEED={seed} repeats it"),
        }
    }
    assert!(
        acks > seeds.len() * 20,
        "hardly anything was published: {acks}"
    );
}

#[test]
fn groups_keep_their_promises_with_even_seeds() {
    storm(0);
}

#[test]
fn groups_keep_their_promises_with_odd_seeds() {
    storm(1);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 4] {
        assert_eq!(run(seed, Bug::None), run(seed, Bug::None));
    }
}

fn is_found(bug: Bug) {
    let found = (0..200).find_map(|seed| run(seed, bug).err());
    assert!(found.is_some(), "{bug:?} was not found");
}

#[test]
fn a_member_that_speaks_before_the_sync_is_found() {
    is_found(Bug::SpeaksTooEarly);
}

#[test]
fn a_member_that_forgets_its_vote_is_found() {
    is_found(Bug::ForgetsItsVote);
}

#[test]
fn a_member_that_forgets_acknowledged_entries_is_found() {
    is_found(Bug::ForgetsItsTail);
}
