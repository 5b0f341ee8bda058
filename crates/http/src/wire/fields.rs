//! Field lines, as offsets into the head that they stand in.
//!
//! The table holds no references, so that one of them serves every request of a loop without
//! being cleared, and the fields that we act on ([`Known`]) are recognised in the pass that
//! checks the lines: looking one up later is one load.

use super::{MAX_FIELDS, MAX_HEAD, Reject, bytes};

/// A field that some part of the server acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is named as the field is")]
pub enum Known {
    Accept,
    AcceptEncoding,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Expect,
    Host,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    Range,
    Referer,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
}

impl Known {
    const COUNT: usize = Self::UserAgent as usize + 1;

    /// Recognises a name, in any case of letters.
    #[inline]
    fn of(name: &[u8]) -> Option<Self> {
        let (known, full): (Self, &[u8]) = match (name.len(), name.first()? | 0x20) {
            (2, b't') => (Self::Te, b"TE"),
            (4, b'h') => (Self::Host, b"Host"),
            (5, b'r') => (Self::Range, b"Range"),
            (6, b'a') => (Self::Accept, b"Accept"),
            (6, b'e') => (Self::Expect, b"Expect"),
            (7, b'r') => (Self::Referer, b"Referer"),
            (7, b't') => (Self::Trailer, b"Trailer"),
            (7, b'u') => (Self::Upgrade, b"Upgrade"),
            (8, b'i') if name[3] | 0x20 == b'r' => (Self::IfRange, b"If-Range"),
            (8, b'i') => (Self::IfMatch, b"If-Match"),
            (10, b'c') => (Self::Connection, b"Connection"),
            (10, b'u') => (Self::UserAgent, b"User-Agent"),
            (12, b'c') => (Self::ContentType, b"Content-Type"),
            (13, b'a') => (Self::Authorization, b"Authorization"),
            (13, b'i') => (Self::IfNoneMatch, b"If-None-Match"),
            (14, b'c') => (Self::ContentLength, b"Content-Length"),
            (15, b'a') => (Self::AcceptEncoding, b"Accept-Encoding"),
            (17, b'i') => (Self::IfModifiedSince, b"If-Modified-Since"),
            (17, b't') => (Self::TransferEncoding, b"Transfer-Encoding"),
            (19, b'i') => (Self::IfUnmodifiedSince, b"If-Unmodified-Since"),
            _ => return None,
        };
        // Most clients write it so.
        (name == full || name.eq_ignore_ascii_case(full)).then_some(known)
    }
}

/// Where one field stands, in bytes from the start of the head.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    name: u16,
    name_len: u16,
    value: u16,
    value_len: u16,
}

const _: () = assert!(MAX_HEAD <= u16::MAX as usize && MAX_FIELDS < u8::MAX as usize);

/// The storage that a head is parsed into: made once, used for every head after another.
#[derive(Clone, Debug)]
pub struct FieldTable {
    slots: [Slot; MAX_FIELDS],
    len: u8,
    /// Index of the first field of each known name, plus one; 0 is absent.
    known: [u8; Known::COUNT],
    /// One bit for each known name that stands more than once.
    repeated: u32,
}

const _: () = assert!(Known::COUNT <= u32::BITS as usize);

impl Default for FieldTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FieldTable {
    /// An empty table.
    pub const fn new() -> Self {
        let none = Slot { name: 0, name_len: 0, value: 0, value_len: 0 };
        Self { slots: [none; MAX_FIELDS], len: 0, known: [0; Known::COUNT], repeated: 0 }
    }

    /// Parses the field lines of `block` from `at` on, up to the blank line that ends it.
    ///
    /// Refuses with 400 whatever RFC 9112 §5 calls malformed, and what it leaves to the
    /// recipient: folded lines, white space around names. More than [`MAX_FIELDS`] lines or
    /// [`MAX_HEAD`] bytes are a 431. Bytes over 0x7F are allowed in values.
    pub fn parse<'a>(&'a mut self, block: &'a [u8], at: usize) -> Result<Fields<'a>, Reject> {
        if block.len() > MAX_HEAD {
            return Err(Reject::with(431, "the head is too large"));
        }
        self.known = [0; Known::COUNT];
        self.repeated = 0;
        let mut len = 0;
        let mut at = at;
        loop {
            let rest = &block[at..];
            let name_len = bytes::token_len(rest);
            if name_len == 0 || rest.get(name_len) != Some(&b':') {
                if rest == b"\r\n" {
                    break;
                }
                return Err(bad_name(rest, name_len, len == 0));
            }
            let value = at + name_len + 1;
            let (from, to, next) = value_bounds(block, value)?;
            if len == MAX_FIELDS {
                return Err(Reject::with(431, "too many fields"));
            }
            self.slots[len] = Slot {
                name: at as u16,
                name_len: name_len as u16,
                value: from as u16,
                value_len: (to - from) as u16,
            };
            len += 1;
            if let Some(known) = Known::of(&rest[..name_len]) {
                let first = &mut self.known[known as usize];
                if *first == 0 {
                    *first = len as u8;
                } else {
                    self.repeated |= 1 << known as u32;
                }
            }
            at = next;
        }
        self.len = len as u8;
        Ok(Fields { block, table: self })
    }
}

/// Where the value behind a colon starts and ends without its white space, and where the next
/// line starts.
#[inline]
fn value_bounds(block: &[u8], after_colon: usize) -> Result<(usize, usize, usize), Reject> {
    let mut from = after_colon;
    // A tab stops the scan, and may stand anywhere in a value.
    let mut end = from + bytes::text_len(&block[from..]);
    while block.get(end) == Some(&b'\t') {
        end += 1;
        end += bytes::text_len(&block[end..]);
    }
    match block.get(end..end + 2) {
        Some(b"\r\n") => {}
        Some([b'\r', _]) => return Err(Reject::bad("a bare CR in a field")),
        Some([b'\n', _]) => return Err(Reject::bad("a line ends in a bare LF")),
        Some([0, _]) => return Err(Reject::bad("a NUL in a field")),
        Some(_) => return Err(Reject::bad("a control byte in a field")),
        None => return Err(Reject::bad("the head is cut short")),
    }
    let next = end + 2;
    while from < end && bytes::is_space(block[from]) {
        from += 1;
    }
    while from < end && bytes::is_space(block[end - 1]) {
        end -= 1;
    }
    Ok((from, end, next))
}

/// Says what is wrong with a line that does not start with a name and a colon.
#[cold]
fn bad_name(rest: &[u8], name_len: usize, first: bool) -> Reject {
    Reject::bad(match (name_len, rest.get(name_len)) {
        (_, None) => "the head is cut short",
        (0, Some(b' ' | b'\t')) if first => "white space before the first field",
        (0, Some(b' ' | b'\t')) => "a folded field line",
        (0, Some(b':')) => "an empty field name",
        (0, Some(b'\r')) if rest.starts_with(b"\r\n") => "bytes behind the blank line",
        (_, Some(b' ' | b'\t')) => "white space before a colon, or no colon",
        (_, Some(b'\r')) if rest[name_len..].starts_with(b"\r\n") => "a field line without a colon",
        (_, Some(b'\r')) => "a bare CR in a field",
        _ => "a byte in a field name that no name may have",
    })
}

/// The fields of one head: a view of its bytes through the table that they were parsed into.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    block: &'a [u8],
    table: &'a FieldTable,
}

impl<'a> Fields<'a> {
    /// How many field lines there are.
    pub fn len(&self) -> usize {
        usize::from(self.table.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.len == 0
    }

    /// Names and values in the order in which they came.
    ///
    /// Names are tokens, in the client's letters; values are trimmed and free of control bytes
    /// other than tabs.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let Self { block, table } = *self;
        let slots = &table.slots[..usize::from(table.len)];
        slots.iter().map(move |&slot| (name(block, slot), value(block, slot)))
    }

    /// The value of the first field of that name, in any case of letters.
    ///
    /// Walks over all fields; for those in [`Known`], ask [`Fields::known`].
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field of a known name.
    #[inline]
    pub fn known(&self, known: Known) -> Option<&'a [u8]> {
        let index = usize::from(self.table.known[known as usize]).checked_sub(1)?;
        Some(value(self.block, self.table.slots[index]))
    }

    /// Whether a known name stands more than once.
    #[inline]
    pub fn repeats(&self, known: Known) -> bool {
        self.table.repeated & 1 << known as u32 != 0
    }

    /// The value of a known field that must stand once; if it repeats, it counts as absent.
    pub fn single(&self, known: Known) -> Option<&'a [u8]> {
        if self.repeats(known) { None } else { self.known(known) }
    }

    /// All values of a known name, for fields that are lists and may stand on several lines.
    pub fn values(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let Self { block, table } = *self;
        let (first, last) = match usize::from(table.known[known as usize]) {
            0 => (0, 0),
            first if self.repeats(known) => (first - 1, self.len()),
            first => (first - 1, first),
        };
        table.slots[first..last]
            .iter()
            .filter(move |slot| Known::of(name(block, **slot).as_bytes()) == Some(known))
            .map(move |&slot| value(block, slot))
    }
}

fn name(block: &[u8], slot: Slot) -> &str {
    let start = usize::from(slot.name);
    let name = &block[start..start + usize::from(slot.name_len)];
    str::from_utf8(name).expect("names are tokens, and tokens are ASCII")
}

fn value(block: &[u8], slot: Slot) -> &[u8] {
    let start = usize::from(slot.value);
    &block[start..start + usize::from(slot.value_len)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_by_kind() {
        let block = b"Accept-ENCODING: gzip\r\nX-A:\r\nx-b: \t b c\t \r\n\
            accept-encoding:br\r\nIF-Match: *\r\nif-range: \"a\"\r\n\r\n";
        let mut table = FieldTable::new();
        let fields = table.parse(block, 0).unwrap();
        assert_eq!(fields.len(), 6);
        assert_eq!(fields.field("x-a"), Some(&b""[..]));
        assert_eq!(fields.field("X-B"), Some(&b"b c"[..]));
        assert_eq!(fields.field("x-c"), None);
        assert_eq!(fields.known(Known::AcceptEncoding), Some(&b"gzip"[..]));
        assert_eq!(fields.single(Known::AcceptEncoding), None);
        let all: Vec<_> = fields.values(Known::AcceptEncoding).collect();
        assert_eq!(all, [b"gzip".as_slice(), b"br"]);
        assert_eq!(fields.single(Known::IfMatch), Some(&b"*"[..]));
        assert_eq!(fields.single(Known::IfRange), Some(&b"\"a\""[..]));
        assert_eq!(fields.values(Known::Host).count(), 0);
    }

    #[test]
    fn a_table_forgets_the_head_before() {
        let mut table = FieldTable::new();
        assert!(table.parse(b"host: a\r\nhost: b\r\n\r\n", 0).unwrap().repeats(Known::Host));
        let fields = table.parse(b"x: y\r\n\r\n", 0).unwrap();
        assert_eq!((fields.len(), fields.known(Known::Host)), (1, None));
        assert!(!fields.repeats(Known::Host));
    }

    #[test]
    fn every_known_name_is_recognised() {
        for name in [
            "accept",
            "accept-encoding",
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "expect",
            "host",
            "if-match",
            "if-modified-since",
            "if-none-match",
            "if-range",
            "if-unmodified-since",
            "range",
            "referer",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "user-agent",
        ]
        .iter()
        .enumerate()
        {
            let (index, name) = name;
            let known = Known::of(name.to_uppercase().as_bytes());
            assert_eq!(known.map(|k| k as usize), Some(index), "{name}");
            assert_eq!(
                Known::of(name.replace('e', "x").as_bytes()).filter(|_| name.contains('e')),
                None
            );
        }
    }
}
