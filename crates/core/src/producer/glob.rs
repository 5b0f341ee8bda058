//! Output in pieces of one size.

use bytes::BytesMut;

use super::{Aborted, Piece, Producer, Pull};

/// Gathers a producer's small pieces, and cuts its large ones, into pieces of a fixed size; only
/// the last may be shorter. A file range is passed on as it is, after what was gathered.
pub struct Globbed<P> {
    inside: P,
    size: usize,
    held: BytesMut,
    behind: Option<Piece>,
}

impl<P: Producer> Globbed<P> {
    /// Gives pieces of `size` bytes.
    ///
    /// # Panics
    /// When `size` is 0.
    pub fn new(inside: P, size: usize) -> Self {
        assert!(size > 0, "a piece has at least one byte");
        Self { inside, size, held: BytesMut::new(), behind: None }
    }

    fn take(&mut self, bytes: usize) -> Piece {
        Piece::Bytes(self.held.split_to(bytes).freeze())
    }
}

impl<P: Producer> Producer for Globbed<P> {
    fn produce(&mut self, _: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        loop {
            if self.held.len() >= self.size {
                return Ok(self.take(self.size));
            }
            if let Some(piece) = &self.behind {
                // Nothing more can be gathered: what is held goes first.
                if !self.held.is_empty() {
                    return Ok(self.take(self.held.len()));
                }
                return Ok(match piece {
                    Piece::End => Piece::End,
                    _ => self.behind.take().unwrap_or(Piece::End),
                });
            }
            match self.inside.produce(self.size - self.held.len(), pull)? {
                Piece::Bytes(bytes) if self.held.is_empty() && bytes.len() == self.size => {
                    return Ok(Piece::Bytes(bytes));
                }
                Piece::Bytes(bytes) => self.held.extend_from_slice(&bytes),
                Piece::Pending => return Ok(Piece::Pending),
                piece @ (Piece::File(_) | Piece::End) => self.behind = Some(piece),
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        let behind = match &self.behind {
            Some(Piece::File(range)) => range.len,
            _ => 0,
        };
        self.inside.remaining().map(|inside| inside + behind + self.held.len() as u64)
    }
}
