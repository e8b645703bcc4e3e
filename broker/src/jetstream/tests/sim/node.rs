//! One node: its core, its disk with a slow and sometimes unwilling sync, its own clock, and when it does nothing.

use jetwake_storage::{Disk, FaultDisk};

use super::random::Random;
use crate::jetstream::io::{Event, Job, NodeId, Timestamp};
use crate::jetstream::tests::rig::{Rig, START};
use crate::jetstream::{ClusterSettings, Settings};

/// See the module. All times are those of the world, except what the core is told.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) rig: Option<Rig>,
    /// What the power cut left.
    disk: Option<FaultDisk>,
    /// Its clock goes before the world's.
    skew: i64,
    /// It does nothing before this time.
    pub(super) paused_until: i64,
    /// Its disk does not sync before this time.
    pub(super) holds_until: i64,
    sync_at: Option<i64>,
    jobs: Vec<(i64, Job)>,
    /// A write failed: it waits for its end.
    pub(super) failed: bool,
    /// It comes back at this time.
    pub(super) returns_at: i64,
    /// Something happened since its last step.
    pub(super) touched: bool,
    nodes: u64,
    /// Its disk is full before this time.
    pub(super) full_until: Option<i64>,
}

pub(super) fn settings(node: NodeId, nodes: u64) -> Settings {
    Settings {
        server_name: format!("n{node}"),
        cluster: Some(ClusterSettings {
            name: "C".to_owned(),
            node,
            routes: nodes as usize - 1,
            ..ClusterSettings::default()
        }),
        keep: 32 << 10,
        ..Settings::default()
    }
}

impl Node {
    pub(super) fn new(id: NodeId, nodes: u64, random: &mut Random) -> Self {
        let mut node = Self {
            id,
            rig: None,
            disk: Some(FaultDisk::new()),
            skew: random.millis(0, 1500),
            paused_until: 0,
            holds_until: 0,
            sync_at: None,
            jobs: Vec::new(),
            failed: false,
            returns_at: 0,
            touched: true,
            nodes,
            full_until: None,
        };
        node.start(0, random);
        node
    }

    fn local(&self, now: i64) -> Timestamp {
        START + now + self.skew
    }

    /// Its clock jumps ahead.
    pub(super) fn jump(&mut self, by: i64) {
        self.skew += by;
    }

    pub(super) fn acts(&self, now: i64) -> bool {
        self.rig.is_some() && self.paused_until <= now
    }

    pub(super) fn start(&mut self, now: i64, random: &mut Random) {
        let Some(disk) = self.disk.take() else {
            return;
        };
        let (settings, local) = (settings(self.id, self.nodes), self.local(now));
        self.rig = Some(Rig::open_with(disk, settings, local, random.next()));
        (self.failed, self.touched) = (false, true);
        (self.paused_until, self.holds_until) = (now, now);
    }

    /// Power is lost.
    pub(super) fn crash(&mut self, random: &mut Random) {
        if let Some(rig) = self.rig.take() {
            let disk = if random.permille(300) {
                rig.disk.kill()
            } else {
                rig.disk.crash(random.next())
            };
            disk.set_capacity(None);
            self.disk = Some(disk);
        }
        self.jobs.clear();
        self.sync_at = None;
    }

    /// Tells the core what time it is.
    pub(super) fn clock(&mut self, now: i64) {
        let local = self.local(now);
        if let Some(rig) = &mut self.rig {
            rig.now = rig.now.max(local);
        }
    }

    /// Flips a bit of one of its files. Which file.
    pub(super) fn rot(&self, random: &mut Random) -> Option<String> {
        let disk = self
            .disk
            .as_ref()
            .or(self.rig.as_ref().map(|rig| &rig.disk))?;
        let dir = std::path::Path::new("/js");
        let names = disk.list(dir).ok()?;
        let name = names.get(random.below(names.len() as u64) as usize)?;
        let path = dir.join(name);
        let at = random.below(disk.size(&path) as u64) as usize;
        disk.flip(&path, at, random.below(8) as u8);
        Some(name.clone())
    }

    pub(super) fn hear(&mut self, now: i64, event: Event<'_>) {
        let local = self.local(now);
        if let Some(rig) = &mut self.rig {
            rig.now = rig.now.max(local);
            rig.handle(event);
            self.touched = true;
        }
    }

    /// When it has something to do next, if nothing comes from outside.
    pub(super) fn next(&self) -> Option<i64> {
        let rig = self.rig.as_ref()?;
        let deadline = rig.core.deadline().map(|at| at - START - self.skew);
        let job = self.jobs.iter().map(|(at, _)| *at).min();
        let sync = self.sync_at.map(|at| at.max(self.holds_until));
        let next = [deadline, job, sync].into_iter().flatten().min()?;
        Some(next.max(self.paused_until))
    }

    /// Does what is due. Whether it did anything.
    pub(super) fn step(&mut self, now: i64, random: &mut Random) -> bool {
        if !self.acts(now) || (!self.touched && self.next().is_none_or(|next| next > now)) {
            return false;
        }
        self.touched = false;
        let local = self.local(now);
        let Some(rig) = &mut self.rig else {
            return false;
        };
        rig.now = rig.now.max(local);
        if self
            .sync_at
            .is_some_and(|at| at.max(self.holds_until) <= now)
            && !self.failed
        {
            self.sync_at = None;
            match rig.writer.sync() {
                Ok(durable) => rig.handle(Event::Durable(durable)),
                Err(error) => {
                    self.failed = true;
                    rig.handle(Event::StoreFailed(&error.to_string()));
                }
            }
        }
        let mut due = Vec::new();
        for (at, job) in std::mem::take(&mut self.jobs) {
            if at <= now {
                due.push(job);
            } else {
                self.jobs.push((at, job));
            }
        }
        for job in due {
            rig.handle(Event::Job(job.run()));
        }
        if rig.core.deadline().is_some_and(|at| at <= rig.now) {
            rig.handle(Event::Tick);
        }
        rig.handle(Event::BatchEnd);
        if !self.failed {
            match rig.writer.write() {
                Ok(Some(_)) if self.sync_at.is_none() => {
                    let slow = if random.permille(20) { 300 } else { 4 };
                    self.sync_at = Some(now + random.millis(0, slow));
                }
                Ok(_) => {}
                Err(error) => {
                    self.failed = true;
                    rig.handle(Event::StoreFailed(&error.to_string()));
                }
            }
        }
        for job in std::mem::take(&mut rig.out.jobs) {
            self.jobs.push((now + random.millis(1, 60), job));
        }
        true
    }
}
