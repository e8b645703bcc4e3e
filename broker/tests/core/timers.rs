//! Pings, stale connections, authentication in time.

use std::time::Duration;

use jetwake::options::Auth;

use crate::support::{QUIET, Raw, start};

#[tokio::test]
async fn silent_clients_are_pinged_and_given_up() {
    let server = start(|options| options.ping_interval = Duration::from_millis(20)).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(QUIET).await;
    raw.expect_end("PING\r\nPING\r\n-ERR 'Stale Connection'\r\n")
        .await;
}

#[tokio::test]
async fn clients_that_answer_stay() {
    let server = start(|options| options.ping_interval = Duration::from_millis(5)).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(QUIET).await;
    for _ in 0..10 {
        raw.expect("PING\r\n").await;
        raw.send("PONG\r\n").await;
    }
    let connections = server.shared().connections();
    assert!(connections[0].rtt() > 0);
}

#[tokio::test]
async fn clients_that_do_not_log_in_time_out() {
    let server = start(|options| {
        options.auth = Some(Auth::Token("t".to_owned()));
        options.auth_timeout = Duration::from_millis(20);
    })
    .await;
    let mut raw = Raw::connect(&server).await;
    raw.expect_end("-ERR 'Authentication Timeout'\r\n").await;
}
