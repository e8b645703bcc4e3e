//! What the journal says of a member that was fetching its state when the node stopped.

use bytes::Bytes;
use jetwake_protocol::peer::sync::State;
use jetwake_storage::{Insert, Kind, Location, ReplayRecord};

use super::member::Member;
use super::payload::Payload;
use super::recover::{Rebirth, Reborn};
use crate::jetstream::cluster::sync::runs::minus;
use crate::jetstream::core::Core;
use crate::jetstream::entry::{Entry, FETCH, Reader};
use crate::jetstream::io::{Level, Outbox, Timestamp};
use crate::jetstream::recover::replay_message;

impl Core {
    /// Takes a record of an exchange. False if it is none.
    pub(crate) fn replay_fetch(
        &mut self,
        item: &ReplayRecord<'_>,
        rebirth: &mut Rebirth,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> bool {
        let record = &item.record;
        let Some(reborn) = rebirth.get_mut(&record.group) else {
            return false;
        };
        let Some(stream) = reborn.stream else {
            return false;
        };
        match record.kind {
            Kind::Install => {
                let state = State::read(record.payload).ok().filter(|_| !item.damaged);
                if let Some(state) = state {
                    self.replay_install(reborn, stream, &state, now, out);
                }
            }
            Kind::Message | Kind::MessageAgain if record.index == 0 => {
                let message = Insert {
                    seq: record.seq,
                    timestamp: record.timestamp,
                    key: record.key,
                    headers: record.headers,
                    payload: record.payload,
                    location: Some(item.location),
                };
                // One that is damaged is asked for again.
                let again = record.kind == Kind::MessageAgain;
                if let Some(stream) = self.streams.get_mut(stream).filter(|_| !item.damaged) {
                    stream.take_in(&message, again);
                }
            }
            Kind::Control(FETCH) if record.index == 0 => {
                let (fresh, member) = match Entry::decode(record.payload) {
                    Ok(Entry::Fetch { fresh, member }) => {
                        (fresh, Member::read(&mut Reader { rest: member }).ok())
                    }
                    _ => (true, None),
                };
                self.replay_begin(reborn, stream, member, now, out);
                if fresh {
                    let messages = self.log.store.create_group(record.group, 0);
                    if let Some(stream) = self.streams.get_mut(stream) {
                        stream.messages = Box::new(messages);
                    }
                }
            }
            _ => return false,
        }
        true
    }

    /// What had been applied when the exchange began is applied now: what was fetched comes behind it.
    fn replay_begin(
        &mut self,
        reborn: &mut Reborn,
        stream: u32,
        member: Option<Member>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        reborn.member.fetching = true;
        let Some(member) = member else {
            return;
        };
        let later = reborn.log.split_off(&(member.applied.0 + 1));
        let applied = std::mem::replace(&mut reborn.log, later);
        for (_, kind, data, location) in applied.into_values() {
            if kind.is_data() {
                self.replay_applied(reborn, stream, (&data, location), now, out);
            }
        }
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.partial = None;
        }
        reborn.member.applied = member.applied;
        reborn.member.membership = member.membership;
    }

    fn replay_applied(
        &mut self,
        reborn: &mut Reborn,
        stream: u32,
        (data, location): (&Bytes, Location),
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let applied = match Payload::decode(data) {
            Ok(Payload::Message(message)) => {
                let message = Insert {
                    location: Some(location),
                    ..message
                };
                let replayed = self.with_stream(stream, now, out, |stream, _| {
                    replay_message(stream, &message, false);
                    stream.changes.clear();
                });
                replayed.is_some()
            }
            Ok(Payload::Control(bytes)) => Entry::decode(bytes).is_ok_and(|control| {
                if reborn.shadow.apply(&control).unwrap_or(true) {
                    return true;
                }
                let replayed = self.with_stream(stream, now, out, |stream, env| {
                    let good = stream.replay_control(&control, env);
                    stream.changes.clear();
                    good
                });
                replayed == Some(true)
            }),
            Err(_) => false,
        };
        if !applied {
            out.log(
                Level::Error,
                "JetStream recovery: damaged entry of a replica",
            );
        }
    }

    fn replay_install(
        &mut self,
        reborn: &mut Reborn,
        id: u32,
        state: &State<'_>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let taken = self.with_stream(id, now, out, |stream, env| stream.take_over(state, env));
        let Some(Ok((member, shadow))) = taken else {
            return out.log(
                Level::Error,
                "JetStream recovery: damaged state of a replica",
            );
        };
        let member = Member {
            applied: (state.index, state.term),
            ..member
        };
        if reborn.install(member) {
            reborn.shadow = shadow;
        }
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let mut present = Vec::new();
        stream
            .messages
            .present(&mut |first, last| present.push((first, last)));
        let missing = minus(&state.runs, &present);
        if let Some(group) = stream.group {
            let seqs = missing.iter().flat_map(|(first, last)| *first..=*last);
            self.fetches.note_damaged(group, seqs);
        }
    }
}
