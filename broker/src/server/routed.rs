//! Messages that other nodes send here.

use std::sync::Arc;

use jetwake_protocol::peer::BodyError;
use jetwake_protocol::peer::message::{self, Messages, Queues};

use super::counters::Volume;
use super::deliver::{Deliverer, Message, Origin, Output};
use super::shared::Shared;
use super::{Matches, announce};
use crate::jetstream::tag::Inbound;
use crate::routing::Announce;

use super::Listener;

/// Nobody's connection: all subscriptions count.
const ORIGIN: Origin = Origin {
    client: 0,
    echo: true,
};

impl Deliverer {
    /// Delivers what another node sent. Nothing is sent before [`Deliverer::flush`].
    pub(crate) fn take_routed(&mut self, body: &[u8]) -> Result<(), BodyError> {
        let shared = Arc::clone(&self.shared);
        let messages = Messages::read(body)?;
        let Some(account) = shared.accounts.named(messages.account) else {
            return Ok(());
        };
        let mut received = Volume::default();
        for read in messages.messages() {
            let (message, queues) = read?;
            let size = message.headers.len() + message.payload.len();
            received.add(size);
            let matches = account.lookup(&mut self.cache, message.route);
            let sized = Message {
                subject: message.subject,
                reply: message.reply,
                headers: message.headers,
                payload: message.payload,
                header_digits: self.header_size.of(message.headers.len()),
                size_digits: self.total_size.of(size),
            };
            let output = &mut self.output;
            for sub in &matches.plain {
                output.offer(&shared, sub, &sized, ORIGIN);
            }
            output.queues(&shared, matches, &sized, queues);
            output.listeners(account.id, matches, &message, queues);
        }
        shared.traffic.received(received);
        Ok(())
    }
}

impl Output {
    /// Gives a copy to one member of each group that is named.
    fn queues(
        &mut self,
        shared: &Shared,
        matches: &Matches,
        message: &Message<'_>,
        queues: Queues<'_>,
    ) {
        for name in queues.iter() {
            let group = matches.queues.iter().find(|group| *group.name == *name);
            if let Some(group) = group {
                self.offer_to_one(shared, &group.members, message, ORIGIN);
            }
        }
    }

    fn listeners(
        &mut self,
        account: u32,
        matches: &Matches,
        message: &message::Message<'_>,
        queues: Queues<'_>,
    ) {
        let mut in_batch = false;
        for listener in &matches.listeners {
            let meant = match announce(*listener) {
                Announce::No => false,
                Announce::Each => true,
                Announce::One(name) => queues.iter().any(|queue| queue == name),
            };
            let Listener::JetStream(tag) = *listener else {
                continue;
            };
            if !meant {
                continue;
            }
            if in_batch {
                self.batch.push_again(tag);
                continue;
            }
            in_batch = true;
            self.batch.push(Inbound {
                tag,
                account,
                subject: message.route,
                reply: message.reply,
                headers: message.headers,
                payload: message.payload,
                client: ORIGIN.client,
            });
        }
    }
}
