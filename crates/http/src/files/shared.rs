//! Large files that are being sent: many clients of one file share its descriptor.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Weak};

use medusa_fs::Stamp;

/// Files that somebody holds, by the state in which they were opened.
#[derive(Default)]
pub(crate) struct SharedFiles {
    open: HashMap<Stamp, Weak<File>>,
    /// Entries at which those that nobody holds any more are thrown out.
    sweep_at: usize,
}

/// Entries below which throwing out is not worth the while.
const SWEEP_LEAST: usize = 64;

impl SharedFiles {
    /// Gives the file that is already open in this state, or else keeps `file` in mind.
    pub(crate) fn share(&mut self, stamp: Stamp, file: Arc<File>) -> Arc<File> {
        if let Some(shared) = self.open.get(&stamp).and_then(Weak::upgrade) {
            return shared;
        }
        if self.open.len() >= self.sweep_at {
            self.open.retain(|_, file| file.strong_count() > 0);
            self.sweep_at = SWEEP_LEAST.max(self.open.len() * 2);
        }
        self.open.insert(stamp, Arc::downgrade(&file));
        file
    }
}
