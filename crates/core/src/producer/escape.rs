//! The dot-stuffing of mail and news (RFC 5321, section 4.5.2; RFC 3977, section 3.1.1).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Aborted, FileRange, Piece, Producer, Pull};

/// Doubles each dot that begins a line, and ends the text with a line that is a dot alone.
///
/// A text that does not end in CR LF gets one first. A file range inside is read and escaped.
pub struct DotStuffed<P> {
    inside: P,
    /// The last bytes given: where in a line the next byte stands.
    line: Line,
    reading: Option<(Arc<File>, u64, u64)>,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    Cr,
    Middle,
}

impl<P: Producer> DotStuffed<P> {
    /// Escapes what `inside` gives.
    pub fn new(inside: P) -> Self {
        Self { inside, line: Line::Start, reading: None, ended: false }
    }

    fn stuff(&mut self, text: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(text.len() + 8);
        for &byte in text {
            if self.line == Line::Start && byte == b'.' {
                out.push(b'.');
            }
            out.push(byte);
            self.line = match (self.line, byte) {
                (_, b'\r') => Line::Cr,
                (Line::Cr, b'\n') => Line::Start,
                _ => Line::Middle,
            };
        }
        out.into()
    }

    /// Reads the next bytes of a file range that stands inside.
    fn read(&mut self, room: usize) -> Result<Option<Vec<u8>>, Aborted> {
        let Some((file, offset, left)) = &mut self.reading else { return Ok(None) };
        if *left == 0 {
            self.reading = None;
            return Ok(None);
        }
        let mut text = vec![0; room.min(usize::try_from(*left).unwrap_or(room))];
        match file.read_at(&mut text, *offset) {
            Ok(0) => Err(Aborted::new("file ends early")),
            Ok(n) => {
                text.truncate(n);
                *offset += n as u64;
                *left -= n as u64;
                Ok(Some(text))
            }
            Err(e) => Err(Aborted::new(format!("cannot read the file: {e}"))),
        }
    }
}

impl<P: Producer> Producer for DotStuffed<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        loop {
            if self.ended {
                return Ok(Piece::End);
            }
            if let Some(text) = self.read(room)? {
                return Ok(Piece::Bytes(self.stuff(&text)));
            }
            match self.inside.produce(room, pull)? {
                Piece::Bytes(text) => return Ok(Piece::Bytes(self.stuff(&text))),
                Piece::File(FileRange { file, offset, len }) => {
                    self.reading = Some((file, offset, len));
                }
                Piece::Pending => return Ok(Piece::Pending),
                Piece::End => {
                    self.ended = true;
                    let end: &[u8] = match self.line {
                        Line::Start => b".\r\n",
                        Line::Cr | Line::Middle => b"\r\n.\r\n",
                    };
                    return Ok(Piece::Bytes(Bytes::from_static(end)));
                }
            }
        }
    }
}
