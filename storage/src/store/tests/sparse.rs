//! Segments that groups share, of which little is alive.

use super::*;
use crate::disk::Disk as _;
use crate::store::Shares;

const GROUPS: u64 = 8;
const EACH: u64 = 12;

struct Rig {
    disk: FaultDisk,
    store: Store,
    writer: JournalWriter,
    groups: Vec<FileMessages>,
}

fn message(group: u64, seq: u64) -> Written {
    Written {
        group: GROUP + group,
        seq,
        ..Written::message(group * EACH + seq)
    }
}

impl Rig {
    /// A segment in which several groups have messages.
    fn new() -> Self {
        let disk = FaultDisk::new();
        let Opened {
            mut store, writer, ..
        } = open(&disk, 1).unwrap();
        let groups = (0..GROUPS).map(|group| store.create_group(GROUP + group, 0));
        let groups = groups.collect();
        let mut rig = Self {
            disk,
            store,
            writer,
            groups,
        };
        for seq in 1..=EACH {
            for group in 0..GROUPS {
                let written = message(group, seq);
                let appended = rig.store.append(&written.record());
                write_and_sync(&mut rig.store, &mut rig.writer);
                let messages = &mut rig.groups[group as usize];
                insert(messages, &written.record(), appended.location);
            }
        }
        rig.maintain(true);
        rig
    }

    fn maintain(&mut self, retire: bool) {
        let mut groups: Vec<_> = self
            .groups
            .iter_mut()
            .enumerate()
            .map(|(at, messages)| (GROUP + at as u64, Vec::new(), Some(messages)))
            .collect();
        maintain(&mut self.store, self.writer.durable(), retire, &mut groups).unwrap();
    }

    fn plan(&mut self) -> Option<Retire> {
        let mut shares = Shares::default();
        self.groups.iter().for_each(|messages| shares.add(messages));
        self.store.plan_renewal(&shares, u64::MAX)
    }

    fn segments(&self) -> Vec<String> {
        let names = self.disk.list(Path::new(DIR)).unwrap().into_iter();
        names.filter(|name| name.starts_with("segment")).collect()
    }

    /// Copies and checkpoints what was planned.
    fn renew(&mut self, retire: &Retire) {
        let concerned = |at: usize| retire.groups.contains(&(GROUP + at as u64));
        let mut job = self.store.begin_copy(retire.through);
        for (at, messages) in self.groups.iter_mut().enumerate() {
            if concerned(at) {
                add(&mut job, GROUP + at as u64, messages);
            }
        }
        let copied = job.run().unwrap();
        self.store.finish_copy(&copied);
        let mut checkpoint = self.store.begin_checkpoint(Some(retire));
        for (at, messages) in self.groups.iter_mut().enumerate() {
            copied.relocate(GROUP + at as u64, messages);
            if concerned(at) {
                let end = self.store.end();
                checkpoint.add(GROUP + at as u64, end, b"", Some(messages));
            }
        }
        let done = self.store.seal_checkpoint(checkpoint).run().unwrap();
        let cleaned = self.store.finish_checkpoint(done).run();
        self.store.finish_cleanup(cleaned);
    }
}

#[test]
fn one_message_does_not_keep_what_all_the_others_have_left() {
    let mut rig = Rig::new();
    assert_eq!(rig.plan(), None);
    let before = rig.segments();
    // The last group keeps all it has in there, which is no waste of its own.
    for messages in &mut rig.groups[..GROUPS as usize - 1] {
        messages.remove_front(EACH + 1, &mut |_, _| {});
    }
    rig.maintain(false);
    assert_eq!(rig.segments(), before);
    let last = GROUP + GROUPS - 1;
    assert!(!rig.groups.iter().any(FileMessages::is_wasteful));
    let retire = rig.plan().unwrap();
    assert_eq!((retire.through, &retire.groups[..]), (0, &[last][..]));
    rig.renew(&retire);
    let after = rig.segments();
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    assert_eq!(rig.plan(), None, "what is left is as small as it can be");
    let check = |messages: &FileMessages| {
        for seq in 1..=EACH {
            let stored = messages.get(seq).unwrap().unwrap();
            assert_eq!(stored.payload, message(GROUPS - 1, seq).payload);
        }
    };
    check(&rig.groups[GROUPS as usize - 1]);
    let opened = open(&rig.disk.crash(1), 2).unwrap();
    assert_eq!(opened.report, Report::default());
    let found = opened.groups.iter().find(|group| group.id == last);
    check(&found.unwrap().messages);
}

#[test]
fn a_file_is_left_alone_while_much_of_it_is_alive() {
    let mut rig = Rig::new();
    for messages in &mut rig.groups[..2] {
        messages.remove_front(EACH + 1, &mut |_, _| {});
    }
    rig.maintain(false);
    assert_eq!(rig.plan(), None);
}
