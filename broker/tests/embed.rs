//! The embedded broker: start, use, stop, several at a time, time that a test moves.

// Directories of finished tests are removed here.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt as _;
use jetwake::{Clock, Server, SyncPolicy};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn stream(server: &Server, name: &str) -> Result<jetstream::Context, async_nats::Error> {
    let client = async_nats::connect(server.client_url()).await?;
    let context = jetstream::new(client);
    let subjects = vec![format!("{name}.>")];
    let config = jetstream::stream::Config {
        name: name.into(),
        subjects,
        ..Default::default()
    };
    context.create_stream(config).await?;
    Ok(context)
}

#[tokio::test]
async fn the_first_request_after_the_start_is_answered() -> Outcome {
    let server = Server::builder().jetstream().start().await?;
    let context = stream(&server, "S").await?;
    let ack = context.publish("S.a", "one".into()).await?.await?;
    assert_eq!((ack.stream.as_str(), ack.sequence), ("S", 1));
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_temporary_store_goes_away_with_its_server() -> Outcome {
    let server = Server::builder().jetstream().start().await?;
    let context = stream(&server, "S").await?;
    context.publish("S.a", "one".into()).await?.await?;
    let dir = server.data_dir().ok_or("no data directory")?.to_owned();
    assert!(dir.exists());
    server.shutdown().await;
    assert!(!dir.exists(), "{} is still there", dir.display());
    Ok(())
}

#[tokio::test]
async fn a_given_store_stays_and_is_found_again() -> Outcome {
    let dir = std::env::temp_dir().join(format!("jetwake-embed-{}", std::process::id()));
    let start = || {
        Server::builder()
            .store_dir(&dir)
            .sync(SyncPolicy::Always)
            .start()
    };
    let server = start().await?;
    let context = stream(&server, "S").await?;
    for text in ["one", "two"] {
        context.publish("S.a", text.into()).await?.await?;
    }
    server.shutdown().await;

    let server = start().await?;
    let context = jetstream::new(async_nats::connect(server.client_url()).await?);
    let found = context.get_stream("S").await?;
    assert_eq!(found.get_raw_message(2).await?.payload, "two");
    assert_eq!(
        context
            .publish("S.a", "three".into())
            .await?
            .await?
            .sequence,
        3
    );
    let second = start().await;
    assert!(second.is_err(), "two servers must not share a store");
    drop(server);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

#[tokio::test]
async fn several_servers_do_not_know_each_other() -> Outcome {
    let one = Server::builder().jetstream().start().await?;
    let two = Server::builder().jetstream().start().await?;
    stream(&one, "S").await?;
    let elsewhere = jetstream::new(async_nats::connect(two.client_url()).await?);
    assert!(elsewhere.get_stream("S").await.is_err());
    assert_ne!(one.client_addr().port(), two.client_addr().port());
    Ok(())
}

#[tokio::test]
async fn time_moves_when_the_test_moves_it() -> Outcome {
    let clock = Clock::manual();
    let server = Server::builder()
        .jetstream()
        .clock(clock.clone())
        .start()
        .await?;
    let client = async_nats::connect(server.client_url()).await?;
    let context = jetstream::new(client);
    let hour = Duration::from_secs(3600);
    let config = jetstream::stream::Config {
        name: "S".into(),
        subjects: vec!["S.>".into()],
        max_age: hour,
        ..Default::default()
    };
    let mut stream = context.create_stream(config).await?;
    context.publish("S.a", "one".into()).await?.await?;
    clock.advance(hour - Duration::from_secs(1));
    assert_eq!(stream.info().await?.state.messages, 1);
    clock.advance(Duration::from_secs(2));
    assert_eq!(stream.info().await?.state.messages, 0);
    Ok(())
}

#[tokio::test]
async fn a_login_is_asked_for() -> Outcome {
    let server = Server::builder().user("u", "p").start().await?;
    assert!(async_nats::connect(server.client_url()).await.is_err());
    let options = async_nats::ConnectOptions::with_user_and_password("u".into(), "p".into());
    options.connect(server.client_url()).await?.flush().await?;
    Ok(())
}

/// Readers, the disk thread and the JetStream thread take turns at the core; nobody may be forgotten between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn publishers_that_wait_for_every_ack_do_not_get_stuck() -> Outcome {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 150;
    let server = Server::builder().jetstream().start().await?;
    let context = stream(&server, "S").await?;
    let found = context.get_stream("S").await?;
    let config = jetstream::consumer::pull::Config {
        durable_name: Some("c".into()),
        ..Default::default()
    };
    let consumer = found.create_consumer(config).await?;
    let mut publishers = tokio::task::JoinSet::<Outcome>::new();
    for number in 0..PUBLISHERS {
        let context = jetstream::new(async_nats::connect(server.client_url()).await?);
        publishers.spawn(async move {
            for _ in 0..EACH {
                let subject = format!("S.{number}");
                context.publish(subject, "text".into()).await?.await?;
            }
            Ok(())
        });
    }
    let mut messages = consumer.messages().await?;
    for _ in 0..PUBLISHERS * EACH {
        let message = messages.next().await.ok_or("the messages ended")??;
        message.double_ack().await?;
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn three_embedded_nodes_find_each_other() -> Outcome {
    let mut servers: Vec<Server> = Vec::new();
    for at in 0..3 {
        let mut builder = Server::builder().name(format!("n{at}")).cluster("C");
        if let Some(address) = servers.first().and_then(Server::cluster_addr) {
            builder = builder.route(address);
        }
        servers.push(builder.start().await?);
    }
    let peers = |server: &Server| server.peers().map_or(0, |peers| peers.all().len());
    let linked = async {
        while servers.iter().any(|server| peers(server) < 2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), linked).await?;
    let client = async_nats::connect(servers[2].client_url()).await?;
    let info = client.server_info();
    assert_eq!(info.cluster.as_deref(), Some("C"));
    assert_eq!(info.connect_urls.len(), 3, "{:?}", info.connect_urls);
    for server in servers {
        server.shutdown().await;
    }
    Ok(())
}
