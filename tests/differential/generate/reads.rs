//! Reading back: MSG.GET, direct gets in all forms, and sequences as key-value stores send them.

use super::checked;
use super::publish::{payload, stream};
use crate::program::{Op, Program};
use crate::random::Random;

const FIELDS: &[(&str, &[&str])] = &[
    ("seq", &["0", "1", "2", "3", "5", "9", "99", "-1", "\"1\""]),
    (
        "last_by_subj",
        &[
            "\"a.b\"", "\"a.*\"", "\"b\"", "\"zz\"", "\"\"", "\"a..b\"", "1",
        ],
    ),
    (
        "next_by_subj",
        &["\"a.b\"", "\"a.>\"", "\"b\"", "\"zz\"", "\"\"", "\"a..b\""],
    ),
    (
        "start_time",
        &[
            "\"2020-01-01T00:00:00Z\"",
            "\"2099-01-01T00:00:00Z\"",
            "\"x\"",
            "\"0001-01-01T00:00:00Z\"",
            "null",
        ],
    ),
    ("batch", &["0", "1", "2", "3", "10", "-1", "\"1\""]),
    ("max_bytes", &["0", "1", "50", "100", "1000", "-1"]),
    (
        "multi_last",
        &[
            "[\"a.>\"]",
            "[\"a.b\",\"b\"]",
            "[\"zz\"]",
            "[]",
            "[\"a.*\",\"a.b\"]",
            "[\">\"]",
            "\"a\"",
            "[\"a..b\"]",
            "[\"\"]",
        ],
    ),
    ("up_to_seq", &["0", "1", "3", "5", "99"]),
    (
        "up_to_time",
        &["\"2020-01-01T00:00:00Z\"", "\"2099-01-01T00:00:00Z\""],
    ),
    ("no_hdr", &["true", "false", "1"]),
    ("bogus", &["1"]),
];

/// A body of MSG.GET or DIRECT.GET.
pub(super) fn get_body(random: &mut Random) -> String {
    if random.once_in(15) {
        return random
            .pick(&["", "{}", "junk", "[]", "null", "{\"seq\":1", "1"])
            .to_owned();
    }
    let count = random.pick(&[1, 1, 1, 2, 2, 2, 3, 3, 4]);
    let mut parts = Vec::new();
    let mut used = Vec::new();
    while parts.len() < count {
        let (name, values) = random.pick(FIELDS);
        if (name == "bogus" && !random.once_in(8)) || used.contains(&name) {
            continue;
        }
        used.push(name);
        // The first values of each list are the useful ones.
        let values = if random.once_in(6) {
            values
        } else {
            &values[..values.len().min(5)]
        };
        parts.push(format!("\"{name}\":{}", random.pick(values)));
    }
    format!("{{{}}}", parts.join(","))
}

pub(super) fn program(random: &mut Random) -> Program {
    let mut config = stream(random);
    if !random.once_in(6) {
        config.set("allow_direct", true);
    }
    let mut ops = vec![Op::api("STREAM.CREATE.S0", config.text())];
    for _ in 0..3 + random.below(8) {
        ops.push(put(random));
    }
    for _ in 0..10 + random.below(20) {
        ops.push(operation(random));
    }
    checked(ops, &["S0"])
}

fn put(random: &mut Random) -> Op {
    let (name, value) = random.pick(&[
        ("KV-Operation", "DEL"),
        ("Nats-Rollup", "sub"),
        ("Nats-Expected-Last-Subject-Sequence", "0"),
        ("X", "y"),
        ("Nats-Expected-Last-Subject-Sequence", "3"),
        ("Nats-Msg-Id", "i1"),
    ]);
    let headers = if random.once_in(3) {
        vec![(name.to_owned(), value.to_owned())]
    } else {
        Vec::new()
    };
    Op::Request {
        subject: random.pick(&["a.b", "a.b", "a.c", "a.d.e", "b"]).to_owned(),
        headers,
        body: payload(random),
    }
}

fn operation(random: &mut Random) -> Op {
    match random.below(16) {
        0..=1 => put(random),
        2..=4 => Op::api("STREAM.MSG.GET.S0", get_body(random)),
        5..=11 => Op::api("DIRECT.GET.S0", get_body(random)),
        12 | 13 => {
            let subject = random.pick(&["a.b", "b", "a.d.e", "zz", "a.*", ">", "a.>", "*"]);
            let body = random.pick(&[
                "",
                "",
                "{}",
                "{\"no_hdr\":true}",
                "{\"seq\":1}",
                "junk",
                "{\"batch\":2}",
            ]);
            Op::api(format!("DIRECT.GET.S0.{subject}"), body)
        }
        14 => Op::api(
            "STREAM.MSG.DELETE.S0",
            super::streams::delete_message_body(random),
        ),
        _ => Op::api("STREAM.PURGE.S0", super::streams::purge_body(random)),
    }
}
