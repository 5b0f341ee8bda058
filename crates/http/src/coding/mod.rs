//! Content codings on the fly: gzip, zstd and br, for any extension's replies (RFC 9110 §8.4).
//!
//! The one design choice: where the work is done goes by its size. A short body is coded at once,
//! on the loop, as far as the turn's allowance goes; whatever is longer, or comes from a file, is
//! coded by helper threads, one piece after another. So no body, and no number of them, holds up
//! the loop, and all that is under way is held to one account of memory: past it replies go
//! uncoded.

mod encoding;
mod filter;
mod lines;
mod state;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::coding::encoding::Encoding;
pub use crate::coding::filter::Compress;
use crate::coding::lines::Found;
pub(crate) use crate::coding::lines::forbids;
use crate::coding::state::{State, Then};
use crate::exact::Exactly;
use crate::limits::{
    CODING_BYTES, CODING_LEAST_BYTES, CODING_LOOP_BYTES, CODING_LOOP_BYTES_A_TURN,
    CODING_STEP_BYTES, CODING_WHOLE_BYTES,
};
use crate::reply::{Body, Reply};
pub use crate::wire::coding::{Accepted, Coding};

/// What is coded on the fly, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodingOptions {
    /// The codings in use. Where a client likes several alike, the first of them is taken; none
    /// switches coding off.
    pub codings: Vec<Coding>,
    /// How hard they try.
    pub levels: Levels,
    /// The media types that are worth it: `text/html`, or with one `*` at the front or the end:
    /// `text/*`, `*+json`.
    pub types: Vec<Box<str>>,
    /// Bytes of body below which it is not worth it; a client that refuses everything uncoded gets
    /// it coded all the same.
    pub least_bytes: u64,
    /// Bytes of memory that all compressions may take together; past them replies go uncoded.
    pub memory_bytes: usize,
}

/// How hard the codings try; values out of range count as the nearest in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// 1 to 9. Level 1 is quick and coarse: from 2 on, bodies are as small as with zlib.
    pub gzip: u8,
    /// 1 to [`Levels::MOST_ZSTD`].
    pub zstd: u8,
    /// 0 to [`Levels::MOST_BROTLI`].
    pub brotli: u8,
}

impl Levels {
    /// The highest level of zstd; higher ones take several times the memory.
    pub const MOST_ZSTD: u8 = 3;
    /// The highest level of br; higher ones are for files that are stored in that form.
    pub const MOST_BROTLI: u8 = 4;
}

impl Default for Levels {
    fn default() -> Self {
        Self { gzip: 4, zstd: 3, brotli: 2 }
    }
}

/// Text in its many forms, and what else is not packed by itself.
const TYPES: [&str; 17] = [
    "text/*",
    "*+json",
    "*+xml",
    "*+text",
    "application/javascript",
    "application/json",
    "application/x-ndjson",
    "application/manifest",
    "application/xml",
    "application/rtf",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "font/collection",
    "image/bmp",
    "image/x-icon",
];

impl CodingOptions {
    /// Whether a media type is worth coding; parameters do not matter.
    pub(crate) fn suits(&self, content_type: &[u8]) -> bool {
        let end = content_type.iter().position(|&b| b == b';').unwrap_or(content_type.len());
        let media_type = content_type[..end].trim_ascii();
        self.types.iter().any(|pattern| matches(pattern.as_bytes(), media_type))
    }
}

impl Default for CodingOptions {
    fn default() -> Self {
        Self {
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            levels: Levels::default(),
            types: TYPES.into_iter().map(Box::from).collect(),
            least_bytes: CODING_LEAST_BYTES,
            memory_bytes: CODING_BYTES,
        }
    }
}

/// Codes replies; its clones share one account of memory and of time.
#[derive(Clone)]
pub struct Coder(Rc<Shared>);

struct Shared {
    options: Arc<CodingOptions>,
    /// Bytes of memory that compressions take now.
    held: Rc<Cell<usize>>,
    /// The turn, and the bytes that were coded on the loop in it.
    turn: Cell<Option<(Instant, usize)>>,
}

impl Default for Coder {
    fn default() -> Self {
        Self::new(CodingOptions::default())
    }
}

/// Takes a body that was coded in one go, to be used again.
type Keep = Box<dyn FnOnce(Bytes)>;

impl Coder {
    /// Makes a coder with these options.
    pub fn new(options: CodingOptions) -> Self {
        let options = Arc::new(options);
        Self(Rc::new(Shared { options, held: Rc::default(), turn: Cell::default() }))
    }

    /// Codes the body of a reply as the client likes it, if the reply is such that this is allowed
    /// and worth it. `now` is the turn, as [`Handle::now`](medusa_core::Handle::now) tells it.
    ///
    /// What depends on the client's `Accept-Encoding` gets a `Vary`, coded or not. What is coded
    /// loses `Accept-Ranges`, for a range of it would have to be coded alike a second time, and
    /// its `ETag` becomes weak (RFC 9110 §8.8.1). A reply that has a `Content-Encoding` or is a
    /// part already, or that forbids it (`Cache-Control: no-transform`), goes as it is.
    pub fn encode(&self, reply: &mut Reply, accepted: Accepted, now: Instant) {
        if !self.is_codable(reply) {
            return;
        }
        let mut coded = None;
        if let Some(coding) = self.choose(accepted, reply.content().len()) {
            match self.code(coding, reply.take_body(), now, None) {
                Ok(body) => {
                    reply.set_body(body);
                    coded = Some(coding);
                }
                Err(body) => reply.set_body(body),
            }
        }
        lines::rewrite(reply, coded);
    }

    /// Whether a reply may be coded, for those who like it so.
    fn is_codable(&self, reply: &Reply) -> bool {
        if self.0.options.codings.is_empty()
            || matches!(reply.status, 100..200 | 204..=206 | 304)
            || reply.body.is_empty()
        {
            return false;
        }
        let Found { content_type, fixed } = lines::find(reply);
        !fixed && content_type.is_some_and(|media_type| self.0.options.suits(media_type))
    }

    pub(crate) fn options(&self) -> &Arc<CodingOptions> {
        &self.0.options
    }

    /// The codings in use, in our order.
    pub(crate) fn codings(&self) -> &[Coding] {
        &self.0.options.codings
    }

    /// Whether a body of this length is worth coding for this client.
    pub(crate) fn is_worth_it(&self, accepted: Accepted, len: Option<u64>) -> bool {
        accepted.refuses_identity() || len.is_none_or(|len| len >= self.0.options.least_bytes)
    }

    /// The coding for a body of this length that may be coded.
    fn choose(&self, accepted: Accepted, len: Option<u64>) -> Option<Coding> {
        if !self.is_worth_it(accepted, len) {
            return None;
        }
        let codings = self.codings();
        accepted.choose(codings.iter().copied()).map(|place| codings[place])
    }

    /// Codes a body: at once if it is short, or else as it is sent. Gives it back as it was if
    /// there is no room for a further compression. `keep` gets the result if it is made in one go.
    pub(crate) fn code(
        &self,
        coding: Coding,
        body: Body,
        now: Instant,
        keep: Option<Keep>,
    ) -> Result<Body, Body> {
        let levels = self.0.options.levels;
        let len = body.len();
        if let Body::Bytes(bytes) = &body
            && bytes.len() <= CODING_LOOP_BYTES
            && self.0.allow(now, bytes.len())
        {
            let mut out = Vec::new();
            let coded = State::new(coding, levels, len)
                .and_then(|mut state| state.step(bytes, Then::End, &mut out));
            if let Err(e) = coded {
                tracing::error!("a body could not be coded with {coding}: {e}");
                return Err(body);
            }
            let coded = Bytes::from(out.into_boxed_slice());
            if let Some(keep) = keep {
                keep(coded.clone());
            }
            return Ok(Body::Bytes(coded));
        }
        let whole =
            len.is_some_and(|len| len <= CODING_WHOLE_BYTES) && !matches!(body, Body::Producer(..));
        let cost = if whole {
            len.unwrap_or_default() as usize
        } else {
            state::cost(coding, levels) + 2 * CODING_STEP_BYTES
        };
        let Some(charge) = self.0.charge(cost) else { return Err(body) };
        let step = if whole { CODING_WHOLE_BYTES as usize } else { CODING_STEP_BYTES };
        let encoding = Encoding::new(self.0.clone(), coding, len, step, charge, keep);
        Ok(Body::Producer(
            match body {
                Body::Empty => return Err(body),
                Body::Bytes(bytes) => Box::new(encoding.of_bytes(bytes)),
                Body::File(range) => Box::new(encoding.of_file(range)),
                Body::Producer(inside, None) => Box::new(encoding.of_producer(inside)),
                Body::Producer(inside, Some(len)) => {
                    Box::new(encoding.of_producer(Box::new(Exactly::new(inside, len))))
                }
            },
            None,
        ))
    }

    /// Bytes of memory that compressions take now.
    pub fn held_bytes(&self) -> usize {
        self.0.held.get()
    }
}

impl Shared {
    /// Takes this many bytes of input from what may be coded on the loop in this turn.
    fn allow(&self, now: Instant, bytes: usize) -> bool {
        let used = match self.turn.get() {
            Some((turn, used)) if turn == now => used,
            _ => 0,
        };
        let allowed = used + bytes <= CODING_LOOP_BYTES_A_TURN;
        if allowed {
            self.turn.set(Some((now, used + bytes)));
        }
        allowed
    }

    /// Enters this many bytes into the account, if there is room.
    fn charge(&self, bytes: usize) -> Option<Charge> {
        let held = self.held.get() + bytes;
        (held <= self.options.memory_bytes).then(|| {
            self.held.set(held);
            Charge { held: self.held.clone(), bytes }
        })
    }
}

/// Bytes in the account, until this is dropped.
struct Charge {
    held: Rc<Cell<usize>>,
    bytes: usize,
}

impl Charge {
    /// Changes the entry.
    fn set(&mut self, bytes: usize) {
        self.held.set(self.held.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Whether a media type fits a pattern: the same in any case of letters, or with a `*` for its
/// begin or its end.
fn matches(pattern: &[u8], media_type: &[u8]) -> bool {
    match pattern {
        [b'*', end @ ..] => {
            let at = media_type.len().checked_sub(end.len());
            at.is_some_and(|at| media_type[at..].eq_ignore_ascii_case(end))
        }
        [start @ .., b'*'] => {
            media_type.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        }
        _ => pattern.eq_ignore_ascii_case(media_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_apart() {
        let options = CodingOptions::default();
        for (media_type, suits) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("text/css ;charset=x", true),
            ("application/json", true),
            ("application/ld+json", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("application/octet-stream", false),
            ("image/png", false),
            ("application/jsonx", false),
            ("xtext/html", false),
            ("text", false),
            ("", false),
        ] {
            assert_eq!(options.suits(media_type.as_bytes()), suits, "{media_type}");
        }
        let all = CodingOptions { types: vec!["*".into()], ..CodingOptions::default() };
        assert!(all.suits(b"image/png"));
    }

    #[test]
    fn the_loop_codes_so_much_in_a_turn() {
        let coder = Coder::default();
        let now = Instant::now();
        let steps = CODING_LOOP_BYTES_A_TURN / CODING_LOOP_BYTES;
        assert!((0..steps).all(|_| coder.0.allow(now, CODING_LOOP_BYTES)));
        assert!(!coder.0.allow(now, 1));
        assert!(coder.0.allow(now + std::time::Duration::from_nanos(1), 1));
    }

    #[test]
    fn the_account_is_kept() {
        let options = CodingOptions { memory_bytes: 100, ..CodingOptions::default() };
        let coder = Coder::new(options);
        let mut one = coder.0.charge(60).expect("there is room");
        assert!(coder.0.charge(41).is_none());
        one.set(10);
        let two = coder.0.charge(90).expect("there is room");
        assert_eq!(coder.held_bytes(), 100);
        drop((one, two));
        assert_eq!(coder.held_bytes(), 0);
    }
}
