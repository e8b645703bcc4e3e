//! Pull requests: admission, dealing, statuses, the no_wait matrix.

use super::rig::*;
use crate::jetstream::consumer::Close;
use crate::jetstream::consumer::ctx::Ctx;

const NONE: [&str; 0] = [];

fn json(body: &str) -> String {
    body.replace('\'', "\"")
}

#[test]
fn messages_are_dealt_one_by_one() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next("r1", "3");
    rig.next("r2", "3");
    rig.next("r3", "1");
    for _ in 0..6 {
        rig.publish("q");
    }
    let expected = ["r1<1#1", "r2<2#1", "r3<3#1", "r1<4#1", "r2<5#1", "r1<6#1"];
    assert_eq!(rig.take(), expected);
    assert_eq!(rig.info().num_waiting, 1);
}

#[test]
fn a_delivery_shows_everything_in_its_ack_subject() {
    let mut rig = Rig::new(pull(), &["q.a", "q.b"]);
    rig.next("r", "1");
    let sent = &rig.out.sent[0];
    assert_eq!((sent.route.as_str(), sent.subject.as_str()), ("r", "q.a"));
    assert_eq!(sent.reply, format!("$JS.ACK.Q.a.1.1.1.{START}.1"));
}

#[test]
fn the_byte_budget_is_exact() {
    let mut messages = jetwake_storage::MemoryMessages::new();
    for _ in 0..3 {
        store(&mut messages, START, "q.x0", b"0123456789");
    }
    // Each: 4 + 39 + 10 bytes.
    let mut rig = Rig::on(pull(), messages);
    rig.next(
        "r",
        &json("{'batch':10,'max_bytes':150,'expires':1000000000}"),
    );
    let too_large =
        "r!409 Message Size Exceeds MaxBytes Nats-Pending-Messages: 8 Nats-Pending-Bytes: 44";
    assert_eq!(rig.take(), ["r<1#1", "r<2#1", too_large]);
    assert_eq!(rig.info().num_waiting, 0);
    assert_eq!(rig.info().num_pending, 1);
}

#[test]
fn a_completed_batch_with_bytes_left_says_so() {
    let mut messages = jetwake_storage::MemoryMessages::new();
    for _ in 0..3 {
        store(&mut messages, START, "q.x0", b"0123456789");
    }
    let mut rig = Rig::on(pull(), messages);
    rig.next("r", &json("{'batch':2,'max_bytes':1000}"));
    let completed = "r!409 Batch Completed Nats-Pending-Messages: 0 Nats-Pending-Bytes: 894";
    assert_eq!(rig.take(), ["r<1#1", "r<2#1", completed]);
    // A budget that fits exactly ends in silence.
    rig.next("r", &json("{'batch':2,'max_bytes':53}"));
    assert_eq!(rig.take(), ["r<3#1"]);
    assert_eq!(rig.info().num_waiting, 0);
}

#[test]
fn a_message_too_large_for_one_request_goes_to_the_next() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next("r1", &json("{'batch':5,'max_bytes':10}"));
    rig.next("r2", "1");
    rig.publish("q");
    let too_large =
        "r1!409 Message Size Exceeds MaxBytes Nats-Pending-Messages: 5 Nats-Pending-Bytes: 10";
    assert_eq!(rig.take(), [too_large, "r2<1#1"]);
}

#[test]
fn headers_only_leaves_the_payload_behind() {
    let mut messages = jetwake_storage::MemoryMessages::new();
    store(&mut messages, START, "q", b"12345");
    let mut config = pull();
    config.headers_only = true;
    let mut rig = Rig::on(config, messages);
    rig.next("r", "1");
    assert_eq!(
        rig.out.sent[0].headers,
        "NATS/1.0\r\nNats-Msg-Size: 5\r\n\r\n"
    );
    assert!(rig.out.sent[0].payload.is_empty());
}

#[test]
fn requests_beyond_the_limits_are_refused() {
    let mut config = pull();
    config.max_request_batch = 10;
    config.max_request_expires = S;
    config.max_request_max_bytes = 1000;
    let mut rig = Rig::new(config, &[]);
    for (body, answer) in [
        ("11", "409 Exceeded MaxRequestBatch of 10"),
        (
            "{'batch':1,'expires':1000000001}",
            "409 Exceeded MaxRequestExpires of 1s",
        ),
        (
            "{'max_bytes':1001}",
            "409 Exceeded MaxRequestMaxBytes of 1000",
        ),
        (
            "{'min_pending':5}",
            "400 Bad Request - Not a Overflow Priority consumer",
        ),
        (
            "{'id':'x'}",
            "400 Bad Request - Not a Pinned Client Priority consumer",
        ),
        (
            "{'priority':10}",
            "400 Bad Request - Priority must be between 0 and 9",
        ),
        (
            "{'idle_heartbeat':1}",
            "400 Bad Request - heartbeat value too large",
        ),
        (
            "{bad",
            "400 Bad Request - invalid character 'b' looking for beginning of object key string",
        ),
    ] {
        // The complaint about JSON quotes the offending letter.
        let body = if body == "{bad" {
            body.to_owned()
        } else {
            json(body)
        };
        rig.next("r", &body);
        assert_eq!(rig.take(), [format!("r!{answer}")], "{body}");
    }
    rig.next("", "1");
    assert_eq!(rig.take(), NONE);
    assert_eq!(rig.info().num_waiting, 0);
}

#[test]
fn a_push_consumer_cannot_be_pulled_from() {
    let mut rig = Rig::new(push(), &["q"]);
    rig.next("r", "1");
    assert_eq!(rig.take(), ["r!409 Consumer is push based"]);
}

#[test]
fn no_wait_without_messages() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next("r", &json("{'no_wait':true}"));
    assert_eq!(rig.take(), ["r!404 No Messages"]);
    rig.next("r", &json("{'no_wait':true,'expires':1000000000}"));
    assert_eq!(rig.take(), NONE);
    rig.pass(2 * S);
    let timeout = "r!408 Request Timeout Nats-Pending-Messages: 0 Nats-Pending-Bytes: 0";
    assert_eq!(rig.take(), [timeout]);
}

#[test]
fn no_wait_waits_for_the_first_message_if_it_has_time() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next(
        "r",
        &json("{'batch':5,'no_wait':true,'expires':1000000000}"),
    );
    rig.publish("q");
    assert_eq!(rig.take(), ["r<1#1", "r!404 No Messages"]);
}

#[test]
fn no_wait_with_some_messages_ends_at_the_end() {
    for body in [
        "{'batch':3,'no_wait':true}",
        "{'batch':3,'no_wait':true,'expires':1000000000}",
    ] {
        let mut rig = Rig::new(pull(), &["q", "q"]);
        rig.next("r", &json(body));
        assert_eq!(rig.take(), ["r<1#1", "r<2#1", "r!404 No Messages"]);
        let mut rig = Rig::new(pull(), &["q", "q", "q"]);
        rig.next("r", &json(body));
        assert_eq!(rig.take(), ["r<1#1", "r<2#1", "r<3#1"]);
    }
}

#[test]
fn no_wait_is_refused_when_others_want_everything() {
    let mut rig = Rig::new(pull(), &["q", "q"]);
    rig.next_quietly("r1", "3");
    rig.next_quietly("r2", &json("{'no_wait':true}"));
    assert_eq!(rig.take(), ["r2!408 Requests Pending"]);
}

#[test]
fn no_wait_at_max_ack_pending_is_not_answered() {
    let mut config = pull();
    config.max_ack_pending = 1;
    let mut rig = Rig::new(config, &["q", "q"]);
    rig.next("r", "1");
    rig.next("r", &json("{'no_wait':true}"));
    assert_eq!(rig.take(), ["r<1#1"]);
    rig.pass(S);
    assert_eq!(rig.info().num_waiting, 1);
    rig.ack_subject(&format!("$JS.ACK.Q.a.1.1.1.{START}.1"), "", "");
    assert_eq!(rig.take(), ["r<2#1"]);
}

#[test]
fn acks_make_room_for_a_stalled_request() {
    let mut config = pull();
    config.max_ack_pending = 2;
    let mut rig = Rig::new(config, &["q", "q", "q"]);
    rig.next("r", "3");
    let first = rig.ack_subject_of(1);
    assert_eq!(rig.take(), ["r<1#1", "r<2#1"]);
    rig.ack_subject(&first, "", "");
    assert_eq!(rig.take(), ["r<3#1"]);
}

#[test]
fn requests_expire_with_what_is_left() {
    let mut rig = Rig::new(pull(), &["q"]);
    rig.next(
        "r",
        &json("{'batch':5,'max_bytes':1000,'expires':500000000}"),
    );
    let used = (1 + rig.ack_subject_of(1).len()) as i64;
    rig.take();
    rig.pass(499 * MS);
    assert_eq!(rig.take(), NONE);
    rig.pass(MS);
    let left = 1000 - used;
    assert_eq!(
        rig.take(),
        [format!(
            "r!408 Request Timeout Nats-Pending-Messages: 4 Nats-Pending-Bytes: {left}"
        )]
    );
    assert_eq!(rig.info().num_waiting, 0);
    rig.next("r", &json("{'expires':-1}"));
    assert_eq!(rig.info().num_waiting, 0);
}

#[test]
fn heartbeats_fill_the_silence() {
    let mut rig = Rig::new(pull(), &["q", "q"]);
    rig.next(
        "r",
        &json("{'batch':3,'expires':500000000,'idle_heartbeat':100000000}"),
    );
    rig.take();
    rig.pass(500 * MS);
    let beat = "r!100 Idle Heartbeat Nats-Last-Consumer: 2 Nats-Last-Stream: 2";
    let timeout = "r!408 Request Timeout Nats-Pending-Messages: 1 Nats-Pending-Bytes: 0";
    assert_eq!(rig.take(), [beat, beat, beat, beat, timeout]);
}

#[test]
fn a_message_restarts_the_heartbeat() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next(
        "r",
        &json("{'batch':3,'expires':500000000,'idle_heartbeat':100000000}"),
    );
    rig.pass(60 * MS);
    rig.publish("q");
    rig.take();
    rig.pass(99 * MS);
    assert_eq!(rig.take(), NONE);
    rig.pass(MS);
    assert_eq!(rig.take().len(), 1);
}

#[test]
fn a_full_queue_is_silent_to_those_with_heartbeats() {
    let mut config = pull();
    config.max_waiting = 2;
    let mut rig = Rig::new(config, &[]);
    rig.next("r1", "1");
    rig.next("r2", "1");
    rig.next("r3", "1");
    assert_eq!(rig.take(), ["r3!409 Exceeded MaxWaiting"]);
    rig.next(
        "r3",
        &json("{'expires':1000000000,'idle_heartbeat':100000000}"),
    );
    assert_eq!(rig.take(), NONE);
    assert_eq!(rig.info().num_waiting, 2);
}

#[test]
fn requests_of_gone_clients_make_room() {
    let mut config = pull();
    config.max_waiting = 2;
    let mut rig = Rig::new(config, &[]);
    rig.next("r1", "1");
    rig.next("r2", "1");
    rig.out.absent.insert("r1".into());
    rig.next("r3", "1");
    assert_eq!(rig.take(), NONE);
    rig.publish("q");
    assert_eq!(rig.take(), ["r2<1#1"]);
}

#[test]
fn a_failed_hand_over_leaves_no_trace() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next("gone", "5");
    rig.next("r", "5");
    rig.out.absent.insert("gone".into());
    rig.publish("q");
    rig.publish("q");
    assert_eq!(rig.take(), ["r<1#1", "r<2#1"]);
    assert_eq!(rig.positions()[0], (2, 2));
    rig.out.absent.insert("r".into());
    rig.publish("q");
    assert_eq!(rig.take(), NONE);
    let info = rig.info();
    assert_eq!(
        (info.num_waiting, info.num_pending, info.num_ack_pending),
        (0, 1, 2)
    );
}

#[test]
fn deletion_and_shutdown_end_the_requests() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next("r", "5");
    rig.close(Close::Deleted);
    assert_eq!(rig.take(), ["r!409 Consumer Deleted"]);
    assert!(rig.out.listeners.is_empty());
    let mut rig = Rig::new(pull(), &[]);
    rig.next("r", "5");
    rig.close(Close::Shutdown);
    let shutdown = "r!409 Server Shutdown Nats-Pending-Messages: 5 Nats-Pending-Bytes: 0";
    assert_eq!(rig.take(), [shutdown]);
}

#[test]
fn the_budget_of_a_pump_is_kept() {
    let mut rig = Rig::new(pull(), &["q"; 10]);
    rig.next_quietly("r", "10");
    let mut budget = 4;
    assert!(rig.consumer.pump(ctx!(rig), &mut budget));
    assert_eq!((budget, rig.out.sent.len()), (0, 4));
    assert!(rig.consumer.dirty());
    rig.pump();
    assert_eq!(rig.out.sent.len(), 10);
}

#[test]
fn a_batch_below_one_gives_one_message_and_counts_on() {
    let mut rig = Rig::new(pull(), &[]);
    rig.next("r0", &json("{'batch':0,'expires':1000000000}"));
    rig.next("r1", &json("{'batch':-1,'expires':1000000000}"));
    rig.pass(2 * S);
    let timeout = |reply: &str, left: i64| {
        format!("{reply}!408 Request Timeout Nats-Pending-Messages: {left} Nats-Pending-Bytes: 0")
    };
    assert_eq!(rig.take(), [timeout("r0", 0), timeout("r1", -1)]);
    rig.next("r", &json("{'batch':-1,'max_bytes':1000}"));
    rig.publish("q");
    let bytes = 1000 - 1 - rig.ack_subject_of(1).len();
    let completed =
        format!("r!409 Batch Completed Nats-Pending-Messages: -2 Nats-Pending-Bytes: {bytes}");
    assert_eq!(rig.take(), ["r<1#1".to_owned(), completed]);
}

#[test]
fn a_request_for_less_than_nothing_wants_everything() {
    let mut config = pull();
    config.max_ack_pending = 1;
    let mut rig = Rig::new(config, &["q", "q", "q"]);
    rig.next("r1", "1");
    rig.next("r2", "-1");
    rig.take();
    rig.next("r3", r#"{"no_wait":true}"#);
    assert_eq!(rig.take(), ["r3!408 Requests Pending"]);
}
