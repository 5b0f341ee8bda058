//! Writes files in memory: in place, or staged beside the tree.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use medusa_core::sys::persona::Persona;

use super::{Shared, Task};
use crate::error::{ErrorKind, Result};
use crate::path::VirtualPath;
use crate::tree::{Commit, Metadata, Placement, Staged, WriteFile};

/// A file of the tree open for writing. Once it is removed, writing fails.
pub(super) struct MemoryFile {
    shared: Arc<Shared>,
    who: Persona,
    path: VirtualPath,
    node: u64,
    /// Where the next write goes; at the end where nothing is said.
    position: Option<u64>,
}

impl MemoryFile {
    pub(super) fn new(
        shared: &Arc<Shared>,
        who: &Persona,
        path: &VirtualPath,
        node: u64,
        placement: Placement,
    ) -> Self {
        let position = match placement {
            Placement::Append => None,
            Placement::At(offset) => Some(offset),
        };
        Self { shared: Arc::clone(shared), who: who.clone(), path: path.clone(), node, position }
    }
}

impl WriteFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // As on a disk, nothing makes no gap.
        if bytes.is_empty() {
            return Ok(());
        }
        let mut task = Task::new(&self.shared, &self.who, "write", &self.path);
        let Some(old) = task.nodes.content(self.node).map(|content| content.len()) else {
            return task.fail(ErrorKind::NotFound);
        };
        let offset = self.position.unwrap_or(old as u64);
        let end = grow(&mut task, old, offset, bytes.len())?;
        if let Some(content) = task.nodes.content(self.node) {
            // Copies only while somebody still holds what was opened before.
            let mut changed = std::mem::take(content)
                .try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            changed.resize(end.max(old), 0);
            changed[end - bytes.len()..end].copy_from_slice(bytes);
            *content = changed.freeze();
        }
        let now = (self.shared.clock)();
        task.nodes.touch(self.node, Some(now));
        self.position = self.position.map(|_| end as u64);
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        let task = Task::new(&self.shared, &self.who, "stat", &self.path);
        Ok(task.metadata(self.node)?.size)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Counts what a write makes a file of `old` bytes grow by, and tells where the write ends.
fn grow(task: &mut Task<'_>, old: usize, offset: u64, bytes: usize) -> Result<usize> {
    let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(bytes));
    match end {
        Some(end) if task.nodes.reserve(end.saturating_sub(old) as u64) => Ok(end),
        _ => task.fail(ErrorKind::NoSpace),
    }
}

/// A file that is not in the tree yet.
pub(super) struct MemoryStaged {
    shared: Arc<Shared>,
    who: Persona,
    path: VirtualPath,
    directory: u64,
    /// Counted as held by the tree.
    content: Vec<u8>,
    position: u64,
}

impl MemoryStaged {
    pub(super) fn new(
        shared: &Arc<Shared>,
        who: &Persona,
        path: &VirtualPath,
        directory: u64,
    ) -> Self {
        let (shared, who, path) = (Arc::clone(shared), who.clone(), path.clone());
        Self { shared, who, path, directory, content: Vec::new(), position: 0 }
    }
}

impl WriteFile for MemoryStaged {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_at(self.position, bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.content.len() as u64)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Staged for MemoryStaged {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut task = Task::new(&self.shared, &self.who, "write", &self.path);
        let old = self.content.len();
        let end = grow(&mut task, old, offset, bytes.len())?;
        drop(task);
        self.content.resize(end.max(old), 0);
        self.content[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }

    fn commit(mut self: Box<Self>, how: Commit) -> Result<Metadata> {
        let content = Bytes::from(std::mem::take(&mut self.content));
        let mut task = Task::new(&self.shared, &self.who, "commit", &self.path);
        // From here it is counted as part of the tree, or not at all.
        task.nodes.release(content.len() as u64);
        let node = task.put_file(self.directory, content, how.replace)?;
        task.metadata(node)
    }
}

impl Drop for MemoryStaged {
    fn drop(&mut self) {
        if !self.content.is_empty() {
            let mut task = Task::new(&self.shared, &self.who, "drop", &self.path);
            task.nodes.release(self.content.len() as u64);
        }
    }
}
