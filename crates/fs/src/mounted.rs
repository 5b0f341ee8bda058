//! Mounts trees at places in another tree, also while the server runs.
//!
//! The design choice: a mount point needs no directory beneath it. The tree shows its name, and
//! those of the directories on the way to it, in every listing. The longest mount point that a
//! path begins with decides which tree is asked; a mounted tree sees paths from its own root.
//!
//! Mount points, and the directories on the way to them, can be neither removed nor renamed.
//! Symbolic links are followed inside the tree that they are in. Files that were open when their
//! tree was unmounted stay open. Errors of a file opened for writing name the path within its own
//! tree.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use medusa_core::sys::persona::Persona;

use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{
    Detail, DirEntry, Entries, FileSystem, Freshness, Kind, Metadata, OpenFile, Placement, Staged,
    Stamp, WriteFile,
};

/// How many trees can be mounted in one.
pub const MAX_MOUNTS: usize = 1024;

/// A tree with other trees mounted in it. Cloning gives another handle on the same.
#[derive(Clone)]
pub struct MountedTree {
    base: Arc<dyn FileSystem>,
    mounts: Arc<RwLock<Vec<Mount>>>,
}

#[derive(Clone)]
struct Mount {
    point: VirtualPath,
    tree: Arc<dyn FileSystem>,
}

/// The tree that is responsible for a path, and the path as that tree sees it.
struct Route {
    tree: Arc<dyn FileSystem>,
    point: VirtualPath,
    inner: VirtualPath,
}

impl fmt::Debug for MountedTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedTree").field("mounts", &self.mounts()).finish_non_exhaustive()
    }
}

impl MountedTree {
    /// Takes the tree that answers where nothing is mounted.
    pub fn new(base: Arc<dyn FileSystem>) -> Self {
        Self { base, mounts: Arc::default() }
    }

    /// Mounts `tree` at `point`; whatever the tree beneath has there is covered.
    ///
    /// # Errors
    ///
    /// `Busy` for the root, `Exists` where something is mounted already, `NoSpace` after
    /// [`MAX_MOUNTS`].
    pub fn mount(&self, point: &VirtualPath, tree: Arc<dyn FileSystem>) -> Result<()> {
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        let refused = if point.is_root() {
            Some(ErrorKind::Busy)
        } else if mounts.iter().any(|mount| mount.point == *point) {
            Some(ErrorKind::Exists)
        } else if mounts.len() >= MAX_MOUNTS {
            Some(ErrorKind::NoSpace)
        } else {
            None
        };
        if let Some(kind) = refused {
            return Err(Error::new(kind, "mount", point));
        }
        mounts.push(Mount { point: point.clone(), tree });
        Ok(())
    }

    /// Takes away what is mounted at `point`; tells whether something was.
    pub fn unmount(&self, point: &VirtualPath) -> bool {
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        let before = mounts.len();
        mounts.retain(|mount| mount.point != *point);
        mounts.len() < before
    }

    /// Gives the mount points in the order in which they were mounted.
    pub fn mounts(&self) -> Vec<VirtualPath> {
        self.read().iter().map(|mount| mount.point.clone()).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Mount>> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, path: &VirtualPath) -> Route {
        let mounts = self.read();
        let longest = mounts
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.point)?)))
            .max_by_key(|(mount, _)| mount.point.as_bytes().len());
        match longest {
            Some((mount, inner)) => {
                Route { tree: Arc::clone(&mount.tree), point: mount.point.clone(), inner }
            }
            None => Route {
                tree: Arc::clone(&self.base),
                point: VirtualPath::root(),
                inner: path.clone(),
            },
        }
    }

    /// Gives a mount that lies beneath `path`, if one does.
    fn beneath(&self, path: &VirtualPath) -> Option<Mount> {
        let mounts = self.read();
        mounts.iter().find(|mount| mount.point != *path && mount.point.starts_with(path)).cloned()
    }

    /// Tells whether the tree's shape holds this directory in place.
    fn is_fixed(&self, path: &VirtualPath) -> bool {
        self.read().iter().any(|mount| mount.point.starts_with(path))
    }

    /// Asks the responsible tree, and makes its errors speak of the whole path.
    fn ask<R>(
        &self,
        path: &VirtualPath,
        ask: impl FnOnce(&dyn FileSystem, &VirtualPath) -> Result<R>,
    ) -> Result<R> {
        let route = self.route(path);
        ask(&*route.tree, &route.inner).map_err(|error| error.at(path))
    }

    /// Asks the responsible tree to change what is at `path`, unless it is fixed.
    fn change<R>(
        &self,
        (operation, fixed): (&'static str, ErrorKind),
        path: &VirtualPath,
        ask: impl FnOnce(&dyn FileSystem, &VirtualPath) -> Result<R>,
    ) -> Result<R> {
        if self.is_fixed(path) {
            return Err(Error::new(fixed, operation, path));
        }
        self.ask(path, ask)
    }

    /// Where no tree has `path`, but a mount lies beneath it, there is a directory: about which
    /// the mounted tree's root tells.
    fn or_on_the_way(
        &self,
        who: &Persona,
        path: &VirtualPath,
        answer: Result<Metadata>,
    ) -> Result<Metadata> {
        match answer {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.beneath(path) {
                Some(mount) => {
                    let root = mount.tree.metadata(who, &VirtualPath::root());
                    root.map_err(|error| error.at(path))
                }
                None => Err(error),
            },
            answer => answer,
        }
    }

    /// The same for an open: a directory cannot be opened.
    fn or_is_directory(&self, path: &VirtualPath, answer: Result<OpenFile>) -> Result<OpenFile> {
        match answer {
            Err(error) if error.kind() == ErrorKind::NotFound && self.beneath(path).is_some() => {
                Err(Error::new(ErrorKind::IsDirectory, "open", path))
            }
            answer => answer,
        }
    }
}

impl FileSystem for MountedTree {
    fn is_writable(&self) -> bool {
        self.base.is_writable() || self.read().iter().any(|mount| mount.tree.is_writable())
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        let answer = self.ask(path, |tree, inner| tree.metadata(who, inner));
        self.or_on_the_way(who, path, answer)
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        let answer = self.ask(path, |tree, inner| tree.entry_metadata(who, inner));
        self.or_on_the_way(who, path, answer)
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let answer = self.ask(path, |tree, inner| tree.open(who, inner));
        self.or_is_directory(path, answer)
    }

    fn open_own(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let answer = self.ask(path, |tree, inner| tree.open_own(who, inner));
        self.or_is_directory(path, answer)
    }

    fn open_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        let answer = self.ask(path, |tree, inner| tree.open_now(who, inner));
        self.or_is_directory(path, answer)
    }

    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        let route = self.route(path);
        route.tree.check_now(who, &route.inner, stamp)
    }

    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries> {
        // The next name on the way to each mount beneath.
        let names: BTreeSet<Box<[u8]>> = self
            .read()
            .iter()
            .filter_map(|mount| mount.point.strip_prefix(path)?.components().next().map(Box::from))
            .collect();
        let listed = match self.ask(path, |tree, inner| tree.list(who, inner, detail)) {
            Err(error) if error.kind() == ErrorKind::NotFound && !names.is_empty() => {
                Box::new(std::iter::empty())
            }
            answer => answer?,
        };
        let mounted: Vec<DirEntry> = names
            .iter()
            .map(|name| {
                // A tree that tells this persona nothing of itself still has its name.
                let metadata = || self.metadata(who, &path.child(name).ok()?).ok();
                let metadata = (detail == Detail::Full).then(metadata).flatten();
                DirEntry { name: name.clone(), kind: Kind::Dir, metadata }
            })
            .collect();
        let path = path.clone();
        let listed = listed
            .filter(move |entry| !entry.as_ref().is_ok_and(|entry| names.contains(&entry.name)))
            .map(move |entry| entry.map_err(|error| error.at(&path)));
        Ok(Box::new(mounted.into_iter().map(Ok).chain(listed)))
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>> {
        let fixed = ("stage", ErrorKind::IsDirectory);
        self.change(fixed, path, |tree, inner| tree.stage(who, inner))
    }

    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> Result<Box<dyn WriteFile>> {
        let fixed = ("write", ErrorKind::IsDirectory);
        self.change(fixed, path, |tree, inner| tree.write_open(who, inner, placement))
    }

    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let fixed = ("make directory", ErrorKind::Exists);
        self.change(fixed, path, |tree, inner| tree.make_dir(who, inner))
    }

    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let fixed = ("remove", ErrorKind::IsDirectory);
        self.change(fixed, path, |tree, inner| tree.remove_file(who, inner))
    }

    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let fixed = ("remove directory", ErrorKind::Busy);
        self.change(fixed, path, |tree, inner| tree.remove_dir(who, inner))
    }

    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        if let Some(fixed) = [from, to].into_iter().find(|path| self.is_fixed(path)) {
            return Err(Error::new(ErrorKind::Busy, "rename", fixed));
        }
        let (source, target) = (self.route(from), self.route(to));
        if source.point != target.point {
            return Err(Error::new(ErrorKind::CrossDevice, "rename", from));
        }
        let renamed = source.tree.rename(who, &source.inner, &target.inner);
        renamed.map_err(|error| error.at(from))
    }

    fn set_modified(&self, who: &Persona, path: &VirtualPath, time: SystemTime) -> Result<()> {
        self.ask(path, |tree, inner| tree.set_modified(who, inner, time))
    }

    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> Result<()> {
        self.ask(path, |tree, inner| tree.set_mode(who, inner, mode))
    }
}
