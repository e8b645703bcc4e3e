//! What each ack payload does, what is answered, and where the floor goes.

use jetwake_protocol::jetstream::consumer::AckPolicy;

use super::rig::*;

fn delivered(config: jetwake_protocol::jetstream::consumer::ConsumerConfig, count: usize) -> Rig {
    let mut rig = Rig::new(config, &vec!["q"; count]);
    rig.next("r", &count.to_string());
    rig
}

fn all() -> jetwake_protocol::jetstream::consumer::ConsumerConfig {
    let mut config = pull();
    config.ack_policy = AckPolicy::All;
    config
}

/// The answers so far.
fn answers(rig: &mut Rig) -> Vec<String> {
    let now = rig
        .out
        .sent
        .drain(..)
        .filter(|sent| sent.headers.is_empty() && sent.reply.is_empty());
    let now: Vec<String> = now.map(|sent| sent.route).collect();
    let later = rig.log.answers.drain(..).map(|(_, reply)| reply);
    now.into_iter().chain(later).collect()
}

#[test]
fn every_payload_of_a_pending_message_is_answered() {
    for payload in [
        "", "+ACK", "+OK", "-NAK", "-NAK 5s", "+WPI", "+TERM", "+TERM no", "what",
    ] {
        let mut rig = delivered(pull(), 1);
        let subject = rig.ack_subject_of(1);
        rig.ack_subject(&subject, "x", payload);
        assert_eq!(answers(&mut rig), ["x"], "{payload}");
    }
}

#[test]
fn acks_are_answered_only_when_durable() {
    let mut rig = delivered(pull(), 2);
    let records = rig.log.records.len();
    let subject = rig.ack_subject_of(1);
    rig.ack_subject(&subject, "x", "");
    assert_eq!(rig.log.records.len(), records + 1);
    let lsn = Some(jetwake_storage::Lsn(rig.log.records.len() as u64));
    assert_eq!(rig.log.answers, [(lsn, "x".to_owned())]);
    // The second ack of the same message may not overtake the first one's record.
    rig.ack_subject(&subject, "y", "");
    assert_eq!(rig.log.answers[1], (lsn, "y".to_owned()));
}

#[test]
fn acks_of_what_was_never_delivered_are_not_answered() {
    let mut config = pull();
    config.filter_subject = "q".into();
    let mut rig = Rig::new(config, &["other", "q", "q"]);
    rig.next("r", "1");
    for (seq, answered) in [(0, true), (1, true), (2, true), (3, false), (99, false)] {
        rig.out.sent.clear();
        rig.ack_subject(&format!("$JS.ACK.Q.a.1.{seq}.1.1.1"), "x", "");
        assert_eq!(!answers(&mut rig).is_empty(), answered, "{seq}");
    }
    for payload in ["-NAK", "+WPI"] {
        rig.ack_subject("$JS.ACK.Q.a.1.99.1.1.1", "x", payload);
        assert_eq!(answers(&mut rig), ["x"], "{payload}");
    }
    rig.ack_subject("$JS.ACK.Q.a.1.x.1.1.1", "x", "");
    assert!(answers(&mut rig).is_empty());
}

#[test]
fn both_versions_of_ack_subjects_work() {
    let mut rig = delivered(pull(), 2);
    rig.ack_subject("$JS.ACK._.szMpdrwD.Q.a.1.1.1.1.1.more.tokens", "", "");
    rig.ack_subject("$JS.ACK.Q.a.1.2.2.1.0", "", "");
    assert_eq!(rig.info().num_ack_pending, 0);
    let patterns: Vec<&str> = rig.out.listeners.keys().map(String::as_str).collect();
    assert_eq!(
        patterns,
        [
            "$JS.ACK.*.*.Q.a.*.*.*.*.>",
            "$JS.ACK.Q.a.*.*.*.*.*",
            "$JS.API.CONSUMER.MSG.NEXT.Q.a"
        ]
    );
}

#[test]
fn the_floor_follows_the_lowest_pending_message() {
    let mut rig = delivered(pull(), 4);
    assert_eq!(rig.positions(), [(4, 4), (0, 0)]);
    rig.say(2, "");
    assert_eq!(rig.positions()[1], (0, 0));
    rig.say(1, "");
    assert_eq!(rig.positions()[1], (2, 2));
    rig.say(4, "");
    assert_eq!(rig.positions()[1], (2, 2));
    rig.say(3, "");
    assert_eq!(rig.positions()[1], (4, 4));
    assert_eq!(rig.released, [2, 1, 4, 3]);
}

#[test]
fn an_ack_from_an_older_delivery_counts() {
    let mut rig = delivered(pull(), 1);
    let old = rig.ack_subject_of(1);
    rig.pass(30 * S);
    rig.next("r", "1");
    rig.ack_subject(&old, "", "");
    let info = rig.info();
    assert_eq!((info.num_ack_pending, info.num_redelivered), (0, 0));
    assert_eq!(rig.positions(), [(2, 1), (2, 1)]);
}

#[test]
fn ack_all_covers_everything_below() {
    let mut rig = delivered(all(), 4);
    rig.say(3, "");
    assert_eq!(rig.positions(), [(4, 4), (3, 3)]);
    assert_eq!(rig.info().num_ack_pending, 1);
    assert_eq!(rig.released, [1, 2, 3]);
    rig.say(2, "");
    assert_eq!(rig.positions()[1], (3, 3));
    rig.say(4, "+TERM");
    assert_eq!(rig.info().num_ack_pending, 0);
}

#[test]
fn without_acks_delivered_is_done() {
    let mut config = pull();
    config.ack_policy = AckPolicy::None;
    let mut rig = delivered(config, 3);
    assert_eq!(rig.positions(), [(3, 3), (3, 3)]);
    assert_eq!(rig.released, [1, 2, 3]);
    assert_eq!(rig.out.listeners.len(), 1);
    assert_eq!(rig.info().num_ack_pending, 0);
}

#[test]
fn next_acks_and_pulls() {
    for (payload, batch) in [
        ("+NXT", 1),
        ("+NXT 2", 2),
        ("+NXT2", 2),
        ("+NXT {\"batch\":2}", 2),
    ] {
        let mut rig = Rig::new(pull(), &["q", "q", "q"]);
        rig.next("r", "1");
        let subject = rig.ack_subject_of(1);
        rig.take();
        rig.ack_subject(&subject, "n", payload);
        let expected = &["n<2#1", "n<3#1"][..batch];
        assert_eq!(rig.take(), expected, "{payload}");
        assert_eq!(rig.info().num_ack_pending, batch as u64);
        assert!(rig.log.answers.is_empty());
    }
}

#[test]
fn term_always_sends_its_advisory() {
    let mut rig = delivered(pull(), 1);
    rig.out.advisories = true;
    let subject = rig.ack_subject_of(1);
    for _ in 0..2 {
        rig.out.sent.clear();
        rig.ack_subject(&subject, "", "+TERM  bad input ");
        let advisory = &rig.out.sent[0];
        assert_eq!(
            advisory.subject,
            "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.Q.a"
        );
        let body = String::from_utf8(advisory.payload.clone()).unwrap();
        assert!(
            body.contains(concat!(
                r#""stream":"Q","consumer":"a","consumer_seq":1,"stream_seq":1,"#,
                r#""deliveries":1,"reason":"bad input"}"#
            )),
            "{body}"
        );
    }
    assert_eq!(rig.released, [1]);
}

#[test]
fn sampled_acks_are_measured() {
    let mut config = pull();
    config.sample_frequency = "100%".into();
    let mut rig = delivered(config, 1);
    rig.out.advisories = true;
    rig.pass(5 * MS);
    rig.say(1, "");
    let metric = rig.out.sent.last().unwrap();
    assert_eq!(metric.subject, "$JS.EVENT.METRIC.CONSUMER.ACK.Q.a");
    let body = String::from_utf8(metric.payload.clone()).unwrap();
    assert!(body.contains(r#""consumer_seq":1,"stream_seq":1,"ack_time":5000000,"deliveries":1"#));
}
