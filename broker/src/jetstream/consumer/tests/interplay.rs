//! What happens to a consumer when messages leave its stream.

use super::rig::*;
use crate::jetstream::consumer::Removal;

fn deleted_reason(rig: &Rig) -> Option<String> {
    let advisory = rig
        .out
        .sent
        .iter()
        .find(|sent| sent.subject.contains("MSG_TERMINATED"))?;
    Some(String::from_utf8(advisory.payload.clone()).unwrap())
}

#[test]
fn a_removed_pending_message_counts_as_terminated() {
    let mut rig = Rig::new(pull(), &["q"; 3]);
    rig.out.advisories = true;
    rig.next("r", "2");
    rig.remove(1, Removal::Deleted);
    let body = deleted_reason(&rig).unwrap();
    assert!(
        body.contains(r#""reason":"Unacknowledged message was deleted""#),
        "{body}"
    );
    assert_eq!(rig.positions(), [(2, 2), (1, 1)]);
    rig.remove(3, Removal::Limit);
    assert_eq!(rig.info().num_pending, 0);
}

#[test]
fn a_purge_moves_everything_without_advisories() {
    let mut rig = Rig::new(pull(), &["q"; 4]);
    rig.out.advisories = true;
    rig.next("r", "2");
    rig.purge(None, 4);
    assert_eq!(rig.positions(), [(2, 4), (2, 4)]);
    let info = rig.info();
    assert_eq!((info.num_pending, info.num_ack_pending), (0, 0));
    assert_eq!(deleted_reason(&rig), None);
    rig.take();
    rig.publish("q");
    assert_eq!(rig.info().num_pending, 1);
    rig.next("r", "1");
    assert_eq!(rig.positions()[0], (3, 5));
}

#[test]
fn a_partial_purge_keeps_the_rest_pending() {
    let mut config = pull();
    config.ack_wait = S;
    let mut rig = Rig::new(config, &["a", "b", "a", "b", "a"]);
    rig.next("r", "3");
    rig.purge(Some("a"), 5);
    let info = rig.info();
    assert_eq!((info.num_ack_pending, info.num_pending), (1, 1));
    assert_eq!(rig.positions()[1], (1, 1));
    // The message that stayed can still be refused, and comes again.
    rig.take();
    rig.next("r", "2");
    rig.take();
    rig.out.sent.clear();
    rig.ack_subject(&format!("$JS.ACK.Q.a.1.2.2.{START}.0"), "", "-NAK");
    rig.next("r", "1");
    assert_eq!(rig.take(), ["r<2#2"]);
}

#[test]
fn a_purge_as_wide_as_the_filter_moves_the_consumer_behind_it() {
    let mut config = pull();
    config.filter_subject = "b".into();
    let mut rig = Rig::new(config, &["a", "b", "b", "a"]);
    rig.purge(Some("b"), 4);
    assert_eq!(rig.positions()[0], (0, 4));
    assert_eq!(rig.info().num_pending, 0);
}

#[test]
fn needs_what_is_undelivered_or_pending() {
    use jetwake_storage::MessageStore;
    let mut config = pull();
    config.filter_subject = "q".into();
    let mut rig = Rig::new(config, &["q", "q", "q", "other"]);
    rig.next("r", "2");
    rig.say(1, "");
    let needs: Vec<bool> = (1..=4)
        .map(|seq| {
            let key = rig.messages.meta(seq).unwrap().key;
            rig.consumer.needs(seq, key, &rig.messages)
        })
        .collect();
    assert_eq!(needs, [false, true, true, false]);
    let done: Vec<bool> = (1..=4)
        .map(|seq| {
            let key = rig.messages.meta(seq).unwrap().key;
            rig.consumer.is_done_with(seq, key, &rig.messages)
        })
        .collect();
    assert_eq!(done, [true, false, false, false]);
}
