//! Where a consumer starts, and the number of messages that clients wait for.

use jetwake_protocol::jetstream::consumer::{ConsumerConfig, DeliverPolicy};
use jetwake_protocol::jetstream::time::Time;
use jetwake_storage::{MemoryMessages, MessageStore};

use super::rig::*;

fn policy(policy: DeliverPolicy, filters: &[&str]) -> ConsumerConfig {
    let mut config = pull();
    config.deliver_policy = policy;
    config.filter_subjects = filters.iter().map(ToString::to_string).collect();
    config
}

/// The sequences that a consumer delivers of what is there, and its pending count before.
fn delivers(config: ConsumerConfig, subjects: &[&str]) -> (u64, Vec<u64>) {
    let mut rig = Rig::new(config, subjects);
    let pending = rig.info().num_pending;
    rig.next("r", "100");
    let parts: Vec<[u64; 5]> = rig.out.sent.iter().filter_map(delivery).collect();
    for (index, [.., left]) in parts.iter().enumerate() {
        assert_eq!(*left, pending - index as u64 - 1);
    }
    (pending, parts.iter().map(|parts| parts[1]).collect())
}

const SEVEN: [&str; 7] = ["a", "b", "a", "c", "b", "d", "a"];

#[test]
fn all_and_last_and_new() {
    assert_eq!(
        delivers(policy(DeliverPolicy::All, &[]), &SEVEN).1,
        [1, 2, 3, 4, 5, 6, 7]
    );
    assert_eq!(
        delivers(policy(DeliverPolicy::All, &["a", "c"]), &SEVEN),
        (4, vec![1, 3, 4, 7])
    );
    assert_eq!(
        delivers(policy(DeliverPolicy::Last, &[]), &SEVEN),
        (1, vec![7])
    );
    assert_eq!(
        delivers(policy(DeliverPolicy::Last, &["b", "c"]), &SEVEN),
        (1, vec![5])
    );
    assert_eq!(
        delivers(policy(DeliverPolicy::Last, &["x"]), &SEVEN),
        (0, vec![])
    );
    assert_eq!(
        delivers(policy(DeliverPolicy::New, &[]), &SEVEN),
        (0, vec![])
    );
    let mut rig = Rig::new(policy(DeliverPolicy::Last, &[]), &SEVEN);
    assert_eq!(rig.positions(), [(0, 6), (0, 6)]);
}

#[test]
fn by_sequence_and_by_time() {
    let mut config = policy(DeliverPolicy::ByStartSequence, &[]);
    config.opt_start_seq = 6;
    assert_eq!(delivers(config.clone(), &SEVEN), (2, vec![6, 7]));
    config.opt_start_seq = 20;
    let mut rig = Rig::new(config, &SEVEN);
    assert_eq!((rig.positions()[0], rig.info().num_pending), ((0, 19), 0));

    let mut messages = MemoryMessages::new();
    for second in 1..=5 {
        store(&mut messages, second * S, "q", b"");
    }
    let mut config = policy(DeliverPolicy::ByStartTime, &[]);
    config.opt_start_time = Some(Time::from_nanos(4 * S));
    let mut rig = Rig::on(config, messages);
    assert_eq!((rig.positions()[0], rig.info().num_pending), ((0, 3), 2));
}

#[test]
fn last_per_subject() {
    assert_eq!(
        delivers(policy(DeliverPolicy::LastPerSubject, &[">"]), &SEVEN).1,
        [4, 5, 6, 7]
    );
    let config = policy(DeliverPolicy::LastPerSubject, &["a", "b"]);
    assert_eq!(delivers(config.clone(), &SEVEN), (2, vec![5, 7]));
    assert_eq!(delivers(config.clone(), &["x", "y"]), (0, vec![]));

    // After the snapshot every message counts; a superseded member is still delivered.
    let mut rig = Rig::new(config, &SEVEN);
    rig.publish("b");
    rig.publish("c");
    assert_eq!(rig.info().num_pending, 3);
    rig.next("r", "10");
    assert_eq!(rig.take(), ["r<5#1", "r<7#1", "r<8#1"]);
    rig.publish("b");
    rig.publish("b");
    assert_eq!(rig.take(), ["r<10#1", "r<11#1"]);
}

#[test]
fn a_deleted_snapshot_member_is_skipped() {
    let mut rig = Rig::new(policy(DeliverPolicy::LastPerSubject, &["a", "b"]), &SEVEN);
    rig.remove(5, crate::jetstream::consumer::Removal::Deleted);
    assert_eq!(rig.info().num_pending, 1);
    rig.remove(3, crate::jetstream::consumer::Removal::Limit);
    assert_eq!(rig.info().num_pending, 1);
    rig.next("r", "10");
    assert_eq!(rig.take(), ["r<7#1"]);
    assert_eq!(rig.info().num_pending, 0);
}

#[test]
fn an_empty_stream_starts_at_one_and_a_purged_one_behind_its_end() {
    let mut rig = Rig::new(pull(), &[]);
    assert_eq!(rig.positions(), [(0, 0), (0, 0)]);
    let mut messages = MemoryMessages::new();
    for _ in 0..3 {
        store(&mut messages, START, "q", b"");
    }
    messages.remove_front(4, &mut |_, _| ());
    for one in [DeliverPolicy::All, DeliverPolicy::New] {
        let mut purged = MemoryMessages::new();
        for _ in 0..3 {
            store(&mut purged, START, "q", b"");
        }
        purged.remove_front(4, &mut |_, _| ());
        let mut rig = Rig::on(policy(one, &[]), purged);
        assert_eq!(rig.positions()[0], (0, 3));
    }
}

#[test]
fn overlapping_filters_deliver_once() {
    let config = policy(DeliverPolicy::All, &["s.*.b", "s.a.*"]);
    assert_eq!(
        delivers(config, &["s.a.b", "s.x.b", "s.a.y", "t"]),
        (3, vec![1, 2, 3])
    );
}

#[test]
fn a_new_filter_goes_on_at_the_next_sequence() {
    let mut rig = Rig::new(policy(DeliverPolicy::All, &["a"]), &SEVEN);
    rig.next("r", "2");
    rig.update(|config| config.filter_subjects = vec!["b".into()]);
    assert_eq!(rig.info().num_pending, 1);
    rig.next("r", "5");
    rig.say(1, "-NAK");
    assert_eq!(rig.take()[2..], ["r<5#1", "r<1#2"]);
}
