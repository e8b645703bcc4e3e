//! The INFO lines of a connection.

use jetwake_protocol::wire::{ServerInfo, encode};

use super::connection::Connection;
use super::shared::Shared;
use crate::version;

/// JetStream API level of the server whose behaviour this one shows.
const API_LEVEL: u64 = 5;

/// Which INFO to send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occasion<'a> {
    /// The first line of a connection.
    Accepted,
    /// After the first PING: the account is known.
    Connected {
        /// The account's name.
        account: &'a str,
        /// Whether it is the system account.
        system: bool,
    },
    /// Where else clients can connect has changed.
    Changed,
    /// The server is leaving.
    LameDuck,
}

/// Appends an INFO line.
pub(super) fn append(out: &mut Vec<u8>, shared: &Shared, to: &Connection, occasion: Occasion<'_>) {
    let mut info = base(shared);
    info.client_id = to.id;
    info.client_ip = to.address.ip().to_string();
    match occasion {
        Occasion::Accepted | Occasion::Changed => {}
        Occasion::Connected { account, system } => {
            info.connect_info = true;
            account.clone_into(&mut info.remote_account);
            info.acc_is_sys = system;
        }
        Occasion::LameDuck => {
            info.ldm = true;
        }
    }
    if let Ok(json) = info.to_json() {
        encode::info(out, &json);
    }
}

fn base(shared: &Shared) -> ServerInfo {
    let options = &shared.options;
    ServerInfo {
        server_id: shared.identity.id.clone(),
        server_name: shared.identity.name.clone(),
        version: version::CLAIMED.to_owned(),
        proto: 1,
        git_commit: version::GIT_COMMIT.to_owned(),
        go: version::GO.to_owned(),
        host: options.host.clone(),
        port: shared.address.port(),
        headers: !options.no_header_support,
        auth_required: shared.authenticator.is_required(),
        max_payload: i64::try_from(options.max_payload).unwrap_or(i64::MAX),
        jetstream: options.jetstream.is_some(),
        domain: domain(options).to_owned(),
        cluster: shared.neighbours.name().text,
        connect_urls: shared.neighbours.connect_urls(shared.random()),
        api_lvl: API_LEVEL,
        xkey: shared.identity.xkey.clone(),
        ..ServerInfo::default()
    }
}

fn domain(options: &crate::options::Options) -> &str {
    options
        .jetstream
        .as_ref()
        .and_then(|jetstream| jetstream.domain.as_deref())
        .unwrap_or("")
}
