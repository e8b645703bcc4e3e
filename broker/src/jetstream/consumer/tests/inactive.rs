//! Consumers that nobody uses ask to be deleted.

use super::rig::*;

#[test]
fn a_pull_consumer_goes_after_threshold_and_chance() {
    let mut config = pull();
    config.inactive_threshold = 5 * S;
    let mut rig = Rig::new(config, &[]);
    rig.pass(5 * S);
    assert!(!rig.consumer.wants_deletion());
    rig.pass(S);
    assert!(rig.consumer.wants_deletion());
}

#[test]
fn waiting_requests_hold_it_as_long_as_their_client_lives() {
    let mut config = pull();
    config.inactive_threshold = S;
    let mut rig = Rig::new(config, &[]);
    rig.next("r", "1");
    rig.pass(10 * S);
    assert!(!rig.consumer.wants_deletion());
    rig.out.absent.insert("r".into());
    rig.pass(2 * S);
    assert!(rig.consumer.wants_deletion());
}

#[test]
fn pending_messages_hold_it_for_twice_the_ack_wait() {
    let mut config = pull();
    config.inactive_threshold = S;
    config.ack_wait = 3 * S;
    let mut rig = Rig::new(config, &["q"]);
    rig.next("r", "1");
    rig.pass(7 * S);
    assert!(!rig.consumer.wants_deletion());
    rig.pass(S);
    assert!(rig.consumer.wants_deletion());
}

#[test]
fn a_push_consumer_goes_when_interest_is_gone_for_the_threshold() {
    let mut config = push();
    config.inactive_threshold = 500 * MS;
    let mut rig = Rig::new(config, &[]);
    rig.interest(true);
    rig.pass(10 * S);
    assert!(!rig.consumer.wants_deletion());
    rig.interest(false);
    rig.pass(499 * MS);
    assert!(!rig.consumer.wants_deletion());
    rig.pass(MS);
    assert!(rig.consumer.wants_deletion());
}

#[test]
fn a_durable_consumer_stays() {
    let mut rig = Rig::new(pull(), &[]);
    rig.pass(100_000 * S);
    assert!(!rig.consumer.wants_deletion());
    assert_eq!(rig.consumer.deadline(), None);
}
