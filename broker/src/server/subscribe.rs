//! SUB and UNSUB.

use std::sync::Arc;

use jetwake_protocol::subject;
use jetwake_protocol::wire::WireError;

use super::connection::Subscriptions;
use super::session::Session;
use super::subscription::Subscription;

/// A queue name that servers use among themselves.
const RESERVED_QUEUE: &[u8] = b"_sys_";

impl Session {
    pub(super) fn subscribe(&mut self, filter: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        self.active = true;
        if let Some(error) = self.refuses(filter, queue) {
            self.log_refusal(error, sid);
            return self.send_err(error);
        }
        if self.is_live(sid) {
            // The first subscription of a number stays.
            return self.send_ok();
        }
        if !is_filter(filter) {
            return self.send_err(WireError::InvalidSubject);
        }
        let id = self.shared.next_subscription_id();
        let sub = Arc::new(Subscription::new(
            Arc::clone(&self.connection),
            Arc::clone(&self.account),
            id,
            (filter, queue, sid),
        ));
        self.connection
            .subscriptions
            .lock()
            .insert(sid.into(), Arc::clone(&sub));
        let changed = self.account.subscribe(filter, queue, id, sub);
        self.deliverer
            .note(&self.account, (filter, queue), &changed);
        self.send_ok();
    }

    fn log_refusal(&self, error: WireError<'_>, sid: &[u8]) {
        let sid = sid.escape_ascii();
        match error {
            WireError::SubscribeDenied { subject } => self.log_error(format_args!(
                "Subscription Violation - Subject \"{}\", SID {sid}",
                subject.escape_ascii()
            )),
            WireError::QueueSubscribeDenied { subject, queue } => self.log_error(format_args!(
                "Subscription Violation - Subject \"{}\", Queue: \"{}\", SID {sid}",
                subject.escape_ascii(),
                queue.escape_ascii()
            )),
            _ => {
                let mut text = Vec::new();
                error.write_text(&mut text);
                self.log_error(format_args!("{}", text.escape_ascii()));
            }
        }
    }

    fn refuses<'a>(&self, filter: &'a [u8], queue: Option<&'a [u8]>) -> Option<WireError<'a>> {
        let options = &self.shared.options;
        let allowed = queue != Some(RESERVED_QUEUE)
            && self
                .permissions
                .as_ref()
                .is_none_or(|p| p.may_subscribe(filter, queue));
        if !allowed {
            return Some(match queue {
                None => WireError::SubscribeDenied { subject: filter },
                Some(queue) => WireError::QueueSubscribeDenied {
                    subject: filter,
                    queue,
                },
            });
        }
        if options.max_sub_tokens > 0 && subject::token_count(filter) > options.max_sub_tokens {
            return Some(WireError::TooManyTokens { subject: filter });
        }
        let limit = options.max_subscriptions;
        if limit > 0 && self.connection.subscription_count() >= limit {
            return Some(WireError::MaximumSubscriptionsExceeded);
        }
        None
    }

    /// Whether the number is in use. One whose maximum was reached in this very read buffer is not.
    fn is_live(&mut self, sid: &[u8]) -> bool {
        let known = self
            .connection
            .subscriptions
            .lock()
            .get(sid)
            .map(Arc::clone);
        let Some(sub) = known else { return false };
        if sub.is_used_up() {
            self.deliverer.end(&sub);
            return false;
        }
        true
    }

    pub(super) fn unsubscribe(&mut self, sid: &[u8], max: Option<u64>) {
        self.active = true;
        let known = self
            .connection
            .subscriptions
            .lock()
            .get(sid)
            .map(Arc::clone);
        if let Some(sub) = known {
            let ends_now = match max {
                None => true,
                Some(max) => sub.limit(max),
            };
            if ends_now {
                self.deliverer.end(&sub);
            }
        }
        self.send_ok();
    }

    /// Ends all subscriptions of the connection, and says which they were.
    pub(super) fn drop_subscriptions(&mut self) -> Subscriptions {
        let subscriptions = std::mem::take(&mut *self.connection.subscriptions.lock());
        for sub in subscriptions.values() {
            self.deliverer.end(sub);
        }
        self.deliverer.flush();
        subscriptions
    }
}

/// What can be subscribed to: no empty token, and `>` only at the end. Any other byte is fine here,
/// unlike in the names that JetStream checks.
fn is_filter(filter: &[u8]) -> bool {
    let mut after_rest = false;
    for token in subject::tokens(filter) {
        if token.is_empty() || after_rest {
            return false;
        }
        after_rest = token == b">";
    }
    true
}
