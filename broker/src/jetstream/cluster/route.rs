//! Which node answers a request: the leader of all nodes for what concerns the cluster, the leader of a stream's group
//! for what concerns the stream. A request that came to another node goes there and its answer comes back, so that
//! there is one answer. While nobody leads it waits a moment, and is refused then.

use bytes::Bytes;
use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::responses::{self as r, ApiResponse, encode};

use super::asked::Asked;
use super::wire::Say;
use crate::jetstream::api::Call;
use crate::jetstream::api::answer::Request;
use crate::jetstream::api::router::{path_of, route};
use crate::jetstream::core::Core;
use crate::jetstream::io::{Lane, NodeId, Outbox, Outgoing, Timestamp};
use crate::jetstream::replica::META;

/// Nanoseconds that a request waits for a leader.
const PATIENCE: i64 = 2_000_000_000;
/// Most requests that wait.
const WAITING: usize = 10_000;
/// How often a request is passed on.
const HOPS: u8 = 3;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Errand {
    asked: Asked,
    hops: u8,
    /// A configuration that the stream's leader found good.
    config: Vec<u8>,
    until: Timestamp,
}

/// Requests that wait for a leader.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    errands: Vec<Errand>,
}

impl Waiting {
    /// Keeps a request until somebody leads. One too many is dropped.
    pub(crate) fn push(&mut self, asked: Asked, hops: u8, config: Vec<u8>, now: Timestamp) {
        if self.errands.len() < WAITING {
            self.errands.push(Errand {
                asked,
                hops,
                config,
                until: now.saturating_add(PATIENCE),
            });
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This node.
    Here,
    /// Another one.
    There(NodeId),
    /// Whoever is going to lead.
    Later,
    /// Nobody: the only node that has the stream is away.
    Away,
}

impl Core {
    /// A request of this node's own client.
    pub(crate) fn route_request(
        &mut self,
        request: &Request,
        headers: &[u8],
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let asked = Asked::of(request, headers, self.node, out);
        self.dispatch(asked, 0, Vec::new(), now, out);
    }

    /// Another node's core says something that is not consensus.
    pub(crate) fn hear_say(
        &mut self,
        from: NodeId,
        frame: &Bytes,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Ok(said) = Say::decode(frame) else {
            return;
        };
        if matches!(said, Say::State(_) | Say::Welcome { .. } | Say::Gone { .. }) {
            // It may be what was waited for.
            self.cluster.look = Some(now);
        }
        match said {
            Say::State(state) => self.hear_state(from, state, out),
            Say::Welcome { cluster } => self.hear_welcome(cluster, out),
            Say::Request {
                hops,
                config,
                asked,
            } => self.dispatch(asked, hops, config, now, out),
            Say::Answer {
                account,
                reply,
                headers,
                body,
            } => {
                out.publish(Outgoing {
                    account,
                    route: &reply,
                    subject: &reply,
                    reply: &[],
                    headers: &headers,
                    payload: &body,
                });
            }
            Say::Leads(groups) => {
                for (group, term) in groups {
                    let known = self.cluster.leaders.get(&group);
                    if known.is_none_or(|(_, old)| *old <= term) {
                        self.cluster.leaders.insert(group, (from, term));
                    }
                    self.cluster.creating.remove(&group);
                }
                self.retry_waiting(now, out);
            }
            Say::Gone { group } => self.hear_gone(group, now, out),
            Say::Ask { id, account, names } => {
                let body = self.tell(account, &names, now);
                out.send(from, Lane::Main, &Say::Tell { id, body }.encode());
            }
            Say::Tell { id, body } => self.hear_tell(id, from, &body, now, out),
            Say::Found(found) => self.hear_found(from, &found, now, out),
            Say::Taken { group } => self.hear_taken(group, now, out),
            Say::WantState { group } => self.give_state(from, group, out),
            Say::HaveState { group, body } => self.take_state(group, &body, now, out),
        }
    }

    /// Brings a request to the node that answers it.
    pub(crate) fn dispatch(
        &mut self,
        asked: Asked,
        hops: u8,
        config: Vec<u8>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let subject = String::from_utf8_lossy(&asked.subject).into_owned();
        let Some(path) = path_of(&self.settings, &subject) else {
            return;
        };
        let tokens: Vec<&str> = path.split('.').collect();
        match self.place_of(&tokens, asked.account, !config.is_empty()) {
            Place::Here => self.answer_here(path, &asked, config, now, out),
            Place::There(node) if hops < HOPS => {
                let said = Say::Request {
                    hops: hops + 1,
                    config,
                    asked,
                };
                out.send(node, Lane::Main, &said.encode());
            }
            Place::Away => refuse(self, path, &asked, ApiError::stream_offline(), now, out),
            Place::There(_) | Place::Later => {
                self.cluster.waiting.push(asked, hops, config, now);
            }
        }
    }

    fn answer_here(
        &mut self,
        path: &str,
        asked: &Asked,
        config: Vec<u8>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let mut call = Call::of(self, asked, now, out);
        call.approved = config;
        route(path, call);
    }

    /// Tries the requests again that wait, and refuses those that have waited too long.
    pub(crate) fn retry_waiting(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let errands = std::mem::take(&mut self.cluster.waiting.errands);
        for errand in errands {
            let Errand {
                asked,
                hops,
                config,
                until,
            } = errand;
            let subject = String::from_utf8_lossy(&asked.subject).into_owned();
            let Some(path) = path_of(&self.settings, &subject) else {
                continue;
            };
            let tokens: Vec<&str> = path.split('.').collect();
            let place = self.place_of(&tokens, asked.account, !config.is_empty());
            if place != Place::Later {
                self.dispatch(asked, hops, config, now, out);
            } else if until > now {
                self.cluster.waiting.errands.push(Errand {
                    asked,
                    hops,
                    config,
                    until,
                });
            } else if matches!(tokens[..], ["STREAM", "INFO", _])
                && self.has_stream(&asked, &tokens)
            {
                // What this node has is told, without a leader.
                self.answer_here(path, &asked, Vec::new(), now, out);
            } else {
                let error = ApiError::cluster_not_available();
                refuse(self, path, &asked, error, now, out);
            }
        }
    }

    fn has_stream(&self, asked: &Asked, tokens: &[&str]) -> bool {
        let name = tokens.last().copied().unwrap_or_default();
        self.streams.id(asked.account, name).is_some()
    }

    fn place_of(&self, tokens: &[&str], account: u32, approved: bool) -> Place {
        match *tokens {
            ["STREAM", "CREATE", s] if self.cluster.meta.get(account, s).is_some() => {
                self.place_of_stream(account, s)
            }
            ["STREAM", "UPDATE", _] if approved => self.place_of_meta(),
            [
                "STREAM",
                "CREATE" | "DELETE" | "NAMES" | "LIST" | "RESTORE",
                ..,
            ]
            | ["STREAM", "PEER", ..]
            | ["INFO" | "META" | "SERVER" | "ACCOUNT", ..] => self.place_of_meta(),
            ["STREAM", "MSG", _, s]
            | ["STREAM", "LEADER", _, s]
            | ["STREAM", _, s]
            | ["CONSUMER", "DURABLE", _, s, _]
            | ["CONSUMER", "LEADER" | "PEER", _, s, _]
            | ["CONSUMER", _, s, ..] => self.place_of_stream(account, s),
            _ => Place::Here,
        }
    }

    fn place_of_meta(&self) -> Place {
        let Some(meta) = self.log.replicas.get(META) else {
            return Place::Later;
        };
        let standing = &meta.standing;
        match standing.leader {
            Some(_) if standing.serving => Place::Here,
            Some(leader) if leader != self.node && self.cluster.near.contains_key(&leader) => {
                Place::There(leader)
            }
            _ => Place::Later,
        }
    }

    fn place_of_stream(&self, account: u32, name: &str) -> Place {
        let me = self.node;
        let Some(one) = self.cluster.meta.get(account, name) else {
            // The leader of all knows whether there is none.
            return match self.place_of_meta() {
                Place::Here
                    if self
                        .cluster
                        .proposed
                        .contains_key(&(account, name.to_owned())) =>
                {
                    Place::Later
                }
                place => place,
            };
        };
        let id = self.streams.id(account, name);
        let stream = id.and_then(|id| self.streams.get(id));
        if stream.is_some_and(|stream| stream.decides() && self.serves(stream.group)) {
            return Place::Here;
        }
        if let [owner] = one.peers[..] {
            return match owner {
                _ if owner == me => Place::Away,
                _ if self.cluster.near.contains_key(&owner) => Place::There(owner),
                _ => Place::Away,
            };
        }
        match self.cluster.leader_of(me, one.group) {
            Some(leader) if leader != me => Place::There(leader),
            _ => Place::Later,
        }
    }

    fn serves(&self, group: Option<u64>) -> bool {
        let replica = group.and_then(|group| self.log.replicas.get(group));
        replica.is_none_or(|replica| replica.standing.serving)
    }
}

/// Answers a request with an error, in the form of its own answers.
pub(crate) fn refuse(
    core: &mut Core,
    path: &str,
    asked: &Asked,
    error: ApiError,
    now: Timestamp,
    out: &mut dyn Outbox,
) {
    let tokens: Vec<&str> = path.split('.').collect();
    let body = error_body(&tokens, error);
    core.account(asked.account).api_errors += 1;
    asked
        .request()
        .answer(&body, now, &core.settings, core.node, out);
}

fn error_body(tokens: &[&str], error: ApiError) -> Vec<u8> {
    fn of<T: ApiResponse>(error: ApiError) -> Vec<u8> {
        let mut body = Vec::new();
        encode::<T>(&Err(error), &mut body);
        body
    }
    match *tokens {
        ["STREAM", "CREATE", ..] => of::<r::StreamCreateResponse>(error),
        ["STREAM", "UPDATE", ..] => of::<r::StreamUpdateResponse>(error),
        ["STREAM", "NAMES"] => of::<r::StreamNamesResponse>(error),
        ["STREAM", "LIST"] => of::<r::StreamListResponse>(error),
        ["STREAM", "INFO", ..] => of::<r::StreamInfoResponse>(error),
        ["STREAM", "DELETE", ..] => of::<r::StreamDeleteResponse>(error),
        ["STREAM", "PURGE", ..] => of::<r::StreamPurgeResponse>(error),
        ["STREAM", "MSG", "GET", ..] => of::<r::MsgGetResponse>(error),
        ["STREAM", "MSG", ..] => of::<r::MsgDeleteResponse>(error),
        ["STREAM", "LEADER", ..] => of::<r::StreamStepDownResponse>(error),
        ["STREAM", "PEER", ..] => of::<r::StreamRemovePeerResponse>(error),
        ["CONSUMER", "NAMES", ..] => of::<r::ConsumerNamesResponse>(error),
        ["CONSUMER", "LIST", ..] => of::<r::ConsumerListResponse>(error),
        ["CONSUMER", "INFO", ..] => of::<r::ConsumerInfoResponse>(error),
        ["CONSUMER", "DELETE", ..] => of::<r::ConsumerDeleteResponse>(error),
        ["CONSUMER", "PAUSE", ..] => of::<r::ConsumerPauseResponse>(error),
        ["CONSUMER", "UNPIN", ..] => of::<r::ConsumerUnpinResponse>(error),
        ["CONSUMER", "LEADER", ..] => of::<r::ConsumerStepDownResponse>(error),
        ["CONSUMER", ..] => of::<r::ConsumerCreateResponse>(error),
        _ => of::<r::AccountInfoResponse>(error),
    }
}
