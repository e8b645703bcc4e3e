//! Rot: one damaged message is lost and named, and everything else goes on.

use std::path::{Path, PathBuf};

use jetwake_storage::Disk as _;

use super::rig::{Rig, SECOND};
use crate::jetstream::Settings;

/// Where a text lies on the disk.
fn find(rig: &Rig, text: &str) -> (PathBuf, usize) {
    let dir = Path::new("/js");
    for name in rig.disk.list(dir).unwrap() {
        let path = dir.join(name);
        let mut bytes = vec![0; rig.disk.size(&path)];
        rig.disk
            .open(&path)
            .unwrap()
            .read_at(0, &mut bytes)
            .unwrap();
        let mut windows = bytes.windows(text.len());
        if let Some(at) = windows.position(|window| window == text.as_bytes()) {
            return (path, at);
        }
    }
    panic!("{text} is nowhere");
}

fn lost(rig: &mut Rig) -> String {
    let info = rig.api("STREAM.INFO.S", r#"{"deleted_details":true}"#);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    info["state"]["lost"].to_string()
}

fn fetch(rig: &mut Rig, consumer: &str) -> Vec<String> {
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.S.{consumer}");
    rig.take();
    rig.send(&next, "_INBOX.9", "", "10");
    rig.settle();
    let sent = rig
        .take()
        .into_iter()
        .filter(|sent| sent.route == "_INBOX.9");
    sent.map(|sent| sent.payload).collect()
}

#[test]
fn a_damaged_message_is_lost_and_nothing_else() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","allow_direct":true}"#);
    for name in ["A", "B"] {
        let create = format!(
            r#"{{"stream_name":"S","config":{{"durable_name":"{name}","ack_policy":"explicit"}}}}"#
        );
        rig.api(&format!("CONSUMER.CREATE.S.{name}"), &create);
    }
    for payload in ["first", "second", "third"] {
        rig.publish("S", &[], payload);
    }
    let (path, at) = find(&rig, "second");
    rig.disk.flip(&path, at, 3);
    assert_eq!(lost(&mut rig), "null", "nobody knows yet");
    assert_eq!(fetch(&mut rig, "A"), ["first", "third"]);
    assert_eq!(fetch(&mut rig, "B"), ["first", "third"]);
    assert!(
        rig.api("STREAM.MSG.GET.S", r#"{"seq":2}"#)
            .contains("10037")
    );
    assert_eq!(
        rig.ask("$JS.API.DIRECT.GET.S", "", r#"{"seq":3}"#).payload,
        "third"
    );
    assert_eq!(lost(&mut rig), r#"{"bytes":37,"msgs":[2]}"#);
    let named = |rig: &Rig| {
        let lines = rig.out.lines.iter();
        lines.filter(|line| line.contains("'S'")).count()
    };
    assert_eq!(named(&rig), 1, "{:?}", rig.out.lines);

    rig.publish("S", &[], "fourth");
    let mut rig = rig.crash(1);
    assert!(lost(&mut rig).contains(r#""msgs":[2]"#));
    let line = "JetStream stream 'S' lost messages 2 to damage";
    assert_eq!(rig.out.lines, [line]);
    // Nothing was acknowledged.
    rig.pass(40 * SECOND);
    assert_eq!(fetch(&mut rig, "A"), ["first", "third", "fourth"]);
    let info = rig.api("STREAM.INFO.S", "");
    assert!(!info.contains("lost"), "only on request: {info}");
}

#[test]
fn what_the_disk_refuses_for_a_moment_is_not_lost() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    let create = r#"{"stream_name":"S","config":{"durable_name":"A","ack_policy":"none"}}"#;
    rig.api("CONSUMER.CREATE.S.A", create);
    for payload in ["first", "second", "third"] {
        rig.publish("S", &[], payload);
    }
    let (path, at) = find(&rig, "second");
    rig.disk.fail_reads(&path, at as u64..at as u64 + 1);
    assert_eq!(fetch(&mut rig, "A"), ["first"]);
    assert_eq!(fetch(&mut rig, "A"), Vec::<String>::new());
    assert_eq!(lost(&mut rig), "null");
    assert_eq!(rig.out.lines.len(), 1, "told once: {:?}", rig.out.lines);
    rig.disk.fail_reads(&path, 0..0);
    let later = fetch(&mut rig, "A");
    assert_eq!(later[..2], ["second", "third"]);
}

#[test]
fn a_reader_that_the_disk_refused_tries_again_by_itself() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    let create = r#"{"stream_name":"S","config":{"durable_name":"A","ack_policy":"none"}}"#;
    rig.api("CONSUMER.CREATE.S.A", create);
    for payload in ["first", "second", "third"] {
        rig.publish("S", &[], payload);
    }
    let (path, at) = find(&rig, "second");
    rig.disk.fail_reads(&path, at as u64..at as u64 + 1);
    assert_eq!(fetch(&mut rig, "A"), ["first"]);
    let taken = |rig: &mut Rig| -> Vec<String> {
        rig.pass(2 * SECOND);
        rig.take().into_iter().map(|sent| sent.payload).collect()
    };
    assert_eq!(taken(&mut rig), Vec::<String>::new());
    rig.disk.fail_reads(&path, 0..0);
    assert_eq!(taken(&mut rig), ["second", "third"]);
    assert_eq!(rig.out.lines.len(), 1, "told once: {:?}", rig.out.lines);
}

#[test]
fn the_background_finds_what_nobody_reads() {
    let mut rig = Rig::with(Settings {
        scrub_period: 10 * SECOND,
        ..Settings::default()
    });
    rig.stream(r#"{"name":"S"}"#);
    rig.stream(r#"{"name":"T"}"#);
    for payload in ["first", "second", "third"] {
        rig.publish("S", &[], payload);
        rig.publish("T", &[], "other");
    }
    rig.pass(30 * SECOND);
    assert_eq!(
        (lost(&mut rig), rig.out.lines.len()),
        ("null".to_owned(), 0)
    );
    let (path, at) = find(&rig, "second");
    rig.disk.flip(&path, at, 3);
    rig.pass(30 * SECOND);
    assert!(lost(&mut rig).contains(r#""msgs":[2]"#));
    let named = rig.out.lines.iter().filter(|line| line.contains("'S'"));
    assert_eq!(named.count(), 1, "{:?}", rig.out.lines);
    // What went while it was read is no damage.
    rig.api("STREAM.PURGE.S", "");
    rig.pass(30 * SECOND);
    assert!(!rig.out.lines.iter().any(|line| line.contains("'T'")));
}
