//! A disk in memory that behaves as badly as real ones may.
//!
//! Every file has a volatile and a durable image. [`FaultDisk::crash`] makes the disk that a
//! restarted machine would find: of the unsynced sectors an arbitrary, seeded subset survives, of
//! the unsynced name changes an arbitrary prefix. Calls can be told to fail, and the whole disk to
//! stop dead after the n-th call. Without faults it serves as a plain memory disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, DiskFile, DiskLock};
use crate::journal::mix;

const SECTOR: usize = 512;

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
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(PathBuf, usize),
    Clear(PathBuf),
    Move(PathBuf, PathBuf),
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
    locked: BTreeSet<PathBuf>,
    calls: u64,
    /// The call that fails, and how.
    fails: Option<(u64, Fault)>,
    /// Calls after this one find the machine dead.
    stops_after: Option<u64>,
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
            inodes: image.inodes.clone(),
            names: image.names.clone(),
            durable_names: image.durable_names.clone(),
            unsynced_names: image.unsynced_names.clone(),
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
        dirty: BTreeSet::new(),
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

impl FaultDisk {
    fn file(&self, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile {
            image: Arc::clone(&self.image),
            inode,
        })
    }
}

impl Disk for FaultDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
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
        let inode = self.image.lock().inode(path)?;
        Ok(self.file(inode))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut image = self.image.lock();
        image.call()?;
        image.inodes.push(Inode::default());
        let inode = image.inodes.len() - 1;
        image.change(NameChange::Set(path.to_owned(), inode));
        Ok(self.file(inode))
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

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        image.durable_names = image.names.clone();
        image.unsynced_names.clear();
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        let inode = &mut image.inodes[self.inode];
        let mut at = offset as usize;
        for slice in slices {
            let end = at + slice.len();
            if inode.volatile.len() < end {
                inode.volatile.resize(end, 0);
            }
            inode.volatile[at..end].copy_from_slice(slice);
            inode.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
            at = end;
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let image = self.image.lock();
        let bytes = &image.inodes[self.inode].volatile;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start
            .checked_add(into.len())
            .and_then(|end| bytes.get(start..end));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        let inode = &mut image.inodes[self.inode];
        inode.durable.clone_from(&inode.volatile);
        inode.dirty.clear();
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut image = self.image.lock();
        image.call()?;
        let bytes = &mut image.inodes[self.inode].volatile;
        bytes.resize(bytes.len().max(len as usize), 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.image.lock().inodes[self.inode].volatile.len() as u64)
    }

    fn map(&self) -> io::Result<Option<Bytes>> {
        Ok(None)
    }
}
