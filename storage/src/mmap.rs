//! The only place with `unsafe`: read-only, shared mappings of our own files, and what happens when
//! the medium cannot deliver one of their pages.
//!
//! Invariants that the rest of the crate keeps: a mapped file is never shortened; bytes that were
//! handed out are not written while somebody holds them (journal batches are written once, segments
//! are sealed before they are mapped, a journal file is recycled and a message is erased in place
//! only when nobody holds a slice of the mapping); no other process writes, because the directory is
//! locked.
//!
//! A page that cannot be read (a bad sector, a file that somebody cut) raises SIGBUS in whatever
//! thread touches it. With the first mapping a handler is installed: if the address lies in one of
//! our mappings, a page of zeros takes the place of the missing one and the mapping is marked
//! [broken](Map::is_broken). The reader's checksum then fails, and the reader asks the file itself
//! what is wrong. Any other address goes to whoever handled the signal before. The handler only
//! reads atomics, maps a page and stores a flag; all of that is safe in a signal handler.

use std::fs::File;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::Mmap;
use parking_lot::Mutex;

/// Most mappings of this process; whoever wants one more reads without.
const SLOTS: usize = 4096;

/// A file as bytes that follow later writes.
#[derive(Clone, Debug)]
pub struct Map {
    bytes: Bytes,
    broken: &'static AtomicBool,
}

impl Map {
    /// The whole file; they live as long as the last slice of them.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether a page could not be read: some of the bytes are zeros that nobody wrote.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The same bytes, with something that lives as long as the last slice of them.
    #[must_use]
    pub(crate) fn with_guard<G: Send + 'static>(self, guard: G) -> Self {
        let owner = Guarded {
            bytes: self.bytes,
            _guard: guard,
        };
        Self {
            bytes: Bytes::from_owner(owner),
            broken: self.broken,
        }
    }
}

struct Guarded<G> {
    bytes: Bytes,
    _guard: G,
}

impl<G> AsRef<[u8]> for Guarded<G> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Maps a whole file; `None` when the process has too many mappings already.
pub(crate) fn map(file: &File) -> io::Result<Option<Map>> {
    install()?;
    let Some(slot) = Slot::claim() else {
        return Ok(None);
    };
    // SAFETY: the module's invariants: no byte that is read through the mapping changes while a
    // slice of it is alive, and the file keeps its length.
    let mapped = unsafe { Mmap::map(file) };
    let map = mapped.inspect_err(|_| Slot::release(slot))?;
    let start = map.as_ptr() as usize;
    SLOTS_OF_PROCESS[slot].set(start, start + map.len());
    let bytes = Bytes::from_owner(Registered { slot, map });
    let broken = &SLOTS_OF_PROCESS[slot].broken;
    Ok(Some(Map { bytes, broken }))
}

/// A mapping that the handler knows.
struct Registered {
    slot: usize,
    map: Mmap,
}

impl AsRef<[u8]> for Registered {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Registered {
    /// Runs before the field is unmapped: afterwards the addresses may be somebody else's.
    fn drop(&mut self) {
        Slot::release(self.slot);
    }
}

/// Where a mapping lies, readable from a signal handler.
struct Slot {
    /// Odd while the addresses change.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    broken: AtomicBool,
}

static SLOTS_OF_PROCESS: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];
/// Slots beyond this one were never used.
static EVER_USED: AtomicUsize = AtomicUsize::new(0);
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    fn claim() -> Option<usize> {
        let mut free = FREE.lock();
        let slot = free.pop().or_else(|| {
            let next = EVER_USED.load(Ordering::SeqCst);
            (next < SLOTS).then(|| EVER_USED.fetch_add(1, Ordering::SeqCst))
        })?;
        SLOTS_OF_PROCESS[slot].broken.store(false, Ordering::SeqCst);
        Some(slot)
    }

    fn release(slot: usize) {
        SLOTS_OF_PROCESS[slot].set(0, 0);
        FREE.lock().push(slot);
    }

    /// Only the owner of the slot calls this.
    fn set(&self, start: usize, end: usize) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.start.store(start, Ordering::SeqCst);
        self.end.store(end, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// A slot that is changing meanwhile cannot hold the address: whoever touches a mapping keeps
    /// it alive.
    fn holds(&self, address: usize) -> bool {
        let before = self.version.load(Ordering::SeqCst);
        let start = self.start.load(Ordering::SeqCst);
        let end = self.end.load(Ordering::SeqCst);
        let after = self.version.load(Ordering::SeqCst);
        before == after && before.is_multiple_of(2) && start <= address && address < end
    }

    fn of(address: usize) -> Option<&'static Self> {
        let used = EVER_USED.load(Ordering::SeqCst).min(SLOTS);
        let mut slots = SLOTS_OF_PROCESS[..used].iter();
        slots.find(|slot| slot.holds(address))
    }
}

/// Who handled the signal before, and how long a page is.
static BEFORE: OnceLock<(libc::sigaction, usize)> = OnceLock::new();
static INSTALLED: Mutex<bool> = Mutex::new(false);

fn install() -> io::Result<()> {
    let mut installed = INSTALLED.lock();
    if *installed {
        return Ok(());
    }
    let before = change_action(None)?;
    // The handler may run as soon as it is there, so what it needs comes first.
    let _ = BEFORE.set((before, rustix::param::page_size()));
    // SAFETY: the type is a plain C struct of integers, for which zeros are valid.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    ours.sa_sigaction = handler as libc::sighandler_t;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    change_action(Some(&ours))?;
    *installed = true;
    Ok(())
}

/// What SIGBUS does, before it does what `action` says.
fn change_action(action: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: the type is a plain C struct of integers, for which zeros are valid.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are valid for the call or null; a handler that is set has the type that
    // its flags say, lives as long as the process and does only what a signal handler may.
    let failed = unsafe { libc::sigaction(libc::SIGBUS, action, &raw mut before) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(before)
}

/// Runs in the thread that touched the missing page.
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    if info.is_null() || !replace_page(info) {
        pass_on(signal, info, context);
    }
}

/// Puts zeros where a page of ours is missing; false when the address is none of ours.
fn replace_page(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: the kernel passes a valid pointer to a handler that is set with SA_SIGINFO.
    let info = unsafe { &*info };
    // Sent by a process instead of raised by a fault: there is no address.
    if info.si_code <= 0 {
        return false;
    }
    // SAFETY: a SIGBUS that a fault raised carries an address.
    let address = unsafe { info.si_addr() } as usize;
    let (Some(slot), Some((_, page))) = (Slot::of(address), BEFORE.get()) else {
        return false;
    };
    slot.broken.store(true, Ordering::SeqCst);
    let start = address - address % page;
    // SAFETY: the page lies in a mapping of ours, which starts at a page's start and which the
    // faulting thread keeps alive; it is read-only and stays readable. Unmapping the whole range
    // later takes this page along.
    let replaced = unsafe {
        libc::mmap(
            start as *mut libc::c_void,
            *page,
            libc::PROT_READ,
            libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        )
    };
    replaced != libc::MAP_FAILED
}

/// Does what would have happened without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.get().map(|(before, _)| before);
    let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // A fault cannot be ignored: the signal comes again, by itself or from here, and ends the
        // process.
        // SAFETY: the type is a plain C struct of integers, for which zeros are valid.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        let _ = change_action(Some(&default));
        // SAFETY: raising a signal of one's own process is always allowed.
        unsafe { libc::raise(signal) };
        return;
    }
    if before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0) {
        type WithInfo = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: an action with SA_SIGINFO holds a function of this type.
        let handler = unsafe { std::mem::transmute::<libc::sighandler_t, WithInfo>(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: an action without SA_SIGINFO, neither default nor ignored, holds such a function.
        let handler = unsafe {
            std::mem::transmute::<libc::sighandler_t, extern "C" fn(libc::c_int)>(handler)
        };
        handler(signal);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // These tests are about real files.
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    fn file(name: &str, len: usize) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("jetwake-{}-{name}", std::process::id()));
        std::fs::write(&path, vec![7; len]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        (path, file)
    }

    #[test]
    fn a_page_that_is_gone_reads_as_zeros_and_breaks_its_mapping_alone() {
        let page = rustix::param::page_size();
        let (path, cut) = file("cut", 3 * page);
        let (other_path, other) = file("whole", page);
        let map = map(&cut).unwrap().unwrap();
        let whole = super::map(&other).unwrap().unwrap();
        assert!(map.bytes().iter().all(|byte| *byte == 7));
        cut.set_len(page as u64).unwrap();
        assert!(!map.is_broken());
        let bytes = map.bytes();
        assert_eq!((bytes[0], bytes[2 * page + 5], bytes[page]), (7, 0, 0));
        assert!(map.is_broken());
        assert!(!whole.is_broken());
        assert_eq!(whole.bytes()[page - 1], 7);
        drop(map);
        let again = super::map(&other).unwrap().unwrap();
        assert!(
            !again.is_broken(),
            "a slot that is used again starts afresh"
        );
        for path in [path, other_path] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn slots_follow_the_mappings() {
        let (path, mapped) = file("slots", 10);
        let map = map(&mapped).unwrap().unwrap();
        let address = map.bytes().as_ptr() as usize;
        assert!(Slot::of(address).is_some() && Slot::of(address + 9).is_some());
        assert!(Slot::of(address + 10).is_none(), "the end is outside");
        let slice = map.bytes().slice(2..4);
        drop(map);
        assert!(Slot::of(address).is_some(), "a slice keeps the mapping");
        drop(slice);
        // Other tests map files at the same time, but not this one.
        let held =
            Slot::of(address).is_some_and(|slot| slot.end.load(Ordering::SeqCst) == address + 10);
        assert!(!held);
        std::fs::remove_file(path).unwrap();
    }

    /// Dies of a page that is not ours; started by the next test.
    #[test]
    #[ignore = "ends its process"]
    fn foreign() {
        let (path, mapped) = file("foreign", 10);
        std::fs::remove_file(path).unwrap();
        let _ours = map(&mapped).unwrap().unwrap();
        let (path, cut) = file("foreign", 10);
        std::fs::remove_file(path).unwrap();
        // SAFETY: nobody else has the file, and its bytes are not believed.
        let foreign = unsafe { Mmap::map(&cut) }.unwrap();
        cut.set_len(0).unwrap();
        std::hint::black_box(foreign[0]);
    }

    #[test]
    fn a_bus_error_that_is_not_ours_still_ends_the_process() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["mmap::tests::foreign", "--exact", "--ignored"])
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(libc::SIGBUS), "{child:?}");
    }
}
