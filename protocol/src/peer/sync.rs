//! State of a stream on its way from one replica to another: questions, answers, and the messages
//! and the state in them. Bytes from another node are never believed: every length is checked, and
//! every message carries a checksum of its own.

use super::fields::{BodyError, Reader};

const ASK_MESSAGES: u8 = 1;
const ASK_STATE: u8 = 2;
const ASK_MORE: u8 = 3;
const ASK_END: u8 = 4;
const CHUNK: u8 = 16;
const STATE: u8 = 17;
const REFUSED: u8 = 18;

/// Checksum, lengths of key, header block and payload, sequence, time.
const MESSAGE_HEADER: usize = 30;
const STATE_VERSION: u8 = 1;

/// Which question an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The stream's number.
    pub group: u64,
    /// The exchange, as the asking side counts them.
    pub number: u64,
    /// The question in it.
    pub step: u32,
}

/// What a replica asks another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Committed messages.
    Messages {
        /// The first sequence.
        from: u64,
        /// The last one.
        upto: u64,
        /// About so many bytes at most; one message may be larger.
        most: u32,
    },
    /// Everything else, at one index, with the messages that are new.
    State {
        /// The first sequence that the asking side does not have.
        from: u64,
        /// Only a state of a later index than this one helps.
        after: u64,
    },
    /// The rest of the state.
    More {
        /// Where to go on.
        offset: u64,
    },
    /// Nothing more: what is held for the exchange may go.
    End,
}

/// Why a replica does not give what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It sends as much as it may; later.
    Busy,
    /// It has no such stream, or fetches its state itself.
    NotHere,
    /// Its state is not newer.
    Behind,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Messages in order.
    Chunk(Chunk<'a>),
    /// A part of the state.
    State {
        /// Length of the whole.
        total: u64,
        /// Where the part begins.
        offset: u64,
        /// Checksum of the whole.
        sum: u32,
        /// The part.
        bytes: &'a [u8],
    },
    /// Nothing.
    Refused(Refusal),
}

/// Messages in order of their sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The sequence to go on with.
    pub next: u64,
    /// Nothing is left of what was asked for.
    pub end: bool,
    /// What is left comes with the state.
    pub near: bool,
    /// The message `next` is there and cannot be read.
    pub unreadable: bool,
    /// The messages.
    pub messages: Messages<'a>,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    /// The subject.
    pub key: &'a [u8],
    /// The header block.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Messages one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages<'a>(pub &'a [u8]);

/// All that a replica knows at one index, besides messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State<'a> {
    /// Everything up to this entry is part of it.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
    /// First sequence.
    pub first_seq: u64,
    /// Last sequence.
    pub last_seq: u64,
    /// Time of the last message.
    pub last_ts: i64,
    /// First and last sequence of every run of messages that are there, ascending.
    pub runs: Vec<(u64, u64)>,
    /// What belongs to the core: configuration, members, ids, deadlines, consumers.
    pub blob: &'a [u8],
}

impl Exchange {
    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.step.to_le_bytes());
    }
}

fn read_exchange(from: &mut Reader<'_>) -> Result<Exchange, BodyError> {
    Ok(Exchange {
        group: from.u64()?,
        number: from.u64()?,
        step: from.u32()?,
    })
}

/// Whether a body is a question; the first byte says that.
#[must_use]
pub fn is_ask(body: &[u8]) -> bool {
    body.first().is_some_and(|kind| *kind < CHUNK)
}

impl Ask {
    /// Appends the body.
    pub fn append(&self, exchange: Exchange, out: &mut Vec<u8>) {
        let numbers: &[u64] = match self {
            Self::Messages { from, upto, most } => &[*from, *upto, u64::from(*most)],
            Self::State { from, after } => &[*from, *after],
            Self::More { offset } => &[*offset],
            Self::End => &[],
        };
        out.push(match self {
            Self::Messages { .. } => ASK_MESSAGES,
            Self::State { .. } => ASK_STATE,
            Self::More { .. } => ASK_MORE,
            Self::End => ASK_END,
        });
        exchange.append(out);
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// Reads a body.
    ///
    /// # Errors
    /// It is no question.
    pub fn read(body: &[u8]) -> Result<(Exchange, Self), BodyError> {
        let mut from = Reader(body);
        let kind = from.u8()?;
        let exchange = read_exchange(&mut from)?;
        let ask = match kind {
            ASK_MESSAGES => Self::Messages {
                from: from.u64()?,
                upto: from.u64()?,
                most: u32::try_from(from.u64()?).map_err(|_| BodyError::Unknown)?,
            },
            ASK_STATE => Self::State {
                from: from.u64()?,
                after: from.u64()?,
            },
            ASK_MORE => Self::More {
                offset: from.u64()?,
            },
            ASK_END => Self::End,
            _ => return Err(BodyError::Unknown),
        };
        Ok((exchange, ask))
    }
}

impl<'a> Answer<'a> {
    /// Appends the body.
    pub fn append(&self, exchange: Exchange, out: &mut Vec<u8>) {
        match self {
            Self::Chunk(chunk) => {
                out.push(CHUNK);
                exchange.append(out);
                out.extend_from_slice(&chunk.next.to_le_bytes());
                let flags = [chunk.end, chunk.near, chunk.unreadable];
                let bits = flags.iter().enumerate();
                out.push(bits.map(|(at, flag)| u8::from(*flag) << at).sum());
                out.extend_from_slice(chunk.messages.0);
            }
            Self::State {
                total,
                offset,
                sum,
                bytes,
            } => {
                out.push(STATE);
                exchange.append(out);
                out.extend_from_slice(&total.to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&sum.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Refused(why) => {
                out.push(REFUSED);
                exchange.append(out);
                out.push(match why {
                    Refusal::Busy => 1,
                    Refusal::NotHere => 2,
                    Refusal::Behind => 3,
                });
            }
        }
    }

    /// Reads a body. The messages of a chunk are checked when they are taken out.
    ///
    /// # Errors
    /// It is no answer.
    pub fn read(body: &'a [u8]) -> Result<(Exchange, Self), BodyError> {
        let mut from = Reader(body);
        let kind = from.u8()?;
        let exchange = read_exchange(&mut from)?;
        let answer = match kind {
            CHUNK => {
                let next = from.u64()?;
                let flags = from.u8()?;
                let flag = |at: u8| flags >> at & 1 == 1;
                Self::Chunk(Chunk {
                    next,
                    end: flag(0),
                    near: flag(1),
                    unreadable: flag(2),
                    messages: Messages(from.0),
                })
            }
            STATE => {
                let (total, offset, sum) = (from.u64()?, from.u64()?, from.u32()?);
                let end = offset.checked_add(from.0.len() as u64);
                if end.is_none_or(|end| end > total) {
                    return Err(BodyError::Unknown);
                }
                let bytes = from.0;
                Self::State {
                    total,
                    offset,
                    sum,
                    bytes,
                }
            }
            REFUSED => Self::Refused(match from.u8()? {
                1 => Refusal::Busy,
                2 => Refusal::NotHere,
                3 => Refusal::Behind,
                _ => return Err(BodyError::Unknown),
            }),
            _ => return Err(BodyError::Unknown),
        };
        Ok((exchange, answer))
    }
}

impl Message<'_> {
    /// Appends the message with its checksum.
    pub fn append(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.headers.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.headers);
        out.extend_from_slice(self.payload);
        let sum = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

impl<'a> Messages<'a> {
    /// Takes the first message off.
    ///
    /// # Errors
    /// What is left does not begin with a message, or the message was altered.
    pub fn take(&mut self) -> Result<Option<Message<'a>>, BodyError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut from = Reader(self.0);
        let sum = from.u32()?;
        let key = usize::from(from.u16()?);
        let (headers, payload) = (from.u32()? as usize, from.u32()? as usize);
        let (seq, timestamp) = (from.u64()?, from.u64()?.cast_signed());
        let body = from.0;
        let (key, rest) = body.split_at_checked(key).ok_or(BodyError::Short)?;
        let (headers, rest) = rest.split_at_checked(headers).ok_or(BodyError::Short)?;
        let (payload, rest) = rest.split_at_checked(payload).ok_or(BodyError::Short)?;
        let whole = MESSAGE_HEADER + body.len() - rest.len();
        if crc32c::crc32c(&self.0[4..whole]) != sum {
            return Err(BodyError::Unknown);
        }
        self.0 = rest;
        Ok(Some(Message {
            seq,
            timestamp,
            key,
            headers,
            payload,
        }))
    }
}

impl<'a> State<'a> {
    /// Appends the state and, behind it, the messages that are new.
    pub fn append(&self, messages: Messages<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        out.push(STATE_VERSION);
        for number in [self.index, self.term, self.first_seq, self.last_seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.last_ts.to_le_bytes());
        out.extend_from_slice(&(self.runs.len() as u64).to_le_bytes());
        let mut end = 0_u64;
        for (first, last) in &self.runs {
            put_varint(out, first - end);
            put_varint(out, last - first);
            end = *last;
        }
        out.extend_from_slice(self.blob);
        let length = (out.len() - start - 8) as u64;
        out[start..start + 8].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(messages.0);
    }

    /// Splits what [`append`](Self::append) made into the bytes of the state and the messages.
    ///
    /// # Errors
    /// It is shorter than it says.
    pub fn split(bytes: &'a [u8]) -> Result<(&'a [u8], Messages<'a>), BodyError> {
        let mut from = Reader(bytes);
        let length = usize::try_from(from.u64()?).map_err(|_| BodyError::Short)?;
        let (state, messages) = from.0.split_at_checked(length).ok_or(BodyError::Short)?;
        Ok((state, Messages(messages)))
    }

    /// Reads the bytes of a state.
    ///
    /// # Errors
    /// They are none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let mut from = Reader(bytes);
        if from.u8()? != STATE_VERSION {
            return Err(BodyError::Unknown);
        }
        let mut state = Self {
            index: from.u64()?,
            term: from.u64()?,
            first_seq: from.u64()?,
            last_seq: from.u64()?,
            last_ts: from.u64()?.cast_signed(),
            ..Self::default()
        };
        let mut end = 0_u64;
        let mut before: Option<u64> = None;
        for _ in 0..from.u64()? {
            let first = end.checked_add(take_varint(&mut from)?);
            let first = first.ok_or(BodyError::Unknown)?;
            let last = first.checked_add(take_varint(&mut from)?);
            let last = last.ok_or(BodyError::Unknown)?;
            if before.is_some_and(|before| first <= before) || last > state.last_seq {
                return Err(BodyError::Unknown);
            }
            (end, before) = (last, Some(last));
            state.runs.push((first, last));
        }
        state.blob = from.0;
        Ok(state)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(from: &mut Reader<'_>) -> Result<u64, BodyError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = from.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BodyError::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: Exchange = Exchange {
        group: 7,
        number: 9,
        step: 3,
    };

    fn message(seq: u64) -> Message<'static> {
        Message {
            seq,
            timestamp: -5,
            key: b"a.b",
            headers: b"NATS/1.0\r\n\r\n",
            payload: b"hello",
        }
    }

    #[test]
    fn questions_and_answers_survive_their_bytes_and_no_prefix_of_a_question_does() {
        let asks = [
            Ask::Messages {
                from: 1,
                upto: u64::MAX,
                most: 1 << 20,
            },
            Ask::State { from: 4, after: 5 },
            Ask::More { offset: 9 },
            Ask::End,
        ];
        for ask in asks {
            let mut body = Vec::new();
            ask.append(EXCHANGE, &mut body);
            assert!(is_ask(&body));
            assert_eq!(Ask::read(&body), Ok((EXCHANGE, ask)));
            for len in 0..body.len() {
                assert!(Ask::read(&body[..len]).is_err(), "{ask:?} cut to {len}");
            }
        }
        let mut messages = Vec::new();
        message(5).append(&mut messages);
        message(8).append(&mut messages);
        let answers = [
            Answer::Chunk(Chunk {
                next: 9,
                end: false,
                near: true,
                unreadable: true,
                messages: Messages(&messages),
            }),
            Answer::State {
                total: 100,
                offset: 95,
                sum: 1,
                bytes: b"12345",
            },
            Answer::Refused(Refusal::Behind),
        ];
        for answer in answers {
            let mut body = Vec::new();
            answer.append(EXCHANGE, &mut body);
            assert!(!is_ask(&body));
            assert_eq!(Answer::read(&body), Ok((EXCHANGE, answer)));
        }
        let beyond = Answer::State {
            total: 99,
            offset: 95,
            sum: 1,
            bytes: b"12345",
        };
        let mut body = Vec::new();
        beyond.append(EXCHANGE, &mut body);
        assert!(Answer::read(&body).is_err());
    }

    #[test]
    fn an_altered_or_cut_message_is_refused() {
        let mut bytes = Vec::new();
        message(5).append(&mut bytes);
        let mut good = Messages(&bytes);
        assert_eq!(good.take(), Ok(Some(message(5))));
        assert_eq!(good.take(), Ok(None));
        for at in 0..bytes.len() {
            assert!(at == 0 || Messages(&bytes[..at]).take().is_err());
            let mut hurt = bytes.clone();
            hurt[at] ^= 4;
            assert!(Messages(&hurt).take().is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_state_survives_its_bytes_and_nothing_else_is_one() {
        let state = State {
            index: 70,
            term: 3,
            first_seq: 5,
            last_seq: 900,
            last_ts: -1,
            runs: vec![(5, 5), (6, 8), (200, 900)],
            blob: b"blob",
        };
        let mut bytes = Vec::new();
        let mut messages = Vec::new();
        message(900).append(&mut messages);
        state.append(Messages(&messages), &mut bytes);
        let (head, rest) = State::split(&bytes).unwrap();
        assert_eq!(rest, Messages(&messages));
        assert_eq!(State::read(head), Ok(state.clone()));
        for len in 0..head.len() - state.blob.len() {
            assert!(State::read(&head[..len]).is_err(), "cut to {len}");
        }
        let wrong = State {
            last_seq: 899,
            ..state
        };
        bytes.clear();
        wrong.append(Messages(&[]), &mut bytes);
        let (head, _) = State::split(&bytes).unwrap();
        assert!(State::read(head).is_err(), "a run beyond the end");
        let mut lie = vec![STATE_VERSION];
        lie.extend([0; 40]);
        lie.extend(u64::MAX.to_le_bytes());
        assert!(State::read(&lie).is_err(), "a count without runs");
    }
}
