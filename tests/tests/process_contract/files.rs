//! The files that a server leaves for its harness: pid, ports, log.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jetwake_tests::daemon::{Daemon, eventually};
use jetwake_tests::process::server_program;
use serde_json::Value;

use crate::scratch;

const LISTEN: [&str; 4] = ["-a", "127.0.0.1", "-p", "-1"];

#[test]
fn the_pid_file_is_a_number_and_nothing_else_and_stays() {
    let dir = scratch("pid");
    let mut server = Daemon::start(dir.path(), &[&LISTEN[..], &["-P", "pid"]].concat()).unwrap();
    server.ready().unwrap();
    let file = dir.path().join("pid");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, server.pid().to_string());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    server.signal("TERM").unwrap();
    server.end().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn the_ports_file_bears_the_name_the_program_was_called_by() {
    let dir = scratch("ports");
    let called = dir.path().join("nats-server");
    std::os::unix::fs::symlink(server_program().unwrap(), &called).unwrap();
    let args = [&LISTEN[..], &["-m", "-1", "--ports_file_dir", "."]].concat();
    let mut server = Daemon::spawn(&called, dir.path(), &args).unwrap();
    let file = dir
        .path()
        .join(format!("nats-server_{}.ports", server.pid()));
    let text = eventually(|| {
        let text = fs::read_to_string(&file).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    })
    .unwrap();
    let client = server.ready().unwrap();
    let monitor = server.monitor().unwrap();
    let expected = serde_json::json!({
        "nats": [format!("nats://{client}")],
        "monitoring": [format!("http://{monitor}")],
    });
    assert_eq!(text, expected);
    server.signal("TERM").unwrap();
    server.end().unwrap();
    assert!(!file.exists());
}

#[test]
fn the_log_file_takes_everything_and_is_appended_to() {
    let dir = scratch("log");
    let file = dir.path().join("server.log");
    fs::write(&file, "before\n").unwrap();
    let args = [&LISTEN[..], &["-l", "server.log"]].concat();
    let mut server = Daemon::start(dir.path(), &args).unwrap();
    let log = eventually(|| {
        let text = fs::read_to_string(&file).ok()?;
        text.contains("Server is ready").then_some(text)
    })
    .unwrap();
    assert!(log.starts_with("before\n"), "{log}");
    assert!(
        log.contains("Listening for client connections on 127.0.0.1:"),
        "{log}"
    );
    server.signal("TERM").unwrap();
    assert_eq!(
        server.end().unwrap(),
        (Some(0), String::new()),
        "stderr stays empty"
    );
    let log = fs::read_to_string(&file).unwrap();
    assert!(log.ends_with("[INF] Server Exiting..\n"), "{log}");
}

#[test]
fn the_log_file_is_opened_again_under_its_name() {
    let dir = scratch("reopen");
    let (file, moved) = (dir.path().join("log"), dir.path().join("log.1"));
    let args = [&LISTEN[..], &["-l", "log"]].concat();
    let mut server = Daemon::start(dir.path(), &args).unwrap();
    let contains = |file: &std::path::Path, text: &str| {
        let log = fs::read_to_string(file).ok()?;
        log.contains(text).then_some(())
    };
    eventually(|| contains(&file, "Server is ready")).unwrap();
    fs::rename(&file, &moved).unwrap();
    server.signal("USR1").unwrap();
    eventually(|| contains(&file, "[INF] File log re-opened")).unwrap();
    contains(&moved, "[INF] Trapped \"user defined signal 1\" signal").unwrap();
    server.signal("TERM").unwrap();
    assert_eq!(server.end().unwrap().0, Some(0));
    contains(&file, "[INF] Server Exiting..").unwrap();
    assert!(contains(&moved, "Server Exiting..").is_none());
}
