//! The whole recorded state as bytes.

use std::collections::{BTreeMap, VecDeque};

use super::codec::{Corrupt, Reader, put, put_signed};
use super::ops::{put_rules, read_rules};
use super::pending::{Entry, Pending, Stage};
use super::timers::Timers;
use super::{Position, State};

const VERSION: u8 = 1;
const QUEUED: u8 = 1;
const DELAYED: u8 = 2;

impl State {
    /// Appends the state to `into`.
    pub(in crate::jetstream::consumer) fn save(&self, into: &mut Vec<u8>) {
        into.push(VERSION);
        put_rules(into, &self.rules);
        for position in [self.delivered, self.floor] {
            put(into, position.consumer);
            put(into, position.stream);
        }
        put(into, self.next);
        // 0 stands for "no bound", so a bound is written one higher.
        put(into, self.bound.map_or(0, |bound| bound.saturating_add(1)));
        self.save_pending(into);
        put(into, self.queued().count() as u64);
        for seq in self.queued() {
            put(into, seq);
        }
        put(into, self.given_up.len() as u64);
        for (seq, deliveries) in &self.given_up {
            put(into, *seq);
            put(into, u64::from(*deliveries));
        }
    }

    fn save_pending(&self, into: &mut Vec<u8>) {
        put(into, self.pending.len() as u64);
        let (mut seq, mut first, mut last) = (0, 0, 0);
        for entry in self.pending.iter() {
            put(into, entry.seq - seq);
            put_signed(into, entry.first.wrapping_sub(first) as i64);
            put_signed(into, entry.last.wrapping_sub(last));
            put_signed(into, entry.due.wrapping_sub(entry.last));
            put(into, u64::from(entry.deliveries));
            let queued = if entry.stage == Stage::Queued {
                QUEUED
            } else {
                0
            };
            into.push(queued | if entry.delayed { DELAYED } else { 0 });
            (seq, first, last) = (entry.seq, entry.first, entry.last);
        }
    }

    /// Reads back what [`State::save`] wrote.
    pub(in crate::jetstream::consumer) fn load(snapshot: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(snapshot);
        if reader.byte()? != VERSION {
            return Err(reader.corrupt());
        }
        let rules = read_rules(&mut reader)?;
        let delivered = load_position(&mut reader)?;
        let floor = load_position(&mut reader)?;
        let next = reader.number()?;
        let bound = reader.number()?.checked_sub(1);
        let pending = load_pending(&mut reader)?;
        let queued = reader.count()?;
        let queue = (0..queued)
            .map(|_| reader.number())
            .collect::<Result<VecDeque<_>, _>>()?;
        let mut given_up = BTreeMap::new();
        for _ in 0..reader.count()? {
            given_up.insert(reader.number()?, reader.small()?);
        }
        if !reader.is_empty() {
            return Err(reader.corrupt());
        }
        let mut timers = Timers::default();
        timers.rebuild(&pending);
        Ok(Self {
            rules,
            delivered,
            floor,
            next,
            bound,
            pending,
            given_up,
            queue,
            timers,
        })
    }
}

fn load_position(reader: &mut Reader<'_>) -> Result<Position, Corrupt> {
    Ok(Position {
        consumer: reader.number()?,
        stream: reader.number()?,
    })
}

fn load_pending(reader: &mut Reader<'_>) -> Result<Pending, Corrupt> {
    let mut pending = Pending::default();
    let (mut seq, mut first, mut last) = (0_u64, 0_u64, 0_i64);
    for _ in 0..reader.count()? {
        seq = seq.checked_add(reader.number()?).ok_or(reader.corrupt())?;
        first = first.wrapping_add(reader.signed()? as u64);
        last = last.wrapping_add(reader.signed()?);
        let due = last.wrapping_add(reader.signed()?);
        let deliveries = reader.small()?;
        let flags = reader.byte()?;
        let stage = if flags & QUEUED == 0 {
            Stage::Waiting
        } else {
            Stage::Queued
        };
        let delayed = flags & DELAYED != 0;
        if seq == 0
            || !pending.push(Entry {
                seq,
                first,
                last,
                due,
                deliveries,
                stage,
                delayed,
            })
        {
            return Err(reader.corrupt());
        }
    }
    Ok(pending)
}
