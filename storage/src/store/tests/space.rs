//! Full disks: what adds is refused before it is appended, what frees is not, and it ends by itself.

use super::*;

/// Appends messages until no more is admitted; all of it becomes durable. Returns how many.
fn fill(store: &mut Store, writer: &mut JournalWriter, messages: &mut FileMessages) -> u64 {
    let first = messages.state().last_seq;
    for at in first.. {
        let mut record = Written::message(at);
        record.group = GROUP;
        record.payload.truncate(3000);
        let record = record.record();
        if !store.admit(record.size(), Purpose::Add) {
            return at - first;
        }
        let appended = store.append(&record);
        write_and_sync(store, writer);
        insert(messages, &record, appended.location);
        if at % 5 == 0 {
            // As the background does, when it finds the time.
            background(store);
        }
    }
    unreachable!("the disk is full at some time")
}

/// What a broker does in the background: whether a spare file could be made.
fn background(store: &mut Store) -> bool {
    if let Some(job) = store.plan_spare(false) {
        match job.run() {
            Ok(done) => store.finish_spare(done),
            Err(error) => return !store.job_failed(&error),
        }
    }
    match store.plan_reserve().map(ReserveJob::run) {
        Some(Ok(done)) => store.finish_reserve(&done),
        Some(Err(error)) => return !store.job_failed(&error),
        None => {}
    }
    true
}

/// One round of maintenance on a full disk, with the reserve if necessary.
fn relieve(store: &mut Store, applied: Lsn, messages: &mut FileMessages) -> Result<(), StoreError> {
    let retire = store.plan_relief(applied).unwrap();
    let job = |store: &mut Store, messages: &mut FileMessages| {
        let mut job = store.begin_copy(retire.through).without_rewriting();
        add(&mut job, GROUP, messages);
        job.run()
    };
    let copied = match job(store, messages) {
        Err(error) if store.job_failed(&error) && store.release_reserve() => job(store, messages)?,
        other => other?,
    };
    store.finish_copy(&copied);
    copied.relocate(GROUP, messages);
    let write = |store: &mut Store, messages: &mut FileMessages| {
        let mut checkpoint = store.begin_checkpoint(Some(&retire));
        checkpoint.add(GROUP, applied, b"", Some(messages));
        store.seal_checkpoint(checkpoint).run()
    };
    let done = match write(store, messages) {
        Err(error) if store.job_failed(&error) && store.release_reserve() => {
            write(store, messages)?
        }
        other => other?,
    };
    let cleaned = store.finish_checkpoint(done).run();
    store.finish_cleanup(cleaned);
    Ok(())
}

fn start(capacity: u64) -> (FaultDisk, Store, JournalWriter, FileMessages) {
    let disk = FaultDisk::new();
    disk.set_capacity(Some(capacity));
    let Opened {
        mut store, writer, ..
    } = open(&disk, 1).unwrap();
    let messages = store.create_group(GROUP, 0);
    (disk, store, writer, messages)
}

#[test]
fn what_adds_is_refused_and_what_frees_is_not() {
    for capacity in (8..40).map(|blocks| blocks * 4096) {
        let (disk, mut store, mut writer, mut messages) = start(capacity);
        let added = fill(&mut store, &mut writer, &mut messages);
        assert!(store.is_full());
        assert!(added > 0 || capacity < 32768, "{capacity}: {added}");
        let calls = disk.calls();
        assert!(!store.admit(4000, Purpose::Add));
        assert_eq!(disk.calls(), calls, "refused without asking the disk");
        let mut freed = 0;
        while store.admit(100, Purpose::Free) && freed < 10 {
            let mut record = Written::message(0);
            record.group = GROUP;
            record.seq = 1000 + freed;
            store.append(&record.record());
            freed += 1;
            write_and_sync(&mut store, &mut writer);
        }
        assert!(freed == 10 || added == 0, "{capacity}: {freed} of 10");
        assert!(!background(&mut store), "{capacity}: still full");
        disk.set_capacity(Some(capacity + (256 << 10)));
        assert!(background(&mut store));
        assert!(!store.is_full());
        assert!(fill(&mut store, &mut writer, &mut messages) > 0);
    }
}

#[test]
fn nothing_that_was_synced_is_lost_on_a_full_disk() {
    let (disk, mut store, mut writer, mut messages) = start(100 << 10);
    let added = fill(&mut store, &mut writer, &mut messages);
    for seed in 0..10 {
        let after = disk.crash(seed);
        let opened = open(&after, 2).unwrap();
        assert_eq!(opened.report, Report::default());
        let mut store = opened.store;
        assert_eq!(replayed(opened.replay).len() as u64, added);
        assert!(store.admit(100, Purpose::Free), "from the reserve");
    }
}

#[test]
fn a_purge_gives_the_space_back() {
    let (disk, mut store, mut writer, mut messages) = start(200 << 10);
    let added = fill(&mut store, &mut writer, &mut messages);
    // Most of it goes; what is left in the oldest file has to be copied.
    messages.remove_front(added - 3, &mut |_, _| {});
    messages.remove(added - 1, false);
    let before = disk.used();
    while store.plan_relief(writer.durable()).is_some() {
        relieve(&mut store, writer.durable(), &mut messages).unwrap();
    }
    assert!(disk.used() < before, "{} of {before}", disk.used());
    assert!(!store.is_full(), "a file was recycled");
    assert!(fill(&mut store, &mut writer, &mut messages) > added / 2);
}

#[test]
fn the_reserve_is_enough_to_move_a_file_that_is_all_alive() {
    let (disk, mut store, mut writer, mut messages) = start(200 << 10);
    let added = fill(&mut store, &mut writer, &mut messages);
    let reserve = disk.size(&Path::new(DIR).join("reserve"));
    assert!(reserve > 0);
    disk.set_capacity(Some(disk.used()));
    relieve(&mut store, writer.durable(), &mut messages).unwrap();
    assert_eq!(messages.state().messages, added);
    for seq in 1..=added {
        messages.get(seq).unwrap().unwrap();
    }
    assert!(store.plan_spare(false).is_none(), "the file became a spare");
    assert!(store.is_full(), "there is no reserve");
    // The next life finds the same.
    let opened = open(&disk.crash(5), 2).unwrap();
    assert_eq!(opened.report, Report::default());
    let checkpointed = opened.groups[0].messages.state().messages;
    let later = replayed(opened.replay).len() as u64;
    assert_eq!(checkpointed + later, added);
}

#[test]
fn a_reserve_is_kept_over_restarts_and_grows_with_the_store() {
    let (disk, mut store, mut writer, mut messages) = start(1 << 20);
    assert_eq!(disk.used(), 0, "nothing before the first write");
    let record = Written::message(1);
    assert!(store.admit(record.record().size(), Purpose::Add));
    store.append(&record.record());
    write_and_sync(&mut store, &mut writer);
    background(&mut store);
    assert!(
        store.plan_reserve().is_none(),
        "one file needs no maintenance"
    );
    drop((store, writer));
    let mut opened = open(&disk.kill(), 2).unwrap();
    fill(&mut opened.store, &mut opened.writer, &mut messages);
    drop(opened);
    let opened = open(&disk.kill(), 3).unwrap();
    assert!(opened.store.plan_reserve().is_none());
}
