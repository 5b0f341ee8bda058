//! Small files in memory, by the path as clients write it.
//!
//! The one design choice: two generations. What is used moves to the young one; when that has
//! half of the room, it becomes the old one and what was old is forgotten. So what is asked for
//! stays, what is not goes, and no list is kept in order.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::files::resource::Resource;
use crate::files::watch::Watch;
use crate::limits::{NEIGHBOURS_LAST, WATCH_LASTS};

pub(crate) struct Cache {
    young: Generation,
    old: Generation,
    /// Bytes in the young generation.
    weight: usize,
    /// Bytes that one generation may have.
    room: usize,
}

/// Peers choose the keys, but only those of files that exist are kept: a seeded hash that is
/// quick is enough.
type Generation = HashMap<Box<[u8]>, Kept, RandomState>;

/// A file in memory.
pub(crate) struct Kept {
    pub(crate) resource: Rc<Resource>,
    /// The turn in which it was last known to be the same as the file.
    checked: Instant,
    /// When it was last looked at; none is never since it is kept.
    looked: Option<Instant>,
    /// When neighbours that are not there were last looked for.
    sought: Instant,
    /// The system says when any of its files has changed.
    watches: Option<Box<[Rc<Watch>]>>,
}

impl Kept {
    /// Whether it is still what stands at its path. `look` looks there, which is done once a turn,
    /// or less often while the system is silent about a watched file. It is told whether to look
    /// for neighbours that were not there too.
    pub(crate) fn is_same(
        &mut self,
        turn: Instant,
        look: impl FnOnce(&Resource, bool) -> bool,
    ) -> bool {
        if self.checked == turn && self.looked.is_some() {
            return true;
        }
        self.checked = turn;
        if let Some(watches) = &self.watches {
            let recent = self.looked.is_some_and(|looked| turn - looked < WATCH_LASTS);
            if recent && watches.iter().all(|watch| watch.is_quiet()) {
                return true;
            }
        }
        self.looked = Some(turn);
        let thorough = turn - self.sought >= NEIGHBOURS_LAST;
        if thorough {
            self.sought = turn;
        }
        look(&self.resource, thorough)
    }
}

impl Cache {
    /// Makes a cache of at most `bytes`; 0 keeps nothing.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            weight: 0,
            room: bytes / 2,
        }
    }

    /// Finds what is kept for a path, if `is_same` says that the file has not changed.
    pub(crate) fn look_up(
        &mut self,
        path: &[u8],
        is_same: impl FnOnce(&mut Kept) -> bool,
    ) -> Option<Rc<Resource>> {
        if let Some(kept) = self.young.get_mut(path) {
            if is_same(kept) {
                return Some(kept.resource.clone());
            }
            if let Some(kept) = self.young.remove(path) {
                self.weight -= weight(path, &kept.resource);
            }
            return None;
        }
        let (path, mut kept) = self.old.remove_entry(path)?;
        if !is_same(&mut kept) {
            return None;
        }
        let resource = kept.resource.clone();
        self.insert(path, kept);
        Some(resource)
    }

    /// Keeps files that were opened in the turn `checked`, and are watched from then on.
    pub(crate) fn keep(
        &mut self,
        path: &[u8],
        resource: Rc<Resource>,
        checked: Instant,
        watches: Option<Box<[Rc<Watch>]>>,
    ) {
        if weight(path, &resource) <= self.room {
            self.old.remove(path);
            let path: Box<[u8]> = path.into();
            self.insert(path, Kept { resource, checked, looked: None, sought: checked, watches });
        }
    }

    fn insert(&mut self, path: Box<[u8]>, kept: Kept) {
        let weight = weight(&path, &kept.resource);
        if self.weight + weight > self.room {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if let Some(before) = self.young.get(&path) {
            self.weight -= self::weight(&path, &before.resource);
        }
        self.weight += weight;
        self.young.insert(path, kept);
    }
}

/// Bytes that an entry takes, its key and its place in the table included.
fn weight(path: &[u8], resource: &Resource) -> usize {
    path.len() + resource.weight() + 64
}
