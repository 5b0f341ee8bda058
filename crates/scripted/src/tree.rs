//! A file tree whose files are made by a script, for whoever uses trees: on helper threads.
//!
//! The one design choice: a helper thread asks the loop and waits for what the script says, within
//! [`TREE_PATIENCE`]. Only so many wait at once, so that some thread is always left for others; the
//! loop's own thread never waits.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use medusa_core::anchor::Anchor;
use medusa_core::limits::POOL_THREADS;
use medusa_core::remote::Remote;
use medusa_fs::{
    Commit, Content, Detail, DirEntry, Entries, Error, ErrorKind, FileSystem, Freshness, Kind,
    Metadata, OpenFile, Persona, Placement, Result, Staged, Stamp, VirtualPath, WriteFile,
};

use crate::asked::{Listed, Question, Told, answer};
use crate::script::Script;

/// How long a script has for one question to its tree, waiting included.
pub const TREE_PATIENCE: Duration = Duration::from_secs(10);
/// How much longer a thread waits for a loop that does not come round.
const LATE: Duration = Duration::from_secs(2);
/// Helper threads that wait for scripts at once.
const MOST_WAITING: usize = POOL_THREADS - 1;
/// How long a thread waits for others to be answered first, before it gives up.
const TURN_PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of a file that is sent to a script: what a text may have.
pub const PUT_BYTES: usize = medusa_script::limits::TEXT_BYTES;
/// Bytes of all files that scripts have made and that somebody still holds.
const HELD_BYTES: usize = 128 << 20;

/// A file tree that a script makes; cheap to clone. Until it is attached to a script, all of it is
/// busy.
#[derive(Clone)]
pub struct ScriptTree(Arc<Shared>);

struct Shared {
    writable: bool,
    link: Mutex<Option<Link>>,
}

#[derive(Clone)]
struct Link {
    callers: Callers,
    script: Anchor<Script>,
}

/// The threads that wait for scripts of one loop; cheap to clone.
#[derive(Clone)]
pub struct Callers(Arc<Inner>);

struct Inner {
    remote: Remote,
    /// The thread of the loop, which must not wait for itself.
    loop_thread: ThreadId,
    waiting: Mutex<usize>,
    freed: Condvar,
    held: Arc<AtomicUsize>,
}

/// A place among those that wait.
struct Place<'a>(&'a Inner);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

/// The content of a file, which counts as long as somebody holds it.
struct Held {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Callers {
    /// Begins to count those that wait for the loop of this thread.
    pub fn new(remote: Remote) -> Self {
        let (waiting, freed) = (Mutex::default(), Condvar::new());
        let loop_thread = thread::current().id();
        Self(Arc::new(Inner { remote, loop_thread, waiting, freed, held: Arc::default() }))
    }

    /// Has the script asked, and waits for what it says.
    fn ask(
        &self,
        script: Anchor<Script>,
        question: Question,
    ) -> std::result::Result<Told, ErrorKind> {
        let inner = &*self.0;
        if thread::current().id() == inner.loop_thread {
            return Err(ErrorKind::Busy);
        }
        let waiting = inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = inner
            .freed
            .wait_timeout_while(waiting, TURN_PATIENCE, |waiting| *waiting >= MOST_WAITING)
            .unwrap_or_else(PoisonError::into_inner);
        if *waiting >= MOST_WAITING {
            return Err(ErrorKind::Busy);
        }
        *waiting += 1;
        drop(waiting);
        let _place = Place(inner);
        let (to, from) = sync_channel(1);
        let asked = inner.remote.call(move |handle| {
            if let Some(script) = handle.anchored_at(script) {
                answer(&script, question, move |told| drop(to.try_send(told)));
            }
        });
        asked.map_err(|_| ErrorKind::Busy)?;
        // A script that is gone has dropped the sender.
        from.recv_timeout(TREE_PATIENCE + LATE).unwrap_or(Err(ErrorKind::Busy))
    }

    fn hold(&self, bytes: Vec<u8>) -> Option<Bytes> {
        let (held, n) = (self.0.held.clone(), bytes.len());
        if held.fetch_add(n, Ordering::Relaxed) + n > HELD_BYTES {
            held.fetch_sub(n, Ordering::Relaxed);
            return None;
        }
        Some(Bytes::from_owner(Held { bytes, held }))
    }
}

impl fmt::Debug for ScriptTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptTree").field("writable", &self.0.writable).finish_non_exhaustive()
    }
}

impl ScriptTree {
    /// Makes a tree, which takes writes only where `writable` says so and the script can.
    pub fn new(writable: bool) -> Self {
        Self(Arc::new(Shared { writable, link: Mutex::default() }))
    }

    /// Has the newest version of this script make the files from now on.
    pub fn attach(&self, script: &std::rc::Rc<Script>, callers: &Callers) {
        let link = Link { callers: callers.clone(), script: script.anchor() };
        *self.0.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }

    fn ask(&self, operation: &'static str, path: &VirtualPath, question: Question) -> Result<Told> {
        let link = self.0.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let told = link.ok_or(ErrorKind::Busy).and_then(|l| l.callers.ask(l.script, question));
        told.map_err(|kind| Error::new(kind, operation, path))
    }

    fn hold(&self, bytes: Vec<u8>) -> Option<Bytes> {
        let link = self.0.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        link.and_then(|link| link.callers.hold(bytes))
    }

    /// Whether the script says that there is a directory.
    fn is_dir(&self, operation: &'static str, path: &VirtualPath) -> Result<bool> {
        let told = || self.ask(operation, path, Question::List(path.clone()));
        Ok(path.is_root() || matches!(told()?, Told::Listed(_)))
    }

    fn metadata_of(
        &self,
        kind: Kind,
        size: u64,
        content: u64,
        modified: Option<Duration>,
    ) -> Metadata {
        let said = modified.map_or(0, |m| i64::try_from(m.as_nanos()).unwrap_or(i64::MAX));
        Metadata {
            kind,
            size,
            modified: modified.map_or_else(SystemTime::now, |modified| UNIX_EPOCH + modified),
            mode: if kind == Kind::Dir { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            nlink: 1,
            // The address tells this tree from every other; what tells one state of a file from
            // another is its content.
            stamp: Stamp {
                dev: Arc::as_ptr(&self.0) as u64,
                ino: content,
                size,
                modified_ns: said,
                changed_ns: 0,
            },
        }
    }

    fn entry(&self, listed: &Listed) -> Option<Metadata> {
        match (listed.kind, listed.size) {
            (Kind::Dir, _) => Some(self.metadata_of(Kind::Dir, 0, 0, listed.modified)),
            (kind, Some(size)) => Some(self.metadata_of(kind, size, 0, listed.modified)),
            _ => None,
        }
    }

    /// Refuses a change.
    fn refuse<T>(&self, operation: &'static str, path: &VirtualPath) -> Result<T> {
        let kind = if self.0.writable { ErrorKind::Unsupported } else { ErrorKind::ReadOnly };
        Err(Error::new(kind, operation, path))
    }
}

/// A number that tells contents apart.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

impl FileSystem for ScriptTree {
    fn is_writable(&self) -> bool {
        self.0.writable
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        let dir = || self.metadata_of(Kind::Dir, 0, 0, None);
        if path.is_root() {
            return Ok(dir());
        }
        match self.ask("stat", path, Question::Stat(path.clone()))? {
            Told::Entry(entry) => Ok(self
                .entry(&entry)
                .unwrap_or_else(|| self.metadata_of(entry.kind, 0, 0, entry.modified))),
            Told::Nothing => Err(Error::new(ErrorKind::NotFound, "stat", path)),
            // The script leaves that to what it makes.
            _ => match self.open(who, path) {
                Ok(file) => Ok(file.metadata),
                Err(e) if e.kind() == ErrorKind::IsDirectory => Ok(dir()),
                Err(e) => Err(e),
            },
        }
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.metadata(who, path)
    }

    fn open(&self, _: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let failed = |kind| Err(Error::new(kind, "open", path));
        if path.is_root() {
            return failed(ErrorKind::IsDirectory);
        }
        match self.ask("open", path, Question::Read(path.clone()))? {
            Told::Content(bytes, modified) => {
                let size = bytes.len() as u64;
                let metadata = self.metadata_of(Kind::File, size, hash(&bytes), modified);
                let Some(bytes) = self.hold(bytes) else { return failed(ErrorKind::Exhausted) };
                Ok(OpenFile { content: Content::Memory(bytes), metadata })
            }
            _ if self.is_dir("open", path)? => failed(ErrorKind::IsDirectory),
            _ => failed(ErrorKind::NotFound),
        }
    }

    fn open_now(&self, _: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        Err(Error::new(ErrorKind::WouldBlock, "open", path))
    }

    fn check_now(&self, _: &Persona, _: &VirtualPath, _: &Stamp) -> Freshness {
        Freshness::Changed
    }

    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries> {
        let listed = match self.ask("list", path, Question::List(path.clone()))? {
            Told::Listed(listed) => listed,
            _ if path.is_root() => Vec::new(),
            _ => return Err(Error::new(ErrorKind::NotFound, "list", path)),
        };
        let (tree, who, path) = (self.clone(), who.clone(), path.clone());
        Ok(Box::new(listed.into_iter().map(move |entry| {
            let ask = || {
                let child = path.child(&entry.name).ok()?;
                tree.entry(&entry).or_else(|| tree.metadata(&who, &child).ok())
            };
            let metadata = (detail == Detail::Full).then(ask).flatten();
            Ok(DirEntry { kind: entry.kind, metadata, name: entry.name })
        })))
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>> {
        if !self.0.writable || path.is_root() {
            let kind = if path.is_root() { ErrorKind::IsDirectory } else { ErrorKind::ReadOnly };
            return Err(Error::new(kind, "stage", path));
        }
        let (tree, who, path) = (self.clone(), who.clone(), path.clone());
        Ok(Box::new(StagedText { tree, who, path, bytes: Vec::new() }))
    }

    fn write_open(
        &self,
        _: &Persona,
        path: &VirtualPath,
        _: Placement,
    ) -> Result<Box<dyn WriteFile>> {
        self.refuse("write", path)
    }

    fn make_dir(&self, _: &Persona, path: &VirtualPath) -> Result<()> {
        self.refuse("make directory", path)
    }

    fn remove_file(&self, _: &Persona, path: &VirtualPath) -> Result<()> {
        if !self.0.writable {
            return self.refuse("remove", path);
        }
        match self.ask("remove", path, Question::Delete(path.clone()))? {
            Told::Nothing => Err(Error::new(ErrorKind::NotFound, "remove", path)),
            _ => Ok(()),
        }
    }

    fn remove_dir(&self, _: &Persona, path: &VirtualPath) -> Result<()> {
        self.refuse("remove directory", path)
    }

    fn rename(&self, _: &Persona, from: &VirtualPath, _: &VirtualPath) -> Result<()> {
        self.refuse("rename", from)
    }

    fn set_modified(&self, _: &Persona, path: &VirtualPath, _: SystemTime) -> Result<()> {
        self.refuse("set time", path)
    }

    fn set_mode(&self, _: &Persona, path: &VirtualPath, _: u32) -> Result<()> {
        self.refuse("set mode", path)
    }
}

/// A file on its way to a script, which gets it whole.
struct StagedText {
    tree: ScriptTree,
    who: Persona,
    path: VirtualPath,
    bytes: Vec<u8>,
}

impl WriteFile for StagedText {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.bytes.len() + bytes.len() > PUT_BYTES {
            return Err(Error::new(ErrorKind::NoSpace, "write", &self.path));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Staged for StagedText {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(bytes.len()));
        let Some(end) = end.filter(|end| *end <= PUT_BYTES) else {
            return Err(Error::new(ErrorKind::NoSpace, "write", &self.path));
        };
        self.bytes.resize(end.max(self.bytes.len()), 0);
        self.bytes[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>, how: Commit) -> Result<Metadata> {
        let Self { tree, who, path, bytes } = *self;
        if !how.replace && tree.metadata(&who, &path).is_ok() {
            return Err(Error::new(ErrorKind::Exists, "commit", &path));
        }
        let metadata = tree.metadata_of(Kind::File, bytes.len() as u64, hash(&bytes), None);
        match tree.ask("commit", &path, Question::Put(path.clone(), bytes))? {
            Told::Nothing => Err(Error::new(ErrorKind::Denied, "commit", &path)),
            _ => Ok(metadata),
        }
    }
}
