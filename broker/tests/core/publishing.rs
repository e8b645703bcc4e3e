//! SUB, UNSUB, PUB and HPUB: who gets what, and in which order.

use crate::support::{MODERN, QUIET, Raw, start};

#[tokio::test]
async fn every_plain_subscription_gets_a_copy() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!(
        "{QUIET}SUB a.b 1\r\nPUB a.b r 0002\r\nhi\r\nSUB a.> 2\r\nUNSUB 1\r\n"
    ))
    .await;
    raw.send("pub\ta.b \t 2  \r\nyo\r\nPUB a 1\r\nx\r\n").await;
    raw.expect_before_pong("MSG a.b 1 r 0002\r\nhi\r\nMSG a.b 2 2\r\nyo\r\n")
        .await;
}

#[tokio::test]
async fn input_may_be_cut_anywhere() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    let input = format!("{QUIET}SUB a.* q 1\r\nPUB a.b r 5\r\nhello\r\nPING\r\n");
    for byte in input.as_bytes() {
        raw.send([*byte]).await;
    }
    raw.expect("MSG a.b 1 r 5\r\nhello\r\nPONG\r\n").await;
}

#[tokio::test]
async fn large_messages_pass_unharmed() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    let payload: String = (0..1 << 20)
        .map(|at| char::from(b'a' + (at % 23) as u8))
        .collect();
    raw.send(format!("{QUIET}SUB big 1\r\n")).await;
    for _ in 0..3 {
        raw.send(format!("PUB big 1048576\r\n{payload}\r\n")).await;
        raw.expect(&format!("MSG big 1 1048576\r\n{payload}\r\n"))
            .await;
    }
    raw.expect_before_pong("").await;
}

#[tokio::test]
async fn one_member_of_a_queue_group_gets_each_message_over_all_filters() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!(
        "{QUIET}SUB a.b q 1\r\nSUB a.* q 2\r\nSUB a.> other 3\r\n"
    ))
    .await;
    let (mut first, mut second, mut other) = (0, 0, 0);
    for _ in 0..200 {
        raw.send("PUB a.b 0\r\n\r\n").await;
        for _ in 0..2 {
            match raw.line().await.as_str() {
                "MSG a.b 1 0\r\n" => first += 1,
                "MSG a.b 2 0\r\n" => second += 1,
                "MSG a.b 3 0\r\n" => other += 1,
                line => panic!("{line}"),
            }
            raw.expect("\r\n").await;
        }
    }
    assert_eq!((first + second, other), (200, 200));
    assert!(first > 20 && second > 20, "{first} {second}");
}

#[tokio::test]
async fn unsub_max_counts_from_sub() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    let publish = "PUB a 0\r\n\r\n";
    raw.send(format!(
        "{QUIET}SUB a 1\r\n{publish}UNSUB 1 2\r\n{publish}{publish}"
    ))
    .await;
    let message = "MSG a 1 0\r\n\r\n";
    raw.expect_before_pong(&format!("{message}{message}")).await;
    raw.send(format!(
        "SUB a 1\r\n{publish}{publish}UNSUB 1 2\r\n{publish}"
    ))
    .await;
    raw.expect_before_pong(&format!("{message}{message}")).await;
    // The number is free again in the very read buffer that used it up.
    raw.send(format!(
        "SUB a 1\r\nUNSUB 1 1\r\n{publish}SUB b 1\r\nPUB b 0\r\n\r\n"
    ))
    .await;
    raw.expect_before_pong(&format!("{message}MSG b 1 0\r\n\r\n"))
        .await;
    assert_eq!(server.shared().subscription_count(), 1);
}

#[tokio::test]
async fn a_number_in_use_keeps_its_first_subscription() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("SUB a 1\r\nSUB b 1\r\nPUB b 0\r\n\r\nPUB a 0\r\n\r\nUNSUB 9\r\n")
        .await;
    raw.expect("+OK\r\n+OK\r\n+OK\r\n+OK\r\nMSG a 1 0\r\n\r\n+OK\r\n")
        .await;
}

#[tokio::test]
async fn without_echo_own_messages_do_not_come_back() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    let connect = MODERN.replace("true,\"protocol\":1", "true,\"echo\":false");
    raw.send(format!(
        "{connect}SUB a 1\r\nSUB a q 2\r\nSUB r 3\r\nPUB a r 0\r\n\r\n"
    ))
    .await;
    let silence = "HMSG r 3 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\n";
    raw.expect_before_pong(silence).await;
    let mut other = Raw::connect(&server).await;
    other.send(format!("{QUIET}PUB a 0\r\n\r\nPING\r\n")).await;
    other.expect("PONG\r\n").await;
    for _ in 0..2 {
        assert!(raw.line().await.starts_with("MSG a "));
        raw.expect("\r\n").await;
    }
}

#[tokio::test]
async fn no_responders_reach_the_requester_through_its_own_plain_subscription() {
    let server = start(|_| {}).await;
    let mut listener = Raw::connect(&server).await;
    listener.send(format!("{QUIET}SUB r 1\r\n")).await;
    listener.expect_before_pong("").await;
    let mut raw = Raw::connect(&server).await;
    let connect = MODERN.replace("\"protocol\":1", "\"protocol\":0");
    raw.send(format!("{connect}SUB r q 5\r\nPUB nobody r 2\r\nhi\r\n"))
        .await;
    raw.expect_before_pong("").await;
    raw.send("SUB r.* 6\r\nPUB nobody r.x 2\r\nhi\r\n").await;
    let answer = "HMSG r.x 6 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n";
    raw.expect_before_pong(answer).await;
    listener.expect_before_pong("").await;
}

#[tokio::test]
async fn headers_are_cut_off_for_clients_that_do_not_take_them() {
    let server = start(|_| {}).await;
    let mut old = Raw::connect(&server).await;
    old.send(format!("{QUIET}SUB a 1\r\n")).await;
    old.expect_before_pong("").await;
    let mut raw = Raw::connect(&server).await;
    let connect = MODERN.replace("\"protocol\":1", "\"protocol\":0");
    raw.send(format!(
        "{connect}SUB a 1\r\nHPUB a 012 0014\r\nNATS/1.0\r\n\r\nhi\r\n"
    ))
    .await;
    raw.send("HPUB a 0 2\r\nyo\r\n").await;
    raw.expect_before_pong("HMSG a 1 012 0014\r\nNATS/1.0\r\n\r\nhi\r\nMSG a 1 2\r\nyo\r\n")
        .await;
    old.expect("MSG a 1 2\r\nhi\r\nMSG a 1 2\r\nyo\r\n").await;
}

#[tokio::test]
async fn reserved_subjects_are_refused() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!(
        "{QUIET}SUB > 1\r\nPUB a $JS.ACK.x 0\r\n\r\nPUB _GR_.x 0\r\n\r\n"
    ))
    .await;
    raw.send("PUB $NRG.x 0\r\n\r\nPUB a _R_.x 0\r\n\r\nPUB $JS.ACK.x 0\r\n\r\n")
        .await;
    raw.send("SUB a _sys_ 2\r\n").await;
    raw.expect_before_pong(
        "-ERR 'Permissions Violation for Publish with Reply of \"$JS.ACK.x\"'\r\n\
         -ERR 'Permissions Violation for Publish to \"_GR_.x\"'\r\n\
         -ERR 'Permissions Violation for Publish to \"$NRG.x\"'\r\n\
         -ERR 'Permissions Violation for Publish with Reply of \"_R_.x\"'\r\n\
         MSG $JS.ACK.x 1 0\r\n\r\n\
         -ERR 'Permissions Violation for Subscription to \"a\" using queue \"_sys_\"'\r\n",
    )
    .await;
}

#[tokio::test]
async fn the_server_says_who_the_user_is() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!(
        "{QUIET}SUB r 1\r\nPUB $SYS.REQ.USER.INFO r 0\r\n\r\n"
    ))
    .await;
    assert!(raw.line().await.starts_with("MSG r 1 "));
    let answer: serde_json::Value = serde_json::from_str(&raw.line().await).unwrap();
    assert_eq!(answer["data"]["account"], "$G");
    assert_eq!(answer["server"]["ver"], "2.15.1");
}

#[tokio::test]
async fn closed_connections_leave_no_subscriptions() {
    let server = start(|_| {}).await;
    let mut stays = Raw::connect(&server).await;
    let mut goes = Raw::connect(&server).await;
    goes.send(format!("{QUIET}SUB a 1\r\nSUB b.* q 2\r\nPING\r\n"))
        .await;
    goes.expect("PONG\r\n").await;
    assert_eq!(server.shared().subscription_count(), 2);
    goes.send("FOO\r\n").await;
    goes.expect_end("-ERR 'Unknown Protocol Operation'\r\n")
        .await;
    drop(goes);
    stays.send(QUIET).await;
    while server.shared().connection_count() > 1 {
        stays.expect_before_pong("").await;
    }
    assert_eq!(server.shared().subscription_count(), 0);
}
