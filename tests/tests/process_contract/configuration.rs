//! The configuration file as far as harnesses see it: error texts, what flags win over, variables, includes.

use std::path::Path;

use jetwake_tests::daemon::{Daemon, get, is_reference, run};
use jetwake_tests::process::Scratch;

use crate::scratch;

fn with_file(name: &str, text: &str) -> Scratch {
    let dir = scratch(name);
    std::fs::write(dir.path().join("x.conf"), text).unwrap();
    dir
}

/// Error text on stderr and exit code 1, for a start and for a check.
fn refused(text: &str, expected: &str) {
    let dir = with_file("refused", text);
    for args in [&["-c", "x.conf"][..], &["-t", "-c", "x.conf"]] {
        let end = run(dir.path(), args).unwrap();
        assert_eq!(end.code, Some(1), "{text}");
        assert_eq!(end.stderr.trim_end(), format!("nats-server: {expected}"));
        assert_eq!(end.stdout, "");
    }
}

#[test]
fn errors_name_their_place() {
    refused(
        "port:\n4222\n",
        "Parse error on line 2: 'Expected value but found new line'",
    );
    refused("bogus {\n a: 1\n}\n", "x.conf:1:0: unknown field \"bogus\"");
    refused(
        "port: $NOPE_NOT_SET\n",
        "variable reference for 'NOPE_NOT_SET' on line 1 can not be found",
    );
    refused(
        "include \"no.conf\"\n",
        "error parsing include file 'no.conf', open no.conf: no such file or directory",
    );
    refused(
        "lame_duck_duration: \"5s\"\n",
        "x.conf:1:0: invalid lame_duck_duration of 5s, minimum is 30 seconds",
    );
    refused(
        "max_closed_clients: \"x\"\n",
        "x.conf:1:0: interface conversion: interface {} is string, not int64",
    );
}

#[test]
fn all_errors_are_told_together() {
    let text = "jetstream {\n nope: 1\n}\nmax_payload: \"x\"\n";
    let dir = with_file("together", text);
    let end = run(dir.path(), &["-c", "x.conf"]).unwrap();
    assert_eq!(end.code, Some(1));
    let told = end.stderr.trim_end().strip_prefix("nats-server: ").unwrap();
    let mut told: Vec<_> = told.lines().collect();
    // nats-server tells them in no order.
    told.sort_unstable();
    let expected = [
        "x.conf:2:2: unknown field \"nope\"",
        "x.conf:4:1: interface conversion: interface {} is string, not int64",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_check_accepts_what_only_a_start_refuses() {
    let dir = with_file("check", "max_payload: 200MB\nport: -1\n");
    let end = run(dir.path(), &["-t", "-c", "x.conf"]).unwrap();
    assert_eq!((end.code, end.stdout.as_str()), (Some(0), ""));
    let text = "nats-server: configuration file x.conf is valid (sha256:";
    assert!(end.stderr.starts_with(text), "{}", end.stderr);
    let end = run(dir.path(), &["-c", "x.conf"]).unwrap();
    assert_eq!(end.code, Some(1));
    let text =
        "nats-server: max_payload (209715200) cannot be higher than max_pending (67108864)\n";
    assert_eq!(end.stderr, text);
}

#[test]
fn warnings_fail_a_check_only() {
    let dir = with_file("warning", "ping_interval: 5\nlisten: \"127.0.0.1:-1\"\n");
    let text = "x.conf:1:0: invalid use of field \"ping_interval\": \
                ping_interval should be converted to a duration";
    let end = run(dir.path(), &["-t", "-c", "x.conf"]).unwrap();
    assert_eq!(end.code, Some(1));
    assert_eq!(end.stderr.trim_end(), format!("nats-server: {text}"));
    let mut server = Daemon::start(dir.path(), &["-c", "x.conf"]).unwrap();
    server.line(text).unwrap();
    server.ready().unwrap();
}

fn start(dir: &Path, args: &[&str]) -> Daemon {
    let mut server = Daemon::start(dir, args).unwrap();
    server.ready().unwrap();
    server
}

#[test]
fn a_port_flag_wins_over_the_file_and_leaves_its_host() {
    let dir = with_file("listen", "listen: \"localhost:4222\"\n");
    let mut server = start(dir.path(), &["-c", "x.conf", "-p", "-1"]);
    let line = server.line("Listening for client connections on ").unwrap();
    assert!(line.contains(" on localhost:"), "{line}");
    assert!(!line.ends_with(":4222"), "{line}");
    let line = server.line("Using configuration file: ").unwrap();
    assert!(line.contains("file: x.conf (sha256:"), "{line}");
}

#[test]
fn variables_and_includes() {
    let text = "ADDRESS: \"127.0.0.1\"\nhost: $ADDRESS\nport: $JETWAKE_CONTRACT_PORT\n\
                include \"sub/more.conf\"\nhttp: \"127.0.0.1:-1\"\n";
    let dir = with_file("include", text);
    std::fs::create_dir_all(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("sub/more.conf"), "max_payload: 2222\n").unwrap();
    let mut server = start(dir.path(), &["-c", "x.conf"]);
    let varz = get(server.monitor().unwrap(), "/varz").unwrap().json();
    assert_eq!(varz["max_payload"], 2222);
    assert_eq!(varz["host"], "127.0.0.1");
}

#[test]
fn the_sync_policy_is_shown() {
    for (policy, always) in [("always", true), ("\"2m\"", false)] {
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n\
             jetstream {{ store_dir: store, sync_interval: {policy} }}\n"
        );
        let dir = with_file("sync", &text);
        let mut server = start(dir.path(), &["-c", "x.conf"]);
        let varz = get(server.monitor().unwrap(), "/varz").unwrap().json();
        let config = &varz["jetstream"]["config"];
        assert_eq!(config["sync_interval"], 120_000_000_000_u64);
        assert_eq!(config["sync_always"].as_bool().unwrap_or(false), always);
    }
}

#[test]
fn ours_the_default_is_to_sync_and_the_log_says_so() {
    if is_reference() {
        return;
    }
    let dir = scratch("sync-flag");
    let args = [
        "-a",
        "127.0.0.1",
        "-p",
        "-1",
        "-m",
        "-1",
        "-js",
        "-sd",
        "store",
    ];
    let mut server = start(dir.path(), &args);
    server.line("  Sync:            before each ack").unwrap();
    let varz = get(server.monitor().unwrap(), "/varz").unwrap().json();
    assert_eq!(varz["jetstream"]["config"]["sync_always"], true);
    drop(server);
    let mut server = start(dir.path(), &[&args[..], &["--sync", "lazy"]].concat());
    let line = server.line("  Sync:  ").unwrap();
    assert!(line.contains("[WRN]"), "{line}");
    let varz = get(server.monitor().unwrap(), "/varz").unwrap().json();
    assert_eq!(varz["jetstream"]["config"].get("sync_always"), None);
}
