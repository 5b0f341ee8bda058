//! Serves a directory of the machine as a tree.
//!
//! The design choice: the root is an open directory, and every call resolves its path beneath
//! that under the persona; the machine's path of the root is used once, to open it. The root may
//! then be renamed, and the tree stays what it was.

mod list;
mod write;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use medusa_core::sys::beneath::{Beneath, Links, Resolver};
use medusa_core::sys::persona::Persona;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{
    Content, DIR_MODE, Detail, Entries, FileSystem, Freshness, Kind, Metadata, OpenFile, Placement,
    SETTABLE_MODE, Staged, Stamp, TreeOptions, WriteFile,
};

/// How every file is opened: without waiting for the other end of a FIFO, and without a terminal
/// becoming the server's own.
const CAUTIOUS: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// A directory of the machine.
#[derive(Debug)]
pub struct LocalTree {
    beneath: Beneath,
    options: TreeOptions,
}

impl LocalTree {
    /// Opens the directory `root` under the process's own identity. Symbolic links that lead out of
    /// it are refused, and so are absolute ones, unless it is the machine's own root.
    ///
    /// # Errors
    ///
    /// Those of opening a directory.
    pub fn open(root: impl AsRef<Path>, options: TreeOptions) -> io::Result<Self> {
        let opened = open_root(root.as_ref())?;
        let beneath = Beneath::new(opened).with_links(links(root.as_ref()));
        Ok(Self { beneath, options })
    }

    /// As [`LocalTree::open`], with a chosen resolver instead of the best that the system has. With
    /// [`Resolver::Walk`] files are also staged in the way that works everywhere.
    pub fn open_with(
        root: impl AsRef<Path>,
        options: TreeOptions,
        resolver: Resolver,
    ) -> io::Result<Self> {
        let opened = open_root(root.as_ref())?;
        let beneath = Beneath::with_resolver(opened, resolver).with_links(links(root.as_ref()));
        Ok(Self { beneath, options })
    }
}

/// What becomes of links in the tree of this root. Where it is the machine's own, absolute ones name
/// what they were made to name; in any other they would lead out of it.
fn links(root: &Path) -> Links {
    let is_whole = root.canonicalize().is_ok_and(|root| root == Path::new("/"));
    if is_whole { Links::InRoot } else { Links::Refused }
}

/// Whether all changes to a file system are made by this machine.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_local(root: std::os::fd::BorrowedFd<'_>) -> bool {
    /// The numbers that statfs(2) gives ext2 to ext4, xfs, btrfs and tmpfs.
    const KNOWN: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
    rustix::fs::fstatfs(root).is_ok_and(|stat| KNOWN.contains(&(stat.f_type as u64)))
}

/// Whether all changes to a file system are made by this machine: not known here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_local(_: std::os::fd::BorrowedFd<'_>) -> bool {
    false
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(root, flags, Mode::empty())?)
}

/// One operation: who does what where. Turns what the system says into the tree's errors.
#[derive(Clone, Copy)]
struct Task<'a> {
    who: &'a Persona,
    operation: &'static str,
    path: &'a VirtualPath,
}

impl<'a> Task<'a> {
    /// The one way to the file system from here: no call without a persona.
    fn run<R>(self, body: impl FnOnce() -> Result<R>) -> Result<R> {
        self.who.run(body).map_err(|error| self.error(error))?
    }

    fn error(self, error: impl Into<io::Error>) -> Error {
        let error = Error::from_io(error.into(), self.operation, self.path);
        match error.kind() {
            // Only `open_now` may say so, and that does not come here; a lease is in the way.
            ErrorKind::WouldBlock => error.with_kind(ErrorKind::Busy),
            _ => error,
        }
    }

    /// An error of resolving the path, where "other device" means "out of the root".
    fn resolving(self, error: io::Error) -> Error {
        let error = self.error(error);
        match error.kind() {
            ErrorKind::CrossDevice => error.with_kind(ErrorKind::Escapes),
            _ => error,
        }
    }

    fn fail<R>(self, kind: ErrorKind) -> Result<R> {
        Err(Error::new(kind, self.operation, self.path))
    }

    fn open(self, tree: &LocalTree, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let mode = Mode::from_raw_mode(mode);
        tree.beneath.open(self.path.relative(), flags, mode).map_err(|error| self.resolving(error))
    }

    fn parent(self, tree: &LocalTree) -> Result<(OwnedFd, &'a [u8])> {
        tree.beneath.parent(self.path.relative()).map_err(|error| self.resolving(error))
    }

    fn open_now(self, tree: &LocalTree) -> Result<OpenFile> {
        let relative = self.path.relative();
        self.run(|| match tree.beneath.open_now(relative, OFlags::RDONLY | CAUTIOUS) {
            Ok(opened) => self.file(opened),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.fail(ErrorKind::WouldBlock)
            }
            Err(error) => Err(self.resolving(error)),
        })
    }

    /// Serves an opened file, if it is one that can be served.
    fn file(self, opened: OwnedFd) -> Result<OpenFile> {
        let metadata = self.regular(&opened)?;
        Ok(OpenFile { content: Content::Disk(Arc::new(File::from(opened))), metadata })
    }

    /// Refuses what is not a regular file. Looked at after the opening, so that it is the opened
    /// thing that is looked at.
    fn regular(self, opened: &OwnedFd) -> Result<Metadata> {
        let metadata = metadata_of(&fstat(opened).map_err(|error| self.error(error))?);
        match metadata.kind {
            Kind::File => Ok(metadata),
            Kind::Dir => self.fail(ErrorKind::IsDirectory),
            Kind::Symlink | Kind::Other => self.fail(ErrorKind::Unsupported),
        }
    }

    /// Opens a file or directory only to set its attributes, which needs ownership but which the
    /// system binds to a descriptor; a file that one may only write will do as well.
    fn open_for_attributes(self, tree: &LocalTree) -> Result<File> {
        let opened = match self.open(tree, OFlags::RDONLY | CAUTIOUS, 0) {
            Err(error) if error.kind() == ErrorKind::Denied => {
                self.open(tree, OFlags::WRONLY | CAUTIOUS, 0)
            }
            answer => answer,
        }?;
        match self.regular(&opened) {
            Err(error) if error.kind() != ErrorKind::IsDirectory => Err(error),
            _ => Ok(File::from(opened)),
        }
    }
}

impl FileSystem for LocalTree {
    fn is_writable(&self) -> bool {
        self.options.writable
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        let task = Task { who, operation: "stat", path };
        self.options.read(task.operation, path)?;
        task.run(|| match self.beneath.stat(path.relative()) {
            Ok(stat) => Ok(metadata_of(&stat)),
            Err(error) => Err(task.resolving(error)),
        })
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        if path.is_root() {
            return self.metadata(who, path);
        }
        let task = Task { who, operation: "stat", path };
        self.options.read(task.operation, path)?;
        task.run(|| {
            let (parent, name) = task.parent(self)?;
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
            Ok(metadata_of(&stat.map_err(|error| task.error(error))?))
        })
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let task = Task { who, operation: "open", path };
        self.options.read(task.operation, path)?;
        task.run(|| task.file(task.open(self, OFlags::RDONLY | CAUTIOUS, 0)?))
    }

    fn open_own(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let task = Task { who, operation: "open", path };
        self.options.read_own(task.operation, path)?;
        task.run(|| task.file(task.open(self, OFlags::RDONLY | CAUTIOUS, 0)?))
    }

    fn open_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let task = Task { who, operation: "open", path };
        self.options.read(task.operation, path)?;
        task.open_now(self)
    }

    fn open_own_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let task = Task { who, operation: "open", path };
        self.options.read_own(task.operation, path)?;
        task.open_now(self)
    }

    /// One `fstatat`. It is the one call here that is not held beneath the root, for there is no
    /// such `fstatat`. Nothing comes of that: a link that leads outside can only give the answer
    /// "the same" by leading to the very file, in the very state, that was opened beneath the
    /// root before, and the other two answers tell nothing of what is there to anybody but the
    /// caller, who then opens the path beneath the root.
    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        if self.options.read("check", path).is_err() {
            return Freshness::Absent;
        }
        let name = if path.is_root() { b"." } else { path.relative() };
        match who.run(|| statat(self.beneath.root(), name, AtFlags::empty())) {
            Ok(Ok(stat)) if metadata_of(&stat).stamp == *stamp => Freshness::Same,
            Ok(Err(Errno::NOENT)) => Freshness::Absent,
            _ => Freshness::Changed,
        }
    }

    /// So it is for a file that stands in the root itself, is no link and is on the root's own file
    /// system: nothing lies between the root and the file that could change unseen. What the
    /// changes of other machines are is not told by a network's file system, so that only those
    /// known to be local count.
    fn open_to_watch(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Option<File> {
        if path.components().count() != 1 || self.options.read("watch", path).is_err() {
            return None;
        }
        let root = self.beneath.root();
        let opened = who.run(|| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | CAUTIOUS;
            let file = self.beneath.open_now(path.relative(), flags).ok()?;
            let (is, root_is) = (fstat(&file).ok()?, fstat(root).ok()?);
            let same = metadata_of(&is).stamp == *stamp && is.st_dev == root_is.st_dev;
            same.then(|| File::from(file))
        });
        opened.ok().flatten().filter(|_| is_local(root))
    }

    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries> {
        let task = Task { who, operation: "list", path };
        self.options.read(task.operation, path)?;
        task.run(|| {
            let opened = task.open(self, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
            let listing = list::Listing::new(task, opened, self.options, detail)?;
            Ok(Box::new(listing) as Entries)
        })
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>> {
        let task = Task { who, operation: "stage", path };
        self.options.create(task.operation, path)?;
        if path.is_root() {
            return task.fail(ErrorKind::IsDirectory);
        }
        task.run(|| {
            let (parent, name) = task.parent(self)?;
            let portable = self.beneath.resolver() == Resolver::Walk;
            Ok(Box::new(write::LocalStaged::new(task, parent, name, portable)?) as Box<dyn Staged>)
        })
    }

    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> Result<Box<dyn WriteFile>> {
        let task = Task { who, operation: "write", path };
        self.options.create(task.operation, path)?;
        let flags = match placement {
            Placement::Append => OFlags::APPEND | OFlags::CREATE,
            Placement::At(_) => OFlags::empty(),
        };
        task.run(|| {
            let mode = who.creation_mode(crate::tree::FILE_MODE);
            let opened = task.open(self, OFlags::WRONLY | CAUTIOUS | flags, mode)?;
            task.regular(&opened)?;
            let file = write::LocalFile::new(task, File::from(opened), placement);
            Ok(Box::new(file) as Box<dyn WriteFile>)
        })
    }

    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let task = Task { who, operation: "make directory", path };
        self.options.create(task.operation, path)?;
        if path.is_root() {
            return task.fail(ErrorKind::Exists);
        }
        task.run(|| {
            let (parent, name) = task.parent(self)?;
            let mode = Mode::from_raw_mode(who.creation_mode(DIR_MODE));
            mkdirat(parent, name, mode).map_err(|error| task.error(error))
        })
    }

    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let task = Task { who, operation: "remove", path };
        self.options.change(task.operation, path)?;
        if path.is_root() {
            return task.fail(ErrorKind::IsDirectory);
        }
        task.run(|| {
            let (parent, name) = task.parent(self)?;
            match unlinkat(&parent, name, AtFlags::empty()) {
                // What POSIX says for a directory; Linux says that it is one.
                Err(Errno::PERM) if is_dir(&parent, name) => task.fail(ErrorKind::IsDirectory),
                answer => answer.map_err(|error| task.error(error)),
            }
        })
    }

    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let task = Task { who, operation: "remove directory", path };
        self.options.change(task.operation, path)?;
        if path.is_root() {
            return task.fail(ErrorKind::Busy);
        }
        task.run(|| {
            let (parent, name) = task.parent(self)?;
            match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Err(Errno::EXIST) => task.fail(ErrorKind::NotEmpty),
                answer => answer.map_err(|error| task.error(error)),
            }
        })
    }

    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        let source = Task { who, operation: "rename", path: from };
        let target = Task { who, operation: "rename to", path: to };
        self.options.change(source.operation, from)?;
        self.options.create(target.operation, to)?;
        for task in [source, target] {
            if task.path.is_root() {
                return task.fail(ErrorKind::Busy);
            }
        }
        source.run(|| {
            let (from, from_name) = source.parent(self)?;
            let (to, to_name) = target.parent(self)?;
            match renameat(from, from_name, to, to_name) {
                Err(Errno::EXIST) => target.fail(ErrorKind::NotEmpty),
                // What is absent is what was to be moved: the target's directory is open.
                answer => answer.map_err(|error| source.error(error)),
            }
        })
    }

    fn set_modified(&self, who: &Persona, path: &VirtualPath, time: SystemTime) -> Result<()> {
        let task = Task { who, operation: "set time", path };
        self.options.change(task.operation, path)?;
        task.run(|| {
            let file = task.open_for_attributes(self)?;
            file.set_modified(time).map_err(|error| task.error(error))
        })
    }

    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> Result<()> {
        let task = Task { who, operation: "set mode", path };
        self.options.change(task.operation, path)?;
        if mode & !SETTABLE_MODE != 0 {
            return task.fail(ErrorKind::Unsupported);
        }
        task.run(|| {
            let file = task.open_for_attributes(self)?;
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|error| task.error(error))
        })
    }
}

/// Tells whether the entry itself is a directory.
fn is_dir(parent: &OwnedFd, name: &[u8]) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// The fields' types differ from system to system and the widest is taken, so that some of the
/// casts do nothing here and are needed elsewhere.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless, clippy::cast_possible_wrap)]
fn metadata_of(stat: &Stat) -> Metadata {
    let (modified_s, modified_nanos) = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    let since = Duration::from_secs(modified_s.unsigned_abs());
    let second = if modified_s < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(since)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    };
    let modified = second.and_then(|at| at.checked_add(Duration::new(0, modified_nanos)));
    let nanos =
        |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    let size = stat.st_size as u64;
    Metadata {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
        size,
        // A time that cannot be told is a file system's fault; the epoch is what it would say.
        modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
        mode: stat.st_mode as u32 & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink as u64,
        stamp: Stamp {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size,
            modified_ns: nanos(modified_s, i64::from(modified_nanos)),
            changed_ns: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        },
    }
}
