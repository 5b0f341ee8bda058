//! Keeps a tree in memory: for tests, for generated files, and as a scratch layer over others.
//!
//! The design choice: a table of nodes with numbers, as a disk has, in which directories hold
//! numbers. Moving a directory is then one entry, and nothing recurses. Times come from a clock
//! that the maker gives, so that tests know them.
//!
//! Owners and modes are recorded but not enforced: the server owns such a tree, and whom it shows
//! it to is the server's business. There are no symbolic links.

mod nodes;
mod write;

use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use medusa_core::sys::persona::Persona;

use self::nodes::{Body, Nodes, ROOT};
use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{
    Content, DIR_MODE, Detail, DirEntry, Entries, FILE_MODE, FileSystem, Freshness, Kind, Metadata,
    OpenFile, PERMISSIONS, Placement, SETTABLE_MODE, Staged, Stamp, TreeOptions, WriteFile,
};

/// How much a tree holds unless told otherwise, in bytes: 64 MiB.
pub const DEFAULT_CAPACITY: u64 = 64 * 1024 * 1024;

/// A tree in memory. Cloning gives another handle on the same tree.
#[derive(Clone)]
pub struct MemoryTree {
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<Nodes>,
    options: TreeOptions,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

impl fmt::Debug for MemoryTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTree").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl MemoryTree {
    /// Makes an empty tree of [`DEFAULT_CAPACITY`]. The clock may be `SystemTime::now`.
    pub fn new(
        options: TreeOptions,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        Self::with_capacity(options, clock, DEFAULT_CAPACITY)
    }

    /// Makes an empty tree that holds at most `capacity` bytes, in which every entry counts with
    /// a fixed cost besides its content, and files that are being written count too.
    pub fn with_capacity(
        options: TreeOptions,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
        capacity: u64,
    ) -> Self {
        let nodes = Mutex::new(Nodes::new(capacity, clock()));
        Self { shared: Arc::new(Shared { nodes, options, clock: Box::new(clock) }) }
    }

    /// Puts a file at `path`, replacing one that is there, and makes the directories above it.
    /// For the tree's owner: works also where the tree is read-only, or the name hidden.
    pub fn insert(&self, path: &VirtualPath, content: impl Into<Bytes>) -> Result<()> {
        let mut task = Task::new(&self.shared, &Persona::Process, "insert", path);
        let Some(parent) = path.parent() else { return task.fail(ErrorKind::IsDirectory) };
        let mut directory = ROOT;
        for name in parent.components() {
            directory = match task.child(directory, name) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    task.add(directory, name, Body::directory(), task.who.creation_mode(DIR_MODE))?
                }
                Err(error) => return Err(error),
            };
        }
        task.put_file(directory, content.into(), true).map(drop)
    }
}

/// One operation on the locked tree.
struct Task<'a> {
    nodes: MutexGuard<'a, Nodes>,
    shared: &'a Arc<Shared>,
    who: &'a Persona,
    operation: &'static str,
    path: &'a VirtualPath,
}

impl<'a> Task<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        who: &'a Persona,
        operation: &'static str,
        path: &'a VirtualPath,
    ) -> Self {
        // Nothing in here leaves the nodes half changed, so a panic elsewhere does no harm.
        let nodes = shared.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Self { nodes, shared, who, operation, path }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.operation, self.path)
    }

    fn fail<R>(&self, kind: ErrorKind) -> Result<R> {
        Err(self.error(kind))
    }

    fn child(&self, directory: u64, name: &[u8]) -> Result<u64> {
        match self.nodes.get(directory).map(|node| &node.body) {
            Some(Body::Dir(names)) => {
                names.get(name).copied().ok_or_else(|| self.error(ErrorKind::NotFound))
            }
            Some(Body::File(_)) => self.fail(ErrorKind::NotDirectory),
            // Removed while it was listed or written.
            None => self.fail(ErrorKind::NotFound),
        }
    }

    fn find(&self, path: &VirtualPath) -> Result<u64> {
        path.components().try_fold(ROOT, |directory, name| self.child(directory, name))
    }

    /// Finds the directory that holds `path` and is not the root, and the last name.
    fn find_parent<'p>(&self, path: &'p VirtualPath) -> Result<(u64, &'p [u8])> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return self.fail(ErrorKind::Busy);
        };
        let parent = self.find(&parent)?;
        match self.child(parent, name) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok((parent, name)),
        }
    }

    fn metadata(&self, node: u64) -> Result<Metadata> {
        let found = self.nodes.get(node).ok_or_else(|| self.error(ErrorKind::NotFound))?;
        // The address tells this tree from every other that is alive.
        Ok(found.metadata(node, Arc::as_ptr(self.shared) as u64))
    }

    fn add(&mut self, directory: u64, name: &[u8], body: Body, mode: u32) -> Result<u64> {
        let (uid, gid) = match self.who {
            Persona::Process => (0, 0),
            Persona::User(identity) => (identity.uid, identity.gid),
        };
        let now = (self.shared.clock)();
        let added = self.nodes.add(directory, name, body, (mode, uid, gid), now);
        added.ok_or_else(|| self.error(ErrorKind::NoSpace))
    }

    /// Puts a file under the path's name into `directory`.
    fn put_file(&mut self, directory: u64, content: Bytes, replace: bool) -> Result<u64> {
        let Some(name) = self.path.name() else { return self.fail(ErrorKind::IsDirectory) };
        let mode = match self.child(directory, name) {
            Ok(old) => {
                let old = self.metadata(old)?;
                if old.kind == Kind::Dir {
                    return self.fail(ErrorKind::IsDirectory);
                }
                if !replace {
                    return self.fail(ErrorKind::Exists);
                }
                old.mode & PERMISSIONS
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.who.creation_mode(FILE_MODE),
            Err(error) => return Err(error),
        };
        self.add(directory, name, Body::File(content), mode)
    }

    fn open(&self) -> Result<OpenFile> {
        let node = self.find(self.path)?;
        let metadata = self.metadata(node)?;
        match self.nodes.get(node).map(|node| &node.body) {
            Some(Body::File(content)) => {
                Ok(OpenFile { content: Content::Memory(content.clone()), metadata })
            }
            _ => self.fail(ErrorKind::IsDirectory),
        }
    }
}

impl FileSystem for MemoryTree {
    fn is_writable(&self) -> bool {
        self.shared.options.writable
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.shared.options.read("stat", path)?;
        let task = Task::new(&self.shared, who, "stat", path);
        task.metadata(task.find(path)?)
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.metadata(who, path)
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.shared.options.read("open", path)?;
        Task::new(&self.shared, who, "open", path).open()
    }

    fn open_own(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.shared.options.read_own("open", path)?;
        Task::new(&self.shared, who, "open", path).open()
    }

    fn open_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.open(who, path)
    }

    fn open_own_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.open_own(who, path)
    }

    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        match self.metadata(who, path) {
            Ok(metadata) if metadata.stamp == *stamp => Freshness::Same,
            Err(error) if error.kind() == ErrorKind::NotFound => Freshness::Absent,
            _ => Freshness::Changed,
        }
    }

    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries> {
        self.shared.options.read("list", path)?;
        let task = Task::new(&self.shared, who, "list", path);
        let directory = task.find(path)?;
        if task.metadata(directory)?.kind != Kind::Dir {
            return task.fail(ErrorKind::NotDirectory);
        }
        drop(task);
        let (shared, path) = (Arc::clone(&self.shared), path.clone());
        Ok(Box::new(Listing { shared, path, directory, detail, last: None }))
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>> {
        self.shared.options.create("stage", path)?;
        let task = Task::new(&self.shared, who, "stage", path);
        if path.is_root() {
            return task.fail(ErrorKind::IsDirectory);
        }
        let (directory, name) = task.find_parent(path)?;
        if let Ok(node) = task.child(directory, name)
            && task.metadata(node)?.kind == Kind::Dir
        {
            return task.fail(ErrorKind::IsDirectory);
        }
        drop(task);
        Ok(Box::new(write::MemoryStaged::new(&self.shared, who, path, directory)))
    }

    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> Result<Box<dyn WriteFile>> {
        self.shared.options.create("write", path)?;
        let mut task = Task::new(&self.shared, who, "write", path);
        let node = match task.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && placement == Placement::Append => {
                let (directory, _) = task.find_parent(path)?;
                task.put_file(directory, Bytes::new(), false)?
            }
            answer => answer?,
        };
        if task.metadata(node)?.kind == Kind::Dir {
            return task.fail(ErrorKind::IsDirectory);
        }
        drop(task);
        Ok(Box::new(write::MemoryFile::new(&self.shared, who, path, node, placement)))
    }

    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        self.shared.options.create("make directory", path)?;
        let mut task = Task::new(&self.shared, who, "make directory", path);
        if path.is_root() {
            return task.fail(ErrorKind::Exists);
        }
        let (directory, name) = task.find_parent(path)?;
        if task.child(directory, name).is_ok() {
            return task.fail(ErrorKind::Exists);
        }
        task.add(directory, name, Body::directory(), task.who.creation_mode(DIR_MODE)).map(drop)
    }

    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        self.shared.options.change("remove", path)?;
        let mut task = Task::new(&self.shared, who, "remove", path);
        if task.metadata(task.find(path)?)?.kind == Kind::Dir {
            return task.fail(ErrorKind::IsDirectory);
        }
        let (directory, name) = task.find_parent(path)?;
        let now = (self.shared.clock)();
        task.nodes.remove(directory, name, now);
        Ok(())
    }

    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        self.shared.options.change("remove directory", path)?;
        let mut task = Task::new(&self.shared, who, "remove directory", path);
        let node = task.find(path)?;
        let (directory, name) = task.find_parent(path)?;
        match task.nodes.get(node).map(|node| &node.body) {
            Some(Body::Dir(names)) if names.is_empty() => {}
            Some(Body::Dir(_)) => return task.fail(ErrorKind::NotEmpty),
            _ => return task.fail(ErrorKind::NotDirectory),
        }
        let now = (self.shared.clock)();
        task.nodes.remove(directory, name, now);
        Ok(())
    }

    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        self.shared.options.change("rename", from)?;
        self.shared.options.create("rename to", to)?;
        let mut task = Task::new(&self.shared, who, "rename", from);
        let moved = task.find(from)?;
        let (source, from_name) = task.find_parent(from)?;
        let (target, to_name) = task.find_parent(to)?;
        if from != to && to.starts_with(from) {
            return task.fail(ErrorKind::Invalid);
        }
        let directory = task.metadata(moved)?.kind == Kind::Dir;
        match task.child(target, to_name).ok() {
            Some(old) if old == moved => return Ok(()),
            Some(old) => match (directory, task.nodes.get(old).map(|node| &node.body)) {
                (true, Some(Body::Dir(names))) if !names.is_empty() => {
                    return task.fail(ErrorKind::NotEmpty);
                }
                (true, Some(Body::File(_))) => return task.fail(ErrorKind::NotDirectory),
                (false, Some(Body::Dir(_))) => return task.fail(ErrorKind::IsDirectory),
                _ => {}
            },
            None => {}
        }
        let now = (self.shared.clock)();
        task.nodes.rename((source, from_name), (target, to_name), now);
        Ok(())
    }

    fn set_modified(&self, who: &Persona, path: &VirtualPath, time: SystemTime) -> Result<()> {
        self.shared.options.change("set time", path)?;
        let mut task = Task::new(&self.shared, who, "set time", path);
        let node = task.find(path)?;
        task.nodes.touch(node, Some(time));
        Ok(())
    }

    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> Result<()> {
        self.shared.options.change("set mode", path)?;
        let mut task = Task::new(&self.shared, who, "set mode", path);
        if mode & !SETTABLE_MODE != 0 {
            return task.fail(ErrorKind::Unsupported);
        }
        let node = task.find(path)?;
        task.nodes.set_mode(node, mode);
        Ok(())
    }
}

/// A listing that remembers only where it is.
struct Listing {
    shared: Arc<Shared>,
    path: VirtualPath,
    directory: u64,
    detail: Detail,
    last: Option<Box<[u8]>>,
}

impl Iterator for Listing {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let task = Task::new(&self.shared, &Persona::Process, "list", &self.path);
        // A directory that was removed meanwhile is at its end.
        let Some(Body::Dir(names)) = task.nodes.get(self.directory).map(|node| &node.body) else {
            return None;
        };
        let behind = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (name, &node) = names
            .range::<[u8], _>((behind, Bound::Unbounded))
            .find(|(name, _)| self.shared.options.lists(name))?;
        self.last = Some(name.clone());
        Some(task.metadata(node).map(|metadata| DirEntry {
            name: name.clone(),
            kind: metadata.kind,
            metadata: (self.detail == Detail::Full).then_some(metadata),
        }))
    }
}
