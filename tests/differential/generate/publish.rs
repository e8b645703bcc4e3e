//! Publishes with every header, against limits, and deletions between them.

use super::streams::{delete_message_body, purge_body};
use super::{Fields, checked};
use crate::program::{Op, Program};
use crate::random::Random;

pub(super) const SUBJECTS: &[&str] = &["a.b", "a.b", "a.c", "a.d.e", "b", "zz"];

/// A stream on `a.>` and `b` whose limits are near.
pub(super) fn stream(random: &mut Random) -> Fields {
    let mut fields = Fields::default();
    let f = &mut fields;
    f.set("name", "S0").set("subjects", vec!["a.>", "b"]);
    f.set("storage", random.pick(&["file", "memory"]));
    f.maybe(random, 3, "max_msgs", &["1", "3", "5"]);
    f.maybe(random, 4, "max_bytes", &["100", "200", "300"]);
    f.maybe(random, 3, "max_msgs_per_subject", &["1", "2", "3"]);
    f.maybe(random, 5, "max_msg_size", &["5", "40", "0"]);
    f.maybe(random, 3, "discard", &["\"new\"", "\"old\""]);
    f.maybe(random, 4, "discard_new_per_subject", &["true"]);
    f.maybe(random, 2, "allow_rollup_hdrs", &["true"]);
    f.maybe(random, 2, "allow_direct", &["true"]);
    f.maybe(random, 6, "deny_delete", &["true"]);
    f.maybe(random, 6, "deny_purge", &["true"]);
    f.maybe(random, 12, "no_ack", &["true"]);
    f.maybe(random, 6, "first_seq", &["5", "100"]);
    f.maybe(random, 4, "allow_msg_ttl", &["true"]);
    f.maybe(random, 3, "allow_atomic", &["true"]);
    f.maybe(
        random,
        8,
        "duplicate_window",
        &["60000000000", "3600000000000"],
    );
    f.maybe(random, 8, "max_age", &["3600000000000"]);
    fields
}

pub(super) fn program(random: &mut Random) -> Program {
    let mut config = stream(random);
    config.maybe(random, 4, "retention", &["\"interest\"", "\"workqueue\""]);
    config.maybe(
        random,
        8,
        "subject_transform",
        &[
            "{\"src\":\"a.*\",\"dest\":\"t.$1\"}",
            "{\"src\":\"a.>\",\"dest\":\"b.>\"}",
        ],
    );
    let mut ops = vec![Op::api("STREAM.CREATE.S0", config.text())];
    if random.once_in(3) {
        ops.push(Op::api(
            "CONSUMER.CREATE.S0.C0",
            "{\"stream_name\":\"S0\",\"config\":{\"durable_name\":\"C0\",\"ack_policy\":\"explicit\",\"filter_subject\":\"a.>\"}}",
        ));
    }
    for _ in 0..10 + random.below(30) {
        ops.push(operation(random));
    }
    checked(ops, &["S0"])
}

fn operation(random: &mut Random) -> Op {
    match random.below(20) {
        0 => Op::api("STREAM.PURGE.S0", purge_body(random)),
        1 | 2 => Op::api("STREAM.MSG.DELETE.S0", delete_message_body(random)),
        3 => Op::api("STREAM.UPDATE.S0", stream(random).text()),
        4 => Op::request("$JS.API.CONSUMER.MSG.NEXT.S0.C0", "{\"no_wait\":true}"),
        5 => Op::Ack {
            pick: random.below(4),
            body: "+ACK".to_owned(),
            confirm: true,
        },
        6..=8 => Op::request(random.pick(SUBJECTS), payload(random)),
        9 => batch(random),
        _ => with_headers(random),
    }
}

pub(super) fn payload(random: &mut Random) -> Vec<u8> {
    let length = random.pick(&[0, 1, 5, 6, 30, 100]);
    vec![b'p'; length]
}

fn with_headers(random: &mut Random) -> Op {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    for _ in 0..1 + random.below(3) {
        let number = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "x", "-1", ""];
        match random.below(16) {
            0..=2 => add(
                "Nats-Msg-Id",
                random.pick(&["i1", "i2", "i3", "", " i1", "i1 "]),
            ),
            3 => add(
                "Nats-Expected-Stream",
                random.pick(&["S0", "S1", "s0", "", "S0 "]),
            ),
            4 | 5 => add("Nats-Expected-Last-Sequence", random.pick(&number)),
            6 | 7 => add("Nats-Expected-Last-Subject-Sequence", random.pick(&number)),
            8 => add(
                "Nats-Expected-Last-Subject-Sequence-Subject",
                random.pick(&["a.b", "a.>", "b", "a.*", "", "a..b", "zz"]),
            ),
            9 => add(
                "Nats-Expected-Last-Msg-Id",
                random.pick(&["i1", "i2", "", "zz"]),
            ),
            10 | 11 => add(
                "Nats-Rollup",
                random.pick(&["sub", "all", "ALL", "x", "", "Sub"]),
            ),
            12 => add(
                "Nats-TTL",
                random.pick(&[
                    "1h", "never", "0", "-1", "x", "3600", "", "500ms", "1", "1d",
                ]),
            ),
            13 => add(
                random.pick(&["X", "nats-msg-id", "Nats-Msg-Size", "KV-Operation"]),
                random.pick(&["1", "PURGE", "DEL", "i1"]),
            ),
            14 => add("Nats-Stream-Source", "x"),
            _ => add(
                random.pick(&[
                    "Nats-Required-Api-Level",
                    "Nats-Marker-Reason",
                    "Nats-Stream",
                    "Nats-Sequence",
                ]),
                random.pick(&["1", "9", "x"]),
            ),
        }
    }
    Op::Request {
        subject: random.pick(SUBJECTS).to_owned(),
        headers,
        body: payload(random),
    }
}

fn batch(random: &mut Random) -> Op {
    let mut headers = vec![(
        "Nats-Batch-Id".to_owned(),
        random.pick(&["b1", "b1", "b2", ""]).to_owned(),
    )];
    let sequence = random.pick(&["1", "1", "2", "2", "3", "x", "0", ""]);
    headers.push(("Nats-Batch-Sequence".to_owned(), sequence.to_owned()));
    if random.once_in(2) {
        let commit = random.pick(&["1", "1", "eob", "0", "x"]);
        headers.push(("Nats-Batch-Commit".to_owned(), commit.to_owned()));
    }
    if random.once_in(4) {
        let (name, value) = random.pick(&[
            ("Nats-Msg-Id", "i1"),
            ("Nats-Expected-Last-Sequence", "2"),
            ("Nats-Rollup", "sub"),
            ("Nats-Expected-Last-Subject-Sequence", "1"),
            ("Nats-Expected-Last-Msg-Id", "i1"),
            ("Nats-Required-Api-Level", "9"),
        ]);
        headers.push((name.to_owned(), value.to_owned()));
    }
    Op::Request {
        subject: random.pick(SUBJECTS).to_owned(),
        headers,
        body: payload(random),
    }
}
