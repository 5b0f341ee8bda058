//! Defines what every file tree can do.
//!
//! The design choice: calls are plain and may block; they run on helper threads. The two that end
//! in `_now` are for the loop's own thread.

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use medusa_core::sys::persona::Persona;

use crate::error::{Error, ErrorKind, Result};
use crate::path::{VirtualPath, is_backup_name, is_hidden_name};

/// Tells what an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; seen only where links are not followed.
    Symlink,
    /// A FIFO, socket or device. It is listed, but never opened.
    Other,
}

/// Identifies one state of one file: while it is the same, so is the content.
///
/// As good as the file system's clock: two writes within one tick that keep the size look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The device, or the tree in memory.
    pub dev: u64,
    /// The file on it.
    pub ino: u64,
    /// The size in bytes.
    pub size: u64,
    /// When the content changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// When content or attributes changed, in nanoseconds since 1970; in memory, a counter.
    pub changed_ns: i64,
}

/// Tells about an entry what a directory knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// The size in bytes.
    pub size: u64,
    /// When the content changed.
    pub modified: SystemTime,
    /// The permission bits, with set-id and sticky bits; without the file type.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// How many names it has.
    pub nlink: u64,
    /// Which state of which file this is about.
    pub stamp: Stamp,
}

/// Where the content of an opened file is.
#[derive(Clone, Debug)]
pub enum Content {
    /// In a file of the machine, from which it can be sent without being copied. The position of
    /// the descriptor is shared; read at offsets.
    Disk(Arc<File>),
    /// In memory.
    Memory(Bytes),
}

/// A regular file opened for reading.
#[derive(Clone, Debug)]
pub struct OpenFile {
    /// Where the content is.
    pub content: Content,
    /// What the file was when it was opened. It may have changed since, where it is on disk.
    pub metadata: Metadata,
}

/// Says how much a listing is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Names and kinds, which a directory usually knows without a look at each entry.
    Names,
    /// Metadata too.
    Full,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The name: one component.
    pub name: Box<[u8]>,
    /// What it is; a link is told as a link. [`FileSystem::metadata`] tells of its target.
    pub kind: Kind,
    /// Metadata of the entry itself, where [`Detail::Full`] was asked for. Missing even then for
    /// a mounted tree that does not tell this persona of its root.
    pub metadata: Option<Metadata>,
}

/// A listing as it is read. Each step may block. In no particular order, without `.` and `..`.
pub type Entries = Box<dyn Iterator<Item = Result<DirEntry>> + Send>;

/// Answers whether a file that was opened earlier is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is the same file in the same state.
    Same,
    /// It is not, or that cannot be told.
    Changed,
    /// There is nothing at the path.
    Absent,
}

/// Says where the first byte written to an existing file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At the end, wherever that is at each write. A missing file is created.
    Append,
    /// At this offset, and what follows behind it. The file must exist; what lies behind the
    /// last byte written stays, and a gap before the offset reads as zeros.
    At(u64),
}

/// Says how a staged file takes its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Whether a file of that name is replaced. If not, it makes the commit fail with `Exists`.
    pub replace: bool,
    /// Whether content and name are on the disk, not just in its cache, when the commit returns.
    pub durable: bool,
}

/// A file open for writing. Each call may block.
pub trait WriteFile: Send {
    /// Writes all of `bytes` behind what was written before.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Tells the size of the file in bytes.
    fn size(&self) -> Result<u64>;
    /// Returns when all that was written is on the disk.
    fn sync(&mut self) -> Result<()>;
}

/// A file that is being written without its name: under none at all where the system can do that,
/// else under a hidden temporary one beside its own. Dropped without a commit it is removed.
pub trait Staged: WriteFile {
    /// Writes all of `bytes` at an offset; later writes do not move by it.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Gives the file its name in one step: nobody ever sees a part of it under that name.
    ///
    /// A symbolic link of that name is replaced itself; what it points to is not touched. A file that
    /// replaces another has the other's permission bits.
    fn commit(self: Box<Self>, how: Commit) -> Result<Metadata>;
}

/// A tree of files that HTTP, FTP and scripts share.
///
/// Every call takes the persona under which it runs and the path that it is about. All may block,
/// except those that end in `_now`. Where nothing else is said, symbolic links are followed as
/// long as they stay in the tree.
///
/// A file made here gets mode 0666, a directory 0777, without the bits of the persona's umask
/// ([`Persona::creation_mode`]) and the process's.
pub trait FileSystem: Send + Sync {
    /// Tells whether any part of the tree takes writes: what a service that changes files asks
    /// before it starts. Personas and modes decide about each write. A tree that does not say so
    /// takes none.
    fn is_writable(&self) -> bool {
        false
    }

    /// Tells what is at `path`.
    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata>;

    /// Tells what is at `path`; of a symbolic link, what it is itself.
    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata>;

    /// Opens a regular file for reading.
    ///
    /// # Errors
    ///
    /// `IsDirectory` for a directory, `Unsupported` for a FIFO, socket or device.
    fn open(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile>;

    /// Opens a regular file for reading, also one whose own name is hidden; the directory that it
    /// is in must not be. For what the server itself looks for, never for a name that a client has
    /// chosen.
    ///
    /// # Errors
    ///
    /// As those of [`FileSystem::open`].
    fn open_own(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.open(who, path)
    }

    /// Opens a regular file for reading if that is sure not to block.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where it might: call [`FileSystem::open`] on a helper thread. Otherwise as
    /// that.
    fn open_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile>;

    /// Opens a regular file as [`FileSystem::open_own`] does, if that is sure not to block. A tree
    /// that does not say so never is.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where it might. Otherwise as [`FileSystem::open_own`].
    fn open_own_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let _ = who;
        Err(Error::new(ErrorKind::WouldBlock, "open", path))
    }

    /// Tells whether the file at `path` is still in the state `stamp`, which an open by the same
    /// persona has given. Cheap: on disk, one system call a layer and no open. Meant for a cache
    /// of open files, at most once a turn of the loop and file.
    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness;

    /// Opens the file at `path`, to watch it, if it is in the state `stamp` and nothing but a change
    /// of that file itself (its content, attributes or names) can put another in its place. A
    /// cache may then rely on notices of such changes instead of asking
    /// [`FileSystem::check_now`]. A tree that cannot say so opens nothing. Does not block if the
    /// file was opened a moment before.
    fn open_to_watch(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Option<File> {
        let _ = (who, path, stamp);
        None
    }

    /// Starts a listing. How many entries to take from it is up to the caller.
    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries>;

    /// Starts a new file that appears at `path` when it is complete.
    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>>;

    /// Opens the file at `path` itself for writing, to append to it or to resume an upload.
    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> Result<Box<dyn WriteFile>>;

    /// Makes a directory.
    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()>;

    /// Removes a file, or a symbolic link itself.
    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()>;

    /// Moves an entry, replacing a file (or an empty directory by a directory) at `to`. Links
    /// are moved and replaced themselves.
    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> Result<()>;

    /// Sets when the content changed.
    fn set_modified(&self, who: &Persona, path: &VirtualPath, time: SystemTime) -> Result<()>;

    /// Sets the permission bits and the sticky bit.
    ///
    /// # Errors
    ///
    /// `Unsupported` for set-user-id and set-group-id: no client has reason to make a file so.
    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> Result<()>;
}

/// The mode of a new file before umasks.
pub(crate) const FILE_MODE: u32 = 0o666;
/// The mode of a new directory before umasks.
pub(crate) const DIR_MODE: u32 = 0o777;
/// What a file takes on from the one that it replaces.
pub(crate) const PERMISSIONS: u32 = 0o777;
/// What `set_mode` takes: permissions and the sticky bit.
pub(crate) const SETTABLE_MODE: u32 = 0o1777;

/// Settings that trees on disk and in memory have in common. By default a tree is read-only and
/// hides dot-files and backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeOptions {
    /// Whether the tree takes writes.
    pub writable: bool,
    /// Whether names that begin with a dot exist. If not they are absent alike for opening,
    /// listing and asking, and cannot be made. Only names in the path count: a visible symbolic
    /// link to a hidden file is the owner's own decision.
    pub show_hidden: bool,
    /// Whether names of backups exist, which tell what a file was before somebody changed it:
    /// `*~`, `#*#`, `*.bak`, `*.old`, `*.orig`, `*.swo` and `*.swp`. If not they are absent as
    /// hidden ones are.
    pub show_backups: bool,
}

impl TreeOptions {
    /// Allows a read of `path`, or finds nothing there.
    pub(crate) fn read(self, operation: &'static str, path: &VirtualPath) -> Result<()> {
        let absent =
            (!self.show_hidden && path.is_hidden()) || (!self.show_backups && path.is_backup());
        if absent {
            return Err(Error::new(ErrorKind::NotFound, operation, path));
        }
        Ok(())
    }

    /// Allows a read of `path`, whose own name may be hidden, or finds nothing there.
    pub(crate) fn read_own(self, operation: &'static str, path: &VirtualPath) -> Result<()> {
        let parent = path.parent().unwrap_or_else(VirtualPath::root);
        self.read(operation, &parent).map_err(|_| Error::new(ErrorKind::NotFound, operation, path))
    }

    /// Allows a change to an entry that exists.
    pub(crate) fn change(self, operation: &'static str, path: &VirtualPath) -> Result<()> {
        if !self.writable {
            return Err(Error::new(ErrorKind::ReadOnly, operation, path));
        }
        self.read(operation, path)
    }

    /// Allows a new name: like a change, but a hidden name is not absent, it is refused.
    pub(crate) fn create(self, operation: &'static str, path: &VirtualPath) -> Result<()> {
        match self.change(operation, path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let hidden = path.name().is_some_and(|name| !self.lists(name));
                let kind = if hidden { ErrorKind::Denied } else { ErrorKind::NotFound };
                Err(error.with_kind(kind))
            }
            answer => answer,
        }
    }

    /// Tells whether an entry of this name is listed.
    pub(crate) fn lists(self, name: &[u8]) -> bool {
        (self.show_hidden || !is_hidden_name(name)) && (self.show_backups || !is_backup_name(name))
    }
}
