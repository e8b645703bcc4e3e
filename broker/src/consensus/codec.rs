//! Messages between members as bytes: our own fixed form, little endian, every length checked. The engine's own decoder
//! never sees bytes from other nodes.
//!
//! ```text
//! kind u8; 0 = asleep: term u64, index u64; 255 = gave up
//! otherwise the engine's number of the message, and then
//! flags u8 (1 reject, 2 has a state, 4 forced by a leader that hands over),
//! term, log term, index, commit, commit term, reject hint, requested state: u64 each, priority i64
//! with a state: index u64, term u64, four lists of nodes (count u32, u64 each), leaves by itself u8
//! entries: count u32, then kind u8, term u64, index u64, length u32, data each
//! ```

use bytes::{Buf, Bytes};
use raft::eraftpb::{self, ConfState, EntryType, MessageType};

use super::{Entry, EntryKind, Malformed, Membership};

const ASLEEP: u8 = 0;
const GAVE_UP: u8 = u8::MAX;
const REJECT: u8 = 1;
const STATE: u8 = 2;
const FORCED: u8 = 4;
/// What the engine puts into the context of votes that must not be ignored.
const TRANSFER: &[u8] = b"CampaignTransfer";

/// A message from one member of a group to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Message(pub(super) Body);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// The leader rests: everybody has everything up to this index.
    Asleep { term: u64, index: u64 },
    /// The sender cannot go on: if it led, somebody else has to.
    GaveUp,
    /// The engine's.
    Engine(Box<eraftpb::Message>),
}

impl Message {
    /// Whether it brings entries to be written.
    pub fn has_entries(&self) -> bool {
        matches!(&self.0, Body::Engine(one) if !one.entries.is_empty())
    }

    /// The same with its first entries only, as a leader sends it to a member whose log it does not know yet.
    #[cfg(test)]
    pub(crate) fn cut(mut self, count: usize) -> Self {
        if let Body::Engine(one) = &mut self.0 {
            one.mut_entries().truncate(count);
        }
        self
    }

    /// Whether it asks for a vote.
    pub fn asks_vote(&self) -> bool {
        let Body::Engine(one) = &self.0 else {
            return false;
        };
        matches!(
            one.get_msg_type(),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
        )
    }

    /// The term that the sender votes in, if the message gives its vote away.
    #[cfg(test)]
    pub fn gives_vote(&self) -> Option<u64> {
        let Body::Engine(one) = &self.0 else {
            return None;
        };
        let vote = one.get_msg_type() == MessageType::MsgRequestVoteResponse && !one.reject;
        vote.then_some(one.term)
    }

    /// Appends the bytes.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let one = match &self.0 {
            Body::Asleep { term, index } => {
                into.push(ASLEEP);
                into.extend_from_slice(&term.to_le_bytes());
                into.extend_from_slice(&index.to_le_bytes());
                return;
            }
            Body::GaveUp => return into.push(GAVE_UP),
            Body::Engine(one) => one,
        };
        let state = one.has_snapshot().then(|| one.get_snapshot());
        let mut flags = u8::from(one.reject);
        flags |= if state.is_some() { STATE } else { 0 };
        flags |= if one.context == TRANSFER { FORCED } else { 0 };
        into.push(one.get_msg_type() as u8 + 1);
        into.push(flags);
        for number in [
            one.term,
            one.log_term,
            one.index,
            one.commit,
            one.commit_term,
            one.reject_hint,
            one.request_snapshot,
            one.priority as u64,
        ] {
            into.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(state) = state {
            let meta = state.get_metadata();
            into.extend_from_slice(&meta.index.to_le_bytes());
            into.extend_from_slice(&meta.term.to_le_bytes());
            encode_members(meta.get_conf_state(), into);
        }
        put_len(one.entries.len(), into);
        for entry in &one.entries {
            into.push(entry.get_entry_type() as u8);
            into.extend_from_slice(&entry.term.to_le_bytes());
            into.extend_from_slice(&entry.index.to_le_bytes());
            put_len(entry.data.len(), into);
            into.extend_from_slice(&entry.data);
        }
    }

    /// Reads a message; the data of its entries are slices of `bytes`.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let from = &mut bytes;
        let kind = from.try_get_u8().map_err(|_| Malformed)?;
        if kind == ASLEEP {
            let (term, index) = (number(from)?, number(from)?);
            return end(from, Body::Asleep { term, index });
        }
        if kind == GAVE_UP {
            return end(from, Body::GaveUp);
        }
        let mut one = eraftpb::Message::default();
        one.set_msg_type(engine_kind(kind - 1)?);
        let flags = from.try_get_u8().map_err(|_| Malformed)?;
        if flags & !(REJECT | STATE | FORCED) != 0 {
            return Err(Malformed);
        }
        one.reject = flags & REJECT != 0;
        if flags & FORCED != 0 {
            one.context = Bytes::from_static(TRANSFER);
        }
        one.term = number(from)?;
        if one.term == 0 {
            // The engine would take it for one of the member itself.
            return Err(Malformed);
        }
        one.log_term = number(from)?;
        one.index = number(from)?;
        one.commit = number(from)?;
        one.commit_term = number(from)?;
        one.reject_hint = number(from)?;
        one.request_snapshot = number(from)?;
        one.priority = number(from)? as i64;
        if flags & STATE != 0 {
            let meta = one.mut_snapshot().mut_metadata();
            meta.index = number(from)?;
            meta.term = number(from)?;
            decode_members(from, meta.mut_conf_state())?;
        }
        let count = len(from)?;
        let mut entries = Vec::with_capacity(count.min(from.len() / 21));
        for at in 1..=count as u64 {
            let entry = decode_entry(from)?;
            if one.index.checked_add(at) != Some(entry.index) {
                return Err(Malformed);
            }
            entries.push(entry);
        }
        one.set_entries(entries.into());
        end(from, Body::Engine(Box::new(one)))
    }
}

fn end(from: &Bytes, body: Body) -> Result<Message, Malformed> {
    from.is_empty().then_some(Message(body)).ok_or(Malformed)
}

fn engine_kind(number: u8) -> Result<MessageType, Malformed> {
    use MessageType as M;
    // Those that only a member itself may send are not among them, and neither are proposals and reads.
    let known = [
        M::MsgAppend,
        M::MsgAppendResponse,
        M::MsgRequestVote,
        M::MsgRequestVoteResponse,
        M::MsgSnapshot,
        M::MsgHeartbeat,
        M::MsgHeartbeatResponse,
        M::MsgTimeoutNow,
        M::MsgRequestPreVote,
        M::MsgRequestPreVoteResponse,
    ];
    let found = known.into_iter().find(|kind| *kind as u8 == number);
    found.ok_or(Malformed)
}

fn put_len(len: usize, into: &mut Vec<u8>) {
    into.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn number(from: &mut Bytes) -> Result<u64, Malformed> {
    from.try_get_u64_le().map_err(|_| Malformed)
}

fn len(from: &mut Bytes) -> Result<usize, Malformed> {
    Ok(from.try_get_u32_le().map_err(|_| Malformed)? as usize)
}

fn encode_members(members: &ConfState, into: &mut Vec<u8>) {
    for list in [
        &members.voters,
        &members.learners,
        &members.voters_outgoing,
        &members.learners_next,
    ] {
        put_len(list.len(), into);
        for node in list {
            into.extend_from_slice(&node.to_le_bytes());
        }
    }
    into.push(u8::from(members.auto_leave));
}

fn decode_members(from: &mut Bytes, members: &mut ConfState) -> Result<(), Malformed> {
    for list in [
        &mut members.voters,
        &mut members.learners,
        &mut members.voters_outgoing,
        &mut members.learners_next,
    ] {
        for _ in 0..len(from)? {
            list.push(number(from)?);
        }
    }
    members.auto_leave = match from.try_get_u8() {
        Ok(flag @ 0..=1) => flag == 1,
        _ => return Err(Malformed),
    };
    Ok(())
}

fn decode_entry(from: &mut Bytes) -> Result<eraftpb::Entry, Malformed> {
    let mut entry = eraftpb::Entry::default();
    let kind = match from.try_get_u8().map_err(|_| Malformed)? {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return Err(Malformed),
    };
    entry.set_entry_type(kind);
    entry.term = number(from)?;
    entry.index = number(from)?;
    let len = len(from)?;
    if from.len() < len {
        return Err(Malformed);
    }
    entry.data = from.split_to(len);
    Ok(entry)
}

impl From<&eraftpb::Entry> for Entry {
    fn from(entry: &eraftpb::Entry) -> Self {
        let kind = match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => EntryKind::Empty,
            EntryType::EntryNormal => EntryKind::Data,
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => EntryKind::Change,
        };
        Self {
            index: entry.index,
            term: entry.term,
            kind,
            data: entry.data.clone(),
        }
    }
}

impl From<&Entry> for eraftpb::Entry {
    fn from(entry: &Entry) -> Self {
        let mut one = Self::default();
        one.set_entry_type(match entry.kind {
            EntryKind::Empty | EntryKind::Data => EntryType::EntryNormal,
            // A change without content ends a joint one.
            EntryKind::Change if entry.data.is_empty() => EntryType::EntryConfChangeV2,
            EntryKind::Change => EntryType::EntryConfChange,
        });
        one.index = entry.index;
        one.term = entry.term;
        one.data = entry.data.clone();
        one
    }
}

impl From<&ConfState> for Membership {
    fn from(state: &ConfState) -> Self {
        let sorted = |list: &[u64]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        Self {
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }
}

impl From<&Membership> for ConfState {
    fn from(members: &Membership) -> Self {
        let mut state = Self::default();
        state.voters.clone_from(&members.voters);
        state.learners.clone_from(&members.learners);
        state.voters_outgoing.clone_from(&members.outgoing);
        state.learners_next.clone_from(&members.learners_next);
        state.auto_leave = members.auto_leave;
        state
    }
}
