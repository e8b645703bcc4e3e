//! What cores say to each other beside consensus, as bytes: one frame each, its first byte the kind.

use bytes::Bytes;

use super::asked::Asked;
use crate::jetstream::entry::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::jetstream::io::{AccountId, NodeId, Outgoing, Timestamp};
use crate::jetstream::log::GroupId;

const STATE: u8 = 2;
const WELCOME: u8 = 3;
const REQUEST: u8 = 5;
const ANSWER: u8 = 6;
const LEADS: u8 = 7;
const GONE: u8 = 8;
const ASK: u8 = 9;
const TELL: u8 = 10;
const WANT_STATE: u8 = 11;
const HAVE_STATE: u8 = 12;
const FOUND: u8 = 13;
const TAKEN: u8 = 14;

/// What fits at a node, and what of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Most bytes of memory streams.
    pub(crate) max_memory: u64,
    /// Most bytes of file streams.
    pub(crate) max_file: u64,
    /// Bytes of memory streams.
    pub(crate) memory: u64,
    /// Bytes of file streams.
    pub(crate) file: u64,
}

impl Room {
    /// For a node that says nothing at the moment.
    pub(crate) const UNLIMITED: Self = Self {
        max_memory: u64::MAX,
        max_file: u64::MAX,
        memory: 0,
        file: 0,
    };

    fn write(&self, into: &mut Vec<u8>) {
        for part in [self.max_memory, self.max_file, self.memory, self.file] {
            put_u64(into, part);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            max_memory: from.u64()?,
            max_file: from.u64()?,
            memory: from.u64()?,
            file: from.u64()?,
        })
    }
}

/// What a node says of itself when a link opens, and when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// The cluster that it belongs to, 0 for none.
    pub(crate) cluster: u64,
    /// How many nodes it expects a new cluster to have.
    pub(crate) expects: u64,
    /// The last time it was granted what it asked for or granted it: the founder, 0 for none.
    pub(crate) granted: NodeId,
    /// What fits there.
    pub(crate) room: Room,
}

/// A stream that no cluster knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The account that owns it.
    pub(crate) account: AccountId,
    /// Its number.
    pub(crate) group: GroupId,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// Its configuration as JSON.
    pub(crate) config: Vec<u8>,
}

/// A message from one core to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// How the node stands.
    State(NodeState),
    /// The receiver becomes a member of this cluster, if it belongs to none.
    Welcome { cluster: u64 },
    /// A request to be answered there, forwarded so many times; with a configuration that was found good already, if
    /// there is one.
    Request {
        hops: u8,
        config: Vec<u8>,
        asked: Asked,
    },
    /// An answer, to be routed there.
    Answer {
        account: AccountId,
        reply: Vec<u8>,
        headers: Vec<u8>,
        body: Vec<u8>,
    },
    /// The sender leads these groups, in these terms.
    Leads(Vec<(GroupId, u64)>),
    /// The receiver does not belong to this group any more.
    Gone { group: GroupId },
    /// A question to all.
    Ask {
        id: u64,
        account: AccountId,
        names: Vec<String>,
    },
    /// The answer to it.
    Tell { id: u64, body: Vec<u8> },
    /// The sender has fallen behind in the group of all nodes.
    WantState { group: GroupId },
    /// The state of that group: member and state.
    HaveState { group: GroupId, body: Vec<u8> },
    /// The sender has a stream from the time when it belonged to no cluster.
    Found(Found),
    /// The cluster does not take it.
    Taken { group: GroupId },
}

impl Say {
    /// Whether a frame is one of these.
    pub(crate) fn is_one(frame: &[u8]) -> bool {
        frame
            .first()
            .is_some_and(|kind| (STATE..=TAKEN).contains(kind))
    }

    /// The frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut into = Vec::new();
        match self {
            Self::State(state) => {
                into.push(STATE);
                put_u64(&mut into, state.cluster);
                put_u64(&mut into, state.expects);
                put_u64(&mut into, state.granted);
                state.room.write(&mut into);
            }
            Self::Welcome { cluster } => {
                into.push(WELCOME);
                put_u64(&mut into, *cluster);
            }
            Self::Request {
                hops,
                config,
                asked,
            } => {
                into.extend_from_slice(&[REQUEST, *hops]);
                put_bytes(&mut into, config);
                asked.write(&mut into);
            }
            Self::Answer {
                account,
                reply,
                headers,
                body,
            } => {
                into.push(ANSWER);
                put_u64(&mut into, (*account).into());
                for part in [reply, headers, body] {
                    put_bytes(&mut into, part);
                }
            }
            Self::Leads(groups) => {
                into.push(LEADS);
                for (group, term) in groups {
                    put_u64(&mut into, *group);
                    put_u64(&mut into, *term);
                }
            }
            Self::Gone { group } => {
                into.push(GONE);
                put_u64(&mut into, *group);
            }
            Self::Ask { id, account, names } => {
                into.push(ASK);
                put_u64(&mut into, *id);
                put_u64(&mut into, (*account).into());
                for name in names {
                    put_bytes(&mut into, name.as_bytes());
                }
            }
            Self::WantState { group } => {
                into.push(WANT_STATE);
                put_u64(&mut into, *group);
            }
            Self::HaveState { group, body } => {
                into.push(HAVE_STATE);
                put_u64(&mut into, *group);
                put_bytes(&mut into, body);
            }
            Self::Found(found) => {
                into.push(FOUND);
                put_u64(&mut into, found.account.into());
                put_u64(&mut into, found.group);
                put_i64(&mut into, found.created);
                put_bytes(&mut into, &found.config);
            }
            Self::Taken { group } => {
                into.push(TAKEN);
                put_u64(&mut into, *group);
            }
            Self::Tell { id, body } => {
                into.push(TELL);
                put_u64(&mut into, *id);
                put_bytes(&mut into, body);
            }
        }
        into
    }

    /// Reads a frame.
    pub(crate) fn decode(frame: &Bytes) -> Result<Self, Malformed> {
        let mut from = Reader { rest: frame };
        let account = |number: u64| AccountId::try_from(number).map_err(|_| Malformed);
        let said = match from.u8()? {
            STATE => Self::State(NodeState {
                cluster: from.u64()?,
                expects: from.u64()?,
                granted: from.u64()?,
                room: Room::read(&mut from)?,
            }),
            WELCOME => Self::Welcome {
                cluster: from.u64()?,
            },
            REQUEST => Self::Request {
                hops: from.u8()?,
                config: from.bytes()?.to_vec(),
                asked: Asked::read(&mut from)?,
            },
            ANSWER => Self::Answer {
                account: account(from.u64()?)?,
                reply: from.bytes()?.to_vec(),
                headers: from.bytes()?.to_vec(),
                body: from.bytes()?.to_vec(),
            },
            LEADS => {
                let mut groups = Vec::new();
                while !from.rest.is_empty() {
                    groups.push((from.u64()?, from.u64()?));
                }
                Self::Leads(groups)
            }
            GONE => Self::Gone { group: from.u64()? },
            ASK => {
                let (id, account) = (from.u64()?, account(from.u64()?)?);
                let mut names = Vec::new();
                while !from.rest.is_empty() {
                    let name = std::str::from_utf8(from.bytes()?).map_err(|_| Malformed)?;
                    names.push(name.to_owned());
                }
                Self::Ask { id, account, names }
            }
            TELL => Self::Tell {
                id: from.u64()?,
                body: from.bytes()?.to_vec(),
            },
            WANT_STATE => Self::WantState { group: from.u64()? },
            HAVE_STATE => Self::HaveState {
                group: from.u64()?,
                body: from.bytes()?.to_vec(),
            },
            FOUND => Self::Found(Found {
                account: account(from.u64()?)?,
                group: from.u64()?,
                created: from.i64()?,
                config: from.bytes()?.to_vec(),
            }),
            TAKEN => Self::Taken { group: from.u64()? },
            _ => return Err(Malformed),
        };
        from.rest.is_empty().then_some(said).ok_or(Malformed)
    }
}

/// An answer for a client of another node.
pub(crate) fn answer(message: &Outgoing<'_>) -> Vec<u8> {
    let said = Say::Answer {
        account: message.account,
        reply: message.route.to_vec(),
        headers: message.headers.to_vec(),
        body: message.payload.to_vec(),
    };
    said.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_survives_its_bytes() {
        let asked = Asked {
            origin: 7,
            subject: b"$JS.API.INFO".to_vec(),
            client: "{}".to_owned(),
            ..Asked::default()
        };
        let all = [
            Say::State(NodeState {
                cluster: 1,
                expects: 2,
                granted: 3,
                room: Room {
                    max_memory: 4,
                    max_file: 5,
                    memory: 6,
                    file: 7,
                },
            }),
            Say::Welcome { cluster: 9 },
            Say::Request {
                hops: 1,
                config: b"{}".to_vec(),
                asked,
            },
            Say::Answer {
                account: 0,
                reply: b"r".to_vec(),
                headers: Vec::new(),
                body: b"{}".to_vec(),
            },
            Say::Leads(vec![(1, 2), (3, 4)]),
            Say::Gone { group: 5 },
            Say::WantState { group: 5 },
            Say::HaveState {
                group: 5,
                body: b"x".to_vec(),
            },
            Say::Ask {
                id: 1,
                account: 0,
                names: vec!["a".to_owned()],
            },
            Say::Tell {
                id: 1,
                body: b"{}".to_vec(),
            },
            Say::Found(Found {
                account: 1,
                group: 2,
                created: -3,
                config: b"{}".to_vec(),
            }),
            Say::Taken { group: 2 },
        ];
        for said in all {
            let frame = Bytes::from(said.encode());
            assert!(Say::is_one(&frame));
            assert_eq!(Say::decode(&frame), Ok(said));
        }
    }
}
