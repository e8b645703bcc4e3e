//! Streams whose messages count.

use super::rig::{Rig, block, nak};

const STORAGES: [&str; 2] = ["file", "memory"];

fn rig(storage: &str, more: &str) -> Rig {
    let mut rig = Rig::new();
    rig.stream(&format!(
        r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}","allow_msg_counter":true{more}}}"#
    ));
    rig
}

fn count(rig: &mut Rig, subject: &str, incr: &str) -> String {
    rig.publish(subject, &[("Nats-Incr", incr)], "")
}

fn ack(seq: u64, total: &str) -> String {
    format!(r#"{{"stream":"S","seq":{seq},"val":"{total}"}}"#)
}

#[test]
fn acknowledges_with_the_total_of_the_subject() {
    for storage in STORAGES {
        let mut rig = rig(storage, "");
        assert_eq!(count(&mut rig, "s.a", "1"), ack(1, "1"));
        assert_eq!(count(&mut rig, "s.a", "+5"), ack(2, "6"));
        assert_eq!(count(&mut rig, "s.b", "-2"), ack(3, "-2"));
        assert_eq!(count(&mut rig, "s.a", "-10"), ack(4, "-4"));
        // {"val":"-4"}
        let last = rig.api("STREAM.MSG.GET.S", r#"{"last_by_subj":"s.a"}"#);
        assert!(last.contains("eyJ2YWwiOiItNCJ9"), "{last}");
        rig.api("STREAM.PURGE.S", r#"{"filter":"s.a"}"#);
        assert_eq!(count(&mut rig, "s.a", "2"), ack(5, "2"));
    }
}

#[test]
fn what_is_in_flight_counts() {
    let mut rig = rig("file", "");
    rig.take();
    for _ in 0..3 {
        rig.send("s.a", "_INBOX.1", &block(&[("Nats-Incr", "2")]), "");
    }
    rig.settle();
    let acks: Vec<String> = rig.take().into_iter().map(|sent| sent.payload).collect();
    assert_eq!(acks, [ack(1, "2"), ack(2, "4"), ack(3, "6")]);
    let mut rig = rig.crash(1);
    assert_eq!(count(&mut rig, "s.a", "1"), ack(4, "7"));
}

#[test]
fn refuses_what_does_not_count() {
    for storage in STORAGES {
        let mut rig = rig(storage, r#","allow_rollup_hdrs":true,"max_msg_size":60"#);
        let refused = |err_code, text| nak(400, err_code, text, "S");
        let missing = refused(10169, "message counter increment is missing");
        let invalid = refused(10171, "message counter increment is invalid");
        assert_eq!(rig.publish("s.a", &[], ""), missing);
        assert_eq!(count(&mut rig, "s.a", "1.5"), invalid);
        let one = ("Nats-Incr", "1");
        assert_eq!(
            rig.publish("s.a", &[one], "x"),
            refused(10170, "message counter has payload")
        );
        for other in [
            "Nats-Rollup",
            "Nats-Expected-Last-Sequence",
            "Nats-Expected-Stream",
        ] {
            assert_eq!(rig.publish("s.a", &[one, (other, "1")], ""), invalid);
        }
        // The total counts for the size.
        let size = refused(10054, "message size exceeds maximum allowed");
        assert_eq!(count(&mut rig, "s.a", "200000000000000"), size);
        assert_eq!(rig.state("S"), (0, 0, 0));
    }
}

#[test]
fn sources_are_carried_on() {
    for storage in STORAGES {
        let mut rig = rig(storage, r#","allow_direct":true"#);
        let sources = ("Nats-Counter-Sources", r#"{"a":{"b":"1"}}"#);
        rig.publish("s.a", &[("Nats-Incr", "3"), sources], "");
        rig.publish(
            "s.a",
            &[("Nats-Counter-Sources", "x"), ("Nats-Incr", "3")],
            "",
        );
        let last = rig.ask("$JS.API.DIRECT.GET.S", "", r#"{"seq":2}"#);
        let expected =
            "NATS/1.0\r\nNats-Incr: 3\r\nNats-Counter-Sources: {\"a\":{\"b\":\"1\"}}\r\n";
        assert!(last.headers.starts_with(expected), "{}", last.headers);
        assert_eq!(last.payload, r#"{"val":"6"}"#);
    }
}

#[test]
fn batches_count_each_message() {
    for storage in STORAGES {
        let mut rig = rig(storage, r#","allow_atomic":true"#);
        count(&mut rig, "s.a", "1");
        for (seq, subject) in [("1", "s.a"), ("2", "s.b"), ("3", "s.a")] {
            let mut headers = vec![
                ("Nats-Batch-Id", "b"),
                ("Nats-Batch-Sequence", seq),
                ("Nats-Incr", "10"),
            ];
            if seq == "3" {
                headers.push(("Nats-Batch-Commit", "1"));
            }
            rig.publish(subject, &headers, "");
        }
        assert_eq!(count(&mut rig, "s.a", "1"), ack(5, "22"));
        assert_eq!(count(&mut rig, "s.b", "1"), ack(6, "11"));
    }
}
