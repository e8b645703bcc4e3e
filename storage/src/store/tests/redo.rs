//! What a crash left half done is done at the next opening, once, and nothing else is.

use super::*;
use crate::disk::Disk as _;

/// Every file with its bytes.
pub(super) fn content(disk: &FaultDisk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.sort();
    let read = |name: String| {
        let file = disk.open(&Path::new(DIR).join(&name)).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

/// Whether these bytes are in a file whose name starts like this.
fn is_in(disk: &FaultDisk, kind: &str, bytes: &[u8]) -> bool {
    content(disk).iter().any(|(name, content)| {
        name.starts_with(kind) && content.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// A store with one group, some of it copied and some in the journal.
fn filled(disk: &FaultDisk) -> (Store, JournalWriter, FileMessages) {
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(disk, 1).unwrap();
    let mut messages = store.create_group(GROUP, 0);
    let mut append = |store: &mut Store, messages: &mut FileMessages, at: u64| {
        let record = Written::message(at);
        let appended = store.append(&record.record());
        write_and_sync(store, &mut writer);
        insert(messages, &record.record(), appended.location);
    };
    for at in (0..60).step_by(2) {
        append(&mut store, &mut messages, at);
    }
    let groups = &mut [(GROUP, b"old".to_vec(), Some(&mut messages))];
    let end = store.end();
    maintain(&mut store, end, true, groups).unwrap();
    append(&mut store, &mut messages, 68);
    (store, writer, messages)
}

#[test]
fn erasures_that_a_crash_prevented_are_done_at_the_next_opening() {
    let disk = FaultDisk::new();
    let (mut store, writer, mut messages) = filled(&disk);
    let places = [(9, "segment"), (69, "journal")];
    for (seq, _) in places {
        messages.remove(seq, true).unwrap();
    }
    let mut checkpoint = store.begin_checkpoint(None);
    checkpoint.add(GROUP, store.end(), b"", Some(&mut messages));
    let done = store.seal_checkpoint(checkpoint).run().unwrap();
    let cleanup = store.finish_checkpoint(done);
    // The machine stops before the cleanup, or somewhere inside it.
    for calls in 0..5 {
        let disk = disk.crash(calls);
        for (seq, kind) in places {
            assert!(is_in(&disk, kind, &Written::message(seq - 1).payload));
        }
        disk.stop_after(calls);
        drop(open(&disk, 2));
        let disk = disk.crash(calls);
        let opened = open(&disk, 3).unwrap();
        assert_eq!(opened.groups[0].messages.state(), messages.state());
        drop(opened);
        for (seq, kind) in places {
            assert!(!is_in(&disk, kind, &Written::message(seq - 1).payload));
        }
        let disk = disk.crash(1);
        let before = content(&disk);
        let syncs = disk.syncs();
        drop(open(&disk, 4).unwrap());
        assert_eq!(content(&disk), before);
        assert!(disk.syncs() - syncs <= 2, "the journal is synced, no more");
    }
    drop((cleanup, store, writer));
}

#[test]
fn a_checkpoint_that_lost_a_group_frees_nothing_that_is_still_there() {
    let disk = FaultDisk::new();
    let (mut store, mut writer, mut messages) = filled(&disk);
    for at in (70..200).step_by(2) {
        let record = Written::message(at);
        let appended = store.append(&record.record());
        write_and_sync(&mut store, &mut writer);
        insert(&mut messages, &record.record(), appended.location);
    }
    let retire = store.plan_retire(writer.durable(), 0).unwrap();
    let mut job = store.begin_copy(retire.through);
    add(&mut job, GROUP, &mut messages);
    let copied = job.run().unwrap();
    store.finish_copy(&copied);
    copied.relocate(GROUP, &mut messages);
    let mut checkpoint = store.begin_checkpoint(Some(&retire));
    checkpoint.add(0, store.end(), b"meta", None);
    checkpoint.add(GROUP, store.end(), b"new", Some(&mut messages));
    store.seal_checkpoint(checkpoint).run().unwrap();
    // The power goes before the old files are removed, and both copies of the section rot.
    let state = messages.state();
    drop((store, writer, messages));
    let disk = disk.crash(1);
    let (name, bytes) = content(&disk)
        .into_iter()
        .rfind(|(name, _)| name.starts_with("checkpoint"))
        .unwrap();
    for at in 0..bytes.len() - 4 {
        if &bytes[at..at + 4] == b"JWGS" && bytes[at + 8] == GROUP as u8 {
            disk.flip(&Path::new(DIR).join(&name), at + 70, 1);
        }
    }
    let opened = open(&disk, 2).unwrap();
    assert!(opened.report.lost.is_empty());
    let [line] = &opened.report.lines[..] else {
        panic!("{:?}", opened.report.lines)
    };
    assert!(line.contains("1 of 2 sections"), "{line}");
    let mut messages = opened.groups.into_iter().nth(1).unwrap().messages;
    opened
        .replay
        .run(&mut |item| insert(&mut messages, &item.record, item.location))
        .unwrap();
    assert_eq!(messages.state(), state);
    let mut next = messages.next(0);
    while let Some(meta) = next {
        let stored = messages.get(meta.seq).unwrap().unwrap();
        assert_eq!(stored.payload, Written::message(meta.seq - 1).payload);
        next = messages.next(meta.seq + 1);
    }
}
