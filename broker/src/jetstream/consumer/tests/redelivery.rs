//! When messages come again, and when they do not.

use super::rig::*;

const NONE: [&str; 0] = [];

/// When each delivery of message `seq` happened, in milliseconds since the start.
fn times(rig: &Rig, seq: u64) -> Vec<i64> {
    let of = |sent: &&Sent| delivery(sent).is_some_and(|parts| parts[1] == seq);
    rig.out
        .sent
        .iter()
        .filter(of)
        .map(|sent| (sent.at - START) / MS)
        .collect()
}

#[test]
fn a_message_comes_again_after_the_ack_wait() {
    let mut config = pull();
    config.ack_wait = 400 * MS;
    let mut rig = Rig::new(config, &["q", "q"]);
    rig.next("r", "10");
    rig.say(2, "");
    rig.pass(S);
    assert_eq!(times(&rig, 1), [0, 400, 800]);
    assert_eq!(times(&rig, 2), [0]);
    let parts = delivery(rig.out.sent.last().unwrap()).unwrap();
    assert_eq!(parts[..3], [3, 1, 4]);
}

#[test]
fn backoff_sets_the_waits_and_its_last_repeats() {
    let mut config = pull();
    config.backoff = vec![200 * MS, 500 * MS, S];
    config.ack_wait = 200 * MS;
    let mut rig = Rig::new(config, &["q"]);
    rig.next("r", "10");
    rig.pass(3 * S);
    assert_eq!(times(&rig, 1), [0, 200, 700, 1700, 2700]);
}

#[test]
fn a_nak_asks_for_it_now_and_in_its_order() {
    let mut rig = Rig::new(pull(), &["q"; 4]);
    rig.next("r", "4");
    let (four, two) = (rig.ack_subject_of(4), rig.ack_subject_of(2));
    rig.ack_subject(&four, "", "-NAK");
    rig.ack_subject(&two, "", "-NAK");
    rig.take();
    rig.next("r", "4");
    assert_eq!(rig.take(), ["r<4#2", "r<2#2"]);
}

#[test]
fn a_nak_with_a_delay_of_nothing_lets_others_go_first() {
    for nak in ["-NAK {}", "-NAK {\"delay\":-1}", "-NAK 0s"] {
        let mut rig = Rig::new(pull(), &["q"]);
        rig.next("r", "10");
        rig.say(1, nak);
        rig.pass(S);
        assert_eq!(times(&rig, 1), [0, 10], "{nak}");
    }
}

#[test]
fn a_delayed_nak_is_exact_even_with_backoff() {
    let mut config = pull();
    config.backoff = vec![200 * MS, 2 * S];
    let mut rig = Rig::new(config, &["q"]);
    rig.next("r", "10");
    rig.pass(200 * MS);
    rig.say(1, "-NAK 300ms");
    rig.pass(S);
    assert_eq!(times(&rig, 1), [0, 200, 500]);
}

#[test]
fn a_nak_of_something_not_pending_is_ignored() {
    let mut rig = Rig::new(pull(), &["q"]);
    rig.next("r", "10");
    let subject = rig.ack_subject_of(1);
    rig.ack_subject(&subject, "", "");
    rig.take();
    rig.ack_subject(&subject, "", "-NAK");
    assert_eq!(rig.take(), NONE);
}

#[test]
fn progress_restarts_the_wait() {
    let mut config = pull();
    config.ack_wait = 400 * MS;
    let mut rig = Rig::new(config, &["q"]);
    rig.next("r", "10");
    rig.pass(300 * MS);
    rig.say(1, "+WPI");
    rig.pass(S);
    assert_eq!(times(&rig, 1), [0, 700, 1100]);
}

#[test]
fn expired_messages_queue_in_stream_order_and_go_first() {
    let mut config = pull();
    config.ack_wait = 400 * MS;
    let mut rig = Rig::new(config, &["q"; 5]);
    rig.next("r", "2");
    rig.say(2, "+WPI");
    rig.pass(S);
    rig.take();
    let info = rig.info();
    assert_eq!((info.num_ack_pending, info.num_pending), (2, 3));
    rig.next("r", "4");
    assert_eq!(rig.take(), ["r<1#2", "r<2#2", "r<3#1", "r<4#1"]);
    assert_eq!(rig.info().num_redelivered, 2);
}

#[test]
fn repeats_ignore_max_ack_pending() {
    let mut config = pull();
    config.max_ack_pending = 1;
    let mut rig = Rig::new(config, &["q", "q"]);
    rig.next("r", "10");
    rig.say(1, "-NAK");
    assert_eq!(rig.take(), ["r<1#1", "r<1#2"]);
}

#[test]
fn giving_up_happens_at_the_deadline() {
    for max_deliver in [1, 2] {
        let mut config = pull();
        config.max_deliver = max_deliver;
        config.ack_wait = 100 * MS;
        let mut rig = Rig::new(config, &["q", "q"]);
        rig.out.advisories = true;
        rig.next("r", &max_deliver.to_string());
        if max_deliver == 2 {
            rig.say(2, "");
            rig.next("r", "1");
        }
        rig.pass(S);
        let seq = rig
            .out
            .sent
            .iter()
            .position(|sent| sent.subject.contains("MAX_DELIVERIES"));
        let advisory = &rig.out.sent[seq.unwrap()];
        assert_eq!(advisory.at, START + max_deliver * 100 * MS);
        let body = String::from_utf8(advisory.payload.clone()).unwrap();
        assert!(
            body.contains(&format!(r#""stream_seq":1,"deliveries":{max_deliver}}}"#)),
            "{body}"
        );
        let info = rig.info();
        let redelivered = u64::from(max_deliver == 2);
        assert_eq!(
            (info.num_ack_pending, info.num_redelivered),
            (0, redelivered)
        );
        assert_eq!(info.ack_floor.stream_seq, max_deliver as u64);
        // It stays in the stream until a late ack.
        let key = jetwake_storage::MessageStore::meta(&rig.messages, 1)
            .unwrap()
            .key;
        assert!(rig.consumer.needs(1, key, &rig.messages));
        rig.released.clear();
        rig.say(1, "");
        assert_eq!(rig.released, [1]);
        assert!(!rig.consumer.needs(1, key, &rig.messages));
    }
}

#[test]
fn a_nak_of_the_last_attempt_gives_up() {
    let mut config = pull();
    config.max_deliver = 2;
    let mut rig = Rig::new(config, &["q"]);
    rig.next("r", "10");
    rig.say(1, "-NAK");
    rig.say(1, "-NAK");
    assert_eq!(rig.take(), ["r<1#1", "r<1#2"]);
    assert_eq!(rig.info().num_ack_pending, 0);
}

#[test]
fn a_lower_max_deliver_gives_up_what_has_had_enough() {
    let mut config = pull();
    config.ack_wait = 100 * MS;
    let mut rig = Rig::new(config, &["q"]);
    rig.next("r", "10");
    rig.pass(250 * MS);
    rig.update(|config| config.max_deliver = 2);
    rig.pass(S);
    assert_eq!(rig.take(), ["r<1#1", "r<1#2", "r<1#3"]);
    assert_eq!(rig.info().num_ack_pending, 0);
}

#[test]
fn a_new_ack_wait_counts_from_the_last_delivery() {
    let mut rig = Rig::new(pull(), &["q"]);
    rig.next("r", "10");
    rig.pass(S);
    rig.update(|config| config.ack_wait = 1500 * MS);
    rig.pass(S);
    assert_eq!(times(&rig, 1), [0, 1500]);
}
