//! Changes layered trees: makes parents, copies up, whites out.
//!
//! The design choice: a whiteout is set before the upper entry goes, and taken back if that
//! fails, so that what is below never shows through for a moment.

use std::os::unix::fs::FileExt as _;

use medusa_core::sys::persona::Persona;

use super::{LayeredTree, MAX_WHITEOUTS, if_found};
use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{
    Commit, Content, Detail, FileSystem as _, Kind, Metadata, OpenFile, SETTABLE_MODE, Staged,
    WriteFile,
};

/// How much of a file is held at once while it is copied up.
const COPY_BYTES: usize = 128 * 1024;

impl LayeredTree {
    /// Tells what the lower trees have at `path`, if a whiteout does not hide it.
    fn below(&self, who: &Persona, path: &VirtualPath) -> Result<Option<Metadata>> {
        for layer in self.layers(path).skip(1) {
            match layer.entry_metadata(who, path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::NotDirectory => break,
                answer => return answer.map(Some),
            }
        }
        Ok(None)
    }

    /// The same, where the upper tree has nothing there.
    pub(super) fn only_below(&self, who: &Persona, path: &VirtualPath) -> Result<Option<Metadata>> {
        match if_found(self.upper().entry_metadata(who, path))? {
            Some(_) => Ok(None),
            None => self.below(who, path),
        }
    }

    /// Makes the directories above `path` in the upper tree, which must exist in some tree.
    pub(super) fn make_parents(
        &self,
        who: &Persona,
        operation: &'static str,
        path: &VirtualPath,
    ) -> Result<()> {
        let mut missing = Vec::new();
        for parent in path.ancestors().skip(1) {
            match if_found(self.upper().metadata(who, &parent))? {
                Some(found) if found.kind == Kind::Dir => break,
                Some(_) => return Err(Error::new(ErrorKind::NotDirectory, operation, path)),
                None => missing.push(parent),
            }
        }
        for parent in missing.into_iter().rev() {
            self.make_like_below(who, operation, &parent)?;
        }
        Ok(())
    }

    /// Makes a directory in the upper tree with the mode of the one that it covers.
    fn make_like_below(
        &self,
        who: &Persona,
        operation: &'static str,
        path: &VirtualPath,
    ) -> Result<()> {
        let below = self.metadata(who, path)?;
        if below.kind != Kind::Dir {
            return Err(Error::new(ErrorKind::NotDirectory, operation, path));
        }
        match self.upper().make_dir(who, path) {
            // Someone else was here first.
            Err(error) if error.kind() == ErrorKind::Exists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.upper().set_mode(who, path, below.mode & SETTABLE_MODE),
        }
    }

    /// Copies the file `from`, which is only below, to `to` in the upper tree.
    pub(super) fn copy_up(
        &self,
        who: &Persona,
        operation: &'static str,
        from: &VirtualPath,
        below: &Metadata,
        to: &VirtualPath,
    ) -> Result<()> {
        match below.kind {
            Kind::File => {}
            Kind::Dir => return Err(Error::new(ErrorKind::IsDirectory, operation, from)),
            Kind::Symlink | Kind::Other => {
                return Err(Error::new(ErrorKind::CrossDevice, operation, from));
            }
        }
        let OpenFile { content, metadata } = self.open(who, from)?;
        let mut staged = self.upper().stage(who, to)?;
        match content {
            Content::Memory(bytes) => staged.write(&bytes)?,
            Content::Disk(file) => {
                let (mut buffer, mut offset) = (vec![0; COPY_BYTES], 0);
                loop {
                    let count = file
                        .read_at(&mut buffer, offset)
                        .map_err(|error| Error::from_io(error, operation, from))?;
                    if count == 0 {
                        break;
                    }
                    staged.write(&buffer[..count])?;
                    offset += count as u64;
                }
            }
        }
        staged.commit(Commit { replace: true, durable: false })?;
        self.upper().set_mode(who, to, metadata.mode & SETTABLE_MODE)?;
        self.upper().set_modified(who, to, metadata.modified)
    }

    /// Brings what is only below to the upper tree, so that its attributes can be set.
    pub(super) fn bring_up(
        &self,
        who: &Persona,
        operation: &'static str,
        path: &VirtualPath,
    ) -> Result<()> {
        let Some(below) = self.only_below(who, path)? else { return Ok(()) };
        self.make_parents(who, operation, path)?;
        match below.kind {
            Kind::Dir => self.make_like_below(who, operation, path),
            _ => self.copy_up(who, operation, path, &below, path),
        }
    }

    fn white_out(&self, operation: &'static str, path: &VirtualPath) -> Result<()> {
        let mut whiteouts = self.whiteouts();
        if whiteouts.len() >= MAX_WHITEOUTS {
            return Err(Error::new(ErrorKind::NoSpace, operation, path));
        }
        whiteouts.insert(path.clone());
        Ok(())
    }

    /// Removes an entry that exists: by `remove` where the upper tree has it, and by a whiteout
    /// where a lower one has.
    pub(super) fn remove(
        &self,
        who: &Persona,
        operation: &'static str,
        path: &VirtualPath,
        remove: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let upper = if_found(self.upper().entry_metadata(who, path))?.is_some();
        let below = self.below(who, path)?.is_some();
        if !upper {
            // Whoever may make an entry here may remove one. Dropped, it leaves nothing.
            self.make_parents(who, operation, path)?;
            drop(self.upper().stage(who, path)?);
        }
        if below {
            self.white_out(operation, path)?;
        }
        if !upper {
            return Ok(());
        }
        let removed = remove();
        if below && removed.is_err() {
            self.whiteouts().remove(path);
        }
        removed
    }

    pub(super) fn expect_empty(
        &self,
        who: &Persona,
        operation: &'static str,
        path: &VirtualPath,
    ) -> Result<()> {
        match self.list(who, path, Detail::Names)?.next() {
            Some(Ok(_)) => Err(Error::new(ErrorKind::NotEmpty, operation, path)),
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }

    pub(super) fn move_entry(
        &self,
        who: &Persona,
        from: &VirtualPath,
        to: &VirtualPath,
    ) -> Result<()> {
        const OPERATION: &str = "rename";
        let fail = |kind, path| Err(Error::new(kind, OPERATION, path));
        if from.is_root() || to.is_root() {
            return fail(ErrorKind::Busy, from);
        }
        let moved = self.entry_metadata(who, from)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) {
            return fail(ErrorKind::Invalid, from);
        }
        let below = self.below(who, from)?;
        if moved.kind == Kind::Dir && below.is_some() {
            return fail(ErrorKind::CrossDevice, from);
        }
        let replaced = if_found(self.entry_metadata(who, to))?.map(|metadata| metadata.kind);
        match (moved.kind, replaced) {
            (Kind::Dir, Some(Kind::Dir)) => self.expect_empty(who, OPERATION, to)?,
            (Kind::Dir, Some(_)) => return fail(ErrorKind::NotDirectory, to),
            (_, Some(Kind::Dir)) => return fail(ErrorKind::IsDirectory, to),
            _ => {}
        }
        self.make_parents(who, OPERATION, to)?;
        if let Some(below) = self.only_below(who, from)? {
            self.copy_up(who, OPERATION, from, &below, to)?;
            return self.remove(who, OPERATION, from, || Ok(()));
        }
        if below.is_some() {
            self.white_out(OPERATION, from)?;
        }
        let renamed = self.upper().rename(who, from, to);
        if below.is_some() && renamed.is_err() {
            self.whiteouts().remove(from);
        }
        renamed
    }
}

/// A file staged in the upper tree that minds what is below when it takes its name.
pub(super) struct LayeredStaged {
    tree: LayeredTree,
    who: Persona,
    path: VirtualPath,
    inner: Box<dyn Staged>,
}

impl LayeredStaged {
    pub(super) fn start(
        tree: &LayeredTree,
        who: &Persona,
        path: &VirtualPath,
    ) -> Result<Box<dyn Staged>> {
        refuse_dir(if_found(tree.entry_metadata(who, path))?.as_ref(), "stage", path)?;
        let inner = tree.upper().stage(who, path)?;
        Ok(Box::new(Self { tree: tree.clone(), who: who.clone(), path: path.clone(), inner }))
    }
}

/// A directory below would turn into a file for those who look from above.
fn refuse_dir(found: Option<&Metadata>, operation: &'static str, path: &VirtualPath) -> Result<()> {
    match found {
        Some(found) if found.kind == Kind::Dir => {
            Err(Error::new(ErrorKind::IsDirectory, operation, path))
        }
        _ => Ok(()),
    }
}

impl WriteFile for LayeredStaged {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn size(&self) -> Result<u64> {
        self.inner.size()
    }

    fn sync(&mut self) -> Result<()> {
        self.inner.sync()
    }
}

impl Staged for LayeredStaged {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn commit(self: Box<Self>, how: Commit) -> Result<Metadata> {
        let found = if_found(self.tree.entry_metadata(&self.who, &self.path))?;
        refuse_dir(found.as_ref(), "commit", &self.path)?;
        if found.is_some() && !how.replace {
            return Err(Error::new(ErrorKind::Exists, "commit", &self.path));
        }
        self.inner.commit(how)
    }
}
