//! Push: interest, heartbeats, flow control.

use super::rig::*;
use jetwake_protocol::jetstream::consumer::AckPolicy;

const NONE: [&str; 0] = [];

#[test]
fn nothing_leaves_without_interest() {
    let mut config = push();
    config.heartbeat = 100 * MS;
    let mut rig = Rig::new(config, &["q", "q"]);
    rig.pass(S);
    assert_eq!(rig.take(), NONE);
    assert!(!rig.info().push_bound);
    rig.interest(true);
    assert_eq!(rig.take(), ["d<1#1", "d<2#1"]);
    assert!(rig.info().push_bound);
    rig.interest(false);
    rig.publish("q");
    rig.pass(S);
    assert_eq!(rig.take(), NONE);
    assert_eq!(rig.out.watched, [("d".to_owned(), None)]);
}

#[test]
fn expired_messages_wait_for_interest_and_go_first() {
    let mut config = push();
    config.ack_policy = AckPolicy::Explicit;
    config.ack_wait = S;
    let mut rig = Rig::new(config, &["q"]);
    rig.interest(true);
    rig.interest(false);
    rig.pass(2 * S);
    rig.publish("q");
    rig.take();
    rig.interest(true);
    assert_eq!(rig.take(), ["d<1#2", "d<2#1"]);
}

#[test]
fn a_failed_hand_over_ends_the_activity() {
    let mut config = push();
    config.ack_policy = AckPolicy::Explicit;
    let mut rig = Rig::new(config, &[]);
    rig.interest(true);
    rig.out.absent.insert("d".into());
    rig.publish("q");
    assert_eq!(rig.positions()[0], (0, 0));
    assert!(!rig.info().push_bound);
    rig.out.absent.clear();
    rig.interest(true);
    assert_eq!(rig.take(), ["d<1#1"]);
}

#[test]
fn heartbeats_come_after_silence_and_tell_the_last_sequences() {
    let mut config = push();
    config.heartbeat = 100 * MS;
    config.filter_subject = "q".into();
    let mut rig = Rig::new(config, &["q", "other"]);
    rig.interest(true);
    rig.take();
    rig.pass(60 * MS);
    rig.publish("q");
    rig.publish("other");
    rig.take();
    rig.pass(250 * MS);
    // A message that does not match wakes nobody: the consumer looks at it when it sends a heartbeat anyway.
    let beat =
        |last| format!("d!100 Idle Heartbeat Nats-Last-Consumer: 2 Nats-Last-Stream: {last}");
    let at: Vec<i64> = rig
        .out
        .sent
        .iter()
        .map(|sent| (sent.at - START) / MS)
        .collect();
    assert_eq!(at, [160, 260]);
    assert!(rig.out.sent.iter().all(|sent| sent.reply.is_empty()));
    assert_eq!(rig.take(), [beat(3), beat(4)]);
}

#[test]
fn flow_control_stalls_and_opens() {
    let mut config = push();
    config.flow_control = true;
    config.heartbeat = S;
    let mut messages = jetwake_storage::MemoryMessages::new();
    let payload = vec![b'x'; 64 << 10];
    for _ in 0..100 {
        store(&mut messages, START, "q", &payload);
    }
    let mut rig = Rig::on(config, messages);
    rig.interest(true);
    let sent = rig.out.sent.len();
    let request = rig.out.sent[16].clone();
    assert_eq!(
        (sent, request.headers.as_str()),
        (33, "NATS/1.0 100 FlowControl Request\r\n\r\n")
    );
    assert!(request.reply.starts_with("$JS.FC.Q.a."));
    rig.take();
    rig.pass(S);
    let subject = &request.reply;
    assert_eq!(
        rig.out.sent[0].headers,
        format!(
            "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 32\r\nNats-Last-Stream: 32\r\n\
             Nats-Consumer-Stalled: {subject}\r\n\r\n"
        )
    );
    rig.take();
    rig.answer_flow_control("$JS.FC.Q.a.old0");
    assert_eq!(rig.take(), NONE);
    rig.answer_flow_control(&request.reply);
    let messages = rig
        .out
        .sent
        .iter()
        .filter(|sent| delivery(sent).is_some())
        .count();
    assert_eq!(messages, 48);
}

#[test]
fn an_ordered_consumer_sees_every_sequence_once() {
    let mut config = push();
    config.flow_control = true;
    config.heartbeat = 5 * S;
    config.max_deliver = 1;
    config.ack_wait = 79_200 * S;
    let mut rig = Rig::new(config, &["q"; 50]);
    rig.interest(true);
    for _ in 0..50 {
        rig.publish("q");
    }
    let seen: Vec<[u64; 5]> = rig.out.sent.iter().filter_map(delivery).collect();
    for (index, [deliveries, seq, consumer_seq, _, pending]) in seen.iter().enumerate() {
        let number = index as u64 + 1;
        let left = 50_u64.saturating_sub(number);
        assert_eq!(
            [*deliveries, *seq, *consumer_seq, *pending],
            [1, number, number, left]
        );
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn a_new_deliver_subject_gets_everything_pending() {
    let mut config = push();
    config.ack_policy = AckPolicy::Explicit;
    config.ack_wait = 30 * S;
    let mut rig = Rig::new(config, &["q", "q"]);
    rig.interest(true);
    rig.take();
    rig.update(|config| config.deliver_subject = "e".into());
    assert_eq!(rig.out.watched, [("e".to_owned(), None)]);
    assert_eq!(rig.take(), NONE);
    rig.interest(true);
    assert_eq!(rig.take(), ["e<1#2", "e<2#2"]);
}

#[test]
fn a_new_subscriber_starts_with_an_open_window() {
    let mut config = push();
    config.flow_control = true;
    config.heartbeat = 100 * S;
    let mut messages = jetwake_storage::MemoryMessages::new();
    for _ in 0..80 {
        store(&mut messages, START, "q", &vec![b'x'; 64 << 10]);
    }
    let mut rig = Rig::on(config, messages);
    rig.interest(true);
    assert_eq!(rig.take().len(), 33);
    rig.interest(false);
    rig.interest(true);
    assert_eq!(rig.take().len(), 33);
}
