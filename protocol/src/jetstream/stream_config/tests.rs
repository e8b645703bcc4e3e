//! `cases.txt` holds pairs of lines recorded from the reference: a configuration named T, and what
//! became of it (the normalised configuration, or code, error code and text). `O` is the one other
//! stream.

use super::*;
use crate::jetstream::json::to_json;
use crate::jetstream::requests::{StreamConfigRequest, parse};

fn config(text: &str) -> StreamConfig {
    parse::<StreamConfigRequest>(text.as_bytes(), true)
        .unwrap()
        .config
}

fn json(config: &StreamConfig) -> String {
    let mut out = Vec::new();
    to_json(config, &mut out);
    String::from_utf8(out).unwrap().replace("\\u003e", ">")
}

fn error_line(error: &ApiError) -> String {
    format!("{} {} {}", error.code, error.err_code, error.description)
}

fn run(text: &str, pedantic: bool, facts: &StreamFacts<'_>) -> Result<StreamConfig, ApiError> {
    let config = normalize(config(text), pedantic, facts)?;
    check_filters(&config)?;
    let origin = (facts.stream)("O");
    check_ownership(&config, |subject| {
        origin.is_some_and(|other| other.name != config.name && overlaps_any(other, subject))
    })?;
    Ok(config)
}

fn origin() -> StreamConfig {
    config(r#"{"name":"O","subjects":["o.>"],"allow_direct":true,"max_msg_size":100}"#)
}

fn facts_with<R>(max_duplicates: i64, body: impl FnOnce(&StreamFacts<'_>) -> R) -> R {
    let origin = origin();
    let stream = |name: &str| (name == "O").then_some(&origin);
    body(&StreamFacts {
        account: &AccountLimits::UNLIMITED,
        max_duplicates,
        stream: &stream,
    })
}

#[test]
fn configurations_fare_as_with_the_reference() {
    facts_with(0, |facts| {
        let mut lines = include_str!("cases.txt").lines();
        while let (Some(text), Some(expected)) = (lines.next(), lines.next()) {
            let (pedantic, expected) = match expected.strip_prefix("pedantic ") {
                Some(rest) => (true, rest),
                None => (false, expected),
            };
            let seen = match run(text, pedantic, facts) {
                Ok(config) => format!("ok {}", json(&config)),
                Err(error) => error_line(&error),
            };
            assert_eq!(seen, expected, "{text}");
        }
    });
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>, line: &str) {
    assert_eq!(error_line(&result.unwrap_err()), line);
}

#[test]
fn texts_are_bounded() {
    facts_with(0, |facts| {
        let with = |change: fn(&mut StreamConfig)| {
            let mut config = config(r#"{"name":"T"}"#);
            change(&mut config);
            normalize(config, false, facts)
        };
        let long = "500 10052 stream name is too long, maximum allowed is 255";
        refused(with(|it| it.name = "x".repeat(256)), long);
        let bad = r"500 10052 stream name is required and can not contain '.', '*', '>', '\', '/'";
        refused(with(|it| it.name = "a b".into()), bad);
        let description = "500 10052 stream description is too long, maximum allowed is 4096";
        refused(with(|it| it.description = "x".repeat(4097)), description);
        let metadata = "500 10052 stream metadata exceeds maximum size of 131072 bytes";
        refused(
            with(|it| drop(it.metadata.insert("a".into(), "x".repeat(131_072)))),
            metadata,
        );
    });
}

#[test]
fn server_limit_of_the_duplicate_window() {
    facts_with(60_000_000_000, |facts| {
        let normal = |text: &str| normalize(config(text), false, facts);
        assert_eq!(
            normal(r#"{"name":"T"}"#).unwrap().duplicates,
            60_000_000_000
        );
        refused(
            normal(r#"{"name":"T","duplicate_window":90000000000}"#),
            "500 10052 duplicates window can not be larger then server limit of 1m0s",
        );
        refused(
            normalize(config(r#"{"name":"T"}"#), true, facts),
            "400 10157 pedantic mode: duplicate window limits are higher than current limits",
        );
    });
}

#[test]
fn account_demands() {
    let account = AccountLimits {
        max_bytes_required: true,
        store_max_stream_bytes: 100,
        ..AccountLimits::UNLIMITED
    };
    let facts = StreamFacts {
        account: &account,
        max_duplicates: 0,
        stream: &|_| None,
    };
    let normal = |text: &str| normalize(config(text), false, &facts);
    refused(
        normal(r#"{"name":"T"}"#),
        "400 10113 account requires a stream config to have max bytes set",
    );
    refused(
        normal(r#"{"name":"T","max_bytes":101}"#),
        "400 10122 stream max bytes exceeds account limit max stream bytes",
    );
    assert!(normal(r#"{"name":"T","max_bytes":101,"storage":"memory"}"#).is_ok());
}

#[test]
fn create_refuses_sealed_and_stray_mirror_direct() {
    refused(
        check_create(&config(r#"{"sealed":true}"#)),
        "500 10052 stream configuration for create can not be sealed",
    );
    refused(
        check_create(&config(r#"{"mirror_direct":true}"#)),
        "500 10052 stream has no mirror but does have mirror direct",
    );
}

#[test]
fn updates() {
    let update = |before: &str, after: &str| {
        facts_with(0, |facts| {
            let named = |fields: &str| {
                let text = format!(r#"{{"name":"U","subjects":["u.>"]}}{{{fields}}}"#);
                normalize(config(&text), false, facts)
            };
            check_update(&named(before)?, named(after)?)
        })
    };
    let unchangeable = "500 10052 stream configuration update can not change";
    for (before, after, line) in [
        (
            "",
            r#""storage":"memory""#,
            format!("{unchangeable} storage type"),
        ),
        (
            "",
            r#""retention":"workqueue""#,
            format!("{unchangeable} retention policy to/from workqueue"),
        ),
        (
            "",
            r#""allow_msg_counter":true"#,
            format!("{unchangeable} message counter setting"),
        ),
        (
            "",
            r#""persist_mode":"async""#,
            format!("{unchangeable} persist mode"),
        ),
        (
            r#""sealed":true"#,
            "",
            "500 10052 stream configuration update can not unseal a sealed stream".into(),
        ),
        (
            r#""deny_delete":true"#,
            "",
            "500 10052 stream configuration update can not cancel deny message deletes".into(),
        ),
        (
            r#""deny_purge":true"#,
            "",
            "500 10052 stream configuration update can not cancel deny purge".into(),
        ),
        (
            r#""allow_msg_ttl":true"#,
            "",
            "500 10052 message TTL status can not be disabled".into(),
        ),
        (
            r#""allow_msg_schedules":true"#,
            "",
            "500 10052 message schedules can not be disabled".into(),
        ),
        (
            "",
            r#""subjects":null,"mirror":{"name":"O"}"#,
            "400 10055 stream mirror configuration can not be updated".into(),
        ),
    ] {
        refused(update(before, after), &line);
    }
    let sealed = update("", r#""sealed":true,"max_age":200000000"#).unwrap();
    assert_eq!((sealed.max_age, sealed.discard), (0, DiscardPolicy::New));
    assert!(sealed.deny_delete && sealed.deny_purge);
    assert!(
        update(
            "",
            r#""retention":"interest","first_seq":5,"max_consumers":3"#
        )
        .is_ok()
    );
}

#[test]
fn limits_for_consumers_look_at_those_that_exist() {
    let consumer = |pending| crate::jetstream::consumer::ConsumerConfig {
        max_ack_pending: pending,
        ..Default::default()
    };
    let next = config(r#"{"name":"T","consumer_limits":{"max_ack_pending":5}}"#);
    let consumers = [
        ("c2", consumer(6)),
        ("c1", consumer(7)),
        ("c3", consumer(5)),
    ];
    refused(
        check_consumers(
            &next,
            consumers.iter().map(|(name, config)| (*name, config)),
        ),
        "500 10069 change to limits violates consumers: c1, c2",
    );
}

#[test]
fn the_servers_metadata_does_not_count() {
    let left = config(r#"{"name":"T","metadata":{"a":"b","_nats.req.level":"0"}}"#);
    let shown = with_dynamic_metadata(&left);
    assert_eq!(shown.metadata.len(), 4);
    assert!(same(&left, &shown));
    assert!(!same(
        &left,
        &config(r#"{"name":"T","metadata":{"a":"c"}}"#)
    ));
    assert!(!same(
        &left,
        &config(r#"{"name":"T","max_msgs":1,"metadata":{"a":"b"}}"#)
    ));
}

#[test]
fn missing_features_are_named() {
    assert_eq!(unsupported(&config(r#"{"name":"T"}"#)), None);
    for (fields, feature) in [
        (r#""mirror":{"name":"O"}"#, "mirror"),
        (r#""sources":[{"name":"O"}]"#, "sources"),
        (r#""persist_mode":"async""#, "persist_mode async"),
    ] {
        let error = unsupported(&config(&format!("{{{fields}}}"))).unwrap();
        let line = format!("500 10052 {feature} is not supported yet by this server");
        assert_eq!(error_line(&error), line);
    }
}
