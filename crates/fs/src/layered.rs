//! Lays trees over each other: one upper tree, which takes the writes, over lower ones, which
//! are only read.
//!
//! The design choice: what is written goes to the upper tree as what it is, and what is deleted
//! below is remembered here, in memory, as a *whiteout*. So neither tree ever holds a marker that
//! another reader would take for a file. The price: when the server starts again, lower entries
//! that were deleted are back. A layer that must remember deletions wants a lower tree that is
//! copied, not covered.
//!
//! The rules:
//! - A path is looked up from the top down; the first tree that has it answers. A whiteout hides
//!   a path, and all beneath it, in the lower trees.
//! - A listing merges the trees; of entries with one name the uppermost counts.
//! - A file that is only below is copied up before it is written in place, given another name, or
//!   other attributes. A directory that is only below, or in both, cannot be renamed
//!   (`CrossDevice`, as between file systems: clients then copy).
//! - Deleting what is only below needs the right to create an entry at that place in the upper
//!   tree.
//! - A path that leads through a file of a lower tree is `NotFound`, not `NotDirectory`.
//! - A symbolic link is followed inside the tree that it is in.

mod merge;
mod write;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use medusa_core::sys::persona::Persona;

use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{
    Detail, Entries, FileSystem, Freshness, Kind, Metadata, OpenFile, Placement, Staged, Stamp,
    WriteFile,
};

/// How many deleted entries of lower trees a layered tree remembers; deleting more fails with
/// `NoSpace`.
pub const MAX_WHITEOUTS: usize = 65_536;

/// Trees over each other. Cloning gives another handle on the same.
#[derive(Clone)]
pub struct LayeredTree {
    shared: Arc<Shared>,
}

struct Shared {
    upper: Arc<dyn FileSystem>,
    lower: Vec<Arc<dyn FileSystem>>,
    /// Paths that are hidden in every lower tree, with all beneath them.
    whiteouts: Mutex<HashSet<VirtualPath>>,
}

impl fmt::Debug for LayeredTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredTree")
            .field("lower", &self.shared.lower.len())
            .field("whiteouts", &self.whiteouts().len())
            .finish_non_exhaustive()
    }
}

impl LayeredTree {
    /// Lays `upper` over the `lower` trees, of which the first is the uppermost.
    pub fn new(upper: Arc<dyn FileSystem>, lower: Vec<Arc<dyn FileSystem>>) -> Self {
        Self { shared: Arc::new(Shared { upper, lower, whiteouts: Mutex::default() }) }
    }

    fn upper(&self) -> &dyn FileSystem {
        &*self.shared.upper
    }

    fn whiteouts(&self) -> MutexGuard<'_, HashSet<VirtualPath>> {
        // The set is whole between any two of its calls.
        self.shared.whiteouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trees in which `path` is looked up, from the top down.
    fn layers(&self, path: &VirtualPath) -> impl Iterator<Item = &dyn FileSystem> {
        let lower = if self.is_whited_out(path) { &[] } else { &self.shared.lower[..] };
        std::iter::once(self.upper()).chain(lower.iter().map(|tree| &**tree))
    }

    fn is_whited_out(&self, path: &VirtualPath) -> bool {
        let whiteouts = self.whiteouts();
        if whiteouts.is_empty() {
            return false;
        }
        let bytes = path.as_bytes();
        let mut ends = (1..=bytes.len()).filter(|&end| end == bytes.len() || bytes[end] == b'/');
        ends.any(|end| whiteouts.contains(&bytes[..end]))
    }

    /// Asks one tree after the other until one has the path.
    fn look_up<R>(
        &self,
        operation: &'static str,
        path: &VirtualPath,
        ask: impl Fn(&dyn FileSystem) -> Result<R>,
    ) -> Result<R> {
        for (depth, layer) in self.layers(path).enumerate() {
            match ask(layer) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A file below, beneath which there is nothing, and which may be covered by a
                // directory further up, in which there could be: so that is "not found" as well.
                Err(error) if error.kind() == ErrorKind::NotDirectory && depth > 0 => break,
                answer => return answer,
            }
        }
        Err(Error::new(ErrorKind::NotFound, operation, path))
    }
}

/// Makes "not found" an answer.
fn if_found<R>(answer: Result<R>) -> Result<Option<R>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

impl FileSystem for LayeredTree {
    fn is_writable(&self) -> bool {
        self.upper().is_writable()
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.look_up("stat", path, |tree| tree.metadata(who, path))
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.look_up("stat", path, |tree| tree.entry_metadata(who, path))
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.look_up("open", path, |tree| tree.open(who, path))
    }

    fn open_own(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.look_up("open", path, |tree| tree.open_own(who, path))
    }

    fn open_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.look_up("open", path, |tree| tree.open_now(who, path))
    }

    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        let answers = self.layers(path).map(|tree| tree.check_now(who, path, stamp));
        answers.into_iter().find(|&answer| answer != Freshness::Absent).unwrap_or(Freshness::Absent)
    }

    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries> {
        merge::list(self, who, path, detail)
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>> {
        self.make_parents(who, "stage", path)?;
        write::LayeredStaged::start(self, who, path)
    }

    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> Result<Box<dyn WriteFile>> {
        self.make_parents(who, "write", path)?;
        if let Some(below) = self.only_below(who, path)? {
            self.copy_up(who, "write", path, &below, path)?;
        }
        self.upper().write_open(who, path, placement)
    }

    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        if if_found(self.entry_metadata(who, path))?.is_some() {
            return Err(Error::new(ErrorKind::Exists, "make directory", path));
        }
        self.make_parents(who, "make directory", path)?;
        self.upper().make_dir(who, path)
    }

    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        if self.entry_metadata(who, path)?.kind == Kind::Dir {
            return Err(Error::new(ErrorKind::IsDirectory, "remove", path));
        }
        self.remove(who, "remove", path, || self.upper().remove_file(who, path))
    }

    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        if path.is_root() {
            return Err(Error::new(ErrorKind::Busy, "remove directory", path));
        }
        if self.entry_metadata(who, path)?.kind != Kind::Dir {
            return Err(Error::new(ErrorKind::NotDirectory, "remove directory", path));
        }
        self.expect_empty(who, "remove directory", path)?;
        self.remove(who, "remove directory", path, || self.upper().remove_dir(who, path))?;
        // The whiteout of the directory stands for all that were beneath it.
        if self.is_whited_out(path) {
            self.whiteouts().retain(|other| other == path || !other.starts_with(path));
        }
        Ok(())
    }

    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        self.move_entry(who, from, to)
    }

    fn set_modified(&self, who: &Persona, path: &VirtualPath, time: SystemTime) -> Result<()> {
        self.bring_up(who, "set time", path)?;
        self.upper().set_modified(who, path, time)
    }

    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> Result<()> {
        self.bring_up(who, "set mode", path)?;
        self.upper().set_mode(who, path, mode)
    }
}
