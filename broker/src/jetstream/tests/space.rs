//! Files on disk follow what is alive, without new messages.

use std::path::Path;

use jetwake_storage::Disk as _;

use super::rig::Rig;
use crate::jetstream::Settings;

const SECOND: i64 = 1_000_000_000;

fn files(rig: &Rig, kind: &str) -> usize {
    let names = rig.disk.list(Path::new("/js")).unwrap();
    names.iter().filter(|name| name.starts_with(kind)).count()
}

/// What all segments take up.
fn segments(rig: &Rig) -> usize {
    let names = rig.disk.list(Path::new("/js")).unwrap();
    let sizes = names.iter().filter(|name| name.starts_with("segment"));
    sizes
        .map(|name| rig.disk.size(&Path::new("/js").join(name)))
        .sum()
}

/// A stream whose first 200 messages are in segments.
fn filled() -> Rig {
    let mut rig = Rig::with(Settings {
        keep: 0,
        scrub_period: 0,
        ..Settings::default()
    });
    rig.stream(r#"{"name":"S","subjects":["s.>"],"allow_direct":true}"#);
    let payload = "x".repeat(1000);
    for n in 0..200 {
        rig.publish(&format!("s.{}", n % 7), &[], &payload);
    }
    rig.settle();
    assert!(files(&rig, "segment") > 0);
    rig
}

#[test]
fn a_purge_gives_segments_back_without_another_message() {
    let mut rig = filled();
    rig.api("STREAM.PURGE.S", r#"{"keep":20}"#);
    let before = files(&rig, "segment");
    rig.pass(SECOND * 10);
    assert!(files(&rig, "segment") < before);
    assert_eq!(rig.state("S"), (20, 181, 200));
    let mut rig = rig.crash(1);
    assert_eq!(rig.state("S"), (20, 181, 200));
    // And then nothing is left to be done.
    rig.pass(SECOND * 10);
    assert_eq!(rig.core.deadline(), None);
}

#[test]
fn compression_takes_hold_lets_go_and_survives() {
    let mut rig = Rig::with(Settings {
        keep: 0,
        scrub_period: 0,
        ..Settings::default()
    });
    let config = |compression: &str| {
        format!(r#"{{"name":"S","subjects":["s.>"],"compression":"{compression}"}}"#)
    };
    let payload = "x".repeat(1000);
    let publish = |rig: &mut Rig| {
        let before = segments(rig);
        for n in 0..200 {
            rig.publish(&format!("s.{}", n % 7), &[], &payload);
        }
        rig.settle();
        segments(rig) - before
    };
    rig.stream(&config("s2"));
    let small = publish(&mut rig);
    assert!(small > 0 && small < 60_000, "{small}");
    // What a configuration says holds after a restart.
    let mut rig = rig.crash(1);
    let small = publish(&mut rig);
    assert!(small > 0 && small < 60_000, "{small}");
    let answer = rig.api("STREAM.UPDATE.S", &config("none"));
    assert!(answer.contains(r#""compression":"none""#), "{answer}");
    let large = publish(&mut rig);
    assert!(large > 150_000, "{large}");
    let mut rig = rig.crash(2);
    for seq in [1, 150, 250, 399, 450, 600] {
        let got = rig.api("STREAM.MSG.GET.S", &format!(r#"{{"seq":{seq}}}"#));
        assert!(got.contains("eHh4"), "{got}");
    }
    assert_eq!(rig.state("S"), (600, 1, 600));
}

#[test]
fn a_segment_with_few_messages_left_is_rewritten() {
    let mut rig = filled();
    let before = segments(&rig);
    for subject in 0..6 {
        rig.api("STREAM.PURGE.S", &format!(r#"{{"filter":"s.{subject}"}}"#));
    }
    rig.pass(SECOND * 10);
    let after = segments(&rig);
    assert!(after * 3 < before, "{after} of {before} bytes are left");
    let got = rig.api("STREAM.MSG.GET.S", r#"{"last_by_subj":"s.6"}"#);
    assert!(got.contains("eHh4"), "{got}");
    let mut rig = rig.crash(2);
    assert_eq!(rig.state("S").0, 28);
}

#[test]
fn a_stream_does_not_keep_what_others_have_left_in_its_file() {
    let mut rig = Rig::with(Settings {
        keep: 0,
        scrub_period: 0,
        ..Settings::default()
    });
    let payload = "x".repeat(1000);
    let names = ["A", "B", "C", "D", "E"];
    for name in names {
        rig.stream(&format!(r#"{{"name":"{name}"}}"#));
    }
    for _ in 0..30 {
        for name in names {
            rig.publish(name, &[], &payload);
        }
    }
    rig.settle();
    rig.pass(SECOND * 10);
    let before = segments(&rig);
    for name in &names[1..] {
        rig.api(&format!("STREAM.PURGE.{name}"), "");
    }
    rig.pass(SECOND * 90);
    let after = segments(&rig);
    assert!(after * 3 < before, "{after} of {before} bytes are left");
    let mut rig = rig.crash(1);
    assert_eq!(rig.state("A"), (30, 1, 30));
    let got = rig.api("STREAM.MSG.GET.A", r#"{"seq":1}"#);
    assert!(got.contains("eHh4"), "{got}");
    rig.pass(SECOND * 90);
    assert_eq!(rig.core.deadline(), None);
}

#[test]
fn an_erased_message_is_overwritten_without_another_message() {
    let mut rig = filled();
    rig.publish("s.9", &[], "the secret of the day");
    let has = |rig: &Rig| {
        let names = rig.disk.list(Path::new("/js")).unwrap();
        names.iter().any(|name| {
            let file = rig.disk.open(&Path::new("/js").join(name)).unwrap();
            let mut bytes = vec![0; file.size().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            let secret = b"the secret of the day";
            bytes.windows(secret.len()).any(|window| window == secret)
        })
    };
    assert!(has(&rig));
    rig.api("STREAM.MSG.DELETE.S", r#"{"seq":201}"#);
    rig.pass(SECOND * 10);
    assert!(!has(&rig));
}
