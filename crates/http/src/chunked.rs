//! The chunked coding of a body whose length is not known beforehand (RFC 9112, section 7.1).

use std::io::Write;

use bytes::{Bytes, BytesMut};
use medusa_core::{Aborted, FileRange, Piece, Producer, Pull};

/// Frames what is inside as chunks. A file range passes untouched between a chunk's size and its
/// end, so that it still leaves without passing through user space.
pub struct Chunked<P> {
    inside: P,
    state: State,
}

enum State {
    Open,
    /// A chunk's size was given; its content comes next.
    File(FileRange),
    /// A chunk's content was given; its end comes next.
    After,
    Ended,
}

impl<P: Producer> Chunked<P> {
    /// Frames the output of `inside`.
    pub fn new(inside: P) -> Self {
        Self { inside, state: State::Open }
    }
}

/// Bytes that a chunk of one piece takes besides its content: a size of up to 16 digits, and two
/// line ends.
const FRAME_BYTES: usize = 20;

impl<P: Producer> Producer for Chunked<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        let mut out = BytesMut::new();
        match std::mem::replace(&mut self.state, State::Open) {
            State::Ended => {
                self.state = State::Ended;
                return Ok(Piece::End);
            }
            State::File(range) => {
                self.state = State::After;
                return Ok(Piece::File(range));
            }
            State::After => out.extend_from_slice(b"\r\n"),
            State::Open => {}
        }
        // What is known of the framing leaves even if the inside fails or waits.
        let room = room.saturating_sub(FRAME_BYTES).max(1);
        match self.inside.produce(room, pull) {
            Ok(Piece::Bytes(bytes)) => {
                out.reserve(bytes.len() + FRAME_BYTES);
                size(&mut out, bytes.len() as u64);
                out.extend_from_slice(&bytes);
                out.extend_from_slice(b"\r\n");
            }
            Ok(Piece::File(range)) => {
                size(&mut out, range.len);
                self.state = State::File(range);
            }
            Ok(Piece::Pending) if out.is_empty() => return Ok(Piece::Pending),
            Ok(Piece::Pending) => {}
            Ok(Piece::End) => {
                out.extend_from_slice(b"0\r\n\r\n");
                self.state = State::Ended;
            }
            Err(why) => return Err(why),
        }
        Ok(Piece::Bytes(Bytes::from(out)))
    }
}

fn size(out: &mut BytesMut, bytes: u64) {
    let mut digits = [0; 18];
    let mut rest = &mut digits[..];
    write!(rest, "{bytes:x}\r\n").expect("a 64-bit number has at most 16 digits");
    let left = rest.len();
    out.extend_from_slice(&digits[..18 - left]);
}
