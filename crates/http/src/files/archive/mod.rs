//! Sends a directory, with all that is in it, as an archive that is made while it is sent.
//!
//! The one design choice: the tree is walked on helper threads, step by step, as the client takes
//! the bytes, so that an archive of any size takes the memory of two steps. Small files are read
//! into a step; a large one is sent from where it lies (tar), or read a piece a step, for its check
//! sum (zip). What cannot be archived whole is aborted, so that it does not look complete.

mod tar;
mod walk;
mod zip;

use std::fmt::Write;
use std::os::unix::fs::FileExt;

use medusa_core::producer::{Part, Step, Steps};
use medusa_core::{Aborted, FileRange};
use medusa_fs::{Content, OpenFile};

use self::walk::{Walk, Walked};
use self::zip::Zip;
use crate::files::Source;
use crate::files::civil::unix_seconds;
use crate::files::query::ArchiveKind;
use crate::limits::{ARCHIVE_SMALL_BYTES, ARCHIVE_STEP_BYTES, ARCHIVE_STEP_ENTRIES};
use crate::reply::Reply;

/// An archive on its way.
pub(super) struct Archive {
    walk: Walk,
    form: Form,
    /// The large file that is being read.
    reading: Option<Reading>,
}

enum Form {
    Tar,
    Zip(Zip),
}

struct Reading {
    content: Content,
    at: u64,
    until: u64,
}

/// What the head of an entry says.
#[derive(Clone, Debug)]
struct Member {
    /// The path within the archive; of a directory with a slash at its end.
    name: Vec<u8>,
    directory: bool,
    /// In bytes.
    size: u64,
    /// Seconds since 1970.
    modified: i64,
    /// Permission bits.
    mode: u32,
}

/// Begins to archive a directory; blocks.
pub(super) fn begin(source: Source, kind: ArchiveKind) -> medusa_fs::Result<Archive> {
    let form = match kind {
        ArchiveKind::Tar => Form::Tar,
        ArchiveKind::Zip => Form::Zip(Zip::default()),
    };
    Ok(Archive { walk: Walk::begin(source)?, form, reading: None })
}

impl Steps for Archive {
    fn step(&mut self) -> Result<Step, Aborted> {
        let mut step = Step::default();
        let mut out = Vec::with_capacity(ARCHIVE_STEP_BYTES + ARCHIVE_SMALL_BYTES);
        for _ in 0..ARCHIVE_STEP_ENTRIES {
            if self.reading.is_some() {
                self.read(&mut out)?;
            } else {
                match self.walk.next()? {
                    Walked::Nothing => {}
                    Walked::Directory(member) => match &mut self.form {
                        Form::Tar => tar::head(&mut out, &member),
                        Form::Zip(zip) => zip.whole(&mut out, &member, b"")?,
                    },
                    Walked::File(name, file) => self.file(name, file, &mut step, &mut out)?,
                    Walked::End => {
                        match &self.form {
                            Form::Tar => out.extend_from_slice(&tar::END),
                            Form::Zip(zip) => zip.end(&mut out),
                        }
                        step.ended = true;
                    }
                }
            }
            // One large file at a time: its descriptor is held until it is sent.
            if step.ended || !step.parts.is_empty() || out.len() >= ARCHIVE_STEP_BYTES {
                break;
            }
        }
        out.shrink_to_fit();
        step.push(out);
        Ok(step)
    }
}

impl Archive {
    /// What it is called, without the ending of its kind.
    pub(super) fn name(&self) -> Vec<u8> {
        self.walk.base().to_vec()
    }

    /// Puts a file in, or its beginning. What was made before it stands in `out`.
    fn file(
        &mut self,
        name: Vec<u8>,
        file: OpenFile,
        step: &mut Step,
        out: &mut Vec<u8>,
    ) -> Result<(), Aborted> {
        let OpenFile { content, metadata } = file;
        let mut member = Member {
            name,
            directory: false,
            size: metadata.size,
            modified: unix_seconds(metadata.modified),
            mode: metadata.mode,
        };
        let small = metadata.size <= ARCHIVE_SMALL_BYTES as u64;
        match (&mut self.form, content) {
            (form, content) if small => {
                // Its head comes after it was read, and says what it really has.
                let mut bytes = Vec::with_capacity(ARCHIVE_SMALL_BYTES);
                read(&content, 0, metadata.size as usize, &mut bytes, &member)?;
                member.size = bytes.len() as u64;
                match form {
                    Form::Tar => {
                        tar::head(out, &member);
                        out.extend_from_slice(&bytes);
                        out.extend_from_slice(tar::padding(member.size));
                    }
                    Form::Zip(zip) => zip.whole(out, &member, &bytes)?,
                }
            }
            (Form::Tar, content) => {
                tar::head(out, &member);
                step.push(std::mem::take(out));
                match content {
                    Content::Memory(bytes) => step.push(bytes),
                    // One that becomes shorter ends the connection: zeros in place of the rest
                    // would look like content.
                    Content::Disk(file) => {
                        let range = FileRange { file, offset: 0, len: member.size };
                        step.parts.push_back(Part::File(range));
                    }
                }
                out.extend_from_slice(tar::padding(member.size));
            }
            (Form::Zip(zip), content) => {
                self.reading = Some(Reading { content, at: 0, until: member.size });
                zip.begin(out, member);
            }
        }
        Ok(())
    }

    /// Reads a piece of the large file, and its end.
    fn read(&mut self, out: &mut Vec<u8>) -> Result<(), Aborted> {
        let (Some(reading), Form::Zip(zip)) = (&mut self.reading, &mut self.form) else {
            return Ok(());
        };
        let left = reading.until - reading.at;
        let wanted = left.min(zip::BLOCK_BYTES as u64) as usize;
        let mut bytes = Vec::with_capacity(wanted);
        read(&reading.content, reading.at, wanted, &mut bytes, zip.member())?;
        zip.block(out, &bytes);
        reading.at += bytes.len() as u64;
        // What it says of its length comes behind it, so that a file may become shorter.
        if bytes.len() < wanted || reading.at == reading.until {
            self.reading = None;
            zip.finish(out)?;
        }
        Ok(())
    }
}

/// Reads as much of a content as there is, up to `len` bytes.
fn read(
    content: &Content,
    at: u64,
    len: usize,
    out: &mut Vec<u8>,
    member: &Member,
) -> Result<(), Aborted> {
    let file = match content {
        Content::Memory(bytes) => {
            let rest = bytes.get(at as usize..).unwrap_or_default();
            out.extend_from_slice(&rest[..len.min(rest.len())]);
            return Ok(());
        }
        Content::Disk(file) => file,
    };
    out.resize(len, 0);
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut out[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                let name = member.name.escape_ascii();
                return Err(Aborted::new(format!("cannot read {name} for an archive: {e}")));
            }
        }
    }
    out.truncate(filled);
    Ok(())
}

/// Begins the reply with an archive of a directory of this name.
pub(super) fn reply(kind: ArchiveKind, name: &[u8]) -> Reply {
    let (media_type, ending) = match kind {
        ArchiveKind::Tar => ("application/x-tar", ".tar"),
        ArchiveKind::Zip => ("application/zip", ".zip"),
    };
    Reply::new(200)
        .field("Content-Type", media_type)
        .field("Content-Disposition", disposition(&[name, ending.as_bytes()].concat()))
        .field("Accept-Ranges", "none")
        .field("Cache-Control", "no-cache")
        .field("X-Content-Type-Options", "nosniff")
}

/// Has a browser save what it gets under this name (RFC 6266, with the extended form of RFC 8187
/// for those that know it).
fn disposition(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let plain = |c: char| match c {
        '"' | '\\' | '%' => '_',
        ' '..='~' => c,
        _ => '_',
    };
    let mut value = String::from("attachment; filename=\"");
    value.extend(text.chars().map(plain));
    value.push_str("\"; filename*=UTF-8''");
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            write!(value, "%{byte:02X}").expect("memory takes everything");
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_in_both_forms() {
        for (name, expected) in [
            (&b"a.zip"[..], "attachment; filename=\"a.zip\"; filename*=UTF-8''a.zip"),
            (b"a b", "attachment; filename=\"a b\"; filename*=UTF-8''a%20b"),
            (b"a\"\\%\r\n", "attachment; filename=\"a_____\"; filename*=UTF-8''a%22%5C%25%0D%0A"),
            ("ä".as_bytes(), "attachment; filename=\"_\"; filename*=UTF-8''%C3%A4"),
            (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        ] {
            assert_eq!(disposition(name), expected);
        }
    }
}
