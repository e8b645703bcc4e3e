//! INFO, CONNECT, authentication, closing.

use jetwake::options::Auth;

use crate::support::{MODERN, QUIET, Raw, start};

#[tokio::test]
async fn info_comes_first_and_again_after_the_first_ping() {
    let server = start(|options| options.server_name = Some("here".to_owned())).await;
    let (mut raw, info) = Raw::connect_with_info(&server).await;
    assert_eq!(info["server_name"], "here");
    assert!(info["server_id"].as_str().unwrap().starts_with('N'));
    assert_eq!(info["server_id"].as_str().unwrap().len(), 56);
    assert!(info["xkey"].as_str().unwrap().starts_with('X'));
    assert_eq!(info["port"], server.client_addr().port());
    assert_eq!(info["client_ip"], "127.0.0.1");
    assert_eq!(info["max_payload"], 1 << 20);
    assert!(info.get("connect_info").is_none() && info.get("jetstream").is_none());
    raw.send(format!("{MODERN}PING\r\nPING\r\n")).await;
    raw.expect("PONG\r\n").await;
    let line = raw.line().await;
    let second: serde_json::Value =
        serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    assert_eq!(second["connect_info"], true);
    assert_eq!(second["remote_account"], "$G");
    assert_eq!(second["client_id"], info["client_id"]);
    raw.expect("PONG\r\n").await;
    server.shutdown().await;
}

#[tokio::test]
async fn connections_without_connect_are_verbose_and_pedantic() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("PING\r\nSUB a.* 1\r\nPUB a.* 0\r\n\r\nSUB a..b 2\r\nUNSUB 1\r\n")
        .await;
    raw.expect("PONG\r\n+OK\r\n-ERR 'Invalid Publish Subject'\r\n+OK\r\nMSG a.* 1 0\r\n\r\n")
        .await;
    raw.expect("-ERR 'Invalid Subject'\r\n+OK\r\n").await;
}

#[tokio::test]
async fn what_a_client_must_not_send_ends_the_connection() {
    let server = start(|_| {}).await;
    let unknown = "-ERR 'Unknown Protocol Operation'\r\n";
    let cases = [
        ("SUB a b c d\r\n", ""),
        ("PUB a -1\r\n", ""),
        ("PUB a 2\r\nhixx\r\n", unknown),
        ("FOO\r\n", unknown),
        ("\r\n", unknown),
        ("SUB\r\n", unknown),
        ("HPUB a 12 14\r\n", ""),
        (
            "CONNECT {\"protocol\":2}\r\n",
            "-ERR 'invalid client protocol'\r\n",
        ),
        (
            "CONNECT {\"no_responders\":true}\r\n",
            "-ERR 'no responders requires headers support'\r\n",
        ),
        ("CONNECT {bad}\r\n", ""),
        ("CONNECT {\"verbose\":\"x\"}\r\n", ""),
        (
            "CONNECT {\"account\":\"A\"}\r\n",
            "-ERR 'Authorization Violation'\r\n",
        ),
        ("PUB a 1048577\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        ("-ERR hello\r\n", ""),
        ("INFO x\r\n", ""),
    ];
    for (sent, answer) in cases {
        let mut raw = Raw::connect(&server).await;
        raw.send(format!("{QUIET}{sent}")).await;
        raw.expect_end(answer).await;
    }
}

#[tokio::test]
async fn a_user_must_log_in() {
    let auth = Auth::User {
        user: "u".to_owned(),
        password: "p".to_owned(),
    };
    let server = start(|options| options.auth = Some(auth)).await;
    let violation = "-ERR 'Authorization Violation'\r\n";
    let wrong = "CONNECT {\"user\":\"u\",\"pass\":\"x\",\"protocol\":7}\r\n";
    for refused in ["PING\r\n", "SUB a 1\r\n", wrong] {
        let (mut raw, info) = Raw::connect_with_info(&server).await;
        assert_eq!(info["auth_required"], true);
        raw.send(refused).await;
        raw.expect_end(violation).await;
    }
    let mut raw = Raw::connect(&server).await;
    raw.send("CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPING\r\n")
        .await;
    raw.expect("+OK\r\nPONG\r\n").await;
}

#[tokio::test]
async fn a_first_connect_keeps_the_subscriptions() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!("SUB a 1\r\n{QUIET}PUB a 1\r\nx\r\n"))
        .await;
    raw.expect_before_pong("+OK\r\nMSG a 1 1\r\nx\r\n").await;
}

#[tokio::test]
async fn a_second_connect_drops_the_subscriptions() {
    let server = start(|_| {}).await;
    let mut raw = Raw::connect(&server).await;
    raw.send(format!("{QUIET}SUB a 1\r\nPUB a 1\r\nx\r\n"))
        .await;
    raw.send("CONNECT {\"name\":\"again\"}\r\nPUB a 1\r\ny\r\n")
        .await;
    raw.expect_before_pong("MSG a 1 1\r\nx\r\n").await;
}

#[tokio::test]
async fn shutdown_closes_connections_and_frees_the_port_at_once() {
    let server = start(|_| {}).await;
    let port = server.client_addr().port();
    let mut raw = Raw::connect(&server).await;
    raw.send(QUIET).await;
    raw.expect_before_pong("").await;
    server.shutdown().await;
    raw.expect_end("").await;
    let again = start(|options| options.port = port).await;
    Raw::connect(&again).await;
}

#[tokio::test]
async fn lame_duck_tells_and_closes_and_admits_nobody() {
    let server = start(|options| {
        options.lame_duck_grace_period = std::time::Duration::ZERO;
        options.lame_duck_duration = std::time::Duration::from_millis(20);
    })
    .await;
    let mut modern = Raw::connect(&server).await;
    modern.send(format!("{MODERN}PING\r\n")).await;
    modern.expect("PONG\r\n").await;
    modern.line().await;
    let mut old = Raw::connect(&server).await;
    old.send(QUIET).await;
    old.expect_before_pong("").await;
    server.lame_duck().await;
    let line = modern.line().await;
    assert!(
        line.starts_with("INFO ") && line.contains("\"ldm\":true"),
        "{line}"
    );
    modern.expect_end("").await;
    old.expect_end("").await;
    assert!(
        tokio::net::TcpStream::connect(server.client_addr())
            .await
            .is_err()
    );
    server.shutdown().await;
}
