//! A line of a listing as `ls -l` writes it, which is what clients parse.

use std::time::SystemTime;

use medusa_fs::{Kind, Metadata};

use super::reply::push_text;
use super::time::push_list_date;

/// Appends a line with its end. `now` says what is recent.
pub fn push_line(out: &mut Vec<u8>, name: &[u8], metadata: &Metadata, now: SystemTime) {
    out.push(match metadata.kind {
        Kind::Dir => b'd',
        Kind::Symlink => b'l',
        Kind::File | Kind::Other => b'-',
    });
    for shift in [6, 3, 0] {
        let bits = metadata.mode >> shift;
        for (bit, letter) in [(4, b'r'), (2, b'w'), (1, b'x')] {
            out.push(if bits & bit == 0 { b'-' } else { letter });
        }
    }
    let (links, uid, gid, size) = (metadata.nlink, metadata.uid, metadata.gid, metadata.size);
    out.extend_from_slice(format!(" {links:>4} {uid:<8} {gid:<8} {size:>12} ").as_bytes());
    push_list_date(out, metadata.modified, now);
    out.push(b' ');
    push_name(out, b"", name);
}

/// Appends a name in a directory, whose own name ends in a slash, and the end of the line. What
/// would end the line is shown as a question mark.
pub fn push_name(out: &mut Vec<u8>, directory: &[u8], name: &[u8]) {
    let clean = |byte: &u8| !matches!(byte, 0..0x20 | 0x7f | 0xff);
    for part in [directory, name] {
        if part.iter().all(clean) {
            out.extend_from_slice(part);
        } else {
            // On a data connection there is no telnet, so its escape is not doubled.
            for &byte in part {
                if byte == 0xff { out.push(byte) } else { push_text(out, &[byte]) }
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}
