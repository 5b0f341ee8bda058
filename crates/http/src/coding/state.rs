//! One compression under way: bytes in, coded bytes out, in steps.
//!
//! The one design choice: a step takes all of its input and gives all of the output there is, so
//! that whoever makes the steps bounds both. A state is plain data that may move between threads.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::Levels;
use crate::wire::coding::Coding;

/// Bytes of history that gzip looks back to, as a power of two: the most that it can.
const GZIP_WINDOW_LOG2: u8 = 15;
/// The same of zstd (128 KiB); more would cost memory and gain little on pages.
const ZSTD_WINDOW_LOG2: u32 = 17;
/// The same of br (64 KiB).
const BROTLI_WINDOW_LOG2: i32 = 16;
/// Bytes of the buffer between br's encoder and its output.
const BROTLI_BUFFER_BYTES: usize = 4096;
/// Bytes by which the output grows when it is full.
const GROW_BYTES: usize = 16 * 1024;
/// Bytes of output that a step makes room for at least: head and tail of a coded stream.
const LEAST_ROOM_BYTES: usize = 64;

/// What comes behind the input of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// More, soon.
    More,
    /// More, but later: what was given so far must be readable now.
    Wait,
    /// Nothing.
    End,
}

/// A compression.
pub(crate) enum State {
    Gzip(Compress),
    Zstd(Encoder<'static>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    /// It has come to its end.
    Ended,
}

/// Bytes of memory that a compression takes, as measured; for the account.
pub(crate) fn cost(coding: Coding, levels: Levels) -> usize {
    match coding {
        Coding::Gzip => 384 << 10,
        Coding::Zstd => 1792 << 10,
        Coding::Brotli if levels.brotli <= 2 => 896 << 10,
        Coding::Brotli => 1984 << 10,
    }
}

impl State {
    /// Begins a compression of `len` bytes, if that is known.
    pub(crate) fn new(coding: Coding, levels: Levels, len: Option<u64>) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                let level = Compression::new(levels.gzip.clamp(1, 9).into());
                Self::Gzip(Compress::new_gzip(level, GZIP_WINDOW_LOG2))
            }
            Coding::Zstd => {
                let level = levels.zstd.clamp(1, Levels::MOST_ZSTD);
                let mut encoder = Encoder::new(level.into())?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG2))?;
                encoder.set_pledged_src_size(len)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: levels.brotli.min(Levels::MOST_BROTLI).into(),
                    lgwin: BROTLI_WINDOW_LOG2,
                    size_hint: len.unwrap_or(0).try_into().unwrap_or(usize::MAX),
                    ..Default::default()
                };
                let writer =
                    CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER_BYTES, &params);
                Self::Brotli(Box::new(writer))
            }
        })
    }

    /// Takes `input` and appends to `out` what it makes.
    pub(crate) fn step(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(compress) => gzip(compress, input, then, out)?,
            Self::Zstd(encoder) => zstd(encoder, input, then, out)?,
            Self::Brotli(writer) => {
                writer.write_all(input)?;
                if then == Then::Wait {
                    writer.flush()?;
                }
                out.append(writer.get_mut());
            }
            Self::Ended => return Err(io::Error::other("a compression goes on behind its end")),
        }
        if then == Then::End
            && let Self::Brotli(writer) = std::mem::replace(self, Self::Ended)
        {
            out.append(&mut writer.into_inner());
        }
        Ok(())
    }
}

/// Makes room for the output of `input`, or some of it: most of what is coded is text.
fn grow(out: &mut Vec<u8>, input: &[u8]) {
    out.reserve((input.len() / 3).clamp(LEAST_ROOM_BYTES, GROW_BYTES));
}

fn gzip(
    compress: &mut Compress,
    mut input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let flush = match then {
        Then::More => FlushCompress::None,
        Then::Wait => FlushCompress::Sync,
        Then::End => FlushCompress::Finish,
    };
    loop {
        grow(out, input);
        let before = compress.total_in();
        let status = compress.compress_vec(input, out, flush).map_err(io::Error::other)?;
        input = &input[(compress.total_in() - before) as usize..];
        // Room that is left says that there was no more to put into it.
        let done = match then {
            Then::End => status == Status::StreamEnd,
            Then::More | Then::Wait => input.is_empty() && out.len() < out.capacity(),
        };
        if done {
            return Ok(());
        }
    }
}

fn zstd(
    encoder: &mut Encoder<'_>,
    mut input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    while !input.is_empty() {
        grow(out, input);
        let at = out.len();
        let mut from = InBuffer::around(input);
        encoder.run(&mut from, &mut OutBuffer::around_pos(out, at))?;
        input = &input[from.pos()..];
    }
    loop {
        grow(out, input);
        let at = out.len();
        let mut room = OutBuffer::around_pos(out, at);
        let left = match then {
            Then::More => return Ok(()),
            Then::Wait => encoder.flush(&mut room)?,
            Then::End => encoder.finish(&mut room, true)?,
        };
        if left == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    /// Decodes with the decoders of the same libraries, as far as it goes, and says whether the end
    /// was there. Foreign programs do it in the tests of the whole server.
    fn decode(coding: Coding, coded: &[u8]) -> (Vec<u8>, bool) {
        let mut plain = Vec::new();
        let result = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
            Coding::Zstd => {
                zstd::Decoder::new(coded).and_then(|mut decoder| decoder.read_to_end(&mut plain))
            }
            Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain),
        };
        (plain, result.is_ok())
    }

    fn levels() -> impl Strategy<Value = Levels> {
        (0..12u8, 0..8u8, 0..12u8).prop_map(|(gzip, zstd, brotli)| Levels { gzip, zstd, brotli })
    }

    /// Text that repeats itself, or does not.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let words = proptest::collection::vec("[a-f]{1,4} ", 0..2000);
        prop_oneof![
            words.prop_map(|words| words.concat().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..9000),
            (any::<u8>(), 0..300_000usize).prop_map(|(byte, len)| vec![byte; len]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However a body is cut, and wherever it is flushed, it decodes to the same; and what
        /// was flushed can be read at once.
        #[test]
        fn any_body_comes_back(
            body in body(),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6),
            levels in levels(),
            tell in any::<bool>(),
        ) {
            let mut cuts: Vec<_> =
                cuts.into_iter().map(|(at, wait)| (at.index(body.len() + 1), wait)).collect();
            cuts.sort_unstable();
            for coding in Coding::ALL {
                let len = tell.then_some(body.len() as u64);
                let mut state = State::new(coding, levels, len).unwrap();
                let (mut out, mut from) = (Vec::new(), 0);
                for &(to, wait) in &cuts {
                    let then = if wait { Then::Wait } else { Then::More };
                    state.step(&body[from..to], then, &mut out).unwrap();
                    from = to;
                    if wait {
                        prop_assert!(decode(coding, &out).0 == body[..to], "{} flushed", coding);
                    }
                }
                state.step(&body[from..], Then::End, &mut out).unwrap();
                prop_assert!(decode(coding, &out) == (body.clone(), true), "{} ended", coding);
            }
        }
    }

    #[test]
    fn what_has_ended_takes_no_more() {
        for coding in Coding::ALL {
            let mut state = State::new(coding, Levels::default(), None).unwrap();
            let mut out = Vec::new();
            state.step(b"all", Then::End, &mut out).unwrap();
            assert_eq!(decode(coding, &out), (b"all".to_vec(), true));
            assert!(state.step(b"more", Then::More, &mut out).is_err(), "{coding}");
        }
    }

    #[test]
    fn a_body_of_another_length_than_was_told_is_an_error() {
        let mut state = State::new(Coding::Zstd, Levels::default(), Some(5)).unwrap();
        assert!(state.step(b"four", Then::End, &mut Vec::new()).is_err());
    }
}
