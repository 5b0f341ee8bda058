//! A listing as JSON: an array with an object for each entry.

use std::io::Write;

use crate::files::civil::Civil;
use crate::files::listing::table::Entry;
use crate::wire::target::escape_path;

/// Appends the object of an entry. `name` is for people: bytes that are not UTF-8 are replaced in
/// it. `href` is exact: the reference by which the entry is asked for.
pub(super) fn row(out: &mut Vec<u8>, entry: Entry<'_>, first: bool) {
    let slash = if entry.directory { "/" } else { "" };
    out.extend_from_slice(if first { b"\n{\"name\":" } else { b",\n{\"name\":" });
    string(out, &String::from_utf8_lossy(entry.name));
    out.extend_from_slice(b",\"href\":");
    string(out, &(escape_path(entry.name) + slash));
    let modified = Civil::new(entry.modified);
    let result = if entry.directory {
        write!(out, ",\"type\":\"directory\",\"size\":null,\"modified\":\"{modified}\"}}")
    } else {
        write!(out, ",\"type\":\"file\",\"size\":{},\"modified\":\"{modified}\"}}", entry.size)
    };
    result.expect("memory takes everything");
}

/// What stands before the rows.
pub(super) const BEGIN: &[u8] = b"[";

/// What stands behind them. A listing that leaves entries out says so in an object of its own, so
/// that it is not taken for whole.
pub(super) fn end(out: &mut Vec<u8>, entries: usize, more: bool) {
    if more {
        write!(out, ",\n{{\"type\":\"truncated\",\"entries\":{entries}}}")
            .expect("memory takes everything");
    }
    out.extend_from_slice(b"\n]\n");
}

/// Appends a string (RFC 8259, section 7).
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..b' ' | 0x7f => {
                write!(out, "\\u{byte:04x}").expect("memory takes everything");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects() {
        let file =
            Entry { name: b"a\"\\\n\x7f\xff\xc3\xa4", directory: false, size: 7, modified: 0 };
        let mut out = BEGIN.to_vec();
        row(&mut out, file, true);
        row(&mut out, Entry { name: b"d", directory: true, ..file }, false);
        end(&mut out, 2, true);
        let expected = "[\n\
            {\"name\":\"a\\\"\\\\\\u000a\\u007f\u{fffd}ä\",\"href\":\"a%22%5C%0A%7F%FF%C3%A4\",\
            \"type\":\"file\",\"size\":7,\"modified\":\"1970-01-01T00:00:00Z\"},\n\
            {\"name\":\"d\",\"href\":\"d/\",\"type\":\"directory\",\"size\":null,\
            \"modified\":\"1970-01-01T00:00:00Z\"},\n\
            {\"type\":\"truncated\",\"entries\":2}\n]\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
