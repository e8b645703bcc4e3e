//! What the layer remembers: every file and directory as it is, and as the medium has it.
//!
//! A file is its bytes plus an undo log: the durable contents of each page that was written since
//! the last sync. A directory is its entries, its durable entries, and the changes between the two.
//! A sync makes durable what was there when it came in; nothing else does. [`Image::cut`] turns the
//! image into what a machine finds after its power went. The image knows no FUSE.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::SystemTime;

use super::orders::{Errno, Orders};
use crate::choices::Choices;

/// The root directory.
const ROOT: u64 = 1;

const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// Removed files are looked for after so many removals.
const SWEEP_AFTER: u32 = 64;

/// What a sync of a file does to names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Nothing: a name is durable when its directory was synced. All that POSIX promises.
    #[default]
    Strict,
    /// Every earlier change of any directory becomes durable, as on ext4 and XFS.
    Journaled,
}

/// What is left of unsynced changes when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Clean,
    /// An arbitrary subset of unsynced sectors, and of every directory an arbitrary first part of
    /// its changes; the number decides.
    Torn(u64),
}

/// What a cut took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Pages with unsynced writes.
    pub pages: usize,
    /// Changes of names.
    pub names: usize,
}

/// A file.
#[derive(Debug, Default)]
pub(super) struct FileNode {
    bytes: Vec<u8>,
    /// Durable contents of pages that differ; `None` stands for zeros or "behind the end".
    undo: BTreeMap<usize, Option<Box<[u8]>>>,
    durable_len: usize,
    /// Space that was set aside, counted from the front.
    reserved: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Set(OsString, u64),
    Clear(OsString),
    Move(OsString, OsString),
}

type Entries = BTreeMap<OsString, u64>;

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) entries: Entries,
    durable: Entries,
    changes: Vec<Change>,
}

/// What an inode is.
#[derive(Debug)]
pub(super) enum Node {
    /// A file.
    File(FileNode),
    /// A directory.
    Directory(Directory),
}

/// A file or directory without its names.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) modified: SystemTime,
    pub(super) mode: u16,
    pub(super) open: u32,
}

/// The whole file system.
#[derive(Debug)]
pub struct Image {
    inodes: HashMap<u64, Inode>,
    next: u64,
    names: Names,
    removals: u32,
    /// Bytes of all files that have a name or are open.
    used: u64,
    pub(super) orders: Orders,
}

fn replay(entries: &mut Entries, change: &Change) {
    match change {
        Change::Set(name, inode) => {
            entries.insert(name.clone(), *inode);
        }
        Change::Clear(name) => {
            entries.remove(name);
        }
        Change::Move(from, to) => {
            if let Some(inode) = entries.remove(from) {
                entries.insert(to.clone(), inode);
            }
        }
    }
}

impl Directory {
    fn change(&mut self, change: Change) {
        replay(&mut self.entries, &change);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        if !self.changes.is_empty() {
            self.durable.clone_from(&self.entries);
            self.changes.clear();
        }
    }

    fn cut(&mut self, choices: Option<&mut Choices>) -> usize {
        let kept = choices.map_or(0, |choices| choices.below(self.changes.len() + 1));
        let lost = self.changes.len() - kept;
        for change in &self.changes[..kept] {
            replay(&mut self.durable, change);
        }
        self.changes.clear();
        self.entries.clone_from(&self.durable);
        lost
    }
}

impl FileNode {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The space that it takes.
    fn space(&self) -> u64 {
        self.bytes.len().max(self.reserved) as u64
    }

    pub(super) fn read(&self, offset: usize, size: usize) -> &[u8] {
        let start = offset.min(self.bytes.len());
        &self.bytes[start..offset.saturating_add(size).min(self.bytes.len())]
    }

    /// Keeps what the medium has of a range that is about to change.
    fn remember(&mut self, start: usize, end: usize) {
        for page in start / PAGE..end.div_ceil(PAGE) {
            let from = page * PAGE;
            let to = (from + PAGE).min(self.bytes.len());
            let bytes = &self.bytes;
            self.undo.entry(page).or_insert_with(|| {
                // A page that was never synced holds nothing that the medium has.
                let old = bytes
                    .get(from..to)
                    .filter(|old| old.iter().any(|byte| *byte != 0));
                old.map(Into::into)
            });
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.remember(offset, end);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    fn resize(&mut self, len: usize) {
        let now = self.bytes.len();
        if len < now {
            self.remember(len, now);
        }
        self.bytes.resize(len, 0);
    }

    fn zero(&mut self, start: usize, end: usize) {
        let end = end.min(self.bytes.len());
        if start < end {
            self.remember(start, end);
            self.bytes[start..end].fill(0);
        }
    }

    fn sync(&mut self) {
        self.undo.clear();
        self.durable_len = self.bytes.len();
    }

    fn cut(&mut self, mut choices: Option<&mut Choices>) -> usize {
        let lost = self.undo.len();
        let grown = self.bytes.len();
        let keep_len = choices.as_mut().is_some_and(|choices| choices.coin());
        self.bytes.resize(grown.max(self.durable_len), 0);
        for (page, old) in std::mem::take(&mut self.undo) {
            for sector in 0..PAGE / SECTOR {
                if choices.as_mut().is_some_and(|choices| choices.coin()) {
                    continue;
                }
                let start = (page * PAGE + sector * SECTOR).min(self.bytes.len());
                let end = (start + SECTOR).min(self.bytes.len());
                let bytes = &mut self.bytes[start..end];
                bytes.fill(0);
                let old = old.as_deref().unwrap_or_default();
                let from = (sector * SECTOR).min(old.len());
                let to = (from + bytes.len()).min(old.len());
                bytes[..to - from].copy_from_slice(&old[from..to]);
            }
        }
        self.bytes
            .truncate(if keep_len { grown } else { self.durable_len });
        self.durable_len = self.bytes.len();
        lost
    }
}

impl Image {
    /// An empty file system.
    #[must_use]
    pub fn new(names: Names) -> Self {
        let mut image = Image {
            inodes: HashMap::new(),
            next: ROOT,
            names,
            removals: 0,
            used: 0,
            orders: Orders::default(),
        };
        image.add(Node::Directory(Directory::default()), 0o755);
        image
    }

    /// What goes wrong from now on.
    pub fn orders(&mut self) -> &mut Orders {
        &mut self.orders
    }

    /// Bytes in files; holes count.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The numbers of all files.
    pub(super) fn files(&self) -> Vec<u64> {
        let files = self.inodes.iter();
        let files = files.filter(|(_, inode)| matches!(inode.node, Node::File(_)));
        files.map(|(number, _)| *number).collect()
    }

    fn add(&mut self, node: Node, mode: u16) -> u64 {
        let number = self.next;
        self.next += 1;
        // The layer is a shell: it dates files as a kernel does.
        #[allow(clippy::disallowed_methods)]
        let modified = SystemTime::now();
        let inode = Inode {
            node,
            modified,
            mode,
            open: 0,
        };
        self.inodes.insert(number, inode);
        number
    }

    pub(super) fn inode(&self, number: u64) -> Result<&Inode, Errno> {
        self.inodes.get(&number).ok_or(Errno::NoEntry)
    }

    pub(super) fn inode_mut(&mut self, number: u64) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&number).ok_or(Errno::NoEntry)
    }

    pub(super) fn directory(&self, number: u64) -> Result<&Directory, Errno> {
        match &self.inode(number)?.node {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn directory_mut(&mut self, number: u64) -> Result<&mut Directory, Errno> {
        match &mut self.inode_mut(number)?.node {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(Errno::NotDirectory),
        }
    }

    pub(super) fn file(&self, number: u64) -> Result<&FileNode, Errno> {
        match &self.inode(number)?.node {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    fn file_mut(&mut self, number: u64) -> Result<&mut FileNode, Errno> {
        // The layer is a shell: it dates files as a kernel does.
        #[allow(clippy::disallowed_methods)]
        let now = SystemTime::now();
        let inode = self.inode_mut(number)?;
        inode.modified = now;
        match &mut inode.node {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(Errno::IsDirectory),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        let found = self.directory(parent)?.entries.get(name);
        found.copied().ok_or(Errno::NoEntry)
    }

    pub(super) fn create(
        &mut self,
        parent: u64,
        name: &OsStr,
        node: Node,
        mode: u16,
    ) -> Result<u64, Errno> {
        self.orders.name()?;
        if self.lookup(parent, name).is_ok() {
            return Err(Errno::Exists);
        }
        let number = self.add(node, mode);
        let change = Change::Set(name.to_owned(), number);
        self.directory_mut(parent)?.change(change);
        Ok(number)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.orders.name()?;
        let number = self.lookup(parent, name)?;
        if let Ok(directory) = self.directory(number)
            && !directory.entries.is_empty()
        {
            return Err(Errno::NotEmpty);
        }
        self.directory_mut(parent)?
            .change(Change::Clear(name.to_owned()));
        self.unnamed(number);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        self.orders.name()?;
        let number = self.lookup(from.0, from.1)?;
        let replaced = self.lookup(to.0, to.1).ok();
        if from.0 == to.0 {
            let change = Change::Move(from.1.to_owned(), to.1.to_owned());
            self.directory_mut(from.0)?.change(change);
        } else {
            self.directory_mut(to.0)?
                .change(Change::Set(to.1.to_owned(), number));
            self.directory_mut(from.0)?
                .change(Change::Clear(from.1.to_owned()));
        }
        if let Some(replaced) = replaced.filter(|replaced| *replaced != number) {
            self.unnamed(replaced);
        }
        Ok(())
    }

    /// Accounts for a file that lost its name.
    fn unnamed(&mut self, number: u64) {
        self.removals += 1;
        if self.inode(number).is_ok_and(|inode| inode.open == 0) {
            self.free(number);
        }
    }

    fn free(&mut self, number: u64) {
        let space = self.file(number).map_or(0, FileNode::space);
        self.used = self.used.saturating_sub(space);
    }

    fn named(&self, number: u64) -> bool {
        self.inodes.values().any(|inode| match &inode.node {
            Node::Directory(directory) => directory.entries.values().any(|n| *n == number),
            Node::File(_) => false,
        })
    }

    pub(super) fn opened(&mut self, number: u64) -> Result<(), Errno> {
        self.inode_mut(number)?.open += 1;
        Ok(())
    }

    pub(super) fn released(&mut self, number: u64) {
        let Ok(inode) = self.inode_mut(number) else {
            return;
        };
        inode.open = inode.open.saturating_sub(1);
        if inode.open == 0 && !self.named(number) {
            self.free(number);
        }
    }

    /// Takes space for a file that grows to `len`.
    fn reserve(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        let more = len.saturating_sub(self.file(number)?.space());
        if more > 0 && self.used + more > self.orders.capacity() {
            return Err(Errno::NoSpace);
        }
        self.used += more;
        Ok(())
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.orders.write()?;
        self.reserve(number, offset + data.len() as u64)?;
        self.file_mut(number)?.write(offset as usize, data);
        Ok(())
    }

    /// Gives a file this length, with a hole or by a cut.
    pub(super) fn resize(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        self.orders.write()?;
        self.reserve(number, len)?;
        let file = self.file_mut(number)?;
        let before = file.space();
        if (len as usize) < file.len() {
            file.reserved = 0;
        }
        file.resize(len as usize);
        let less = before.saturating_sub(file.space());
        self.used = self.used.saturating_sub(less);
        Ok(())
    }

    /// Makes a file at least this long.
    pub(super) fn allocate(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        if len > self.file(number)?.len() as u64 {
            self.resize(number, len)?;
        }
        Ok(())
    }

    /// Sets space aside without changing the length.
    pub(super) fn set_aside(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        self.orders.write()?;
        self.reserve(number, len)?;
        let file = self.file_mut(number)?;
        file.reserved = file.reserved.max(len as usize);
        Ok(())
    }

    pub(super) fn zero(&mut self, number: u64, start: u64, len: u64) -> Result<(), Errno> {
        self.orders.write()?;
        let end = start.saturating_add(len) as usize;
        self.file_mut(number)?.zero(start as usize, end);
        Ok(())
    }

    /// Whether reads of a file succeed at present.
    pub(super) fn may_read(&mut self, number: u64) -> Result<(), Errno> {
        if !self.orders.concern_reads() {
            return Ok(());
        }
        let names = self.inodes.values().filter_map(|inode| match &inode.node {
            Node::Directory(directory) => Some(&directory.entries),
            Node::File(_) => None,
        });
        let name = names
            .flatten()
            .find(|(_, named)| **named == number)
            .and_then(|(name, _)| name.to_str())
            .map(str::to_owned);
        self.orders.read(name.as_deref())
    }

    /// Flips one bit of the file at a path below the root.
    pub(super) fn flip(&mut self, path: &Path, offset: usize, bit: u8) -> Option<()> {
        let mut number = ROOT;
        for part in path {
            number = self.lookup(number, part).ok()?;
        }
        let file = self.file_mut(number).ok()?;
        *file.bytes.get_mut(offset)? ^= 1 << (bit % 8);
        Some(())
    }

    pub(super) fn sync_file(&mut self, number: u64) -> Result<(), Errno> {
        self.orders.sync()?;
        match &mut self.inode_mut(number)?.node {
            Node::File(file) => file.sync(),
            Node::Directory(_) => return Err(Errno::IsDirectory),
        }
        if self.names == Names::Journaled {
            self.sync_names();
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, number: u64) -> Result<(), Errno> {
        self.orders.sync()?;
        if self.names == Names::Journaled {
            self.sync_names();
        }
        self.directory_mut(number)?.sync();
        if self.removals >= SWEEP_AFTER {
            self.sweep();
        }
        Ok(())
    }

    fn sync_names(&mut self) {
        for inode in self.inodes.values_mut() {
            if let Node::Directory(directory) = &mut inode.node {
                directory.sync();
            }
        }
    }

    /// Makes everything durable, as an orderly unmount does.
    pub fn sync_all(&mut self) {
        self.sync_names();
        for inode in self.inodes.values_mut() {
            if let Node::File(file) = &mut inode.node {
                file.sync();
            }
        }
    }

    /// Forgets files that no name leads to, now or after a cut, and that nobody has open.
    fn sweep(&mut self) {
        self.removals = 0;
        let mut alive = HashSet::from([ROOT]);
        for inode in self.inodes.values() {
            if let Node::Directory(directory) = &inode.node {
                alive.extend(directory.entries.values());
                alive.extend(directory.durable.values());
                alive.extend(directory.changes.iter().filter_map(|change| match change {
                    Change::Set(_, inode) => Some(*inode),
                    _ => None,
                }));
            }
        }
        self.inodes
            .retain(|number, inode| inode.open > 0 || alive.contains(number));
    }

    /// The power goes: nobody has anything open any more, and what was not synced is gone.
    pub fn cut(&mut self, cut: Cut) -> Loss {
        let mut choices = match cut {
            Cut::Clean => None,
            Cut::Torn(seed) => Some(Choices::new(seed)),
        };
        let mut numbers: Vec<u64> = self.inodes.keys().copied().collect();
        numbers.sort_unstable();
        let mut loss = Loss::default();
        for number in numbers {
            let Some(inode) = self.inodes.get_mut(&number) else {
                continue;
            };
            inode.open = 0;
            match &mut inode.node {
                Node::File(file) => loss.pages += file.cut(choices.as_mut()),
                Node::Directory(directory) => loss.names += directory.cut(choices.as_mut()),
            }
        }
        self.after_restart();
        loss
    }

    /// All processes are gone, the machine is not: everything written is still there.
    pub fn killed(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.open = 0;
        }
        self.recount();
    }

    fn after_restart(&mut self) {
        self.sweep();
        self.recount();
        self.orders.after_restart();
    }

    fn recount(&mut self) {
        let mut named = HashSet::new();
        for inode in self.inodes.values() {
            if let Node::Directory(directory) = &inode.node {
                named.extend(directory.entries.values().copied());
            }
        }
        let files = named.iter().filter_map(|number| self.file(*number).ok());
        self.used = files.map(FileNode::space).sum();
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
