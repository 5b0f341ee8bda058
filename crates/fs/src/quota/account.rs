//! The account of a quota: what is used, what is reserved, and how both are counted.
//!
//! The design choice: a walk counts only if nothing was changed while it went on. So it never
//! sees half of a change, and needs to lock nobody out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use medusa_core::sys::persona::Persona;

use super::Quota;
use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{Detail, FileSystem, Kind, Metadata};

/// Entries that a tree with a quota may have.
pub const MAX_QUOTA_ENTRIES: u64 = 1_000_000;

/// Directories that may wait to be looked into while such a tree is measured.
pub const MAX_QUOTA_DIRS: usize = 100_000;

/// How long what was measured is relied on, at least.
pub const QUOTA_AGE: Duration = Duration::from_secs(60);

/// Walks through a tree that others change, before the last one counts nevertheless.
const MEASURES: usize = 3;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all files, also of those that are being written.
    pub bytes: u64,
    /// Entries of all directories.
    pub files: u64,
}

pub(super) struct Account {
    pub(super) quota: Quota,
    state: Mutex<State>,
    /// Held by whoever makes an entry disappear, or another take its place, so that no two of them
    /// give back the same bytes.
    turns: Mutex<()>,
}

#[derive(Default)]
struct State {
    used: Option<Usage>,
    measured: Option<Instant>,
    is_measuring: bool,
    /// Files that are being written.
    writers: usize,
    /// Counts changes, so that a walk knows whether there were any.
    changes: u64,
}

impl State {
    /// What is used and would be with so much more, if the quota allows it.
    fn with(&self, quota: Quota, bytes: u64, files: u64) -> Option<Usage> {
        let used = self.used?;
        let used = Usage {
            bytes: used.bytes.saturating_add(bytes),
            files: used.files.saturating_add(files),
        };
        let fits = |most: Option<u64>, used| most.is_none_or(|most| used <= most);
        let bytes_fit = bytes == 0 || fits(quota.bytes, used.bytes);
        let files_fit = files == 0 || fits(quota.files, used.files);
        (bytes_fit && files_fit).then_some(used)
    }
}

/// Bytes that an entry counts for.
pub(super) fn bytes_of(metadata: &Metadata) -> u64 {
    if metadata.kind == Kind::File { metadata.size } else { 0 }
}

impl Account {
    pub(super) fn new(quota: Quota) -> Self {
        Self { quota, state: Mutex::default(), turns: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.state().used
    }

    /// Whether there is room for a byte.
    pub(super) fn has_room(&self) -> bool {
        self.state().with(self.quota, 1, 0).is_some()
    }

    /// Begins to write something that needs so many entries.
    pub(super) fn begin(&self, entries: u64) -> bool {
        let mut state = self.state();
        let Some(used) = state.with(self.quota, 0, entries) else { return false };
        state.used = Some(used);
        state.writers += 1;
        state.changes += 1;
        true
    }

    /// Ends it, and gives back what is not needed.
    pub(super) fn end(&self, bytes: u64, entries: u64) {
        self.release(bytes, entries);
        self.state().writers -= 1;
    }

    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let mut state = self.state();
        let used = state.with(self.quota, bytes, 0);
        state.used = used.or(state.used);
        used.is_some()
    }

    pub(super) fn reserve_entry(&self) -> bool {
        let mut state = self.state();
        let used = state.with(self.quota, 0, 1);
        state.used = used.or(state.used);
        used.is_some()
    }

    pub(super) fn release(&self, bytes: u64, entries: u64) {
        let mut state = self.state();
        state.changes += 1;
        if let Some(used) = &mut state.used {
            used.bytes = used.bytes.saturating_sub(bytes);
            used.files = used.files.saturating_sub(entries);
        }
    }

    /// An entry that was there, or nothing, has gone.
    pub(super) fn gone(&self, gone: Option<&Metadata>) {
        match gone {
            Some(gone) => self.release(bytes_of(gone), 1),
            None => self.changed(),
        }
    }

    pub(super) fn changed(&self) {
        self.state().changes += 1;
    }

    /// Counts what a tree holds, unless what is known is young enough; blocks.
    pub(super) fn measure(&self, tree: &dyn FileSystem, who: &Persona) -> Result<Usage> {
        for attempt in 1.. {
            let changes = {
                let mut state = self.state();
                let is_young = state.measured.is_some_and(|at| at.elapsed() < QUOTA_AGE);
                match state.used {
                    Some(used) if is_young || state.is_measuring || state.writers > 0 => {
                        return Ok(used);
                    }
                    None if state.is_measuring => {
                        return Err(Error::new(
                            ErrorKind::Exhausted,
                            "measure",
                            &VirtualPath::root(),
                        ));
                    }
                    _ => {}
                }
                state.is_measuring = true;
                state.changes
            };
            let measuring = Measuring(self);
            let found = walk(tree, who);
            drop(measuring);
            let found = found?;
            let mut state = self.state();
            match state.used {
                // It has been kept up, which the walk has not.
                Some(used) if state.changes != changes => return Ok(used),
                None if state.changes != changes && attempt < MEASURES => {}
                _ => {
                    state.used = Some(found);
                    state.measured = Some(Instant::now());
                    return Ok(found);
                }
            }
        }
        unreachable!("the last walk counts")
    }
}

/// Somebody measures; also when that panics it has an end.
struct Measuring<'a>(&'a Account);

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.0.state().is_measuring = false;
    }
}

/// Counts all entries of a tree.
fn walk(tree: &dyn FileSystem, who: &Persona) -> Result<Usage> {
    let full = |path| Error::new(ErrorKind::NoSpace, "measure", path);
    let (mut used, mut pending) = (Usage::default(), vec![VirtualPath::root()]);
    while let Some(directory) = pending.pop() {
        let entries = match tree.list(who, &directory, Detail::Full) {
            // It has gone meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound && !directory.is_root() => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            used.files += 1;
            used.bytes = used.bytes.saturating_add(entry.metadata.as_ref().map_or(0, bytes_of));
            if used.files > MAX_QUOTA_ENTRIES || pending.len() >= MAX_QUOTA_DIRS {
                return Err(full(&directory));
            }
            if entry.kind == Kind::Dir
                && let Ok(path) = directory.child(&entry.name)
            {
                pending.push(path);
            }
        }
    }
    Ok(used)
}
