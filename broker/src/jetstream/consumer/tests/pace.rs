//! Pause, rate limit, original tempo, and moving a consumer.

use jetwake_protocol::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use jetwake_storage::MemoryMessages;

use super::rig::*;
use crate::jetstream::consumer::ResetError;
use crate::jetstream::consumer::ctx::Ctx;

const NONE: [&str; 0] = [];

#[test]
fn a_pause_holds_new_messages_and_repeats_but_not_acks() {
    let mut config = pull();
    config.ack_wait = S;
    let mut rig = Rig::new(config, &["q", "q"]);
    rig.next("r", "1");
    rig.consumer.pause(ctx!(rig), Some(rig.now + 5 * S));
    rig.take();
    rig.next("r", "{\"no_wait\":true}");
    assert_eq!(rig.take(), ["r!404 No Messages"]);
    rig.next("r", "{\"batch\":5,\"expires\":20000000000}");
    rig.pass(4 * S);
    assert_eq!(rig.take(), NONE);
    let info = rig.info();
    assert_eq!(
        (info.paused, info.pause_remaining, info.num_waiting),
        (true, S, 1)
    );
    rig.pass(S);
    assert_eq!(rig.take(), ["r<1#2", "r<2#1"]);
    assert!(!rig.info().paused);
}

#[test]
fn a_pause_can_be_ended_and_an_update_does_not_end_it() {
    let mut rig = Rig::new(pull(), &["q"]);
    rig.consumer.pause(ctx!(rig), Some(rig.now + 5 * S));
    rig.update(|config| config.pause_until = None);
    rig.next("r", "1");
    assert_eq!(rig.take(), NONE);
    rig.consumer.pause(ctx!(rig), None);
    rig.pump();
    assert_eq!(rig.take(), ["r<1#1"]);
    assert_eq!(rig.consumer.config().pause_until, None);
}

#[test]
fn the_rate_limit_spreads_deliveries() {
    let mut config = push();
    // 1 MiB at once, then 1 MiB a second.
    config.rate_limit = 8 << 20;
    let mut messages = MemoryMessages::new();
    for _ in 0..40 {
        store(&mut messages, START, "q", &vec![0; 128 << 10]);
    }
    let mut rig = Rig::on(config, messages);
    rig.interest(true);
    assert!(
        (8..=9).contains(&rig.out.sent.len()),
        "{}",
        rig.out.sent.len()
    );
    rig.pass(S);
    assert!(
        (15..=18).contains(&rig.out.sent.len()),
        "{}",
        rig.out.sent.len()
    );
    rig.pass(10 * S);
    assert_eq!(rig.out.sent.len(), 40);
}

#[test]
fn the_original_tempo_is_kept_up_to_what_was_there() {
    let mut config = push();
    config.replay_policy = ReplayPolicy::Original;
    let mut messages = MemoryMessages::new();
    for at in [0, 100, 100, 400] {
        store(&mut messages, START - S + at * MS, "q", b"");
    }
    let mut rig = Rig::on(config, messages);
    rig.interest(true);
    rig.pass(S);
    rig.publish("q");
    rig.publish("q");
    let at: Vec<i64> = rig
        .out
        .sent
        .iter()
        .map(|sent| (sent.at - START) / MS)
        .collect();
    assert_eq!(at, [0, 100, 100, 400, 1000, 1000]);
}

#[test]
fn a_reset_starts_over_behind_the_floor_or_where_it_is_told() {
    let mut rig = Rig::new(pull(), &["q"; 5]);
    rig.next("r", "4");
    rig.say(1, "");
    rig.say(3, "");
    rig.take();
    assert_eq!(rig.consumer.reset(ctx!(rig), 0), Ok(2));
    assert_eq!(rig.positions(), [(0, 1), (0, 1)]);
    let info = rig.info();
    assert_eq!((info.num_pending, info.num_ack_pending), (4, 0));
    rig.next("r", "2");
    assert_eq!(rig.take(), ["r<2#1", "r<3#1"]);
    assert_eq!(rig.consumer.reset(ctx!(rig), 50), Ok(50));
    assert_eq!(rig.info().num_pending, 0);
}

#[test]
fn a_reset_respects_the_deliver_policy() {
    let mut config = pull();
    config.deliver_policy = DeliverPolicy::ByStartSequence;
    config.opt_start_seq = 3;
    let mut rig = Rig::new(config, &["q"; 5]);
    assert_eq!(
        rig.consumer.reset(ctx!(rig), 2),
        Err(ResetError::BelowStartSequence)
    );
    assert_eq!(rig.consumer.reset(ctx!(rig), 3), Ok(3));
    let mut config = pull();
    config.deliver_policy = DeliverPolicy::New;
    let mut rig = Rig::new(config, &["q"; 5]);
    assert_eq!(
        rig.consumer.reset(ctx!(rig), 2),
        Err(ResetError::NotAllowed)
    );
    assert_eq!(rig.consumer.reset(ctx!(rig), 0), Ok(6));
}
