//! Limits: connections, subscriptions, tokens, sizes, and consumers that do not read.

use crate::support::{QUIET, Raw, start};

#[tokio::test]
async fn connections_over_the_limit_are_turned_away() {
    let server = start(|options| options.max_connections = 1).await;
    let mut first = Raw::connect(&server).await;
    let mut second = Raw::connect(&server).await;
    second
        .expect_end("-ERR 'maximum connections exceeded'\r\n")
        .await;
    first.send(QUIET).await;
    first.expect_before_pong("").await;
}

#[tokio::test]
async fn subscriptions_over_the_limit_are_refused_and_the_connection_stays() {
    let server = start(|options| {
        options.max_subscriptions = 1;
        options.max_sub_tokens = 2;
    })
    .await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!(
        "{QUIET}SUB a.b.c 1\r\nSUB a.b 1\r\nSUB b 2\r\nPUB b 0\r\n\r\n"
    ))
    .await;
    raw.expect_before_pong(
        "-ERR 'Permissions Violation for Subscription to \"a.b.c\", too many tokens'\r\n\
         -ERR 'maximum subscriptions exceeded'\r\n",
    )
    .await;
}

#[tokio::test]
async fn long_control_lines_end_the_connection() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!("{QUIET}SUB {} 1\r\n", "a".repeat(4094)))
        .await;
    raw.expect_before_pong("").await;
    raw.send(format!("SUB {} 2\r\n", "a".repeat(4095))).await;
    raw.expect_end("-ERR 'maximum control line exceeded'\r\n")
        .await;
}

#[tokio::test]
async fn a_consumer_that_does_not_read_is_cut_without_a_line() {
    let server = start(|options| {
        options.max_pending = 1 << 20;
        options.no_fast_producer_stall = false;
    })
    .await;
    let mut slow = Raw::connect(&server).await;
    slow.send(format!("{QUIET}SUB flood 1\r\n")).await;
    slow.expect_before_pong("").await;
    let mut producer = Raw::connect(&server).await;
    let message = format!("PUB flood 65536\r\n{}\r\n", "x".repeat(65536));
    producer.send(QUIET).await;
    while server.shared().connection_count() > 1 {
        producer.send(&message).await;
        producer.expect_before_pong("").await;
    }
    let slow_consumers = &server.shared().incidents.slow_consumers;
    assert_eq!(slow_consumers.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(server.shared().subscription_count(), 0);
}

#[tokio::test]
async fn a_flush_that_takes_too_long_cuts_the_consumer() {
    let server = start(|options| {
        options.write_deadline = std::time::Duration::from_millis(50);
    })
    .await;
    let mut slow = Raw::connect(&server).await;
    slow.send(format!("{QUIET}SUB flood 1\r\n")).await;
    slow.expect_before_pong("").await;
    let mut producer = Raw::connect(&server).await;
    let message = format!("PUB flood 1000000\r\n{}\r\n", "x".repeat(1_000_000));
    producer.send(QUIET).await;
    for _ in 0..20 {
        producer.send(&message).await;
    }
    while server.shared().connection_count() > 1 {
        producer.expect_before_pong("").await;
    }
}
