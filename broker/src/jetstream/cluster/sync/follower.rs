//! The side that lacks state. It asks one question at a time, puts what it got into its own journal, and asks on when
//! that is durable; so what it holds in memory is one answer.
//!
//! Whatever goes wrong, it begins again with what it has, with another node if there is one.

use jetwake_protocol::peer::sync::{Answer, Ask, Chunk, Exchange, Message, Refusal, State};
use jetwake_storage::MessageStore;

use super::runs::{minus, total};
use super::{CHUNK, INACTIVE, NodeId, PAUSE, START, ask};
use crate::jetstream::io::{Level, Timestamp};

/// No state is larger; what says so is not believed.
const STATE_MAX: u64 = 1 << 30;

/// The replica that fetches.
pub(crate) trait Local {
    /// Its messages, as far as they are durable.
    fn messages(&self) -> &dyn MessageStore;
    /// Everything up to this index is applied.
    fn applied(&self) -> u64;
    /// Writes down that nothing is applied before a state is installed; `fresh`: and that the messages so far count no
    /// longer. False if the log takes nothing.
    fn begin(&mut self, fresh: bool) -> bool;
    /// Appends a message to the journal, to be inserted when it is durable; `again`: it belongs among those that are
    /// there. False if the log takes nothing.
    fn append(&mut self, message: &Message<'_>, again: bool) -> bool;
    /// Appends the record that installs a state. False if the log takes nothing.
    fn install(&mut self, state: &State<'_>, bytes: &[u8]) -> bool;
    /// That record is durable.
    fn installed(&mut self, state: &State<'_>);
    /// Sends a frame.
    fn send(&mut self, to: NodeId, frame: Vec<u8>);
    /// Writes a line to the server's log.
    fn log(&mut self, level: Level, text: &str);
}

/// What is being done.
#[derive(Debug)]
enum Phase {
    /// Messages behind the last one, from this sequence on.
    Messages(u64),
    /// The state, with the messages from this sequence on.
    State(u64),
    /// The rest of the state.
    Collect {
        bytes: Vec<u8>,
        total: u64,
        sum: u32,
    },
    /// Messages that are missing or damaged; with the state that waits for them, if there is one.
    Missing(Option<Vec<u8>>),
    /// The record with the state is on its way to the disk.
    Installing(Vec<u8>),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    Going,
    /// Done. Nobody had these runs of messages.
    Done(Vec<(u64, u64)>),
}

/// Why an attempt ended.
type Failure = &'static str;

const STALLED: Failure = "catchup stalled";
const BAD: Failure = "bad catchup msg";
const CLOSED: Failure = "insufficient resources";
const NOT_THERE: Failure = "no server has the stream";

/// One exchange, with all its attempts.
#[derive(Debug)]
pub(crate) struct Follower {
    group: u64,
    /// Account and stream, for the log.
    label: String,
    /// Those that can be asked, the best first.
    servers: Vec<NodeId>,
    /// Which of them is.
    server: usize,
    /// Number of the attempt.
    number: u64,
    step: u32,
    phase: Phase,
    /// What is missing, ascending.
    missing: Vec<(u64, u64)>,
    /// What of that the server does not have, or cannot read.
    elsewhere: Vec<(u64, u64)>,
    /// What some server could not read.
    unreadable: Vec<(u64, u64)>,
    /// Nobody can read these.
    lost: Vec<(u64, u64)>,
    /// Nobody has these any more.
    gone: Vec<(u64, u64)>,
    /// How many servers could not give what comes next.
    unable: usize,
    /// Rounds over all servers without an answer that helped.
    rounds: u32,
    /// An answer is awaited.
    asked: bool,
    /// Something was appended that is not durable.
    unsettled: bool,
    /// When the answer is late, or the next attempt begins.
    deadline: Timestamp,
    began: Timestamp,
    /// The record that it began is written.
    marked: bool,
    fresh: bool,
    /// Only messages are repaired; there is no state to install.
    mends: bool,
}

impl Follower {
    /// Fetches everything. `marked`: the journal knows that already. `number` differs from those of earlier exchanges.
    pub(crate) fn fetch(
        group: u64,
        label: String,
        servers: Vec<NodeId>,
        (number, marked): (u64, bool),
        now: Timestamp,
    ) -> Self {
        Self {
            group,
            label,
            servers,
            server: 0,
            number,
            step: 0,
            phase: Phase::Messages(0),
            missing: Vec::new(),
            elsewhere: Vec::new(),
            unreadable: Vec::new(),
            lost: Vec::new(),
            gone: Vec::new(),
            unable: 0,
            rounds: 0,
            asked: false,
            unsettled: false,
            deadline: now,
            began: now,
            marked,
            fresh: false,
            mends: false,
        }
    }

    /// Fetches messages whose bytes are damaged; the replica goes on meanwhile.
    pub(crate) fn mend(
        group: u64,
        label: String,
        servers: Vec<NodeId>,
        number: u64,
        missing: Vec<(u64, u64)>,
        now: Timestamp,
    ) -> Self {
        Self {
            phase: Phase::Missing(None),
            missing,
            mends: true,
            ..Self::fetch(group, label, servers, (number, true), now)
        }
    }

    /// The messages that there are count no longer: they are fetched again.
    pub(crate) fn anew(mut self) -> Self {
        (self.fresh, self.marked) = (true, false);
        self
    }

    /// Whether it repairs messages only.
    pub(crate) fn is_mend(&self) -> bool {
        self.mends
    }

    /// When something is to be done without an event.
    pub(crate) fn due(&self) -> Timestamp {
        self.deadline
    }

    /// Those that can be asked from now on, the best first.
    pub(crate) fn set_servers(&mut self, servers: Vec<NodeId>) {
        let asked = self.servers.get(self.server).copied();
        let at = servers.iter().position(|one| Some(*one) == asked);
        self.server = at.unwrap_or(0);
        self.servers = servers;
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Timestamp, local: &mut dyn Local) -> Progress {
        if now < self.deadline {
            return Progress::Going;
        }
        if self.unsettled {
            // The disk is what takes long.
            self.deadline = now.saturating_add(INACTIVE);
            return Progress::Going;
        }
        if self.asked {
            self.retry(STALLED, now, local);
            return Progress::Going;
        }
        self.advance(now, local)
    }

    /// Everything that was appended is durable and in its place.
    pub(crate) fn settled(&mut self, now: Timestamp, local: &mut dyn Local) -> Progress {
        if !std::mem::take(&mut self.unsettled) || self.asked {
            return Progress::Going;
        }
        self.advance(now, local)
    }

    /// An answer came.
    pub(crate) fn answered(
        &mut self,
        now: Timestamp,
        from: NodeId,
        (exchange, answer): (Exchange, &Answer<'_>),
        local: &mut dyn Local,
    ) -> Progress {
        let expected = (self.number, self.step);
        if !self.asked
            || (exchange.number, exchange.step) != expected
            || self.servers.get(self.server) != Some(&from)
        {
            return Progress::Going;
        }
        self.asked = false;
        let taken = match answer {
            Answer::Chunk(chunk) => self.take_chunk(chunk, local),
            Answer::State {
                total,
                offset,
                sum,
                bytes,
            } => self.take_part((*total, *offset, *sum), bytes, local),
            Answer::Refused(Refusal::Busy) => {
                self.deadline = now.saturating_add(PAUSE);
                return Progress::Going;
            }
            Answer::Refused(_) => Err(NOT_THERE),
        };
        match taken {
            Ok(()) => {
                self.rounds = 0;
                self.deadline = now.saturating_add(INACTIVE);
                if self.unsettled {
                    return Progress::Going;
                }
                self.advance(now, local)
            }
            Err(why) => {
                self.retry(why, now, local);
                Progress::Going
            }
        }
    }

    /// Begins again, with the next node.
    fn retry(&mut self, why: Failure, now: Timestamp, local: &mut dyn Local) {
        if why != NOT_THERE || self.server + 1 >= self.servers.len() {
            let text = format!(
                "Catchup for stream '{}' errored, will retry: {why}",
                self.label
            );
            local.log(Level::Warn, &text);
        }
        self.next_server();
        self.number = self.number.wrapping_add(1);
        self.step = 0;
        self.asked = false;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Messages(0)) {
            // What is still missing may be somewhere else.
            missing @ Phase::Missing(_) => missing,
            Phase::Installing(state) => Phase::Missing(Some(state)),
            _ => Phase::Messages(0),
        };
        let mut pause = 0;
        if self.server == 0 || why == CLOSED {
            pause = PAUSE.saturating_mul(1 << self.rounds).min(START);
            self.rounds = (self.rounds + 1).min(10);
        }
        self.deadline = now.saturating_add(pause);
    }

    fn next_server(&mut self) {
        self.server += 1;
        if self.server >= self.servers.len() {
            self.server = 0;
        }
    }

    /// Does what comes next; nothing is under way.
    fn advance(&mut self, now: Timestamp, local: &mut dyn Local) -> Progress {
        if !self.marked {
            if !local.begin(self.fresh) {
                self.retry(CLOSED, now, local);
                return Progress::Going;
            }
            (self.marked, self.fresh) = (true, false);
        }
        let behind = local.messages().state().last_seq.saturating_add(1);
        let question = match &mut self.phase {
            Phase::Messages(next) => {
                *next = behind.max(*next);
                Ask::Messages {
                    from: *next,
                    upto: u64::MAX,
                    most: CHUNK,
                }
            }
            Phase::State(next) => Ask::State {
                from: behind.max(*next),
                after: local.applied(),
            },
            Phase::Collect { bytes, .. } => Ask::More {
                offset: bytes.len() as u64,
            },
            Phase::Missing(_) => return self.fill(now, local),
            Phase::Installing(_) => return self.finish(now, local),
        };
        self.ask(question, now, local);
        Progress::Going
    }

    fn ask(&mut self, question: Ask, now: Timestamp, local: &mut dyn Local) {
        let Some(server) = self.servers.get(self.server).copied() else {
            self.deadline = now.saturating_add(START);
            return;
        };
        self.step += 1;
        let exchange = Exchange {
            group: self.group,
            number: self.number,
            step: self.step,
        };
        let patience = if self.step == 1 { START } else { INACTIVE };
        self.deadline = now.saturating_add(patience);
        self.asked = true;
        local.send(server, ask(&question, exchange));
    }

    /// Messages came.
    fn take_chunk(&mut self, chunk: &Chunk<'_>, local: &mut dyn Local) -> Result<(), Failure> {
        match self.phase {
            Phase::Messages(_) | Phase::State(_) => self.take_new(chunk, local),
            Phase::Missing(_) => self.take_missing(chunk, local),
            Phase::Collect { .. } | Phase::Installing(_) => Err(BAD),
        }
    }

    /// Messages behind the last one.
    fn take_new(&mut self, chunk: &Chunk<'_>, local: &mut dyn Local) -> Result<(), Failure> {
        let mut last = local.messages().state().last_seq;
        let mut messages = chunk.messages;
        while let Some(message) = messages.take().map_err(|_| BAD)? {
            if message.seq <= last || message.seq >= chunk.next {
                return Err(BAD);
            }
            last = message.seq;
            if !local.append(&message, false) {
                return Err(CLOSED);
            }
            (self.unsettled, self.unable) = (true, 0);
        }
        self.phase = if chunk.unreadable {
            Phase::Messages(self.pass_on(chunk.next))
        } else if chunk.end || chunk.near {
            Phase::State(chunk.next)
        } else {
            Phase::Messages(chunk.next)
        };
        Ok(())
    }

    /// Somebody cannot read a message. The sequence to ask for next, of somebody else if one is left.
    fn pass_on(&mut self, seq: u64) -> u64 {
        self.unable += 1;
        self.next_server();
        if self.unable < self.servers.len() {
            return seq;
        }
        self.unable = 0;
        self.lost.push((seq, seq));
        seq.saturating_add(1)
    }

    /// The server has nothing from `from` to before `to`.
    fn look_elsewhere(&mut self, from: u64, to: u64) {
        if from < to {
            self.elsewhere.push((from, to - 1));
        }
    }

    /// Messages that belong among those that are there.
    fn take_missing(&mut self, chunk: &Chunk<'_>, local: &mut dyn Local) -> Result<(), Failure> {
        let Some((first, last)) = self.missing.first().copied() else {
            return Err(BAD);
        };
        let mut messages = chunk.messages;
        let mut from = first;
        while let Some(message) = messages.take().map_err(|_| BAD)? {
            if message.seq < from || message.seq > last {
                return Err(BAD);
            }
            if !local.append(&message, true) {
                return Err(CLOSED);
            }
            self.look_elsewhere(from, message.seq);
            from = message.seq.saturating_add(1);
            self.unsettled = true;
        }
        let next = if chunk.unreadable {
            if chunk.next < from || chunk.next > last {
                return Err(BAD);
            }
            self.unreadable.push((chunk.next, chunk.next));
            let next = chunk.next.saturating_add(1);
            self.look_elsewhere(from, next);
            next
        } else if chunk.end {
            let next = last.saturating_add(1);
            self.look_elsewhere(from, next);
            next
        } else if from > first {
            from
        } else {
            return Err(BAD);
        };
        if next > last {
            self.missing.remove(0);
        } else {
            self.missing[0].0 = next;
        }
        Ok(())
    }

    /// The next server is asked for what this one did not have; after the last one, nobody has it.
    fn ask_elsewhere(&mut self) {
        if self.elsewhere.is_empty() {
            return;
        }
        let rest = std::mem::take(&mut self.elsewhere);
        self.unable += 1;
        if self.unable < self.servers.len() {
            self.next_server();
            self.missing = rest;
            return;
        }
        self.unable = 0;
        self.unreadable.sort_unstable();
        let gone = minus(&rest, &self.unreadable);
        self.lost.extend(minus(&rest, &gone));
        self.gone.extend(gone);
        self.lost.sort_unstable();
        self.gone.sort_unstable();
    }

    /// A part of the state came.
    fn take_part(
        &mut self,
        (all, offset, check): (u64, u64, u32),
        part: &[u8],
        local: &mut dyn Local,
    ) -> Result<(), Failure> {
        if let (Phase::State(_), 0) = (&self.phase, offset) {
            self.phase = Phase::Collect {
                bytes: Vec::new(),
                total: all,
                sum: check,
            };
        }
        let Phase::Collect { bytes, total, sum } = &mut self.phase else {
            return Err(BAD);
        };
        let fits = all == *total && check == *sum && offset == bytes.len() as u64;
        if !fits || all > STATE_MAX || part.is_empty() {
            return Err(BAD);
        }
        bytes.extend_from_slice(part);
        if (bytes.len() as u64) < *total {
            return Ok(());
        }
        if crc32c::crc32c(bytes) != *sum {
            return Err(BAD);
        }
        let bytes = std::mem::take(bytes);
        self.take_state(&bytes, local)
    }

    /// The state is there: the messages that came with it go into the journal.
    fn take_state(&mut self, bytes: &[u8], local: &mut dyn Local) -> Result<(), Failure> {
        let (head, mut messages) = State::split(bytes).map_err(|_| BAD)?;
        let state = State::read(head).map_err(|_| BAD)?;
        let mut last = local.messages().state().last_seq;
        if state.index <= local.applied() || state.last_seq < last {
            // Somebody who is behind was asked after somebody who is not.
            return Err(NOT_THERE);
        }
        while let Some(message) = messages.take().map_err(|_| BAD)? {
            if message.seq <= last || message.seq > state.last_seq {
                return Err(BAD);
            }
            last = message.seq;
            if !local.append(&message, false) {
                return Err(CLOSED);
            }
            self.unsettled = true;
        }
        self.send_end(local);
        self.lost.sort_unstable();
        let unread = minus(&state.runs, &self.lost);
        let unread = unread.iter().find(|(_, end)| *end > last);
        if let Some((first, _)) = unread {
            // The server stopped before a message that it cannot read.
            let seq = (*first).max(last.saturating_add(1));
            self.phase = Phase::Messages(self.pass_on(seq));
            return Ok(());
        }
        self.phase = Phase::Missing(Some(head.to_vec()));
        self.missing.clear();
        self.elsewhere.clear();
        self.unable = 0;
        Ok(())
    }

    fn send_end(&mut self, local: &mut dyn Local) {
        if let Some(server) = self.servers.get(self.server).copied() {
            let exchange = Exchange {
                group: self.group,
                number: self.number,
                step: self.step + 1,
            };
            local.send(server, ask(&Ask::End, exchange));
        }
    }

    /// Asks for what is missing; when nothing is, the state can be installed.
    fn fill(&mut self, now: Timestamp, local: &mut dyn Local) -> Progress {
        if self.missing.is_empty() {
            self.ask_elsewhere();
        }
        if let Phase::Missing(Some(bytes)) = &self.phase
            && self.missing.is_empty()
        {
            let Ok(state) = State::read(bytes) else {
                self.retry(BAD, now, local);
                return Progress::Going;
            };
            let mut present = Vec::new();
            let messages = local.messages();
            messages.present(&mut |first, last| present.push((first, last)));
            let missing = minus(&minus(&state.runs, &present), &self.lost);
            let missing = minus(&missing, &self.gone);
            if missing.iter().any(|(first, last)| {
                !messages.has_room_for(*first) || !messages.has_room_for(*last)
            }) {
                return self.begin_anew(now, local);
            }
            self.missing = missing;
        }
        if let Some((from, upto)) = self.missing.first().copied() {
            let most = CHUNK;
            self.ask(Ask::Messages { from, upto, most }, now, local);
            return Progress::Going;
        }
        match std::mem::replace(&mut self.phase, Phase::Messages(0)) {
            Phase::Missing(Some(bytes)) => self.install(bytes, now, local),
            _ => {
                self.send_end(local);
                Progress::Done(std::mem::take(&mut self.lost))
            }
        }
    }

    /// What is missing cannot be put between what is there.
    fn begin_anew(&mut self, now: Timestamp, local: &mut dyn Local) -> Progress {
        let text = format!(
            "Catchup for stream '{}' begins with the first message: some of its messages are damaged",
            self.label
        );
        local.log(Level::Warn, &text);
        (self.marked, self.fresh) = (false, true);
        self.phase = Phase::Messages(0);
        self.lost.clear();
        self.gone.clear();
        self.advance(now, local)
    }

    fn install(&mut self, bytes: Vec<u8>, now: Timestamp, local: &mut dyn Local) -> Progress {
        let installed = State::read(&bytes).is_ok_and(|state| local.install(&state, &bytes));
        self.phase = Phase::Installing(bytes);
        if installed {
            self.unsettled = true;
            self.deadline = now.saturating_add(INACTIVE);
        } else {
            self.retry(CLOSED, now, local);
        }
        Progress::Going
    }

    /// The state is durable.
    fn finish(&mut self, now: Timestamp, local: &mut dyn Local) -> Progress {
        let Phase::Installing(bytes) = std::mem::replace(&mut self.phase, Phase::Messages(0))
        else {
            return Progress::Going;
        };
        let lost = match State::read(&bytes) {
            Ok(state) => {
                local.installed(&state);
                let mut present = Vec::new();
                let messages = local.messages();
                messages.present(&mut |first, last| present.push((first, last)));
                minus(&minus(&state.runs, &present), &self.gone)
            }
            Err(_) => Vec::new(),
        };
        let took = jetwake_protocol::time::format_duration(now.saturating_sub(self.began));
        let text = format!("Catchup for stream '{}' complete (took {took})", self.label);
        local.log(Level::Info, &text);
        if !lost.is_empty() {
            let text = format!(
                "Catchup for stream '{}': no replica can read {} of its messages",
                self.label,
                total(&lost)
            );
            local.log(Level::Error, &text);
        }
        Progress::Done(lost)
    }
}
