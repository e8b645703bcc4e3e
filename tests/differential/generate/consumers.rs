//! Consumers: their API, pulls with acks in any order, and pushes.

use super::publish::{SUBJECTS, payload};
use super::streams::{DURATIONS, FLAGS, NUMBERS, delete_message_body, purge_body};
use super::{Fields, checked};
use crate::program::{Op, Program};
use crate::random::Random;

const HOUR: u64 = 3_600_000_000_000;
const FILTERS: &[&str] = &["a.b", "a.>", "a.*", "b", ">", "zz", "a.c"];

fn stream(random: &mut Random) -> Fields {
    let mut fields = Fields::default();
    fields.set("name", "S0").set("subjects", vec!["a.>", "b"]);
    fields.set("storage", random.pick(&["file", "memory"]));
    let f = &mut fields;
    f.maybe(
        random,
        2,
        "retention",
        &["\"interest\"", "\"workqueue\"", "\"limits\""],
    );
    f.maybe(random, 5, "max_msgs", &["3", "5"]);
    f.maybe(random, 4, "max_msgs_per_subject", &["1", "2"]);
    f.maybe(random, 6, "discard", &["\"new\""]);
    f.maybe(random, 8, "allow_rollup_hdrs", &["true"]);
    fields
}

fn create(name: &str, config: Fields, extra: Fields) -> Op {
    let mut request = extra;
    request
        .set("stream_name", "S0")
        .set("config", config.value());
    Op::api(format!("CONSUMER.CREATE.S0.{name}"), request.text())
}

fn publish(random: &mut Random) -> Op {
    let headers = if random.once_in(4) {
        vec![("X".to_owned(), "y".to_owned())]
    } else {
        Vec::new()
    };
    Op::Request {
        subject: random.pick(SUBJECTS).to_owned(),
        headers,
        body: payload(random),
    }
}

/// A pull consumer that works; timers are far away.
fn pull_config(random: &mut Random, name: &str) -> Fields {
    let mut fields = Fields::default();
    let f = &mut fields;
    f.set("durable_name", name);
    f.set(
        "ack_policy",
        random.pick(&["explicit", "explicit", "explicit", "all", "none"]),
    );
    f.set("ack_wait", HOUR);
    f.maybe(
        random,
        2,
        "filter_subject",
        &["\"a.b\"", "\"a.>\"", "\"a.*\"", "\"b\"", "\">\"", "\"zz\""],
    );
    f.maybe(
        random,
        3,
        "deliver_policy",
        &["\"all\"", "\"last\"", "\"new\"", "\"last_per_subject\""],
    );
    f.maybe(random, 4, "max_deliver", &["1", "2", "3"]);
    f.maybe(random, 4, "max_ack_pending", &["1", "2", "3"]);
    f.maybe(random, 8, "max_waiting", &["1", "2"]);
    f.maybe(random, 8, "max_batch", &["1", "2"]);
    f.maybe(random, 8, "max_bytes", &["60", "200"]);
    f.maybe(random, 6, "headers_only", &["true"]);
    fields
}

pub(super) fn delivering(random: &mut Random) -> Program {
    let mut ops = vec![Op::api("STREAM.CREATE.S0", stream(random).text())];
    for _ in 0..random.below(6) {
        ops.push(publish(random));
    }
    ops.push(create("C0", pull_config(random, "C0"), Fields::default()));
    for _ in 0..15 + random.below(40) {
        ops.push(delivering_op(random));
    }
    checked(ops, &["S0"])
}

fn delivering_op(random: &mut Random) -> Op {
    let name = random.pick(&["C0", "C0", "C0", "C1"]);
    match random.below(40) {
        0..=9 => publish(random),
        10..=21 => pull(random, name),
        22..=33 => ack(random),
        34 => Op::api("STREAM.MSG.DELETE.S0", delete_message_body(random)),
        35 => Op::api("STREAM.PURGE.S0", purge_body(random)),
        36 | 37 => create(name, pull_config(random, name), Fields::default()),
        38 => match random.below(4) {
            0 => Op::api(format!("CONSUMER.DELETE.S0.{name}"), ""),
            1 => Op::api(
                format!("CONSUMER.RESET.S0.{name}"),
                random.pick(&["", "{}", "{\"seq\":1}", "{\"seq\":3}"]),
            ),
            2 => Op::api(
                format!("CONSUMER.PAUSE.S0.{name}"),
                random.pick(&["{\"pause_until\":\"2099-01-01T00:00:00Z\"}", "", "{}"]),
            ),
            _ => Op::api("STREAM.UPDATE.S0", stream(random).text()),
        },
        _ => Op::api(format!("CONSUMER.INFO.S0.{name}"), ""),
    }
}

fn pull(random: &mut Random, name: &str) -> Op {
    let mut fields = Fields::default();
    let f = &mut fields;
    f.maybe(random, 2, "batch", &["1", "2", "3", "5", "0", "-1", "10"]);
    f.maybe(random, 2, "no_wait", &["true", "true", "true", "false"]);
    f.maybe(random, 4, "max_bytes", &["1", "60", "100", "200", "1000"]);
    f.maybe(random, 6, "expires", &["3600000000000"]);
    f.maybe(random, 20, "idle_heartbeat", &["1800000000000", "-1"]);
    f.maybe(random, 20, "bogus", &["1"]);
    f.maybe(random, 25, "batch", &["\"5\"", "1.5", "true"]);
    f.maybe(random, 25, "group", &["\"x\""]);
    f.maybe(random, 30, "min_pending", &["1"]);
    f.maybe(random, 30, "expires", &["-1", "\"1s\""]);
    f.maybe(random, 30, "priority", &["1", "10"]);
    f.maybe(random, 40, "id", &["\"x\""]);
    let body = match random.below(15) {
        0 => random
            .pick(&[
                "",
                "5",
                "junk",
                "{\"batch\":",
                "[]",
                "null",
                "0",
                "-1",
                "{b",
                "{}x",
            ])
            .to_owned(),
        _ => fields.text(),
    };
    Op::api(format!("CONSUMER.MSG.NEXT.S0.{name}"), body)
}

fn ack(random: &mut Random) -> Op {
    let body = random.pick(&[
        "+ACK",
        "+ACK",
        "+ACK",
        "",
        "-NAK",
        "-NAK",
        "+WPI",
        "+TERM",
        "+TERM why",
        "+NXT",
        "+NXT 2",
        "+NXT {\"batch\":2,\"no_wait\":true}",
        "-NAK {\"delay\":3600000000000}",
        "-NAK 1h",
        "junk",
        "+ACK x",
        "-NAK {\"delay\":-1}",
        "+NXT {bad",
        "-NAK x",
    ]);
    Op::Ack {
        pick: random.below(12),
        body: body.to_owned(),
        confirm: !random.once_in(3),
    }
}

/// Any configuration, right or wrong.
fn any_config(random: &mut Random, name: &str) -> Fields {
    let mut fields = Fields::default();
    let f = &mut fields;
    if random.once_in(2) {
        f.set("durable_name", name);
    } else {
        f.set("name", name).set("inactive_threshold", HOUR);
    }
    f.maybe(
        random,
        25,
        "durable_name",
        &["\"x\"", "\"C9\"", "\"a.b\"", "1", "\"\""],
    );
    f.maybe(
        random,
        2,
        "ack_policy",
        &[
            "\"explicit\"",
            "\"explicit\"",
            "\"all\"",
            "\"none\"",
            "\"flow_control\"",
            "\"x\"",
            "1",
        ],
    );
    f.maybe(
        random,
        3,
        "deliver_policy",
        &[
            "\"all\"",
            "\"last\"",
            "\"new\"",
            "\"last_per_subject\"",
            "\"by_start_sequence\"",
            "\"by_start_time\"",
            "\"undefined\"",
            "\"x\"",
        ],
    );
    f.maybe(
        random,
        6,
        "opt_start_seq",
        &["1", "2", "10", "0", "-1", "\"1\""],
    );
    f.maybe(
        random,
        8,
        "opt_start_time",
        &[
            "\"2020-01-01T00:00:00Z\"",
            "\"2099-01-01T00:00:00+01:00\"",
            "\"x\"",
            "null",
        ],
    );
    f.maybe(
        random,
        8,
        "replay_policy",
        &["\"instant\"", "\"original\"", "\"x\""],
    );
    f.maybe(
        random,
        4,
        "deliver_subject",
        &[
            "\"push.x\"",
            "\"push.y\"",
            "\"a.b\"",
            "\"x.*\"",
            "\"\"",
            "\"x..y\"",
            "1",
        ],
    );
    f.maybe(random, 8, "deliver_group", &["\"g\"", "\"\"", "\"a b\""]);
    f.maybe(
        random,
        8,
        "backoff",
        &[
            "[3600000000000]",
            "[3600000000000,7200000000000]",
            "[-1]",
            "[]",
            "1",
            "null",
            "[0]",
        ],
    );
    f.maybe(
        random,
        4,
        "filter_subject",
        &["\"a.b\"", "\"a.>\"", "\"zz\"", "\"a..b\"", "\"\"", "1"],
    );
    f.maybe(
        random,
        6,
        "filter_subjects",
        &[
            "[\"a.b\"]",
            "[\"a.b\",\"b\"]",
            "[\"a.>\",\"a.b\"]",
            "[]",
            "[\"\"]",
            "[\"a..b\"]",
            "[\"a.b\",\"a.b\"]",
            "\"a\"",
            "null",
        ],
    );
    f.maybe(
        random,
        10,
        "sample_freq",
        &[
            "\"100\"", "\"50%\"", "\"x\"", "\"-1\"", "1", "\"\"", "\"200\"", "\"%\"",
        ],
    );
    for name in [
        "max_deliver",
        "max_waiting",
        "max_ack_pending",
        "max_batch",
        "max_bytes",
        "rate_limit_bps",
        "num_replicas",
    ] {
        f.maybe(random, 12, name, NUMBERS);
    }
    for name in [
        "ack_wait",
        "max_expires",
        "idle_heartbeat",
        "priority_timeout",
    ] {
        f.maybe(random, 12, name, DURATIONS);
    }
    for name in [
        "flow_control",
        "headers_only",
        "mem_storage",
        "direct",
        "sourcing",
    ] {
        f.maybe(random, 12, name, FLAGS);
    }
    f.maybe(random, 10, "description", &["\"text\"", "\"\"", "1"]);
    f.maybe(
        random,
        10,
        "metadata",
        &[
            "{\"a\":\"b\"}",
            "{}",
            "{\"_nats.level\":\"x\",\"_nats.y\":\"z\"}",
            "{\"a\":1}",
        ],
    );
    f.maybe(
        random,
        12,
        "pause_until",
        &[
            "\"2099-01-01T00:00:00Z\"",
            "\"2020-01-01T00:00:00Z\"",
            "\"x\"",
        ],
    );
    f.maybe(
        random,
        10,
        "priority_groups",
        &[
            "[\"A\"]",
            "[\"A\",\"B\"]",
            "[\"\"]",
            "[]",
            "[\"a b\"]",
            "[\"12345678901234567\"]",
        ],
    );
    f.maybe(
        random,
        10,
        "priority_policy",
        &[
            "\"none\"",
            "\"overflow\"",
            "\"pinned_client\"",
            "\"prioritized\"",
            "\"x\"",
            "\"\"",
        ],
    );
    f.maybe(random, 25, "bogus", &["1"]);
    fields
}

pub(super) fn configuring(random: &mut Random) -> Program {
    let mut config = stream(random);
    config.maybe(random, 6, "max_consumers", &["1", "2"]);
    config.maybe(
        random,
        6,
        "consumer_limits",
        &[
            "{\"max_ack_pending\":10}",
            "{\"inactive_threshold\":7200000000000}",
            "{\"inactive_threshold\":7200000000000,\"max_ack_pending\":5}",
        ],
    );
    let mut ops = vec![Op::api("STREAM.CREATE.S0", config.text())];
    for _ in 0..random.below(5) {
        ops.push(publish(random));
    }
    for _ in 0..8 + random.below(14) {
        ops.push(configuring_op(random));
    }
    checked(ops, &["S0"])
}

fn configuring_op(random: &mut Random) -> Op {
    let name = random.pick(&["C0", "C0", "C1", "C2"]);
    let empty = random.pick(&["", "", "{}", "{\"a\":1}", "x", "[]"]);
    match random.below(30) {
        0..=19 => {
            let mut extra = Fields::default();
            extra.maybe(
                random,
                6,
                "action",
                &[
                    "\"create\"",
                    "\"update\"",
                    "\"\"",
                    "\"x\"",
                    "\"createorupdate\"",
                    "1",
                ],
            );
            extra.maybe(random, 10, "pedantic", &["true", "false", "1"]);
            extra.maybe(random, 40, "bogus", &["1"]);
            extra.set("config", any_config(random, name).value());
            extra.set("stream_name", if random.once_in(30) { "S1" } else { "S0" });
            let subject = match random.below(12) {
                0 => format!("CONSUMER.DURABLE.CREATE.S0.{name}"),
                1 => format!("CONSUMER.CREATE.S0.{name}.{}", random.pick(FILTERS)),
                2 => format!("CONSUMER.CREATE.{}", random.pick(&["S1.C0", "S0.C9"])),
                _ => format!("CONSUMER.CREATE.S0.{name}"),
            };
            Op::api(subject, extra.text())
        }
        20 => Op::api(format!("CONSUMER.INFO.S0.{name}"), empty),
        21 => Op::api(
            "CONSUMER.NAMES.S0",
            random.pick(&[
                "",
                "{}",
                "{\"offset\":1}",
                "{\"offset\":-1}",
                "{\"x\":1}",
                "x",
                "{\"subject\":\"a\"}",
            ]),
        ),
        22 => Op::api(format!("CONSUMER.DELETE.S0.{name}"), empty),
        23 => Op::api(
            format!("CONSUMER.PAUSE.S0.{name}"),
            random.pick(&[
                "",
                "{}",
                "{\"pause_until\":\"2099-01-01T00:00:00Z\"}",
                "{\"pause_until\":\"2020-01-01T00:00:00Z\"}",
                "{\"x\":1}",
                "x",
                "{\"pause_until\":\"x\"}",
            ]),
        ),
        24 => Op::api(
            format!("CONSUMER.UNPIN.S0.{name}"),
            random.pick(&[
                "",
                "{}",
                "{\"group\":\"A\"}",
                "{\"group\":\"a b\"}",
                "{\"group\":\"Z\"}",
                "x",
                "{\"x\":1}",
            ]),
        ),
        25 => Op::api(
            format!("CONSUMER.RESET.S0.{name}"),
            random.pick(&[
                "",
                "{}",
                "{\"seq\":0}",
                "{\"seq\":2}",
                "{\"seq\":50}",
                "x",
                "{\"x\":1}",
                "{\"seq\":-1}",
            ]),
        ),
        26 => Op::api(format!("CONSUMER.LEADER.STEPDOWN.S0.{name}"), empty),
        27 => Op::api(
            random.pick(&[
                "CONSUMER.CREATE.S0.C0.x.>",
                "CONSUMER.CREATE.S0",
                "CONSUMER.DURABLE.CREATE.S0.C0",
                "CONSUMER.PEER.REMOVE.S0.C0",
                "CONSUMER.LIST.S1",
            ]),
            random.pick(&[
                "",
                "{}",
                "x",
                "{\"peer\":\"x\"}",
                "{\"stream_name\":\"S0\",\"config\":{\"durable_name\":\"C0\"}}",
            ]),
        ),
        _ => publish(random),
    }
}

/// Push consumers on a subscription that comes and goes.
pub(super) fn pushing(random: &mut Random) -> Program {
    let mut ops = vec![Op::api("STREAM.CREATE.S0", stream(random).text())];
    for _ in 0..random.below(6) {
        ops.push(publish(random));
    }
    for _ in 0..15 + random.below(25) {
        ops.push(pushing_op(random));
    }
    checked(ops, &["S0"])
}

fn pushing_op(random: &mut Random) -> Op {
    let name = random.pick(&["C0", "C0", "C1"]);
    match random.below(30) {
        0..=9 => publish(random),
        10..=14 => create(name, push_config(random, name), Fields::default()),
        15..=17 => Op::raw(0, "SUB push.C0 20\r\n"),
        18 => Op::raw(0, "SUB push.> 21\r\n"),
        19 => Op::raw(
            0,
            random.pick(&[
                "UNSUB 20\r\n",
                "UNSUB 21\r\n",
                "UNSUB 20 2\r\n",
                "SUB push.C1 g 22\r\n",
                "UNSUB 22\r\n",
            ]),
        ),
        20..=25 => ack(random),
        26 => Op::api(format!("CONSUMER.DELETE.S0.{name}"), ""),
        27 => Op::api("STREAM.PURGE.S0", purge_body(random)),
        28 => Op::api("STREAM.MSG.DELETE.S0", delete_message_body(random)),
        _ => Op::api(
            format!("CONSUMER.PAUSE.S0.{name}"),
            random.pick(&["{\"pause_until\":\"2099-01-01T00:00:00Z\"}", ""]),
        ),
    }
}

fn push_config(random: &mut Random, name: &str) -> Fields {
    let mut fields = Fields::default();
    let f = &mut fields;
    f.set("durable_name", name);
    f.set("deliver_subject", format!("push.{name}"));
    f.set(
        "ack_policy",
        random.pick(&["explicit", "none", "all", "explicit"]),
    );
    f.set("ack_wait", HOUR);
    f.maybe(
        random,
        2,
        "filter_subject",
        &["\"a.b\"", "\"a.>\"", "\"a.*\"", "\"b\"", "\">\""],
    );
    f.maybe(
        random,
        2,
        "deliver_policy",
        &["\"all\"", "\"last\"", "\"new\"", "\"last_per_subject\""],
    );
    f.maybe(random, 5, "max_deliver", &["1", "2"]);
    f.maybe(random, 6, "max_ack_pending", &["1", "2"]);
    f.maybe(random, 6, "headers_only", &["true"]);
    f.maybe(random, 8, "deliver_group", &["\"g\""]);
    fields
}
