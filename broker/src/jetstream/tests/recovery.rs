//! What was acknowledged is there after a crash.

use std::path::Path;

use jetwake_storage::Disk;

use super::rig::{Rig, SECOND, block};
use crate::jetstream::Settings;
use crate::jetstream::io::Event;

#[test]
fn everything_acknowledged_survives_every_crash() {
    for seed in 0..20 {
        let mut rig = Rig::new();
        rig.stream(
            r#"{"name":"S","subjects":["s.>"],"allow_rollup_hdrs":true,"max_msgs_per_subject":5}"#,
        );
        rig.stream(r#"{"name":"T","subjects":["t"],"first_seq":10}"#);
        rig.stream(r#"{"name":"M","subjects":["m"],"storage":"memory"}"#);
        for n in 0..20 {
            rig.publish(
                &format!("s.{}", n % 3),
                &[("Nats-Msg-Id", &n.to_string())],
                "x",
            );
        }
        rig.api("STREAM.MSG.DELETE.S", r#"{"seq":20}"#);
        rig.api("STREAM.PURGE.S", r#"{"filter":"s.1","keep":1}"#);
        rig.publish("s.0", &[("Nats-Rollup", "sub")], "y");
        rig.publish("t", &[], "");
        rig.api("STREAM.PURGE.T", "");
        let before = (
            rig.state("S"),
            rig.state("T"),
            rig.api("STREAM.MSG.GET.S", r#"{"last_by_subj":"s.0"}"#),
        );
        // In flight: may survive or not, but nothing before it is touched.
        rig.send("s.9", "_INBOX.1", "", "z");
        rig.handle(crate::jetstream::io::Event::BatchEnd);
        let mut rig = rig.crash(seed);
        let state = rig.state("S");
        assert!(
            state == before.0 || state == (before.0.0 + 1, before.0.1, before.0.2 + 1),
            "{state:?}"
        );
        assert_eq!(rig.state("T"), before.1);
        assert_eq!(
            rig.api("STREAM.MSG.GET.S", r#"{"last_by_subj":"s.0"}"#),
            before.2
        );
        assert!(
            rig.publish("s.1", &[("Nats-Msg-Id", "7")], "")
                .contains("\"seq\":8,\"duplicate\": true")
        );
        assert_eq!(rig.publish("t", &[], ""), r#"{"stream":"T","seq":11}"#);
        assert!(!rig.send("m", "", "", ""), "memory streams are gone");
        assert!(rig.out.lines.is_empty(), "{:?}", rig.out.lines);
    }
}

#[test]
fn deleted_streams_stay_deleted_and_their_names_are_free() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    rig.publish("S", &[], "");
    rig.api("STREAM.DELETE.S", "");
    let mut rig = rig.crash(1);
    assert!(rig.api("STREAM.INFO.S", "").contains("10059"));
    rig.stream(r#"{"name":"S"}"#);
    let mut rig = rig.crash(2);
    assert_eq!(rig.state("S"), (0, 0, 0));
    assert_eq!(rig.publish("S", &[], ""), r#"{"stream":"S","seq":1}"#);
}

#[test]
fn updates_and_expiry_survive() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","max_age":1000000000,"duplicate_window":1000000000}"#);
    rig.publish("S", &[], "");
    rig.pass(2 * SECOND);
    rig.publish("S", &[], "");
    rig.api(
        "STREAM.UPDATE.S",
        r#"{"name":"S","subjects":["S","x"],"description":"d"}"#,
    );
    let mut rig = rig.crash(3);
    assert_eq!(rig.state("S"), (1, 2, 2));
    assert!(
        rig.api("STREAM.INFO.S", "")
            .contains(r#""description":"d""#)
    );
    assert_eq!(rig.publish("x", &[], ""), r#"{"stream":"S","seq":3}"#);
}

#[test]
fn consumers_survive_with_what_they_acknowledged() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","retention":"workqueue"}"#);
    let create = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit","deliver_policy":"all"}}"#;
    let created = rig.api("CONSUMER.CREATE.S.C", create);
    assert!(
        created.contains(r#""name":"C""#) && !created.contains("error"),
        "{created}"
    );
    for _ in 0..3 {
        rig.publish("S", &[], "x");
    }
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "2");
    rig.settle();
    let delivered = rig.take();
    assert_eq!(delivered.len(), 2, "{delivered:?}");
    let answer = rig.ask(&delivered[1].reply, &block(&[]), "+ACK");
    assert_eq!(answer.payload, "");
    rig.settle();
    assert_eq!(rig.state("S"), (2, 1, 3));
    let mut rig = rig.crash(4);
    assert_eq!(rig.state("S"), (2, 1, 3));
    let info = rig.api("CONSUMER.INFO.S.C", "");
    assert!(
        info.contains(r#""num_ack_pending":1,"num_redelivered":0,"num_waiting":0,"num_pending":1"#),
        "{info}"
    );
    let deleted = rig.api("CONSUMER.DELETE.S.C", "");
    assert!(deleted.contains("\"success\":true"));
    let mut rig = rig.crash(5);
    assert!(rig.api("CONSUMER.INFO.S.C", "").contains("10014"));
}

#[test]
fn a_failed_store_refuses_and_does_not_acknowledge() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    rig.take();
    rig.send("S", "_INBOX.1", "", "lost");
    rig.handle(crate::jetstream::io::Event::StoreFailed("disk is gone"));
    assert_eq!(rig.take(), []);
    rig.send("S", "_INBOX.2", "", "refused");
    let refused = rig.take();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].payload.contains("10023"), "{refused:?}");
    rig.send("$JS.API.INFO", "_INBOX.3", "", "");
    assert!(rig.take()[0].payload.contains("10023"));
}

#[test]
fn a_failed_store_confirms_no_ack_and_goes_on_in_memory() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    rig.stream(r#"{"name":"M","storage":"memory"}"#);
    let create = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}"#;
    rig.api("CONSUMER.CREATE.S.C", create);
    rig.publish("S", &[], "x");
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "1");
    rig.settle();
    let ack = rig.take().remove(0).reply;
    rig.handle(crate::jetstream::io::Event::StoreFailed("disk is gone"));
    rig.send(&ack, "_INBOX.1", "", "+ACK");
    rig.handle(crate::jetstream::io::Event::BatchEnd);
    assert_eq!(rig.take(), [], "a confirmed ack would be a lie");
    assert_eq!(rig.publish("M", &[], ""), r#"{"stream":"M","seq":1}"#);
}

#[test]
fn checkpoints_carry_everything_over() {
    for seed in 0..10 {
        let settings = Settings {
            keep: 0,
            ..Settings::default()
        };
        let mut rig = Rig::with(settings);
        rig.stream(r#"{"name":"S","subjects":["s.>"],"max_msgs_per_subject":50,"first_seq":100}"#);
        rig.stream(r#"{"name":"Q","retention":"workqueue"}"#);
        rig.stream(r#"{"name":"D"}"#);
        let first = Path::new("/js/journal-0000000001");
        assert!(rig.disk.size(first) > 0);
        let create = r#"{"stream_name":"Q","config":{"durable_name":"C","ack_policy":"explicit"}}"#;
        rig.api("CONSUMER.CREATE.Q.C", create);
        let payload = "x".repeat(1000);
        for n in 0..200 {
            rig.publish(
                &format!("s.{}", n % 7),
                &[("Nats-Msg-Id", &n.to_string())],
                &payload,
            );
            rig.publish("Q", &[], &payload);
            rig.publish("D", &[], "");
            // A batch that is in flight while jobs of the store come back.
            rig.send("s.8", "", "", "");
            rig.send("$JS.API.CONSUMER.MSG.NEXT.Q.C", "_INBOX.9", "", "");
            rig.settle();
            let delivered = rig.take();
            let delivered = delivered
                .iter()
                .find(|sent| sent.route == "_INBOX.9")
                .unwrap();
            if n % 3 > 0 {
                rig.ask(&delivered.reply.clone(), "", "");
            }
        }
        rig.api("STREAM.DELETE.D", "");
        rig.api(
            "STREAM.UPDATE.S",
            r#"{"name":"S","subjects":["s.>"],"max_msgs_per_subject":40}"#,
        );
        assert!(
            rig.disk.size(Path::new("/js/journal-0000000001")) == 0,
            "the first file is gone"
        );
        let before = (rig.state("S"), rig.state("Q"), consumer(&mut rig));
        let mut rig = rig.crash(seed);
        assert_eq!((rig.state("S"), rig.state("Q"), consumer(&mut rig)), before);
        assert!(rig.api("STREAM.INFO.D", "").contains("10059"));
        assert!(
            rig.publish("s.1", &[("Nats-Msg-Id", "0")], "")
                .contains("duplicate")
        );
        let got = rig.api("STREAM.MSG.GET.S", r#"{"next_by_subj":"s.3"}"#);
        assert!(got.contains("eHh4"), "{got}");
        assert!(rig.out.lines.is_empty(), "{:?}", rig.out.lines);
    }
}

fn consumer(rig: &mut Rig) -> String {
    let info: serde_json::Value = serde_json::from_str(&rig.api("CONSUMER.INFO.Q.C", "")).unwrap();
    let part = |key: &str| info[key].to_string();
    let position = |key: &str| info[key]["stream_seq"].to_string();
    [
        position("delivered"),
        position("ack_floor"),
        part("num_ack_pending"),
        part("num_pending"),
    ]
    .join(" ")
}

/// What an operation on a stream with consumers `a` and `b` may be.
fn consume(rig: &mut Rig, random: &mut u64, step: usize) {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let choice = (*random >> 33) as usize;
    let name = ["a", "b"][choice / 16 % 2];
    match choice % 16 {
        0 => {
            rig.send(
                &format!("$JS.API.CONSUMER.DELETE.S.{name}"),
                "_INBOX.d",
                "",
                "",
            );
        }
        1 => {
            let config = format!(
                r#"{{"stream_name":"S","config":{{"durable_name":"{name}","ack_policy":"explicit","filter_subject":"s.{name}"}}}}"#
            );
            rig.send(
                &format!("$JS.API.CONSUMER.CREATE.S.{name}"),
                "_INBOX.c",
                "",
                &config,
            );
        }
        2..8 => {
            rig.take();
            let next = format!("$JS.API.CONSUMER.MSG.NEXT.S.{name}");
            rig.send(&next, "_INBOX.n", "", r#"{"batch":5,"no_wait":true}"#);
            rig.handle(Event::BatchEnd);
            let replies: Vec<String> = rig.take().into_iter().map(|one| one.reply).collect();
            for reply in replies.iter().filter(|reply| reply.starts_with("$JS.ACK")) {
                rig.send(reply, "", "", ["+ACK", "+ACK", "-NAK"][choice / 64 % 3]);
            }
        }
        _ => {
            let subject = ["s.a", "s.b"][step % 2];
            rig.send(subject, "_INBOX.p", "", &"x".repeat(300));
        }
    }
}

#[test]
fn nothing_stays_that_consumers_were_done_with() {
    for (seed, retention) in (1..25).flat_map(|seed| [(seed, "interest"), (seed, "workqueue")]) {
        let mut rig = Rig::new();
        let mut random = seed;
        rig.stream(&format!(
            r#"{{"name":"S","subjects":["s.*"],"retention":"{retention}"}}"#
        ));
        for step in 0..400 {
            consume(&mut rig, &mut random, step);
            match step % 7 {
                // What was handed over is written, and lost or not with the power.
                6 if step % 3 == 0 => {
                    rig.handle(Event::BatchEnd);
                    rig.write();
                }
                0 | 3 => rig.settle(),
                _ => {}
            }
            if step % 80 == 79 {
                // Nobody wants these by the time they are stored, and what lets them go is lost.
                rig.settle();
                rig.send("s.a", "_INBOX.p", "", "late");
                rig.send("$JS.API.CONSUMER.DELETE.S.a", "_INBOX.d", "", "");
                rig.commit();
                rig = rig.crash(seed + step as u64);
                rig.settle();
                let stream = rig.core.core_mut().streams.get_mut(1).unwrap();
                let late = stream.let_go_late();
                assert!(late.is_empty(), "{retention} {seed} {step}: {late:?}");
            }
        }
    }
}

#[test]
fn a_batch_of_direct_gets_goes_around_a_damaged_message() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","subjects":["s"],"allow_direct":true}"#);
    for payload in ["the first", "the second", "the third"] {
        rig.publish("s", &[], payload);
    }
    // As found by a server that did not write it: what was just written may be served from memory.
    let mut rig = rig.crash(0);
    let path = Path::new("/js/journal-0000000001");
    let file = rig.disk.open(path).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    let at = bytes.windows(10).position(|part| part == b"the second");
    rig.disk.flip(path, at.unwrap(), 3);
    for body in [
        r#"{"seq":1,"batch":10}"#,
        r#"{"multi_last":["s"],"up_to_seq":2}"#,
    ] {
        rig.send("$JS.API.DIRECT.GET.S", "_INBOX.1", "", body);
    }
    let sent = rig.take();
    let bodies: Vec<&str> = sent.iter().map(|one| one.payload.as_str()).collect();
    assert_eq!(bodies, ["the first", "the third", "", ""]);
    assert!(
        sent[2..]
            .iter()
            .all(|one| one.headers.starts_with("NATS/1.0 204"))
    );
    assert!(rig.out.lines.iter().any(|line| line.contains("damaged")));
}
