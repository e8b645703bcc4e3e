//! Journal files that become the bodies of segments.

use super::redo::content;
use super::*;
use crate::disk::Disk as _;

fn names(disk: &FaultDisk, kind: &str) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.starts_with(kind));
    names.sort();
    names
}

/// A store with one group.
type Rig = Single;

impl Rig {
    /// An empty store that adopts its files.
    fn adopting() -> Self {
        adopt_files();
        Self::new()
    }

    fn fill(&mut self, range: std::ops::Range<u64>) {
        for at in range {
            let mut record = Written::message(at);
            record.group = GROUP;
            self.append(&record);
        }
    }

    fn check_all(&self) {
        self.check(|seq| Written::message(seq - 1));
    }

    fn again(self) -> Self {
        let rig = self.reopen();
        rig.check_all();
        rig
    }
}

#[test]
fn a_file_that_is_mostly_alive_is_adopted_and_goes_with_its_messages() {
    let mut rig = Rig::adopting();
    rig.fill(0..80);
    let files = names(&rig.disk, "journal");
    rig.maintain(true);
    let kept = names(&rig.disk, "journal");
    assert!(
        kept.len() > 3 && kept.len() < files.len(),
        "{kept:?} of {files:?}"
    );
    let size = |name: &String| rig.disk.size(&Path::new(DIR).join(name));
    let tables: usize = names(&rig.disk, "segment").iter().map(size).sum();
    let bytes = rig.messages.state().bytes as usize;
    assert!(tables * 2 < bytes, "{tables} bytes of tables for {bytes}");
    rig.check_all();
    // Opening changes nothing, once or twice.
    let rig = rig.again();
    let before = content(&rig.disk);
    let mut rig = rig.again();
    assert_eq!(content(&rig.disk), before);
    // Later messages are in later files, and the adopted ones go when their messages do.
    rig.fill(80..90);
    rig.messages.remove_front(81, &mut |_, _| {});
    rig.maintain(false);
    let left = names(&rig.disk, "journal");
    assert!(
        left.iter()
            .all(|name| !kept[..kept.len() - 1].contains(name)),
        "{left:?}"
    );
    assert_eq!(names(&rig.disk, "segment"), Vec::<String>::new());
    rig.again();
}

#[test]
fn a_file_that_is_mostly_dead_is_copied() {
    let mut rig = Rig::adopting();
    rig.fill(0..80);
    for seq in 1..=80 {
        if seq % 4 > 0 {
            rig.messages.remove(seq, false);
        }
    }
    rig.maintain(true);
    assert_eq!(names(&rig.disk, "journal").len(), 1);
    rig.check_all();
    rig.again();
}

#[test]
fn an_adopted_file_that_dies_is_rewritten() {
    let mut rig = Rig::adopting();
    rig.fill(0..80);
    rig.maintain(true);
    let before = names(&rig.disk, "journal").len();
    assert!(before > 3);
    for seq in 1..=80 {
        if seq % 4 > 0 {
            rig.messages.remove(seq, false);
        }
    }
    assert!(rig.messages.is_wasteful());
    let retire = Retire {
        through: 0,
        groups: vec![GROUP],
    };
    let mut job = rig.store.begin_copy(0);
    add(&mut job, GROUP, &mut rig.messages);
    let copied = job.run().unwrap();
    rig.store.finish_copy(&copied);
    copied.relocate(GROUP, &mut rig.messages);
    let mut checkpoint = rig.store.begin_checkpoint(Some(&retire));
    checkpoint.add(GROUP, rig.store.end(), b"blob", Some(&mut rig.messages));
    let done = rig.store.seal_checkpoint(checkpoint).run().unwrap();
    let cleaned = rig.store.finish_checkpoint(done).run();
    rig.store.finish_cleanup(cleaned);
    assert!(!rig.messages.is_wasteful());
    assert!(names(&rig.disk, "journal").len() <= 2);
    rig.again();
}

/// A message's bytes as they lie in a record.
fn body(at: u64) -> Vec<u8> {
    let written = Written::message(at);
    [written.key, written.headers, written.payload].concat()
}

#[test]
fn a_message_in_an_adopted_file_is_erased_in_place() {
    let mut rig = Rig::adopting();
    rig.fill(0..80);
    rig.maintain(true);
    // One that is long enough to be found, and nowhere but in an adopted file.
    let (_, first) = content(&rig.disk)
        .into_iter()
        .find(|(name, _)| name.starts_with("journal"))
        .unwrap();
    let is_in = |at: &u64| {
        let payload = body(*at);
        payload.len() > 60 && first.windows(payload.len()).any(|window| window == payload)
    };
    let at = (0..80).find(is_in).unwrap();
    let secret = body(at);
    let has = |rig: &Rig| {
        let files = content(&rig.disk);
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        files.iter().any(|(_, bytes)| holds(bytes))
    };
    assert!(has(&rig));
    rig.messages.remove(at + 1, true);
    rig.maintain(false);
    assert!(!has(&rig));
    rig.again();
}

#[test]
fn a_missing_body_is_reported_and_the_rest_is_served() {
    let mut rig = Rig::adopting();
    rig.fill(0..80);
    rig.maintain(true);
    let live = rig.messages.state().messages;
    let disk = rig.disk.kill();
    drop(rig);
    let victim = names(&disk, "journal").remove(1);
    disk.remove(&Path::new(DIR).join(&victim)).unwrap();
    let opened = open(&disk, 2).unwrap();
    assert!(
        opened.report.lines[0].contains(&victim),
        "{:?}",
        opened.report
    );
    let lost = opened.report.lost.len() as u64;
    assert!(lost > 0 && lost < live / 2, "{lost} of {live}");
    let mut served = opened.groups[0].messages.state().messages;
    served += replayed(opened.replay).len() as u64;
    assert_eq!(served + lost, live);
}

#[test]
fn when_a_segment_cannot_be_asked_no_journal_file_is_removed() {
    let mut rig = Rig::adopting();
    rig.fill(0..80);
    rig.maintain(true);
    let disk = rig.disk.kill();
    drop(rig);
    let adopts = |(name, bytes): &(String, Vec<u8>)| name.starts_with("segment") && bytes[32] > 0;
    let (segment, _) = content(&disk).into_iter().find(adopts).unwrap();
    let path = Path::new(DIR).join(&segment);
    let len = disk.size(&path);
    disk.flip(&path, 20, 1);
    disk.flip(&path, len - 20, 1);
    let before = names(&disk, "journal").len();
    let opened = open(&disk, 2).unwrap();
    assert!(!opened.report.lost.is_empty());
    let after = names(&disk, "journal");
    assert_eq!(after.len(), before);
    assert_eq!(
        after
            .iter()
            .filter(|name| name.ends_with(".damaged"))
            .count(),
        1
    );
}
