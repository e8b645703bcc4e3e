//! Tests of the layer's memory.

use super::*;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn with_file(names: Names) -> (Image, u64) {
    let mut image = Image::new(names);
    let node = Node::File(FileNode::default());
    let file = image.create(ROOT, name("a"), node, 0o644).unwrap();
    (image, file)
}

fn bytes(image: &Image, file: &str) -> Option<Vec<u8>> {
    let number = image.lookup(ROOT, name(file)).ok()?;
    Some(image.file(number).unwrap().bytes.clone())
}

#[test]
fn an_unsynced_name_is_gone_although_its_file_was_synced() {
    let (mut image, file) = with_file(Names::Strict);
    image.write(file, 0, b"abc").unwrap();
    image.sync_file(file).unwrap();
    image.cut(Cut::Clean);
    assert_eq!(bytes(&image, "a"), None);

    let (mut image, file) = with_file(Names::Journaled);
    image.write(file, 0, b"abc").unwrap();
    image.sync_file(file).unwrap();
    image.cut(Cut::Clean);
    assert_eq!(bytes(&image, "a").unwrap(), b"abc");
}

#[test]
fn a_cut_restores_overwritten_appended_and_truncated_bytes() {
    let (mut image, file) = with_file(Names::Strict);
    let old: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
    image.write(file, 0, &old).unwrap();
    image.sync_file(file).unwrap();
    image.sync_directory(ROOT).unwrap();
    image.write(file, 4_000, &[7; 5_000]).unwrap();
    image.write(file, 10_000, &[8; 5_000]).unwrap();
    image.resize(file, 100).unwrap();
    image.write(file, 50, &[9; 20_000]).unwrap();
    let loss = image.cut(Cut::Clean);
    assert!(loss.pages > 0 && loss.names == 0, "{loss:?}");
    assert_eq!(bytes(&image, "a").unwrap(), old);
    assert_eq!(image.used(), 10_000);
}

#[test]
fn a_torn_cut_leaves_each_sector_old_or_new() {
    let mut kinds = HashSet::new();
    for seed in 0..40 {
        let (mut image, file) = with_file(Names::Strict);
        image.write(file, 0, &[1; 8192]).unwrap();
        image.sync_file(file).unwrap();
        image.sync_directory(ROOT).unwrap();
        image.write(file, 0, &[2; 12_000]).unwrap();
        image.cut(Cut::Torn(seed));
        let found = bytes(&image, "a").unwrap();
        assert!([8192, 12_000].contains(&found.len()));
        for (number, sector) in found.chunks(SECTOR).enumerate() {
            let old = if number < 16 { 1 } else { 0 };
            assert!(sector.iter().all(|b| *b == sector[0]));
            assert!(sector[0] == 2 || sector[0] == old);
            kinds.insert((found.len(), sector[0]));
        }
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

#[test]
fn unsynced_renames_and_removals_come_undone() {
    let (mut image, file) = with_file(Names::Strict);
    image.write(file, 0, b"abc").unwrap();
    image.sync_file(file).unwrap();
    image.sync_directory(ROOT).unwrap();
    image.rename((ROOT, name("a")), (ROOT, name("b"))).unwrap();
    assert_eq!(bytes(&image, "b").unwrap(), b"abc");
    image.remove(ROOT, name("b")).unwrap();
    assert_eq!(image.used(), 0);
    image.cut(Cut::Clean);
    assert_eq!(bytes(&image, "a").unwrap(), b"abc");
    assert_eq!(image.used(), 3);
}

#[test]
fn what_a_full_disk_refuses_changes_nothing() {
    let (mut image, file) = with_file(Names::Strict);
    image.orders().limit(Some(100));
    image.write(file, 0, &[1; 90]).unwrap();
    assert_eq!(image.write(file, 90, &[1; 11]), Err(Errno::NoSpace));
    assert_eq!(image.allocate(file, 101), Err(Errno::NoSpace));
    image.write(file, 80, &[1; 20]).unwrap();
    image.resize(file, 0).unwrap();
    assert_eq!(image.used(), 0);
    image.set_aside(file, 60).unwrap();
    assert_eq!((image.used(), image.file(file).unwrap().len()), (60, 0));
    image.write(file, 0, &[1; 50]).unwrap();
    assert_eq!(image.used(), 60);
    assert_eq!(image.set_aside(file, 101), Err(Errno::NoSpace));
}

#[test]
fn ordered_failures_end_with_a_restart() {
    let (mut image, file) = with_file(Names::Strict);
    image.orders().fail_syncs(true);
    assert_eq!(image.sync_file(file), Err(Errno::Io));
    image.cut(Cut::Clean);
    image.orders().fail_reads(Some("seg"));
    assert_eq!(image.orders.read(Some("segment")), Err(Errno::Io));
    assert_eq!(image.orders.read(Some("journal")), Ok(()));
    image.sync_directory(ROOT).unwrap();
}
