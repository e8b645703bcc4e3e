//! What groups cost to which nothing happens.

use jetwake_protocol::jetstream::json::{Rules, from_json};
use jetwake_storage::FaultDisk;

use super::node::settings;
use crate::jetstream::io::Event;
use crate::jetstream::replica::create::NewReplica;
use crate::jetstream::tests::rig::{Rig, START};

const GROUPS: u64 = 1000;

fn exchange(rigs: &mut [Rig]) -> usize {
    let mut count = 0;
    loop {
        let mut frames = Vec::new();
        for (at, rig) in rigs.iter_mut().enumerate() {
            rig.settle();
            let out = rig.out.frames.drain(..);
            frames.extend(out.map(|(to, frame)| (at as u64 + 1, to, frame)));
        }
        if frames.is_empty() {
            return count;
        }
        count += frames.len();
        for (from, to, frame) in frames {
            let frame = &frame.into();
            rigs[to as usize - 1].handle(Event::Peer { from, frame });
        }
    }
}

/// Passes seconds; the frames that were sent.
fn pass(rigs: &mut [Rig], seconds: i64) -> usize {
    let mut count = 0;
    for _ in 0..seconds * 10 {
        for rig in rigs.iter_mut() {
            rig.now += 100_000_000;
            if rig.core.deadline().is_some_and(|due| due <= rig.now) {
                rig.handle(Event::Tick);
            }
        }
        count += exchange(rigs);
    }
    count
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|one| one.parse().ok());
    pages.unwrap_or(0) * 4096
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn a_thousand_groups_that_rest_say_nothing() {
    let open = |node| Rig::open_with(FaultDisk::new(), settings(node, 3), START, node);
    let mut rigs: Vec<Rig> = (1..=3).map(open).collect();
    let before = resident();
    for group in 0..GROUPS {
        let config = format!(r#"{{"name":"G{group}","subjects":["g{group}"],"num_replicas":3}}"#);
        for rig in &mut rigs {
            let config = from_json(config.as_bytes(), "server.StreamConfig", Rules::Lenient);
            let new = NewReplica {
                group: 1000 + group,
                account: 0,
                config: config.unwrap(),
                created: START,
                voters: vec![1, 2, 3],
            };
            let (now, out) = (rig.now, &mut rig.out);
            rig.core.core_mut().create_replica(new, now, out).unwrap();
        }
    }
    let started = std::time::Instant::now();
    pass(&mut rigs, 15);
    let awake = started.elapsed();
    let started = std::time::Instant::now();
    let frames = pass(&mut rigs, 60);
    println!(
        "15 s with elections {awake:?}, 60 s asleep {:?}, {} bytes each",
        started.elapsed(),
        resident().saturating_sub(before) / GROUPS as usize / 3
    );
    assert_eq!(frames, 0);
    for rig in &mut rigs {
        let core = rig.core.core_mut();
        assert_eq!(core.log.replicas.next_tick, None);
    }
}
