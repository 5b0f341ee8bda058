//! The tar format: ustar heads, with pax records for what they cannot say (POSIX.1-2001, pax).
//!
//! Pure: values in, bytes out. Owners are not told: they mean nothing where the archive is read.

use std::io::Write;

use crate::files::archive::Member;

/// All sizes in an archive are multiples of it, in bytes.
const BLOCK_BYTES: usize = 512;

/// What ends an archive.
pub(super) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The longest name that a head holds, in bytes.
const NAME_BYTES: usize = 100;

/// The largest size that a head holds: eleven octal digits.
const MAX_SIZE: u64 = 0o777_7777_7777;

/// What stands behind a content of so many bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let over = (size % BLOCK_BYTES as u64) as usize;
    &ZEROS[..(BLOCK_BYTES - over) % BLOCK_BYTES]
}

/// Appends the head of an entry; its content and [`padding`] come behind.
pub(super) fn head(out: &mut Vec<u8>, member: &Member) {
    let mut records = Vec::new();
    // A short name that is no text stands in the head as it is. A long one has no place but here,
    // where readers take it as it is, too.
    let foreign = std::str::from_utf8(&member.name).is_ok_and(|text| !text.is_ascii());
    if foreign || member.name.len() > NAME_BYTES {
        record(&mut records, "path", &member.name);
    }
    if member.size > MAX_SIZE {
        record(&mut records, "size", member.size.to_string().as_bytes());
    }
    if !records.is_empty() {
        let extended = Member {
            name: b"PaxHeaders/entry".to_vec(),
            directory: false,
            size: records.len() as u64,
            modified: member.modified,
            mode: 0o644,
        };
        block(out, &extended, b'x');
        out.extend_from_slice(&records);
        out.extend_from_slice(padding(records.len() as u64));
    }
    block(out, member, if member.directory { b'5' } else { b'0' });
}

/// Appends one block of a head.
fn block(out: &mut Vec<u8>, member: &Member, kind: u8) {
    let mut block = ZEROS;
    let name = &member.name[..member.name.len().min(NAME_BYTES)];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], u64::from(member.mode & 0o777));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], if member.size > MAX_SIZE { 0 } else { member.size });
    octal(&mut block[136..148], u64::try_from(member.modified).unwrap_or(0).min(MAX_SIZE));
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum = block.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut block[148..155], sum);
    out.extend_from_slice(&block);
}

/// Writes octal digits and a NUL; the number fits.
fn octal(mut field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    write!(field, "{number:0width$o}\0").expect("the number fits its field");
}

/// Appends a pax record: its length, which counts itself, a name and a value.
fn record(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let inner = name.len() + value.len() + 3;
    let mut len = inner + 1;
    while inner + len.to_string().len() != len {
        len = inner + len.to_string().len();
    }
    write!(out, "{len} {name}=").expect("memory takes everything");
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for len in 0..2000 {
            let mut out = Vec::new();
            record(&mut out, "path", &vec![b'n'; len]);
            let space = out.iter().position(|&b| b == b' ').unwrap();
            let said: usize = std::str::from_utf8(&out[..space]).unwrap().parse().unwrap();
            assert_eq!(said, out.len());
        }
    }

    #[test]
    fn everything_stands_in_whole_blocks() {
        for size in [0, 1, 511, 512, 513, u64::MAX] {
            assert!((size % 512 + padding(size).len() as u64).is_multiple_of(512), "{size}");
            assert!(padding(size).len() < 512);
        }
        for len in [1, 100, 101, 255, 4000] {
            let member = Member {
                name: vec![b'n'; len],
                directory: false,
                size: u64::MAX,
                modified: i64::MIN,
                mode: u32::MAX,
            };
            let mut out = Vec::new();
            head(&mut out, &member);
            assert!(out.len().is_multiple_of(512));
        }
    }

    #[test]
    fn what_is_too_large_for_the_head_has_a_record() {
        for size in [MAX_SIZE, MAX_SIZE + 1, 1 << 40] {
            let name = b"huge".to_vec();
            let member = Member { name, directory: false, size, modified: 0, mode: 0 };
            let mut out = Vec::new();
            head(&mut out, &member);
            let mut archive = tar::Archive::new(&out[..]);
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.size(), size);
        }
    }
}
