//! Start, signals, lame duck mode, end, and the next start.

use std::net::SocketAddr;
use std::time::Duration;

use jetwake_tests::daemon::{Daemon, Lines, eventually, get};
use jetwake_tests::jetstream::{api, stream_state};
use jetwake_tests::process::{free_port, server_program};
use jetwake_tests::wire::Client;

use crate::{has_ipv6, scratch};

/// A harness waits this long before it looks whether the server is still there.
const PROMPT: Duration = Duration::from_millis(100);
/// Starts of which one has to be that prompt.
const TRIES: usize = 40;
/// Far longer than an end takes, shorter than any timer of a client.
const END: Duration = Duration::from_secs(15);

const LISTEN: [&str; 4] = ["-a", "127.0.0.1", "-p", "-1"];

#[test]
fn it_listens_at_once() {
    let dir = scratch("start");
    let args = [&LISTEN[..], &["-js", "-sd", "store"]].concat();
    let start = || {
        let mut server = Daemon::start(dir.path(), &args).unwrap();
        let address = server.ready().unwrap();
        Lines::connect(address).unwrap().expect("INFO ").unwrap();
        server.age().saturating_sub(server.held_up())
    };
    // The machine may be busy with something else for a while.
    let took: Vec<_> = (0..TRIES)
        .map(|_| start())
        .take_while(|took| *took > PROMPT)
        .collect();
    assert!(took.len() < TRIES, "{took:?}");
}

#[test]
fn it_ends_promptly_with_clients_and_streams() {
    for (signal, trapped) in [("INT", "interrupt"), ("TERM", "terminated")] {
        let dir = scratch("end");
        let args = [&LISTEN[..], &["-js", "-sd", "store"]].concat();
        let mut server = Daemon::start(dir.path(), &args).unwrap();
        let address = server.ready().unwrap();
        let mut client = Client::connect(address).unwrap();
        api(
            &mut client,
            "STREAM.CREATE.S",
            r#"{"name":"S","subjects":["s"]}"#,
        )
        .unwrap();
        client.request("s", b"hello").unwrap();
        let mut idle = Lines::connect(address).unwrap();
        idle.send("CONNECT {}\r\nSUB x 1\r\nPING\r\n").unwrap();
        idle.expect("PONG").unwrap();
        let before = server.age();
        server.signal(signal).unwrap();
        let (code, log) = server.end().unwrap();
        let took = server.age() - before;
        assert!(took < END, "{took:?}");
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(idle.end().unwrap(), "", "a client sees only the end");
        let trapped = format!("[INF] Trapped \"{trapped}\" signal");
        let lines = [
            trapped.as_str(),
            "[INF] Initiating Shutdown...",
            "[INF] Server Exiting..",
        ];
        let mut rest = log.as_str();
        for line in lines {
            rest = rest.split_once(line).expect(line).1;
        }
    }
}

#[test]
fn after_a_kill_the_same_port_and_store_serve_again_at_once() {
    let dir = scratch("kill");
    let port = free_port().unwrap().to_string();
    let args = ["-a", "127.0.0.1", "-p", &port, "-js", "-sd", "store"];
    for round in 0..4 {
        let mut server = Daemon::start(dir.path(), &args).unwrap();
        let address = server.ready().unwrap();
        let mut client = Client::connect(address).unwrap();
        if round == 0 {
            api(
                &mut client,
                "STREAM.CREATE.S",
                r#"{"name":"S","subjects":["s"]}"#,
            )
            .unwrap();
        }
        for _ in 0..10 {
            client.request("s", b"hello").unwrap();
        }
        let expected = 10 * (round + 1);
        assert_eq!(
            stream_state(&mut client, "S").unwrap(),
            (expected, expected)
        );
        server.signal("KILL").unwrap();
        assert_eq!(server.end().unwrap().0, None);
    }
}

fn lame_duck_server(dir: &std::path::Path) -> Daemon {
    let text = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"300ms\"\n\
                jetstream { store_dir: store }\n";
    std::fs::write(dir.join("x.conf"), text).unwrap();
    Daemon::start(dir, &[&LISTEN[..], &["-c", "x.conf"]].concat()).unwrap()
}

#[test]
fn lame_duck_mode_tells_clients_and_closes_them_one_by_one() {
    let dir = scratch("ldm");
    let mut server = lame_duck_server(dir.path());
    let address = server.ready().unwrap();
    let mut clients: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Lines::connect(address).unwrap();
            client.expect("INFO ").unwrap();
            client.send("CONNECT {\"protocol\":1}\r\nPING\r\n").unwrap();
            client.expect("PONG").unwrap();
            client.expect("INFO ").unwrap();
            client
        })
        .collect();
    server.signal("USR2").unwrap();
    server
        .next_line("[INF] Trapped \"user defined signal 2\" signal")
        .unwrap();
    server
        .next_line("[INF] Entering lame duck mode, stop accepting new clients")
        .unwrap();
    for client in &mut clients {
        let info = client.expect("INFO ").unwrap();
        assert!(info.contains("\"ldm\":true"), "{info}");
    }
    assert!(Lines::connect(address).is_err(), "nobody else is let in");
    server.signal("TERM").unwrap();
    server
        .next_line("[INF] Trapped \"terminated\" signal")
        .unwrap();
    for client in &mut clients {
        client.send("PING\r\n").unwrap();
        client.expect("PONG").unwrap();
    }
    server.next_line("[INF] Closing existing clients").unwrap();
    for client in &mut clients {
        assert_eq!(client.end().unwrap(), "");
    }
    let (code, log) = server.end().unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("[INF] Initiating Shutdown..."), "{log}");
}

#[test]
fn lame_duck_mode_without_clients_is_the_end() {
    let dir = scratch("ldm-alone");
    let mut server = lame_duck_server(dir.path());
    let mut visitor = Client::connect(server.ready().unwrap()).unwrap();
    visitor.round_trip().unwrap();
    drop(visitor);
    let before = server.age();
    server.signal("USR2").unwrap();
    assert_eq!(server.end().unwrap().0, Some(0));
    assert!(server.age() - before < END);
}

#[test]
fn a_reload_needs_a_file() {
    let dir = scratch("reload");
    let mut server = Daemon::start(dir.path(), &LISTEN).unwrap();
    server.ready().unwrap();
    server.signal("HUP").unwrap();
    server.line("[INF] Trapped \"hangup\" signal").unwrap();
    server
        .line(
            "[ERR] Failed to reload server configuration: \
             can only reload config when a file is provided using -c or --config",
        )
        .unwrap();
    assert!(server.is_running().unwrap());
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    let dir = scratch("files");
    let program = server_program().unwrap();
    let limited = "ulimit -S -n 64 && exec \"$0\" \"$@\"";
    let args = [&["-c", limited, program.to_str().unwrap()][..], &LISTEN].concat();
    let mut server = Daemon::spawn("sh".as_ref(), dir.path(), &args).unwrap();
    let address = server.ready().unwrap();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Lines::connect(address).unwrap();
            client.expect("INFO ").unwrap();
            client
        })
        .collect();
    assert_eq!(clients.len(), 100);
}

#[test]
fn both_kinds_of_addresses_at_once() {
    if !has_ipv6() {
        return;
    }
    let dir = scratch("dual");
    for wildcard in ["0.0.0.0", "::"] {
        let args = [
            "-a",
            wildcard,
            "-p",
            "-1",
            "-m",
            "-1",
            "--ports_file_dir",
            ".",
        ];
        let mut server = Daemon::start(dir.path(), &args).unwrap();
        let clients = server.ready().unwrap().port();
        let monitor = server.monitor().unwrap().port();
        for ip in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(ip.parse().unwrap(), clients);
            let info = Lines::connect(address).unwrap().expect("INFO ").unwrap();
            assert!(info.contains(&format!("\"client_ip\":\"{ip}\"")), "{info}");
            let monitor = SocketAddr::new(ip.parse().unwrap(), monitor);
            assert_eq!(get(monitor, "/healthz").unwrap().status, 200);
        }
        let ports = eventually(|| {
            let files = std::fs::read_dir(dir.path()).ok()?;
            let mut files = files.filter_map(Result::ok).map(|file| file.path());
            let file = files.find(|file| file.extension().is_some_and(|e| e == "ports"))?;
            serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(file).ok()?).ok()
        })
        .unwrap();
        assert_eq!(ports["nats"][0], format!("nats://127.0.0.1:{clients}"));
        assert_eq!(ports["nats"][1], format!("nats://[::1]:{clients}"));
        server.signal("TERM").unwrap();
        server.end().unwrap();
    }
}

#[test]
fn ipv6_alone() {
    if !has_ipv6() {
        return;
    }
    let dir = scratch("ipv6");
    let args = ["-a", "::1", "-p", "-1", "-m", "-1"];
    let mut server = Daemon::start(dir.path(), &args).unwrap();
    let address = server.ready().unwrap();
    assert!(address.is_ipv6() && server.monitor().unwrap().is_ipv6());
    let info = Lines::connect(address).unwrap().expect("INFO ").unwrap();
    assert!(
        info.contains("\"host\":\"::1\"") && info.contains("\"client_ip\":\"::1\""),
        "{info}"
    );
}
