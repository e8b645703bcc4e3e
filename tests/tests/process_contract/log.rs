//! The form of log lines, and what a trace shows.

use jetwake_tests::daemon::{Daemon, Lines};

use crate::{has_ipv6, scratch};

const LISTEN: [&str; 4] = ["-a", "127.0.0.1", "-p", "-1"];

/// Digits for `9`, otherwise the same characters.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(byte, form)| match form {
                b'9' => byte.is_ascii_digit(),
                other => byte == other,
            })
}

#[test]
fn lines_begin_with_process_time_and_level() {
    let dir = scratch("form");
    let mut server = Daemon::start(dir.path(), &LISTEN).unwrap();
    let line = server.line("Starting nats-server").unwrap();
    let rest = line.strip_prefix(&format!("[{}] ", server.pid())).unwrap();
    let (time, text) = rest.split_at("9999/99/99 99:99:99.999999".len());
    assert!(has_form(time, "9999/99/99 99:99:99.999999"), "{line}");
    assert_eq!(text, " [INF] Starting nats-server");
    server.line(" [INF]   Version:  2.15.1").unwrap();
    server.line(" [INF]   Name:     N").unwrap();
    server.line(" [INF]   ID:       N").unwrap();
    server
        .line(" [INF] Listening for client connections on 127.0.0.1:")
        .unwrap();
    server.line(" [INF] Server is ready").unwrap();
}

#[test]
fn without_time_the_process_stays() {
    let dir = scratch("no-time");
    let mut server = Daemon::start(dir.path(), &[&LISTEN[..], &["-T=false"]].concat()).unwrap();
    let line = server.line("Server is ready").unwrap();
    assert_eq!(line, format!("[{}] [INF] Server is ready", server.pid()));
}

#[test]
fn the_listen_line_shows_the_host_as_written() {
    let dir = scratch("host");
    for (host, shown) in [
        ("0.0.0.0", "0.0.0.0:"),
        ("localhost", "localhost:"),
        ("::1", "[::1]:"),
    ] {
        if host == "::1" && !has_ipv6() {
            continue;
        }
        let mut server = Daemon::start(dir.path(), &["-a", host, "-p", "-1"]).unwrap();
        let line = server.line("Listening for client connections on ").unwrap();
        assert!(line.contains(&format!(" on {shown}")), "{line}");
    }
}

#[test]
fn the_store_directory_is_quoted() {
    let dir = scratch("store");
    let args = [&LISTEN[..], &["-js", "-sd", "store"]].concat();
    let mut server = Daemon::start(dir.path(), &args).unwrap();
    let line = server.line("  Store Directory: ").unwrap();
    assert!(
        line.ends_with(" [INF]   Store Directory: \"store/jetstream\""),
        "{line}"
    );
    server.line("  API Level:       5").unwrap();
    server.ready().unwrap();
    // The directory alone does not turn JetStream on.
    let mut server = Daemon::start(dir.path(), &[&LISTEN[..], &["-sd", "other"]].concat()).unwrap();
    server.ready().unwrap();
    server.signal("TERM").unwrap();
    assert!(!server.end().unwrap().1.contains("Store Directory"));
}

#[test]
fn a_trace_shows_every_operation_and_no_password() {
    let dir = scratch("trace");
    let user = ["-DV", "--user", "u", "--pass", "unspoken-word"];
    let mut server = Daemon::start(dir.path(), &[&LISTEN[..], &user].concat()).unwrap();
    let address = server.ready().unwrap();
    server
        .line("[WRN] Plaintext passwords detected, use nkeys or bcrypt")
        .unwrap();
    let mut client = Lines::connect(address).unwrap();
    client
        .send(
            "CONNECT {\"verbose\":false, \"user\":\"u\",\"pass\": \"unspoken-word\",\
             \"lang\":\"go\",\"version\":\"1.0\",\"name\":\"n\"}\r\nPING\r\n",
        )
        .unwrap();
    client.expect("PONG").unwrap();
    client
        .send("SUB foo 1\r\nPUB foo 2\r\nhi\r\nUNSUB 1\r\nPING\r\n")
        .unwrap();
    client.expect("PONG").unwrap();
    server.line(" [DBG] 127.0.0.1:").unwrap();
    server
        .line(
            " - <<- [CONNECT {\"verbose\":false, \"user\":\"u\",\"pass\": \"[REDACTED]\",\
             \"lang\":\"go\",\"version\":\"1.0\",\"name\":\"n\"}]",
        )
        .unwrap();
    let client = " - \"v1.0:go:n\" - \"$G/user:u\" - ";
    for text in [
        "<<- [PING]",
        "->> [PONG]",
        "<<- [SUB foo 1]",
        "<<- [PUB foo 2]",
        "<<- MSG_PAYLOAD: [\"hi\"]",
        "->> [MSG foo 1 2]",
        "->> MSG_PAYLOAD: [\"hi\"]",
        "<<- [UNSUB 1]",
        "<-> [DELSUB 1]",
    ] {
        let line = server.line(&format!("{client}{text}")).unwrap();
        assert!(line.contains(" [TRC] 127.0.0.1:"), "{line}");
    }
    let mut stranger = Lines::connect(address).unwrap();
    stranger
        .send("CONNECT {\"user\":\"u\",\"pass\":\"wrong-word\"}\r\n")
        .unwrap();
    stranger.expect("-ERR 'Authorization Violation'").unwrap();
    server.line(" - authentication error - User \"u\"").unwrap();
    server
        .line(" - Client connection closed: Authentication Failure")
        .unwrap();
    server.signal("TERM").unwrap();
    let (code, log) = server.end().unwrap();
    assert_eq!(code, Some(0));
    assert!(
        !log.contains("unspoken-word") && !log.contains("wrong-word"),
        "{log}"
    );
}

#[test]
fn without_flags_nothing_is_traced() {
    let dir = scratch("quiet");
    for (flag, debugs, traces) in [
        ("-T", false, false),
        ("-D", true, false),
        ("-V", false, true),
    ] {
        let mut server = Daemon::start(dir.path(), &[&LISTEN[..], &[flag]].concat()).unwrap();
        let mut client = Lines::connect(server.ready().unwrap()).unwrap();
        client.send("CONNECT {}\r\nPING\r\n").unwrap();
        client.expect("PONG").unwrap();
        server.signal("INT").unwrap();
        let (_, log) = server.end().unwrap();
        assert_eq!(log.contains("Client connection created"), debugs, "{flag}");
        assert_eq!(log.contains("<<- [PING]"), traces, "{flag}");
    }
}
