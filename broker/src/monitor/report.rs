//! The bodies of the monitoring endpoints: field names, order and omit rules of nats-server.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::jetstream::MetaCluster;

/// A block that is there but empty: this server has none of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Empty {}

/// `/varz`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Varz {
    pub(crate) server_id: String,
    pub(crate) server_name: String,
    pub(crate) version: String,
    pub(crate) proto: u32,
    pub(crate) git_commit: String,
    pub(crate) go: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) auth_required: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) connect_urls: Vec<String>,
    pub(crate) max_connections: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) max_subscriptions: usize,
    pub(crate) ping_interval: u64,
    pub(crate) ping_max: u32,
    pub(crate) http_host: String,
    pub(crate) http_port: i32,
    pub(crate) http_base_path: String,
    pub(crate) https_port: u16,
    pub(crate) auth_timeout: f64,
    pub(crate) max_control_line: usize,
    pub(crate) max_payload: usize,
    pub(crate) max_pending: usize,
    pub(crate) cluster: VarzCluster,
    pub(crate) gateway: Empty,
    pub(crate) leaf: Empty,
    pub(crate) mqtt: Empty,
    pub(crate) websocket: Empty,
    pub(crate) jetstream: VarzJetStream,
    pub(crate) tls_timeout: f64,
    pub(crate) write_deadline: u64,
    pub(crate) start: String,
    pub(crate) now: String,
    pub(crate) uptime: String,
    pub(crate) mem: u64,
    pub(crate) cores: usize,
    pub(crate) gomaxprocs: usize,
    pub(crate) cpu: f64,
    pub(crate) connections: usize,
    pub(crate) total_connections: u64,
    pub(crate) routes: usize,
    pub(crate) remotes: usize,
    pub(crate) leafnodes: u32,
    pub(crate) in_msgs: u64,
    pub(crate) in_bytes: u64,
    pub(crate) in_client_msgs: u64,
    pub(crate) in_client_bytes: u64,
    pub(crate) out_msgs: u64,
    pub(crate) out_bytes: u64,
    pub(crate) out_client_msgs: u64,
    pub(crate) out_client_bytes: u64,
    pub(crate) slow_consumers: u64,
    pub(crate) stale_connections: u64,
    pub(crate) stalled_clients: u64,
    pub(crate) subscriptions: usize,
    pub(crate) http_req_stats: BTreeMap<String, u64>,
    pub(crate) config_load_time: String,
    pub(crate) config_digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    pub(crate) feature_flags: BTreeMap<&'static str, bool>,
    pub(crate) system_account: String,
    pub(crate) slow_consumer_stats: KindCounts,
    pub(crate) stale_connection_stats: KindCounts,
    pub(crate) disk_io_wait_stats: DiskWaits,
}

/// The `cluster` block of `/varz`, `{}` without a cluster.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct VarzCluster {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) addr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_timeout: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_timeout: Option<f64>,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub(crate) pool_size: i64,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub(crate) write_deadline: u64,
}

/// Waits for one of the slots that nats-server gives out for disk work. This server has no such slots: nobody
/// waits.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct DiskWaits {
    pub(crate) waiters: u64,
    pub(crate) waits: u64,
    pub(crate) wait_time: u64,
    pub(crate) max_wait_time: u64,
}

/// Counters by kind of connection.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct KindCounts {
    pub(crate) clients: u64,
    pub(crate) routes: u64,
    pub(crate) gateways: u64,
    pub(crate) leafs: u64,
}

/// The `jetstream` block of `/varz`, `{}` when it is off.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct VarzJetStream {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<JetStreamConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<JetStreamStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<JetStreamLimits>,
}

/// How JetStream is configured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct JetStreamConfig {
    pub(crate) max_memory: u64,
    pub(crate) max_storage: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) store_dir: String,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub(crate) sync_interval: u64,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) sync_always: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) domain: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) strict: bool,
}

/// Limits of JetStream that are not endless.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JetStreamLimits {
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub(crate) max_request_batch: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub(crate) max_ack_pending: i64,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub(crate) max_duplicate_window: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) default_max_consumers: usize,
}

/// What JetStream uses.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct JetStreamStats {
    pub(crate) memory: u64,
    pub(crate) storage: u64,
    pub(crate) reserved_memory: u64,
    pub(crate) reserved_storage: u64,
    pub(crate) accounts: usize,
    pub(crate) ha_assets: u32,
    pub(crate) api: ApiStats,
}

/// Requests to the JetStream API.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ApiStats {
    pub(crate) level: u32,
    pub(crate) total: u64,
    pub(crate) errors: u64,
}

/// `/jsz`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Jsz {
    #[serde(flatten)]
    pub(crate) stats: JetStreamStats,
    pub(crate) server_id: String,
    pub(crate) now: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) disabled: bool,
    pub(crate) config: JetStreamConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<JetStreamLimits>,
    pub(crate) streams: usize,
    pub(crate) consumers: usize,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_cluster: Option<MetaCluster>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) account_details: Vec<AccountDetail>,
    pub(crate) total: usize,
}

/// One account in `/jsz`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct AccountDetail {
    pub(crate) name: String,
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) stats: JetStreamStats,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stream_detail: Vec<StreamDetail>,
}

/// One stream in `/jsz`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct StreamDetail {
    pub(crate) name: String,
    pub(crate) created: Value,
    pub(crate) cluster: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Value>,
    pub(crate) state: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) consumer_detail: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stream_raft_group: String,
}

/// `/connz`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Connz {
    pub(crate) server_id: String,
    pub(crate) now: String,
    pub(crate) num_connections: usize,
    pub(crate) total: usize,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
    pub(crate) connections: Vec<Connection>,
}

/// One connection in `/connz`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Connection {
    pub(crate) cid: u64,
    pub(crate) kind: String,
    #[serde(rename = "type")]
    pub(crate) transport: String,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) start: String,
    pub(crate) last_activity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stop: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) reason: &'static str,
    /// To sort by.
    #[serde(skip)]
    pub(crate) rtt_nanos: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rtt: String,
    pub(crate) uptime: String,
    pub(crate) idle: String,
    pub(crate) pending_bytes: usize,
    pub(crate) in_msgs: u64,
    pub(crate) out_msgs: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
    pub(crate) subscriptions: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) lang: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) authorized_user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscriptions_list: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscriptions_list_detail: Vec<SubDetail>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name_tag: String,
}

/// `/subsz`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Subsz {
    pub(crate) server_id: String,
    pub(crate) now: String,
    pub(crate) num_subscriptions: usize,
    pub(crate) num_cache: u64,
    pub(crate) num_inserts: u64,
    pub(crate) num_removes: u64,
    pub(crate) num_matches: u64,
    pub(crate) cache_hit_rate: f64,
    pub(crate) max_fanout: u64,
    pub(crate) avg_fanout: f64,
    pub(crate) total: usize,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscriptions_list: Vec<SubDetail>,
}

/// Who asks about the connections to other servers, and those of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    pub(crate) server_id: String,
    pub(crate) server_name: String,
    pub(crate) now: String,
    pub(crate) routes: Vec<Route>,
}

/// `/routez`: one entry a connection.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Routez {
    server_id: String,
    server_name: String,
    now: String,
    num_routes: usize,
    routes: Vec<Route>,
}

/// One connection to another server of the cluster.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Route {
    pub(crate) rid: u64,
    pub(crate) remote_id: String,
    pub(crate) remote_name: String,
    pub(crate) did_solicit: bool,
    pub(crate) is_configured: bool,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) start: String,
    pub(crate) last_activity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rtt: String,
    pub(crate) uptime: String,
    pub(crate) idle: String,
    pub(crate) pending_size: usize,
    pub(crate) in_msgs: u64,
    pub(crate) out_msgs: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
    pub(crate) subscriptions: usize,
    pub(crate) compression: &'static str,
}

/// `/leafz` of a server without leaf nodes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Leafz {
    server_id: String,
    now: String,
    leafnodes: u32,
    leafs: [Empty; 0],
}

/// `/gatewayz` of a server without gateways.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Gatewayz {
    server_id: String,
    now: String,
    outbound_gateways: Empty,
    inbound_gateways: Empty,
}

impl From<Peers> for Routez {
    fn from(peers: Peers) -> Self {
        Self {
            server_id: peers.server_id,
            server_name: peers.server_name,
            now: peers.now,
            num_routes: peers.routes.len(),
            routes: peers.routes,
        }
    }
}

impl From<Peers> for Leafz {
    fn from(peers: Peers) -> Self {
        Self {
            server_id: peers.server_id,
            now: peers.now,
            leafnodes: 0,
            leafs: [],
        }
    }
}

impl From<Peers> for Gatewayz {
    fn from(peers: Peers) -> Self {
        Self {
            server_id: peers.server_id,
            now: peers.now,
            outbound_gateways: Empty {},
            inbound_gateways: Empty {},
        }
    }
}

/// One subscription.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct SubDetail {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) account_tag: String,
    pub(crate) subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) qgroup: String,
    pub(crate) sid: String,
    pub(crate) msgs: u64,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub(crate) max: u64,
    pub(crate) cid: u64,
}

/// `/healthz`.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// All is well.
    Ok,
    /// Something is not, for this reason.
    Unavailable(String),
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

fn is_zero_i64(value: &i64) -> bool {
    *value == 0
}
