//! What the program answers to its command line, and with which exit code.

use jetwake_tests::daemon::{Daemon, is_reference, run};
use jetwake_tests::process::free_port;

use crate::scratch;

const VERSION: &str = "nats-server: v2.15.1\n";
const USAGE: &str = "\nUsage: nats-server [options]\n\nServer Options:\n";

#[test]
fn version_and_help_are_on_stdout() {
    let dir = scratch("version");
    for flag in ["-v", "--version", "version"] {
        let end = run(dir.path(), &[flag]).unwrap();
        assert_eq!(
            (end.code, end.stdout.as_str()),
            (Some(0), VERSION),
            "{flag}"
        );
        assert_eq!(end.stderr, "", "{flag}");
    }
    for flag in ["-h", "--help", "help"] {
        let end = run(dir.path(), &[flag]).unwrap();
        assert_eq!(end.code, Some(0), "{flag}");
        assert!(end.stdout.starts_with(USAGE), "{flag}: {}", end.stdout);
        assert_eq!(end.stderr, "", "{flag}");
    }
}

#[test]
fn what_the_flag_parser_refuses_prints_the_usage_and_exits_with_0() {
    let dir = scratch("flags");
    let cases: [(&[&str], &str); 5] = [
        (&["-bogus"], "flag provided but not defined: -bogus\n"),
        (&["--bogus=1"], "flag provided but not defined: -bogus\n"),
        (&["-p"], "flag needs an argument: -p\n"),
        (
            &["-p", "x"],
            "invalid value \"x\" for flag -p: parse error\n",
        ),
        (
            &["-js=maybe"],
            "invalid boolean value \"maybe\" for -js: parse error\n",
        ),
    ];
    for (args, text) in cases {
        let end = run(dir.path(), args).unwrap();
        assert_eq!((end.code, end.stderr.as_str()), (Some(0), text));
        assert!(end.stdout.starts_with(USAGE), "{args:?}: {}", end.stdout);
    }
}

#[test]
fn other_refusals_exit_with_1() {
    let dir = scratch("refusals");
    let cases: [(&[&str], &str); 4] = [
        (&["bogus"], "unrecognized command: \"bogus\""),
        (
            &["-c", "nosuch.conf"],
            "open nosuch.conf: no such file or directory",
        ),
        (
            &["-t"],
            "must specify [-c, --config] option to check configuration file syntax",
        ),
        (&["-n", "a b"], "server name cannot contain spaces"),
    ];
    for (args, text) in cases {
        let end = run(dir.path(), args).unwrap();
        assert_eq!(end.code, Some(1), "{args:?}");
        assert_eq!(end.stderr.trim_end(), format!("nats-server: {text}"));
        assert_eq!(end.stdout, "", "{args:?}");
    }
}

#[test]
fn a_port_in_use_is_fatal() {
    let dir = scratch("in-use");
    let mut first = Daemon::start(dir.path(), &["-a", "127.0.0.1", "-p", "-1"]).unwrap();
    let port = first.ready().unwrap().port().to_string();
    let end = run(dir.path(), &["-a", "127.0.0.1", "-p", &port]).unwrap();
    assert_eq!(end.code, Some(1));
    let text = format!(
        " [FTL] Error listening on port: 127.0.0.1:{port}, \
         \"listen tcp 127.0.0.1:{port}: bind: address already in use\"\n"
    );
    assert!(end.stderr.ends_with(&text), "{}", end.stderr);
    let free = free_port().unwrap().to_string();
    let args = ["-a", "127.0.0.1", "-p", &free, "-m", &port];
    let end = run(dir.path(), &args).unwrap();
    assert_eq!(end.code, Some(1));
    let text = format!(
        " [FTL] Can't start monitoring: can't listen to the monitor port: \
         listen tcp 127.0.0.1:{port}: bind: address already in use\n"
    );
    assert!(end.stderr.ends_with(&text), "{}", end.stderr);
}

#[test]
fn an_address_that_does_not_exist_is_fatal() {
    let dir = scratch("address");
    let args = ["--addr", "999.999.999.999", "-p", "14222"];
    let end = run(dir.path(), &args).unwrap();
    assert_eq!(end.code, Some(1));
    let text = " [FTL] Error listening on port: 999.999.999.999:14222, \
                \"listen tcp: lookup 999.999.999.999: no such host\"\n";
    assert!(end.stderr.ends_with(text), "{}", end.stderr);
}

#[test]
fn a_file_in_place_of_the_store_directory_is_fatal() {
    let dir = scratch("store-file");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let args = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", "file"];
    let end = run(dir.path(), &args).unwrap();
    assert_eq!(end.code, Some(1));
    let text = " [FTL] Can't start JetStream: storage directory is not a directory\n";
    assert!(end.stderr.ends_with(text), "{}", end.stderr);
}

#[test]
fn files_that_cannot_be_written_are_fatal() {
    let dir = scratch("unwritable");
    let listen = ["-a", "127.0.0.1", "-p", "-1"];
    let end = run(dir.path(), &[&listen[..], &["-P", "no/pid"]].concat()).unwrap();
    assert_eq!(end.code, Some(1));
    let text = " [FTL] Could not write pidfile: open no/pid: no such file or directory\n";
    assert!(end.stderr.ends_with(text), "{}", end.stderr);
    let end = run(dir.path(), &[&listen[..], &["-l", "no/log"]].concat()).unwrap();
    assert_eq!(end.code, Some(1));
    let text = "error opening file: open no/log: no such file or directory\n";
    assert!(end.stderr.ends_with(text), "{}", end.stderr);
}

#[test]
fn signals_are_sent_by_process_id_and_by_pid_file() {
    let dir = scratch("signal");
    let args = ["-a", "127.0.0.1", "-p", "-1", "-P", "pid"];
    for by_file in [false, true] {
        let mut server = Daemon::start(dir.path(), &args).unwrap();
        server.ready().unwrap();
        let target = if by_file {
            "pid".to_owned()
        } else {
            server.pid().to_string()
        };
        let end = run(dir.path(), &["--signal", &format!("ldm={target}")]).unwrap();
        assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
        let (code, log) = server.end().unwrap();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("Entering lame duck mode, stop accepting new clients"));
    }
}

#[test]
fn signals_that_cannot_be_sent_are_errors() {
    let dir = scratch("no-signal");
    let cases = [
        (
            "ldm=999999999",
            "\nsignal \"ldm\" 999999999: no such process",
        ),
        ("foo=1", "unknown signal \"foo\""),
        ("ldm=nosuchfile", "invalid pid: nosuchfile"),
    ];
    for (argument, text) in cases {
        let end = run(dir.path(), &["--signal", argument]).unwrap();
        assert_eq!(end.code, Some(1), "{argument}");
        assert_eq!(end.stderr, format!("nats-server: {text}\n"), "{argument}");
    }
}

#[test]
fn ours_a_second_process_on_one_store_directory_is_refused() {
    if is_reference() {
        return;
    }
    let dir = scratch("second");
    let args = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", "store"];
    let mut first = Daemon::start(dir.path(), &args).unwrap();
    first.ready().unwrap();
    let end = run(dir.path(), &args).unwrap();
    assert_eq!(end.code, Some(1));
    let text = " [FTL] Can't start JetStream: \
                the store directory store/jetstream is in use by another process\n";
    assert!(end.stderr.ends_with(text), "{}", end.stderr);
    assert!(first.is_running().unwrap());
}
