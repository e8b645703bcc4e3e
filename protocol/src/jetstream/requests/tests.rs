use super::*;
use crate::jetstream::stream::{DiscardPolicy, RetentionPolicy};

fn create(body: &str) -> Result<StreamConfigRequest, ApiError> {
    parse(body.as_bytes(), true)
}

#[track_caller]
fn refused(body: &str, text: &str) {
    assert_eq!(
        create(body).unwrap_err(),
        ApiError::invalid_json(text),
        "{body}"
    );
}

#[test]
fn fields_are_found_in_any_case_and_null_is_absent() {
    let request = create(
        r#"{"NAME":"S","Max_Msgs":5,"max_age":null,"placement":null,"subjects":null,
            "metadata":null,"consumer_limits":null,"discard":"NEW","retention":"workqueue",
            "Pedantic":true}"#,
    )
    .unwrap();
    assert_eq!(request.config.name, "S");
    assert_eq!(request.config.max_msgs, 5);
    assert_eq!(request.config.discard, DiscardPolicy::New);
    assert_eq!(request.config.retention, RetentionPolicy::WorkQueue);
    assert_eq!(request.config.placement, None);
    assert!(request.pedantic);
}

#[test]
fn last_key_wins_and_objects_are_merged() {
    let request = create(r#"{"name":"A","name":"B","max_msgs":1} {"max_bytes":2}"#).unwrap();
    assert_eq!(request.config.name, "B");
    assert_eq!((request.config.max_msgs, request.config.max_bytes), (1, 2));
    assert_eq!(create("").unwrap(), StreamConfigRequest::default());
    assert_eq!(create("null").unwrap(), StreamConfigRequest::default());
}

#[test]
fn unknown_fields_are_refused_where_asked() {
    let text = r#"json: unknown field "bogus""#;
    refused(r#"{"bogus":1}"#, text);
    refused(r#"{"placement":{"bogus":1}}"#, text);
    refused(r#"{"name":"S"} {"bogus":1}"#, text);
    assert!(parse::<StreamConfigRequest>(br#"{"bogus":1}"#, false).is_ok());
}

#[test]
fn wrong_types_are_named_with_their_place() {
    for (body, found, place, expected) in [
        (
            r#"{"name":1}"#,
            "number",
            "Go struct field StreamConfigRequest.name",
            "string",
        ),
        (
            r#"{"name":{}}"#,
            "object",
            "Go struct field StreamConfigRequest.name",
            "string",
        ),
        (
            r#"{"max_msgs":1.0}"#,
            "number 1.0",
            "Go struct field StreamConfigRequest.max_msgs",
            "int64",
        ),
        (
            r#"{"max_msgs":1e3}"#,
            "number 1e3",
            "Go struct field StreamConfigRequest.max_msgs",
            "int64",
        ),
        (
            r#"{"max_msg_size":3000000000}"#,
            "number 3000000000",
            "Go struct field StreamConfigRequest.max_msg_size",
            "int32",
        ),
        (
            r#"{"max_age":"1s"}"#,
            "string",
            "Go struct field StreamConfigRequest.max_age",
            "time.Duration",
        ),
        (
            r#"{"first_seq":-1}"#,
            "number -1",
            "Go struct field StreamConfigRequest.first_seq",
            "uint64",
        ),
        (
            r#"{"subjects":"a"}"#,
            "string",
            "Go struct field StreamConfigRequest.subjects",
            "[]string",
        ),
        (
            r#"{"subjects":[1]}"#,
            "number",
            "StreamConfigRequest.subjects.0",
            "string",
        ),
        (
            r#"{"sources":[1]}"#,
            "number",
            "StreamConfigRequest.sources.0",
            "server.StreamSource",
        ),
        (
            r#"{"sources":[{"external":{"api":1}}]}"#,
            "number",
            "Go struct field StreamConfigRequest.sources.0.external.api",
            "string",
        ),
        (
            r#"{"sources":{}}"#,
            "object",
            "Go struct field StreamConfigRequest.sources",
            "[]*server.StreamSource",
        ),
        (
            r#"{"placement":1}"#,
            "number",
            "Go struct field StreamConfigRequest.placement",
            "server.Placement",
        ),
        (
            r#"{"metadata":{"a":1}}"#,
            "number",
            "Go struct field StreamConfigRequest.metadata.a",
            "string",
        ),
        (
            r#"{"metadata":1}"#,
            "number",
            "Go struct field StreamConfigRequest.metadata",
            "map[string]string",
        ),
        ("[]", "array", "Go value", "server.StreamConfigRequest"),
        ("5", "number", "Go value", "server.StreamConfigRequest"),
    ] {
        refused(
            body,
            &format!("json: cannot unmarshal {found} into {place} of type {expected}"),
        );
    }
}

#[test]
fn bad_words_are_quoted() {
    refused(r#"{"retention":"x"}"#, r#"can not unmarshal "\"x\"""#);
    refused(r#"{"retention":null}"#, r#"can not unmarshal "null""#);
    refused(r#"{"retention":{}}"#, r#"can not unmarshal "{}""#);
    refused(
        r#"{"retention":"\u006cimits"}"#,
        r#"can not unmarshal "\"\\u006cimits\"""#,
    );
    refused(
        r#"{"storage":"MEMORY"}"#,
        r#"can not unmarshal "\"MEMORY\"""#,
    );
    refused(r#"{"compression":"zz"}"#, "unknown compression algorithm");
    refused(r#"{"compression":null}"#, "unknown compression algorithm");
    refused(
        r#"{"compression":5}"#,
        "json: cannot unmarshal number into Go value of type string",
    );
    let consumer = |body: &str| parse::<CreateConsumerRequest>(body.as_bytes(), true);
    for (body, text) in [
        (
            r#"{"config":{"priority_policy":null}}"#,
            "unknown priority policy: null",
        ),
        (
            r#"{"config":{"priority_policy":"zz"}}"#,
            r#"unknown priority policy: "zz""#,
        ),
        (r#"{"action":5}"#, "unknown consumer action: 5"),
        (
            r#"{"config":{"ack_policy":""}}"#,
            r#"can not unmarshal "\"\"""#,
        ),
    ] {
        assert_eq!(
            consumer(body).unwrap_err(),
            ApiError::invalid_json(text),
            "{body}"
        );
    }
    assert!(consumer(r#"{"config":{"deliver_policy":"undefined"},"action":""}"#).is_ok());
}

#[test]
fn optional_bodies_are_read_only_if_they_look_like_json() {
    let purge = |body: &[u8]| parse_optional::<StreamPurgeRequest>(body, true);
    assert_eq!(purge(b"junk").unwrap(), StreamPurgeRequest::default());
    assert_eq!(purge(br#" {"keep":2}"#).unwrap().keep, 2);
    assert!(purge(b"[]").is_err());
    assert!(purge(b"{").is_err());
}

#[test]
fn required_and_forbidden_bodies() {
    let get = |body: &[u8]| parse_required::<MsgGetRequest>(body, true);
    for body in [&b""[..], b"{}", b" { } "] {
        assert_eq!(get(body).unwrap_err(), ApiError::bad_request());
        assert!(expect_empty(body).is_ok());
    }
    assert_eq!(get(br#"{"seq":3}"#).unwrap().seq, 3);
    for body in [&b"x"[..], b"[]", br#"{"a":1}"#] {
        assert_eq!(
            expect_empty(body).unwrap_err(),
            ApiError::not_empty_request()
        );
    }
}

#[test]
fn direct_get_and_unpin_are_lenient() {
    assert_eq!(
        MsgGetRequest::parse_direct(br#"{"seq":1,"x":2}"#)
            .unwrap()
            .seq,
        1
    );
    assert!(MsgGetRequest::parse_direct(b"x").is_none());
    let unpin = |body: &[u8]| ConsumerUnpinRequest::parse(body).unwrap_err();
    assert_eq!(
        unpin(b""),
        ApiError::invalid_json("unexpected end of JSON input")
    );
    assert_eq!(
        unpin(br#"{"x":1}"#),
        ApiError::invalid_json("consumer group not specified")
    );
}
