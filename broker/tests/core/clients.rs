//! The same server as async-nats sees it.

use futures::StreamExt;

use crate::support::start;

async fn connect(server: &jetwake::server::Running) -> async_nats::Client {
    async_nats::connect(server.client_addr().to_string())
        .await
        .unwrap()
}

#[tokio::test]
async fn publish_subscribe_and_drain() {
    let server = start(|_| {}).await;
    let client = connect(&server).await;
    let mut messages = client.subscribe("events.*").await.unwrap();
    client.flush().await.unwrap();
    let publisher = connect(&server).await;
    for number in 0..1000 {
        publisher
            .publish("events.x", number.to_string().into())
            .await
            .unwrap();
    }
    publisher.flush().await.unwrap();
    for number in 0..1000 {
        let message = messages.next().await.unwrap();
        assert_eq!(message.payload, number.to_string());
    }
    client.drain().await.unwrap();
}

#[tokio::test]
async fn requests_are_answered_or_refused() {
    let server = start(|_| {}).await;
    let service = connect(&server).await;
    let mut requests = service
        .queue_subscribe("echo", "workers".to_owned())
        .await
        .unwrap();
    service.flush().await.unwrap();
    let client = connect(&server).await;
    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            service
                .publish(request.reply.unwrap(), request.payload)
                .await
                .unwrap();
        }
    });
    for number in 0..100 {
        let answer = client
            .request("echo", number.to_string().into())
            .await
            .unwrap();
        assert_eq!(answer.payload, number.to_string());
    }
    let refused = client.request("nobody", "x".into()).await.unwrap_err();
    assert_eq!(refused.kind(), async_nats::RequestErrorKind::NoResponders);
    answering.abort();
}

#[tokio::test]
async fn many_connections_share_a_subject() {
    let server = start(|_| {}).await;
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let client = connect(&server).await;
        let messages = client.subscribe("all").await.unwrap();
        client.flush().await.unwrap();
        subscribers.push((client, messages));
    }
    let publisher = connect(&server).await;
    for number in 0..50 {
        publisher
            .publish("all", number.to_string().into())
            .await
            .unwrap();
    }
    publisher.flush().await.unwrap();
    for (_, messages) in &mut subscribers {
        for number in 0..50 {
            assert_eq!(messages.next().await.unwrap().payload, number.to_string());
        }
    }
}
