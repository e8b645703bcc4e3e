//! Priority groups: who is served out of turn, and who is told what.

use jetwake_protocol::jetstream::consumer::{ConsumerConfig, PriorityPolicy};
use jetwake_protocol::jetstream::time::Time;

use super::rig::*;
use crate::jetstream::consumer::ctx::Ctx;

fn config(policy: PriorityPolicy) -> ConsumerConfig {
    ConsumerConfig {
        priority_policy: policy,
        priority_groups: vec!["A".into(), "B".into()],
        pinned_ttl: if policy == PriorityPolicy::PinnedClient {
            10 * S
        } else {
            0
        },
        ..pull()
    }
}

fn json(body: &str) -> String {
    body.replace('\'', "\"")
}

fn ask(rig: &mut Rig, reply: &str, body: &str) {
    rig.next(reply, &json(body));
}

fn pin(rig: &mut Rig) -> String {
    rig.info().priority_groups[0].pinned_client_id.clone()
}

fn unpin(rig: &mut Rig, group: &str) -> bool {
    let found = rig.consumer.unpin(ctx!(rig), group);
    rig.pump();
    found
}

/// The reasons in UNPINNED and the pins in PINNED, of what was sent since the last call.
fn advisories(rig: &mut Rig) -> Vec<String> {
    let sent = std::mem::take(&mut rig.out.sent);
    let event = |sent: &Sent| serde_json::from_slice::<serde_json::Value>(&sent.payload).ok();
    let told = sent.iter().filter_map(event).map(|event| {
        assert_eq!(
            (&event["account"], &event["stream"]),
            (&"$G".into(), &"Q".into())
        );
        let what = event.get("reason").or(event.get("pinned_id")).unwrap();
        format!(
            "{} {}",
            event["group"].as_str().unwrap(),
            what.as_str().unwrap()
        )
    });
    told.collect()
}

#[test]
fn overflow_waits_for_either_limit() {
    let mut rig = Rig::new(config(PriorityPolicy::Overflow), &[]);
    ask(
        &mut rig,
        "r1",
        "{'batch':9,'group':'A','min_pending':3,'min_ack_pending':2}",
    );
    rig.publish("q");
    rig.publish("q");
    assert!(rig.take().is_empty());
    ask(&mut rig, "r2", "{'batch':1,'group':'B'}");
    assert_eq!(rig.take(), ["r2<1#1"]);
    // Three are undelivered; then only two, but meanwhile two wait for acks.
    rig.publish("q");
    assert!(rig.take().is_empty());
    rig.publish("q");
    assert_eq!(rig.take(), ["r1<2#1", "r1<3#1", "r1<4#1"]);
}

#[test]
fn overflow_stops_in_the_middle_of_a_batch() {
    let mut rig = Rig::new(config(PriorityPolicy::Overflow), &["q", "q", "q"]);
    ask(&mut rig, "r", "{'batch':9,'group':'A','min_pending':2}");
    assert_eq!(rig.take(), ["r<1#1", "r<2#1"]);
    let info = rig.info();
    assert_eq!((info.num_pending, info.num_waiting), (1, 1));
}

#[test]
fn a_request_that_does_not_wait_ends_when_it_is_not_its_turn() {
    let mut rig = Rig::new(config(PriorityPolicy::Overflow), &["q"]);
    ask(
        &mut rig,
        "r1",
        "{'batch':1,'group':'A','min_pending':2,'no_wait':true}",
    );
    let within = "{'batch':1,'group':'A','min_pending':2,'no_wait':true,'expires':1000000000}";
    ask(&mut rig, "r2", within);
    assert_eq!(rig.take(), ["r1!404 No Messages"]);
    rig.pass(S);
    let timeout = "r2!408 Request Timeout Nats-Pending-Messages: 1 Nats-Pending-Bytes: 0";
    assert_eq!(rig.take(), [timeout]);
}

#[test]
fn priorities_are_served_in_order_and_dealt_within() {
    let mut rig = Rig::new(config(PriorityPolicy::Prioritized), &[]);
    for (reply, priority) in [("r1", 3), ("r2", 1), ("r3", 1), ("r4", 0)] {
        let body = format!("{{'batch':2,'group':'A','priority':{priority}}}");
        ask(&mut rig, reply, &body);
    }
    for _ in 0..8 {
        rig.publish("q");
    }
    let expected = [
        "r4<1#1", "r4<2#1", "r2<3#1", "r3<4#1", "r2<5#1", "r3<6#1", "r1<7#1", "r1<8#1",
    ];
    assert_eq!(rig.take(), expected);
}

#[test]
fn one_client_is_served_alone_until_it_does_not_ask() {
    let mut rig = Rig::new(config(PriorityPolicy::PinnedClient), &[]);
    rig.out.advisories = true;
    ask(&mut rig, "r1", "{'batch':9,'group':'B'}");
    ask(&mut rig, "r2", "{'batch':9,'group':'A'}");
    let group = rig.info().priority_groups.remove(0);
    assert_eq!(
        (group.pinned_client_id.as_str(), group.pinned_ts),
        ("", Time::ZERO)
    );
    rig.publish("q");
    let first = pin(&mut rig);
    let headers = format!("NATS/1.0\r\nNats-Pin-Id: {first}\r\n\r\n");
    assert_eq!(rig.out.sent[0].headers, headers);
    assert_eq!(advisories(&mut rig), [format!("B {first}")]);
    // Deliveries do not keep the pin, requests with it do.
    rig.pass(6 * S);
    ask(
        &mut rig,
        "r1",
        &format!("{{'batch':1,'group':'A','id':'{first}'}}"),
    );
    rig.publish("q");
    rig.pass(9 * S);
    rig.publish("q");
    assert_eq!(pin(&mut rig), first);
    assert!(rig.out.sent.iter().all(|sent| sent.route == "r1"));
    rig.pass(S);
    assert_eq!(advisories(&mut rig), ["B timeout"]);
    assert_eq!(pin(&mut rig), "");
    // The next message goes to the client that stood by; the old one learns that it is not pinned.
    rig.publish("q");
    let wrong = "r1!423 Nats-Wrong-Pin-Id Nats-Pending-Messages: 7 Nats-Pending-Bytes: 0";
    let second = pin(&mut rig);
    assert_ne!(first, second);
    rig.out.sent.retain(|sent| !sent.route.starts_with('$'));
    assert_eq!(rig.take(), ["r2<4#1"]);
    rig.publish("q");
    assert_eq!(rig.take(), [wrong, "r2<5#1"]);
}

#[test]
fn a_wrong_pin_is_refused_at_once_while_somebody_is_pinned() {
    let mut rig = Rig::new(config(PriorityPolicy::PinnedClient), &[]);
    let wrong = "{'batch':2,'group':'A','id':'EbBF2Zw2Z69fmvc7TTsFT7'}";
    ask(&mut rig, "r1", wrong);
    ask(&mut rig, "r2", "{'batch':1,'group':'A','id':'?'}");
    ask(&mut rig, "r3", "{'batch':1,'group':'A'}");
    assert!(rig.take().is_empty());
    rig.publish("q");
    let told = |reply: &str, left: u8| {
        format!("{reply}!423 Nats-Wrong-Pin-Id Nats-Pending-Messages: {left} Nats-Pending-Bytes: 0")
    };
    assert_eq!(
        rig.take(),
        [told("r1", 2), told("r2", 1), "r3<1#1".to_owned()]
    );
    ask(&mut rig, "r1", wrong);
    assert_eq!(rig.take(), ["r1!423 Nats-Pin-Id mismatch"]);
    assert_eq!(rig.info().num_waiting, 0);
}

#[test]
fn nobody_is_pinned_who_is_gone() {
    let mut rig = Rig::new(config(PriorityPolicy::PinnedClient), &[]);
    rig.out.absent.insert("gone".into());
    ask(&mut rig, "gone", "{'batch':9,'group':'A'}");
    ask(&mut rig, "r", "{'batch':9,'group':'A'}");
    rig.publish("q");
    assert_eq!(rig.take(), ["r<1#1"]);
    let pinned = rig.info().priority_groups.remove(0).pinned_ts;
    assert_eq!(pinned, Time::from_nanos(START));
}

#[test]
fn the_pin_ends_on_demand() {
    let mut rig = Rig::new(config(PriorityPolicy::PinnedClient), &["q", "q"]);
    rig.out.advisories = true;
    assert!(!unpin(&mut rig, "C"));
    ask(&mut rig, "r1", "{'batch':1,'group':'A'}");
    let first = pin(&mut rig);
    ask(&mut rig, "r2", "{'batch':1,'group':'A'}");
    assert_eq!(advisories(&mut rig), [format!("A {first}")]);
    assert!(unpin(&mut rig, "A"));
    let second = pin(&mut rig);
    assert_eq!(
        advisories(&mut rig),
        ["A admin".to_owned(), format!("A {second}")]
    );
    assert_ne!(first, second);
}

#[test]
fn requests_are_checked_against_the_policy() {
    let mut overflow = Rig::new(config(PriorityPolicy::Overflow), &[]);
    let mut plain = Rig::new(pull(), &[]);
    let bad = |what: &str| [format!("r!400 Bad Request - {what}")];
    for (body, answer) in [
        ("{'batch':1}", "Priority Group missing"),
        ("{'batch':1,'group':'C'}", "Invalid Priority Group"),
        (
            "{'group':'A','id':'x'}",
            "Not a Pinned Client Priority consumer",
        ),
        (
            "{'group':'A','priority':10}",
            "Priority must be between 0 and 9",
        ),
    ] {
        ask(&mut overflow, "r", body);
        assert_eq!(overflow.take(), bad(answer), "{body}");
    }
    ask(&mut plain, "r", "{'min_ack_pending':1}");
    assert_eq!(plain.take(), bad("Not a Overflow Priority consumer"));
    // Only JSON can name a group; without priority groups the name does not matter.
    overflow.next("r", "1");
    ask(&mut plain, "r", "{'batch':1,'group':'C'}");
    assert_eq!(plain.info().num_waiting + overflow.info().num_waiting, 2);
}

#[test]
fn a_pin_does_not_outlive_its_policy() {
    let mut rig = Rig::new(config(PriorityPolicy::PinnedClient), &["q"]);
    ask(&mut rig, "r1", "{'batch':9,'group':'A'}");
    ask(&mut rig, "r2", "{'batch':9,'group':'A'}");
    assert_ne!(pin(&mut rig), "");
    rig.update(|config| config.priority_policy = PriorityPolicy::Overflow);
    assert_eq!(pin(&mut rig), "");
    rig.take();
    rig.publish("q");
    rig.publish("q");
    assert_eq!(rig.take(), ["r1<2#1", "r2<3#1"]);
}
