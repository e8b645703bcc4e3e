//! A cluster in one process, with a real client.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use futures::StreamExt;
use jetwake::Cluster;

async fn publish(
    jetstream: &async_nats::jetstream::Context,
    subject: &str,
    payload: String,
) -> Option<u64> {
    // Between two leaders nobody takes it.
    let mut attempts = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        attempts.tick().await;
        let sent = jetstream.publish(subject.to_owned(), payload.clone().into());
        if let Ok(ack) = sent.await
            && let Ok(ack) = ack.await
        {
            return Some(ack.sequence);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_each_of_its_nodes() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let client = async_nats::connect(cluster.client_urls()).await.unwrap();
    let mut jetstream = async_nats::jetstream::new(client);
    jetstream.set_timeout(Duration::from_secs(2));
    let config = Config {
        name: "S".to_owned(),
        subjects: vec!["s.>".to_owned()],
        num_replicas: 3,
        ..Config::default()
    };
    let mut stream = jetstream.create_stream(config).await.unwrap();
    let mut acked = Vec::new();
    for round in 0..3 {
        for n in 0..20 {
            let payload = format!("{round}-{n}");
            let seq = publish(&jetstream, "s.a", payload.clone()).await.unwrap();
            acked.push((seq, payload));
        }
        let leader = cluster.leader("S").unwrap();
        cluster.kill(leader);
        let payload = format!("{round} without {leader}");
        let seq = publish(&jetstream, "s.a", payload.clone()).await.unwrap();
        acked.push((seq, payload));
        cluster.restart(leader).await.unwrap();
    }
    let to = (cluster.leader("S").unwrap() + 1) % 3;
    assert!(cluster.move_leader("S", to));
    let seq = publish(&jetstream, "s.a", "moved".to_owned())
        .await
        .unwrap();
    acked.push((seq, "moved".to_owned()));
    assert_eq!(cluster.leader("S"), Some(to));
    for (seq, payload) in &acked {
        let found = stream.get_raw_message(*seq).await.unwrap();
        assert_eq!(found.payload, payload.as_bytes());
    }
    let info = stream.info().await.unwrap();
    assert!(info.state.messages >= acked.len() as u64);
    let consumer = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("c".to_owned()),
        ..Default::default()
    };
    let consumer = stream.create_consumer(consumer).await.unwrap();
    let mut messages = consumer.fetch().max_messages(10).messages().await.unwrap();
    let mut count = 0;
    while let Some(message) = messages.next().await {
        message.unwrap().double_ack().await.unwrap();
        count += 1;
    }
    assert_eq!(count, 10);
}
