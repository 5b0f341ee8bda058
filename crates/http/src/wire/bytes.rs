//! Classes of bytes, and scans that stop at the first byte outside a class.
//!
//! The scans look at eight bytes at a time in a plain integer, or at thirty-two in a loop that
//! the compiler turns into vector code: that is as fast here as vector code written by hand,
//! and it is safe.

/// A byte of a token: methods, field names, connection options (RFC 9110 §5.6.2).
const TOKEN: u8 = 1;
/// A byte of a registered name without its escapes (RFC 3986 §3.2.2).
const REG_NAME: u8 = 2;
/// A byte that stands for itself in the paths that we write.
const PATH: u8 = 4;
/// A byte of an entity tag (RFC 9110 §8.8.3).
const ETAG: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let sub_delim = matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        );
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'
            )
            || matches!(byte, b'_' | b'`' | b'|' | b'~')
        {
            table[i] |= TOKEN;
        }
        if unreserved || sub_delim {
            table[i] |= REG_NAME;
        }
        if unreserved || sub_delim || matches!(byte, b'/' | b'@') {
            table[i] |= PATH;
        }
        if byte == 0x21 || (byte >= 0x23 && byte != 0x7f) {
            table[i] |= ETAG;
        }
        i += 1;
    }
    table
}

/// Bytes of the longest prefix in which every byte has the class.
fn prefix(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&b| CLASS[usize::from(b)] & class == 0).unwrap_or(bytes.len())
}

/// Bytes of the token that `bytes` starts with.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    prefix(bytes, TOKEN)
}

/// Whether `bytes` is a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_len(bytes) == bytes.len()
}

/// Bytes of the registered name that `bytes` starts with, up to an escape.
#[inline]
pub(super) fn reg_name_len(bytes: &[u8]) -> usize {
    prefix(bytes, REG_NAME)
}

/// Bytes of the entity tag that `bytes` starts with, its opening quote taken off.
pub(super) fn etag_len(bytes: &[u8]) -> usize {
    prefix(bytes, ETAG)
}

/// Whether a byte stands for itself in a path that we write.
pub(super) fn is_plain_in_path(byte: u8) -> bool {
    CLASS[usize::from(byte)] & PATH != 0
}

/// One bit in each byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The top bit of each byte of a word.
const TOPS: u64 = ONES << 7;

/// Marks the control bytes of a word (under 0x20, and 0x7F) by their top bits, exactly.
#[inline]
fn controls(word: u64) -> u64 {
    let low = word & !TOPS;
    // Neither sum carries into the next byte: 0x7F + 0x60 is 0xDF.
    let under_space = !(low + ONES * 0x60);
    let delete = low + ONES;
    (under_space | delete) & !word & TOPS
}

/// Marks the bytes of a word outside 0x21..=0x7E by their top bits, exactly.
#[inline]
fn not_graphic(word: u64) -> u64 {
    let low = word & !TOPS;
    let up_to_space = !(low + ONES * 0x5f);
    let delete = low + ONES;
    (up_to_space | delete | word) & TOPS
}

/// Marks the bytes of a word that are one of three by their top bits; the lowest mark is exact.
#[inline]
fn any_of(word: u64, three: [u8; 3]) -> u64 {
    three.iter().fold(0, |found, &byte| {
        let zero = word ^ (ONES * u64::from(byte));
        found | (zero.wrapping_sub(ONES) & !zero & TOPS)
    })
}

/// Where the first of three bytes stands; quick for short texts.
#[inline]
pub(crate) fn find_any(bytes: &[u8], three: [u8; 3]) -> Option<usize> {
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<8>() {
        let found = any_of(u64::from_le_bytes(*block), three);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let tail = bytes[at..].iter().position(|byte| three.contains(byte))?;
    Some(at + tail)
}

/// Bytes of the text that `bytes` starts with that may stand within quotes as it is: printable
/// ASCII without quotes and backslashes.
#[inline]
pub(crate) fn quotable_len(bytes: &[u8]) -> usize {
    let marked = |block: [u8; 8]| {
        let word = u64::from_le_bytes(block);
        let found = controls(word) | word & TOPS | any_of(word, [b'"', b'\\', b'"']);
        (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
    };
    let Some(last) = bytes.last_chunk::<8>() else {
        let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
        return bytes.iter().position(|b| !plain(b)).unwrap_or(bytes.len());
    };
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<8>() {
        if let Some(place) = marked(*block) {
            return at + place;
        }
        at += 8;
    }
    // What is looked at twice was plain.
    marked(*last).map_or(bytes.len(), |place| bytes.len() - 8 + place)
}

/// Where the first line feed stands: lines of a head are mostly short, and a search that is made
/// for long texts takes as long to begin as to go through a short one.
#[inline]
pub(super) fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    const SHORT: usize = 48;
    let mut at = 0;
    while at < SHORT
        && let Some(block) = bytes[at..].first_chunk::<8>()
    {
        let found = any_of(u64::from_le_bytes(*block), [b'\n'; 3]);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = &bytes[at..];
    let found = if rest.len() < 8 {
        rest.iter().position(|&b| b == b'\n')
    } else {
        memchr::memchr(b'\n', rest)
    };
    Some(at + found?)
}

/// Bytes before the first control byte; a tab is one.
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<32>() {
        let found =
            block.iter().fold(0, |found, &b| found | u8::from(b < 0x20) | u8::from(b == 0x7f));
        if found != 0 {
            break;
        }
        at += 32;
    }
    while let Some(block) = bytes[at..].first_chunk::<8>() {
        let found = controls(u64::from_le_bytes(*block));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = &bytes[at..];
    at + tail.iter().position(u8::is_ascii_control).unwrap_or(tail.len())
}

/// Bytes before the first that is not in 0x21..=0x7E.
#[inline]
pub(crate) fn graphic_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<8>() {
        let found = not_graphic(u64::from_le_bytes(*block));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = &bytes[at..];
    at + tail.iter().position(|b| !b.is_ascii_graphic()).unwrap_or(tail.len())
}

/// Whether a byte is optional white space (RFC 9110 §5.6.3).
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Takes white space off both ends.
#[inline]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed; empty ones too (RFC 9110 §5.6.1).
pub(super) fn list(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&b| b == b',').map(trim)
}

/// The number that `digits` writes in decimal: digits only, at least one.
///
/// `Err(true)` is a number over 64 bits, `Err(false)` no number at all.
pub(super) fn decimal(digits: &[u8]) -> Result<u64, bool> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(false);
    }
    if digits.len() <= SAFE_DIGITS {
        return Ok(digits.iter().fold(0, |n, &d| n * 10 + u64::from(d - b'0')));
    }
    digits
        .iter()
        .try_fold(0_u64, |n, &d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
        .ok_or(true)
}

/// So many digits are never more than 64 bits.
const SAFE_DIGITS: usize = 19;

/// What a byte is worth as a hexadecimal digit.
#[inline]
pub(super) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The digits that bytes are escaped with.
pub(crate) const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    /// The clever scans agree with the plain question, for every byte at every place.
    #[test]
    fn scans_agree_with_the_plain_question() {
        for byte in 0..=255_u8 {
            for place in 0..70 {
                let mut text = [b'a'; 80];
                // Bytes that tempt a carry into the neighbour.
                text[place + 1] = 0xff;
                text[place + 2] = 0x1f;
                text[place] = byte;
                let control = byte < 0x20 || byte == 0x7f;
                let expected = if control { place } else { place + 2 };
                assert_eq!(text_len(&text), expected, "byte {byte:#x} at {place}");
                let graphic = (0x21..=0x7e).contains(&byte);
                let expected = if graphic { place + 1 } else { place };
                assert_eq!(graphic_len(&text), expected, "byte {byte:#x} at {place}");
                let quotable = (0x20..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\';
                let expected = if quotable { place + 1 } else { place };
                assert_eq!(quotable_len(&text), expected, "byte {byte:#x} at {place}");
                assert_eq!(quotable_len(&text[..=place]), expected, "byte {byte:#x} at {place}");
                // The byte before the wanted one must not be taken for it.
                for wanted in [b'?', b'#', byte] {
                    let three = [wanted, b'?', 0x22];
                    let expected = text.iter().position(|b| three.contains(b));
                    assert_eq!(find_any(&text, three), expected, "byte {byte:#x} at {place}");
                }
                let line_feed = text.iter().position(|&b| b == b'\n');
                assert_eq!(find_line_feed(&text), line_feed, "byte {byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn decimal_takes_digits_only() {
        assert_eq!(decimal(b"0018446744073709551615"), Ok(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), Err(true));
        for bad in ["", "+5", "-1", "0x5", "1_0", " 1", "1 "] {
            assert_eq!(decimal(bad.as_bytes()), Err(false), "{bad:?}");
        }
    }
}
