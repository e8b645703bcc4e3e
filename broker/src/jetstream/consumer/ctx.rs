//! What a consumer is given with every call: time, the stream's messages, the log and the way out.
//!
//! The stream lends these for the length of one call; a consumer keeps none of them. All I/O stays behind
//! [`OpLog`] and [`Outbox`].

use jetwake_storage::{Lsn, MessageStore, ReadError};

use crate::jetstream::io::{AccountId, Outbox, Timestamp};
use crate::jetstream::stream::damage::Damage;

/// Everything around a consumer that it may use during one call.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// Now.
    pub now: Timestamp,
    /// The account of the stream.
    pub account: AccountId,
    /// The stream's id within this run, for tags.
    pub stream_id: u32,
    /// The stream's name.
    pub stream_name: &'a str,
    /// The JetStream domain, if the server has one.
    pub domain: Option<&'a str>,
    /// The stream's messages, all of them committed.
    pub messages: &'a dyn MessageStore,
    /// Where changes of the consumer's state are recorded.
    pub log: &'a mut dyn OpLog,
    /// The way out.
    pub out: &'a mut dyn Outbox,
    /// Sequences that this consumer does not need any more (acked, terminated, delivered without acks). The
    /// stream drains it after the call and removes what nobody needs, if its retention says so.
    pub released: &'a mut Vec<u64>,
    /// Messages that the store could not serve, and why.
    pub unreadable: &'a mut Vec<(u64, ReadError)>,
    /// What was lost to damage, where a message that is damaged can be fetched from another node; nothing where it is
    /// lost at once.
    pub(crate) lost: Option<&'a Damage>,
}

/// The log of consumer operations.
pub trait OpLog: std::fmt::Debug {
    /// Appends one operation of a consumer. `None` for a consumer that is kept in memory only.
    fn append(&mut self, consumer: &str, op: &[u8]) -> Option<Lsn>;

    /// Sends an empty message to `reply` once `lsn` is durable; at once if it is already, or if it is `None`.
    fn answer_when_durable(&mut self, lsn: Option<Lsn>, account: AccountId, reply: &[u8]);
}
