//! A producer over an iterator: listings, generated text.

use bytes::Bytes;

use super::{Aborted, Piece, Producer, Pull};

/// Gives what an iterator gives, several items to a piece.
///
/// The iterator is advanced only when the peer takes output, so one without an end is fine. An
/// item that fails aborts the output.
pub struct Lines<I> {
    items: Option<I>,
}

impl<I, T> Lines<I>
where
    I: Iterator<Item = Result<T, Aborted>>,
    T: AsRef<[u8]>,
{
    /// Gives the items of this iterator, one after the other.
    pub fn new(items: impl IntoIterator<IntoIter = I>) -> Self {
        Self { items: Some(items.into_iter()) }
    }
}

impl<I, T> Producer for Lines<I>
where
    I: Iterator<Item = Result<T, Aborted>>,
    T: AsRef<[u8]>,
{
    fn produce(&mut self, room: usize, _: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut piece = Vec::new();
        while let Some(items) = &mut self.items
            && piece.len() < room
        {
            match items.next() {
                Some(item) => piece.extend_from_slice(item?.as_ref()),
                None => self.items = None,
            }
        }
        Ok(if piece.is_empty() { Piece::End } else { Piece::Bytes(Bytes::from(piece)) })
    }
}
