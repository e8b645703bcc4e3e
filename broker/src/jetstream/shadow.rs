//! What a replica knows of its stream's consumers: their configuration and their recorded state, changed by committed
//! entries only. The same on every replica at the same index. A leader makes its live consumers of it.

use std::collections::BTreeMap;

use crate::jetstream::consumer::Recorded;
use crate::jetstream::entry::{Entry, Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::jetstream::io::Timestamp;

/// A consumer that is not live here.
#[derive(Clone, Debug)]
pub(crate) struct ShadowConsumer {
    /// When it was created.
    pub(crate) created: Timestamp,
    /// Its configuration as JSON.
    pub(crate) config: Vec<u8>,
    /// Its state.
    pub(crate) state: Recorded,
}

/// The consumers of one replica, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    consumers: BTreeMap<String, ShadowConsumer>,
}

impl Shadow {
    /// Performs a committed entry. False if it is about no consumer.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>) -> Result<bool, Malformed> {
        match *entry {
            Entry::Consumer {
                name,
                created,
                config,
                snapshot,
            } => {
                let one = ShadowConsumer {
                    created,
                    config: config.to_vec(),
                    state: Recorded::load(snapshot).map_err(|_| Malformed)?,
                };
                self.consumers.insert(text(name)?.to_owned(), one);
            }
            Entry::ConsumerOp { name, op } => {
                // It may have been deleted by an entry before this one.
                if let Some(one) = self.consumers.get_mut(text(name)?) {
                    one.state.replay(op).map_err(|_| Malformed)?;
                }
            }
            Entry::ConsumerDelete { name } => {
                self.consumers.remove(text(name)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// All consumers by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ShadowConsumer)> {
        self.consumers.iter().map(|(name, one)| (&**name, one))
    }

    /// Appends everything, as [`read`](Self::read) takes it.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        put_u64(into, self.consumers.len() as u64);
        let mut snapshot = Vec::new();
        for (name, one) in &self.consumers {
            snapshot.clear();
            one.state.save(&mut snapshot);
            put_bytes(into, name.as_bytes());
            put_i64(into, one.created);
            put_bytes(into, &one.config);
            put_bytes(into, &snapshot);
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut consumers = BTreeMap::new();
        for _ in 0..from.u64()? {
            let name = text(from.bytes()?)?.to_owned();
            let one = ShadowConsumer {
                created: from.i64()?,
                config: from.bytes()?.to_vec(),
                state: Recorded::load(from.bytes()?).map_err(|_| Malformed)?,
            };
            consumers.insert(name, one);
        }
        Ok(Self { consumers })
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}
