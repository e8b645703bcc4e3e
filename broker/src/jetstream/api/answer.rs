//! Who asked, and the way back to them: the response, and the audit advisory for whoever watches.

use jetwake_protocol::jetstream::Time;
use jetwake_protocol::jetstream::advisory::{Event, encode};
use serde::Serialize;
use serde_json::Value;

use crate::jetstream::advisory::event_id;
use crate::jetstream::cluster::wire;
use crate::jetstream::io::{AccountId, Inbound, Lane, NodeId, Outbox, Outgoing, Timestamp};
use crate::jetstream::settings::Settings;

/// An API call was answered.
#[derive(Debug, Serialize)]
struct Audit<'a> {
    server: &'a str,
    client: Value,
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request: &'a str,
    response: &'a str,
}

impl Event for Audit<'_> {
    fn kind(&self) -> &'static str {
        "io.nats.jetstream.advisory.v1.api_audit"
    }

    fn subject(&self) -> String {
        "$JS.EVENT.ADVISORY.API".to_owned()
    }
}

/// An API request whose answer is still to come.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The account it came from.
    pub(crate) account: AccountId,
    /// Its subject.
    pub(crate) subject: Vec<u8>,
    /// Where the answer goes; empty if nobody waits.
    pub(crate) reply: Vec<u8>,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// The connection that sent it, of this node.
    pub(crate) client: u64,
    /// In a cluster: the node that took it, and the client as advisories show it.
    pub(crate) from: Option<(NodeId, String)>,
    /// Whether the audit advisory is wanted.
    pub(crate) audited: bool,
    /// Header block of the answer.
    pub(crate) headers: Vec<u8>,
}

impl Request {
    /// Keeps what the answer needs.
    pub(crate) fn new(message: &Inbound<'_>) -> Self {
        Self {
            account: message.account,
            subject: message.subject.to_vec(),
            reply: message.reply.to_vec(),
            body: message.payload.to_vec(),
            client: message.client,
            from: None,
            audited: true,
            headers: Vec::new(),
        }
    }

    /// Sends the answer, and the audit advisory if anybody listens.
    pub(crate) fn answer(
        &self,
        response: &[u8],
        now: Timestamp,
        settings: &Settings,
        node: NodeId,
        out: &mut dyn Outbox,
    ) {
        if !self.reply.is_empty() {
            let message = Outgoing {
                account: self.account,
                route: &self.reply,
                subject: &self.reply,
                reply: &[],
                headers: &self.headers,
                payload: response,
            };
            match &self.from {
                // Its node knows who waits there.
                Some((origin, _)) if *origin != node => {
                    out.send(*origin, Lane::Main, &wire::answer(&message));
                }
                _ => {
                    out.publish(message);
                }
            }
        }
        self.audit(response, now, settings, out);
    }

    fn audit(&self, response: &[u8], now: Timestamp, settings: &Settings, out: &mut dyn Outbox) {
        if !self.audited || !out.has_any_interest(self.account, b"$JS.EVENT.ADVISORY.API") {
            return;
        }
        let client = match &self.from {
            Some((_, client)) => client.clone(),
            None => out.client_info(self.client).unwrap_or_default(),
        };
        let client = serde_json::from_str(&client).unwrap_or_default();
        let text = |bytes| String::from_utf8_lossy(bytes);
        let event = Audit {
            server: &settings.server_name,
            client,
            subject: &text(&self.subject),
            request: &text(&self.body),
            response: &text(response),
        };
        let mut body = Vec::new();
        let domain = settings.domain.as_deref().unwrap_or_default();
        encode(
            &event,
            &event_id(out),
            Time::from_nanos(now),
            domain,
            &mut body,
        );
        let subject = event.subject();
        out.publish(Outgoing {
            account: self.account,
            route: subject.as_bytes(),
            subject: subject.as_bytes(),
            reply: &[],
            headers: &[],
            payload: &body,
        });
    }
}
