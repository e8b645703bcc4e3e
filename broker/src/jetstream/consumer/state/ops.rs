//! The operations that change a consumer's recorded state, and their form in the log.
//!
//! One log record holds any number of operations. Sequences are written as differences to the one before, runs of
//! neighbours as one operation, and the time once for all operations that share it.

use super::codec::{Corrupt, Reader, put, put_signed};
use super::rules::{Acks, Rules};
use crate::jetstream::io::Timestamp;

/// The longest run of neighbours in one operation, so that a damaged record cannot ask for endless work.
pub(super) const MAX_RUN: u64 = 1 << 16;
/// The most waits of a backoff list that a record may hold.
const MAX_BACKOFF: usize = 1 << 16;

/// One change of the recorded state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jetstream::consumer) enum Op {
    /// First deliveries of `len` neighbours from `seq` on.
    Deliver { seq: u64, len: u64 },
    /// Another delivery of `len` neighbours from `seq` on, each from the front of the redelivery queue.
    Redeliver { seq: u64, len: u64 },
    /// These are done: acknowledged, terminated or gone from the stream.
    Ack { seq: u64, len: u64 },
    /// Everything up to `stream` is done.
    AckUpTo { consumer: u64, stream: u64 },
    /// To be delivered again at `due`.
    Delay { seq: u64, due: Timestamp },
    /// To be delivered again at once.
    Requeue { seq: u64 },
    /// The client still works on it.
    Progress { seq: u64 },
    /// Whatever is due goes to the redelivery queue, or is given up.
    Expire,
    /// No further attempt.
    GiveUp { seq: u64 },
    /// Everything below `next` is gone from the stream.
    Jump { next: u64 },
    /// Everything pending is to be delivered again at once.
    RequeueAll,
    /// A new configuration.
    Rules(Rules),
    /// Everything is forgotten; the next sequence is `next`.
    Reset { next: u64 },
}

const DELIVER: u8 = 1;
const REDELIVER: u8 = 2;
const ACK: u8 = 3;
const ACK_UP_TO: u8 = 4;
const DELAY: u8 = 5;
const REQUEUE: u8 = 6;
const PROGRESS: u8 = 7;
const EXPIRE: u8 = 8;
const GIVE_UP: u8 = 9;
const JUMP: u8 = 10;
const REQUEUE_ALL: u8 = 11;
const RULES: u8 = 12;
const CLOCK: u8 = 13;
const RESET: u8 = 14;

#[derive(Clone, Copy, Debug)]
struct Run {
    tag: u8,
    seq: u64,
    len: u64,
}

/// Operations that are not yet in the log.
#[derive(Debug, Default)]
pub(in crate::jetstream::consumer) struct OpBuffer {
    bytes: Vec<u8>,
    clock: Option<Timestamp>,
    last: u64,
    run: Option<Run>,
}

impl OpBuffer {
    /// Whether anything waits for the log.
    pub(in crate::jetstream::consumer) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.run.is_none()
    }

    /// Adds an operation that happens at `now`.
    pub(in crate::jetstream::consumer) fn push(&mut self, op: &Op, now: Timestamp) {
        match *op {
            Op::Deliver { seq, len } => self.run(DELIVER, seq, len, Some(now)),
            Op::Redeliver { seq, len } => self.run(REDELIVER, seq, len, Some(now)),
            Op::Ack { seq, len } => self.run(ACK, seq, len, None),
            Op::AckUpTo { consumer, stream } => {
                self.start(ACK_UP_TO);
                put(&mut self.bytes, consumer);
                put(&mut self.bytes, stream);
            }
            Op::Delay { seq, due } => {
                self.one(DELAY, seq);
                put_signed(&mut self.bytes, due);
            }
            Op::Requeue { seq } => self.one(REQUEUE, seq),
            Op::Progress { seq } => {
                self.clock(now);
                self.one(PROGRESS, seq);
            }
            Op::Expire => {
                self.clock(now);
                self.start(EXPIRE);
            }
            Op::GiveUp { seq } => self.one(GIVE_UP, seq),
            Op::Jump { next } => {
                self.start(JUMP);
                put(&mut self.bytes, next);
            }
            Op::Reset { next } => {
                self.start(RESET);
                put(&mut self.bytes, next);
            }
            Op::RequeueAll => self.start(REQUEUE_ALL),
            Op::Rules(ref rules) => {
                self.start(RULES);
                put_rules(&mut self.bytes, rules);
            }
        }
    }

    fn run(&mut self, tag: u8, seq: u64, len: u64, now: Option<Timestamp>) {
        if let Some(now) = now {
            self.clock(now);
        }
        if let Some(run) = &mut self.run
            && run.tag == tag
            && run.seq.wrapping_add(run.len) == seq
            && run.len + len <= MAX_RUN
        {
            run.len += len;
            return;
        }
        self.close_run();
        self.run = Some(Run { tag, seq, len });
    }

    fn close_run(&mut self) {
        if let Some(Run { tag, seq, len }) = self.run.take() {
            self.bytes.push(tag);
            self.sequence(seq);
            put(&mut self.bytes, len);
            self.last = seq.wrapping_add(len);
        }
    }

    fn sequence(&mut self, seq: u64) {
        put_signed(&mut self.bytes, seq.wrapping_sub(self.last) as i64);
        self.last = seq;
    }

    fn start(&mut self, tag: u8) {
        self.close_run();
        self.bytes.push(tag);
    }

    fn one(&mut self, tag: u8, seq: u64) {
        self.start(tag);
        self.sequence(seq);
    }

    fn clock(&mut self, now: Timestamp) {
        if self.clock != Some(now) {
            self.start(CLOCK);
            put_signed(&mut self.bytes, now);
            self.clock = Some(now);
        }
    }

    /// Hands the record over and starts the next one.
    pub(in crate::jetstream::consumer) fn take<T>(&mut self, write: impl FnOnce(&[u8]) -> T) -> T {
        self.close_run();
        let result = write(&self.bytes);
        self.bytes.clear();
        self.clock = None;
        self.last = 0;
        result
    }
}

/// Reads one record and hands out each operation with its time.
pub(super) fn decode(record: &[u8], mut apply: impl FnMut(&Op, Timestamp)) -> Result<(), Corrupt> {
    let mut reader = Reader::new(record);
    let (mut clock, mut last) = (0, 0_u64);
    while !reader.is_empty() {
        let tag = reader.byte()?;
        let mut sequence = |reader: &mut Reader<'_>| -> Result<u64, Corrupt> {
            last = last.wrapping_add(reader.signed()? as u64);
            Ok(last)
        };
        let op = match tag {
            CLOCK => {
                clock = reader.signed()?;
                continue;
            }
            DELIVER | REDELIVER | ACK => {
                let seq = sequence(&mut reader)?;
                let len = reader.number()?;
                if len > MAX_RUN || seq.checked_add(len).is_none() {
                    return Err(reader.corrupt());
                }
                last = seq + len;
                match tag {
                    DELIVER => Op::Deliver { seq, len },
                    REDELIVER => Op::Redeliver { seq, len },
                    _ => Op::Ack { seq, len },
                }
            }
            ACK_UP_TO => Op::AckUpTo {
                consumer: reader.number()?,
                stream: reader.number()?,
            },
            DELAY => Op::Delay {
                seq: sequence(&mut reader)?,
                due: reader.signed()?,
            },
            REQUEUE => Op::Requeue {
                seq: sequence(&mut reader)?,
            },
            PROGRESS => Op::Progress {
                seq: sequence(&mut reader)?,
            },
            EXPIRE => Op::Expire,
            GIVE_UP => Op::GiveUp {
                seq: sequence(&mut reader)?,
            },
            JUMP => Op::Jump {
                next: reader.number()?,
            },
            RESET => Op::Reset {
                next: reader.number()?,
            },
            REQUEUE_ALL => Op::RequeueAll,
            RULES => Op::Rules(read_rules(&mut reader)?),
            _ => return Err(reader.corrupt()),
        };
        apply(&op, clock);
    }
    Ok(())
}

pub(super) fn put_rules(into: &mut Vec<u8>, rules: &Rules) {
    into.push(match rules.acks {
        Acks::None => 0,
        Acks::All => 1,
        Acks::Explicit => 2,
    });
    put_signed(into, rules.ack_wait);
    put(into, u64::from(rules.max_deliver));
    put(into, rules.backoff.len() as u64);
    for wait in &rules.backoff {
        put_signed(into, *wait);
    }
}

pub(super) fn read_rules(reader: &mut Reader<'_>) -> Result<Rules, Corrupt> {
    let acks = match reader.byte()? {
        0 => Acks::None,
        1 => Acks::All,
        2 => Acks::Explicit,
        _ => return Err(reader.corrupt()),
    };
    let ack_wait = reader.signed()?;
    let max_deliver = reader.small()?;
    let count = reader.count()?;
    if count > MAX_BACKOFF {
        return Err(reader.corrupt());
    }
    let backoff = (0..count)
        .map(|_| reader.signed())
        .collect::<Result<_, _>>()?;
    Ok(Rules {
        acks,
        ack_wait,
        backoff,
        max_deliver,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(ops: &[(Op, Timestamp)]) -> (usize, Vec<(Op, Timestamp)>) {
        let mut buffer = OpBuffer::default();
        for (op, now) in ops {
            buffer.push(op, *now);
        }
        let mut out = Vec::new();
        let size = buffer.take(|record| {
            decode(record, |op, at| out.push((op.clone(), at))).unwrap();
            record.len()
        });
        assert!(buffer.is_empty());
        (size, out)
    }

    #[test]
    fn neighbours_become_one_short_run() {
        let ops: Vec<_> = (1..=1000)
            .map(|seq| (Op::Deliver { seq, len: 1 }, 77))
            .collect();
        let (size, out) = through(&ops);
        assert_eq!(out, [(Op::Deliver { seq: 1, len: 1000 }, 77)]);
        assert!(size < 10, "{size}");
    }

    #[test]
    fn everything_survives_the_way_through_the_log() {
        let rules = Rules {
            acks: Acks::All,
            ack_wait: 5,
            backoff: vec![1, -2, i64::MAX],
            max_deliver: 9,
        };
        let ops = [
            (Op::Deliver { seq: 5, len: 1 }, 9),
            (Op::Deliver { seq: 7, len: 1 }, 9),
            (Op::Redeliver { seq: 5, len: 1 }, 10),
            (Op::Progress { seq: 7 }, 11),
            (Op::Delay { seq: 5, due: 99 }, 11),
            (Op::Requeue { seq: 7 }, 11),
            (Op::Expire, 12),
            (Op::GiveUp { seq: u64::MAX - 1 }, 12),
            (Op::Ack { seq: 1, len: 3 }, 12),
            (
                Op::AckUpTo {
                    consumer: 4,
                    stream: 5,
                },
                12,
            ),
            (Op::Jump { next: 40 }, 12),
            (Op::RequeueAll, 12),
            (Op::Reset { next: 9 }, 12),
            (Op::Rules(rules), 12),
        ];
        let (_, out) = through(&ops);
        assert_eq!(out, ops);
    }

    #[test]
    fn damaged_records_are_refused() {
        for record in [
            &[99][..],
            &[DELIVER],
            &[DELIVER, 2, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[RULES, 7],
        ] {
            assert!(decode(record, |_, _| ()).is_err(), "{record:?}");
        }
    }
}
