//! From an API subject to its handler.
//!
//! Subjects that are none stay unanswered, which is why the listeners cover them: without a listener the client
//! would be told that nobody is there.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::responses as r;

use crate::jetstream::Core;
use crate::jetstream::api::answer::Request;
use crate::jetstream::api::{Call, Outcome, level_too_high};
use crate::jetstream::io::{Inbound, Outbox, Outgoing, Timestamp};
use crate::jetstream::settings::Settings;

/// What the API listens to below a prefix. Disjoint, and without the subjects that belong to live streams and
/// consumers (direct gets, pull requests), where nobody listens if there is none.
pub(crate) fn patterns() -> &'static [&'static str] {
    &[
        "*",
        "STREAM.>",
        "CONSUMER.*",
        "CONSUMER.*.*",
        "CONSUMER.*.*.*",
        "CONSUMER.CREATE.*.*.>",
        "CONSUMER.DURABLE.CREATE.*.*",
        "CONSUMER.LEADER.STEPDOWN.*.*",
        "CONSUMER.PEER.*.*.*",
        "META.>",
        "SERVER.>",
        "ACCOUNT.>",
    ]
}

impl Core {
    /// Answers a request, unless it is none.
    pub(crate) fn api(&mut self, message: &Inbound<'_>, now: Timestamp, out: &mut dyn Outbox) {
        let Ok(subject) = std::str::from_utf8(message.subject) else {
            return;
        };
        let Some(path) = path_of(&self.settings, subject) else {
            return;
        };
        if path.starts_with("$KV.") || path.starts_with("$O.") {
            return forward(path, message, out);
        }
        if self.in_cluster() {
            let request = Request::new(message);
            return self.route_request(&request, message.headers, now, out);
        }
        let call = Call {
            core: self,
            now,
            out,
            account: message.account,
            headers: message.headers,
            body: message.payload,
            request: Some(Box::new(Request::new(message))),
            about: Default::default(),
            approved: Vec::new(),
        };
        route(path, call);
    }
}

/// What follows the API prefix in a subject.
pub(crate) fn path_of<'s>(settings: &Settings, subject: &'s str) -> Option<&'s str> {
    let mut prefixes = settings.api_prefixes();
    prefixes.find_map(|prefix| subject.strip_prefix(prefix.as_str())?.strip_prefix('.'))
}

/// Clients that reach a domain publish to its buckets below the API prefix.
fn forward(path: &str, message: &Inbound<'_>, out: &mut dyn Outbox) {
    out.publish(Outgoing {
        account: message.account,
        route: path.as_bytes(),
        subject: path.as_bytes(),
        reply: message.reply,
        headers: message.headers,
        payload: message.payload,
    });
}

macro_rules! answer {
    ($call:ident, $response:ty, $handler:expr) => {{
        let mut call = $call;
        let result: Result<Outcome<$response>, ApiError> = match call.admit() {
            Ok(()) => $handler(&mut call),
            Err(error) => Err(error),
        };
        call.finish(result)
    }};
}

/// Hands a request to its handler.
pub(crate) fn route(path: &str, call: Call<'_>) {
    let tokens: Vec<&str> = path.split('.').collect();
    let Some(call) = route_in_cluster(&tokens, call) else {
        return;
    };
    match tokens.as_slice() {
        ["INFO"] => answer!(call, r::AccountInfoResponse, |call: &mut Call<'_>| call
            .account_info()),
        ["STREAM", rest @ ..] => route_stream(rest, call),
        ["CONSUMER", rest @ ..] => route_consumer(rest, call),
        _ => {}
    }
}

/// What a cluster decides together, and what only clusters know. Gives everything else back.
fn route_in_cluster<'c>(tokens: &[&str], call: Call<'c>) -> Option<Call<'c>> {
    type C<'a, 'b> = &'a mut Call<'b>;
    if !call.core.in_cluster() {
        return Some(call);
    }
    match *tokens {
        ["INFO"] => answer!(call, r::AccountInfoResponse, |c: C<'_, '_>| c
            .account_in_cluster()),
        // Its leader compares the two configurations.
        ["STREAM", "CREATE", s] if call.core.cluster.meta.get(call.account, s).is_some() => {
            return Some(call);
        }
        ["STREAM", "CREATE", s] => answer!(call, r::StreamCreateResponse, |c: C<'_, '_>| c
            .create_in_cluster(s)),
        ["STREAM", "UPDATE", s] if !call.approved.is_empty() => {
            answer!(call, r::StreamUpdateResponse, |c: C<'_, '_>| c
                .update_in_cluster(s))
        }
        ["STREAM", "DELETE", s] => answer!(call, r::StreamDeleteResponse, |c: C<'_, '_>| c
            .delete_in_cluster(s)),
        ["STREAM", "NAMES"] => answer!(call, r::StreamNamesResponse, |c: C<'_, '_>| c
            .names_in_cluster()),
        ["STREAM", "LIST"] => answer!(call, r::StreamListResponse, |c: C<'_, '_>| c
            .list_in_cluster()),
        ["STREAM", "LEADER", "STEPDOWN", s] => {
            answer!(call, r::StreamStepDownResponse, |c: C<'_, '_>| c
                .step_down(s))
        }
        ["STREAM", "PEER", "REMOVE", s] => {
            answer!(call, r::StreamRemovePeerResponse, |c: C<'_, '_>| c
                .remove_peer(s))
        }
        ["CONSUMER", "LEADER", "STEPDOWN", s, name] => {
            answer!(call, r::ConsumerStepDownResponse, |c: C<'_, '_>| c
                .step_consumer_down(s, name))
        }
        // What is not built for clusters says so.
        ["STREAM", "PEER" | "CANCEL_MOVE", ..] | ["CONSUMER", "PEER", ..] => {
            answer!(call, r::StreamRemovePeerResponse, |_: C<'_, '_>| {
                Err(ApiError::cluster_unsupported_feature())
            })
        }
        _ => return Some(call),
    }
    None
}

fn route_stream(tokens: &[&str], call: Call<'_>) {
    type C<'a, 'b> = &'a mut Call<'b>;
    match *tokens {
        ["CREATE", s] => answer!(call, r::StreamCreateResponse, |c: C<'_, '_>| c
            .create_stream(s)),
        ["UPDATE", s] => answer!(call, r::StreamUpdateResponse, |c: C<'_, '_>| c
            .update_stream(s)),
        ["NAMES"] => answer!(call, r::StreamNamesResponse, |c: C<'_, '_>| c
            .stream_names()),
        ["LIST"] => answer!(call, r::StreamListResponse, |c: C<'_, '_>| c.stream_list()),
        ["INFO", s] => answer!(call, r::StreamInfoResponse, |c: C<'_, '_>| c.stream_info(s)),
        ["DELETE", s] => answer!(call, r::StreamDeleteResponse, |c: C<'_, '_>| c
            .delete_stream(s)),
        ["PURGE", s] => answer!(call, r::StreamPurgeResponse, |c: C<'_, '_>| c
            .purge_stream(s)),
        ["MSG", "GET", s] => {
            let mut call = call;
            let result = call.admit().and_then(|()| call.get_message(s));
            call.finish_uncounted(result);
        }
        ["MSG", "DELETE", s] => {
            answer!(call, r::MsgDeleteResponse, |c: C<'_, '_>| c
                .delete_message(s))
        }
        ["SNAPSHOT", s] => {
            answer!(call, r::StreamSnapshotResponse, |c: C<'_, '_>| c
                .snapshot_stream(s))
        }
        ["RESTORE", s] => {
            answer!(call, r::StreamRestoreResponse, |c: C<'_, '_>| c
                .restore_stream(s))
        }
        ["LEADER", "STEPDOWN", _] => {
            answer!(call, r::StreamStepDownResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        ["PEER", "REMOVE", _] => {
            answer!(call, r::StreamRemovePeerResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        ["PEER", "EVACUATE", _] => {
            answer!(call, r::StreamEvacuatePeerResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        ["CANCEL_MOVE", _] => {
            answer!(call, r::StreamCancelMoveResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        _ => {}
    }
}

fn route_consumer(tokens: &[&str], call: Call<'_>) {
    type C<'a, 'b> = &'a mut Call<'b>;
    match *tokens {
        ["CREATE", s] => {
            answer!(call, r::ConsumerCreateResponse, |c: C<'_, '_>| c
                .create_consumer(s, None, None))
        }
        ["CREATE", s, name] => answer!(call, r::ConsumerCreateResponse, |c: C<'_, '_>| {
            c.create_consumer(s, Some(name), None)
        }),
        ["CREATE", s, name, ref filter @ ..] => {
            let filter = filter.join(".");
            answer!(call, r::ConsumerCreateResponse, |c: C<'_, '_>| {
                c.create_consumer(s, Some(name), Some(&filter))
            })
        }
        ["DURABLE", "CREATE", s, name] => {
            answer!(call, r::ConsumerCreateResponse, |c: C<'_, '_>| c
                .create_durable(s, name))
        }
        ["NAMES", s] => {
            answer!(call, r::ConsumerNamesResponse, |c: C<'_, '_>| c
                .consumer_names(s))
        }
        ["LIST", s] => answer!(call, r::ConsumerListResponse, |c: C<'_, '_>| c
            .consumer_list(s)),
        ["INFO", s, name] => {
            answer!(call, r::ConsumerInfoResponse, |c: C<'_, '_>| c
                .consumer_info(s, name))
        }
        ["DELETE", s, name] => {
            answer!(call, r::ConsumerDeleteResponse, |c: C<'_, '_>| c
                .delete_consumer(s, name))
        }
        ["PAUSE", s, name] => {
            answer!(call, r::ConsumerPauseResponse, |c: C<'_, '_>| c
                .pause_consumer(s, name))
        }
        ["UNPIN", s, name] => {
            answer!(call, r::ConsumerUnpinResponse, |c: C<'_, '_>| c
                .unpin_consumer(s, name))
        }
        // This one belongs to the live consumer: where there is none, nobody answers.
        ["RESET", s, name] if call.consumer_id(s, name).is_ok() => {
            let mut call = call;
            let result = call.admit().and_then(|()| call.reset_consumer(s, name));
            call.finish_unaudited(result);
        }
        ["LEADER", "STEPDOWN", _, _] => {
            answer!(call, r::ConsumerStepDownResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        ["PEER", "REMOVE", _, _] => {
            answer!(call, r::ConsumerRemovePeerResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        ["PEER", "EVACUATE", _, _] => {
            answer!(call, r::ConsumerEvacuatePeerResponse, |_: C<'_, '_>| {
                not_clustered()
            })
        }
        _ => {}
    }
}

fn not_clustered<T>() -> Result<Outcome<T>, ApiError> {
    Err(ApiError::cluster_required())
}

impl Call<'_> {
    /// What is checked before any handler runs.
    fn admit(&self) -> Result<(), ApiError> {
        if level_too_high(self.headers) {
            return Err(ApiError::required_api_level());
        }
        if self.core.log.failed {
            return Err(ApiError::insufficient_resources());
        }
        Ok(())
    }
}
