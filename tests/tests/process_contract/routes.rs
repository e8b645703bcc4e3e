//! Clients of different nodes that talk to each other. Every test also runs against nats-server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use jetwake_tests::daemon::eventually;
use jetwake_tests::wire::Client;

use crate::cluster::{Cluster, flags_with_the_others};

/// Longer than an answer takes, shorter than a test may.
const PATIENCE: Duration = Duration::from_secs(10);
const IMPATIENCE: Duration = Duration::from_millis(200);

fn start() -> Cluster {
    let mut cluster = Cluster::start(flags_with_the_others);
    cluster.all_told();
    cluster
}

/// A client of a node that answers with its name whatever it is asked, until the node ends.
fn answers(node: SocketAddr, name: String, subject: &str, queue: &str) {
    let mut client = Client::connect(node).unwrap();
    client.subscribe(subject, queue);
    // Told to other nodes after the other one.
    client.subscribe(&format!("ready.{name}"), "");
    client.round_trip().unwrap();
    thread::spawn(move || {
        while let Ok(message) = client.next_message() {
            if message.payload == b"go" {
                return;
            }
            let reply = message.reply.to_vec();
            client.publish(&reply, b"", name.as_bytes());
            if client.flush().is_err() {
                return;
            }
        }
    });
}

/// Waits until the client's node knows the one of this name.
fn knows(client: &mut Client, name: &str) {
    client.set_limit(IMPATIENCE).unwrap();
    eventually(|| client.request(&format!("ready.{name}"), b"").ok()).unwrap();
    client.set_limit(PATIENCE).unwrap();
}

fn ask(client: &mut Client, subject: &str) -> String {
    String::from_utf8(client.request(subject, b"").unwrap()).unwrap()
}

#[test]
fn everybody_gets_a_copy_in_order() {
    let cluster = start();
    let nodes = cluster.addresses();
    let connect = |node: &SocketAddr| Client::connect(*node).unwrap();
    let mut subscribers: Vec<_> = nodes.iter().chain(&nodes).map(connect).collect();
    let mut publishers: Vec<_> = nodes.iter().map(connect).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("news.>", "");
        subscriber.round_trip().unwrap();
        subscriber.set_limit(IMPATIENCE).unwrap();
        for publisher in &mut publishers {
            eventually(|| {
                publisher.publish(b"news.probe", b"", b"");
                publisher.flush().unwrap();
                subscriber.next_message().ok().map(drop)
            })
            .unwrap();
        }
        subscriber.set_limit(PATIENCE).unwrap();
    }
    const COUNT: usize = 2000;
    for number in 0..COUNT {
        for (from, publisher) in publishers.iter_mut().enumerate() {
            let subject = format!("news.{from}");
            publisher.publish(subject.as_bytes(), b"", number.to_string().as_bytes());
        }
    }
    for publisher in &mut publishers {
        publisher.flush().unwrap();
    }
    for subscriber in &mut subscribers {
        let mut next = BTreeMap::new();
        while next.values().sum::<usize>() < COUNT * publishers.len() {
            let message = subscriber.next_message().unwrap();
            if message.subject == b"news.probe" {
                continue;
            }
            let expected = next.entry(message.subject.to_vec()).or_insert(0);
            assert_eq!(message.payload, expected.to_string().as_bytes());
            *expected += 1;
        }
    }
}

#[test]
fn answers_find_fresh_inboxes() {
    let cluster = start();
    let nodes = cluster.addresses();
    answers(nodes[1], "far".to_owned(), "service", "");
    let mut client = Client::connect(nodes[0]).unwrap();
    knows(&mut client, "far");
    for number in 0..10_000 {
        let inbox = format!("_INBOX.fresh.{number}");
        let sid = client.subscribe(&inbox, "");
        client.publish(b"service", inbox.as_bytes(), b"");
        let answer = client.next_message().unwrap();
        assert_eq!((answer.sid, answer.status()), (sid, None), "{number}");
        assert_eq!(answer.payload, b"far");
    }
}

#[test]
fn a_group_shares_by_its_members_and_outlives_a_node() {
    let mut cluster = start();
    let nodes = cluster.addresses();
    let mut names = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        for member in 0..=at {
            let name = format!("{at}-{member}");
            answers(*node, name.clone(), "work.>", "q");
            names.push(name);
        }
    }
    let mut client = Client::connect(nodes[0]).unwrap();
    for name in &names {
        knows(&mut client, name);
    }
    let mut counts = BTreeMap::new();
    for _ in 0..6000 {
        *counts.entry(ask(&mut client, "work.a")).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), names.len());
    // 1000 each; the deviation is 29.
    assert!(
        counts.values().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
    cluster.kill(2);
    client.set_limit(IMPATIENCE).unwrap();
    // What is under way to the node when it dies gets no answer.
    let mut row = 0;
    eventually(|| {
        let answer = client.request("work.a", b"");
        row = answer.map_or(0, |name| if name[0] == b'2' { 0 } else { row + 1 });
        (row > 200).then_some(())
    })
    .unwrap();
}

#[test]
fn nobody_is_said_only_if_there_is_nobody_anywhere() {
    let cluster = start();
    let nodes = cluster.addresses();
    let mut client = Client::connect(nodes[0]).unwrap();
    let refused = client.request("service", b"").unwrap_err();
    assert_eq!(refused.to_string(), "service: status 503");
    answers(nodes[2], "far".to_owned(), "service", "q");
    knows(&mut client, "far");
    for _ in 0..100 {
        assert_eq!(ask(&mut client, "service"), "far");
    }
    client.publish(b"service", b"", b"go");
    client.set_limit(IMPATIENCE).unwrap();
    eventually(|| {
        let error = client.request("service", b"").err()?;
        (error.to_string() == "service: status 503").then_some(())
    })
    .unwrap();
}
