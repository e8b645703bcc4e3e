//! Advisories of the core: made only when somebody listens.

use jetwake_protocol::jetstream::Time;
use jetwake_protocol::jetstream::advisory::{Event, encode};

use crate::jetstream::io::{AccountId, Outbox, Outgoing, Timestamp};
use crate::jetstream::settings::Settings;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The last `len` digits of a number to base 62.
pub(crate) fn base62(mut number: u64, len: usize) -> String {
    let mut text = String::with_capacity(len);
    for _ in 0..len {
        let digit = DIGITS.get((number % 62) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        number /= 62;
    }
    text
}

/// A text of `len` random letters and digits.
pub(crate) fn random_name(len: usize, out: &mut dyn Outbox) -> String {
    let mut name = String::with_capacity(len);
    while name.len() < len {
        name.push_str(&base62(out.random(), (len - name.len()).min(10)));
    }
    name
}

/// An id for an event.
pub(crate) fn event_id(out: &mut dyn Outbox) -> String {
    random_name(22, out)
}

/// Publishes an advisory if anybody listens to it.
pub(crate) fn advise<T: Event>(
    event: &T,
    account: AccountId,
    now: Timestamp,
    settings: &Settings,
    out: &mut dyn Outbox,
) {
    let subject = event.subject();
    if !out.has_any_interest(account, subject.as_bytes()) {
        return;
    }
    let mut body = Vec::new();
    let domain = settings.domain.as_deref().unwrap_or_default();
    encode(
        event,
        &event_id(out),
        Time::from_nanos(now),
        domain,
        &mut body,
    );
    out.publish(Outgoing {
        account,
        route: subject.as_bytes(),
        subject: subject.as_bytes(),
        reply: &[],
        headers: &[],
        payload: &body,
    });
}
