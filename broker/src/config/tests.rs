use std::time::Duration;

use jetwake_protocol::conf::{self, Included, Source};

use super::{Findings, server};
use crate::options::{Auth, Cipher, Options, SyncPolicy};

#[derive(Debug)]
struct Nothing;

impl Source for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn include(&self, _: &str, path: &str) -> Result<Included, String> {
        Err(format!("open {path}: no such file or directory"))
    }
}

fn read(text: &str) -> (Options, Vec<String>, Vec<String>) {
    let document = conf::parse("f", text, &Nothing).unwrap();
    let mut findings = Findings {
        document: &document,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut options = Options::default();
    server::apply(&document.root, &mut options, &mut findings);
    (options, findings.errors, findings.warnings)
}

fn good(text: &str) -> Options {
    let (options, errors, _) = read(text);
    assert_eq!(errors, Vec::<String>::new());
    options
}

fn errors(text: &str) -> Vec<String> {
    read(text).1
}

#[test]
fn a_file_for_nats_server_is_understood() {
    let options = good(
        r#"
        listen: 127.0.0.1:4333
        server_name: one
        max_payload: 128KB
        ping_interval: "100ms"
        lame_duck_duration: "45s"
        http: localhost:-1
        authorization { user: u, password: "p", timeout: 0.5 }
        jetstream { strict: true, max_mem_store: 64MiB, max_file_store: "10G", store_dir: /data }
        "#,
    );
    assert_eq!((options.host.as_str(), options.port), ("127.0.0.1", 4333));
    assert_eq!(options.max_payload, 128 << 10);
    assert_eq!(options.ping_interval, Duration::from_millis(100));
    assert_eq!(options.monitor.unwrap().port, 0);
    assert_eq!(
        options.auth,
        Some(Auth::User {
            user: "u".into(),
            password: "p".into()
        })
    );
    assert_eq!(options.auth_timeout, Duration::from_millis(500));
    let jetstream = options.jetstream.unwrap();
    assert_eq!(
        (jetstream.max_memory, jetstream.max_file),
        (Some(64 << 20), Some(10 << 30))
    );
    assert_eq!(
        jetstream.data_dir(),
        std::path::PathBuf::from("/data/jetstream")
    );
    assert_eq!(jetstream.sync, SyncPolicy::Always);
}

#[test]
fn limits_of_jetstream() {
    let text = "jetstream { limits { max_request_batch: 100, default_max_consumers: -1 } }";
    let limits = good(text).jetstream.unwrap().limits;
    assert_eq!(
        (limits.max_request_batch, limits.default_max_consumers),
        (100, 0)
    );
    assert_eq!(
        errors("jetstream { limits { batch { max_msgs: 1 } } }").len(),
        1
    );
}

#[test]
fn durability_is_what_the_file_says() {
    let sync = |text: &str| good(text).jetstream.unwrap().sync;
    assert_eq!(
        sync("jetstream { sync_interval: always }"),
        SyncPolicy::Always
    );
    let lazy = SyncPolicy::Lazy(Duration::from_secs(10));
    assert_eq!(sync("jetstream { sync_interval: 10s }"), lazy);
}

#[test]
fn the_store_directory_may_stand_outside_the_block() {
    for text in [
        "store_dir: /a\njetstream: true",
        "jetstream: enabled\nstore_dir: /a",
    ] {
        assert_eq!(
            good(text).jetstream.unwrap().store_dir,
            std::path::PathBuf::from("/a")
        );
    }
    assert!(good("jetstream: disabled").jetstream.is_none());
    assert!(good("store_dir: /a").jetstream.is_none());
}

#[test]
fn keys_that_nothing_stands_behind_stop_the_start() {
    assert_eq!(errors("bogus: 1"), ["f:1:0: unknown field \"bogus\""]);
    assert_eq!(
        errors("tls { cert_file: a }"),
        ["f:1:0: \"tls\" is not supported yet by this server"]
    );
    assert_eq!(errors("jetstream { tpm: a }").len(), 1);
    assert_eq!(errors("authorization { users: [] }").len(), 1);
    assert_eq!(errors("a: 1\nb: 2").len(), 2, "all of them are named");
}

#[test]
fn wrong_types_have_gos_texts() {
    assert_eq!(
        errors("port: abc"),
        ["f:1:0: interface conversion: interface {} is string, not int64"]
    );
    assert_eq!(
        errors("authorization { user: 1 }").len(),
        1,
        "a user that is a number must be quoted"
    );
    let text = "lame_duck_duration: \"1s\"";
    assert_eq!(
        errors(text),
        ["f:1:0: invalid lame_duck_duration of 1s, minimum is 30 seconds"]
    );
}

#[test]
fn seconds_as_numbers_are_a_warning() {
    let (options, errors, warnings) = read("ping_interval: 3");
    assert_eq!(options.ping_interval, Duration::from_secs(3));
    assert!(errors.is_empty());
    assert_eq!(
        warnings,
        [
            "f:1:0: invalid use of field \"ping_interval\": ping_interval should be converted to a duration"
        ]
    );
}

#[test]
fn variables_are_not_unknown_fields() {
    let options = good("MY_PORT = 4444\nport: $MY_PORT");
    assert_eq!(options.port, 4444);
}

#[test]
fn the_block_of_our_own_is_checked() {
    let options = good("jetwake { journal_file_max: 1MiB }");
    assert_eq!(options.journal_file_max, Some(1 << 20));
    assert!(options.jetstream.is_none());
    let options = good("jetwake { scrub_period: \"240h\" }");
    assert_eq!(options.scrub_period, Some(Duration::from_secs(240 * 3600)));
    assert!(errors("jetwake { journal_file_max: 1KB }")[0].contains("between 256KB and 1GB"));
    assert!(errors("jetwake { fast: true }")[0].contains("fast"));
}

#[test]
fn encryption_keys_have_three_names_each() {
    let encryption = |text: &str| good(text).jetstream.unwrap().encryption;
    for (key, previous) in [
        ("key", "prev_key"),
        ("ek", "prev_ek"),
        ("encryption_key", "prev_encryption_key"),
    ] {
        let text = format!("jetstream {{ cipher: AES, {key}: a, {previous}: b }}");
        let found = encryption(&text).unwrap();
        assert_eq!(found.key, "a");
        assert_eq!(found.previous.as_deref(), Some("b"));
        assert_eq!(found.cipher, Cipher::Aes);
        assert_eq!(format!("{found:?}"), "EncryptionOptions(Aes, [REDACTED])");
    }
    let found = encryption("jetstream { key: a, cipher: chachapoly }").unwrap();
    assert_eq!((found.previous, found.cipher), (None, Cipher::ChaCha));
    for nothing in ["key: \"\"", "prev_key: a", "cipher: aes"] {
        assert_eq!(encryption(&format!("jetstream {{ {nothing} }}")), None);
    }
    assert_eq!(
        errors("jetstream { cipher: \"FOO\", key: a }"),
        ["f:1:12: Unknown cipher type: \"FOO\""]
    );
    assert_eq!(
        errors("jetstream { ek: 12 }"),
        ["f:1:0: interface conversion: interface {} is int64, not string"]
    );
}

#[test]
fn a_cluster_block() {
    let (options, errors, warnings) = read(
        r#"cluster {
            name: C, listen: "127.0.0.1:-1"
            routes: [ "nats-route://u:p@a:1", "nats://b:2", "nats://b:2" ]
            authorization { user: u, password: p, timeout: 0.5 }
            advertise: "x:3", no_advertise: true, connect_retries: 120, connect_backoff: true
            pool_size: -1, compression: accept
            ping_interval: "50s", ping_max: 3, write_deadline: "3s", write_timeout: close
        }"#,
    );
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        warnings,
        [
            "f:3:62: invalid use of field \"nats://b:2\": Duplicate route entry detected",
            "f:7:13: Cluster 'ping_interval' will reset to 30s which is the max for routes",
        ]
    );
    let cluster = options.cluster;
    assert_eq!(cluster.name.as_deref(), Some("C"));
    assert_eq!(
        (cluster.host.as_str(), cluster.port),
        ("127.0.0.1", Some(0))
    );
    assert_eq!(cluster.routes.len(), 2);
    assert_eq!(cluster.credentials.unwrap().user, "u");
    assert_eq!(cluster.auth_timeout, Duration::from_millis(500));
    assert_eq!(cluster.advertise.as_deref(), Some("x:3"));
    assert!(cluster.no_advertise && cluster.connect_backoff);
    assert_eq!(cluster.connect_retries, 120);
    assert_eq!(cluster.ping_interval, Some(Duration::from_secs(30)));
    assert_eq!(cluster.write_deadline, Some(Duration::from_secs(3)));
    assert_eq!(good("cluster { port: 0 }").cluster.port, None);
    assert_eq!(good("cluster { listen: 6222 }").cluster.port, Some(6222));
}

#[test]
fn a_cluster_block_that_cannot_be_kept_is_refused() {
    let first = |text: &str| errors(text).swap_remove(0);
    let starts = [
        (
            "cluster: x",
            "f:1:0: Expected map to define cluster, got string",
        ),
        (
            r#"cluster { name: "a b" }"#,
            "f:1:10: cluster name cannot contain spaces",
        ),
        (
            "cluster { nonsense: 1 }",
            "f:1:10: unknown field \"nonsense\"",
        ),
        (
            "cluster { tls { } }",
            "f:1:10: \"tls\" is not supported yet by this server",
        ),
        (
            "cluster { accounts: [ A ] }",
            "f:1:10: \"accounts\" is not supported yet by this server",
        ),
        (
            "cluster { compression: s2_fast }",
            "f:1:10: compression \"s2_fast\" is not supported yet by this server",
        ),
        (
            "cluster { compression: bogus }",
            "f:1:10: unsupported compression mode \"bogus\"",
        ),
        (
            "cluster { write_timeout: x }",
            "f:1:10: write_timeout must be 'default', 'close' or 'retry'",
        ),
        (
            "cluster { authorization { token: t } }",
            "f:1:10: Cluster authorization does not support tokens",
        ),
        (
            r#"cluster { routes: ["::bad"] }"#,
            "f:1:20: error parsing route url [\"::bad\"]",
        ),
    ];
    for (text, expected) in starts {
        assert_eq!(first(text), expected, "{text}");
    }
}
