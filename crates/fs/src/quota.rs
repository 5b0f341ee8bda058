//! Holds a tree to so many bytes and files.
//!
//! The design choice: what is used is counted once, by a walk, and then kept up by whatever goes
//! through this tree. What is written is reserved before it is written, so that the limit is never
//! passed, however many write at once; what is staged counts from its first byte.

mod account;

use std::sync::Arc;
use std::time::SystemTime;

use medusa_core::sys::persona::Persona;

use self::account::{Account, bytes_of};
pub use self::account::{MAX_QUOTA_DIRS, MAX_QUOTA_ENTRIES, QUOTA_AGE, Usage};
use crate::error::{Error, ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{
    Commit, Detail, Entries, FileSystem, Freshness, Metadata, OpenFile, Placement, Staged, Stamp,
    WriteFile,
};

/// What a tree may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all files; `None` is any number.
    pub bytes: Option<u64>,
    /// Entries of all directories: files, directories, links.
    pub files: Option<u64>,
}

/// A tree that holds no more than a quota. Clones are the same tree.
///
/// Counted is what the tree inside shows. What is changed past this one is noticed when it is
/// measured again; so is what was written to a file, under its name, that was removed meanwhile,
/// which counts until then.
#[derive(Clone)]
pub struct QuotaTree {
    inner: Arc<dyn FileSystem>,
    account: Arc<Account>,
}

impl QuotaTree {
    /// Holds `inner` to a quota. Nothing is counted before it is asked for, or something is
    /// written.
    pub fn new(inner: Arc<dyn FileSystem>, quota: Quota) -> Self {
        Self { inner, account: Arc::new(Account::new(quota)) }
    }

    /// What the tree may hold.
    pub fn quota(&self) -> Quota {
        self.account.quota
    }

    /// What it holds, if that has been counted. Does not block.
    pub fn usage(&self) -> Option<Usage> {
        self.account.usage()
    }

    /// Counts what the tree holds, unless that was done less than [`QUOTA_AGE`] ago; blocks. Who
    /// comes while somebody else counts gets what is known, or `Exhausted`.
    ///
    /// # Errors
    ///
    /// `NoSpace` for a tree of more than [`MAX_QUOTA_ENTRIES`] entries, or with more than
    /// [`MAX_QUOTA_DIRS`] directories still to be looked into; and whatever a listing fails with:
    /// what a persona may not look into could hold anything. What was known before stays.
    pub fn measure(&self, who: &Persona) -> Result<Usage> {
        self.account.measure(&*self.inner, who)
    }

    /// Makes sure that there is an account to write to.
    fn begin(&self, who: &Persona) -> Result<()> {
        if self.usage().is_none() { self.measure(who).map(drop) } else { Ok(()) }
    }

    /// Begins to hold what a file needs; there must be room for a byte.
    fn hold(&self, is_new: bool, operation: &'static str, path: &VirtualPath) -> Result<Held> {
        let held = Held::new(&self.account, u64::from(is_new));
        held.filter(|held| held.account.has_room()).ok_or_else(|| over(operation, path))
    }
}

/// What is known of an entry that is about to go.
fn found(inner: &dyn FileSystem, who: &Persona, path: &VirtualPath) -> Option<Metadata> {
    inner.entry_metadata(who, path).ok()
}

fn over(operation: &'static str, path: &VirtualPath) -> Error {
    Error::new(ErrorKind::OverQuota, operation, path)
}

impl FileSystem for QuotaTree {
    fn is_writable(&self) -> bool {
        self.inner.is_writable()
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.inner.metadata(who, path)
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> Result<Metadata> {
        self.inner.entry_metadata(who, path)
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.inner.open(who, path)
    }

    fn open_own(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.inner.open_own(who, path)
    }

    fn open_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.inner.open_now(who, path)
    }

    fn open_own_now(&self, who: &Persona, path: &VirtualPath) -> Result<OpenFile> {
        self.inner.open_own_now(who, path)
    }

    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        self.inner.check_now(who, path, stamp)
    }

    fn open_to_watch(
        &self,
        who: &Persona,
        path: &VirtualPath,
        stamp: &Stamp,
    ) -> Option<std::fs::File> {
        self.inner.open_to_watch(who, path, stamp)
    }

    fn list(&self, who: &Persona, path: &VirtualPath, detail: Detail) -> Result<Entries> {
        self.inner.list(who, path, detail)
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> Result<Box<dyn Staged>> {
        self.begin(who)?;
        // A file that is replaced makes room for its successor's entry, but not for its bytes:
        // until one takes the place of the other, the disk holds both.
        let is_new = found(&*self.inner, who, path).is_none();
        let held = self.hold(is_new, "stage", path)?;
        let file = self.inner.stage(who, path)?;
        Ok(Box::new(QuotaStaged {
            tree: self.clone(),
            who: who.clone(),
            path: path.clone(),
            file,
            held,
            written: 0,
            end: 0,
        }))
    }

    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> Result<Box<dyn WriteFile>> {
        self.begin(who)?;
        let _turn = self.account.turn();
        let is_new = self.inner.metadata(who, path).is_err();
        let mut held = self.hold(is_new, "write", path)?;
        let file = self.inner.write_open(who, path, placement)?;
        // The file is there, whatever becomes of what is written.
        held.keep();
        let size = file.size()?;
        let at = match placement {
            Placement::Append => size,
            Placement::At(offset) => offset,
        };
        Ok(Box::new(QuotaFile { path: path.clone(), file, held, at, end: size }))
    }

    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        self.begin(who)?;
        let mut held = Held::new(&self.account, 1).ok_or_else(|| over("make", path))?;
        self.inner.make_dir(who, path)?;
        held.keep();
        Ok(())
    }

    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let _turn = self.account.turn();
        let gone = found(&*self.inner, who, path);
        self.inner.remove_file(who, path)?;
        self.account.gone(gone.as_ref());
        Ok(())
    }

    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> Result<()> {
        let _turn = self.account.turn();
        let gone = found(&*self.inner, who, path);
        self.inner.remove_dir(who, path)?;
        self.account.gone(gone.as_ref());
        Ok(())
    }

    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> Result<()> {
        let _turn = self.account.turn();
        let moved = found(&*self.inner, who, from);
        let gone = found(&*self.inner, who, to);
        self.inner.rename(who, from, to)?;
        let file = |metadata: &Metadata| (metadata.stamp.dev, metadata.stamp.ino);
        // Two names of one file stay as they are.
        if gone.as_ref().map(file) == moved.as_ref().map(file) {
            self.account.changed();
        } else {
            self.account.gone(gone.as_ref());
        }
        Ok(())
    }

    fn set_modified(&self, who: &Persona, path: &VirtualPath, time: SystemTime) -> Result<()> {
        self.inner.set_modified(who, path, time)
    }

    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> Result<()> {
        self.inner.set_mode(who, path, mode)
    }
}

/// What was reserved for a file; given back when this is dropped, but for what is kept.
struct Held {
    account: Arc<Account>,
    bytes: u64,
    entries: u64,
}

impl Held {
    /// Begins to hold so many entries, if there is room for them.
    fn new(account: &Arc<Account>, entries: u64) -> Option<Self> {
        account.begin(entries).then(|| Self { account: account.clone(), bytes: 0, entries })
    }

    /// Holds so many bytes more, if there is room for them.
    fn add(&mut self, bytes: u64) -> bool {
        let there = self.account.reserve(bytes);
        if there {
            self.bytes += bytes;
        }
        there
    }

    /// Holds an entry more, if there is room for one.
    fn add_entry(&mut self) -> bool {
        let there = self.account.reserve_entry();
        self.entries += u64::from(there);
        there
    }

    /// Holds so many bytes less.
    fn remove(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.release(bytes, 0);
    }

    /// What is held is there now.
    fn keep(&mut self) {
        (self.bytes, self.entries) = (0, 0);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.end(self.bytes, self.entries);
    }
}

/// By how much a file grows that ends at `end`. Nothing, written behind it, makes no gap.
fn grows(at: u64, bytes: u64, end: u64) -> u64 {
    if bytes == 0 { 0 } else { at.saturating_add(bytes).saturating_sub(end) }
}

/// Writes where the account allows it: bytes `at` and behind, of which those past `end` are new.
fn write(
    file: &mut dyn WriteFile,
    held: &mut Held,
    path: &VirtualPath,
    (at, end): (u64, &mut u64),
    bytes: u64,
    put: impl FnOnce(&mut dyn WriteFile) -> Result<()>,
) -> Result<()> {
    let new = grows(at, bytes, *end);
    if !held.add(new) {
        return Err(over("write", path));
    }
    let written = put(file);
    *end += new;
    if written.is_err() {
        // Some of it may be there: as much as the file says.
        if let Ok(size) = file.size() {
            let missing = end.saturating_sub(size).min(new);
            held.remove(missing);
            *end -= missing;
        }
    }
    written
}

/// A file in its place that is written to.
struct QuotaFile {
    path: VirtualPath,
    file: Box<dyn WriteFile>,
    held: Held,
    at: u64,
    end: u64,
}

impl WriteFile for QuotaFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { path, file, held, at, end } = self;
        let n = bytes.len() as u64;
        let written = write(&mut **file, held, path, (*at, end), n, |file| file.write(bytes));
        *at = at.saturating_add(n);
        // It stands under its name already.
        held.keep();
        written
    }

    fn size(&self) -> Result<u64> {
        self.file.size()
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

/// A file that is staged; dropped, it gives back what it holds.
struct QuotaStaged {
    tree: QuotaTree,
    who: Persona,
    path: VirtualPath,
    // Goes before what is held for it.
    file: Box<dyn Staged>,
    held: Held,
    /// Bytes written one behind the other.
    written: u64,
    end: u64,
}

impl WriteFile for QuotaStaged {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { path, file, held, written, end, .. } = self;
        let n = bytes.len() as u64;
        let file: &mut dyn WriteFile = &mut **file;
        write(file, held, path, (*written, end), n, |file| file.write(bytes))?;
        *written += n;
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        self.file.size()
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

impl Staged for QuotaStaged {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let new = grows(offset, bytes.len() as u64, self.end);
        if !self.held.add(new) {
            return Err(over("write", &self.path));
        }
        self.end += new;
        self.file.write_at(offset, bytes)
    }

    fn commit(mut self: Box<Self>, how: Commit) -> Result<Metadata> {
        if how.durable {
            // The slow part of it, before the others have to wait.
            self.file.sync()?;
        }
        let Self { tree, who, path, file, mut held, .. } = *self;
        let _turn = tree.account.turn();
        let gone = found(&*tree.inner, &who, &path);
        // What was there when this was staged may have gone, or something may have come.
        if gone.is_none() && held.entries == 0 && !held.add_entry() {
            return Err(over("commit", &path));
        }
        let metadata = file.commit(how)?;
        if let Some(gone) = gone {
            tree.account.release(bytes_of(&gone), held.entries);
        }
        held.keep();
        Ok(metadata)
    }
}
