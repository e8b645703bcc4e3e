use super::*;
use crate::jetstream::stream::StreamConfig;

fn text<T: ApiResponse>(result: Result<T, ApiError>) -> String {
    let mut out = Vec::new();
    encode(&result, &mut out);
    String::from_utf8(out).unwrap()
}

fn failure<T: ApiResponse>() -> String {
    let whole = text::<T>(Err(ApiError::stream_not_found()));
    let head = format!(
        r#"{{"type":"{}","error":{{"code":404,"err_code":10059,"description":"stream not found"}}"#,
        T::TYPE
    );
    whole
        .strip_prefix(&head)
        .unwrap_or_else(|| panic!("{whole}"))
        .to_owned()
}

#[test]
fn failures_carry_what_is_never_omitted() {
    assert_eq!(failure::<StreamCreateResponse>(), "}");
    assert_eq!(failure::<ConsumerCreateResponse>(), "}");
    assert_eq!(failure::<AccountInfoResponse>(), "}");
    assert_eq!(
        failure::<StreamInfoResponse>(),
        r#","total":0,"offset":0,"limit":0}"#
    );
    let names = r#","total":0,"offset":0,"limit":0,"streams":null}"#;
    assert_eq!(failure::<StreamNamesResponse>(), names);
    let consumers = r#","total":0,"offset":0,"limit":0,"consumers":[]}"#;
    assert_eq!(failure::<ConsumerNamesResponse>(), consumers);
    assert_eq!(failure::<ConsumerListResponse>(), consumers);
    assert_eq!(failure::<StreamPurgeResponse>(), r#","purged":0}"#);
    assert_eq!(failure::<StreamDeleteResponse>(), "}");
    assert_eq!(failure::<MsgGetResponse>(), "}");
    assert_eq!(
        failure::<StreamRestoreResponse>(),
        r#","deliver_subject":""}"#
    );
}

#[test]
fn created_stream_is_byte_exact() {
    let mut config = StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        max_consumers: -1,
        max_msgs: -1,
        max_bytes: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        num_replicas: 1,
        duplicates: 120_000_000_000,
        ..Default::default()
    };
    config.metadata.insert("_nats.req.level".into(), "0".into());
    let info = StreamInfo {
        config,
        created: Time::parse("2026-11-24T21:57:58.811270395Z").unwrap(),
        ts: Time::parse("2026-11-24T21:57:58.81191245Z").unwrap(),
        ..Default::default()
    };
    let response = StreamCreateResponse {
        info: Some(info),
        did_create: true,
    };
    assert_eq!(
        text(Ok(response)),
        include_str!("stream_created.json").trim_end()
    );
}

#[test]
fn created_consumer_is_byte_exact() {
    let config = crate::jetstream::consumer::ConsumerConfig {
        name: "C".into(),
        max_deliver: -1,
        max_waiting: 512,
        inactive_threshold: 5_000_000_000,
        ..Default::default()
    };
    let info = ConsumerInfo {
        stream_name: "S".into(),
        name: "C".into(),
        created: Time::parse("2026-11-24T22:01:06.070498145Z").unwrap(),
        config: Some(config),
        ts: Time::parse("2026-11-24T22:01:06.071499744Z").unwrap(),
        ..Default::default()
    };
    let response = ConsumerCreateResponse { info: Some(info) };
    assert_eq!(
        text(Ok(response)),
        include_str!("consumer_created.json").trim_end()
    );
}

#[test]
fn account_info_is_byte_exact() {
    let mut info = AccountInfo::default();
    info.tier.streams = 1;
    info.api.level = 5;
    info.api.total = 25;
    let expected = concat!(
        r#"{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":0,"#,
        r#""reserved_memory":0,"reserved_storage":0,"streams":1,"consumers":0,"limits":{"#,
        r#""max_memory":-1,"max_storage":-1,"max_streams":-1,"max_consumers":-1,"#,
        r#""max_ack_pending":-1,"memory_max_stream_bytes":-1,"storage_max_stream_bytes":-1,"#,
        r#""max_bytes_required":false},"api":{"level":5,"total":25,"errors":0}}"#
    );
    assert_eq!(text(Ok(AccountInfoResponse { info: Some(info) })), expected);
}

#[test]
fn messages_leave_in_base64() {
    let message = StoredMessage {
        subject: "a.b".into(),
        seq: 7,
        data: Base64(b"hi".to_vec()),
        time: Time::from_nanos(0),
        ..Default::default()
    };
    let expected = concat!(
        r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":"#,
        r#"{"subject":"a.b","seq":7,"data":"aGk=","time":"1970-01-01T00:00:00Z"}}"#
    );
    assert_eq!(
        text(Ok(MsgGetResponse {
            message: Some(message)
        })),
        expected
    );
}
