//! Replicas come and go on this node, as the cluster has decided.

use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::stream::StreamConfig;

use super::member::Member;
use super::recover::Reborn;
use crate::consensus::NodeId;
use crate::jetstream::core::Core;
use crate::jetstream::entry::Entry;
use crate::jetstream::io::{AccountId, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::stream::Stream;

/// A replica to create.
#[derive(Clone, Debug)]
pub(crate) struct NewReplica {
    /// The stream's number in the whole cluster.
    pub(crate) group: GroupId,
    /// The account that owns it.
    pub(crate) account: AccountId,
    /// Its configuration, validated, with defaults.
    pub(crate) config: StreamConfig,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// Who votes; empty for a member that is told later, by the leader.
    pub(crate) voters: Vec<NodeId>,
}

impl Core {
    /// Begins a replica without messages. It is kept in files whatever its configuration says: a member may not forget
    /// what it has promised. `None` if the log is closed.
    pub(crate) fn create_replica(
        &mut self,
        new: NewReplica,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Option<u32> {
        let NewReplica {
            group,
            account,
            config,
            created,
            voters,
        } = new;
        self.log.last_group = self.log.last_group.max(group);
        let mut json = Vec::new();
        to_json(&config, &mut json);
        let bytes: Vec<u8> = voters.iter().flat_map(|node| node.to_le_bytes()).collect();
        let entry = Entry::Replica {
            account,
            created,
            config: &json,
            voters: &bytes,
            index: u64::from(!voters.is_empty()),
        };
        self.log.note(group, &entry)?;
        let messages = self.log.store.create_group(group, config.first_seq);
        let id = self.streams.next_id();
        let (memory, max_bytes) = (
            config.storage == jetwake_protocol::jetstream::stream::StorageType::Memory,
            config.max_bytes,
        );
        let mut stream = Stream::new(
            id,
            Some(group),
            account,
            config,
            created,
            Box::new(messages),
        );
        stream.replicated = Some(false);
        self.account(account).reserved(memory, 0, max_bytes);
        self.streams.add(stream);
        let index = u64::from(!voters.is_empty());
        self.begin_member(group, Some(id), voters, index, out);
        self.with_stream(id, now, out, |stream, env| {
            stream.listen(env.settings, env.out);
        });
        Some(id)
    }

    /// A local stream becomes the only member of its group; others can join it then. False if something of it still
    /// waits for the disk: to be tried again.
    pub(crate) fn make_replica(&mut self, id: u32, now: Timestamp, out: &mut dyn Outbox) -> bool {
        let node = self.node;
        let flushed = self.with_stream(id, now, out, |stream, env| {
            stream.flush_consumers(env);
            (
                stream.group.filter(|_| stream.replicated.is_none()),
                stream.record_consumers(),
            )
        });
        let Some((Some(group), shadow)) = flushed else {
            return true;
        };
        let Some(stream) = self.streams.get(id).filter(|_| self.log.waits().is_none()) else {
            return false;
        };
        let mut json = Vec::new();
        to_json(&stream.config, &mut json);
        let entry = Entry::Replica {
            account: stream.account,
            created: stream.created,
            config: &json,
            voters: &node.to_le_bytes(),
            index: 1,
        };
        if self.log.note(group, &entry).is_none() {
            return true;
        }
        self.stop_serving(id, now, out);
        let member = Member::begin(vec![node], 1);
        self.start_member(group, Reborn::new(Some(id), member, shadow), out);
        true
    }
}
