//! The stream API with valid and invalid fields.

use serde_json::Value;

use super::{Fields, checked};
use crate::program::{Op, Program};
use crate::random::Random;

pub(super) const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "-2",
    "5",
    "100",
    "\"1\"",
    "1.5",
    "9223372036854775807",
    "9223372036854775808",
    "true",
    "null",
    "2147483648",
    "1e3",
];
pub(super) const FLAGS: &[&str] = &[
    "true", "true", "true", "false", "false", "null", "1", "\"true\"",
];
pub(super) const DURATIONS: &[&str] = &[
    "0",
    "1",
    "-1",
    "99999999",
    "100000000",
    "1000000000",
    "3600000000000",
    "120000000000",
    "\"1s\"",
    "9223372036854775807",
    "7200000000000",
];
const TEXTS: &[&str] = &["\"\"", "\"text\"", "1", "null", "\"<&>\"", "\"\\u00e9\""];
const SUBJECT_LISTS: &[&str] = &[
    "[\"a.>\"]",
    "[\"a.*\",\"b\"]",
    "[\"a\"]",
    "[\">\"]",
    "[\"a.>\",\"a.b\"]",
    "[]",
    "[\"\"]",
    "[\"a..b\"]",
    "[\"a\",\"a\"]",
    "\"a\"",
    "[1]",
    "null",
    "[\"$JS.API.>\"]",
    "[\"$SYS.>\"]",
    "[\"*.>\"]",
    "[\"$JS.EVENT.>\"]",
    "[\"a b\"]",
    "[\"b.*.c\",\"b.d.>\"]",
    "[\"*\"]",
    "[\"c.>\"]",
    "[\"$SYS.ACCOUNT.x\"]",
    "[\"a.>.b\"]",
    "[\".a\"]",
    "[\"S0\"]",
    "[\"$KV.b.>\"]",
];
const TRANSFORMS: &[&str] = &[
    "{\"src\":\"a.*\",\"dest\":\"t.$1\"}",
    "{\"src\":\"\",\"dest\":\"t.>\"}",
    "{\"src\":\"a..b\",\"dest\":\"x\"}",
    "{\"src\":\"a.*\",\"dest\":\"t.$2\"}",
    "{}",
    "null",
    "1",
    "{\"src\":\"a.*\",\"dest\":\"t.{{foo(1)}}\"}",
    "{\"src\":\"a.>\",\"dest\":\"t.>\",\"x\":1}",
    "{\"src\":\">\",\"dest\":\"t.>\"}",
    "{\"src\":\"a.*.*\",\"dest\":\"t.{{wildcard(2)}}.{{partition(3,1)}}\"}",
    "{\"dest\":\"r.>\"}",
];

/// A configuration of which most fields are right.
pub(super) fn config(random: &mut Random, name: &str) -> Fields {
    let mut fields = Fields::default();
    fields.set("name", name);
    if !random.once_in(6) {
        fields.set("subjects", subjects(random, name));
    }
    let f = &mut fields;
    f.maybe(
        random,
        4,
        "retention",
        &[
            "\"limits\"",
            "\"interest\"",
            "\"workqueue\"",
            "\"interest\"",
            "\"x\"",
            "1",
            "\"LIMITS\"",
            "\"\"",
        ],
    );
    f.maybe(
        random,
        2,
        "storage",
        &[
            "\"memory\"",
            "\"file\"",
            "\"file\"",
            "\"x\"",
            "\"Memory\"",
            "null",
        ],
    );
    f.maybe(
        random,
        4,
        "discard",
        &["\"old\"", "\"new\"", "\"new\"", "\"x\"", "\"NEW\"", "0"],
    );
    for name in [
        "max_consumers",
        "max_msgs",
        "max_bytes",
        "max_msgs_per_subject",
        "max_msg_size",
    ] {
        f.maybe(random, 7, name, NUMBERS);
    }
    f.maybe(
        random,
        10,
        "num_replicas",
        &["0", "1", "1", "2", "5", "6", "-1"],
    );
    for name in ["max_age", "duplicate_window", "subject_delete_marker_ttl"] {
        f.maybe(random, 10, name, DURATIONS);
    }
    for name in [
        "no_ack",
        "allow_direct",
        "mirror_direct",
        "deny_delete",
        "deny_purge",
        "allow_rollup_hdrs",
        "discard_new_per_subject",
        "sealed",
        "allow_msg_ttl",
        "allow_atomic",
        "allow_batched",
    ] {
        f.maybe(random, 10, name, FLAGS);
    }
    f.maybe(random, 10, "description", TEXTS);
    f.maybe(
        random,
        12,
        "compression",
        &["\"none\"", "\"s2\"", "\"x\"", "1", "\"S2\"", "\"\""],
    );
    f.maybe(
        random,
        12,
        "first_seq",
        &["0", "1", "10", "-1", "18446744073709551615", "\"1\""],
    );
    f.maybe(
        random,
        12,
        "metadata",
        &[
            "{}",
            "{\"a\":\"b\"}",
            "{\"a\":1}",
            "{\"_nats.ver\":\"x\",\"_nats.x\":\"y\"}",
            "[]",
            "null",
            "{\"_nats.req.level\":\"9\"}",
        ],
    );
    f.maybe(
        random,
        12,
        "consumer_limits",
        &[
            "{}",
            "{\"max_ack_pending\":10}",
            "{\"inactive_threshold\":60000000000}",
            "{\"x\":1}",
            "{\"max_ack_pending\":-1}",
            "[]",
            "null",
            "{\"max_ack_pending\":-5}",
            "{\"inactive_threshold\":-1}",
        ],
    );
    f.maybe(
        random,
        14,
        "placement",
        &[
            "{}",
            "{\"cluster\":\"x\"}",
            "{\"tags\":[\"a\"]}",
            "{\"preferred\":\"x\"}",
            "null",
        ],
    );
    f.maybe(
        random,
        14,
        "persist_mode",
        &["\"default\"", "\"async\"", "\"\"", "\"x\""],
    );
    f.maybe(random, 14, "subject_transform", TRANSFORMS);
    f.maybe(
        random,
        14,
        "republish",
        &[
            "{\"src\":\"a.>\",\"dest\":\"rp.>\"}",
            "{\"dest\":\"rp.>\"}",
            "{\"src\":\"a.>\",\"dest\":\"a.>\"}",
            "{\"src\":\"x.*\",\"dest\":\"r.{{bad(2)}}\"}",
            "{\"src\":\"a.*\",\"dest\":\"rp.$1\",\"headers_only\":true}",
            "{}",
            "null",
        ],
    );
    f.maybe(random, 14, "pedantic", FLAGS);
    f.maybe(random, 25, "bogus", &["1"]);
    f.maybe(random, 25, "NAME", &["\"S0\"", "\"S1\""]);
    f.maybe(random, 25, "template_owner", &["\"\""]);
    fields
}

fn subjects(random: &mut Random, name: &str) -> Value {
    if random.once_in(4) {
        return serde_json::from_str(random.pick(SUBJECT_LISTS)).unwrap_or_default();
    }
    match name {
        "S0" => Value::from(vec!["a.>", "b"]),
        "S1" => Value::from(vec!["c.*"]),
        _ => Value::from(vec!["d"]),
    }
}

fn info_body(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "{}",
        "{\"deleted_details\":true}",
        "{\"subjects_filter\":\"a.*\"}",
        "{\"subjects_filter\":\">\",\"offset\":1}",
        "{\"x\":1}",
        "junk",
        "[]",
        "{\"offset\":-1}",
        "{\"subjects_filter\":\"zz\"}",
        "{\"subjects_filter\":1}",
        "{\"deleted_details\":1}",
        "  {",
        "{} {}",
        "{}x",
        "1",
        "{\"offset\":\"1\"}",
        "{\"subjects_filter\":\"a..b\"}",
    ])
}

pub(super) fn purge_body(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "{}",
        "{\"filter\":\"a.b\"}",
        "{\"filter\":\"a.*\",\"keep\":1}",
        "{\"seq\":3}",
        "{\"seq\":2,\"filter\":\"a.>\"}",
        "{\"keep\":2}",
        "{\"seq\":1,\"keep\":1}",
        "{\"seq\":100}",
        "junk",
        "{\"filter\":\">\"}",
        "{\"keep\":0}",
        "{\"seq\":0}",
        "{\"filter\":\"a..b\"}",
        "{\"filter\":1}",
        "{\"x\":1}",
        "{\"seq\":-1}",
        "{\"keep\":1,\"filter\":\"b\"}",
        "{\"keep\":100}",
        "{\"seq\":5,\"filter\":\">\"}",
        "{\"filter\":\"a.b\",\"keep\":1,\"seq\":3}",
        "{\"filter\":\"\"}",
        "{\"seq\":1}",
    ])
}

pub(super) fn delete_message_body(random: &mut Random) -> String {
    if random.once_in(6) {
        return random
            .pick(&[
                "",
                "{}",
                "{\"seq\":0}",
                "{\"seq\":-1}",
                "{\"seq\":\"1\"}",
                "junk",
                "{\"x\":1}",
                "{\"seq\":99}",
                "{\"seq\":18446744073709551615}",
                "[]",
                "null",
            ])
            .to_owned();
    }
    format!(
        "{{\"seq\":{},\"no_erase\":{}}}",
        1 + random.below(8),
        random.once_in(2)
    )
}

pub(super) fn program(random: &mut Random) -> Program {
    let mut ops = Vec::new();
    for _ in 0..6 + random.below(14) {
        ops.push(operation(random));
    }
    checked(ops, &["S0", "S1"])
}

fn operation(random: &mut Random) -> Op {
    let name = random.pick(&["S0", "S0", "S0", "S1", "S1", "S2"]);
    match random.below(24) {
        0..=7 => {
            let token = if random.once_in(10) {
                random.pick(&["S1", "x.y", "*", "", "S2"])
            } else {
                name
            };
            let token = if token.is_empty() { "." } else { token };
            Op::api(format!("STREAM.CREATE.{token}"), body(random, name))
        }
        8..=12 => Op::api(format!("STREAM.UPDATE.{name}"), body(random, name)),
        13 => Op::api(format!("STREAM.INFO.{name}"), info_body(random)),
        14 => Op::api(
            random.pick(&["STREAM.NAMES", "STREAM.LIST"]),
            list_body(random),
        ),
        15 => Op::api(
            format!("STREAM.DELETE.{name}"),
            random.pick(&["", "{}", "{\"a\":1}", "x", "[]", "null", " "]),
        ),
        16 | 17 => Op::api(format!("STREAM.PURGE.{name}"), purge_body(random)),
        18 => Op::api(
            format!("STREAM.MSG.DELETE.{name}"),
            delete_message_body(random),
        ),
        19 => Op::api(
            format!("STREAM.MSG.GET.{name}"),
            super::reads::get_body(random),
        ),
        20 => Op::api(
            random.pick(&[
                "INFO",
                "FOO",
                "STREAM.INFO",
                "STREAM.TEMPLATE.NAMES",
                "STREAM.LEADER.STEPDOWN.S0",
                "STREAM.PEER.REMOVE.S0",
                "META.LEADER.STEPDOWN",
                "STREAM.CREATE",
                "STREAM.INFO.S0.x",
                "STREAM.CANCEL_MOVE.S0",
                "SERVER.REMOVE",
                "CONSUMER.NAMES.S0",
                "CONSUMER.LIST.S9",
            ]),
            random.pick(&["", "{}", "{\"peer\":\"x\"}", "x"]),
        ),
        21 => required_level(random, name),
        _ => {
            let subject = random.pick(&["a.b", "a.c", "b", "c.d", "S0", "d", "a.b.c"]);
            Op::request(subject, random.pick(&["", "x", "hello"]))
        }
    }
}

fn required_level(random: &mut Random, name: &str) -> Op {
    let level = random.pick(&["0", "5", "6", "x", "-1", ""]);
    Op::Request {
        subject: format!("$JS.API.STREAM.INFO.{name}"),
        headers: vec![("Nats-Required-Api-Level".to_owned(), level.to_owned())],
        body: Vec::new(),
    }
}

fn body(random: &mut Random, name: &str) -> String {
    if random.once_in(20) {
        let whole = random.pick(&[
            "",
            "{}",
            "[]",
            "null",
            "junk",
            "{\"name\":\"S0\"",
            "{\"name\":\"S0\"}{\"max_msgs\":5}",
            "{\"name\":\"S0\",\"name\":\"S1\"}",
            "{\"name\":\"S0\"} x",
            "\"S0\"",
            "1",
            "{\"name\":1}",
            "{\"name\":\"S0\",}",
            "{\"name\":\"S\\u00300\"}",
        ]);
        return whole.to_owned();
    }
    config(random, name).text()
}

fn list_body(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "{}",
        "{\"offset\":1}",
        "{\"offset\":-3}",
        "{\"offset\":99}",
        "{\"subject\":\"a.b\"}",
        "{\"subject\":\"a..b\"}",
        "{\"subject\":\">\"}",
        "{\"x\":1}",
        "{\"subject\":\"zz\"}",
        "{\"subject\":1}",
        "x",
        "{\"subject\":\"*.b\"}",
        "{\"subject\":\"\"}",
    ])
}
