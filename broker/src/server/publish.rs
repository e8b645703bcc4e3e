//! PUB and HPUB.

use jetwake_protocol::subject::is_valid_pedantic;
use jetwake_protocol::wire::encode::Digits;
use jetwake_protocol::wire::{Publish, WireError};

use super::deliver::{Message, Origin};
use super::session::Session;
use super::{Accounts, user_info};

impl Session {
    pub(super) fn publish(&mut self, publish: &Publish<'_>) {
        self.received.add(publish.body.len());
        if self.options.pedantic && !is_valid_pedantic(publish.subject) {
            self.send_err(WireError::InvalidPublishSubject);
        }
        let reply = publish.reply.unwrap_or_default();
        if !self.may_publish(publish.subject) {
            let shown = publish.subject.escape_ascii();
            self.log_error(format_args!("Publish Violation - Subject \"{shown}\""));
            return self.send_err(WireError::PublishDenied {
                subject: publish.subject,
            });
        }
        if is_reserved_reply(reply) {
            let shown = reply.escape_ascii();
            self.log_error(format_args!("Publish Violation - Reply \"{shown}\""));
            return self.send_err(WireError::ReplyDenied { reply });
        }
        self.send_ok();
        let message = Message {
            subject: publish.subject,
            reply,
            headers: publish.headers,
            payload: publish.payload,
            header_digits: publish.header_digits,
            size_digits: publish.size_digits,
        };
        let origin = Origin {
            client: self.connection.id,
            echo: self.options.echo,
        };
        let routed = self
            .deliverer
            .route(&self.account, publish.subject, &message, origin);
        if routed.user_info && !reply.is_empty() {
            self.answer_user_info(reply);
        }
        if !routed.taken && !reply.is_empty() && self.options.no_responders && self.headers() {
            self.no_responders(publish.subject, reply);
        }
    }

    fn may_publish(&self, subject: &[u8]) -> bool {
        if subject
            .first()
            .is_some_and(|first| matches!(first, b'_' | b'$'))
        {
            let raft = subject.starts_with(b"$NRG.") && self.account.id != Accounts::SYSTEM;
            if raft || subject.starts_with(b"_GR_.") {
                return false;
            }
        }
        self.permissions
            .as_ref()
            .is_none_or(|permissions| permissions.may_publish(subject))
    }

    fn headers(&self) -> bool {
        self.options.headers && !self.shared.options.no_header_support
    }

    /// Says that nobody took the request, through a plain subscription of the requester itself.
    fn no_responders(&mut self, subject: &[u8], reply: &[u8]) {
        let matches = self.account.lookup_uncached(reply);
        let own = matches
            .plain
            .iter()
            .find(|sub| sub.connection.id == self.connection.id && !sub.is_used_up());
        let Some(own) = own else {
            return;
        };
        let headers = [b"NATS/1.0 503\r\nNats-Subject: ", subject, b"\r\n\r\n"].concat();
        let digits = Digits::of(headers.len() as u64);
        let message = Message {
            subject: reply,
            reply: b"",
            headers: &headers,
            payload: b"",
            header_digits: digits.as_bytes(),
            size_digits: digits.as_bytes(),
        };
        self.deliverer.answer(own, &message);
    }

    fn answer_user_info(&mut self, reply: &[u8]) {
        let json = user_info::json(&self.shared, &self.connection, &self.account);
        self.deliverer
            .publish(self.account.id, reply, (reply, b""), (b"", &json));
    }
}

/// Replies that only servers may set.
fn is_reserved_reply(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'_' | b'$'))
        && [&b"_R_."[..], b"_GR_.", b"$JS.ACK."]
            .iter()
            .any(|prefix| reply.starts_with(prefix))
}
