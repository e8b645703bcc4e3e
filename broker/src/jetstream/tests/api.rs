//! The API: answers byte for byte.

use super::rig::{Rig, block};

fn error(kind: &str, code: u16, err_code: u16, text: &str, rest: &str) -> String {
    format!(
        r#"{{"type":"io.nats.jetstream.api.v1.{kind}","error":{{"code":{code},"err_code":{err_code},"description":"{text}"}}{rest}}}"#
    )
}

#[test]
fn creates_and_shows_a_stream() {
    let mut rig = Rig::new();
    let config = r#"{"name":"S","subjects":["s.>"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","storage":"file","num_replicas":1,"duplicate_window":120000000000,"compression":"none","allow_direct":false,"mirror_direct":false,"sealed":false,"deny_delete":false,"deny_purge":false,"allow_rollup_hdrs":false,"consumer_limits":{},"allow_msg_ttl":false,"metadata":{"_nats.level":"5","_nats.req.level":"0","_nats.ver":"2.15.1"}}"#;
    let config = config.replace('>', "\\u003e");
    let state = r#"{"messages":0,"bytes":0,"first_seq":0,"first_ts":"0001-01-01T00:00:00Z","last_seq":0,"last_ts":"0001-01-01T00:00:00Z","consumer_count":0}"#;
    assert_eq!(
        rig.api("STREAM.CREATE.S", r#"{"name":"S","subjects":["s.>"]}"#),
        format!(
            r#"{{"type":"io.nats.jetstream.api.v1.stream_create_response","config":{config},"created":"2026-01-01T00:00:00Z","state":{state},"ts":"2026-01-01T00:00:00Z","did_create":true}}"#
        )
    );
    assert_eq!(
        rig.api("STREAM.INFO.S", ""),
        format!(
            r#"{{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,"config":{config},"created":"2026-01-01T00:00:00Z","state":{state},"cluster":{{"leader":"srv"}},"ts":"2026-01-01T00:00:00Z"}}"#
        )
    );
    let again = rig.api("STREAM.CREATE.S", r#"{"name":"S","subjects":["s.>"]}"#);
    assert!(again.contains(r#""did_create":true"#));
    assert_eq!(
        rig.api("STREAM.CREATE.S", r#"{"name":"S","subjects":["t"]}"#),
        error(
            "stream_create_response",
            400,
            10058,
            "stream name already in use with a different configuration",
            ""
        )
    );
    assert_eq!(
        rig.api("STREAM.CREATE.T", r#"{"name":"T","subjects":["s.x"]}"#),
        error(
            "stream_create_response",
            400,
            10065,
            "subjects overlap with an existing stream",
            ""
        )
    );
}

#[test]
fn says_what_is_not_there() {
    let mut rig = Rig::new();
    let not_found = |kind, rest| error(kind, 404, 10059, "stream not found", rest);
    assert_eq!(
        rig.api("STREAM.INFO.X", ""),
        not_found("stream_info_response", r#","total":0,"offset":0,"limit":0"#)
    );
    assert_eq!(
        rig.api("STREAM.PURGE.X", ""),
        not_found("stream_purge_response", r#","purged":0"#)
    );
    assert_eq!(
        rig.api("STREAM.DELETE.X", ""),
        not_found("stream_delete_response", "")
    );
    assert_eq!(
        rig.api("STREAM.MSG.GET.X", r#"{"seq":1}"#),
        not_found("stream_msg_get_response", "")
    );
    assert_eq!(
        rig.api("STREAM.MSG.GET.X", "{}"),
        error("stream_msg_get_response", 400, 10003, "bad request", "")
    );
    assert_eq!(
        rig.api("STREAM.DELETE.X", r#"{"a":1}"#),
        error(
            "stream_delete_response",
            400,
            10038,
            "expected an empty request payload",
            ""
        )
    );
    assert_eq!(
        rig.api("STREAM.LEADER.STEPDOWN.X", ""),
        error(
            "stream_leader_stepdown_response",
            503,
            10010,
            "JetStream clustering support required",
            ""
        )
    );
    assert_eq!(
        rig.api("STREAM.NAMES", ""),
        r#"{"type":"io.nats.jetstream.api.v1.stream_names_response","total":0,"offset":0,"limit":1024,"streams":null}"#
    );
    assert_eq!(
        rig.api("STREAM.LIST", ""),
        r#"{"type":"io.nats.jetstream.api.v1.stream_list_response","total":0,"offset":0,"limit":256,"streams":[]}"#
    );
}

#[test]
fn unknown_subjects_are_heard_and_stay_unanswered() {
    let mut rig = Rig::new();
    for path in [
        "FOO",
        "STREAM.FOO.S",
        "CONSUMER.FOO.S.C",
        "META.LEADER.STEPDOWN",
    ] {
        assert!(
            rig.send(&format!("$JS.API.{path}"), "_INBOX.1", "", ""),
            "{path}"
        );
    }
    rig.settle();
    assert_eq!(rig.take(), []);
    for path in ["DIRECT.GET.S", "DIRECT.GET.S.a.b", "CONSUMER.MSG.NEXT.S.C"] {
        assert!(
            !rig.send(&format!("$JS.API.{path}"), "_INBOX.1", "", ""),
            "{path}"
        );
    }
    // Nothing is heard twice.
    for path in [
        "CONSUMER.CREATE.S",
        "CONSUMER.CREATE.S.C",
        "CONSUMER.CREATE.S.C.a.b",
        "INFO",
    ] {
        let tags = rig.out.listeners.iter().filter(|(pattern, _)| {
            jetwake_protocol::subject::matches(pattern, format!("$JS.API.{path}").as_bytes())
        });
        assert_eq!(tags.count(), 1, "{path}");
    }
}

#[test]
fn a_higher_api_level_is_refused() {
    let mut rig = Rig::new();
    let level = |level| block(&[("Nats-Required-Api-Level", level)]);
    let refused = rig.ask("$JS.API.STREAM.NAMES", &level("6"), "").payload;
    assert_eq!(
        refused,
        error(
            "stream_names_response",
            412,
            10185,
            "JetStream minimum api level required",
            r#","total":0,"offset":0,"limit":0,"streams":null"#
        )
    );
    assert!(
        !rig.ask("$JS.API.STREAM.NAMES", &level("5"), "")
            .payload
            .contains("error")
    );
}

#[test]
fn purges_as_in_the_table() {
    for storage in ["file", "memory"] {
        let purge = |body: &str, purged: u64, state: (u64, u64, u64)| {
            let mut rig = Rig::new();
            rig.stream(&format!(
                r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}"}}"#
            ));
            for subject in ["s.a", "s.b", "s.a", "s.b", "s.a"] {
                rig.publish(subject, &[], "");
            }
            assert_eq!(
                rig.api("STREAM.PURGE.S", body),
                format!(
                    r#"{{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":{purged}}}"#
                ),
                "{body}"
            );
            assert_eq!(rig.state("S"), state, "{body}");
            assert!(
                rig.publish("s.a", &[], "")
                    .contains(&format!("\"seq\":{}", state.2 + 1))
            );
        };
        purge("", 5, (0, 6, 5));
        purge("junk", 5, (0, 6, 5));
        purge("{}", 5, (0, 6, 5));
        purge(r#"{"filter":">"}"#, 5, (0, 6, 5));
        purge(r#"{"keep":2}"#, 3, (2, 4, 5));
        purge(r#"{"keep":9}"#, 0, (5, 1, 5));
        purge(r#"{"filter":"s.a"}"#, 3, (2, 2, 5));
        purge(r#"{"filter":"s.a","keep":1}"#, 2, (3, 2, 5));
        purge(r#"{"filter":"s.*","keep":2}"#, 3, (2, 4, 5));
        purge(r#"{"seq":3}"#, 2, (3, 3, 5));
        purge(r#"{"seq":1}"#, 0, (5, 1, 5));
        purge(r#"{"seq":10}"#, 5, (0, 10, 9));
        purge(r#"{"seq":4,"filter":"s.a"}"#, 2, (3, 2, 5));
    }
}

#[test]
fn refuses_purges_that_are_wrong() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","deny_purge":true,"deny_delete":true}"#);
    rig.publish("S", &[], "");
    let purge = |code, err_code, text| {
        error(
            "stream_purge_response",
            code,
            err_code,
            text,
            r#","purged":0"#,
        )
    };
    assert_eq!(
        rig.api("STREAM.PURGE.S", r#"{"seq":1,"keep":1}"#),
        purge(400, 10003, "bad request")
    );
    assert_eq!(
        rig.api("STREAM.PURGE.S", ""),
        purge(500, 10110, "stream purge not permitted")
    );
    assert_eq!(
        rig.api("STREAM.MSG.DELETE.S", r#"{"seq":1}"#),
        error(
            "stream_msg_delete_response",
            500,
            10057,
            "message delete not permitted",
            ""
        )
    );
}

#[test]
fn deletes_messages() {
    for storage in ["file", "memory"] {
        let mut rig = Rig::new();
        rig.stream(&format!(r#"{{"name":"S","storage":"{storage}"}}"#));
        for _ in 0..4 {
            rig.publish("S", &[], "x");
        }
        let deleted =
            r#"{"type":"io.nats.jetstream.api.v1.stream_msg_delete_response","success":true}"#;
        let failed =
            |code, err_code, text| error("stream_msg_delete_response", code, err_code, text, "");
        let outside = |file, memory| match storage {
            "file" => failed(500, 10057, file),
            _ => failed(400, 10043, memory),
        };
        assert_eq!(rig.api("STREAM.MSG.DELETE.S", r#"{"seq":2}"#), deleted);
        assert_eq!(rig.state("S"), (3, 1, 4));
        assert_eq!(
            rig.api("STREAM.MSG.DELETE.S", r#"{"seq":1,"no_erase":true}"#),
            deleted
        );
        assert_eq!(rig.state("S"), (2, 3, 4));
        assert_eq!(rig.api("STREAM.MSG.DELETE.S", r#"{"seq":4}"#), deleted);
        assert_eq!(rig.state("S"), (1, 3, 4));
        assert_eq!(
            rig.api("STREAM.MSG.DELETE.S", r#"{"seq":2}"#),
            outside("no message found", "sequence 2 not found")
        );
        assert_eq!(
            rig.api("STREAM.MSG.DELETE.S", r#"{"seq":9}"#),
            outside("stream store EOF", "sequence 9 not found")
        );
        assert_eq!(
            rig.api("STREAM.MSG.DELETE.S", r#"{"no_erase":true}"#),
            outside("no message found", "sequence 0 not found")
        );
    }
}

#[test]
fn gets_messages() {
    for storage in ["file", "memory"] {
        let mut rig = Rig::new();
        rig.stream(&format!(
            r#"{{"name":"S","subjects":["s.>"],"storage":"{storage}"}}"#
        ));
        rig.publish("s.a", &[("A", "b")], "one");
        rig.publish("s.b", &[], "");
        let first = r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"s.a","seq":1,"hdrs":"TkFUUy8xLjANCkE6IGINCg0K","data":"b25l","time":"2026-01-01T00:00:00Z"}}"#;
        assert_eq!(rig.api("STREAM.MSG.GET.S", r#"{"seq":1}"#), first);
        assert_eq!(
            rig.api("STREAM.MSG.GET.S", r#"{"last_by_subj":"s.a"}"#),
            first
        );
        assert_eq!(
            rig.api("STREAM.MSG.GET.S", r#"{"next_by_subj":"s.*"}"#),
            first
        );
        assert_eq!(
            rig.api(
                "STREAM.MSG.GET.S",
                r#"{"last_by_subj":"s.>","no_hdr":true}"#
            ),
            r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"s.b","seq":2,"time":"2026-01-01T00:00:00Z"}}"#
        );
        assert_eq!(
            rig.api("STREAM.MSG.GET.S", r#"{"seq":9}"#),
            error(
                "stream_msg_get_response",
                404,
                10037,
                "no message found",
                ""
            )
        );
        // Successful gets are no API calls.
        let info = rig.api("INFO", "");
        assert!(
            info.contains(r#""api":{"level":5,"total":2,"errors":1}"#),
            "{info}"
        );
    }
}

#[test]
fn gets_messages_directly() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","subjects":["s.>"],"allow_direct":true}"#);
    for subject in ["s.a", "s.b", "s.a"] {
        rig.publish(subject, &[], subject);
    }
    let mut status = |path: &str, body: &str| {
        rig.ask(&format!("$JS.API.DIRECT.GET.{path}"), "", body)
            .headers
    };
    assert_eq!(status("S", ""), "NATS/1.0 408 Empty Request\r\n\r\n");
    assert_eq!(
        status("S", r#"{"batch":3}"#),
        "NATS/1.0 408 Empty Request\r\n\r\n"
    );
    assert_eq!(status("S", "x"), "NATS/1.0 408 Malformed Request\r\n\r\n");
    assert_eq!(
        status("S", r#"{"seq":1,"last_by_subj":"s.a"}"#),
        "NATS/1.0 408 Bad Request\r\n\r\n"
    );
    assert_eq!(
        status("S.s.a", r#"{"seq":1}"#),
        "NATS/1.0 408 Bad Request\r\n\r\n"
    );
    assert_eq!(
        status("S", r#"{"seq":9}"#),
        "NATS/1.0 404 Message Not Found\r\n\r\n"
    );
    assert_eq!(
        status("S", r#"{"multi_last":["x"]}"#),
        "NATS/1.0 404 No Results\r\n\r\n"
    );
    assert_eq!(
        status("S.s.a", ""),
        "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 3\r\nNats-Time-Stamp: 2026-01-01T00:00:00Z\r\n\r\n"
    );
    assert_eq!(status("S.s.a", r#"{"no_hdr":true}"#), "");
}

#[test]
fn gets_batches_directly() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S","subjects":["s.>"],"allow_direct":true}"#);
    for subject in ["s.a", "s.b", "s.a", "s.c"] {
        rig.publish(subject, &[], subject);
    }
    rig.api("STREAM.MSG.DELETE.S", r#"{"seq":2}"#);
    rig.take();
    let mut batch = |body: &str| -> Vec<String> {
        rig.send("$JS.API.DIRECT.GET.S", "_INBOX.1", "", body);
        rig.take()
            .iter()
            .map(|sent| {
                let lines = sent.headers.split("\r\n").filter(|line| {
                    [
                        "Nats-Seq",
                        "Nats-Num",
                        "Nats-Last",
                        "Nats-UpTo",
                        "NATS/1.0 ",
                    ]
                    .iter()
                    .any(|name| line.starts_with(name))
                });
                lines
                    .map(|line| line.rsplit(' ').next().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    };
    assert_eq!(
        batch(r#"{"seq":1,"batch":2}"#),
        ["1 2 0", "3 1 1", "EOB 1 3"]
    );
    assert_eq!(
        batch(r#"{"next_by_subj":"s.a","batch":9}"#),
        ["1 1 0", "3 0 1", "EOB 0 3"]
    );
    assert_eq!(
        batch(r#"{"multi_last":["s.a","s.c"]}"#),
        ["3 1 0", "4 0 3", "EOB 0 4 4"]
    );
    assert_eq!(
        batch(r#"{"multi_last":["s.a"],"up_to_seq":2}"#),
        ["1 0 0", "EOB 0 1 2"]
    );
    assert_eq!(
        batch(r#"{"seq":1,"batch":9,"max_bytes":1}"#),
        ["1 2 0", "EOB 2 1"]
    );
}

#[test]
fn updates_and_deletes_a_stream() {
    for storage in ["file", "memory"] {
        let mut rig = Rig::new();
        rig.stream(&format!(
            r#"{{"name":"S","subjects":["a","b"],"storage":"{storage}"}}"#
        ));
        for _ in 0..3 {
            rig.publish("a", &[], "");
        }
        let update =
            format!(r#"{{"name":"S","subjects":["b","c"],"max_msgs":2,"storage":"{storage}"}}"#);
        let updated = rig.api("STREAM.UPDATE.S", &update);
        assert!(updated.starts_with(
            r#"{"type":"io.nats.jetstream.api.v1.stream_update_response","config":{"name":"S","subjects":["b","c"]"#
        ), "{updated}");
        assert!(!updated.contains("did_create"));
        assert_eq!(rig.state("S"), (2, 2, 3));
        assert!(!rig.send("a", "_INBOX.1", "", ""));
        assert_eq!(rig.publish("c", &[], ""), r#"{"stream":"S","seq":4}"#);
        assert_eq!(
            rig.api("STREAM.DELETE.S", "{}"),
            r#"{"type":"io.nats.jetstream.api.v1.stream_delete_response","success":true}"#
        );
        assert!(!rig.send("c", "_INBOX.1", "", ""));
        let info = rig.api("INFO", "");
        assert!(info.contains(
            r#""memory":0,"storage":0,"reserved_memory":0,"reserved_storage":0,"streams":0"#
        ));
    }
}

#[test]
fn tells_watchers() {
    let mut rig = Rig::new();
    rig.out.subscriptions.push(b"$JS.EVENT.ADVISORY.>".to_vec());
    rig.send("$JS.API.STREAM.CREATE.S", "_INBOX.1", "", r#"{"name":"S"}"#);
    rig.settle();
    let sent = rig.take();
    let routes: Vec<&str> = sent.iter().map(|one| one.route.as_str()).collect();
    assert_eq!(
        routes,
        [
            "$JS.EVENT.ADVISORY.STREAM.CREATED.S",
            "_INBOX.1",
            "$JS.EVENT.ADVISORY.API"
        ]
    );
    let action: serde_json::Value = serde_json::from_str(&sent[0].payload).unwrap();
    assert_eq!(
        action["type"],
        "io.nats.jetstream.advisory.v1.stream_action"
    );
    assert_eq!(
        (&action["stream"], &action["action"]),
        (&"S".into(), &"create".into())
    );
    let audit: serde_json::Value = serde_json::from_str(&sent[2].payload).unwrap();
    assert_eq!(audit["type"], "io.nats.jetstream.advisory.v1.api_audit");
    assert_eq!(audit["client"]["id"], 9);
    assert_eq!(audit["response"], sent[1].payload);
}

#[test]
fn pauses_and_resets_a_consumer() {
    let mut rig = Rig::new();
    rig.stream(r#"{"name":"S"}"#);
    rig.api(
        "CONSUMER.CREATE.S.C",
        r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}"#,
    );
    rig.publish("S", &[], "x");
    let paused = r#"{"type":"io.nats.jetstream.api.v1.consumer_pause_response","paused":true,"pause_until":"2026-01-01T00:00:10Z","pause_remaining":10000000000}"#;
    assert_eq!(
        rig.api(
            "CONSUMER.PAUSE.S.C",
            r#"{"pause_until":"2026-01-01T00:00:10Z"}"#
        ),
        paused
    );
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "");
    rig.settle();
    assert_eq!(rig.take(), []);
    let mut rig = rig.crash(1);
    assert!(
        rig.api("CONSUMER.INFO.S.C", "")
            .contains(r#""paused":true,"pause_remaining":10000000000"#)
    );
    let resumed = r#"{"type":"io.nats.jetstream.api.v1.consumer_pause_response","paused":false,"pause_until":"0001-01-01T00:00:00Z"}"#;
    assert_eq!(rig.api("CONSUMER.PAUSE.S.C", ""), resumed);
    rig.send("$JS.API.CONSUMER.MSG.NEXT.S.C", "_INBOX.9", "", "");
    rig.settle();
    assert_eq!(rig.take().len(), 1);
    let reset = rig.api("CONSUMER.RESET.S.C", "");
    assert!(reset.contains(r#""reset_seq":1"#), "{reset}");
    assert!(
        rig.api("CONSUMER.INFO.S.C", "")
            .contains(r#""num_pending":1"#)
    );
    assert!(rig.send("$JS.API.CONSUMER.RESET.S.X", "_INBOX.1", "", ""));
    assert_eq!(rig.take(), []);
}
