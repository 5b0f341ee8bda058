//! Counting what leaves, and telling somebody once.

use super::{Aborted, Piece, Producer, Pull};

/// Passes a producer's output on, file ranges untouched, and calls a hook exactly once: when the
/// output is complete, has failed, or is dropped because the peer went away.
pub struct Counted<P, F: FnOnce(u64, bool)> {
    inside: P,
    bytes: u64,
    hook: Option<F>,
}

impl<P: Producer, F: FnOnce(u64, bool)> Counted<P, F> {
    /// Calls `hook` with the bytes that were produced, and whether that was all of them.
    pub fn new(inside: P, hook: F) -> Self {
        Self { inside, bytes: 0, hook: Some(hook) }
    }
}

impl<P: Producer, F: FnOnce(u64, bool)> Producer for Counted<P, F> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let piece = self.inside.produce(room, pull)?;
        match &piece {
            Piece::Bytes(bytes) => self.bytes += bytes.len() as u64,
            Piece::File(range) => self.bytes += range.len,
            Piece::Pending => {}
            Piece::End => {
                if let Some(hook) = self.hook.take() {
                    hook(self.bytes, true);
                }
            }
        }
        Ok(piece)
    }

    fn remaining(&self) -> Option<u64> {
        self.inside.remaining()
    }
}

impl<P, F: FnOnce(u64, bool)> Drop for Counted<P, F> {
    fn drop(&mut self) {
        if let Some(hook) = self.hook.take() {
            hook(self.bytes, false);
        }
    }
}
