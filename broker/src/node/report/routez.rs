//! `/routez`: connections to the other servers of the cluster.

// Monitoring shows the machine's time.
#![allow(clippy::disallowed_methods)]

use std::time::SystemTime;

use super::connz::{active, rtt_text};
use super::{elapsed, rfc3339};
use crate::mesh::LinkReport;
use crate::monitor::report::Route;
use crate::server::Shared;

pub(super) fn route(shared: &Shared, link: LinkReport) -> Route {
    let now = SystemTime::now();
    let active = active(shared, link.last_activity);
    Route {
        rid: link.rid,
        remote_id: link.remote_id,
        remote_name: link.remote_name,
        did_solicit: link.solicited,
        is_configured: link.configured,
        ip: link.address.ip().to_string(),
        port: link.address.port(),
        start: rfc3339(link.started),
        last_activity: rfc3339(active),
        rtt: rtt_text(link.rtt),
        uptime: elapsed(link.started, now),
        idle: elapsed(active, now),
        pending_size: link.pending,
        in_msgs: link.inbound.msgs,
        out_msgs: link.outbound.msgs,
        in_bytes: link.inbound.bytes,
        out_bytes: link.outbound.bytes,
        subscriptions: link.subscriptions,
        compression: "off",
    }
}
