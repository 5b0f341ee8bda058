//! Producers that have their output already: bytes, and a range of a file.

use bytes::Bytes;

use super::{Aborted, FileRange, Piece, Producer, Pull};

/// Gives bytes, cut to what the channel has room for.
pub struct Once(Bytes);

impl Once {
    /// Gives these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

impl Producer for Once {
    fn produce(&mut self, room: usize, _: &mut Pull<'_>) -> Result<Piece, Aborted> {
        if self.0.is_empty() {
            return Ok(Piece::End);
        }
        Ok(Piece::Bytes(self.0.split_to(room.min(self.0.len()))))
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

/// Gives a range of an open file, as one piece that the channel sends by and by.
pub struct FileSource(FileRange);

impl FileSource {
    /// Gives this range.
    pub fn new(range: FileRange) -> Self {
        Self(range)
    }
}

impl Producer for FileSource {
    fn produce(&mut self, _: usize, _: &mut Pull<'_>) -> Result<Piece, Aborted> {
        if self.0.len == 0 {
            return Ok(Piece::End);
        }
        let range = self.0.clone();
        self.0.offset += range.len;
        self.0.len = 0;
        Ok(Piece::File(range))
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.0.len)
    }
}
