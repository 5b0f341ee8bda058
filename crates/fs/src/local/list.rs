//! Reads a directory of the machine step by step.
//!
//! The design choice: a persona is taken on for a batch of entries, not for each, which keeps the
//! switching out of the cost of huge directories and the memory of a listing bounded.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use medusa_core::sys::persona::Persona;
use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::{Task, kind_of, metadata_of};
use crate::error::{Error, Result};
use crate::path::VirtualPath;
use crate::tree::{Detail, DirEntry, TreeOptions};

/// How many entries are read under one switch of identity.
const BATCH_ENTRIES: usize = 128;

/// An open directory and what has been read of it ahead.
pub(super) struct Listing {
    who: Persona,
    path: VirtualPath,
    /// Nothing after the end or an error.
    dir: Option<Dir>,
    options: TreeOptions,
    detail: Detail,
    ahead: VecDeque<DirEntry>,
    failed: Option<Error>,
}

impl Listing {
    pub(super) fn new(
        task: Task<'_>,
        opened: OwnedFd,
        options: TreeOptions,
        detail: Detail,
    ) -> Result<Self> {
        Ok(Self {
            who: task.who.clone(),
            path: task.path.clone(),
            dir: Some(Dir::new(opened).map_err(|error| task.error(error))?),
            options,
            detail,
            ahead: VecDeque::new(),
            failed: None,
        })
    }

    fn read_batch(&mut self) {
        let Some(mut dir) = self.dir.take() else { return };
        let Self { who, path, options, detail, ahead, .. } = self;
        let task = Task { who, operation: "list", path };
        let more = task.run(|| {
            while ahead.len() < BATCH_ENTRIES {
                let Some(read) = dir.read() else { return Ok(false) };
                let entry = read.and_then(|read| look_at(&dir, &read, *options, *detail));
                ahead.extend(entry.map_err(|error| task.error(error))?);
            }
            Ok(true)
        });
        match more {
            Ok(true) => self.dir = Some(dir),
            Ok(false) => {}
            Err(error) => self.failed = Some(error),
        }
    }
}

/// Makes an entry of what the directory gave; nothing for one that is not listed.
fn look_at(
    dir: &Dir,
    read: &rustix::fs::DirEntry,
    options: TreeOptions,
    detail: Detail,
) -> std::result::Result<Option<DirEntry>, Errno> {
    let name = read.file_name().to_bytes();
    if matches!(name, b"." | b"..") || !options.lists(name) {
        return Ok(None);
    }
    let known = read.file_type();
    if detail == Detail::Names && known != FileType::Unknown {
        return Ok(Some(DirEntry { name: name.into(), kind: kind_of(known), metadata: None }));
    }
    match statat(dir.fd()?, read.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let metadata = metadata_of(&stat);
            let kind = metadata.kind;
            let metadata = (detail == Detail::Full).then_some(metadata);
            Ok(Some(DirEntry { name: name.into(), kind, metadata }))
        }
        // Removed since its name was read.
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Iterator for Listing {
    type Item = Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() {
            self.read_batch();
        }
        // What was read before an error is told before it.
        self.ahead.pop_front().map(Ok).or_else(|| self.failed.take().map(Err))
    }
}
