//! What all nodes of a cluster agree on: its nodes, and which stream is where. A state machine behind the log of the
//! group of all nodes: entries in order, nothing else.

use std::collections::{BTreeMap, BTreeSet};

use jetwake_protocol::jetstream::json::{Rules, from_json};
use jetwake_protocol::jetstream::stream::StreamConfig;

use super::asked::Asked;
use crate::jetstream::entry::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::jetstream::io::{AccountId, NodeId, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::subjects::Subjects;

const FOUND: u8 = 1;
const NODE: u8 = 2;
const FORGET: u8 = 3;
const CREATE: u8 = 4;
const UPDATE: u8 = 5;
const DELETE: u8 = 6;
const VERSION: u8 = 1;

/// A stream and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// Its number in the whole cluster, never used again.
    pub(crate) group: GroupId,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// Its configuration as JSON, and read.
    pub(crate) json: Vec<u8>,
    pub(crate) config: StreamConfig,
    /// The name of its group, empty for one replica; stays what it was when it was given.
    pub(crate) raft_name: String,
    /// The nodes that are to have it.
    pub(crate) peers: Vec<NodeId>,
    /// Its number in the index of subjects.
    id: u32,
}

/// One step of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The cluster begins, under this number.
    Found { cluster: u64 },
    /// A node belongs to it. An older incarnation of the same name does not any more.
    Node { id: NodeId, name: String },
    /// A node does not belong to it any more.
    Forget { id: NodeId },
    /// A stream is created.
    Create {
        account: AccountId,
        group: GroupId,
        created: Timestamp,
        config: Vec<u8>,
        raft_name: String,
        peers: Vec<NodeId>,
        asked: Asked,
    },
    /// A stream changes.
    Update {
        group: GroupId,
        config: Vec<u8>,
        raft_name: String,
        peers: Vec<NodeId>,
        asked: Asked,
    },
    /// A stream is deleted.
    Delete { group: GroupId, asked: Asked },
}

/// What an entry changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Nodes, or who has what because of that.
    Nodes,
    /// A stream is there.
    Created(GroupId, Asked),
    /// Somebody was quicker: the name exists.
    Taken(Asked),
    /// A stream's configuration or place is another.
    Updated(GroupId, Asked),
    /// A stream is gone; what it was.
    Deleted(AccountId, Box<Assignment>, Asked),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    /// The number of the cluster, 0 for none.
    pub(crate) cluster: u64,
    /// The nodes that belong to it, by number.
    pub(crate) nodes: BTreeMap<NodeId, String>,
    /// Names of nodes that belonged to it once.
    old: BTreeMap<NodeId, String>,
    streams: BTreeMap<(AccountId, String), Assignment>,
    names: BTreeMap<GroupId, (AccountId, String)>,
    /// The numbers of streams that were deleted.
    dropped: BTreeSet<GroupId>,
    /// Who owns which subject.
    subjects: BTreeMap<AccountId, Subjects>,
    last_id: u32,
    /// The highest number of a stream.
    pub(crate) last_group: GroupId,
}

impl Meta {
    /// A stream by name.
    pub(crate) fn get(&self, account: AccountId, name: &str) -> Option<&Assignment> {
        self.streams.get(&(account, name.to_owned()))
    }

    /// A stream by number.
    pub(crate) fn by_group(&self, group: GroupId) -> Option<(AccountId, &Assignment)> {
        let key = self.names.get(&group)?;
        Some((key.0, self.streams.get(key)?))
    }

    /// The streams of an account by name.
    pub(crate) fn of(&self, account: AccountId) -> impl Iterator<Item = &Assignment> {
        let first = (account, String::new());
        let all = self.streams.range(first..);
        all.take_while(move |((owner, _), _)| *owner == account)
            .map(|(_, one)| one)
    }

    /// All streams.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Assignment> {
        self.streams.values()
    }

    /// Whether a stream was deleted.
    pub(crate) fn is_dropped(&self, group: GroupId) -> bool {
        self.dropped.contains(&group)
    }

    /// The name of a node, also of one that is gone.
    pub(crate) fn name_of(&self, node: NodeId) -> Option<&str> {
        let known = self.nodes.get(&node).or_else(|| self.old.get(&node));
        known.map(String::as_str)
    }

    /// Whether a stream of the account other than the one called `except` owns what `filter` matches.
    pub(crate) fn is_owned(&self, account: AccountId, filter: &str, except: &str) -> bool {
        let own = self.get(account, except).map_or(0, |one| one.id);
        let subjects = self.subjects.get(&account);
        subjects.is_some_and(|one| one.overlaps(filter.as_bytes(), own))
    }

    /// Performs an entry.
    pub(crate) fn apply(&mut self, entry: Entry) -> Change {
        match entry {
            Entry::Found { cluster } => {
                self.cluster = cluster;
                Change::Nodes
            }
            Entry::Node { id, name } => {
                let old = self
                    .nodes
                    .iter()
                    .find(|(old, one)| **one == name && **old != id);
                if let Some(old) = old.map(|(old, _)| *old) {
                    self.replace(old, id);
                }
                self.nodes.insert(id, name);
                Change::Nodes
            }
            Entry::Forget { id } => {
                if let Some(name) = self.nodes.remove(&id) {
                    self.old.insert(id, name);
                }
                Change::Nodes
            }
            Entry::Create {
                account,
                group,
                created,
                config,
                raft_name,
                peers,
                asked,
            } => {
                let Ok(parsed) = read_config(&config) else {
                    return Change::None;
                };
                if self.get(account, &parsed.name).is_some() || self.names.contains_key(&group) {
                    return Change::Taken(asked);
                }
                self.insert(account, group, created, (config, parsed), raft_name, peers);
                Change::Created(group, asked)
            }
            Entry::Update {
                group,
                config,
                raft_name,
                peers,
                asked,
            } => {
                let Ok(parsed) = read_config(&config) else {
                    return Change::None;
                };
                let Some((account, old)) = self.remove(group) else {
                    return Change::None;
                };
                self.insert(
                    account,
                    group,
                    old.created,
                    (config, parsed),
                    raft_name,
                    peers,
                );
                Change::Updated(group, asked)
            }
            Entry::Delete { group, asked } => match self.remove(group) {
                Some((account, old)) => {
                    self.dropped.insert(group);
                    Change::Deleted(account, Box::new(old), asked)
                }
                None => Change::None,
            },
        }
    }

    /// A node has come back with an empty directory: it takes the place of its former self where there are others that
    /// have the data.
    fn replace(&mut self, old: NodeId, new: NodeId) {
        if let Some(name) = self.nodes.remove(&old) {
            self.old.insert(old, name);
        }
        for one in self.streams.values_mut().filter(|one| one.peers.len() > 1) {
            for peer in one.peers.iter_mut().filter(|peer| **peer == old) {
                *peer = new;
            }
        }
    }

    fn insert(
        &mut self,
        account: AccountId,
        group: GroupId,
        created: Timestamp,
        (json, config): (Vec<u8>, StreamConfig),
        raft_name: String,
        peers: Vec<NodeId>,
    ) {
        self.last_id += 1;
        let id = self.last_id;
        let subjects = self.subjects.entry(account).or_default();
        for subject in &config.subjects {
            subjects.add(subject.as_bytes(), id);
        }
        let key = (account, config.name.clone());
        self.names.insert(group, key.clone());
        self.last_group = self.last_group.max(group);
        let one = Assignment {
            group,
            created,
            json,
            config,
            raft_name,
            peers,
            id,
        };
        self.streams.insert(key, one);
    }

    fn remove(&mut self, group: GroupId) -> Option<(AccountId, Assignment)> {
        let key = self.names.remove(&group)?;
        let one = self.streams.remove(&key)?;
        let subjects = self.subjects.entry(key.0).or_default();
        for subject in &one.config.subjects {
            subjects.remove(subject.as_bytes(), one.id);
        }
        Some((key.0, one))
    }

    /// Appends everything, as [`read`](Self::read) takes it.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.push(VERSION);
        put_u64(into, self.cluster);
        put_u64(into, self.last_group);
        for nodes in [&self.nodes, &self.old] {
            put_u64(into, nodes.len() as u64);
            for (id, name) in nodes {
                put_u64(into, *id);
                put_bytes(into, name.as_bytes());
            }
        }
        put_u64(into, self.dropped.len() as u64);
        self.dropped.iter().for_each(|group| put_u64(into, *group));
        put_u64(into, self.streams.len() as u64);
        for ((account, _), one) in &self.streams {
            put_u64(into, (*account).into());
            put_u64(into, one.group);
            put_i64(into, one.created);
            put_bytes(into, &one.json);
            put_bytes(into, one.raft_name.as_bytes());
            write_peers(&one.peers, into);
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut meta = Self::default();
        if from.u8()? != VERSION {
            return Err(Malformed);
        }
        meta.cluster = from.u64()?;
        let last_group = from.u64()?;
        for nodes in [&mut meta.nodes, &mut meta.old] {
            for _ in 0..from.u64()? {
                let id = from.u64()?;
                nodes.insert(id, text(from.bytes()?)?);
            }
        }
        for _ in 0..from.u64()? {
            meta.dropped.insert(from.u64()?);
        }
        for _ in 0..from.u64()? {
            let account = u32::try_from(from.u64()?).map_err(|_| Malformed)?;
            let (group, created) = (from.u64()?, from.i64()?);
            let json = from.bytes()?.to_vec();
            let config = read_config(&json)?;
            let raft_name = text(from.bytes()?)?;
            let peers = read_peers(from)?;
            meta.insert(account, group, created, (json, config), raft_name, peers);
        }
        meta.last_group = last_group;
        Ok(meta)
    }
}

fn read_config(json: &[u8]) -> Result<StreamConfig, Malformed> {
    from_json(json, "server.StreamConfig", Rules::Lenient).map_err(|_| Malformed)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
    Ok(text.to_owned())
}

fn write_peers(peers: &[NodeId], into: &mut Vec<u8>) {
    put_u64(into, peers.len() as u64);
    peers.iter().for_each(|peer| put_u64(into, *peer));
}

fn read_peers(from: &mut Reader<'_>) -> Result<Vec<NodeId>, Malformed> {
    let count = from.u64()?;
    (0..count).map(|_| from.u64()).collect()
}

impl Entry {
    /// The bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut into = Vec::new();
        match self {
            Self::Found { cluster } => {
                into.push(FOUND);
                put_u64(&mut into, *cluster);
            }
            Self::Node { id, name } => {
                into.push(NODE);
                put_u64(&mut into, *id);
                put_bytes(&mut into, name.as_bytes());
            }
            Self::Forget { id } => {
                into.push(FORGET);
                put_u64(&mut into, *id);
            }
            Self::Create {
                account,
                group,
                created,
                config,
                raft_name,
                peers,
                asked,
            } => {
                into.push(CREATE);
                put_u64(&mut into, (*account).into());
                put_u64(&mut into, *group);
                put_i64(&mut into, *created);
                put_bytes(&mut into, config);
                put_bytes(&mut into, raft_name.as_bytes());
                write_peers(peers, &mut into);
                asked.write(&mut into);
            }
            Self::Update {
                group,
                config,
                raft_name,
                peers,
                asked,
            } => {
                into.push(UPDATE);
                put_u64(&mut into, *group);
                put_bytes(&mut into, config);
                put_bytes(&mut into, raft_name.as_bytes());
                write_peers(peers, &mut into);
                asked.write(&mut into);
            }
            Self::Delete { group, asked } => {
                into.push(DELETE);
                put_u64(&mut into, *group);
                asked.write(&mut into);
            }
        }
        into
    }

    /// Reads them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader { rest: bytes };
        let from = &mut from;
        Ok(match from.u8()? {
            FOUND => Self::Found {
                cluster: from.u64()?,
            },
            NODE => Self::Node {
                id: from.u64()?,
                name: text(from.bytes()?)?,
            },
            FORGET => Self::Forget { id: from.u64()? },
            CREATE => Self::Create {
                account: u32::try_from(from.u64()?).map_err(|_| Malformed)?,
                group: from.u64()?,
                created: from.i64()?,
                config: from.bytes()?.to_vec(),
                raft_name: text(from.bytes()?)?,
                peers: read_peers(from)?,
                asked: Asked::read(from)?,
            },
            UPDATE => Self::Update {
                group: from.u64()?,
                config: from.bytes()?.to_vec(),
                raft_name: text(from.bytes()?)?,
                peers: read_peers(from)?,
                asked: Asked::read(from)?,
            },
            DELETE => Self::Delete {
                group: from.u64()?,
                asked: Asked::read(from)?,
            },
            _ => return Err(Malformed),
        })
    }
}
