//! Writes files on disk: in place, or staged under a temporary name.
//!
//! The design choice: also writing happens under the persona, not just opening, because disk
//! quotas are counted against whoever writes.
//!
//! A staged file has no name at all where the system can do that, so that a process that is killed
//! leaves nothing behind. Elsewhere it has a hidden temporary name, which then stays. To replace a
//! file it takes such a name in any case, for the moment between two system calls: there is no
//! single one that links over a name.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;

use medusa_core::sys::persona::Persona;
use medusa_core::sys::unnamed;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fchmod, fstat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::{Task, is_dir, metadata_of};
use crate::error::{ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{Commit, FILE_MODE, Metadata, PERMISSIONS, Placement, Staged, WriteFile};

/// How many temporary names are tried before giving up; one is enough unless someone guesses.
const NAME_ATTEMPTS: usize = 8;

/// A file of the machine open for writing.
pub(super) struct LocalFile {
    who: Persona,
    path: VirtualPath,
    file: File,
    /// Where the next write goes; at the end where nothing is said.
    position: Option<u64>,
}

impl LocalFile {
    pub(super) fn new(task: Task<'_>, file: File, placement: Placement) -> Self {
        let position = match placement {
            Placement::Append => None,
            Placement::At(offset) => Some(offset),
        };
        Self { who: task.who.clone(), path: task.path.clone(), file, position }
    }

    fn task(&self, operation: &'static str) -> Task<'_> {
        Task { who: &self.who, operation, path: &self.path }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<u64> {
        let task = self.task("write");
        let end = offset.checked_add(bytes.len() as u64);
        // The system counts file offsets with a sign.
        let Some(end) = end.filter(|&end| i64::try_from(end).is_ok()) else {
            return task.fail(ErrorKind::NoSpace);
        };
        task.run(|| self.file.write_all_at(bytes, offset).map_err(|error| task.error(error)))?;
        Ok(end)
    }
}

impl WriteFile for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(offset) = self.position {
            self.position = Some(self.write_at(offset, bytes)?);
            return Ok(());
        }
        let task = self.task("write");
        task.run(|| (&self.file).write_all(bytes).map_err(|error| task.error(error)))
    }

    fn size(&self) -> Result<u64> {
        let task = self.task("stat");
        task.run(|| Ok(self.file.metadata().map_err(|error| task.error(error))?.len()))
    }

    fn sync(&mut self) -> Result<()> {
        let task = self.task("sync");
        task.run(|| self.file.sync_data().map_err(|error| task.error(error)))
    }
}

/// A file in the directory where it is to appear, without a name or under a temporary one.
pub(super) struct LocalStaged {
    file: LocalFile,
    /// The directory is held open: a rename of it does not lose the upload.
    parent: OwnedFd,
    name: Box<[u8]>,
    /// The name that it has now, if it has one that must not remain.
    temporary: Option<String>,
}

impl LocalStaged {
    /// Makes the file, in the way that works everywhere if it is to be `portable`; runs under the
    /// persona already.
    pub(super) fn new(
        task: Task<'_>,
        parent: OwnedFd,
        name: &[u8],
        portable: bool,
    ) -> Result<Self> {
        // Told now, not after the whole upload.
        if is_dir(&parent, name) {
            return task.fail(ErrorKind::IsDirectory);
        }
        let mode = task.who.creation_mode(FILE_MODE);
        let unnamed = if portable { Ok(None) } else { unnamed::create(parent.as_fd(), mode) };
        let (file, temporary) = if let Some(file) = unnamed.map_err(|error| task.error(error))? {
            (file, None)
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(mode);
            let named = under_new_name(|name| Ok(openat(&parent, name, flags, mode)?));
            let (file, name) = named.map_err(|error| task.error(error))?;
            (file, Some(name))
        };
        let file = LocalFile::new(task, File::from(file), Placement::At(0));
        Ok(Self { file, parent, name: name.into(), temporary })
    }

    fn take_name(&mut self, how: Commit) -> io::Result<()> {
        if self.temporary.is_none() {
            let link =
                |name: &[u8]| unnamed::name(self.file.file.as_fd(), self.parent.as_fd(), name);
            match link(&self.name) {
                Err(error) if how.replace && error.kind() == io::ErrorKind::AlreadyExists => {}
                answer => return answer,
            }
            self.take_mode()?;
            let ((), name) = under_new_name(|name| link(name.as_bytes()))?;
            self.temporary = Some(name);
        } else if how.replace {
            self.take_mode()?;
        }
        let temporary = self.temporary.as_deref().unwrap_or_default();
        if how.replace {
            renameat(&self.parent, temporary, &self.parent, &*self.name)?;
        } else {
            rename_new(&self.parent, temporary, &self.name)?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl LocalStaged {
    /// Takes on the permissions of the file that is replaced, so that what only some may read does
    /// not become anybody's. Whoever replaces it may differ from its owner, so set-id bits are not
    /// taken on.
    fn take_mode(&self) -> io::Result<()> {
        let before = match statat(&self.parent, &*self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
            Ok(_) | Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mode = Mode::from_raw_mode(before.st_mode & PERMISSIONS);
        Ok(fchmod(&self.file.file, mode)?)
    }
}

/// Makes something under a temporary name; tries others where that is taken.
fn under_new_name<R>(make: impl Fn(&str) -> io::Result<R>) -> io::Result<(R, String)> {
    let mut left = NAME_ATTEMPTS;
    loop {
        let name = temporary_name();
        left -= 1;
        match make(&name) {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer.map(|made| (made, name)),
        }
    }
}

impl WriteFile for LocalStaged {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write(bytes)
    }

    fn size(&self) -> Result<u64> {
        self.file.size()
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

impl Staged for LocalStaged {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes).map(drop)
    }

    fn commit(mut self: Box<Self>, how: Commit) -> Result<Metadata> {
        if how.durable {
            self.file.sync()?;
        }
        let (who, path) = (self.file.who.clone(), self.file.path.clone());
        let task = Task { who: &who, operation: "commit", path: &path };
        let metadata = task.run(|| {
            self.take_name(how).map_err(|error| task.error(error))?;
            // After the name, which changes the times.
            Ok(metadata_of(&fstat(&self.file.file).map_err(|error| task.error(error))?))
        })?;
        if how.durable {
            let task = Task { operation: "sync", ..task };
            task.run(|| sync_directory(&self.parent).map_err(|error| task.error(error)))?;
        }
        Ok(metadata)
    }
}

impl Drop for LocalStaged {
    fn drop(&mut self) {
        let Some(temporary) = self.temporary.take() else { return };
        let remove = || unlinkat(&self.parent, &*temporary, AtFlags::empty());
        if let Ok(Err(error)) | Err(error) =
            self.file.who.run(remove).map(|answer| answer.map_err(io::Error::from))
        {
            // The directory may have been removed with all in it; then nothing is left behind.
            tracing::debug!(path = %self.file.path, %error, "a staged file was not removed");
        }
    }
}

/// Gives a hidden name that nobody can guess. That is a matter of tidiness alone: the file is
/// created exclusively, so a guess leads to another try.
fn temporary_name() -> String {
    // The standard library's source of randomness; each state has keys of its own.
    format!(".medusa-{:016x}.part", RandomState::new().hash_one(()))
}

/// Renames within a directory unless the new name is taken.
fn rename_new(parent: &OwnedFd, from: &str, to: &[u8]) -> std::result::Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
            // The file system does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            answer => return answer,
        }
    }
    link_new(parent, from, to)
}

/// The same by a second name and the removal of the first: a link never replaces.
fn link_new(parent: &OwnedFd, from: &str, to: &[u8]) -> std::result::Result<(), Errno> {
    rustix::fs::linkat(parent, from, parent, to, AtFlags::empty())?;
    unlinkat(parent, from, AtFlags::empty())
}

/// Writes the directory's names to disk. Where the persona may write to the directory but not
/// read it this cannot be asked for, and is left to the system's own pace.
fn sync_directory(parent: &OwnedFd) -> std::result::Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(parent, c".", flags, Mode::empty()) {
        Ok(directory) => rustix::fs::fsync(directory),
        Err(Errno::ACCESS) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_ways_to_a_new_name_refuse_to_replace() {
        let dir = tempfile::tempdir().unwrap();
        let parent = OwnedFd::from(File::open(dir.path()).unwrap());
        for rename in [rename_new, link_new] {
            fs::write(dir.path().join("from"), "new").unwrap();
            fs::write(dir.path().join("to"), "old").unwrap();
            assert_eq!(rename(&parent, "from", b"to"), Err(Errno::EXIST));
            fs::remove_file(dir.path().join("to")).unwrap();
            rename(&parent, "from", b"to").unwrap();
            assert_eq!(fs::read(dir.path().join("to")).unwrap(), b"new");
            assert!(!dir.path().join("from").exists());
        }
    }

    #[test]
    fn temporary_names_differ_and_are_hidden() {
        assert_ne!(temporary_name(), temporary_name());
        assert!(temporary_name().starts_with('.'));
    }
}
