//! Keeping the journal short: survivors are copied to segments, groups are checkpointed, old files go.
//! And giving space back: segments with few live messages are rewritten, those without any go.
//!
//! A round begins when enough complete journal files are there, or, a moment after something was logged, when a
//! stream has segments that are mostly dead or messages to erase. One round at a time: copy, note, checkpoint, clean
//! up. What is decided runs ahead of what is applied, so the decided half of a checkpoint (consumers, message ids) is
//! noted at a position of the journal, and the checkpoint is taken when exactly everything before that position is
//! applied. Replicated groups are applied at their own pace: they are held where they are from the note to the
//! checkpoint, and what is in their logs and not applied is written to the journal once more. Their
//! checkpoint says up to which index it goes; what is behind that comes back from the journal.
//!
//! On a full disk a round does only what frees space: checkpoints that let dead segments go, then one journal file
//! after the other, with the reserve if need be. Each failure is tried again a second later.

use jetwake_protocol::jetstream::stream::Compression;
use jetwake_storage::{Lsn, Retire, Shares, StoreError};

use crate::jetstream::checkpoint::Decided;
use crate::jetstream::core::Core;
use crate::jetstream::io::{Job, JobDone, Level, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::META;
use crate::jetstream::stream::Stream;

/// Nanoseconds after which a failed job is tried again.
const RETRY: i64 = 5_000_000_000;
/// The same when the disk was full: that may be over at any time.
const RETRY_FULL: i64 = 1_000_000_000;
/// Nanoseconds from an entry of the log to the look for space that it may have freed.
const LOOK: i64 = 2_000_000_000;
/// Nanoseconds between two looks at the files that streams share; the same when the last one found something; and
/// bytes that are copied out of them at a time.
const LOOK_AT_FILES: i64 = 60_000_000_000;
const RENEW_PAUSE: i64 = 10_000_000_000;
const RENEW_MAX: u64 = 16 << 20;

/// Where a round is.
#[derive(Debug, Default)]
enum Round {
    /// Nothing to do.
    #[default]
    Idle,
    /// Messages are being copied.
    Copying(Retire),
    /// The decided state was noted at a position that is not applied yet.
    Noted(Noted),
    /// The checkpoint is being written, or files are being removed.
    Writing,
}

#[derive(Debug)]
struct Noted {
    at: Lsn,
    retire: Retire,
    groups: Vec<(GroupId, u32, Decided)>,
    /// The members of groups with other nodes.
    members: Vec<GroupId>,
}

/// The state of maintenance.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    round: Round,
    making_spare: bool,
    making_reserve: bool,
    /// It was told that the disk is full.
    told_full: bool,
    /// The round in progress was given what the reserve held.
    uses_reserve: bool,
    /// No round begins before this time, if there is one.
    next_round: Option<Timestamp>,
    /// No spare file and no reserve is made before this time, if there is one.
    next_file: Option<Timestamp>,
    /// When to look for space to be given back, if anything happened since the last time.
    look: Option<Timestamp>,
    /// What was durable at the last look.
    seen: Lsn,
    /// When to look at the files that streams share, if a look at the streams found nothing to do since the last time.
    look_at_files: Option<Timestamp>,
    /// No such look before this time.
    next_files: Timestamp,
}

/// Whether a pause is over, which ends it.
fn is_over(pause: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let over = pause.is_none_or(|until| until <= now);
    if over {
        *pause = None;
    }
    over
}

impl Core {
    /// Starts what is due. Called when a batch ends.
    pub(crate) fn maintain(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        if self.log.failed {
            return;
        }
        for line in self.log.store.take_damage() {
            out.log(Level::Error, &format!("JetStream storage: {line}"));
        }
        self.watch_space(now, out);
        self.scrub(now, out);
        if is_over(&mut self.maintenance.next_file, now) {
            self.keep_ready(out);
        }
        let may_begin = is_over(&mut self.maintenance.next_round, now);
        if !may_begin || !matches!(self.maintenance.round, Round::Idle) {
            return;
        }
        let full = self.log.store.is_full();
        if full && let Some(retire) = self.to_free() {
            return self.note(retire, now, out);
        }
        let durable = self.log.durable();
        let retire = if full {
            // Rewriting has to wait.
            let this = &mut self.maintenance;
            let looks = this
                .look
                .as_mut()
                .into_iter()
                .chain(&mut this.look_at_files);
            looks.for_each(|at| *at = now.saturating_add(LOOK));
            self.log.store.plan_relief(durable)
        } else {
            let retire = self.log.store.plan_retire(durable, self.settings.keep);
            let retire = retire.or_else(|| self.look(now));
            retire.or_else(|| self.look_at_files(now))
        };
        if let Some(retire) = retire {
            self.copy(retire, full, out);
        }
    }

    /// Says when the disk is full and when that is over, and logs what had no room meanwhile.
    fn watch_space(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let full = self.log.store.is_full();
        if full != self.maintenance.told_full {
            self.maintenance.told_full = full;
            let (level, text) = if full {
                (
                    Level::Error,
                    "JetStream has no disk space left: what adds data is refused until there is some",
                )
            } else {
                (Level::Warn, "JetStream has disk space again")
            };
            out.log(level, text);
        }
        if full || self.log.gaps.is_empty() {
            return;
        }
        for (id, name) in std::mem::take(&mut self.log.gaps) {
            let logged = self.with_stream(id, now, out, |stream, env| stream.log_again(&name, env));
            if logged == Some(false) {
                self.log.gaps.insert((id, name));
            }
        }
    }

    /// Has a spare file and a reserve made.
    fn keep_ready(&mut self, out: &mut dyn Outbox) {
        let store = &self.log.store;
        let begun = !matches!(self.maintenance.round, Round::Idle);
        let due = || store.plan_retire(self.log.durable(), self.settings.keep);
        let recycling = !store.is_full() && (begun || due().is_some());
        if !self.maintenance.making_spare
            && let Some(job) = self.log.store.plan_spare(recycling)
        {
            self.maintenance.making_spare = true;
            out.run(Job::Spare(job));
        }
        if !self.maintenance.making_reserve
            && !self.maintenance.uses_reserve
            && let Some(job) = self.log.store.plan_reserve()
        {
            self.maintenance.making_reserve = true;
            out.run(Job::Reserve(job));
        }
    }

    /// The groups whose checkpoint alone frees space: nothing of theirs has to be copied.
    fn to_free(&self) -> Option<Retire> {
        let dead = |id: u32| {
            let stream = self.streams.get(id)?;
            let messages = stream.messages.as_file()?;
            stream.group.filter(|_| messages.has_dead_segments())
        };
        let mut groups: Vec<GroupId> = self.streams.ids().into_iter().filter_map(dead).collect();
        groups.sort_unstable();
        let frees = !groups.is_empty() || self.log.store.has_dropped_groups();
        frees.then_some(Retire { through: 0, groups })
    }

    fn copy(&mut self, retire: Retire, full: bool, out: &mut dyn Outbox) {
        let mut job = self.log.store.begin_copy(retire.through);
        if full {
            job = job.without_rewriting();
        }
        for (group, id) in self.groups_of(&retire) {
            let Some(stream) = self.streams.get_mut(id) else {
                continue;
            };
            if let Some(messages) = stream.messages.as_file_mut() {
                match stream.config.compression {
                    Compression::S2 => job.add_compressed(group, messages),
                    Compression::None => job.add(group, messages),
                }
            }
        }
        self.maintenance.round = Round::Copying(retire);
        out.run(Job::Copy(job));
    }

    /// When maintenance has something to do although nothing else happens.
    pub(crate) fn maintenance_deadline(&self) -> Option<Timestamp> {
        if self.log.failed {
            return None;
        }
        let this = &self.maintenance;
        let idle = matches!(this.round, Round::Idle);
        let look = this.look.into_iter().chain(this.look_at_files).min();
        let look = look.filter(|_| idle);
        let round = match (look, this.next_round) {
            // A look may have to wait for the end of a pause.
            (Some(look), Some(next)) => Some(look.max(next)),
            (look, next) => look.or(next),
        };
        let others = [this.next_file, self.scrub.due()];
        round.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The streams whose files hold much that is dead, from time to time.
    fn look(&mut self, now: Timestamp) -> Option<Retire> {
        let durable = self.log.durable();
        match self.maintenance.look {
            None if self.log.appended() > self.maintenance.seen => {
                self.maintenance.look = Some(now.saturating_add(LOOK));
            }
            Some(at) if at <= now => {
                self.maintenance.look = None;
                self.maintenance.seen = durable;
                let wasteful = |id: &u32| {
                    let stream = self.streams.get(*id)?;
                    let wasteful = stream.messages.as_file()?.is_wasteful();
                    stream.group.filter(|_| wasteful)
                };
                let ids = self.streams.ids();
                let mut groups: Vec<GroupId> = ids.iter().filter_map(wasteful).collect();
                groups.sort_unstable();
                if !groups.is_empty() {
                    // What one round leaves is for the next; no journal file goes.
                    self.maintenance.look = Some(now.saturating_add(LOOK));
                    let through = 0;
                    return Some(Retire { through, groups });
                }
                self.maintenance.look_at_files = Some(self.maintenance.next_files.max(now));
            }
            _ => {}
        }
        None
    }

    /// The streams that keep files of which little is alive: none of them has to be wasteful by itself.
    fn look_at_files(&mut self, now: Timestamp) -> Option<Retire> {
        self.maintenance.look_at_files.filter(|at| *at <= now)?;
        self.maintenance.look_at_files = None;
        let mut shares = Shares::default();
        for id in self.streams.ids() {
            let messages = self.streams.get(id).map(|stream| &stream.messages);
            if let Some(messages) = messages.and_then(|messages| messages.as_file()) {
                shares.add(messages);
            }
        }
        let retire = self.log.store.plan_renewal(&shares, RENEW_MAX);
        let found = retire.is_some();
        let pause = if found { RENEW_PAUSE } else { LOOK_AT_FILES };
        let next = now.saturating_add(pause);
        self.maintenance.next_files = next;
        // What one round leaves is for the next.
        self.maintenance.look_at_files = found.then_some(next);
        retire
    }

    /// A job is done.
    pub(crate) fn job_done(&mut self, done: JobDone, now: Timestamp, out: &mut dyn Outbox) {
        match done {
            JobDone::Spare(result) => {
                self.maintenance.making_spare = false;
                match result {
                    Ok(done) => self.log.store.finish_spare(done),
                    Err(error) => {
                        let later = self.later(&error, now, out);
                        self.maintenance.next_file = Some(later);
                    }
                }
            }
            JobDone::Reserve(result) => {
                self.maintenance.making_reserve = false;
                match result {
                    Ok(done) => self.log.store.finish_reserve(&done),
                    Err(error) => {
                        let later = self.later(&error, now, out);
                        self.maintenance.next_file = Some(later);
                    }
                }
            }
            JobDone::Scrub(done) => self.scrubbed(&done.suspects, now, out),
            JobDone::Copy(Ok(copied)) => {
                let lost = copied.lost.iter().map(|(group, seq, _)| (*group, *seq));
                let lost: Vec<(GroupId, u64)> = lost.collect();
                self.note_lost(&lost, now, out);
                self.log.store.finish_copy(&copied);
                for id in self.streams.ids() {
                    let Some(stream) = self.streams.get_mut(id) else {
                        continue;
                    };
                    let group = stream.group;
                    if stream.replicated.is_some() && lost.iter().any(|one| Some(one.0) == group) {
                        // They are fetched first: only what is there is copied.
                        continue;
                    }
                    let messages = stream.messages.as_file_mut();
                    if let (Some(group), Some(messages)) = (group, messages) {
                        copied.relocate(group, messages);
                    }
                }
                if let Round::Copying(retire) = std::mem::take(&mut self.maintenance.round) {
                    self.note(retire, now, out);
                }
            }
            JobDone::Checkpoint(Ok(done)) => {
                out.run(Job::Cleanup(self.log.store.finish_checkpoint(done)));
            }
            JobDone::Copy(Err(error)) | JobDone::Checkpoint(Err(error)) => {
                self.maintenance.round = Round::Idle;
                let full = self.log.store.job_failed(&error);
                // With what the reserve held it may work.
                self.maintenance.uses_reserve = full && self.log.store.release_reserve();
                if !self.maintenance.uses_reserve {
                    let later = self.later(&error, now, out);
                    self.maintenance.next_round = Some(later);
                }
            }
            JobDone::Cleanup(cleaned) => {
                self.log.store.finish_cleanup(cleaned);
                self.maintenance.round = Round::Idle;
                self.maintenance.uses_reserve = false;
            }
        }
    }

    /// When a failed job is to be tried again.
    fn later(&mut self, error: &StoreError, now: Timestamp, out: &mut dyn Outbox) -> Timestamp {
        let full = self.log.store.job_failed(error);
        let pause = if full { RETRY_FULL } else { RETRY };
        // That the disk is full is told once, not with every attempt.
        if !full {
            let text = format!("JetStream storage maintenance: {error}");
            out.log(Level::Warn, &text);
        }
        now.saturating_add(pause)
    }

    fn groups_of(&self, retire: &Retire) -> Vec<(GroupId, u32)> {
        let ids = self.streams.ids().into_iter();
        ids.filter_map(|id| Some((self.streams.get(id)?.group?, id)))
            .filter(|(group, _)| retire.groups.binary_search(group).is_ok())
            .collect()
    }

    /// Notes what is decided.
    fn note(&mut self, retire: Retire, now: Timestamp, out: &mut dyn Outbox) {
        let groups = self.groups_of(&retire);
        for (_, id) in &groups {
            // What consumers gathered for the log belongs before the position, or it would be performed twice.
            self.with_stream(*id, now, out, Stream::flush_consumers);
        }
        let Some(members) = self.hold_members(&retire, now, out) else {
            return;
        };
        let noted = groups.into_iter().filter_map(|(group, id)| {
            let stream = self.streams.get(id)?;
            let local = stream.replicated.is_none();
            local.then(|| (group, id, stream.note_decided()))
        });
        let noted = Noted {
            members,
            at: self.log.appended(),
            groups: noted.collect(),
            retire,
        };
        self.maintenance.round = Round::Noted(noted);
        if self.log.waits().is_none() {
            self.checkpoint(now, out);
        }
    }

    /// Stops applying what these groups commit, and writes once more what is in their logs and not applied.
    /// If there is no room for that, the round is over: journal files that hold promises must not go.
    fn hold_members(
        &mut self,
        retire: &Retire,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Option<Vec<GroupId>> {
        let mut members = self.log.replicas.numbers();
        // This node's number is kept with the group of all nodes, also if it does not belong to that yet.
        members.extend((!members.contains(&META)).then_some(META));
        members.retain(|group| retire.groups.binary_search(group).is_ok());
        let mut complete = true;
        for group in &members {
            let Some(replica) = self.log.replicas.get_mut(*group) else {
                continue;
            };
            replica.held = Some(Vec::new());
            let settled = replica.settled().0;
            for entry in replica.consensus.entries_after(settled) {
                let Some(appended) = self.log.append_entry(*group, &entry, true) else {
                    complete = false;
                    break;
                };
                if let Some(replica) = self.log.replicas.get_mut(*group) {
                    replica.move_place(entry.index, appended.location);
                }
            }
        }
        if complete {
            return Some(members);
        }
        self.release_members(&members, now, out);
        self.maintenance.next_round = Some(now.saturating_add(RETRY_FULL));
        None
    }

    /// Goes on applying what was committed meanwhile.
    fn release_members(&mut self, members: &[GroupId], now: Timestamp, out: &mut dyn Outbox) {
        for group in members {
            let replica = self.log.replicas.get_mut(*group);
            let held = replica.and_then(|replica| replica.held.take());
            for entry in held.unwrap_or_default() {
                self.apply_entry(*group, &entry, now, out);
            }
        }
    }

    /// The position that everything must be applied up to, and nothing beyond, for a checkpoint.
    pub(crate) fn checkpoint_at(&self) -> Option<Lsn> {
        match &self.maintenance.round {
            Round::Noted(noted) => Some(noted.at),
            _ => None,
        }
    }

    /// Takes the checkpoint that was noted.
    pub(crate) fn checkpoint(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let Round::Noted(noted) = std::mem::take(&mut self.maintenance.round) else {
            return;
        };
        let mut checkpoint = self.log.store.begin_checkpoint(Some(&noted.retire));
        for (group, id, decided) in &noted.groups {
            let Some(stream) = self.streams.get_mut(*id) else {
                continue;
            };
            let head = stream.checkpoint_head();
            let mut blob: Vec<&[u8]> = vec![&head];
            blob.extend(stream.deadlines.parts());
            blob.extend(decided.parts());
            checkpoint.add_parts(*group, noted.at, &blob, stream.messages.as_file_mut());
        }
        let members = noted.members;
        for group in &members {
            let replica = self.log.replicas.get(*group);
            if *group == META {
                let blob = self.meta_blob();
                match replica {
                    Some(replica) => {
                        let covers = (noted.at, replica.settled().0);
                        checkpoint.add_applied(META, covers, &[&blob], None);
                    }
                    None => checkpoint.add(META, noted.at, &blob, None),
                }
            }
            let Some(replica) = replica else {
                continue;
            };
            let Some(stream) = replica.stream.and_then(|id| self.streams.get_mut(id)) else {
                continue;
            };
            let decided = stream.note_replica(replica);
            let head = stream.checkpoint_head();
            let mut blob: Vec<&[u8]> = vec![&head];
            blob.extend(stream.deadlines.parts());
            blob.extend(decided.parts());
            let covers = (noted.at, replica.settled().0);
            checkpoint.add_applied(*group, covers, &blob, stream.messages.as_file_mut());
        }
        let job = self.log.store.seal_checkpoint(checkpoint);
        self.maintenance.round = Round::Writing;
        out.run(Job::Checkpoint(job));
        self.release_members(&members, now, out);
    }
}
