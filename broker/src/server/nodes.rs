//! The other nodes, as routing sees them: what they listen to, and how to reach them.
//!
//! A node hears everything that is listened to here when its link opens, and every change after that. Changes that are
//! made meanwhile are kept and follow ([`Node::tell`]). Nothing is sent while a lock is held.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_protocol::peer::interest::{Entry, Interest};
use jetwake_protocol::peer::{BodyError, Link};
use parking_lot::{Mutex, RwLock};

use super::deltas::{Deltas, Writer};
use super::shared::Shared;
use super::{Account, Accounts};
use crate::mesh::{Frames, Peer, Sent};
use crate::routing::{Listens, PeerId};

/// Entries that are applied under one lock of a routing table.
const CHUNK: usize = 64;

/// Takes frames for another node, in order.
pub trait NodeLink: Debug + Send + Sync {
    /// Sends frames without waiting, and leaves the buffer empty.
    fn send(&self, frames: &mut Frames) -> Sent;
}

impl NodeLink for Peer {
    fn send(&self, frames: &mut Frames) -> Sent {
        self.send_frames(Link::Main, frames)
    }
}

/// The nodes that are linked to this one.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: RwLock<Vec<Arc<Node>>>,
    count: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub(super) id: PeerId,
    link: Arc<dyn NodeLink>,
    /// It has been told what was listened to when each account was at this generation.
    told: OnceLock<Vec<u64>>,
    /// Changes while it is being told.
    meanwhile: Mutex<Deltas>,
    open: AtomicBool,
    /// What it listens to, by account, filter and queue; sums that are not 0.
    listens: Mutex<HashMap<Box<[u8]>, i64, FixedState>>,
}

impl Nodes {
    /// Whether there is nobody to tell anything. Asked after a change of a routing table: whoever is not there yet
    /// gets the table with the change.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    pub(super) fn get(&self, id: PeerId) -> Option<Arc<Node>> {
        let nodes = self.nodes.read();
        nodes.iter().find(|node| node.id == id).map(Arc::clone)
    }

    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        self.nodes.read().clone()
    }

    fn add(&self, node: &Arc<Node>) {
        let mut nodes = self.nodes.write();
        nodes.push(Arc::clone(node));
        self.count.store(nodes.len(), Ordering::Release);
    }

    fn remove(&self, id: PeerId) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.write();
        let at = nodes.iter().position(|node| node.id == id)?;
        let node = nodes.remove(at);
        self.count.store(nodes.len(), Ordering::Release);
        Some(node)
    }
}

impl Node {
    pub(super) fn send(&self, frames: &mut Frames) -> Sent {
        self.link.send(frames)
    }

    /// Tells it about changes.
    pub(super) fn tell(&self, accounts: &Accounts, deltas: &Deltas) {
        if !self.open.load(Ordering::Acquire) {
            let mut meanwhile = self.meanwhile.lock();
            if !self.open.load(Ordering::Acquire) {
                return meanwhile.extend(deltas);
            }
        }
        self.send_deltas(accounts, deltas);
    }

    fn send_deltas(&self, accounts: &Accounts, deltas: &Deltas) {
        let told = self.told.get().map_or(&[][..], Vec::as_slice);
        let mut frames = Frames::default();
        deltas.append(&mut frames, accounts, told);
        if !frames.is_empty() {
            // A link that takes nothing more has ended: the node will be told everything again.
            self.send(&mut frames);
        }
    }

    /// Tells it everything.
    fn introduce(&self, accounts: &Accounts) {
        let mut frames = Frames::default();
        let mut writer = Writer::new(&mut frames, accounts);
        let show = |account: &Arc<Account>| {
            account.show(|filter, queue, delta| {
                writer.push(
                    account.id,
                    &Entry {
                        filter,
                        queue,
                        delta,
                    },
                );
            })
        };
        let told = accounts.iter().map(show).collect();
        writer.close();
        // Set here only.
        let _ = self.told.set(told);
        self.send(&mut frames);
        loop {
            let mut meanwhile = self.meanwhile.lock();
            let deltas = std::mem::take(&mut *meanwhile);
            if deltas.is_empty() {
                self.open.store(true, Ordering::Release);
                return;
            }
            drop(meanwhile);
            self.send_deltas(accounts, &deltas);
        }
    }

    /// Adds to what it listens to, and returns how much that is now.
    fn add(&self, account: u32, entry: &Entry<'_>, key: &mut Vec<u8>) -> u32 {
        key.clear();
        append_key(key, account, entry.filter, entry.queue);
        let mut listens = self.listens.lock();
        let count = match listens.get_mut(&**key) {
            Some(count) => count,
            None => listens.entry(key.as_slice().into()).or_insert(0),
        };
        *count = count.saturating_add(entry.delta.into());
        let count = *count;
        if count == 0 {
            listens.remove(&**key);
        }
        drop(listens);
        // Below zero while a change is missing that was overtaken.
        u32::try_from(count.max(0)).unwrap_or(u32::MAX)
    }
}

impl Shared {
    /// A node can be reached: it is told what is listened to here, now and from now on.
    pub(crate) fn node_up(&self, id: u64, link: Arc<dyn NodeLink>) {
        let node = Arc::new(Node {
            id: PeerId(id),
            link,
            told: OnceLock::new(),
            meanwhile: Mutex::default(),
            open: AtomicBool::new(false),
            listens: Mutex::default(),
        });
        self.nodes.add(&node);
        node.introduce(&self.accounts);
    }

    /// A node that can be reached.
    pub(crate) fn node(&self, id: u64) -> Option<Arc<Node>> {
        self.nodes.get(PeerId(id))
    }

    /// A node cannot be reached any more: nothing that it listened to counts.
    pub(crate) fn node_down(&self, id: u64) {
        let Some(node) = self.nodes.remove(PeerId(id)) else {
            return;
        };
        let listens = std::mem::take(&mut *node.listens.lock());
        let keys: Vec<_> = listens.keys().filter_map(|key| read_key(key)).collect();
        for account in self.accounts.iter() {
            let mine: Vec<_> = keys.iter().filter(|(id, ..)| *id == account.id).collect();
            for chunk in mine.chunks(CHUNK) {
                let gone = chunk.iter().map(|(_, filter, queue)| Listens {
                    filter,
                    queue: *queue,
                    weight: 0,
                });
                let changes = account.set_remote(node.id, gone);
                self.report(account, &changes);
            }
        }
    }

    /// How many different filters a node listens to.
    pub(crate) fn node_subscriptions(&self, id: u64) -> usize {
        self.nodes
            .get(PeerId(id))
            .map_or(0, |node| node.listens.lock().len())
    }

    /// A node tells what it listens to.
    pub(crate) fn node_listens(&self, node: &Node, body: &[u8]) -> Result<(), BodyError> {
        let interest = Interest::read(body)?;
        // An account that is not here has nobody who could send anything.
        let Some(account) = self.accounts.named(interest.account) else {
            return Ok(());
        };
        let mut entries = interest.entries().peekable();
        let mut key = Vec::new();
        let mut chunk = Vec::with_capacity(CHUNK);
        while entries.peek().is_some() {
            let mut broken = None;
            for entry in entries.by_ref().take(CHUNK) {
                match entry {
                    Ok(entry) => chunk.push(Listens {
                        filter: entry.filter,
                        queue: entry.queue,
                        weight: node.add(account.id, &entry, &mut key),
                    }),
                    Err(error) => broken = Some(error),
                }
            }
            let changes = account.set_remote(node.id, chunk.drain(..));
            self.report(account, &changes);
            if let Some(error) = broken {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn append_key(key: &mut Vec<u8>, account: u32, filter: &[u8], queue: Option<&[u8]>) {
    key.extend_from_slice(&account.to_le_bytes());
    key.extend_from_slice(&(filter.len() as u32).to_le_bytes());
    key.extend_from_slice(filter);
    if let Some(queue) = queue {
        key.push(b' ');
        key.extend_from_slice(queue);
    }
}

/// Account, filter and queue group.
type Key<'k> = (u32, &'k [u8], Option<&'k [u8]>);

fn read_key(key: &[u8]) -> Option<Key<'_>> {
    let (account, rest) = key.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (filter, queue) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let queue = queue.split_first().map(|(_, queue)| queue);
    Some((u32::from_le_bytes(*account), filter, queue))
}

#[cfg(test)]
mod tests;
