//! Lifetimes of single messages, and the markers that subjects leave behind.

use super::rig::{Rig, SECOND, block};

const STORAGES: [&str; 2] = ["file", "memory"];

fn rig(storage: &str, more: &str) -> Rig {
    let mut rig = Rig::new();
    rig.stream(&format!(
        r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}","allow_msg_ttl":true{more}}}"#
    ));
    rig
}

/// (subject, header block) of all messages.
fn messages(rig: &mut Rig) -> Vec<(String, String)> {
    let (_, first, last) = rig.state("S");
    let mut found = Vec::new();
    for seq in first..=last {
        rig.out.sent.clear();
        let answer = rig.ask("$JS.API.DIRECT.GET.S", "", &format!(r#"{{"seq":{seq}}}"#));
        let lines = answer.headers.lines();
        let own = lines.filter(|line| {
            ![
                "Nats-Stream",
                "Nats-Subject",
                "Nats-Sequence",
                "Nats-Time-Stamp",
                "NATS/1.0",
            ]
            .iter()
            .any(|name| line.starts_with(name))
        });
        let own: Vec<&str> = own.filter(|line| !line.is_empty()).collect();
        let subject = answer
            .headers
            .lines()
            .find_map(|line| line.strip_prefix("Nats-Subject: "));
        if let Some(subject) = subject {
            found.push((subject.to_owned(), own.join("|")));
        }
    }
    found
}

const DIRECT: &str = r#","allow_direct":true"#;
const MARKED: &str = r#","allow_direct":true,"subject_delete_marker_ttl":2000000000"#;
const MARKER: &str = "Nats-Marker-Reason: MaxAge|Nats-TTL: 2s|Nats-Rollup: sub";

#[test]
fn messages_leave_in_the_order_of_their_deadlines() {
    for storage in STORAGES {
        let mut rig = rig(storage, DIRECT);
        rig.publish("s.a", &[("Nats-TTL", "3")], "");
        rig.publish("s.b", &[("Nats-TTL", "1s")], "");
        rig.publish("s.c", &[], "");
        rig.pass(SECOND * 9 / 10);
        assert_eq!(rig.state("S"), (3, 1, 3));
        rig.pass(SECOND / 2);
        assert_eq!(rig.state("S"), (2, 1, 3));
        rig.pass(SECOND * 2);
        assert_eq!(rig.state("S"), (1, 3, 3));
    }
}

#[test]
fn never_outlives_the_streams_age_and_nothing_else_does() {
    for storage in STORAGES {
        let mut rig = rig(storage, r#","allow_direct":true,"max_age":1000000000"#);
        rig.publish("s.n", &[("Nats-TTL", "never")], "");
        for round in 0..3 {
            rig.publish("s.a", &[("Nats-TTL", "1h")], "");
            rig.publish("s.b", &[], "");
            rig.publish("s.n", &[("Nats-TTL", "Never")], "");
            rig.pass(2 * SECOND);
            assert_eq!(rig.state("S").0, 2 + round, "{storage}");
        }
        rig.api("STREAM.PURGE.S", "");
        rig.publish("s.b", &[], "");
        rig.pass(2 * SECOND);
        assert_eq!(rig.state("S").0, 0);
    }
}

#[test]
fn deadlines_survive_crashes_and_checkpoints() {
    for seed in 0..8 {
        let mut rig = rig("file", DIRECT);
        rig.publish("s.long", &[("Nats-TTL", "9")], "");
        rig.publish("s.never", &[("Nats-TTL", "never")], "");
        rig.publish("s.gone", &[("Nats-TTL", "1")], "");
        // More than the journal keeps, so that the first messages are in a checkpoint.
        let filler = "x".repeat(4000);
        for _ in 0..40 {
            rig.publish("s.filler", &[("Nats-TTL", "2")], &filler);
        }
        rig.pass(SECOND * 3 / 2);
        let mut rig = rig.crash(seed);
        assert_eq!(rig.state("S"), (42, 1, 43));
        rig.pass(SECOND);
        assert_eq!(rig.state("S"), (2, 1, 43));
        let mut rig = rig.crash(seed);
        rig.pass(SECOND * 8);
        assert_eq!(rig.state("S"), (1, 2, 43));
    }
}

#[test]
fn the_last_message_of_a_subject_leaves_a_marker() {
    for storage in STORAGES {
        let mut rig = rig(storage, MARKED);
        rig.publish("s.a", &[("Nats-TTL", "3")], "");
        rig.publish("s.b", &[("Nats-TTL", "3")], "");
        rig.publish("s.b", &[], "newer");
        rig.publish("s.del", &[("Nats-TTL", "3"), ("KV-Operation", "DEL")], "");
        rig.publish(
            "s.purge",
            &[("Nats-TTL", "3"), ("KV-Operation", "PURGE")],
            "",
        );
        rig.publish(
            "s.mark",
            &[("Nats-TTL", "3"), ("Nats-Marker-Reason", "Purge")],
            "",
        );
        rig.pass(SECOND * 7 / 2);
        let marker = |subject: &str| (subject.to_owned(), MARKER.to_owned());
        let newer = ("s.b".to_owned(), String::new());
        assert_eq!(
            messages(&mut rig),
            [newer.clone(), marker("s.a"), marker("s.del")]
        );
        rig.pass(SECOND * 3);
        assert_eq!(messages(&mut rig), [newer]);
    }
}

#[test]
fn a_marker_takes_the_place_of_what_grew_too_old() {
    for storage in STORAGES {
        let mut rig = rig(
            storage,
            r#","allow_direct":true,"subject_delete_marker_ttl":2000000000,"max_age":5000000000"#,
        );
        rig.publish("s.a", &[], "1");
        rig.publish("s.a", &[], "2");
        rig.publish("s.n", &[("Nats-TTL", "never")], "");
        rig.pass(SECOND * 11 / 2);
        let never = ("s.n".to_owned(), "Nats-TTL: never".to_owned());
        let marker = ("s.a".to_owned(), MARKER.to_owned());
        assert_eq!(messages(&mut rig), [never.clone(), marker]);
        rig.pass(SECOND * 3);
        assert_eq!(messages(&mut rig), [never]);
    }
}

#[test]
fn a_short_ttl_is_raised_to_that_of_the_marker() {
    for storage in STORAGES {
        let mut rig = rig(storage, MARKED);
        rig.publish("s.a", &[("Nats-TTL", "1"), ("A", "b")], "");
        rig.publish("s.b", &[("Nats-TTL", "2500ms")], "");
        let stored = |subject: &str, lines: &str| (subject.to_owned(), lines.to_owned());
        assert_eq!(
            messages(&mut rig),
            [
                stored("s.a", "A: b|Nats-TTL: 2"),
                stored("s.b", "Nats-TTL: 2500ms")
            ]
        );
    }
}

#[test]
fn a_crash_never_leaves_a_subject_without_both() {
    for seed in 0..40 {
        let mut rig = rig("file", MARKED);
        rig.publish("s.a", &[("Nats-TTL", "2")], "");
        rig.publish("s.b", &[("Nats-TTL", "2")], "");
        rig.now += 3 * SECOND;
        // Decided, and perhaps partly written.
        rig.handle(crate::jetstream::io::Event::Tick);
        rig.handle(crate::jetstream::io::Event::BatchEnd);
        let mut rig = rig.crash(seed);
        rig.settle();
        rig.pass(SECOND);
        let marker = |subject: &str| (subject.to_owned(), MARKER.to_owned());
        assert_eq!(messages(&mut rig), [marker("s.a"), marker("s.b")]);
    }
}

#[test]
fn switching_ttls_on_finds_those_that_are_stored() {
    for storage in STORAGES {
        let mut rig = Rig::new();
        rig.stream(&format!(
            r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}","allow_direct":true}}"#
        ));
        // Refused while they are off; a restored stream may hold some all the same.
        assert!(
            rig.publish("s.a", &[("Nats-TTL", "1")], "")
                .contains("10166")
        );
        rig.publish("s.a", &[], "");
        rig.api(
            "STREAM.UPDATE.S",
            &format!(r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}","allow_direct":true,"allow_msg_ttl":true}}"#),
        );
        rig.publish("s.b", &[("Nats-TTL", "1")], "");
        rig.pass(2 * SECOND);
        assert_eq!(rig.state("S"), (1, 1, 2));
    }
}

#[test]
fn more_markers_than_one_sweep_stores_come_soon() {
    for storage in STORAGES {
        let mut rig = rig(storage, MARKED);
        for n in 0..5000 {
            rig.send(&format!("s.{n}"), "", &block(&[("Nats-TTL", "2")]), "");
        }
        rig.settle();
        rig.pass(SECOND * 5 / 2);
        assert_eq!(rig.state("S"), (5000, 5001, 10_000));
        rig.pass(SECOND * 5 / 2);
        assert_eq!(rig.state("S"), (0, 10_001, 10_000));
    }
}
