//! Replicated streams: what is acknowledged, what survives whom.

use super::cluster::{GROUP, Nodes};
use super::rig::block;
use crate::consensus::Message;
use crate::jetstream::io::Event;

const STREAM: &str = r#"{"name":"S","subjects":["s.>"],"num_replicas":3,"storage":"file",
    "retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,
    "max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","duplicate_window":120000000000,
    "allow_direct":true}"#;

fn publish(nodes: &mut Nodes, leader: u64, payload: &str) -> String {
    nodes.node(leader).take();
    assert!(nodes.node(leader).send("s.a", "_INBOX.1", "", payload));
    nodes.settle();
    let sent = nodes.node(leader).take();
    let mut acks = sent.into_iter().filter(|one| one.route == "_INBOX.1");
    acks.next().map_or_else(String::new, |one| one.payload)
}

#[test]
fn a_majority_has_what_is_acknowledged_and_all_get_it() {
    let mut nodes = Nodes::new(3);
    nodes.stream(STREAM);
    let leader = nodes.elect();
    assert_eq!(
        publish(&mut nodes, leader, "one"),
        r#"{"stream":"S","seq":1}"#
    );
    nodes.isolate(leader % 3 + 1);
    assert_eq!(
        publish(&mut nodes, leader, "two"),
        r#"{"stream":"S","seq":2}"#
    );
    nodes.isolate(leader);
    assert_eq!(publish(&mut nodes, leader, "three"), "");
    nodes.heal();
    nodes.pass(3_000_000_000);
    for node in 1..=3 {
        let messages = nodes.messages(node);
        assert_eq!(
            messages[..2],
            [(1, "one".to_owned()), (2, "two".to_owned())]
        );
    }
}

#[test]
fn what_is_acknowledged_outlives_any_one_node() {
    let mut nodes = Nodes::new(3);
    nodes.stream(STREAM);
    let mut sent = Vec::new();
    for round in 0..12_u64 {
        let leader = nodes.elect();
        for n in 0..20 {
            let payload = format!("{round}-{n}");
            let ack = publish(&mut nodes, leader, &payload);
            assert!(ack.contains("\"seq\""), "{ack}");
            sent.push((sent.len() as u64 + 1, payload));
        }
        let victim = if round % 3 == 0 {
            leader
        } else {
            leader % 3 + 1
        };
        nodes.crash(victim, round);
        let leader = nodes.elect();
        let payload = format!("{round} without {victim}");
        assert!(publish(&mut nodes, leader, &payload).contains("\"seq\""));
        sent.push((sent.len() as u64 + 1, payload));
        nodes.restart(victim);
        nodes.pass(2_000_000_000);
    }
    for node in 1..=3 {
        assert_eq!(nodes.messages(node), sent, "node {node}");
    }
    let shadow = |nodes: &mut Nodes, node| {
        let replica = nodes.node(node).core.core_mut().log.replica(GROUP);
        replica.map(|one| one.applied)
    };
    assert_eq!(shadow(&mut nodes, 1), shadow(&mut nodes, 2));
}

#[test]
fn a_consumer_goes_on_with_the_next_leader() {
    let mut nodes = Nodes::new(3);
    nodes.meet();
    nodes.pass(1_000_000_000);
    nodes.api(1, "STREAM.CREATE.S", STREAM);
    let leader = nodes.elect();
    for n in 1..=10 {
        publish(&mut nodes, leader, &n.to_string());
    }
    let create = r#"{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}"#;
    let answer = nodes.api(leader % 3 + 1, "CONSUMER.DURABLE.CREATE.S.c", create);
    assert!(answer.contains("\"name\":\"c\""), "{answer}");
    let next = "$JS.API.CONSUMER.MSG.NEXT.S.c";
    let pull = |nodes: &mut Nodes, leader| {
        nodes.node(leader).take();
        assert!(nodes.node(leader).send(next, "_INBOX.3", "", "4"));
        nodes.node(leader).commit();
        // Before the majority knows of the deliveries nothing leaves.
        let early = nodes.node(leader).take();
        assert!(early.iter().all(|one| one.route != "_INBOX.3"), "{early:?}");
        nodes.settle();
        let sent = nodes.node(leader).take();
        sent.into_iter()
            .filter(|one| one.route == "_INBOX.3")
            .collect::<Vec<_>>()
    };
    let first = pull(&mut nodes, leader);
    let payloads: Vec<&str> = first.iter().map(|one| &*one.payload).collect();
    assert_eq!(payloads, ["1", "2", "3", "4"]);
    for one in &first[..2] {
        nodes.node(leader).send(&one.reply, "_INBOX.4", "", "+ACK");
    }
    nodes.settle();
    let confirmed = nodes.node(leader).take();
    assert_eq!(
        confirmed
            .iter()
            .filter(|one| one.route == "_INBOX.4")
            .count(),
        2
    );
    nodes.crash(leader, 1);
    let leader = nodes.elect();
    let second = pull(&mut nodes, leader);
    let payloads: Vec<&str> = second.iter().map(|one| &*one.payload).collect();
    assert_eq!(payloads, ["5", "6", "7", "8"]);
    // What was delivered and not acknowledged comes again after its time.
    nodes.pass(31_000_000_000);
    let leader = nodes.elect();
    let third = pull(&mut nodes, leader);
    let payloads: Vec<&str> = third.iter().map(|one| &*one.payload).collect();
    assert_eq!(payloads, ["3", "4", "5", "6"]);
    assert!(third[0].reply.contains(".c.2.3."), "{}", third[0].reply);
}

/// A frame with one message, of which only the first entries are left.
fn beginning(frame: &[u8], count: usize) -> Vec<u8> {
    let message = Message::decode(bytes::Bytes::copy_from_slice(&frame[13..])).unwrap();
    let mut bytes = Vec::new();
    message.cut(count).encode(&mut bytes);
    let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&frame[..9], &len, &bytes].concat()
}

#[test]
fn a_leader_that_goes_within_a_batch_keeps_what_the_next_one_completes() {
    let mut nodes = Nodes::new(3);
    nodes.stream(&STREAM.replace("\"retention\"", "\"allow_atomic\":true,\"retention\""));
    let leader = nodes.elect();
    let (short, long) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    // Each is one message to a member.
    let payload = "x".repeat(700 << 10);
    for n in 1..=4 {
        let number = n.to_string();
        let mut headers = vec![("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", &*number)];
        if n == 4 {
            headers.push(("Nats-Batch-Commit", "1"));
        }
        let rig = nodes.node(leader);
        rig.send("s.a", "_INBOX.1", &block(&headers), &payload);
    }
    nodes.node(leader).commit();
    let frames = std::mem::take(&mut nodes.node(leader).out.frames);
    for (to, frame) in frames {
        let frame = if to == short {
            beginning(&frame, 2)
        } else {
            frame
        };
        nodes.node(to).handle(Event::Peer {
            from: leader,
            frame: &frame.into(),
        });
        nodes.node(to).settle();
    }
    // One member has the beginning, and says so; the other has all of it, and is not heard.
    nodes.node(long).out.frames.clear();
    let answers = std::mem::take(&mut nodes.node(short).out.frames);
    for (_, frame) in answers.into_iter().filter(|(to, _)| *to == leader) {
        nodes.node(leader).handle(Event::Peer {
            from: short,
            frame: &frame.into(),
        });
    }
    nodes.node(leader).commit();
    let replica = nodes
        .node(leader)
        .core
        .core_mut()
        .log
        .replica(GROUP)
        .unwrap();
    assert!(
        replica.waits().is_some() && replica.applied.0 > 3,
        "within the batch"
    );
    assert!(nodes.messages(leader).is_empty());
    nodes.node(leader).out.frames.clear();
    nodes.isolate(leader);
    nodes.pass(5_000_000_000);
    nodes.heal();
    nodes.pass(5_000_000_000);
    for node in 1..=3 {
        assert_eq!(
            nodes.messages(node).len(),
            4,
            "node {node}, leader {leader}"
        );
    }
}
