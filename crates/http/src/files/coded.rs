//! Coded files in memory, by the state of the file and the coding.
//!
//! The one design choice: the key is the state of the file, not its path. What was coded is right
//! for as long as the file looks the same, whoever serves it under whatever name, and nothing here
//! has to be told of changes: what nobody asks for any more is forgotten. Two generations, as for
//! the files themselves.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use medusa_fs::Stamp;

use crate::wire::coding::Coding;

/// Bytes that an entry takes beside its content: key and place in the table.
const ENTRY_BYTES: usize = 128;

#[derive(Default)]
pub(crate) struct CodedFiles {
    young: Generation,
    old: Generation,
    /// Bytes in the young generation.
    weight: usize,
    /// Bytes that one generation may have.
    room: usize,
}

type Generation = HashMap<(Stamp, Coding), Bytes, RandomState>;

impl CodedFiles {
    /// Keeps at most `bytes`; 0 keeps nothing.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { room: bytes / 2, ..Self::default() }
    }

    /// Finds what was coded of a file in this state.
    pub(crate) fn look_up(&mut self, stamp: Stamp, coding: Coding) -> Option<Bytes> {
        if let Some(bytes) = self.young.get(&(stamp, coding)) {
            return Some(bytes.clone());
        }
        let bytes = self.old.remove(&(stamp, coding))?;
        self.keep(stamp, coding, bytes.clone());
        Some(bytes)
    }

    /// Keeps what was coded of a file in this state.
    pub(crate) fn keep(&mut self, stamp: Stamp, coding: Coding, bytes: Bytes) {
        let weight = bytes.len() + ENTRY_BYTES;
        if weight > self.room {
            return;
        }
        if self.weight + weight > self.room {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        if let Some(before) = self.young.insert((stamp, coding), bytes) {
            self.weight -= before.len() + ENTRY_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ino: u64) -> Stamp {
        Stamp { dev: 1, ino, size: 5, modified_ns: 0, changed_ns: 0 }
    }

    fn bytes(files: &CodedFiles) -> usize {
        let all = files.young.values().chain(files.old.values());
        all.map(|bytes| bytes.len() + ENTRY_BYTES).sum()
    }

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let mut files = CodedFiles::new(20 * (100 + ENTRY_BYTES));
        for n in 0..1000 {
            files.keep(stamp(n), Coding::Gzip, Bytes::from(vec![0; 100]));
            assert!(bytes(&files) <= 20 * (100 + ENTRY_BYTES));
            assert!(files.look_up(stamp(0), Coding::Gzip).is_some(), "{n}");
            assert!(files.look_up(stamp(n), Coding::Gzip).is_some(), "{n}");
            assert!(files.look_up(stamp(n), Coding::Zstd).is_none(), "{n}");
        }
        assert!(files.look_up(stamp(500), Coding::Gzip).is_none());
        files.keep(stamp(1), Coding::Gzip, Bytes::from(vec![0; 10_000]));
        assert!(files.look_up(stamp(1), Coding::Gzip).is_none(), "it is too large");
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let mut files = CodedFiles::new(0);
        files.keep(stamp(1), Coding::Gzip, Bytes::new());
        assert!(files.look_up(stamp(1), Coding::Gzip).is_none());
    }
}
