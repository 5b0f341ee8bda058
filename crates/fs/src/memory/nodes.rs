//! Holds the nodes of a tree in memory and counts what they take.
//!
//! The design choice: these methods keep the table whole (every name leads to a node, every node
//! but the root has one name, the bytes are counted) and decide nothing; who may do what to which
//! path is the tree's part.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::tree::{DIR_MODE, Kind, Metadata, Stamp};

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;

/// What an entry counts besides its content, in bytes: about what its node and name take.
const NODE_COST: u64 = 256;

pub(super) enum Body {
    File(Bytes),
    Dir(BTreeMap<Box<[u8]>, u64>),
}

impl Body {
    pub(super) fn directory() -> Self {
        Self::Dir(BTreeMap::new())
    }

    fn size(&self) -> u64 {
        match self {
            Self::File(content) => content.len() as u64,
            Self::Dir(_) => 0,
        }
    }
}

pub(super) struct Node {
    pub(super) body: Body,
    mode: u32,
    uid: u32,
    gid: u32,
    modified: SystemTime,
    /// The tree's count of changes when this was last changed.
    changed: i64,
}

impl Node {
    pub(super) fn metadata(&self, ino: u64, dev: u64) -> Metadata {
        let (kind, nlink) = match self.body {
            Body::File(_) => (Kind::File, 1),
            Body::Dir(_) => (Kind::Dir, 2),
        };
        let size = self.body.size();
        let modified_ns = match self.modified.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        };
        Metadata {
            kind,
            size,
            modified: self.modified,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            nlink,
            stamp: Stamp { dev, ino, size, modified_ns, changed_ns: self.changed },
        }
    }
}

pub(super) struct Nodes {
    table: HashMap<u64, Node>,
    last: u64,
    changes: i64,
    used: u64,
    capacity: u64,
}

impl Nodes {
    pub(super) fn new(capacity: u64, now: SystemTime) -> Self {
        let root = Node {
            body: Body::directory(),
            mode: DIR_MODE,
            uid: 0,
            gid: 0,
            modified: now,
            changed: 0,
        };
        Self { table: HashMap::from([(ROOT, root)]), last: ROOT, changes: 0, used: 0, capacity }
    }

    pub(super) fn get(&self, node: u64) -> Option<&Node> {
        self.table.get(&node)
    }

    /// Counts bytes that are about to be held; tells whether they fit.
    pub(super) fn reserve(&mut self, bytes: u64) -> bool {
        let used = self.used.checked_add(bytes).filter(|&used| used <= self.capacity);
        self.used = used.unwrap_or(self.used);
        used.is_some()
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    /// Adds an entry, in the place of one that is there. Nothing where it does not fit, or the
    /// directory is gone.
    pub(super) fn add(
        &mut self,
        directory: u64,
        name: &[u8],
        body: Body,
        (mode, uid, gid): (u32, u32, u32),
        now: SystemTime,
    ) -> Option<u64> {
        if !matches!(self.get(directory)?.body, Body::Dir(_))
            || !self.reserve(NODE_COST + body.size())
        {
            return None;
        }
        self.remove(directory, name, now);
        self.last += 1;
        let node = self.last;
        self.changes += 1;
        let changed = self.changes;
        self.table.insert(node, Node { body, mode, uid, gid, modified: now, changed });
        self.link(directory, name, node, now);
        Some(node)
    }

    /// Removes an entry, if it is there.
    pub(super) fn remove(&mut self, directory: u64, name: &[u8], now: SystemTime) {
        let node = self.unlink(directory, name, now);
        if let Some(node) = node.and_then(|node| self.table.remove(&node)) {
            self.release(NODE_COST + node.body.size());
        }
    }

    /// Moves an entry, over one that is there.
    pub(super) fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8]), now: SystemTime) {
        if let Some(node) = self.unlink(from.0, from.1, now) {
            self.remove(to.0, to.1, now);
            self.link(to.0, to.1, node, now);
            self.touch(node, None);
        }
    }

    /// Notes a change of the attributes, and of the content where a time is given.
    pub(super) fn touch(&mut self, node: u64, modified: Option<SystemTime>) {
        self.changes += 1;
        if let Some(node) = self.table.get_mut(&node) {
            node.changed = self.changes;
            node.modified = modified.unwrap_or(node.modified);
        }
    }

    pub(super) fn set_mode(&mut self, node: u64, mode: u32) {
        self.touch(node, None);
        if let Some(node) = self.table.get_mut(&node) {
            node.mode = mode;
        }
    }

    /// Gives the content of a file to be changed; nothing where it is gone.
    pub(super) fn content(&mut self, node: u64) -> Option<&mut Bytes> {
        match &mut self.table.get_mut(&node)?.body {
            Body::File(content) => Some(content),
            Body::Dir(_) => None,
        }
    }

    fn link(&mut self, directory: u64, name: &[u8], node: u64, now: SystemTime) {
        if let Some(Node { body: Body::Dir(names), .. }) = self.table.get_mut(&directory) {
            names.insert(name.into(), node);
            self.touch(directory, Some(now));
        }
    }

    fn unlink(&mut self, directory: u64, name: &[u8], now: SystemTime) -> Option<u64> {
        let Body::Dir(names) = &mut self.table.get_mut(&directory)?.body else { return None };
        let node = names.remove(name)?;
        self.touch(directory, Some(now));
        Some(node)
    }
}
