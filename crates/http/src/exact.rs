//! A producer that must give as much as its reply's Content-Length says.

use medusa_core::{Aborted, Piece, Producer, Pull};

/// Passes a producer's output on and fails if it is not exactly as long as promised: a reply
/// with a wrong length would make the next reply part of it.
pub(crate) struct Exactly<P> {
    inside: P,
    left: u64,
}

impl<P: Producer> Exactly<P> {
    pub(crate) fn new(inside: P, len: u64) -> Self {
        Self { inside, left: len }
    }
}

impl<P: Producer> Producer for Exactly<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let piece = self.inside.produce(room, pull)?;
        let len = match &piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(range) => range.len,
            Piece::Pending => return Ok(piece),
            Piece::End if self.left == 0 => return Ok(piece),
            Piece::End => {
                return Err(Aborted::new(format!("a body ends {} bytes early", self.left)));
            }
        };
        match self.left.checked_sub(len) {
            Some(left) => self.left = left,
            None => return Err(Aborted::new("a body is longer than its Content-Length")),
        }
        Ok(piece)
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.left)
    }
}
