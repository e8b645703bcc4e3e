//! What a stream writes to its log besides messages: the control records of its group.
//!
//! An entry holds the decision or, where the outcome follows from the committed state alone, the request; so that
//! applying the log in order gives the same stream on every run. Little endian; strings carry their length.

use crate::jetstream::io::{AccountId, Timestamp};

/// One control record, borrowed from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// The stream was created or updated; `config` is its JSON.
    Config {
        /// The account that owns it.
        account: AccountId,
        /// When the stream was created.
        created: Timestamp,
        /// The whole new configuration.
        config: &'a [u8],
    },
    /// The next messages, so many, are stored together or not at all. None ends what was begun.
    Batch {
        /// How many.
        count: u64,
    },
    /// The stream was deleted; nothing follows.
    Drop,
    /// A publish that nobody was interested in: its sequence is used, its id remembered.
    Skip {
        /// The sequence.
        seq: u64,
        /// When it was published.
        timestamp: Timestamp,
        /// Its message id, empty if none.
        msg_id: &'a [u8],
    },
    /// Messages that nobody needs any more.
    Release {
        /// Their sequences, eight bytes each.
        seqs: &'a [u8],
    },
    /// One message was deleted by request.
    Delete {
        /// Its sequence.
        seq: u64,
        /// Whether its bytes are overwritten.
        erase: bool,
    },
    /// A purge by request.
    Purge {
        /// Only these subjects; empty = all.
        filter: &'a [u8],
        /// Only sequences below this one; 0 = no bound.
        seq: u64,
        /// How many of the newest stay.
        keep: u64,
    },
    /// Everything below this sequence is older than the stream's `max_age`.
    Expire {
        /// The first sequence that stays.
        first_seq: u64,
    },
    /// Messages whose own time is over.
    ExpireEach {
        /// Their sequences, eight bytes each.
        seqs: &'a [u8],
    },
    /// A consumer was created or updated.
    Consumer {
        /// Its name.
        name: &'a [u8],
        /// When it was created.
        created: Timestamp,
        /// Its configuration as JSON.
        config: &'a [u8],
        /// Its state.
        snapshot: &'a [u8],
    },
    /// A consumer's own operation.
    ConsumerOp {
        /// Its name.
        name: &'a [u8],
        /// The operation.
        op: &'a [u8],
    },
    /// A consumer was deleted.
    ConsumerDelete {
        /// Its name.
        name: &'a [u8],
    },
    /// The stream is replicated from here on, or begins as a replica. Not part of the group's own log.
    Replica {
        /// The account that owns it.
        account: AccountId,
        /// When the stream was created.
        created: Timestamp,
        /// Its configuration as JSON.
        config: &'a [u8],
        /// The nodes that vote, eight bytes each.
        voters: &'a [u8],
        /// The index that the state so far stands for.
        index: u64,
    },
    /// What a member of a group may not forget. Not part of the group's own log.
    Hard {
        /// Its term.
        term: u64,
        /// The node that got its vote in this term, 0 for none.
        vote: u64,
        /// The last index that it knows to be committed.
        commit: u64,
    },
    /// A leader's first entry, which says nothing.
    Noop,
    /// Members come or go.
    Change {
        /// How, in the form of the consensus module.
        change: &'a [u8],
    },
    /// The number of this node. Not part of any group's log.
    Node {
        /// Its number.
        id: u64,
    },
    /// A state that a member of the group of all nodes was given. Not part of the group's own log.
    State {
        /// The member and the group's state.
        state: &'a [u8],
    },
    /// A member fetches its state from another one: nothing is applied before it has that. Not part of the group's own
    /// log.
    Fetch {
        /// Its messages so far count no longer.
        fresh: bool,
        /// What is known of the member.
        member: &'a [u8],
    },
    /// An entry of the group of all nodes.
    Meta {
        /// In the form of that group's state machine.
        entry: &'a [u8],
    },
}

/// Bytes that are no entry of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed log entry")]
pub(crate) struct Malformed;

const CONFIG: u8 = 1;
const SKIP: u8 = 2;
const RELEASE: u8 = 3;
const DELETE: u8 = 4;
const PURGE: u8 = 5;
const EXPIRE: u8 = 6;
const CONSUMER: u8 = 7;
const CONSUMER_OP: u8 = 8;
const CONSUMER_DELETE: u8 = 9;
const DROP: u8 = 10;
const BATCH: u8 = 11;
const EXPIRE_EACH: u8 = 12;
const REPLICA: u8 = 13;
const HARD: u8 = 14;
const NOOP: u8 = 15;
const CHANGE: u8 = 16;
const META: u8 = 17;
const NODE: u8 = 18;
const STATE: u8 = 19;
/// The tag of [`Entry::Fetch`].
pub(crate) const FETCH: u8 = 20;

impl<'a> Entry<'a> {
    /// What kind of entry it is.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Self::Config { .. } => CONFIG,
            Self::Skip { .. } => SKIP,
            Self::Release { .. } => RELEASE,
            Self::Delete { .. } => DELETE,
            Self::Purge { .. } => PURGE,
            Self::Expire { .. } => EXPIRE,
            Self::Consumer { .. } => CONSUMER,
            Self::ConsumerOp { .. } => CONSUMER_OP,
            Self::ConsumerDelete { .. } => CONSUMER_DELETE,
            Self::Drop => DROP,
            Self::Batch { .. } => BATCH,
            Self::ExpireEach { .. } => EXPIRE_EACH,
            Self::Replica { .. } => REPLICA,
            Self::Hard { .. } => HARD,
            Self::Noop => NOOP,
            Self::Change { .. } => CHANGE,
            Self::Meta { .. } => META,
            Self::Node { .. } => NODE,
            Self::State { .. } => STATE,
            Self::Fetch { .. } => FETCH,
        }
    }

    /// Appends the entry's bytes to `into`.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        into.push(self.tag());
        match *self {
            Self::Drop | Self::Noop => {}
            Self::Replica {
                account,
                created,
                config,
                voters,
                index,
            } => {
                put_u64(into, account.into());
                put_i64(into, created);
                put_bytes(into, config);
                put_bytes(into, voters);
                put_u64(into, index);
            }
            Self::Hard { term, vote, commit } => {
                put_u64(into, term);
                put_u64(into, vote);
                put_u64(into, commit);
            }
            Self::Node { id } => put_u64(into, id),
            Self::Change { change: bytes }
            | Self::Meta { entry: bytes }
            | Self::State { state: bytes } => put_bytes(into, bytes),
            Self::Fetch { fresh, member } => {
                into.push(u8::from(fresh));
                put_bytes(into, member);
            }
            Self::Batch { count } => put_u64(into, count),
            Self::Config {
                account,
                created,
                config,
            } => {
                put_u64(into, account.into());
                put_i64(into, created);
                put_bytes(into, config);
            }
            Self::Skip {
                seq,
                timestamp,
                msg_id,
            } => {
                put_u64(into, seq);
                put_i64(into, timestamp);
                put_bytes(into, msg_id);
            }
            Self::Release { seqs } | Self::ExpireEach { seqs } => {
                put_bytes(into, seqs);
            }
            Self::Delete { seq, erase } => {
                put_u64(into, seq);
                into.push(u8::from(erase));
            }
            Self::Purge { filter, seq, keep } => {
                put_u64(into, seq);
                put_u64(into, keep);
                put_bytes(into, filter);
            }
            Self::Expire { first_seq } => {
                put_u64(into, first_seq);
            }
            Self::Consumer {
                name,
                created,
                config,
                snapshot,
            } => {
                put_bytes(into, name);
                put_i64(into, created);
                put_bytes(into, config);
                put_bytes(into, snapshot);
            }
            Self::ConsumerOp { name, op } => {
                put_bytes(into, name);
                put_bytes(into, op);
            }
            Self::ConsumerDelete { name } => {
                put_bytes(into, name);
            }
        }
    }

    /// Reads one entry.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader { rest: bytes };
        Ok(match from.u8()? {
            CONFIG => Self::Config {
                account: u32::try_from(from.u64()?).map_err(|_| Malformed)?,
                created: from.i64()?,
                config: from.bytes()?,
            },
            DROP => Self::Drop,
            BATCH => Self::Batch { count: from.u64()? },
            SKIP => Self::Skip {
                seq: from.u64()?,
                timestamp: from.i64()?,
                msg_id: from.bytes()?,
            },
            RELEASE => Self::Release {
                seqs: from.bytes()?,
            },
            EXPIRE_EACH => Self::ExpireEach {
                seqs: from.bytes()?,
            },
            DELETE => Self::Delete {
                seq: from.u64()?,
                erase: from.u8()? != 0,
            },
            PURGE => Self::Purge {
                seq: from.u64()?,
                keep: from.u64()?,
                filter: from.bytes()?,
            },
            EXPIRE => Self::Expire {
                first_seq: from.u64()?,
            },
            CONSUMER => Self::Consumer {
                name: from.bytes()?,
                created: from.i64()?,
                config: from.bytes()?,
                snapshot: from.bytes()?,
            },
            CONSUMER_OP => Self::ConsumerOp {
                name: from.bytes()?,
                op: from.bytes()?,
            },
            CONSUMER_DELETE => Self::ConsumerDelete {
                name: from.bytes()?,
            },
            REPLICA => Self::Replica {
                account: u32::try_from(from.u64()?).map_err(|_| Malformed)?,
                created: from.i64()?,
                config: from.bytes()?,
                voters: from.bytes()?,
                index: from.u64()?,
            },
            HARD => Self::Hard {
                term: from.u64()?,
                vote: from.u64()?,
                commit: from.u64()?,
            },
            NOOP => Self::Noop,
            CHANGE => Self::Change {
                change: from.bytes()?,
            },
            NODE => Self::Node { id: from.u64()? },
            STATE => Self::State {
                state: from.bytes()?,
            },
            FETCH => Self::Fetch {
                fresh: from.u8()? != 0,
                member: from.bytes()?,
            },
            META => Self::Meta {
                entry: from.bytes()?,
            },
            _ => return Err(Malformed),
        })
    }
}

/// Appends a number.
pub(crate) fn put_u64(into: &mut Vec<u8>, value: u64) {
    into.extend_from_slice(&value.to_le_bytes());
}

/// Appends a number.
pub(crate) fn put_i64(into: &mut Vec<u8>, value: i64) {
    into.extend_from_slice(&value.to_le_bytes());
}

/// Appends a string with its length.
pub(crate) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(bytes);
}

/// Reads what the `put_` functions wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// What is still unread.
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// A number.
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    /// A number.
    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.take().map(i64::from_le_bytes)
    }

    /// A string.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = u32::from_le_bytes(self.take()?) as usize;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::Entry;

    #[test]
    fn every_entry_survives_its_bytes_and_no_prefix_does() {
        let entries = [
            Entry::Config {
                account: 3,
                created: -5,
                config: b"{}",
            },
            Entry::Skip {
                seq: 7,
                timestamp: 9,
                msg_id: b"id",
            },
            Entry::Release {
                seqs: &[1, 0, 0, 0, 0, 0, 0, 0],
            },
            Entry::Delete {
                seq: 3,
                erase: true,
            },
            Entry::Purge {
                filter: b"a.>",
                seq: 4,
                keep: 5,
            },
            Entry::Expire { first_seq: 11 },
            Entry::Consumer {
                name: b"c",
                created: 1,
                config: b"{}",
                snapshot: b"x",
            },
            Entry::ConsumerOp {
                name: b"c",
                op: b"op",
            },
            Entry::ConsumerDelete { name: b"c" },
            Entry::Drop,
            Entry::Replica {
                account: 1,
                created: 5,
                config: b"{}",
                voters: &[1, 0, 0, 0, 0, 0, 0, 0],
                index: 1,
            },
            Entry::Hard {
                term: 1,
                vote: 2,
                commit: 3,
            },
            Entry::Noop,
            Entry::Change { change: b"x" },
            Entry::Meta { entry: b"y" },
            Entry::Node { id: 7 },
            Entry::State { state: b"z" },
            Entry::Fetch {
                fresh: true,
                member: b"m",
            },
            Entry::Batch { count: 3 },
            Entry::ExpireEach {
                seqs: &[2, 0, 0, 0, 0, 0, 0, 0],
            },
        ];
        for entry in entries {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode(&bytes), Ok(entry));
            for len in 0..bytes.len() {
                assert!(
                    Entry::decode(&bytes[..len]).is_err(),
                    "{entry:?} cut to {len}"
                );
            }
        }
    }
}
