//! Subjects that a stream changes, and messages that it sends on.

use super::rig::{Rig, SECOND, Sent, block};
use crate::jetstream::io::Event;

const STORAGES: [&str; 2] = ["file", "memory"];

fn rig(storage: &str, more: &str) -> Rig {
    let mut rig = Rig::new();
    rig.stream(&format!(
        r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}",{more}}}"#
    ));
    rig.take();
    rig
}

fn stored(rig: &mut Rig, seq: u64) -> String {
    let answer = rig.api("STREAM.MSG.GET.S", &format!(r#"{{"seq":{seq}}}"#));
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["message"]["subject"].as_str().unwrap().to_owned()
}

/// Publishes; what came out in order.
fn outcome(rig: &mut Rig, subject: &str, headers: &[(&str, &str)], payload: &str) -> Vec<Sent> {
    rig.take();
    rig.send(subject, "_INBOX.1", &block(headers), payload);
    rig.settle();
    rig.take()
}

#[test]
fn messages_are_judged_and_stored_under_the_transformed_subject() {
    for storage in STORAGES {
        let mut rig = rig(
            storage,
            r#""subject_transform":{"src":"s.*","dest":"n.{{wildcard(1)}}.z"}"#,
        );
        assert_eq!(rig.publish("s.a", &[], ""), r#"{"stream":"S","seq":1}"#);
        rig.publish("s.a.b", &[], "");
        assert_eq!(stored(&mut rig, 1), "n.a.z");
        assert_eq!(stored(&mut rig, 2), "s.a.b");
        let expect = [("Nats-Expected-Last-Subject-Sequence", "1")];
        assert_eq!(rig.publish("s.a", &expect, ""), r#"{"stream":"S","seq":3}"#);
        assert!(
            rig.publish("s.a", &expect, "")
                .contains("wrong last sequence: 3")
        );
    }
}

#[test]
fn an_update_changes_the_transform_and_a_crash_keeps_it() {
    let mut rig = rig("file", r#""subject_transform":{"src":"s.*","dest":"n.$1"}"#);
    rig.api(
        "STREAM.UPDATE.S",
        r#"{"name":"S","subjects":["s.>"],"subject_transform":{"src":"s.*","dest":"m.$1"}}"#,
    );
    rig.publish("s.a", &[], "");
    let mut rig = rig.crash(1);
    rig.publish("s.b", &[], "");
    assert_eq!(
        (stored(&mut rig, 1), stored(&mut rig, 2)),
        ("m.a".into(), "m.b".into())
    );
}

#[test]
fn what_is_stored_is_sent_on_before_the_acknowledgement() {
    for storage in STORAGES {
        let mut rig = rig(storage, r#""republish":{"src":"s.>","dest":"r.>"}"#);
        outcome(&mut rig, "s.a.b", &[("A", "b")], "one");
        rig.now += SECOND;
        let sent = outcome(
            &mut rig,
            "s.a.b",
            &[("A", "b"), ("Nats-Msg-Id", "1")],
            "two",
        );
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!((&*sent[0].route, &*sent[0].subject), ("r.a.b", "r.a.b"));
        assert_eq!(
            sent[0].headers,
            "NATS/1.0\r\nA: b\r\nNats-Msg-Id: 1\r\nNats-Stream: S\r\nNats-Subject: s.a.b\r\n\
             Nats-Sequence: 2\r\nNats-Time-Stamp: 2026-01-01T00:00:01Z\r\n\
             Nats-Last-Sequence: 1\r\n\r\n"
        );
        assert_eq!((&*sent[0].payload, &*sent[0].reply), ("two", ""));
        assert_eq!(sent[1].route, "_INBOX.1");
        // A duplicate is not stored, so it is not sent.
        let sent = outcome(&mut rig, "s.a.b", &[("Nats-Msg-Id", "1")], "two");
        assert_eq!(sent.len(), 1);
    }
}

#[test]
fn headers_only_names_the_size() {
    for storage in STORAGES {
        let mut rig = rig(
            storage,
            r#""republish":{"src":"s.a","dest":"r","headers_only":true}"#,
        );
        let sent = outcome(&mut rig, "s.a", &[], "hello");
        assert!(
            sent[0]
                .headers
                .ends_with("Nats-Last-Sequence: 0\r\nNats-Msg-Size: 5\r\n\r\n")
        );
        assert_eq!(sent[0].payload, "");
        assert_eq!(outcome(&mut rig, "s.b", &[], "hello").len(), 1);
    }
}

#[test]
fn nothing_is_sent_on_before_it_is_durable() {
    let mut rig = rig("file", r#""republish":{"src":">","dest":"r.>"}"#);
    rig.send("s.a", "", "", "one");
    rig.handle(Event::BatchEnd);
    assert_eq!(rig.take(), []);
    rig.settle();
    assert_eq!(rig.take()[0].route, "r.s.a");
    // Nor is anything sent again by a recovery.
    let mut rig = rig.crash(1);
    rig.settle();
    assert_eq!(rig.take(), []);
}

#[test]
fn only_what_somebody_wants_is_sent_on() {
    for storage in STORAGES {
        let mut rig = rig(
            storage,
            r#""retention":"interest","republish":{"src":">","dest":"r.>"}"#,
        );
        assert_eq!(outcome(&mut rig, "s.a", &[], "").len(), 1);
    }
}
