//! Publishing: acknowledgements, refusals and their order, limits, deduplication.

use super::rig::{Rig, SECOND, nak};

const FILE: &str = r#"{"name":"S","subjects":["s.>"]}"#;
const MEMORY: &str = r#"{"name":"S","subjects":["s.>"],"storage":"memory"}"#;

fn each(config: [&str; 2], mut check: impl FnMut(&mut Rig)) {
    for config in config {
        let mut rig = Rig::new();
        rig.stream(config);
        check(&mut rig);
    }
}

#[test]
fn acknowledges_in_the_exact_bytes() {
    each([FILE, MEMORY], |rig| {
        assert_eq!(rig.publish("s.a", &[], "one"), r#"{"stream":"S","seq":1}"#);
        let id = [("Nats-Msg-Id", "x")];
        assert_eq!(rig.publish("s.a", &id, "two"), r#"{"stream":"S","seq":2}"#);
        let again = rig.publish("s.a", &id, "two");
        assert_eq!(again, r#"{"stream":"S","seq":2,"duplicate": true}"#);
        assert_eq!(rig.state("S"), (2, 1, 2));
    });
}

#[test]
fn sequences_never_run_out() {
    each([FILE, MEMORY], |rig| {
        rig.api("STREAM.PURGE.S", &format!(r#"{{"seq":{}}}"#, u64::MAX));
        let last = u64::try_from(i64::MAX).unwrap();
        let ack = format!(r#"{{"stream":"S","seq":{last}}}"#);
        assert_eq!(rig.publish("s.a", &[], "one"), ack);
        let ack = format!(r#"{{"stream":"S","seq":{}}}"#, last + 1);
        assert_eq!(rig.publish("s.a", &[], "two"), ack);
    });
}

#[test]
fn nothing_is_acknowledged_or_read_before_it_is_durable() {
    let mut rig = Rig::new();
    rig.stream(FILE);
    rig.take();
    rig.send("s.a", "_INBOX.1", "", "one");
    rig.handle(crate::jetstream::io::Event::BatchEnd);
    assert_eq!(rig.take(), []);
    // A second copy of an id waits for the first.
    rig.send(
        "s.a",
        "_INBOX.2",
        "NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n",
        "two",
    );
    rig.send(
        "s.a",
        "_INBOX.3",
        "NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n",
        "two",
    );
    assert_eq!(rig.take(), []);
    rig.settle();
    let acks: Vec<String> = rig.take().into_iter().map(|sent| sent.payload).collect();
    assert_eq!(
        acks,
        [
            r#"{"stream":"S","seq":1}"#,
            r#"{"stream":"S","seq":2}"#,
            r#"{"stream":"S","seq":2,"duplicate": true}"#
        ]
    );
}

#[test]
fn what_is_in_flight_counts_for_expectations() {
    let mut rig = Rig::new();
    rig.stream(FILE);
    rig.take();
    let expect =
        |seq: u64| format!("NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {seq}\r\n\r\n");
    rig.send("s.a", "_INBOX.1", &expect(0), "one");
    rig.send("s.a", "_INBOX.1", &expect(0), "two");
    rig.send("s.a", "_INBOX.1", &expect(1), "three");
    rig.settle();
    let acks: Vec<String> = rig.take().into_iter().map(|sent| sent.payload).collect();
    // Refusals do not wait.
    assert_eq!(
        acks,
        [
            nak(400, 10071, "wrong last sequence: 1", "S"),
            r#"{"stream":"S","seq":1}"#.to_owned(),
            r#"{"stream":"S","seq":2}"#.to_owned(),
        ]
    );
}

#[test]
fn refuses_with_the_first_reason() {
    each([FILE, MEMORY], |rig| {
        rig.publish("s.a", &[("Nats-Msg-Id", "one")], "");
        let mut check = |headers: &[(&str, &str)], code, err_code, text: &str| {
            assert_eq!(
                rig.publish("s.a", headers, ""),
                nak(code, err_code, text, "S")
            );
        };
        check(
            &[("Nats-Incr", "x")],
            400,
            10171,
            "message counter increment is invalid",
        );
        check(
            &[("Nats-Incr", "+1")],
            400,
            10168,
            "message counters is disabled",
        );
        check(
            &[("Nats-Expected-Stream", "T"), ("Nats-TTL", "5")],
            400,
            10060,
            "expected stream does not match",
        );
        check(
            &[("Nats-TTL", "5")],
            400,
            10166,
            "per-message TTL is disabled",
        );
        check(
            &[("Nats-TTL", "abc")],
            400,
            10165,
            "invalid per-message TTL",
        );
        check(
            &[("Nats-Expected-Last-Subject-Sequence-Subject", "s.b")],
            400,
            10193,
            "missing sequence for expected last sequence per subject",
        );
        check(
            &[("Nats-Expected-Last-Sequence", "7")],
            400,
            10071,
            "wrong last sequence: 1",
        );
        check(
            &[("Nats-Expected-Last-Sequence", "7"), ("Nats-Msg-Id", "one")],
            400,
            10071,
            "wrong last sequence: 1",
        );
        check(
            &[("Nats-Schedule", "@at x")],
            400,
            10188,
            "message schedules is disabled",
        );
        check(
            &[("Nats-Stream-Source", "x")],
            400,
            10227,
            "message stream source header is not allowed",
        );
        check(
            &[("Nats-Expected-Last-Msg-Id", "two")],
            400,
            10070,
            "wrong last msg ID: one",
        );
        check(
            &[("Nats-Rollup", "sub")],
            500,
            10111,
            "rollup not permitted",
        );
        check(
            &[("Nats-Batch-Id", "b")],
            400,
            10174,
            "atomic publish is disabled",
        );
        let long = "x".repeat(65_536);
        check(
            &[("a", &long)],
            400,
            10097,
            "header size exceeds maximum allowed of 64k",
        );
        assert_eq!(rig.state("S"), (1, 1, 1));
    });
}

#[test]
fn forgets_ids_after_the_window() {
    each(
        [
            r#"{"name":"S","duplicate_window":1000000000}"#,
            r#"{"name":"S","duplicate_window":1000000000,"storage":"memory"}"#,
        ],
        |rig| {
            let id = [("Nats-Msg-Id", "x")];
            rig.publish("S", &id, "");
            rig.pass(SECOND - 1);
            assert!(rig.publish("S", &id, "").contains("duplicate"));
            rig.pass(1);
            assert_eq!(rig.publish("S", &id, ""), r#"{"stream":"S","seq":2}"#);
        },
    );
}

#[test]
fn limits_remove_the_oldest() {
    each(
        [
            r#"{"name":"S","subjects":["s.>"],"max_msgs":3,"max_msgs_per_subject":2}"#,
            r#"{"name":"S","subjects":["s.>"],"max_msgs":3,"max_msgs_per_subject":2,"storage":"memory"}"#,
        ],
        |rig| {
            for subject in ["s.a", "s.a", "s.a", "s.b", "s.c"] {
                rig.publish(subject, &[], "");
            }
            assert_eq!(rig.state("S"), (3, 3, 5));
        },
    );
}

#[test]
fn a_message_above_max_bytes_is_acknowledged_and_gone() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","max_bytes":100}"#);
    assert_eq!(
        rig.publish("S", &[], &"x".repeat(200)),
        r#"{"stream":"S","seq":1}"#
    );
    assert_eq!(rig.state("S"), (0, 2, 1));
}

#[test]
fn discard_new_refuses_and_per_subject_limits_still_roll() {
    each(
        [
            r#"{"name":"S","subjects":["s.>"],"max_msgs":2,"discard":"new","max_msgs_per_subject":1}"#,
            r#"{"name":"S","subjects":["s.>"],"max_msgs":2,"discard":"new","max_msgs_per_subject":1,"storage":"memory"}"#,
        ],
        |rig| {
            rig.publish("s.a", &[], "");
            rig.publish("s.b", &[], "");
            let refused = nak(503, 10077, "maximum messages exceeded", "S");
            assert_eq!(rig.publish("s.c", &[], ""), refused);
            assert_eq!(rig.publish("s.a", &[], ""), r#"{"stream":"S","seq":3}"#);
        },
    );
}

#[test]
fn rollups_replace_what_is_older() {
    each(
        [
            r#"{"name":"S","subjects":["s.>"],"allow_rollup_hdrs":true}"#,
            r#"{"name":"S","subjects":["s.>"],"allow_rollup_hdrs":true,"storage":"memory"}"#,
        ],
        |rig| {
            for subject in ["s.a", "s.b", "s.a"] {
                rig.publish(subject, &[], "");
            }
            rig.publish("s.a", &[("Nats-Rollup", "SUB")], "");
            assert_eq!(rig.state("S"), (2, 2, 4));
            rig.publish("s.c", &[("Nats-Rollup", "all")], "");
            assert_eq!(rig.state("S"), (1, 5, 5));
            let refused = nak(500, 10111, r#"rollup value invalid: "foo""#, "S");
            assert_eq!(rig.publish("s.c", &[("Nats-Rollup", "Foo")], ""), refused);
        },
    );
}

#[test]
fn old_messages_expire() {
    each(
        [
            r#"{"name":"S","max_age":1000000000,"duplicate_window":1000000000}"#,
            r#"{"name":"S","max_age":1000000000,"duplicate_window":1000000000,"storage":"memory"}"#,
        ],
        |rig| {
            rig.publish("S", &[], "");
            rig.pass(SECOND / 2);
            rig.publish("S", &[], "");
            rig.pass(SECOND * 3 / 4);
            assert_eq!(rig.state("S"), (1, 2, 2));
            rig.pass(SECOND);
            assert_eq!(rig.state("S"), (0, 3, 2));
        },
    );
}

#[test]
fn interest_streams_use_up_sequences_that_nobody_wants() {
    each(
        [
            r#"{"name":"S","subjects":["s.>"],"retention":"interest"}"#,
            r#"{"name":"S","subjects":["s.>"],"retention":"interest","storage":"memory"}"#,
        ],
        |rig| {
            assert_eq!(rig.publish("s.a", &[], ""), r#"{"stream":"S","seq":1}"#);
            assert_eq!(rig.publish("s.a", &[], ""), r#"{"stream":"S","seq":2}"#);
            assert_eq!(rig.state("S"), (0, 3, 2));
        },
    );
}

#[test]
fn a_status_line_is_not_stored() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","storage":"memory","allow_direct":true}"#);
    rig.ask("S", "NATS/1.0 503 X\r\nA: b\r\n\r\n", "");
    let got = rig.ask("$JS.API.DIRECT.GET.S", "", r#"{"seq":1}"#);
    assert!(
        got.headers
            .starts_with("NATS/1.0\r\nA: b\r\nNats-Stream: S\r\n"),
        "{}",
        got.headers
    );
}
