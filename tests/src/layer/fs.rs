//! The layer's face to the kernel.
//!
//! One request at a time, so that a sync and the writes before it have one order. The kernel's page
//! cache stays on (maps need it) and writes through: every write arrives here before its call
//! returns. Names and attributes may be cached without limit, because nothing changes behind the
//! kernel's back while the layer is mounted.

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::image::{Directory, FileNode, Image, Node};
use super::orders::Errno;

const FOREVER: Duration = Duration::from_secs(3600);
const BLOCK: u64 = 4096;
/// What an unlimited layer says its size is.
const PLENTY: u64 = 1 << 38;

const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// The file system that the kernel talks to.
#[derive(Debug)]
pub(super) struct LayerFs(pub(super) Arc<Mutex<Image>>);

impl From<Errno> for fuser::Errno {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NoEntry => Self::ENOENT,
            Errno::Exists => Self::EEXIST,
            Errno::NotDirectory => Self::ENOTDIR,
            Errno::IsDirectory => Self::EISDIR,
            Errno::NotEmpty => Self::ENOTEMPTY,
            Errno::NoSpace => Self::ENOSPC,
            Errno::Io => Self::EIO,
        }
    }
}

fn attributes(image: &Image, number: u64) -> Result<FileAttr, Errno> {
    let inode = image.inode(number)?;
    let (size, kind) = match &inode.node {
        Node::File(file) => (file.len() as u64, FileType::RegularFile),
        Node::Directory(_) => (BLOCK, FileType::Directory),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: inode.modified,
        mtime: inode.modified,
        ctime: inode.modified,
        crtime: inode.modified,
        kind,
        perm: inode.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK as u32,
        flags: 0,
    })
}

impl LayerFs {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, parent: INodeNo, name: &OsStr, node: Node, mode: u32) -> Result<FileAttr, Errno> {
        let mut image = self.image();
        let number = image.create(parent.0, name, node, (mode & 0o7777) as u16)?;
        attributes(&image, number)
    }
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno.into()),
    }
}

fn entry(found: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match found {
        Ok(attr) => reply.entry(&FOREVER, &attr, Generation(0)),
        Err(errno) => reply.error(errno.into()),
    }
}

impl Filesystem for LayerFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // An old kernel without one of these is slower, not wrong.
        for flag in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
        ] {
            let _ = config.add_capabilities(flag);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let image = self.image();
        let found = image.lookup(parent.0, name);
        entry(found.and_then(|number| attributes(&image, number)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.image(), ino.0) {
            Ok(attr) => reply.attr(&FOREVER, &attr),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut image = self.image();
        let resized = size.map_or(Ok(()), |size| image.resize(ino.0, size));
        match resized.and_then(|()| attributes(&image, ino.0)) {
            Ok(attr) => reply.attr(&FOREVER, &attr),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let node = Node::Directory(Directory::default());
        entry(self.add(parent, name, node, mode), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.image().remove(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.image().remove(parent.0, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self
            .image()
            .rename((parent.0, name), (newparent.0, newname));
        done(renamed, reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.image().opened(ino.0) {
            Ok(()) => reply.opened(FileHandle(ino.0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.add(parent, name, Node::File(FileNode::default()), mode) {
            Ok(attr) => {
                let opened = self.image().opened(attr.ino.0);
                debug_assert!(opened.is_ok(), "a file that was just created");
                let handle = FileHandle(attr.ino.0);
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&FOREVER, &attr, Generation(0), handle, flags);
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut image = self.image();
        match image.may_read(ino.0).and_then(|()| image.file(ino.0)) {
            Ok(file) => reply.data(file.read(offset as usize, size as usize)),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.image().write(ino.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.image().released(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        // The image is free meanwhile: the power may go in the middle of a sync.
        let time = self.image().orders.sync_time();
        if !time.is_zero() {
            // The layer is a shell: it is as slow as a disk.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(time);
        }
        done(self.image().sync_file(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        done(self.image().sync_directory(ino.0), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let image = self.image();
        let directory = match image.directory(ino.0) {
            Ok(directory) => directory,
            Err(errno) => return reply.error(errno.into()),
        };
        let listed = directory.entries.iter().zip(1_u64..);
        for ((name, number), position) in listed.skip(offset as usize) {
            let kind = match image.inode(*number).map(|inode| &inode.node) {
                Ok(Node::Directory(_)) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(*number), position, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let image = self.image();
        let blocks = image.orders.capacity().min(PLENTY) / BLOCK;
        let free = blocks.saturating_sub(image.used().div_ceil(BLOCK));
        reply.statfs(
            blocks,
            free,
            free,
            1 << 20,
            1 << 20,
            BLOCK as u32,
            255,
            BLOCK as u32,
        );
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut image = self.image();
        let changed = match mode {
            0 => image.allocate(ino.0, offset.saturating_add(length)),
            KEEP_SIZE => image.set_aside(ino.0, offset.saturating_add(length)),
            _ if mode & (PUNCH_HOLE | ZERO_RANGE) != 0 => image.zero(ino.0, offset, length),
            _ => return reply.error(fuser::Errno::EOPNOTSUPP),
        };
        done(changed, reply);
    }
}
