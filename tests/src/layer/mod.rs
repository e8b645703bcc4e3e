//! A file system that forgets what was not synced.
//!
//! [`Layer`] mounts one in memory, through FUSE, so that any program can run on it: this server
//! as well as another. [`Layer::cut`] is a power cut: unsynced bytes and unsynced names are gone,
//! all of them or an arbitrary part. On order it is full, fails syncs, writes or reads, or flips
//! bits. It must be mounted by root on Linux; [`Layer::mount`] says so when that fails.

mod fs;
mod image;
mod orders;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{BackgroundSession, Config, MountOption, Session};

pub use image::{Cut, Image, Loss, Names};
pub use orders::Orders;

/// A mounted layer; dropping it unmounts.
#[derive(Debug)]
pub struct Layer {
    image: Arc<Mutex<Image>>,
    mountpoint: PathBuf,
    session: Option<BackgroundSession>,
}

impl Layer {
    /// Mounts an empty layer on an existing directory.
    ///
    /// # Errors
    /// When this system does not let us.
    pub fn mount(mountpoint: &Path, names: Names) -> io::Result<Self> {
        let mut layer = Layer {
            image: Arc::new(Mutex::new(Image::new(names))),
            mountpoint: mountpoint.to_owned(),
            session: None,
        };
        layer.attach()?;
        Ok(layer)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// The memory behind the mount, to give orders; the file system stands still meanwhile.
    pub fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power. All processes that used the layer must be gone.
    ///
    /// # Errors
    /// When the layer cannot be unmounted or mounted again.
    pub fn cut(&mut self, cut: Cut) -> io::Result<Loss> {
        self.detach()?;
        let loss = self.image().cut(cut);
        self.attach()?;
        Ok(loss)
    }

    /// Flips a bit of a file, on the medium and in every cache. Nobody may have the file open.
    ///
    /// # Errors
    /// When there is no such byte, or the layer cannot be mounted again.
    pub fn flip(&mut self, file: &Path, offset: u64, bit: u8) -> io::Result<()> {
        self.detach()?;
        let flipped = self.image().flip(file, offset as usize, bit);
        self.attach()?;
        flipped.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Empties the kernel's caches: what is read from now on comes from the medium.
    ///
    /// # Errors
    /// When the layer cannot be mounted again.
    pub fn remount(&mut self) -> io::Result<()> {
        self.detach()?;
        self.image().killed();
        self.attach()
    }

    /// Empties the kernel's page cache, mapped pages too, while files are open.
    ///
    /// # Errors
    /// When the layer is not mounted, or the kernel refuses.
    pub fn drop_pages(&self) -> io::Result<()> {
        let session = self.session.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let notifier = session.notifier();
        // Asking the kernel with the image locked would wait for itself.
        let files = self.image().files();
        for number in files {
            match notifier.inval_inode(fuser::INodeNo(number), 0, 0) {
                // The kernel does not know the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn attach(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powercut".to_owned())];
        let fs = fs::LayerFs(Arc::clone(&self.image));
        let session = Session::new(fs, &self.mountpoint, &config).map_err(|error| {
            let place = self.mountpoint.display();
            io::Error::new(error.kind(), format!("no FUSE mount on {place}: {error}"))
        })?;
        self.session = Some(session.spawn()?);
        Ok(())
    }

    fn detach(&mut self) -> io::Result<()> {
        match self.session.take() {
            Some(session) => match session.umount_and_join() {
                // The kernel ends the connection of an unmounted file system either way.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
                other => other,
            },
            None => Ok(()),
        }
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        // What cannot be unmounted is left to the operator.
        let _ = self.detach();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::process::Scratch;

    /// Needs root and FUSE; elsewhere it says so and passes.
    #[test]
    #[allow(clippy::disallowed_methods)]
    fn the_kernel_sees_what_was_synced_after_a_cut() {
        let scratch = Scratch::new(&std::env::temp_dir(), "layer").unwrap();
        let mut layer = match Layer::mount(scratch.path(), Names::Strict) {
            Ok(layer) => layer,
            Err(error) => return println!("skipped: {error}"),
        };
        let dir = layer.path().join("d");
        fs::create_dir(&dir).unwrap();
        let file = fs::File::create(dir.join("a")).unwrap();
        file.write_all_at(b"durable", 0).unwrap();
        file.sync_data().unwrap();
        fs::File::open(&dir).unwrap().sync_all().unwrap();
        fs::File::open(layer.path()).unwrap().sync_all().unwrap();
        file.write_all_at(b"volatile", 0).unwrap();
        fs::write(dir.join("b"), b"unnamed").unwrap();
        assert_eq!(fs::read(dir.join("a")).unwrap(), b"volatile");
        drop(file);
        layer.cut(Cut::Clean).unwrap();
        assert_eq!(fs::read(dir.join("a")).unwrap(), b"durable");
        assert!(!dir.join("b").exists());
        layer.flip(Path::new("d/a"), 0, 0).unwrap();
        assert_eq!(fs::read(dir.join("a")).unwrap(), b"eurable");
        layer.image().orders().fail_syncs(true);
        let file = fs::File::open(dir.join("a")).unwrap();
        assert!(file.sync_data().is_err());
    }
}
