//! async-nats against a server process: core, JetStream, key value and object store.
//!
//! Every test has a server of its own, so they run side by side. The program is
//! `JETWAKE_TEST_SERVER`, or this workspace's binary.

// Helpers of tests: a failed step is a failed test, and tests may spawn tasks and processes.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull, push};
use async_nats::jetstream::{self, AckKind, kv, object_store, stream};
use async_nats::{Client, HeaderMap};
use futures::{StreamExt, TryStreamExt};
use jetwake_tests::process::{Launch, Scratch, ServerProcess, server_program};
use tokio::io::AsyncReadExt;

/// For every single step. Long enough for a slow machine: only failing tests wait for it.
const LIMIT: Duration = Duration::from_secs(60);

struct Rig {
    client: Client,
    js: jetstream::Context,
    _server: ServerProcess,
    _scratch: Scratch,
}

async fn rig() -> Rig {
    let scratch = Scratch::new(&std::env::temp_dir(), "interop-async-nats").unwrap();
    let launch = Launch::jetstream(&server_program().unwrap(), scratch.path()).unwrap();
    let server = launch.start().unwrap();
    let options = async_nats::ConnectOptions::new()
        .connection_timeout(LIMIT)
        .request_timeout(Some(LIMIT));
    let client = options.connect(server.address().to_string()).await.unwrap();
    let mut js = jetstream::new(client.clone());
    js.set_timeout(LIMIT);
    // INFO comes before JetStream is ready to answer.
    tokio::time::timeout(LIMIT, async { while js.query_account().await.is_err() {} })
        .await
        .unwrap();
    Rig {
        client,
        js,
        _server: server,
        _scratch: scratch,
    }
}

impl Rig {
    async fn stream(&self, name: &str, subject: &str) -> stream::Stream {
        self.js
            .create_stream(stream::Config {
                name: name.to_owned(),
                subjects: vec![subject.to_owned()],
                ..Default::default()
            })
            .await
            .unwrap()
    }

    async fn publish(&self, subject: &str, count: usize) {
        let mut acks = Vec::new();
        for number in 1..=count {
            acks.push(
                self.js
                    .publish(subject.to_owned(), number.to_string().into())
                    .await
                    .unwrap(),
            );
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what)
        .await
        .expect("an answer in time")
}

#[tokio::test]
async fn publish_subscribe_with_headers() {
    let rig = rig().await;
    let mut all = rig.client.subscribe("core.*.x").await.unwrap();
    let mut headers = HeaderMap::new();
    headers.append("Colour", "green");
    headers.append("Colour", "blue");
    rig.client.publish("core.a.x", "one".into()).await.unwrap();
    rig.client.publish("core.a.b.x", "no".into()).await.unwrap();
    rig.client
        .publish_with_headers("core.b.x", headers.clone(), "two".into())
        .await
        .unwrap();
    let (first, second) =
        within(async { (all.next().await.unwrap(), all.next().await.unwrap()) }).await;
    assert_eq!(
        (first.subject.as_str(), &first.payload[..]),
        ("core.a.x", &b"one"[..])
    );
    assert_eq!(
        (second.subject.as_str(), second.headers),
        ("core.b.x", Some(headers))
    );
}

#[tokio::test]
async fn request_reply_and_no_responders() {
    let rig = rig().await;
    let mut service = rig.client.subscribe("service").await.unwrap();
    let answering = rig.client.clone();
    tokio::spawn(async move {
        while let Some(request) = service.next().await {
            let body = [b"re:", &request.payload[..]].concat();
            answering
                .publish(request.reply.unwrap(), body.into())
                .await
                .unwrap();
        }
    });
    for number in 0..20 {
        let reply = within(rig.client.request("service", number.to_string().into()))
            .await
            .unwrap();
        assert_eq!(reply.payload, format!("re:{number}"));
    }
    let error = within(rig.client.request("nobody", "".into()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn a_queue_group_delivers_each_message_once() {
    let rig = rig().await;
    let (sender, mut received) = tokio::sync::mpsc::channel(100);
    for member in 0..3 {
        let mut sub = rig
            .client
            .queue_subscribe("work", "group".into())
            .await
            .unwrap();
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(message) = sub.next().await {
                let number: usize = std::str::from_utf8(&message.payload)
                    .unwrap()
                    .parse()
                    .unwrap();
                sender.send((member, number)).await.unwrap();
            }
        });
    }
    for number in 0..100 {
        rig.client
            .publish("work", number.to_string().into())
            .await
            .unwrap();
    }
    rig.client.flush().await.unwrap();
    let mut numbers = Vec::new();
    for _ in 0..100 {
        numbers.push(within(received.recv()).await.unwrap().1);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    rig.client.flush().await.unwrap();
    assert!(
        received.try_recv().is_err(),
        "a message was delivered twice"
    );
}

#[tokio::test]
async fn stream_create_publish_read_purge_delete() {
    let rig = rig().await;
    let mut stream = rig.stream("S", "s.>").await;
    rig.publish("s.a", 3).await;
    rig.publish("s.b", 2).await;
    let state = stream.info().await.unwrap().state.clone();
    assert_eq!(
        (state.messages, state.first_sequence, state.last_sequence),
        (5, 1, 5)
    );
    assert_eq!(stream.get_raw_message(2).await.unwrap().payload, "2");
    assert_eq!(
        stream
            .get_last_raw_message_by_subject("s.a")
            .await
            .unwrap()
            .sequence,
        3
    );
    assert!(stream.delete_message(2).await.unwrap());
    assert!(stream.get_raw_message(2).await.is_err());
    assert_eq!(stream.purge().filter("s.b").await.unwrap().purged, 2);
    let names: Vec<String> = rig.js.stream_names().try_collect().await.unwrap();
    assert_eq!(names, ["S"]);
    assert!(rig.js.delete_stream("S").await.unwrap().success);
    assert!(rig.js.get_stream("S").await.is_err());
}

#[tokio::test]
async fn duplicates_and_expectations() {
    let rig = rig().await;
    rig.stream("D", "d").await;
    let send = |message: jetstream::message::PublishMessage| async {
        rig.js.send_publish("d", message).await.unwrap().await
    };
    let message = || jetstream::message::PublishMessage::build().payload("x".into());
    let first = send(message().message_id("same")).await.unwrap();
    let second = send(message().message_id("same")).await.unwrap();
    assert_eq!((first.sequence, first.duplicate), (1, false));
    assert_eq!((second.sequence, second.duplicate), (1, true));
    let error = send(message().expected_last_sequence(7)).await.unwrap_err();
    assert_eq!(
        error.kind(),
        jetstream::context::PublishErrorKind::WrongLastSequence
    );
    assert!(
        send(message().expected_last_message_id("other"))
            .await
            .is_err()
    );
    assert!(send(message().expected_stream("OTHER")).await.is_err());
    assert_eq!(
        send(message().expected_last_sequence(1))
            .await
            .unwrap()
            .sequence,
        2
    );
}

#[tokio::test]
async fn limits_drop_the_oldest() {
    let rig = rig().await;
    let config = stream::Config {
        name: "L".to_owned(),
        subjects: vec!["l.>".to_owned()],
        max_messages: 10,
        max_messages_per_subject: 3,
        storage: stream::StorageType::Memory,
        ..Default::default()
    };
    let mut stream = rig.js.create_stream(config).await.unwrap();
    for subject in ["l.a", "l.b", "l.c", "l.d"] {
        rig.publish(subject, 4).await;
    }
    let state = stream.info().await.unwrap().state.clone();
    assert_eq!(
        (state.messages, state.last_sequence, state.subjects_count),
        (10, 16, 4)
    );
    assert!(stream.get_last_raw_message_by_subject("l.a").await.is_ok());
}

#[tokio::test]
async fn pull_with_explicit_acks() {
    let rig = rig().await;
    let stream = rig.stream("P", "p").await;
    rig.publish("p", 100).await;
    let config = pull::Config {
        durable_name: Some("c".to_owned()),
        ..Default::default()
    };
    let mut consumer = stream.create_consumer(config).await.unwrap();
    let mut batch = consumer.fetch().max_messages(40).messages().await.unwrap();
    let mut seen = 0;
    while let Some(message) = within(batch.next()).await {
        let message = message.unwrap();
        seen += 1;
        let info = message.info().unwrap();
        assert_eq!((info.stream_sequence, info.pending), (seen, 100 - seen));
        message.double_ack().await.unwrap();
    }
    assert_eq!(seen, 40);
    let messages = consumer.messages().await.unwrap().take(60);
    let rest: Vec<_> = within(messages.try_collect()).await.unwrap();
    for message in &rest {
        message.double_ack().await.unwrap();
    }
    let info = consumer.info().await.unwrap();
    assert_eq!(
        (
            info.ack_floor.stream_sequence,
            info.num_pending,
            info.num_ack_pending
        ),
        (100, 0, 0)
    );
}

#[tokio::test]
async fn negative_acks_and_ack_wait_deliver_again() {
    let rig = rig().await;
    let stream = rig.stream("R", "r").await;
    rig.publish("r", 1).await;
    let config = pull::Config {
        durable_name: Some("c".to_owned()),
        ack_wait: Duration::from_millis(300),
        max_deliver: 4,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let delay = Duration::from_millis(50);
    for (attempt, answer) in [
        (1, Some(AckKind::Nak(None))),
        (2, Some(AckKind::Nak(Some(delay)))),
        (3, None),
    ] {
        let message = within(messages.next()).await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().delivered, attempt);
        if let Some(answer) = answer {
            message.ack_with(answer).await.unwrap();
        }
    }
    let last = within(messages.next()).await.unwrap().unwrap();
    assert_eq!(
        last.info().unwrap().delivered,
        4,
        "ack wait must have delivered it again"
    );
    last.double_ack_with(AckKind::Term).await.unwrap();
}

#[tokio::test]
async fn push_with_acks() {
    let rig = rig().await;
    let stream = rig.stream("Q", "q").await;
    rig.publish("q", 50).await;
    let config = push::Config {
        durable_name: Some("c".to_owned()),
        deliver_subject: rig.client.new_inbox(),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let mut consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    for number in 1..=50_u64 {
        let message = within(messages.next()).await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().stream_sequence, number);
        message.double_ack().await.unwrap();
    }
    assert_eq!(consumer.info().await.unwrap().ack_floor.stream_sequence, 50);
}

#[tokio::test]
async fn ordered_consumers_see_everything_in_order() {
    let rig = rig().await;
    let stream = rig.stream("O", "o").await;
    rig.publish("o", 1000).await;
    let push = push::OrderedConfig {
        deliver_subject: rig.client.new_inbox(),
        ..Default::default()
    };
    let push = stream
        .create_consumer(push)
        .await
        .unwrap()
        .messages()
        .await
        .unwrap();
    let pull = stream
        .create_consumer(pull::OrderedConfig::default())
        .await
        .unwrap();
    let pull = pull.messages().await.unwrap();
    let wanted: Vec<u64> = (1..=1000).collect();
    let sequence = |message: jetstream::Message| message.info().unwrap().stream_sequence;
    let pushed = push
        .take(1000)
        .map(|message| sequence(message.unwrap()))
        .collect::<Vec<_>>();
    assert_eq!(within(pushed).await, wanted);
    let pulled = pull
        .take(1000)
        .map(|message| sequence(message.unwrap()))
        .collect::<Vec<_>>();
    assert_eq!(within(pulled).await, wanted);
}

#[tokio::test]
async fn deliver_policies_choose_the_first_message() {
    let rig = rig().await;
    let stream = rig.stream("F", "f.>").await;
    rig.publish("f.a", 2).await;
    rig.publish("f.b", 2).await;
    let cases = [
        (DeliverPolicy::All, 1),
        (DeliverPolicy::Last, 4),
        (DeliverPolicy::LastPerSubject, 2),
        (DeliverPolicy::ByStartSequence { start_sequence: 3 }, 3),
    ];
    for (deliver_policy, first) in cases {
        let config = pull::Config {
            deliver_policy,
            filter_subject: "f.>".to_owned(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let message = within(messages.next()).await.unwrap().unwrap();
        assert_eq!(
            message.info().unwrap().stream_sequence,
            first,
            "{deliver_policy:?}"
        );
    }
}

#[tokio::test]
async fn key_value_operations() {
    let rig = rig().await;
    let config = kv::Config {
        bucket: "KV".to_owned(),
        history: 5,
        ..Default::default()
    };
    let kv = rig.js.create_key_value(config).await.unwrap();
    assert_eq!(kv.put("a", "1".into()).await.unwrap(), 1);
    assert_eq!(kv.get("a").await.unwrap().unwrap(), "1");
    assert_eq!(kv.update("a", "2".into(), 1).await.unwrap(), 2);
    assert!(kv.update("a", "3".into(), 1).await.is_err());
    assert_eq!(kv.create("b", "x".into()).await.unwrap(), 3);
    assert!(kv.create("b", "y".into()).await.is_err());
    let history: Vec<_> = kv
        .history("a")
        .await
        .unwrap()
        .map_ok(|e| e.revision)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(history, [1, 2]);
    kv.delete("b").await.unwrap();
    assert!(kv.get("b").await.unwrap().is_none());
    assert_eq!(kv.create("b", "again".into()).await.unwrap(), 5);
    kv.purge("b").await.unwrap();
    let keys: Vec<String> = kv.keys().await.unwrap().try_collect().await.unwrap();
    assert_eq!(keys, ["a"]);
    assert_eq!(kv.status().await.unwrap().history(), 5);
}

#[tokio::test]
async fn key_value_watch() {
    let rig = rig().await;
    let config = kv::Config {
        bucket: "W".to_owned(),
        ..Default::default()
    };
    let kv = rig.js.create_key_value(config).await.unwrap();
    kv.put("w.a", "1".into()).await.unwrap();
    let mut watch = kv.watch_with_history("w.*").await.unwrap();
    kv.put("w.b", "2".into()).await.unwrap();
    kv.put("other", "3".into()).await.unwrap();
    kv.delete("w.a").await.unwrap();
    let wanted = [
        ("w.a", kv::Operation::Put),
        ("w.b", kv::Operation::Put),
        ("w.a", kv::Operation::Delete),
    ];
    for (key, operation) in wanted {
        let entry = within(watch.next()).await.unwrap().unwrap();
        assert_eq!((entry.key.as_str(), entry.operation), (key, operation));
    }
}

#[tokio::test]
async fn object_store_operations() {
    let rig = rig().await;
    let config = object_store::Config {
        bucket: "OBJ".to_owned(),
        ..Default::default()
    };
    let store = rig.js.create_object_store(config).await.unwrap();
    let body: Vec<u8> = (0..700_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut watch = store.watch().await.unwrap();
    let info = store.put("blob", &mut body.as_slice()).await.unwrap();
    assert_eq!((info.size, info.chunks), (700_000, 6));
    assert_eq!(within(watch.next()).await.unwrap().unwrap().name, "blob");
    let mut copy = Vec::new();
    within(store.get("blob").await.unwrap().read_to_end(&mut copy))
        .await
        .unwrap();
    assert_eq!(copy, body);
    store.put("small", &mut &b"tiny"[..]).await.unwrap();
    let mut names: Vec<_> = store
        .list()
        .await
        .unwrap()
        .map_ok(|info| info.name)
        .try_collect()
        .await
        .unwrap();
    names.sort();
    assert_eq!(names, ["blob", "small"]);
    store.delete("blob").await.unwrap();
    assert!(store.get("blob").await.is_err());
}

#[tokio::test]
async fn account_info_counts() {
    let rig = rig().await;
    rig.stream("A", "a").await;
    rig.publish("a", 1).await;
    let account = rig.js.query_account().await.unwrap();
    assert_eq!((account.streams, account.consumers), (1, 0));
    assert!(account.storage > 0);
}
