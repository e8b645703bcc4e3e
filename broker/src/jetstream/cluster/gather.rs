//! Questions that every node has to answer for itself: what an account uses, and what streams are like. The leader of
//! all nodes asks, adds up what comes, and answers when everybody has, or after a while without the rest.

use std::collections::{BTreeMap, BTreeSet};

use jetwake_protocol::jetstream::API_LEVEL;
use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::account::{AccountInfo, AccountLimits, AccountTier, ApiStats};
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::requests::{StreamListRequest, parse_optional};
use jetwake_protocol::jetstream::responses::{AccountInfoResponse, StreamListResponse, encode};
use jetwake_protocol::jetstream::stream_config;
use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::wire::Say;
use crate::jetstream::api::{Call, Outcome, page};
use crate::jetstream::core::Core;
use crate::jetstream::io::{AccountId, Lane, NodeId, Outbox, Timestamp};

/// Nanoseconds after which an answer goes without those that said nothing.
const PATIENCE: i64 = 4_000_000_000;
/// Streams in one response.
const STREAMS: usize = 256;

/// What a node says about itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Told {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    consumers: u64,
    api_total: u64,
    api_errors: u64,
    /// Streams that it decides on: their infos as JSON.
    streams: BTreeMap<String, String>,
}

/// A question under way.
#[derive(Debug)]
struct Gather {
    id: u64,
    asked: Asked,
    /// Of a list: its names, how many there are in all, and from where these are.
    list: Option<(Vec<String>, u64, u64)>,
    silent: BTreeSet<NodeId>,
    told: Vec<Told>,
    until: Timestamp,
}

/// Questions to all nodes.
#[derive(Debug, Default)]
pub(crate) struct Gathers {
    open: Vec<Gather>,
    last_id: u64,
}

impl Call<'_> {
    /// INFO, at the leader of all nodes.
    pub(crate) fn account_in_cluster(&mut self) -> Result<Outcome<AccountInfoResponse>, ApiError> {
        self.gather(None);
        Ok(Outcome::Queued)
    }

    /// STREAM.LIST, at the leader of all nodes.
    pub(crate) fn list_in_cluster(&mut self) -> Result<Outcome<StreamListResponse>, ApiError> {
        let request: StreamListRequest = parse_optional(self.body, self.core.settings.strict)?;
        let wanted = &request.subject;
        let streams = self.core.cluster.meta.of(self.account);
        let matching = streams
            .filter(|one| wanted.is_empty() || stream_config::overlaps_any(&one.config, wanted));
        let names: Vec<String> = matching.map(|one| one.config.name.clone()).collect();
        let range = page(request.offset, names.len(), STREAMS);
        let shown = names.get(range.clone()).unwrap_or(&[]).to_vec();
        self.gather(Some((shown, names.len() as u64, range.start as u64)));
        Ok(Outcome::Queued)
    }

    fn gather(&mut self, list: Option<(Vec<String>, u64, u64)>) {
        let asked = self.take_asked();
        let (account, now) = (self.account, self.now);
        let names = list.as_ref().map_or(&[][..], |(names, ..)| names);
        let gathers = &mut self.core.cluster.gathers;
        gathers.last_id += 1;
        let id = gathers.last_id;
        let own = self.core.tell(account, names, now);
        let ask = Say::Ask {
            id,
            account,
            names: names.to_vec(),
        };
        let frame = ask.encode();
        let near = self.core.cluster.near.values();
        let near = near.filter(|one| one.peer.jetstream);
        let silent: BTreeSet<NodeId> = near.map(|one| one.peer.id).collect();
        for node in &silent {
            self.out.send(*node, Lane::Main, &frame);
        }
        self.core.cluster.gathers.open.push(Gather {
            id,
            asked,
            list,
            silent,
            told: Vec::new(),
            until: now.saturating_add(PATIENCE),
        });
        let me = self.core.node;
        self.core.hear_tell(id, me, &own, now, self.out);
    }
}

impl Core {
    /// What this node says when it is asked.
    pub(crate) fn tell(&mut self, account: AccountId, names: &[String], now: Timestamp) -> Vec<u8> {
        let used = *self.account(account);
        let mut told = Told {
            memory: used.memory,
            storage: used.storage,
            reserved_memory: used.reserved_memory,
            reserved_storage: used.reserved_storage,
            api_total: used.api_total,
            api_errors: used.api_errors,
            ..Told::default()
        };
        for stream in self.streams.of(account).filter(|one| one.decides()) {
            told.consumers += stream.consumers.visible() as u64;
        }
        for name in names {
            let id = self.streams.id(account, name);
            let Some(stream) = id.and_then(|id| self.streams.get(id)) else {
                continue;
            };
            if !stream.decides() {
                continue;
            }
            let mut info = stream.info(now);
            info.domain = self.settings.domain.clone().unwrap_or_default();
            info.cluster = stream.group.and_then(|group| self.cluster_info(group, now));
            let mut json = Vec::new();
            to_json(&info, &mut json);
            let json = String::from_utf8_lossy(&json).into_owned();
            told.streams.insert(name.clone(), json);
        }
        // Numbers and texts always have a JSON form.
        serde_json::to_vec(&told).unwrap_or_default()
    }

    /// A node has answered.
    pub(crate) fn hear_tell(
        &mut self,
        id: u64,
        from: NodeId,
        body: &[u8],
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Some(gather) = self
            .cluster
            .gathers
            .open
            .iter_mut()
            .find(|one| one.id == id)
        else {
            return;
        };
        gather.silent.remove(&from);
        gather
            .told
            .extend(serde_json::from_slice::<Told>(body).ok());
        self.end_gathers(now, out);
    }

    /// Answers what everybody has spoken to, or what has waited long enough.
    pub(crate) fn end_gathers(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let open = std::mem::take(&mut self.cluster.gathers.open);
        for gather in open {
            let near = &self.cluster.near;
            let waits = gather.silent.iter().any(|node| near.contains_key(node));
            if waits && gather.until > now {
                self.cluster.gathers.open.push(gather);
                continue;
            }
            self.account(gather.asked.account).api_total += 1;
            let body = match &gather.list {
                None => self.account_body(&gather),
                Some((names, total, offset)) => list_body(&gather, names, *total, *offset),
            };
            let request = gather.asked.request();
            request.answer(&body, now, &self.settings, self.node, out);
        }
    }

    fn account_body(&self, gather: &Gather) -> Vec<u8> {
        let sum = |part: fn(&Told) -> u64| gather.told.iter().map(part).sum();
        let streams = self.cluster.meta.of(gather.asked.account);
        let info = AccountInfo {
            tier: AccountTier {
                memory: sum(|one| one.memory),
                store: sum(|one| one.storage),
                reserved_memory: sum(|one| one.reserved_memory),
                reserved_store: sum(|one| one.reserved_storage),
                streams: streams.count() as u64,
                consumers: sum(|one| one.consumers),
                limits: AccountLimits::UNLIMITED,
            },
            domain: self.settings.domain.clone().unwrap_or_default(),
            api: ApiStats {
                level: API_LEVEL,
                total: sum(|one| one.api_total),
                errors: sum(|one| one.api_errors),
                inflight: 0,
            },
            ..AccountInfo::default()
        };
        let mut body = Vec::new();
        encode(&Ok(AccountInfoResponse { info: Some(info) }), &mut body);
        body
    }
}

fn list_body(gather: &Gather, names: &[String], total: u64, offset: u64) -> Vec<u8> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        let info = gather.told.iter().find_map(|told| told.streams.get(name));
        match info {
            Some(info) => found.push(info.as_str()),
            None => missing.push(name.clone()),
        }
    }
    let response = StreamListResponse {
        total,
        offset,
        limit: STREAMS as u64,
        missing,
        ..StreamListResponse::default()
    };
    let mut body = Vec::new();
    encode(&Ok(response), &mut body);
    // The infos are JSON already.
    let text = String::from_utf8_lossy(&body);
    let streams = format!("\"streams\":[{}]", found.join(","));
    text.replacen("\"streams\":[]", &streams, 1).into_bytes()
}
