//! `cases.txt` holds pairs of lines recorded from the reference: a stream and a configuration, and
//! what became of it (the normalised configuration, or code, error code and text).

use super::*;
use crate::jetstream::json::to_json;
use crate::jetstream::requests::{CreateConsumerRequest, StreamConfigRequest, parse};

fn config(text: &str) -> ConsumerConfig {
    let text = format!(r#"{{"config":{text}}}"#);
    parse::<CreateConsumerRequest>(text.as_bytes(), true)
        .unwrap()
        .config
}

fn stream(name: &str) -> StreamConfig {
    let text = match name {
        "W" => r#"{"name":"W","subjects":["w.>"],"num_replicas":1,"retention":"workqueue"}"#,
        "CL" => {
            r#"{"name":"CL","subjects":["cl"],"num_replicas":1,
                "consumer_limits":{"max_ack_pending":4,"inactive_threshold":60000000000}}"#
        }
        _ => r#"{"name":"S","subjects":["s.>"],"num_replicas":1}"#,
    };
    parse::<StreamConfigRequest>(text.as_bytes(), true)
        .unwrap()
        .config
}

fn facts(stream: &StreamConfig) -> ConsumerFacts<'_> {
    ConsumerFacts {
        stream,
        server_max_ack_pending: -1,
        account_max_ack_pending: -1,
        max_request_batch: 0,
    }
}

fn error_line(error: &ApiError) -> String {
    format!("{} {} {}", error.code, error.err_code, error.description)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>, line: &str) {
    assert_eq!(error_line(&result.unwrap_err()), line);
}

#[test]
fn configurations_fare_as_with_the_reference() {
    let mut lines = include_str!("cases.txt").lines();
    while let (Some(text), Some(expected)) = (lines.next(), lines.next()) {
        let (name, body) = text.split_once(' ').unwrap();
        let (pedantic, expected) = match expected.strip_prefix("pedantic ") {
            Some(rest) => (true, rest),
            None => (false, expected),
        };
        let stream = stream(name);
        let seen = match normalize(config(body), pedantic, &facts(&stream)) {
            Ok(config) => {
                let mut out = Vec::new();
                to_json(&config, &mut out);
                format!(
                    "ok {}",
                    String::from_utf8(out).unwrap().replace("\\u003e", ">")
                )
            }
            Err(error) => error_line(&error),
        };
        assert_eq!(seen, expected, "{text}");
    }
}

#[test]
fn ceilings_of_server_and_account() {
    let stream = stream("S");
    let facts = ConsumerFacts {
        server_max_ack_pending: 500,
        account_max_ack_pending: 300,
        max_request_batch: 10,
        ..facts(&stream)
    };
    let normal = |text: &str| normalize(config(text), false, &facts);
    let filled = normal(r#"{"ack_policy":"explicit"}"#).unwrap();
    assert_eq!(
        (filled.max_ack_pending, filled.max_request_batch),
        (300, 10)
    );
    let excess = "400 10121 consumer max ack pending exceeds system limit of";
    let asked = r#"{"ack_policy":"explicit","max_ack_pending":"#;
    refused(normal(&format!("{asked}501}}")), &format!("{excess} 500"));
    refused(normal(&format!("{asked}301}}")), &format!("{excess} 300"));
    refused(
        normal(r#"{"max_batch":11}"#),
        "400 10125 consumer max request batch exceeds server limit of 10",
    );
    refused(
        normalize(config("{}"), true, &facts),
        "400 10157 pedantic mode: max_request_batch must be set if it's JetStream limits are set",
    );
}

#[test]
fn names_texts_and_replicas() {
    let stream = stream("S");
    let facts = facts(&stream);
    let with = |change: fn(&mut ConsumerConfig)| {
        let mut config = ConsumerConfig::default();
        change(&mut config);
        normalize(config, false, &facts)
    };
    let forbidden = r"can not contain '.', '*', '>', '\', '/'";
    refused(
        with(|it| it.name = "a.b".into()),
        &format!("500 10052 consumer name {forbidden}"),
    );
    refused(
        with(|it| it.durable = "a.b".into()),
        &format!("500 10052 consumer durable name {forbidden}"),
    );
    refused(
        with(|it| it.replicas = 3),
        "400 10126 consumer config replica count exceeds parent stream",
    );
    refused(
        with(|it| it.description = "x".repeat(4097)),
        "400 10107 consumer description is too long, maximum allowed is 4096",
    );
    refused(
        with(|it| drop(it.metadata.insert("a".into(), "x".repeat(131_072)))),
        "400 10135 consumer metadata exceeds maximum size of 128KB",
    );
    refused(
        with(|it| it.durable = "x".repeat(256)),
        "400 10102 consumer name is too long, maximum allowed is 255",
    );
    refused(
        with(|it| (it.durable, it.name) = ("a".into(), "b".into())),
        "400 10132 Consumer Durable and Name have to be equal if both are provided",
    );
}

#[test]
fn updates() {
    let stream = stream("S");
    let update = |before: &str, after: &str, bound: bool| {
        let before = normalize(config(before), false, &facts(&stream))?;
        check_update(
            &before,
            normalize(config(after), false, &facts(&stream))?,
            bound,
        )
    };
    let push = r#"{"deliver_subject":"d"}"#;
    for (before, after, what) in [
        (
            "{}",
            r#"{"deliver_policy":"new"}"#,
            "deliver policy can not be updated",
        ),
        (
            "{}",
            r#"{"mem_storage":true}"#,
            "storage type can not be updated",
        ),
        (
            push,
            r#"{"deliver_subject":"d","direct":true}"#,
            "direct can not be updated",
        ),
        ("{}", r#"{"sourcing":true}"#, "sourcing can not be updated"),
        (
            r#"{"deliver_policy":"by_start_sequence","opt_start_seq":3}"#,
            r#"{"deliver_policy":"by_start_sequence","opt_start_seq":4}"#,
            "start sequence can not be updated",
        ),
        (
            "{}",
            r#"{"ack_policy":"explicit"}"#,
            "ack policy can not be updated",
        ),
        (
            "{}",
            r#"{"replay_policy":"original"}"#,
            "replay policy can not be updated",
        ),
        (
            push,
            r#"{"deliver_subject":"d","idle_heartbeat":1000000000}"#,
            "heart beats can not be updated",
        ),
        ("{}", push, "can not update pull consumer to push based"),
        (push, "{}", "can not update push consumer to pull based"),
        (
            "{}",
            r#"{"max_waiting":5}"#,
            "max waiting can not be updated",
        ),
    ] {
        refused(update(before, after, false), &format!("500 10012 {what}"));
    }
    let moved = r#"{"deliver_subject":"e"}"#;
    refused(
        update(push, moved, true),
        "400 10013 consumer name already in use",
    );
    assert!(update(push, moved, false).is_ok());
    let paused = update(r#"{"pause_until":"2040-01-01T00:00:00Z"}"#, "{}", false).unwrap();
    assert!(paused.pause_until.is_some());
}

#[test]
fn work_queues_share_nothing() {
    let explicit = |fields: &str| config(&format!(r#"{{"ack_policy":"explicit"{fields}}}"#));
    let all = explicit("");
    let some = explicit(r#","filter_subject":"w.a.*""#);
    assert!(check_work_queue(&all, []).is_ok());
    assert!(check_work_queue(&explicit(r#","filter_subject":"w.b.*""#), [&some]).is_ok());
    refused(
        check_work_queue(&config("{}"), []),
        "400 10098 workqueue stream requires explicit ack",
    );
    refused(
        check_work_queue(&all, [&some]),
        "400 10099 multiple non-filtered consumers not allowed on workqueue stream",
    );
    let unique = "400 10100 filtered consumer not unique on workqueue stream";
    refused(check_work_queue(&some, [&all]), unique);
    refused(
        check_work_queue(&explicit(r#","filter_subject":"w.*.b""#), [&some]),
        unique,
    );
    refused(
        check_work_queue(&explicit(r#","deliver_policy":"new""#), []),
        "400 10101 consumer must be deliver all on workqueue stream",
    );
}

#[test]
fn missing_features_are_named() {
    assert_eq!(unsupported(&config("{}")), None);
    let error = unsupported(&config(r#"{"ack_policy":"flow_control"}"#)).unwrap();
    let line = "500 10012 ack_policy flow_control is not supported yet by this server";
    assert_eq!(error_line(&error), line);
}
