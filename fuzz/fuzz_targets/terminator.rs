//! Input cut by terminators that change on the way: the same frames as cutting the whole by hand.

#![no_main]

use std::cell::RefCell;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use medusa_core::testing::Harness;
use medusa_core::{Close, Context, Frame, Protocol, Terminator};
use medusa_fuzz::{Choices, within};

/// Most terminators set in one connection.
const MAX_KINDS: usize = 6;

/// A terminator, as it can be made again and again.
#[derive(Clone, Debug)]
enum Kind {
    Delimiter {
        delimiter: &'static [u8],
        limit: u32,
    },
    Boundary(Vec<u8>),
    Exact(u64),
    /// Takes so many bytes with no terminator at all, and puts back what is too much.
    PutBack(usize),
}

const DELIMITERS: &[&[u8]] = &[b"\r\n", b"\n", b"\0", b"aab", b"abab", b"\r\n.\r\n"];

impl Kind {
    fn choose(choices: &mut Choices<'_>) -> Self {
        match choices.byte() % 4 {
            0 => Self::Delimiter {
                delimiter: choices.one(DELIMITERS),
                limit: u32::from(choices.byte()),
            },
            1 => {
                let length = 1 + usize::from(choices.byte()) % 8;
                let bytes = choices.bytes(length);
                Self::Boundary(if bytes.is_empty() { b"--".to_vec() } else { bytes.to_vec() })
            }
            2 => Self::Exact(u64::from(choices.byte())),
            _ => Self::PutBack(1 + usize::from(choices.byte())),
        }
    }

    fn terminator(&self) -> Terminator {
        match self {
            Self::Delimiter { delimiter, limit } => {
                Terminator::Delimiter { delimiter, limit: *limit }
            }
            Self::Boundary(boundary) => Terminator::Boundary(boundary.clone().into()),
            Self::Exact(count) => Terminator::Exact(*count),
            Self::PutBack(_) => Terminator::None,
        }
    }
}

/// What a protocol was given: streamed parts are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    End(Vec<u8>),
    Overlong(Vec<u8>),
    /// What had come of a streamed frame before the end of input.
    Cut(Vec<u8>),
}

/// Notes frames, and sets the next terminator behind each.
struct Noting {
    kinds: Vec<Kind>,
    at: usize,
    parts: Vec<u8>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Noting {
    fn next(&mut self, frame: Seen, cx: &mut Context<'_>) {
        self.seen.borrow_mut().push(frame);
        self.at += 1;
        if self.at < self.kinds.len() {
            cx.set_terminator(self.kinds[self.at].terminator());
        } else {
            cx.set_terminator(Terminator::None);
        }
    }
}

impl Protocol for Noting {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.set_terminator(self.kinds[0].terminator());
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            Frame::Part(part) => {
                assert!(!part.is_empty(), "a part is never empty");
                self.parts.extend_from_slice(part);
                if let Some(&Kind::PutBack(count)) = self.kinds.get(self.at)
                    && self.parts.len() >= count
                {
                    cx.put_back(self.parts.len() - count);
                    self.parts.truncate(count);
                    let parts = std::mem::take(&mut self.parts);
                    self.next(Seen::End(parts), cx);
                }
            }
            Frame::End(last) => {
                self.parts.extend_from_slice(last);
                let parts = std::mem::take(&mut self.parts);
                self.next(Seen::End(parts), cx);
            }
            // The terminator stays: what is too long is thrown away up to its end.
            Frame::Overlong(shown) => self.seen.borrow_mut().push(Seen::Overlong(shown.to_vec())),
            Frame::Malformed(_) => panic!("no framer is used"),
            Frame::Eof(rest) => {
                // What of a streamed frame is held back is shown; of a delimited one nothing
                // can be said, for an overlong one is thrown away as it comes.
                let streamed = !matches!(self.kinds.get(self.at), Some(Kind::Delimiter { .. }));
                if streamed {
                    self.parts.extend_from_slice(rest);
                    let parts = std::mem::take(&mut self.parts);
                    self.seen.borrow_mut().push(Seen::Cut(parts));
                }
                return Err(Close::Flush);
            }
        }
        Ok(())
    }
}

/// Cuts the whole by hand.
fn naive(kinds: &[Kind], mut input: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for kind in kinds {
        let (frame, consumed) = match kind {
            Kind::Delimiter { delimiter, limit } => loop {
                let end = input.windows(delimiter.len()).position(|w| w == *delimiter);
                match end {
                    Some(at) if at <= *limit as usize => break (at, at + delimiter.len()),
                    _ if input.len() >= *limit as usize + delimiter.len() => {
                        seen.push(Seen::Overlong(input[..*limit as usize].to_vec()));
                        match end {
                            Some(at) => input = &input[at + delimiter.len()..],
                            None => return seen,
                        }
                    }
                    _ => return seen,
                }
            },
            Kind::Boundary(boundary) => {
                match input.windows(boundary.len()).position(|w| w == *boundary) {
                    Some(at) => (at, at + boundary.len()),
                    None => break,
                }
            }
            Kind::Exact(count) if input.len() as u64 >= *count => {
                (*count as usize, *count as usize)
            }
            Kind::PutBack(count) if input.len() >= *count => (*count, *count),
            Kind::Exact(_) | Kind::PutBack(_) => break,
        };
        seen.push(Seen::End(input[..frame].to_vec()));
        input = &input[consumed..];
    }
    seen.push(Seen::Cut(input.to_vec()));
    seen
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let count = 1 + usize::from(choices.byte()) % MAX_KINDS;
    let kinds: Vec<_> = (0..count).map(|_| Kind::choose(&mut choices)).collect();
    let cuts = choices.cuts();
    let max_read = choices.byte();
    let input = choices.rest();

    let mut h = Harness::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let noting = Noting { kinds: kinds.clone(), at: 0, parts: Vec::new(), seen: seen.clone() };
    let peer = h.open(Box::new(noting));
    if max_read > 0 {
        peer.set_max_read(max_read.into());
    }
    peer.send_split(input, &within(cuts, input.len()));
    peer.close_write();
    h.run();
    assert_eq!(*seen.borrow(), naive(&kinds, input));
    assert!(peer.is_gone());
});
