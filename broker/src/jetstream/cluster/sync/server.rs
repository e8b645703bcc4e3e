//! The side that has the state. It keeps nothing for an exchange but the state that it began to send, and counts what is
//! under way, so that many followers do not fill its memory.

use std::collections::BTreeMap;

use jetwake_protocol::peer::sync::{
    Answer, Ask, Chunk, Exchange, Message, Messages, Refusal, State,
};
use jetwake_storage::MessageStore;

use super::{CHUNK, INACTIVE, INLINE, NodeId, OUTGOING, answer};
use crate::jetstream::io::Timestamp;

/// A replica that can be asked.
pub(crate) trait Source {
    /// What is committed.
    fn messages(&self) -> &dyn MessageStore;
    /// Index and term of the entry up to which everything is part of the state.
    fn applied(&self) -> (u64, u64);
    /// Appends everything of the state that is not about messages.
    fn note(&self, into: &mut Vec<u8>);
}

/// What is under way to one follower.
#[derive(Debug)]
struct Held {
    number: u64,
    /// Bytes that were sent and not asked on for.
    under_way: u64,
    state: Vec<u8>,
    sum: u32,
    deadline: Timestamp,
}

impl Held {
    fn cost(&self) -> u64 {
        self.under_way + self.state.len() as u64
    }
}

/// All exchanges in which this node answers.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// By follower and stream.
    held: BTreeMap<(NodeId, u64), Held>,
}

impl Server {
    /// Bytes held or under way.
    pub(crate) fn outgoing(&self) -> u64 {
        self.held.values().map(Held::cost).sum()
    }

    /// When something held is not asked for any more.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.held.values().map(|held| held.deadline).min()
    }

    /// Forgets followers that say nothing any more.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.held.retain(|_, held| held.deadline > now);
    }

    /// Forgets a node that is gone.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.held.retain(|(follower, _), _| *follower != node);
    }

    /// Answers a question; the frame to send back, if there is one.
    pub(crate) fn answer(
        &mut self,
        now: Timestamp,
        from: NodeId,
        (exchange, ask): (Exchange, &Ask),
        source: Option<&dyn Source>,
    ) -> Option<Vec<u8>> {
        let key = (from, exchange.group);
        // What was under way has arrived, or never will.
        let mut state = (Vec::new(), 0);
        if let Some(held) = self.held.remove(&key)
            && held.number == exchange.number
        {
            state = (held.state, held.sum);
        }
        let refuse = |why| Some(answer(&Answer::Refused(why), exchange));
        let Some(source) = source else {
            return refuse(Refusal::NotHere);
        };
        let frame = match *ask {
            Ask::End => return None,
            Ask::Messages { from, upto, most } => {
                if self.is_full(u64::from(CHUNK)) {
                    return refuse(Refusal::Busy);
                }
                state = (Vec::new(), 0);
                chunk(source.messages(), (from, upto), most.min(CHUNK), exchange)
            }
            Ask::State { after, .. } if source.applied().0 <= after => {
                return refuse(Refusal::Behind);
            }
            Ask::State { from, .. } if left(source.messages(), from, u64::MAX) > INLINE => {
                if self.is_full(u64::from(CHUNK)) {
                    return refuse(Refusal::Busy);
                }
                state = (Vec::new(), 0);
                chunk(source.messages(), (from, u64::MAX), CHUNK, exchange)
            }
            Ask::State { from, .. } => {
                let bytes = whole(source, from);
                if self.is_full(bytes.len() as u64) {
                    return refuse(Refusal::Busy);
                }
                let sum = crc32c::crc32c(&bytes);
                state = (bytes, sum);
                part(&state, 0, exchange)?
            }
            Ask::More { offset } => {
                let Some(part) = part(&state, offset, exchange) else {
                    // It was kept long enough; the follower begins again.
                    return refuse(Refusal::Behind);
                };
                part
            }
        };
        let held = Held {
            number: exchange.number,
            under_way: frame.len() as u64,
            state: state.0,
            sum: state.1,
            deadline: now.saturating_add(INACTIVE),
        };
        self.held.insert(key, held);
        Some(frame)
    }

    /// Whether so much more is too much. One may always go, however large.
    fn is_full(&self, more: u64) -> bool {
        let outgoing = self.outgoing();
        outgoing > 0 && outgoing.saturating_add(more) > OUTGOING
    }
}

/// About how many bytes of messages there are from a sequence on, counted no further than needed.
fn left(messages: &dyn MessageStore, from: u64, upto: u64) -> u64 {
    let mut bytes = 0;
    let mut next = messages.next(from);
    while let Some(meta) = next.filter(|meta| meta.seq <= upto) {
        bytes += u64::from(meta.size);
        if bytes > INLINE {
            break;
        }
        next = meta.seq.checked_add(1).and_then(|from| messages.next(from));
    }
    bytes
}

/// What was taken of a store's messages.
struct Taken {
    bytes: Vec<u8>,
    /// Where to go on.
    next: u64,
    end: bool,
    unreadable: bool,
}

/// Messages of a range, as many as fit, up to one that cannot be read.
fn take(messages: &dyn MessageStore, (from, upto): (u64, u64), most: u64) -> Taken {
    let mut taken = Taken {
        bytes: Vec::new(),
        next: from,
        end: true,
        unreadable: false,
    };
    let mut next = messages.next(from);
    while let Some(meta) = next.filter(|meta| meta.seq <= upto) {
        let full = taken.bytes.len() as u64 + u64::from(meta.size) > most;
        if full && !taken.bytes.is_empty() {
            taken.end = false;
            return taken;
        }
        let bytes = &mut taken.bytes;
        let read = messages.read(meta.seq, &mut |stored| {
            let message = Message {
                seq: stored.seq,
                timestamp: stored.timestamp,
                key: stored.key,
                headers: stored.headers,
                payload: stored.payload,
            };
            message.append(bytes);
        });
        if read.is_err() {
            taken.next = meta.seq;
            (taken.end, taken.unreadable) = (false, true);
            return taken;
        }
        taken.next = meta.seq.saturating_add(1);
        next = messages.next(taken.next).filter(|_| meta.seq < u64::MAX);
    }
    taken
}

fn chunk(
    messages: &dyn MessageStore,
    (from, upto): (u64, u64),
    most: u32,
    exchange: Exchange,
) -> Vec<u8> {
    let taken = take(messages, (from, upto), u64::from(most));
    let near = !taken.unreadable && left(messages, taken.next, upto) <= INLINE;
    let chunk = Chunk {
        next: taken.next,
        end: taken.end,
        near,
        unreadable: taken.unreadable,
        messages: Messages(&taken.bytes),
    };
    answer(&Answer::Chunk(chunk), exchange)
}

/// The state with the messages from a sequence on.
fn whole(source: &dyn Source, from: u64) -> Vec<u8> {
    let messages = source.messages();
    let counters = messages.state();
    let mut runs = Vec::new();
    messages.present(&mut |first, last| runs.push((first, last)));
    let mut blob = Vec::new();
    source.note(&mut blob);
    let (index, term) = source.applied();
    let state = State {
        index,
        term,
        first_seq: counters.first_seq,
        last_seq: counters.last_seq,
        last_ts: counters.last_ts,
        runs,
        blob: &blob,
    };
    // One that cannot be read here is asked for elsewhere.
    let taken = take(messages, (from, u64::MAX), u64::MAX);
    let mut bytes = Vec::new();
    state.append(Messages(&taken.bytes), &mut bytes);
    bytes
}

fn part((bytes, sum): &(Vec<u8>, u32), offset: u64, exchange: Exchange) -> Option<Vec<u8>> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    if rest.is_empty() {
        return None;
    }
    let part = Answer::State {
        total: bytes.len() as u64,
        offset,
        sum: *sum,
        bytes: &rest[..rest.len().min(CHUNK as usize)],
    };
    Some(answer(&part, exchange))
}
