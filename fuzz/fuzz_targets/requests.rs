//! The bodies of API requests: any bytes give a request or a complaint, and what was accepted as a
//! configuration survives being written and read again.
//!
//! The first byte chooses the request; its highest bit asks for strict reading.
#![no_main]

use jetwake_protocol::jetstream::account::AccountLimits;
use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::jetstream::consumer_config::{self, ConsumerFacts};
use jetwake_protocol::jetstream::json::{Rules, from_json, to_json};
use jetwake_protocol::jetstream::pull::PullRequest;
use jetwake_protocol::jetstream::requests::*;
use jetwake_protocol::jetstream::stream::StreamConfig;
use jetwake_protocol::jetstream::stream_config::{self, StreamFacts};
use libfuzzer_sys::fuzz_target;

fn read<T: ApiRequest>(body: &[u8], strict: bool) {
    let _ = parse::<T>(body, strict);
    let _ = parse_optional::<T>(body, strict);
    let _ = parse_required::<T>(body, strict);
    let _ = expect_empty(body);
}

fn stream(config: StreamConfig, pedantic: bool) {
    let account = AccountLimits::default();
    let facts = StreamFacts {
        account: &account,
        max_duplicates: 0,
        stream: &|_| None,
    };
    let _ = stream_config::check_create(&config);
    let Ok(config) = stream_config::normalize(config, pedantic, &facts) else {
        return;
    };
    let mut json = Vec::new();
    to_json(&config, &mut json);
    let again: Result<StreamConfig, _> = from_json(&json, "", Rules::Lenient);
    assert_eq!(again.as_ref(), Ok(&config));
    let _ = stream_config::check_update(&config.clone(), config);
}

fn consumer(config: ConsumerConfig, pedantic: bool) {
    let stream = StreamConfig::default();
    let facts = ConsumerFacts {
        stream: &stream,
        server_max_ack_pending: 0,
        account_max_ack_pending: 0,
        max_request_batch: 0,
    };
    let Ok(config) = consumer_config::normalize(config, pedantic, &facts) else {
        return;
    };
    let mut json = Vec::new();
    to_json(&config, &mut json);
    let again: Result<ConsumerConfig, _> = from_json(&json, "", Rules::Lenient);
    assert_eq!(again.as_ref(), Ok(&config));
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let strict = choice & 0x80 != 0;
    match choice & 0x7f {
        0 | b'S' => {
            if let Ok(request) = parse::<StreamConfigRequest>(body, strict) {
                stream(request.config, request.pedantic);
            }
        }
        1 | b'C' => {
            if let Ok(request) = parse::<CreateConsumerRequest>(body, strict) {
                consumer(request.config, request.pedantic);
            }
        }
        2 => read::<StreamNamesRequest>(body, strict),
        3 => read::<StreamListRequest>(body, strict),
        4 => read::<StreamInfoRequest>(body, strict),
        5 => read::<StreamPurgeRequest>(body, strict),
        6 | b'M' => {
            read::<MsgGetRequest>(body, strict);
            let _ = MsgGetRequest::parse_direct(body);
        }
        7 => read::<MsgDeleteRequest>(body, strict),
        8 => read::<StreamSnapshotRequest>(body, strict),
        9 => read::<StreamRestoreRequest>(body, strict),
        10 => read::<LeaderStepDownRequest>(body, strict),
        11 => read::<PeerRequest>(body, strict),
        12 => read::<ConsumersRequest>(body, strict),
        13 => read::<ConsumerPauseRequest>(body, strict),
        14 => drop(ConsumerUnpinRequest::parse(body)),
        15 => drop(ConsumerResetRequest::parse(body)),
        _ => drop(PullRequest::parse(body)),
    }
});
