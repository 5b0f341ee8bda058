//! Takes a chunked body apart (RFC 9112 §7.1), as it comes, without copying it.
//!
//! A state machine that is fed whatever has arrived and points at the body's bytes in it; the
//! outcome does not depend on how the input is split. Only trailers are copied, to where they
//! stay apart from the head.
//!
//! ```text
//! Size       digit → Size, space → Bws, ; → Ext, CR → SizeLf
//! Bws        space → Bws, ; → Ext
//! Ext        text → Ext, CR → SizeLf
//! SizeLf     LF → Data, or behind a size of 0 → LineStart
//! Data       the last byte → DataCr
//! DataCr     CR → DataLf
//! DataLf     LF → Size
//! LineStart  CR → EndLf, anything else → Trailer
//! Trailer    LF → LineStart
//! EndLf      LF → Done
//! ```
//!
//! Whatever is not in this list is refused.

use std::ops::Range;

use memchr::memchr;

use super::{
    MAX_BODY_EXT, MAX_CHUNK_DIGITS, MAX_CHUNK_EXT, MAX_HEAD, Reject, bytes,
    fields::{FieldTable, Fields},
};

/// What [`Decoder::decode`] found in its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The range of the input, never empty, is the next part of the body; input up to its end
    /// is consumed.
    Data(Range<usize>),
    /// All input is consumed and the body goes on.
    Need,
    /// The body is complete; so many bytes of the input belonged to it, the rest does not.
    Done(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a digit of a size, or behind one.
    Size,
    /// In white space behind a size; only an extension may follow (RFC 9112 §7.1.1).
    Bws,
    Ext,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Trailer,
    EndLf,
    Done,
}

/// Decodes one chunked body.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes of the chunk that are still to come; while its size is read, the size so far.
    remaining: u64,
    /// The trailer section, as it came.
    trailers: Vec<u8>,
    /// Bytes of extensions in the body, and of those the ones of this chunk.
    body_ext: u16,
    chunk_ext: u16,
    digits: u8,
    state: State,
}

const _: () = assert!(size_of::<Decoder>() <= 40);
const _: () = assert!(MAX_CHUNK_DIGITS * 4 <= u64::BITS as usize);
const _: () = assert!(MAX_BODY_EXT < u16::MAX as usize && MAX_CHUNK_EXT <= MAX_BODY_EXT);

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a body.
    pub const fn new() -> Self {
        Self {
            remaining: 0,
            trailers: Vec::new(),
            body_ext: 0,
            chunk_ext: 0,
            digits: 0,
            state: State::Size,
        }
    }

    /// Takes the next input: what is left of the last one, and what has arrived since.
    ///
    /// Returns at the first part of the body; call again with the rest of the input until it
    /// answers [`Step::Need`] or [`Step::Done`]. After an error the decoder is of no more use.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Reject> {
        let mut at = 0;
        while self.state != State::Done {
            let rest = &input[at..];
            let [byte, ..] = *rest else { return Ok(Step::Need) };
            match self.state {
                State::Data => {
                    let room = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                    let len = rest.len().min(room);
                    self.remaining -= len as u64;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Step::Data(at..at + len));
                }
                State::LineStart if byte != b'\r' => self.state = State::Trailer,
                State::Trailer => at += self.trailer(rest)?,
                _ => {
                    self.framing(byte)?;
                    at += 1;
                }
            }
        }
        Ok(Step::Done(at))
    }

    /// Takes one byte of the framing.
    fn framing(&mut self, byte: u8) -> Result<(), Reject> {
        self.state = match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => self.extension(State::Ext)?,
            (State::Size, b' ' | b'\t') if self.digits > 0 => self.extension(State::Bws)?,
            (State::Size, _) => self.size(byte)?,
            (State::Bws, b' ' | b'\t') => self.extension(State::Bws)?,
            (State::Ext, b'\r') => State::SizeLf,
            (State::Ext, b'\n') => return Err(BARE_LF),
            (State::Bws, b';') | (State::Ext, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extension(State::Ext)?
            }
            (State::Bws, _) => return Err(Reject::bad("white space behind a chunk size")),
            (State::Ext, _) => return Err(Reject::bad("a control byte in a chunk extension")),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.chunk_ext = 0;
                if self.remaining > 0 { State::Data } else { State::LineStart }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::DataCr | State::DataLf, _) => {
                return Err(Reject::bad("no CRLF behind a chunk"));
            }
            (State::LineStart, _) => State::EndLf,
            (State::EndLf, b'\n') => self.end()?,
            (State::SizeLf | State::EndLf, _) => return Err(BARE_CR),
            (State::Data | State::Trailer | State::Done, _) => unreachable!("not framing"),
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<State, Reject> {
        let digit = match byte {
            b'\n' => return Err(BARE_LF),
            _ => bytes::hex(byte).ok_or(Reject::bad("the chunk size is no hexadecimal number"))?,
        };
        if usize::from(self.digits) == MAX_CHUNK_DIGITS {
            return Err(Reject::bad("the chunk size has too many digits"));
        }
        self.digits += 1;
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size)
    }

    /// Counts a byte of an extension against the caps.
    fn extension(&mut self, next: State) -> Result<State, Reject> {
        self.chunk_ext += 1;
        self.body_ext += 1;
        if usize::from(self.chunk_ext) > MAX_CHUNK_EXT || usize::from(self.body_ext) > MAX_BODY_EXT
        {
            return Err(Reject::bad("too many chunk extensions"));
        }
        Ok(next)
    }

    /// Takes input up to the end of a trailer line; says how much.
    fn trailer(&mut self, input: &[u8]) -> Result<usize, Reject> {
        let end = memchr(b'\n', input);
        let line = &input[..end.map_or(input.len(), |at| at + 1)];
        // The blank line that follows counts as well.
        if self.trailers.len() + line.len() + 2 > MAX_HEAD {
            return Err(Reject::with(431, "the trailers are too large"));
        }
        self.trailers.extend_from_slice(line);
        if end.is_some() {
            if !self.trailers.ends_with(b"\r\n") {
                return Err(BARE_LF);
            }
            self.state = State::LineStart;
        }
        Ok(line.len())
    }

    /// Checks the trailers, now that they are complete.
    fn end(&mut self) -> Result<State, Reject> {
        if !self.trailers.is_empty() {
            self.trailers.extend_from_slice(b"\r\n");
            FieldTable::new().parse(&self.trailers, 0)?;
        }
        Ok(State::Done)
    }

    /// The trailer fields of a body that is done, if it had any.
    ///
    /// They are for whoever asks for them, and are never looked up as fields of the head
    /// (RFC 9110 §6.5.1): a `Content-Length` in here is only a name.
    pub fn trailers<'a>(&'a self, table: &'a mut FieldTable) -> Option<Fields<'a>> {
        if self.state != State::Done || self.trailers.is_empty() {
            return None;
        }
        table.parse(&self.trailers, 0).ok()
    }
}

const BARE_LF: Reject = Reject::bad("a line of the chunked body ends in a bare LF");
const BARE_CR: Reject = Reject::bad("a bare CR in the chunked body");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_body_are_pointed_at() {
        let mut decoder = Decoder::new();
        let input = b"3;a=\"b\"\r\nabc\r\nA\r\n012";
        assert_eq!(decoder.decode(input), Ok(Step::Data(9..12)));
        assert_eq!(decoder.decode(&input[12..]), Ok(Step::Data(5..8)));
        assert_eq!(decoder.decode(b""), Ok(Step::Need));
        assert_eq!(decoder.decode(b"3456789\r\n0\r\n\r\nGET"), Ok(Step::Data(0..7)));
        assert_eq!(decoder.decode(b"\r\n0\r\n\r\nGET"), Ok(Step::Done(7)));
        assert_eq!(decoder.decode(b"GET"), Ok(Step::Done(0)));
        assert!(decoder.trailers(&mut FieldTable::new()).is_none());
    }

    #[test]
    fn trailers_are_kept_apart() {
        let mut decoder = Decoder::new();
        let body = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(decoder.decode(&body[..20]), Ok(Step::Need));
        assert!(decoder.trailers(&mut FieldTable::new()).is_none());
        assert_eq!(decoder.decode(&body[20..]), Ok(Step::Done(body.len() - 20)));
        let mut table = FieldTable::new();
        let trailers = decoder.trailers(&mut table).unwrap();
        assert_eq!(trailers.field("x-sum"), Some(&b"1"[..]));
        assert_eq!(trailers.len(), 2);
    }

    #[test]
    fn the_largest_chunk_size_is_taken() {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(b"ffffFFFFffffFFFF\r\nx"), Ok(Step::Data(18..19)));
        assert_eq!(decoder.remaining, u64::MAX - 1);
    }
}
