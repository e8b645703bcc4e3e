//! Encryption at rest: the keys of the configuration, what the log says, and what a changed key brings.

use std::path::Path;

use jetwake_tests::daemon::{Daemon, Lines, get, is_reference, run};
use jetwake_tests::process::Scratch;

use crate::scratch;

/// A server whose `jetstream` block goes on like this.
fn start(dir: &Scratch, rest: &str) -> Daemon {
    let text = format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: store, {rest} }}\n");
    std::fs::write(dir.path().join("x.conf"), text).unwrap();
    Daemon::start(dir.path(), &["-c", "x.conf", "-m", "-1"]).unwrap()
}

fn end(mut server: Daemon) -> String {
    server.signal("TERM").unwrap();
    server.end().unwrap().1
}

/// Sends a request and returns the answer's body.
fn request(client: &mut Lines, subject: &str, body: &str) -> String {
    let text = format!("PUB {subject} _INBOX.1 {}\r\n{body}\r\n", body.len());
    client.send(&text).unwrap();
    client.expect("MSG _INBOX.1").unwrap();
    client.expect("{").unwrap()
}

fn client(server: &mut Daemon) -> Lines {
    let address = server.ready().unwrap();
    let mut client = Lines::connect(address).unwrap();
    client
        .send("CONNECT {\"verbose\":false}\r\nSUB _INBOX.1 1\r\n")
        .unwrap();
    client
}

/// A stream with a message.
fn fill(server: &mut Daemon) {
    let mut client = client(server);
    let config = r#"{"name":"S","subjects":["unspoken.subject"]}"#;
    let created = request(&mut client, "$JS.API.STREAM.CREATE.S", config);
    assert!(created.contains("did_create"), "{created}");
    let acked = request(&mut client, "unspoken.subject", "unspoken-payload");
    assert!(acked.contains(r#""seq":1"#), "{acked}");
}

/// How many messages the stream has.
fn messages(server: &mut Daemon) -> Option<u64> {
    let mut client = client(server);
    let info = request(&mut client, "$JS.API.STREAM.INFO.S", "");
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    info["state"]["messages"].as_u64()
}

/// Whether a file below `dir` holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.into_iter().any(|path| {
        if path.is_dir() {
            return holds(&path, bytes);
        }
        // It may just have gone.
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn the_banner_names_the_cipher() {
    for (rest, shown) in [
        ("key: \"k\"", "ChaCha20-Poly1305"),
        (
            "encryption_key: \"k\", cipher: \"ChaChaPoly\"",
            "ChaCha20-Poly1305",
        ),
        ("ek: \"k\", cipher: aes", "AES-GCM"),
    ] {
        let dir = scratch("cipher");
        let mut server = start(&dir, rest);
        let line = server.line("  Encryption: ").unwrap();
        assert!(
            line.ends_with(&format!(" [INF]   Encryption:      {shown}")),
            "{line}"
        );
        server.line("  API Level:       5").unwrap();
        server.ready().unwrap();
        end(server);
    }
    let dir = scratch("no-cipher");
    let mut server = start(&dir, "key: \"\", cipher: aes, prev_key: k");
    server.ready().unwrap();
    assert!(!end(server).contains("Encryption"));
}

#[test]
fn a_cipher_has_to_be_known_and_a_key_a_text() {
    for (text, expected) in [
        (
            "jetstream { cipher: \"FOO\", key: x }",
            "x.conf:1:12: Unknown cipher type: \"FOO\"",
        ),
        (
            "jetstream { ek: 12 }",
            "x.conf:1:0: interface conversion: interface {} is int64, not string",
        ),
    ] {
        let dir = scratch("refused-key");
        std::fs::write(dir.path().join("x.conf"), text).unwrap();
        let end = run(dir.path(), &["-c", "x.conf"]).unwrap();
        assert_eq!(end.code, Some(1), "{text}");
        assert_eq!(end.stderr.trim_end(), format!("nats-server: {expected}"));
    }
}

#[test]
fn the_right_key_the_old_key_and_none() {
    let dir = scratch("keys");
    let mut server = start(&dir, "key: \"one\"");
    fill(&mut server);
    end(server);
    let store = dir.path().join("store");
    assert!(!holds(&store, b"unspoken"));
    // A new key.
    let mut server = start(&dir, "key: \"two\", prev_key: \"one\"");
    assert_eq!(messages(&mut server), Some(1));
    end(server);
    let mut server = start(&dir, "key: \"two\"");
    assert_eq!(messages(&mut server), Some(1));
    end(server);
    // None, or the wrong one: the server is up, the stream is not.
    for (rest, reason) in [
        ("key: \"one\"", "unable to recover keys"),
        ("strict: true", "encryption not enabled"),
    ] {
        let mut server = start(&dir, rest);
        let line = server
            .line("Error decrypting our stream metafile: ")
            .unwrap();
        let expected = format!(" [WRN]   Error decrypting our stream metafile: {reason}");
        assert!(line.ends_with(&expected), "{line}");
        assert_eq!(messages(&mut server), None);
        let monitor = server.monitor().unwrap();
        assert_eq!(get(monitor, "/healthz").unwrap().status, 503);
        end(server);
    }
    let mut server = start(&dir, "key: \"two\"");
    assert_eq!(messages(&mut server), Some(1));
    end(server);
}

#[test]
fn a_store_that_had_no_key_gets_one() {
    let dir = scratch("new-key");
    let mut server = start(&dir, "strict: true");
    fill(&mut server);
    end(server);
    let store = dir.path().join("store");
    assert!(holds(&store, b"unspoken-payload"));
    let mut server = start(&dir, "key: \"one\"");
    assert_eq!(messages(&mut server), Some(1));
    let mut client = client(&mut server);
    request(&mut client, "unspoken.subject", "unspoken-payload");
    let gone = || (!holds(&store, b"unspoken")).then_some(());
    if !is_reference() {
        jetwake_tests::daemon::eventually(gone).unwrap();
    }
    end(server);
    let mut server = start(&dir, "key: \"one\"");
    assert_eq!(messages(&mut server), Some(2));
    end(server);
}
