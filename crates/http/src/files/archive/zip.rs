//! The zip format, written from front to back (APPNOTE 6.3.10).
//!
//! The one design choice: a file that is not in memory is written as a deflate stream of stored
//! blocks, with its check sum and sizes in a descriptor behind it. It takes no time to compress,
//! and every reader takes it: a descriptor behind a stored entry has no end that could be found
//! without the directory, so that readers of streams refuse it.
//!
//! Pure: values in, bytes out. Only the directory at the end is kept in memory, within a bound.

use medusa_core::Aborted;

use crate::files::archive::Member;
use crate::files::civil::Civil;
use crate::limits::ZIP_DIRECTORY_BYTES;

/// Bytes of content in one block of a deflate stream (RFC 1951, section 3.2.4).
pub(super) const BLOCK_BYTES: usize = 65_535;

/// From here on a field of 32 bits says that the number stands elsewhere.
const MAX_32: u64 = 0xffff_ffff;
const MAX_16: usize = 0xffff;

/// The version that a reader must know: directories and deflate, or numbers of 64 bits.
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
/// The maker is a Unix, so that attributes are a mode.
const MADE_BY: u16 = (3 << 8) | VERSION_64;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Flags: check sum and sizes stand behind the content; the name is UTF-8.
const DESCRIPTOR: u16 = 1 << 3;
const UTF_8: u16 = 1 << 11;

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
/// The attribute of a directory for systems that know no modes.
const DOS_DIRECTORY: u32 = 0x10;

/// The state of an archive that is being written.
#[derive(Debug, Default)]
pub(super) struct Zip {
    /// Where the next byte goes.
    offset: u64,
    /// The directory so far.
    directory: Vec<u8>,
    entries: usize,
    open: Option<Open>,
}

/// An entry that is being written.
#[derive(Debug)]
struct Open {
    member: Member,
    offset: u64,
    /// Sizes have 64 bits in its descriptor.
    wide: bool,
    sum: crc32fast::Hasher,
    packed: u64,
    size: u64,
}

/// What the directory says of an entry.
struct Record<'a> {
    member: &'a Member,
    offset: u64,
    method: u16,
    flags: u16,
    sum: u32,
    packed: u64,
    size: u64,
}

impl Zip {
    /// Appends an entry whose content is here.
    pub(super) fn whole(
        &mut self,
        out: &mut Vec<u8>,
        member: &Member,
        content: &[u8],
    ) -> Result<(), Aborted> {
        let size = content.len() as u64;
        let record = Record {
            member,
            offset: self.offset,
            method: STORED,
            flags: 0,
            sum: crc32fast::hash(content),
            packed: size,
            size,
        };
        let before = out.len();
        head(out, &record, false);
        out.extend_from_slice(content);
        self.offset += (out.len() - before) as u64;
        self.remember(&record)
    }

    /// Begins an entry of at most `member.size` bytes.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>, member: Member) {
        // Room for what the blocks take besides the content.
        let wide = member.size + member.size / 1024 >= MAX_32;
        let record = Record {
            member: &member,
            offset: self.offset,
            method: DEFLATED,
            flags: DESCRIPTOR,
            sum: 0,
            packed: 0,
            size: 0,
        };
        let before = out.len();
        head(out, &record, wide);
        let offset = self.offset;
        self.offset += (out.len() - before) as u64;
        let sum = crc32fast::Hasher::new();
        self.open = Some(Open { member, offset, wide, sum, packed: 0, size: 0 });
    }

    /// The entry that was begun; there is one.
    pub(super) fn member(&self) -> &Member {
        &self.open.as_ref().expect("an entry was begun").member
    }

    /// Appends content of the entry that was begun: at most [`BLOCK_BYTES`].
    pub(super) fn block(&mut self, out: &mut Vec<u8>, content: &[u8]) {
        let Some(open) = &mut self.open else { return };
        if content.is_empty() {
            return;
        }
        open.sum.update(content);
        open.size += content.len() as u64;
        let before = out.len();
        block(out, content, false);
        open.packed += (out.len() - before) as u64;
    }

    /// Ends the entry that was begun.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Aborted> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let before = out.len();
        block(out, b"", true);
        open.packed += (out.len() - before) as u64;
        let sum = open.sum.finalize();
        let before = out.len();
        out.extend_from_slice(b"PK\x07\x08");
        put32(out, sum);
        for number in [open.packed, open.size] {
            if open.wide { put64(out, number) } else { put32(out, number as u32) }
        }
        self.offset += open.packed + (out.len() - before) as u64;
        self.remember(&Record {
            member: &open.member,
            offset: open.offset,
            method: DEFLATED,
            flags: DESCRIPTOR,
            sum,
            packed: open.packed,
            size: open.size,
        })
    }

    /// Adds an entry to the directory.
    fn remember(&mut self, record: &Record<'_>) -> Result<(), Aborted> {
        let mut wide = Vec::new();
        for number in [record.size, record.packed, record.offset] {
            if number >= MAX_32 {
                put64(&mut wide, number);
            }
        }
        let out = &mut self.directory;
        out.extend_from_slice(b"PK\x01\x02");
        put16(out, MADE_BY);
        common(out, record, !wide.is_empty());
        put32(out, record.sum);
        put32(out, record.packed.min(MAX_32) as u32);
        put32(out, record.size.min(MAX_32) as u32);
        let stamp = stamp(record.member);
        let extra = stamp.len() + if wide.is_empty() { 0 } else { 4 + wide.len() };
        put16(out, record.member.name.len() as u16);
        put16(out, extra as u16);
        // No comment, on the first disk, nothing known of its content.
        for _ in 0..3 {
            put16(out, 0);
        }
        let (kind, dos) =
            if record.member.directory { (DIRECTORY, DOS_DIRECTORY) } else { (FILE, 0) };
        put32(out, ((kind | (record.member.mode & 0o777)) << 16) | dos);
        put32(out, record.offset.min(MAX_32) as u32);
        out.extend_from_slice(&record.member.name);
        if !wide.is_empty() {
            put16(out, 1);
            put16(out, wide.len() as u16);
            out.extend_from_slice(&wide);
        }
        out.extend_from_slice(&stamp);
        self.entries += 1;
        if self.directory.len() > ZIP_DIRECTORY_BYTES {
            return Err(Aborted::new(format!(
                "a zip archive has too many entries, {}: take tar, which has no directory at its \
                 end",
                self.entries
            )));
        }
        Ok(())
    }

    /// Appends the directory, which ends the archive.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.directory);
        let (size, entries) = (self.directory.len() as u64, self.entries as u64);
        let wide = self.entries >= MAX_16 || size >= MAX_32 || self.offset >= MAX_32;
        if wide {
            out.extend_from_slice(b"PK\x06\x06");
            put64(out, 44);
            put16(out, MADE_BY);
            put16(out, VERSION_64);
            put64(out, 0);
            for number in [entries, entries, size, self.offset] {
                put64(out, number);
            }
            out.extend_from_slice(b"PK\x06\x07");
            put32(out, 0);
            put64(out, self.offset + size);
            put32(out, 1);
        }
        out.extend_from_slice(b"PK\x05\x06");
        put32(out, 0);
        for _ in 0..2 {
            put16(out, self.entries.min(MAX_16) as u16);
        }
        put32(out, size.min(MAX_32) as u32);
        put32(out, self.offset.min(MAX_32) as u32);
        put16(out, 0);
    }
}

/// Appends the head that stands before an entry. If it is `wide`, the sizes have 64 bits.
fn head(out: &mut Vec<u8>, record: &Record<'_>, wide: bool) {
    out.extend_from_slice(b"PK\x03\x04");
    common(out, record, wide);
    put32(out, record.sum);
    for number in [record.packed, record.size] {
        put32(out, if wide { MAX_32 as u32 } else { number as u32 });
    }
    let stamp = stamp(record.member);
    put16(out, record.member.name.len() as u16);
    put16(out, (stamp.len() + if wide { 20 } else { 0 }) as u16);
    out.extend_from_slice(&record.member.name);
    if wide {
        put16(out, 1);
        put16(out, 16);
        put64(out, record.size);
        put64(out, record.packed);
    }
    out.extend_from_slice(&stamp);
}

/// Appends what both heads of an entry have in common: version, flags, method, date.
fn common(out: &mut Vec<u8>, record: &Record<'_>, wide: bool) {
    let utf_8 = if std::str::from_utf8(&record.member.name).is_ok() { UTF_8 } else { 0 };
    put16(out, if wide { VERSION_64 } else { VERSION });
    put16(out, record.flags | utf_8);
    put16(out, record.method);
    let (time, date) = dos(record.member.modified);
    put16(out, time);
    put16(out, date);
}

/// The time and date as DOS has them: from 1980 to 2107, in steps of two seconds.
fn dos(modified: i64) -> (u16, u16) {
    const FIRST: i64 = 315_532_800;
    const LAST: i64 = 4_354_819_198;
    let at = Civil::new(modified.clamp(FIRST, LAST));
    let time =
        (u16::from(at.hour) << 11) | (u16::from(at.minute) << 5) | (u16::from(at.second) / 2);
    let date = ((at.year - 1980) << 9) | (u16::from(at.month) << 5) | u16::from(at.day);
    (time, date)
}

/// The extra field that says when the content changed in seconds since 1970: the time of DOS has
/// no zone. Empty where the seconds do not fit.
fn stamp(member: &Member) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(seconds) = i32::try_from(member.modified) {
        out.extend_from_slice(b"UT\x05\x00\x01");
        out.extend_from_slice(&seconds.to_le_bytes());
    }
    out
}

/// Appends a stored block of a deflate stream.
fn block(out: &mut Vec<u8>, content: &[u8], last: bool) {
    let len = content.len() as u16;
    out.push(u8::from(last));
    put16(out, len);
    put16(out, !len);
    out.extend_from_slice(content);
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    fn member(name: &str, size: u64) -> Member {
        Member { name: name.into(), directory: false, size, modified: 0, mode: 0o644 }
    }

    /// 16 bits for the number of entries are not enough.
    #[test]
    fn many_entries_are_counted_with_64_bits() {
        let (mut zip, mut out) = (Zip::default(), Vec::new());
        for n in 0..70_000 {
            zip.whole(&mut out, &member(&n.to_string(), 0), b"").unwrap();
        }
        zip.end(&mut out);
        let mut archive = zip::ZipArchive::new(Cursor::new(out)).unwrap();
        assert_eq!(archive.len(), 70_000);
        assert!(archive.by_name("69999").is_ok());
    }

    /// What might become too large for 32 bits has 64 in its head, whatever becomes of it.
    #[test]
    fn an_entry_that_may_be_huge_can_be_read() {
        let (mut zip, mut out) = (Zip::default(), Vec::new());
        for size in [MAX_32 - MAX_32 / 1000, MAX_32 - 1, MAX_32, 1 << 40] {
            zip.begin(&mut out, member(&size.to_string(), size));
            zip.block(&mut out, b"some ");
            zip.block(&mut out, b"");
            zip.block(&mut out, b"content");
            zip.finish(&mut out).unwrap();
        }
        zip.whole(&mut out, &member("last", 0), b"last").unwrap();
        zip.end(&mut out);
        let mut archive = zip::ZipArchive::new(Cursor::new(out)).unwrap();
        assert_eq!(archive.len(), 5);
        for place in 0..4 {
            let mut content = String::new();
            archive.by_index(place).unwrap().read_to_string(&mut content).unwrap();
            assert_eq!(content, "some content");
        }
    }

    /// The fields that say where it is and how large come in this order, and only if they must.
    #[test]
    fn what_is_far_behind_is_found() {
        let mut zip = Zip { offset: MAX_32, ..Zip::default() };
        let mut out = Vec::new();
        zip.whole(&mut out, &member("n", 4), b"last").unwrap();
        let record = &zip.directory;
        assert_eq!(record[42..46], [0xff; 4]);
        let extra = &record[46 + 1..];
        assert_eq!(extra[..12], [1, 0, 8, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        out.clear();
        zip.end(&mut out);
        let end = &out[zip.directory.len()..];
        assert!(end.starts_with(b"PK\x06\x06") && end[56..].starts_with(b"PK\x06\x07"));
        let size = zip.directory.len() as u64;
        assert_eq!(end[64..72], (zip.offset + size).to_le_bytes());
        assert_eq!(end[48..56], zip.offset.to_le_bytes());
    }

    #[test]
    fn dates_are_kept_within_what_dos_knows() {
        assert_eq!(dos(i64::MIN), (0, 1 << 5 | 1));
        assert_eq!(dos(i64::MAX), (0xbf7d, 0xff9f));
        assert_eq!(stamp(&member("n", 0)).len(), 9);
        assert!(stamp(&Member { modified: 1 << 31, ..member("n", 0) }).is_empty());
    }
}
