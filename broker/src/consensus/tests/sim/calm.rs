//! Runs in which nothing goes wrong, or exactly one thing.

use super::{Bug, Event, World};
use crate::consensus::{EntryKind, NodeId};

/// A cluster of three that leads all its groups, without storms, clients and changes.
fn calm(groups: u64, seed: u64) -> World {
    let mut world = World::with(seed, Bug::None, 3, groups);
    world.events.retain(|_, event| {
        matches!(
            event,
            Event::Tick(_) | Event::Packet(..) | Event::Synced(..)
        )
    });
    (world.loss, world.late, world.double, world.stormy) = (0, 0, 0, false);
    world.run_until(4_000);
    assert!((1..=groups).all(|group| world.leader(group).is_some()));
    world
}

fn all_asleep(world: &World) -> bool {
    let members = world.nodes.values().flat_map(|node| node.members.values());
    members.into_iter().all(|member| member.group.is_asleep())
}

fn holds(world: &World) {
    assert_eq!(world.truth.broken, None);
}

#[test]
fn a_killed_leader_has_a_successor_within_300_ms() {
    for seed in 0..40 {
        let mut world = calm(2, seed);
        let leader = world.leader(1).unwrap();
        for _ in 0..5 {
            world.publish_to(1);
            world.run_until(world.now + 3);
        }
        let last = world.truth.last(1);
        let killed = world.now;
        world.nodes.get_mut(&leader).unwrap().crash(0);
        world.tell_all(leader, false);
        while world.leader(1).is_none() {
            world.run_until(world.now + 5);
        }
        assert!(
            world.now - killed <= 300,
            "seed {seed}: {}",
            world.now - killed
        );
        world.run_until(world.now + 50);
        world.publish_to(1);
        world.run_until(world.now + 50);
        assert!(world.truth.last(1) > last + 1, "seed {seed}");
        holds(&world);
    }
}

#[test]
fn idle_groups_sleep_and_say_nothing() {
    let mut world = calm(20, 1);
    world.run_until(9_000);
    assert!(all_asleep(&world));
    let said = world.delivered;
    world.run_until(100_000);
    assert_eq!(world.delivered, said);
    // One of them has something to do: the others sleep on.
    world.publish_to(7);
    world.run_until(world.now + 40);
    assert_eq!(world.truth.acks(), 1);
    for (group, member) in world.nodes.values().flat_map(|node| &node.members) {
        assert_eq!(member.group.is_asleep(), *group != 7);
    }
    world.run_until(world.now + 6_000);
    assert!(all_asleep(&world));
    holds(&world);
}

#[test]
fn a_member_that_comes_back_to_a_sleeping_group_follows_its_leader() {
    for seed in 0..10 {
        let mut world = calm(1, seed);
        world.run_until(9_000);
        let leader = world.leader(1).unwrap();
        let back: NodeId = if leader == 1 { 2 } else { 1 };
        let node = world.nodes.get_mut(&back).unwrap();
        node.crash(0);
        node.restart(seed);
        world.run_until(world.now + 4_000);
        assert_eq!(world.leader(1), Some(leader), "seed {seed}");
        let member = &world.nodes[&back].members[&1];
        assert_eq!(member.group.status().leader, Some(leader));
        world.run_until(world.now + 6_000);
        assert!(all_asleep(&world));
        holds(&world);
    }
}

#[test]
fn a_leader_that_comes_back_to_a_sleeping_group_does_not_leave_it_alone() {
    for seed in 0..10 {
        let mut world = calm(1, seed);
        world.run_until(9_000);
        let leader = world.leader(1).unwrap();
        let node = world.nodes.get_mut(&leader).unwrap();
        node.crash(0);
        node.restart(seed);
        world.run_until(world.now + 3_000);
        assert!(world.leader(1).is_some(), "seed {seed}");
        holds(&world);
    }
}

#[test]
fn leadership_is_handed_over_within_100_ms() {
    let mut world = calm(1, 5);
    let leader = world.leader(1).unwrap();
    let heir = if leader == 3 { 2 } else { 3 };
    world.with_node(leader, |node, _| {
        node.members.get_mut(&1).unwrap().group.transfer_to(heir);
    });
    world.run_until(world.now + 100);
    assert_eq!(world.leader(1), Some(heir));
    holds(&world);
}

#[test]
fn a_new_node_learns_who_belongs_to_the_group_before_anything_else() {
    let mut world = calm(1, 6);
    world.replace(3);
    world.at(1, Event::Tend);
    world.run_until(world.now + 1_000);
    for node in world.nodes.values().filter(|node| node.id != 3) {
        let members = &node.members[&1].state.membership;
        assert_eq!(members.voters, [1, 2, 4], "node {}", node.id);
    }
    holds(&world);
}

#[test]
fn a_member_that_breaks_says_so_and_is_succeeded() {
    let mut world = calm(1, 7);
    world.run_until(9_000);
    let leader = world.leader(1).unwrap();
    let node = world.nodes.get_mut(&leader).unwrap();
    let group = &mut node.members.get_mut(&1).unwrap().group;
    // The engine gives up on an entry that is applied before it is there.
    group.call(|engine| engine.advance_apply_to(1_000_000));
    assert!(group.broken().is_some());
    let last = group.ready().unwrap();
    assert_eq!(last.role.unwrap().leader, None);
    assert!(group.ready().is_none());
    assert!(group.propose("late".into()).is_err());
    node.members.clear();
    for (to, message) in last.messages {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        world.send(leader, (to, 1, super::What::Consensus(bytes)));
    }
    world.run_until(world.now + 300);
    assert!(world.leader(1).is_some_and(|new| new != leader));
    holds(&world);
}

#[test]
fn what_was_committed_while_a_state_came_is_handed_out_once_more() {
    let mut world = calm(1, 8);
    let leader = world.leader(1).unwrap();
    for _ in 0..8 {
        world.publish_to(1);
        world.run_until(world.now + 30);
    }
    let last = world.truth.last(1);
    let follower = if leader == 1 { 2 } else { 1 };
    let node = world.nodes.get_mut(&follower).unwrap();
    node.crash(0);
    node.restart(9);
    let member = node.members.get_mut(&1).unwrap();
    let (base, term) = (member.state.index, member.group.status().term);
    let membership = member.state.membership.clone();
    let mut handed = Vec::new();
    while let Some(ready) = member.group.ready() {
        // Nobody applies it.
        handed.extend(ready.committed);
        member.group.persisted(ready.number);
    }
    assert!(handed.len() >= 3 && handed.first().unwrap().index == base + 1);
    let index = handed[1].index;
    member.group.restored(index, term, &membership);
    let again = member.group.ready().unwrap().committed;
    assert_eq!(again, handed[2..]);
    assert!(again.iter().all(|entry| entry.kind == EntryKind::Data));
    assert!(again.last().unwrap().index <= last);
}
