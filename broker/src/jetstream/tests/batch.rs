//! Atomic batches: all or nothing, for readers and over crashes.

use super::rig::{Rig, SECOND, block, nak};
use crate::jetstream::io::Event;

const CONFIG: [&str; 2] = [
    r#"{"name":"S","subjects":["s.>"],"allow_atomic":true,"allow_rollup_hdrs":true}"#,
    r#"{"name":"S","subjects":["s.>"],"allow_atomic":true,"allow_rollup_hdrs":true,"storage":"memory"}"#,
];

fn part(rig: &mut Rig, seq: u64, subject: &str, more: &[(&str, &str)]) -> String {
    let seq = seq.to_string();
    let mut headers = vec![("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", &seq)];
    headers.extend_from_slice(more);
    rig.publish(subject, &headers, "x")
}

const COMMIT: (&str, &str) = ("Nats-Batch-Commit", "1");

#[test]
fn stores_all_of_a_batch_with_its_last_message() {
    for config in CONFIG {
        let mut rig = Rig::new();
        rig.stream(config);
        assert_eq!(part(&mut rig, 1, "s.a", &[]), "");
        assert_eq!(part(&mut rig, 2, "s.b", &[]), "");
        assert_eq!(rig.state("S"), (0, 0, 0));
        let ack = part(&mut rig, 3, "s.c", &[COMMIT]);
        assert_eq!(ack, r#"{"stream":"S","seq":3,"batch":"b","count":3}"#);
        assert_eq!(rig.state("S"), (3, 1, 3));
        // The id is free again.
        part(&mut rig, 1, "s.a", &[]);
        let ack = part(&mut rig, 2, "s.a", &[("Nats-Batch-Commit", "eob")]);
        assert_eq!(ack, r#"{"stream":"S","seq":4,"batch":"b","count":1}"#);
        let last = rig.api("STREAM.MSG.GET.S", r#"{"seq":4}"#);
        let hdrs = "TkFUUy8xLjANCk5hdHMtQmF0Y2gtSWQ6IGINCk5hdHMtQmF0Y2gtU2VxdWVuY2U6IDENCk5hdHMtQmF0Y2gtQ29tbWl0OiAxDQoNCg==";
        assert!(last.contains(hdrs), "{last}");
    }
}

#[test]
fn stores_nothing_when_one_message_is_refused() {
    for config in CONFIG {
        let check = |first: &[(&str, &str)], last: &[(&str, &str)], refusal: String| {
            let mut rig = Rig::new();
            rig.stream(config);
            rig.publish("s.z", &[("Nats-Msg-Id", "old")], "");
            assert_eq!(part(&mut rig, 1, "s.a", first), "");
            let mut last = last.to_vec();
            last.push(COMMIT);
            assert_eq!(part(&mut rig, 2, "s.a", &last), refusal);
            assert_eq!(rig.state("S"), (1, 1, 1));
            assert_eq!(rig.publish("s.z", &[], ""), r#"{"stream":"S","seq":2}"#);
        };
        let refused = |err_code, text| nak(400, err_code, text, "S");
        let duplicate = refused(10201, "atomic publish batch contains duplicate message id");
        check(&[("Nats-Msg-Id", "old")], &[], duplicate.clone());
        check(&[("Nats-Msg-Id", "n")], &[("Nats-Msg-Id", "n")], duplicate);
        let wrong = |text| refused(10071, text);
        check(
            &[("Nats-Expected-Last-Sequence", "7")],
            &[],
            wrong("wrong last sequence: 1"),
        );
        check(
            &[],
            &[("Nats-Expected-Last-Sequence", "7")],
            wrong("wrong last sequence: 2"),
        );
        let constant = refused(10164, "wrong last sequence");
        check(
            &[],
            &[("Nats-Expected-Last-Sequence", "2")],
            constant.clone(),
        );
        check(
            &[],
            &[("Nats-Expected-Last-Subject-Sequence", "0")],
            constant,
        );
        let header = "atomic publish unsupported header used: Nats-Expected-Last-Msg-Id";
        check(
            &[("Nats-Expected-Last-Msg-Id", "old")],
            &[],
            refused(10177, header),
        );
        let rollup = |text| nak(500, 10111, text, "S");
        check(
            &[],
            &[("Nats-Rollup", "sub")],
            rollup("batch rollup sub invalid"),
        );
        check(
            &[],
            &[("Nats-Rollup", "all")],
            rollup("batch rollup all invalid"),
        );
    }
}

#[test]
fn counts_what_is_before_a_message_in_its_batch() {
    for storage in ["file", "memory"] {
        let mut rig = Rig::new();
        rig.stream(&format!(
            r#"{{"name":"S","subjects":["s.>"],"allow_atomic":true,"storage":"{storage}","discard":"new","max_msgs_per_subject":1,"discard_new_per_subject":true}}"#
        ));
        part(&mut rig, 1, "s.a", &[]);
        let full = nak(503, 10077, "maximum messages per subject exceeded", "S");
        assert_eq!(part(&mut rig, 2, "s.a", &[COMMIT]), full);
        assert_eq!(rig.state("S"), (0, 0, 0));
    }
}

#[test]
fn a_part_that_is_durable_alone_is_not_seen() {
    let mut rig = Rig::new();
    rig.stream(CONFIG[0]);
    part(&mut rig, 1, "s.a", &[]);
    part(&mut rig, 2, "s.b", &[]);
    rig.take();
    let before = rig.core.core_mut().log.appended();
    let headers = [("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "3"), COMMIT];
    rig.send("s.c", "_INBOX.1", &block(&headers), "x");
    let after = rig.core.core_mut().log.appended();
    // As if the writer had synced up to every single record.
    for at in before.0 + 1..after.0 {
        rig.handle(Event::Durable(jetwake_storage::Lsn(at)));
        assert_eq!(rig.take(), []);
    }
    rig.settle();
    assert_eq!(rig.take().len(), 1);
    assert_eq!(rig.state("S"), (3, 1, 3));
}

#[test]
fn refuses_what_is_no_batch() {
    let mut rig = Rig::new();
    rig.stream(CONFIG[0]);
    let refused = |err_code, text| nak(400, err_code, text, "S");
    let incomplete = refused(10176, "atomic publish batch is incomplete");
    assert_eq!(part(&mut rig, 2, "s.a", &[]), incomplete);
    part(&mut rig, 1, "s.a", &[]);
    assert_eq!(part(&mut rig, 3, "s.a", &[]), incomplete);
    part(&mut rig, 1, "s.a", &[]);
    let commit = refused(10200, "atomic publish batch commit is invalid");
    assert_eq!(
        part(&mut rig, 2, "s.a", &[("Nats-Batch-Commit", "x")]),
        commit
    );
    let missing = refused(10175, "atomic publish sequence is missing");
    assert_eq!(rig.publish("s.a", &[("Nats-Batch-Id", "b")], ""), missing);
    let large = refused(10199, "atomic publish batch is too large: 1000");
    assert_eq!(part(&mut rig, 1001, "s.a", &[]), large);
    let id = "x".repeat(65);
    let long = rig.publish("s.a", &[("Nats-Batch-Id", &id)], "");
    assert_eq!(long, refused(10179, "atomic publish batch ID is invalid"));
    part(&mut rig, 1, "s.a", &[]);
    rig.pass(10 * SECOND);
    assert_eq!(part(&mut rig, 2, "s.a", &[COMMIT]), incomplete);
    assert_eq!(rig.state("S"), (0, 0, 0));
}

#[test]
fn a_crash_leaves_all_of_a_batch_or_nothing() {
    let mut whole = 0;
    for seed in 0..40 {
        let mut rig = Rig::new();
        rig.stream(CONFIG[0]);
        rig.publish("s.a", &[], "");
        // Of many sectors hardly ever all survive, of few often.
        let (count, size) = if seed % 2 == 0 { (30, 700) } else { (3, 10) };
        for seq in 1..=count {
            let seq_text = seq.to_string();
            let mut headers = vec![("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", &*seq_text)];
            if seq == count {
                headers.push(COMMIT);
            }
            rig.send("s.a", "", &block(&headers), &"x".repeat(size));
        }
        rig.handle(Event::BatchEnd);
        rig.write();
        let mut rig = rig.crash(seed);
        let state = rig.state("S");
        assert!(
            state == (1, 1, 1) || state == (1 + count, 1, 1 + count),
            "{state:?}"
        );
        whole += u64::from(state.0 > 1);
        // What comes afterwards is no part of it, and survives too.
        let ack = rig.publish("s.a", &[], "");
        assert_eq!(ack, format!(r#"{{"stream":"S","seq":{}}}"#, state.2 + 1));
        let mut rig = rig.crash(seed);
        assert_eq!(rig.state("S"), (state.0 + 1, 1, state.2 + 1));
    }
    assert!(whole > 0 && whole < 40, "{whole}");
}

#[test]
fn fast_ingest_answers_now_and_then() {
    for storage in ["file", "memory"] {
        let mut rig = Rig::new();
        rig.stream(&format!(
            r#"{{"name":"S","allow_batched":true,"storage":"{storage}"}}"#
        ));
        let mut send = |seq: u64, mode: &str, operation: u8| -> Vec<String> {
            rig.take();
            rig.send(
                "S",
                &format!("in.x.b.2.{mode}.{seq}.{operation}.$FI"),
                "",
                "",
            );
            rig.settle();
            rig.take().into_iter().map(|sent| sent.payload).collect()
        };
        let ack = |seq: u64| format!(r#"{{"type":"ack","seq":{seq},"msgs":2}}"#);
        assert_eq!(send(1, "ok", 0), [ack(0)]);
        assert_eq!(send(2, "ok", 1), [ack(2)]);
        let gap = r#"{"type":"gap","last_seq":3,"seq":4}"#.to_owned();
        assert_eq!(send(4, "ok", 1), [gap]);
        assert_eq!(send(4, "ok", 4), [ack(4)]);
        assert_eq!(
            send(5, "ok", 2),
            [r#"{"stream":"S","seq":4,"batch":"b","count":5}"#]
        );
        let unknown = nak(400, 10208, "batch publish ID unknown", "S");
        assert_eq!(send(6, "ok", 1), [unknown]);
        let invalid = nak(400, 10206, "batch publish pattern is invalid", "S");
        assert_eq!(send(1, "maybe", 0), std::slice::from_ref(&invalid));
        assert_eq!(send(1, "ok", 3), [invalid]);
        assert_eq!(rig.state("S"), (4, 1, 4));
    }
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    rig.take();
    rig.send("S", "in.x.b.2.ok.1.0.$FI", "", "");
    assert_eq!(
        rig.take()[0].payload,
        nak(400, 10205, "batch publish is disabled", "S")
    );
}
