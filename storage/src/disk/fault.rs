//! A disk in memory that behaves as badly as real ones may. Without orders it is a plain memory disk.
//!
//! Every file has a volatile image (the page cache: what reads see) and a durable one (the medium).
//!
//! | what goes wrong | how it is ordered | what then happens |
//! |---|---|---|
//! | power cut | [`crash`](FaultDisk::crash) | of the unsynced sectors (512 bytes) an arbitrary, seeded subset survives, so writes are torn; of the unsynced name changes an arbitrary prefix; an unsynced length or not |
//! | process killed | [`kill`](FaultDisk::kill) | nothing is lost, and the cache is still not the medium |
//! | machine stops dead | [`stop_after`](FaultDisk::stop_after) | no changing call passes after the n-th |
//! | a call fails | [`fail_at`](FaultDisk::fail_at) | the n-th changing call; a failed write leaves the first half of its sectors, a failed sync forgets that its sectors were dirty, as Linux does: a second sync "succeeds" and saves nothing |
//! | a sync fails | [`fail_sync`](FaultDisk::fail_sync) | the same, for the n-th sync of a file |
//! | disk full | [`set_capacity`](FaultDisk::set_capacity) | allocating and reserving, and writes where nothing was allocated, are refused; writes to allocated space pass. Space is counted in blocks of 4096 bytes and comes back when the last name and the last open handle are gone |
//! | bad sectors | [`fail_reads`](FaultDisk::fail_reads) | reads that touch the range are refused |
//! | rot | [`flip`](FaultDisk::flip), [`truncate`](FaultDisk::truncate) | the bytes change, nobody says so |
//!
//! It does not map: readers go through `read_at`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, DiskLock, Map};
use crate::journal::mix;

const SECTOR: usize = 512;
/// Space is given out in blocks of this size.
const BLOCK: u64 = 4096;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The medium fails.
    Io,
    /// No space is left.
    Full,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::from(rustix::io::Errno::IO),
            Self::Full => io::Error::from(rustix::io::Errno::NOSPC),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written and not synced.
    dirty: BTreeSet<usize>,
    /// Blocks are reserved up to here, whatever the length.
    reserved: u64,
    /// Reads of these bytes fail.
    unreadable: Range<u64>,
    /// Open files.
    handles: usize,
}

impl Inode {
    fn space(&self) -> u64 {
        self.reserved
            .max(self.volatile.len() as u64)
            .next_multiple_of(BLOCK)
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.volatile.len() < end {
            self.volatile.resize(end, 0);
        }
        self.volatile[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.durable.resize(self.volatile.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let end = (sector * SECTOR + SECTOR).min(self.volatile.len());
            let start = (sector * SECTOR).min(end);
            self.durable[start..end].copy_from_slice(&self.volatile[start..end]);
        }
    }

    /// As another opening of the disk finds it.
    fn left(&self) -> Self {
        Self {
            handles: 0,
            ..self.clone()
        }
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(PathBuf, usize),
    Clear(PathBuf),
    Move(PathBuf, PathBuf),
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            Self::Set(path, _) | Self::Clear(path) | Self::Move(path, _) => path,
        }
    }
}

type Names = BTreeMap<PathBuf, usize>;

fn replay(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Set(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Clear(path) => {
            names.remove(path);
        }
        NameChange::Move(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Image {
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    unsynced_names: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    /// Directories whose own names are not durable.
    loose_dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    calls: u64,
    /// The call that fails, and how.
    fails: Option<(u64, Fault)>,
    /// Calls after this one find the machine dead.
    stops_after: Option<u64>,
    syncs: u64,
    /// The sync of a file that fails, and how.
    fails_sync: Option<(u64, Fault)>,
    /// Bytes that fit on the disk.
    capacity: Option<u64>,
}

impl Image {
    /// Counts a call that may change something and decides its fate.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.stops_after.is_some_and(|last| self.calls > last) {
            return Err(io::Error::other("the machine has stopped"));
        }
        match self.fails {
            Some((at, fault)) if at == self.calls => Err(fault.error()),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: NameChange) {
        replay(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    /// What is taken: by files with a name, and by those that somebody has open.
    fn used(&self) -> u64 {
        let named: BTreeSet<usize> = self.names.values().copied().collect();
        let inodes = self.inodes.iter().enumerate();
        let taken = inodes.filter(|(at, inode)| inode.handles > 0 || named.contains(at));
        taken.map(|(_, inode)| inode.space()).sum()
    }

    /// How far a file may grow; it wants to grow to `end`.
    fn room(&self, inode: usize, end: u64) -> u64 {
        let space = self.inodes[inode].space();
        match self.capacity {
            Some(capacity) if end > space => {
                let free = capacity.saturating_sub(self.used());
                end.min(space + free / BLOCK * BLOCK)
            }
            _ => end,
        }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct FaultDisk {
    image: Arc<Mutex<Image>>,
}

/// A small generator for the choices of a crash.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = mix(self.0);
        self.0
    }
}

impl FaultDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changing calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.image.lock().calls
    }

    /// Makes the changing call with this number (the first is 1) fail.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.image.lock().fails = Some((call, fault));
    }

    /// Lets calls up to this number pass and none after it.
    pub fn stop_after(&self, call: u64) {
        self.image.lock().stops_after = Some(call);
    }

    /// Makes the sync of a file with this number (the first is 1) fail.
    pub fn fail_sync(&self, sync: u64, fault: Fault) {
        self.image.lock().fails_sync = Some((sync, fault));
    }

    /// How many files were synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.image.lock().syncs
    }

    /// Gives the disk this many bytes; `None` for as many as anybody wants. What is there already
    /// stays.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.image.lock().capacity = bytes;
    }

    /// The bytes that are taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.image.lock().used()
    }

    /// Makes reads of these bytes of a file fail.
    pub fn fail_reads(&self, path: &Path, bytes: Range<u64>) {
        let mut image = self.image.lock();
        if let Ok(inode) = image.inode(path) {
            image.inodes[inode].unreadable = bytes;
        }
    }

    /// How many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.image.lock().inodes.iter().map(|one| one.handles).sum()
    }

    /// The disk that is found after the power came back.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let image = self.image.lock();
        let mut choices = Choices(seed);
        let mut names = image.durable_names.clone();
        let kept = choices.next() as usize % (image.unsynced_names.len() + 1);
        for change in &image.unsynced_names[..kept] {
            replay(&mut names, change);
        }
        // What lies in a directory that is gone is gone as well.
        let anchored = |path: &Path| !path.ancestors().any(|dir| image.loose_dirs.contains(dir));
        names.retain(|path, _| anchored(path));
        let dirs = image.dirs.iter().filter(|dir| anchored(dir));
        let dirs = dirs.cloned().collect();
        let inodes = image
            .inodes
            .iter()
            .map(|inode| torn(inode, &mut choices))
            .collect();
        let durable_names = names.clone();
        let after = Image {
            inodes,
            names,
            durable_names,
            dirs,
            capacity: image.capacity,
            ..Image::default()
        };
        Self {
            image: Arc::new(Mutex::new(after)),
        }
    }

    /// The disk that another process finds after this one was killed: nothing is lost.
    #[must_use]
    pub fn kill(&self) -> Self {
        let image = self.image.lock();
        let after = Image {
            inodes: image.inodes.iter().map(Inode::left).collect(),
            names: image.names.clone(),
            durable_names: image.durable_names.clone(),
            unsynced_names: image.unsynced_names.clone(),
            dirs: image.dirs.clone(),
            loose_dirs: image.loose_dirs.clone(),
            capacity: image.capacity,
            ..Image::default()
        };
        Self {
            image: Arc::new(Mutex::new(after)),
        }
    }

    /// Flips one bit of a file, on the medium and in the cache.
    pub fn flip(&self, path: &Path, offset: usize, bit: u8) {
        let mut image = self.image.lock();
        if let Ok(inode) = image.inode(path) {
            let Inode {
                volatile, durable, ..
            } = &mut image.inodes[inode];
            for bytes in [volatile, durable] {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }

    /// Cuts a file, on the medium and in the cache.
    pub fn truncate(&self, path: &Path, len: usize) {
        let mut image = self.image.lock();
        if let Ok(inode) = image.inode(path) {
            let inode = &mut image.inodes[inode];
            inode.volatile.truncate(len);
            inode.durable.truncate(len);
        }
    }

    /// The length of a file in the cache, 0 when there is none.
    #[must_use]
    pub fn size(&self, path: &Path) -> usize {
        let image = self.image.lock();
        image
            .inode(path)
            .map_or(0, |inode| image.inodes[inode].volatile.len())
    }
}

fn torn(inode: &Inode, choices: &mut Choices) -> Inode {
    let mut bytes = inode.durable.clone();
    if inode.volatile.len() != bytes.len() && choices.next().is_multiple_of(2) {
        bytes.resize(inode.volatile.len(), 0);
    }
    for sector in &inode.dirty {
        let start = (sector * SECTOR).min(bytes.len()).min(inode.volatile.len());
        let end = (sector * SECTOR + SECTOR)
            .min(bytes.len())
            .min(inode.volatile.len());
        if choices.next().is_multiple_of(2) {
            bytes[start..end].copy_from_slice(&inode.volatile[start..end]);
        }
    }
    Inode {
        volatile: bytes.clone(),
        durable: bytes,
        reserved: inode.reserved,
        unreadable: inode.unreadable.clone(),
        ..Inode::default()
    }
}

#[derive(Debug)]
struct FaultLock {
    image: Arc<Mutex<Image>>,
    dir: PathBuf,
}

impl DiskLock for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.image.lock().locked.remove(&self.dir);
    }
}

#[derive(Debug)]
struct FaultFile {
    image: Arc<Mutex<Image>>,
    inode: usize,
}

impl Drop for FaultFile {
    fn drop(&mut self) {
        self.image.lock().inodes[self.inode].handles -= 1;
    }
}

impl FaultDisk {
    fn file(&self, image: &mut Image, inode: usize) -> Arc<dyn DiskFile> {
        image.inodes[inode].handles += 1;
        Arc::new(FaultFile {
            image: Arc::clone(&self.image),
            inode,
        })
    }
}

impl Disk for FaultDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut image = self.image.lock();
        for dir in dir.ancestors().filter(|dir| dir.parent().is_some()) {
            if image.dirs.insert(dir.to_owned()) {
                image.loose_dirs.insert(dir.to_owned());
            }
        }
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DiskLock>> {
        if !self.image.lock().locked.insert(dir.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultLock {
            image: Arc::clone(&self.image),
            dir: dir.to_owned(),
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let image = self.image.lock();
        let here = image.names.keys().filter(|path| path.parent() == Some(dir));
        let names = here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut image = self.image.lock();
        let inode = image.inode(path)?;
        Ok(self.file(&mut image, inode))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut image = self.image.lock();
        image.call()?;
        image.inodes.push(Inode::default());
        let inode = image.inodes.len() - 1;
        image.change(NameChange::Set(path.to_owned(), inode));
        Ok(self.file(&mut image, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        image.inode(from)?;
        image.change(NameChange::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        image.inode(path)?;
        image.change(NameChange::Clear(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.image.lock();
        guard.call()?;
        let image = &mut *guard;
        let durable = &mut image.durable_names;
        image.unsynced_names.retain(|change| {
            let here = change.path().parent() == Some(dir);
            if here {
                replay(durable, change);
            }
            !here
        });
        image.loose_dirs.retain(|made| made.parent() != Some(dir));
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut image = self.image.lock();
        let fate = image.call();
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter())
            .copied()
            .collect();
        let end = offset + bytes.len() as u64;
        let room = image.room(self.inode, end);
        let inode = &mut image.inodes[self.inode];
        let at = offset as usize;
        if let Err(error) = fate {
            // The machine that stopped wrote nothing; a medium that fails wrote something.
            if error.raw_os_error().is_some() {
                let half = bytes.len() / 2 / SECTOR * SECTOR;
                inode.write(at, &bytes[..half]);
            }
            return Err(error);
        }
        let fits = room.saturating_sub(offset).min(bytes.len() as u64) as usize;
        inode.write(at, &bytes[..fits]);
        if fits < bytes.len() {
            return Err(Fault::Full.error());
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let image = self.image.lock();
        let inode = &image.inodes[self.inode];
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(into.len());
        let found = end.and_then(|end| inode.volatile.get(start..end));
        let bad = &inode.unreadable;
        if bad.start.max(offset) < bad.end.min(offset.saturating_add(into.len() as u64)) {
            return Err(Fault::Io.error());
        }
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image.lock();
        image.syncs += 1;
        let mut fate = image.call();
        if let Some((at, fault)) = image.fails_sync
            && at == image.syncs
        {
            fate = Err(fault.error());
        }
        let inode = &mut image.inodes[self.inode];
        match &fate {
            Ok(()) => inode.sync(),
            Err(error) if error.raw_os_error().is_some() => inode.dirty.clear(),
            Err(_) => {}
        }
        fate
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.reserve(len)?;
        let mut image = self.image.lock();
        let bytes = &mut image.inodes[self.inode].volatile;
        bytes.resize(bytes.len().max(len as usize), 0);
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        if image.room(self.inode, len) < len {
            return Err(Fault::Full.error());
        }
        let inode = &mut image.inodes[self.inode];
        inode.reserved = inode.reserved.max(len);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.image.lock().inodes[self.inode].volatile.len() as u64)
    }

    fn map(&self) -> io::Result<Option<Map>> {
        Ok(None)
    }
}
