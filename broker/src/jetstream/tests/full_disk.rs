//! A full disk: clear errors at once, deletes and acknowledgements go on, and it ends by itself.

use super::rig::{Rig, SECOND, nak};
use crate::jetstream::Settings;

const FULL: &str =
    "JetStream has no disk space left: what adds data is refused until there is some";
const OVER: &str = "JetStream has disk space again";

/// A store of a few small files on a disk of so many bytes.
fn rig(capacity: u64) -> Rig {
    let rig = Rig::with(Settings {
        keep: 0,
        ..Settings::default()
    });
    rig.disk.set_capacity(Some(capacity));
    rig
}

fn refused(stream: &str) -> String {
    nak(503, 10023, "insufficient resources", stream)
}

/// What was logged last; nothing but the beginning and the end of a full disk, in turn.
fn told(rig: &Rig) -> Option<&str> {
    for (at, line) in rig.out.lines.iter().enumerate() {
        assert_eq!(line, [FULL, OVER][at % 2]);
    }
    rig.out.lines.last().map(String::as_str)
}

/// Publishes until the disk is full and stays so; returns how many messages were acknowledged.
fn fill(rig: &mut Rig, subject: &str) -> u64 {
    let payload = "x".repeat(1000);
    let (mut stored, mut refusals) = (0, 0);
    loop {
        let answer = rig.publish(subject, &[], &payload);
        if answer == refused("S") {
            refusals += 1;
            rig.pass(SECOND);
            if refusals == 8 {
                return stored;
            }
            continue;
        }
        refusals = 0;
        if stored > 2000 {
            // A stream with a limit never fills the disk.
            return stored;
        }
        assert!(answer.starts_with(r#"{"stream":"S","seq":"#), "{answer}");
        stored += 1;
    }
}

#[test]
fn publishes_and_creations_are_refused_until_there_is_space() {
    let mut rig = rig(600 << 10);
    rig.stream(r#"{"name":"S","subjects":["s.>"]}"#);
    rig.stream(r#"{"name":"M","subjects":["m"],"storage":"memory"}"#);
    let stored = fill(&mut rig, "s.a");
    assert!(stored > 100, "{stored}");
    assert_eq!(told(&rig), Some(FULL));
    let create = rig.api("STREAM.CREATE.T", r#"{"name":"T"}"#);
    let insufficient = r#""code":503,"err_code":10023,"description":"insufficient resources""#;
    assert!(create.contains(insufficient), "{create}");
    let big = "x".repeat(2000);
    let create = format!(
        r#"{{"stream_name":"S","config":{{"durable_name":"C","ack_policy":"explicit","description":"{big}"}}}}"#
    );
    let create = rig.api("CONSUMER.CREATE.S.C", &create);
    assert!(create.contains(insufficient), "{create}");
    assert_eq!(rig.publish("m", &[], ""), r#"{"stream":"M","seq":1}"#);
    assert_eq!(rig.state("S"), (stored, 1, stored), "reads go on");
    rig.disk.set_capacity(Some(2 << 20));
    rig.pass(2 * SECOND);
    assert_eq!(told(&rig), Some(OVER));
    let next = format!(r#"{{"stream":"S","seq":{}}}"#, stored + 1);
    assert_eq!(rig.publish("s.a", &[], &big), next);
    rig.stream(r#"{"name":"T"}"#);
}

#[test]
fn what_frees_space_works_and_publishes_go_on() {
    for what in ["purge", "delete", "drop", "limit"] {
        let mut rig = rig(400 << 10);
        rig.stream(r#"{"name":"S","subjects":["s.>"]}"#);
        rig.stream(r#"{"name":"K","subjects":["k"]}"#);
        for _ in 0..20 {
            rig.publish("k", &[], &"y".repeat(500));
        }
        let stored = fill(&mut rig, "s.a");
        match what {
            "purge" => {
                let purged = rig.api("STREAM.PURGE.S", "");
                assert!(
                    purged.contains(&format!(r#""purged":{stored}"#)),
                    "{purged}"
                );
            }
            "delete" => {
                for seq in 1..=stored {
                    let deleted = rig.api("STREAM.MSG.DELETE.S", &format!(r#"{{"seq":{seq}}}"#));
                    assert!(deleted.contains(r#""success":true"#), "{seq}: {deleted}");
                }
            }
            "drop" => {
                let deleted = rig.api("STREAM.DELETE.S", "");
                assert!(deleted.contains(r#""success":true"#), "{deleted}");
            }
            _ => {
                let config = r#"{"name":"S","subjects":["s.>"],"max_msgs":1}"#;
                let updated = rig.api("STREAM.UPDATE.S", config);
                assert!(!updated.contains("error"), "{updated}");
            }
        }
        rig.pass(10 * SECOND);
        if what == "drop" {
            rig.stream(r#"{"name":"S","subjects":["s.>"]}"#);
        }
        let again = fill(&mut rig, "s.b");
        assert!(again > stored / 2, "{what}: {again} of {stored}");
        assert_eq!(rig.state("K").0, 20, "{what}: nothing else is touched");
        // All of it is there after a crash, on the full disk.
        let before = (rig.state("S"), rig.state("K"));
        let mut rig = rig.crash(again);
        assert_eq!((rig.state("S"), rig.state("K")), before, "{what}");
        assert_ne!(told(&rig), Some(OVER), "{what}");
        rig.api("STREAM.PURGE.S", "");
        rig.pass(10 * SECOND);
        assert!(fill(&mut rig, "s.c") > stored / 2, "{what}");
    }
}

#[test]
fn consumers_work_on_a_full_disk_for_as_long_as_they_like() {
    let mut rig = rig(400 << 10);
    rig.stream(r#"{"name":"S","subjects":["s.>"],"retention":"workqueue"}"#);
    let create = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}"#;
    assert!(!rig.api("CONSUMER.CREATE.S.C", create).contains("error"));
    let stored = fill(&mut rig, "s.a");
    // Many times what the last file takes.
    for round in 0..2000 {
        rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "1");
        rig.settle();
        let delivered = rig.take();
        let one = delivered.iter().find(|sent| sent.route == "_INBOX.9");
        let reply = one
            .unwrap_or_else(|| panic!("{round}: {delivered:?}"))
            .reply
            .clone();
        assert_eq!(rig.ask(&reply, "", "-NAK").payload, "");
    }
    let mut acked = 0;
    while rig.state("S").0 > 0 {
        rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "1");
        rig.settle();
        let reply = rig
            .take()
            .into_iter()
            .find(|sent| sent.route == "_INBOX.9")
            .unwrap()
            .reply;
        assert_eq!(rig.ask(&reply, "", "+ACK").payload, "");
        rig.settle();
        acked += 1;
    }
    assert_eq!(acked, stored);
    rig.pass(10 * SECOND);
    assert!(fill(&mut rig, "s.b") > stored / 2);
}
