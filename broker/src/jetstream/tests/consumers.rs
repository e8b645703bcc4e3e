//! Consumers through the API: create, pull, pause, reset, and what a crash leaves of them.

use super::rig::*;

const S: i64 = 1_000_000_000;

fn with_consumer(config: &str) -> Rig {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","subjects":["s.>"]}"#);
    for subject in ["s.a", "s.b", "s.a", "s.c"] {
        rig.publish(subject, &[], "x");
    }
    let create = format!(r#"{{"stream_name":"S","config":{{"durable_name":"C",{config}}}}}"#);
    let created = rig.api("CONSUMER.CREATE.S.C", &create);
    assert!(!created.contains("error"), "{created}");
    rig
}

/// The stream sequences that a pull delivers.
fn pull(rig: &mut Rig, body: &str) -> Vec<String> {
    rig.take();
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", body);
    rig.settle();
    let sequence = |sent: &Sent| sent.reply.split('.').nth(5).map(ToOwned::to_owned);
    rig.take().iter().filter_map(sequence).collect()
}

fn info(rig: &mut Rig) -> serde_json::Value {
    serde_json::from_str(&rig.api("CONSUMER.INFO.S.C", "")).unwrap()
}

#[test]
fn a_pause_holds_over_a_crash_and_ends_by_itself() {
    let mut rig = with_consumer(r#""ack_policy":"explicit""#);
    let until = "2040-01-01T00:00:00Z";
    let paused = rig.api(
        "CONSUMER.PAUSE.S.C",
        &format!(r#"{{"pause_until":"{until}"}}"#),
    );
    assert!(
        paused.contains(&format!(r#""paused":true,"pause_until":"{until}""#)),
        "{paused}"
    );
    let mut rig = rig.crash(1);
    assert_eq!(info(&mut rig)["paused"], true);
    assert!(pull(&mut rig, "1").is_empty());
    let resumed = rig.api("CONSUMER.PAUSE.S.C", "");
    let zero = r#""paused":false,"pause_until":"0001-01-01T00:00:00Z"}"#;
    assert!(resumed.ends_with(zero), "{resumed}");
    rig.settle();
    assert!(info(&mut rig)["paused"].is_null());
}

#[test]
fn a_reset_starts_over() {
    let mut rig = with_consumer(r#""ack_policy":"explicit""#);
    assert_eq!(pull(&mut rig, "3"), ["1", "2", "3"]);
    let reset = rig.api("CONSUMER.RESET.S.C", r#"{"seq":2}"#);
    assert!(reset.ends_with(r#""reset_seq":2}"#), "{reset}");
    assert_eq!(pull(&mut rig, "1"), ["2"]);
    let mut rig = rig.crash(2);
    let info = info(&mut rig);
    assert_eq!(
        (&info["delivered"]["stream_seq"], &info["num_pending"]),
        (&2.into(), &2.into())
    );
    assert_eq!(info["delivered"]["consumer_seq"], 1);
}

#[test]
fn an_update_in_the_middle_of_a_batch_is_recovered_once() {
    let mut rig = with_consumer(r#""ack_policy":"explicit","ack_wait":5000000000"#);
    // The request is taken and served in the batch that also brings the new configuration.
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "2");
    rig.settle();
    let acked = rig
        .take()
        .iter()
        .find(|sent| sent.route == "_INBOX.9")
        .unwrap()
        .reply
        .clone();
    rig.send(&acked, "", "", "+WPI");
    let update = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit","ack_wait":9000000000}}"#;
    assert!(!rig.api("CONSUMER.CREATE.S.C", update).contains("error"));
    let before = info(&mut rig);
    let mut rig = rig.crash(3);
    let after = info(&mut rig);
    for field in ["num_ack_pending", "num_pending", "num_redelivered"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(
        before["delivered"]["consumer_seq"],
        after["delivered"]["consumer_seq"]
    );
    // The new wait counts from the delivery that was recorded.
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "1");
    rig.settle();
    rig.take();
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "5");
    rig.pass(8 * S);
    assert!(
        rig.take()
            .iter()
            .all(|sent| !sent.reply.starts_with("$JS.ACK.S.C.2."))
    );
    rig.pass(2 * S);
    assert!(
        rig.take()
            .iter()
            .any(|sent| sent.reply.starts_with("$JS.ACK.S.C.2.1."))
    );
}

#[test]
fn last_per_subject_counts_what_key_listings_wait_for() {
    let config =
        r#""ack_policy":"none","deliver_policy":"last_per_subject","filter_subject":"s.>""#;
    let mut rig = with_consumer(config);
    assert_eq!(info(&mut rig)["num_pending"], 3);
    assert_eq!(pull(&mut rig, "10"), ["2", "3", "4"]);
    assert_eq!(info(&mut rig)["num_pending"], 0);
}
