//! What this server says it is.

/// The nats-server version whose behaviour this server shows; clients gate features on it.
pub const CLAIMED: &str = "2.15.1";
/// The commit shown beside it.
pub const GIT_COMMIT: &str = "b2fd3ef";
/// The toolchain shown in INFO: some clients declare the field required.
pub const GO: &str = "go1.27.2";
/// This program's own version.
pub const OWN: &str = env!("CARGO_PKG_VERSION");

/// nats-server's feature flags as this server behaves: each at nats-server's default.
pub const FEATURE_FLAGS: [(&str, bool); 4] = [
    ("js_ack_fc_v2", false),
    ("js_api_reply_v2", false),
    ("js_raft_delete_range", true),
    ("js_snapshot_sources", false),
];
