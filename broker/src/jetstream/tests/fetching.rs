//! Replicas that are far behind, new or damaged get what they lack from the others.

use std::path::Path;

use jetwake_storage::Disk as _;

use super::cluster::Nodes;
use crate::jetstream::io::NodeId;

const STREAM: &str = r#"{"name":"S","subjects":["s.>"],"num_replicas":3,"storage":"file",
    "retention":"limits","max_consumers":-1,"max_msgs":700,"max_bytes":-1,"max_age":0,
    "max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","duplicate_window":120000000000,
    "allow_direct":true,"allow_msg_ttl":true}"#;

fn payload(n: u64) -> String {
    format!(
        "<message {n}>{}",
        "x".repeat(3_000 + (n as usize * 37) % 3_000)
    )
}

fn publish(nodes: &mut Nodes, leader: NodeId, n: u64) {
    nodes.node(leader).take();
    let headers = match n % 3 {
        0 => String::new(),
        1 => format!("NATS/1.0\r\nNats-Msg-Id: id-{n}\r\n\r\n"),
        _ => "NATS/1.0\r\nNats-TTL: 1h\r\n\r\n".to_owned(),
    };
    let subject = format!("s.{}", n % 7);
    assert!(
        nodes
            .node(leader)
            .send(&subject, "_INBOX.1", &headers, &payload(n))
    );
    nodes.settle();
    let sent = nodes.node(leader).take();
    let ack = sent.into_iter().find(|one| one.route == "_INBOX.1");
    let ack = ack.map_or_else(String::new, |one| one.payload);
    assert!(ack.contains("\"seq\""), "{n}: {ack}");
}

/// What a replica holds, all of it.
fn state(nodes: &mut Nodes, node: NodeId) -> (String, Vec<u8>) {
    let core = nodes.node(node).core.core_mut();
    let id = core.streams.id(0, "S").unwrap();
    let group = core.streams.get(id).unwrap().group.unwrap();
    let replica = core.log.replica(group).unwrap();
    assert!(!replica.fetching, "node {node}");
    let mut blob = Vec::new();
    replica.shadow.write(&mut blob);
    let applied = replica.applied;
    let members = replica.membership.clone();
    let stream = core.streams.get(id).unwrap();
    let last_seq = stream.messages.state().last_seq;
    for part in stream.dedupe.snapshot_upto(last_seq).parts() {
        blob.extend_from_slice(part);
    }
    let mut deadlines = Vec::new();
    let mut next = stream.messages.next(0);
    while let Some(meta) = next {
        deadlines.push((meta.seq, stream.deadlines.is_immortal(meta.seq)));
        next = stream.messages.next(meta.seq + 1);
    }
    let text = format!(
        "{applied:?} {members:?} {:?} {:?} {deadlines:?} {:?} {:?}",
        stream.messages.state(),
        stream.config,
        stream.committed_msg_id(),
        stream.deadlines.first(),
    );
    (text, blob)
}

fn same_everywhere(nodes: &mut Nodes, what: &str) {
    let first = state(nodes, 1);
    let messages = nodes.messages(1);
    for node in 2..=3 {
        assert_eq!(nodes.messages(node), messages, "{what}: node {node}");
        assert_eq!(state(nodes, node), first, "{what}: node {node}");
    }
}

fn cluster() -> (Nodes, NodeId) {
    let mut nodes = Nodes::new(3);
    nodes.meet();
    nodes.pass(1_000_000_000);
    let answer = nodes.api(1, "STREAM.CREATE.S", STREAM);
    assert!(answer.contains("\"name\":\"S\""), "{answer}");
    let leader = nodes.elect();
    (nodes, leader)
}

/// A stream with a consumer; what happened while one node was away is more than the others keep in their logs.
fn left_behind(victim_leads: bool) -> (Nodes, NodeId) {
    let (mut nodes, leader) = cluster();
    for n in 1..=30 {
        publish(&mut nodes, leader, n);
    }
    let victim = if victim_leads { leader } else { leader % 3 + 1 };
    nodes.crash(victim, 3);
    // Long enough for the others to forget what it needs.
    nodes.pass(3_000_000_000);
    let leader = nodes.elect();
    for n in 31..=430 {
        publish(&mut nodes, leader, n);
    }
    for seq in [5, 25, 40, 300] {
        let answer = nodes.api(leader, "STREAM.MSG.DELETE.S", &format!("{{\"seq\":{seq}}}"));
        assert!(answer.contains("\"success\":true"), "{answer}");
    }
    let create = r#"{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}"#;
    let answer = nodes.api(leader, "CONSUMER.DURABLE.CREATE.S.c", create);
    assert!(answer.contains("\"name\":\"c\""), "{answer}");
    let next = "$JS.API.CONSUMER.MSG.NEXT.S.c";
    nodes.node(leader).send(next, "_INBOX.3", "", "4");
    nodes.settle();
    let answer = nodes.api(leader, "STREAM.PURGE.S", r#"{"seq":12}"#);
    assert!(answer.contains("\"success\":true"), "{answer}");
    (nodes, victim)
}

#[test]
fn a_member_that_is_far_behind_fetches_the_state() {
    for victim_leads in [false, true] {
        let (mut nodes, victim) = left_behind(victim_leads);
        nodes.restart(victim);
        nodes.pass(3_000_000_000);
        let said = nodes.node(victim).out.lines.join("\n");
        assert!(
            said.contains("Catchup for stream '$G > S' complete (took "),
            "{said}"
        );
        same_everywhere(&mut nodes, "fetched");
        // It goes on with the log, alone with one other, and leads if it has to.
        let other = nodes.elect();
        let gone = if other == victim {
            victim % 3 + 1
        } else {
            other
        };
        nodes.crash(gone, 5);
        let leader = nodes.elect();
        for n in 500..=510 {
            publish(&mut nodes, leader, n);
        }
        nodes.restart(gone);
        nodes.pass(3_000_000_000);
        same_everywhere(&mut nodes, "later");
    }
}

#[test]
fn a_fetch_may_be_cut_off_anywhere() {
    for crash in 0..6 {
        let (mut nodes, victim) = left_behind(false);
        nodes.restart(victim);
        // Frames, not time: one exchange after the other.
        for _ in 0..crash * 2 {
            nodes.step();
        }
        nodes.crash(victim, crash);
        nodes.pass(200_000_000);
        nodes.restart(victim);
        let leader = nodes.elect();
        publish(&mut nodes, leader, 600 + crash);
        nodes.pass(3_000_000_000);
        same_everywhere(&mut nodes, &format!("crash {crash}"));
    }
}

/// Damages a message wherever its bytes are on a node's disk.
fn damage(nodes: &mut Nodes, node: NodeId, n: u64) {
    let disk = nodes.node(node).disk.clone();
    let text = format!("<message {n}>");
    for name in disk.list(Path::new("/js")).unwrap() {
        let path = Path::new("/js").join(name);
        let file = disk.open(&path).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        let places = bytes.windows(text.len()).enumerate();
        for (at, _) in places.filter(|(_, window)| *window == text.as_bytes()) {
            disk.flip(&path, at + 2, 3);
        }
    }
}

#[test]
fn a_leader_delivers_what_only_others_can_read() {
    let (mut nodes, leader) = cluster();
    for n in 1..=20 {
        publish(&mut nodes, leader, n);
    }
    let create = r#"{"stream_name":"S","config":{"durable_name":"c","ack_policy":"explicit"}}"#;
    let answer = nodes.api(leader, "CONSUMER.DURABLE.CREATE.S.c", create);
    assert!(answer.contains("\"name\":\"c\""), "{answer}");
    damage(&mut nodes, leader, 7);
    damage(&mut nodes, leader, 8);
    nodes.node(leader).take();
    let next = "$JS.API.CONSUMER.MSG.NEXT.S.c";
    nodes.node(leader).send(
        next,
        "_INBOX.3",
        "",
        r#"{"batch":20,"expires":30000000000}"#,
    );
    nodes.pass(3_000_000_000);
    let sent = nodes.node(leader).take();
    let got: Vec<String> = sent
        .into_iter()
        .filter(|one| one.route == "_INBOX.3" && !one.payload.is_empty())
        .map(|one| one.payload)
        .collect();
    let expected: Vec<String> = (1..=20).map(payload).collect();
    assert_eq!(got, expected);
    same_everywhere(&mut nodes, "mended");
    let said = nodes.node(leader).out.lines.join("\n");
    assert!(!said.contains("lost messages"), "{said}");
    // The good bytes are there after a restart.
    nodes.crash(leader, 1);
    nodes.elect();
    nodes.restart(leader);
    nodes.pass(2_000_000_000);
    same_everywhere(&mut nodes, "restarted");
}

#[test]
fn a_stream_gets_more_replicas_whatever_it_holds() {
    let mut nodes = Nodes::new(3);
    nodes.meet();
    nodes.pass(2_000_000_000);
    let one = STREAM.replace("\"num_replicas\":3", "\"num_replicas\":1");
    let answer = nodes.api(1, "STREAM.CREATE.S", &one);
    assert!(answer.contains("\"name\":\"S\""), "{answer}");
    let home = (1..=3).find(|node| {
        let core = nodes.node(*node).core.core_mut();
        core.streams.id(0, "S").is_some()
    });
    let home = home.unwrap();
    for n in 1..=60 {
        publish(&mut nodes, home, n);
    }
    let answer = nodes.api(2, "STREAM.UPDATE.S", STREAM);
    assert!(answer.contains("\"num_replicas\":3"), "{answer}");
    nodes.pass(10_000_000_000);
    same_everywhere(&mut nodes, "more replicas");
    assert_eq!(nodes.messages(2).len(), 60);
}
