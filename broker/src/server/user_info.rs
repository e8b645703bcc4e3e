//! `$SYS.REQ.USER.INFO`: what the server knows about the user who asks. Every account may ask.

use serde::Serialize;

use super::Account;
use super::connection::Connection;
use super::shared::Shared;
use crate::version;

/// Where the question is asked.
pub(super) const SUBJECT: &[u8] = b"$SYS.REQ.USER.INFO";

#[derive(Serialize)]
struct Answer<'a> {
    server: Server<'a>,
    data: User<'a>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    ver: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    jetstream: bool,
    flags: u64,
    seq: u64,
    time: String,
}

#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    account: &'a str,
    account_name: &'a str,
}

/// The answer for a connection.
pub(super) fn json(shared: &Shared, connection: &Connection, account: &Account) -> Vec<u8> {
    let options = &shared.options;
    let jetstream = options.jetstream.as_ref();
    let client = connection.client();
    let answer = Answer {
        server: Server {
            name: &shared.identity.name,
            host: &options.host,
            id: &shared.identity.id,
            domain: jetstream.and_then(|js| js.domain.as_deref()).unwrap_or(""),
            ver: version::CLAIMED,
            tags: &options.server_tags,
            jetstream: jetstream.is_some(),
            flags: u64::from(jetstream.is_some()),
            seq: shared.next_event_number(),
            time: jiff::Timestamp::try_from(super::shared::wall_clock())
                .map_or_else(|_| String::new(), |now| now.to_string()),
        },
        data: User {
            user: &client.user,
            account: &account.name,
            account_name: &account.name,
        },
    };
    // Plain strings and numbers always serialize.
    serde_json::to_vec(&answer).unwrap_or_default()
}
