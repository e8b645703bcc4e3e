//! `/connz` and `/subsz`: connections, open and closed, and what they listen to.

// Monitoring shows the machine's time.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, SystemTime};

use jetwake_protocol::{subject, time};

use super::{GLOBAL, elapsed, rfc3339};
use crate::monitor::report::{Connection as ConnectionReport, Connz, SubDetail, Subsz};
use crate::monitor::{ConnzQuery, Page, State, Subs, SubszQuery};
use crate::server::{ClientDetails, ClosedConnection, Connection, Shared, SubscriptionSummary};

pub(super) fn connz(shared: &Shared, query: &ConnzQuery) -> Connz {
    let mut connections = Vec::new();
    let mut total = 0;
    let (open, ended) = (shared.connections(), shared.closed_connections());
    // One that ends right now is in both lists for a moment. Once it was shown as closed it is not shown as open.
    let is_open = |connection: &Connection| {
        connection.closed().is_none() || ended.iter().rev().all(|other| other.id != connection.id)
    };
    if query.state != State::Closed {
        for connection in open.iter().filter(|connection| is_open(connection)) {
            let client = connection.client();
            total += usize::from(counts(&client, query));
            if shows(connection.id, &client, query) {
                connections.push(opened(shared, connection, client, query));
            }
        }
    }
    if query.state != State::Open {
        for connection in &ended {
            total += usize::from(counts(&connection.client, query));
            if shows(connection.id, &connection.client, query) {
                connections.push(closed(shared, connection, query));
            }
        }
    }
    sort(&mut connections, &query.sort);
    let page = cut(connections, query.page);
    Connz {
        server_id: shared.identity.id.clone(),
        now: rfc3339(SystemTime::now()),
        num_connections: page.len(),
        total,
        offset: query.page.offset,
        limit: query.page.limit,
        connections: page,
    }
}

/// Whether a connection is among those that are looked through: the total is the account's.
fn counts(client: &ClientDetails, query: &ConnzQuery) -> bool {
    query
        .account
        .as_ref()
        .is_none_or(|name| *name == client.account)
}

/// Whether a connection is shown. None has an MQTT client id.
fn shows(id: u64, client: &ClientDetails, query: &ConnzQuery) -> bool {
    counts(client, query)
        && query.cid.is_none_or(|cid| cid == id)
        && query.user.as_ref().is_none_or(|user| *user == client.user)
        && query.mqtt_client.is_none()
}

/// Lookups are remembered by each publisher for itself and not counted, so there is nothing to say about caches
/// and fan-out.
pub(super) fn subsz(shared: &Shared, query: &SubszQuery) -> Subsz {
    let wanted = |sub: &SubDetail| {
        let account = query.account.as_ref();
        let test = query.test.as_ref();
        account.is_none_or(|account| *account == sub.account)
            && test.is_none_or(|test| subject::matches(sub.subject.as_bytes(), test.as_bytes()))
    };
    let mut list = Vec::new();
    if query.subs {
        for connection in shared.connections() {
            let subs = connection.subscriptions();
            let subs = subs.into_iter().map(|sub| detail(sub, connection.id, true));
            list.extend(subs.filter(wanted));
        }
        list.sort_by(|a, b| (a.cid, &a.subject, &a.sid).cmp(&(b.cid, &b.subject, &b.sid)));
    }
    let (present, made) = (shared.subscription_count(), shared.subscriptions_made());
    Subsz {
        server_id: shared.identity.id.clone(),
        now: rfc3339(SystemTime::now()),
        num_subscriptions: present,
        num_inserts: made,
        num_removes: made.saturating_sub(present as u64),
        total: list.len(),
        offset: query.page.offset,
        limit: query.page.limit,
        subscriptions_list: cut(list, query.page),
        ..Subsz::default()
    }
}

fn cut<T>(list: Vec<T>, page: Page) -> Vec<T> {
    list.into_iter()
        .skip(page.offset)
        .take(page.limit)
        .collect()
}

fn opened(
    shared: &Shared,
    connection: &Connection,
    client: ClientDetails,
    query: &ConnzQuery,
) -> ConnectionReport {
    let (inbound, outbound) = (connection.traffic.inbound(), connection.traffic.outbound());
    let subs = match query.subs {
        Subs::None => Vec::new(),
        _ => connection.subscriptions(),
    };
    let mut report = ConnectionReport {
        cid: connection.id,
        ip: connection.address.ip().to_string(),
        port: connection.address.port(),
        pending_bytes: connection.pending(),
        in_msgs: inbound.msgs,
        out_msgs: outbound.msgs,
        in_bytes: inbound.bytes,
        out_bytes: outbound.bytes,
        subscriptions: connection.subscription_count(),
        ..ConnectionReport::default()
    };
    if query.auth {
        report.name_tag.clone_from(&client.account);
    }
    times(
        &mut report,
        connection.started,
        active(shared, connection.last_activity()),
        SystemTime::now(),
    );
    about_client(&mut report, client, connection.rtt(), query);
    about_subscriptions(&mut report, subs, query);
    report
}

fn closed(shared: &Shared, connection: &ClosedConnection, query: &ConnzQuery) -> ConnectionReport {
    let mut report = ConnectionReport {
        cid: connection.id,
        ip: connection.address.ip().to_string(),
        port: connection.address.port(),
        stop: rfc3339(connection.stopped),
        reason: connection.reason.text(),
        in_msgs: connection.inbound.msgs,
        out_msgs: connection.outbound.msgs,
        in_bytes: connection.inbound.bytes,
        out_bytes: connection.outbound.bytes,
        subscriptions: connection.subscription_count,
        ..ConnectionReport::default()
    };
    times(
        &mut report,
        connection.started,
        active(shared, connection.last_activity),
        connection.stopped,
    );
    about_client(
        &mut report,
        connection.client.clone(),
        connection.rtt,
        query,
    );
    about_subscriptions(&mut report, connection.subscriptions.clone(), query);
    report
}

/// The time of an activity that is known in nanoseconds since the server's start.
pub(super) fn active(shared: &Shared, nanos: u64) -> SystemTime {
    shared.started + Duration::from_nanos(nanos)
}

/// `until` is now, or when the connection ended.
fn times(
    report: &mut ConnectionReport,
    started: SystemTime,
    active: SystemTime,
    until: SystemTime,
) {
    let active = active.max(started);
    report.start = rfc3339(started);
    report.last_activity = rfc3339(active);
    report.uptime = elapsed(started, until);
    report.idle = elapsed(active, until);
}

fn about_client(
    report: &mut ConnectionReport,
    client: ClientDetails,
    rtt: u64,
    query: &ConnzQuery,
) {
    report.kind = "Client".to_owned();
    report.transport = "nats".to_owned();
    report.rtt_nanos = rtt;
    report.rtt = rtt_text(rtt);
    report.name = client.name;
    report.lang = client.lang;
    report.version = client.version;
    if query.auth {
        report.authorized_user = client.user;
        // That of everybody goes without saying.
        if client.account != GLOBAL {
            report.account = client.account;
        }
    }
}

/// A round trip time, as nats-server prints it; nothing where it is unknown.
pub(super) fn rtt_text(rtt: u64) -> String {
    if rtt == 0 {
        return String::new();
    }
    // Fractions of a microsecond are noise, unless there is nothing else.
    let whole = (1_000..1_000_000).contains(&rtt);
    let shown = if whole { rtt / 1_000 * 1_000 } else { rtt };
    time::format_duration(i64::try_from(shown).unwrap_or(i64::MAX))
}

fn about_subscriptions(
    report: &mut ConnectionReport,
    subs: Vec<SubscriptionSummary>,
    query: &ConnzQuery,
) {
    let subs = subs.into_iter();
    match query.subs {
        Subs::None => {}
        Subs::Subjects => report.subscriptions_list = subs.map(|sub| sub.subject).collect(),
        Subs::Detail => {
            // Only those of closed connections name their account.
            let (cid, closed) = (report.cid, !report.stop.is_empty());
            let details = subs.map(|sub| detail(sub, cid, closed));
            report.subscriptions_list_detail = details.collect();
        }
    }
}

fn detail(sub: SubscriptionSummary, cid: u64, with_account: bool) -> SubDetail {
    let account = if with_account {
        sub.account
    } else {
        String::new()
    };
    SubDetail {
        account_tag: account.clone(),
        account,
        subject: sub.subject,
        qgroup: sub.queue,
        sid: sub.sid,
        msgs: sub.delivered,
        max: sub.max,
        cid,
    }
}

/// Counters sort with the largest first, names and times ascending.
fn sort(connections: &mut [ConnectionReport], key: &str) {
    use std::cmp::Reverse;
    match key {
        "subs" => connections.sort_by_key(|c| Reverse(c.subscriptions)),
        "pending" => connections.sort_by_key(|c| Reverse(c.pending_bytes)),
        "msgs_to" => connections.sort_by_key(|c| Reverse(c.out_msgs)),
        "msgs_from" => connections.sort_by_key(|c| Reverse(c.in_msgs)),
        "bytes_to" => connections.sort_by_key(|c| Reverse(c.out_bytes)),
        "bytes_from" => connections.sort_by_key(|c| Reverse(c.in_bytes)),
        "last" => connections.sort_by(|a, b| b.last_activity.cmp(&a.last_activity)),
        "idle" => connections.sort_by(|a, b| a.last_activity.cmp(&b.last_activity)),
        "start" | "uptime" => connections.sort_by(|a, b| a.start.cmp(&b.start)),
        "stop" => connections.sort_by(|a, b| b.stop.cmp(&a.stop)),
        "reason" => connections.sort_by_key(|c| c.reason),
        "rtt" => connections.sort_by_key(|c| Reverse(c.rtt_nanos)),
        _ => connections.sort_by_key(|c| c.cid),
    }
}
