//! A file ready to be served: its content or its handle, its validators, and the head lines that
//! go with it, made once.

use std::borrow::Cow;
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use medusa_core::FileRange;
use medusa_fs::{Content, ErrorKind, OpenFile, Stamp, VirtualPath};

use crate::files::parts;
use crate::files::shared::SharedFiles;
use crate::limits::CACHED_FILE_BYTES;
use crate::reply::{Body, Reply};
use crate::wire::coding::Coding;
use crate::wire::conditional::{ETag, Outcome, Validators, evaluate};
use crate::wire::fields::Known;
use crate::wire::head::Head;
use crate::wire::range::{ByteRange, Resolved, resolve};
use crate::wire::reply::imf_date;

/// A file whose state changed this recently is not kept: a second change within one tick of the
/// file system's clock could not be told from the first. FAT counts in two seconds.
const RACY: Duration = Duration::from_secs(2);

/// A file ready to be served.
pub(crate) struct Stored {
    pub(crate) path: VirtualPath,
    pub(crate) stamp: Stamp,
    content: Stuff,
    size: u64,
    modified: u64,
    etag: Box<str>,
    content_type: Box<str>,
    coding: Option<Coding>,
    /// The lines that say what it is: its type, that ranges are served, its validators. Behind
    /// them, only for all of it, its length.
    block: Bytes,
    /// Bytes of the block without the length.
    lines: usize,
    /// The lines of `block` that stand in a 304 and in a reply of several parts too: on what the
    /// answer depends, and how long it may be kept.
    shared_lines: Bytes,
}

/// What is said of a file beside its validators.
pub(crate) struct Label<'a> {
    pub(crate) content_type: Box<str>,
    pub(crate) cache_control: Option<&'a str>,
    /// Another client may get it in another coding.
    pub(crate) varies: bool,
    /// The coding that the file is in.
    pub(crate) coding: Option<Coding>,
}

enum Stuff {
    Bytes(Bytes),
    File(FileRange),
}

impl Stored {
    /// Reads a small file, keeps a large one open. Unless it `may_block`, the answer is
    /// `WouldBlock` when the content must come from the disk. `now` is the time since 1970.
    pub(crate) fn new(
        path: VirtualPath,
        file: OpenFile,
        may_block: bool,
        now: Duration,
        label: &Label<'_>,
    ) -> medusa_fs::Result<Self> {
        let stamp = file.metadata.stamp;
        let content = match file.content {
            Content::Memory(bytes) => Stuff::Bytes(bytes),
            Content::Disk(file) if stamp.size <= CACHED_FILE_BYTES => {
                let mut bytes = vec![0; stamp.size as usize];
                let mut filled = 0;
                while filled < bytes.len() {
                    let n = if may_block {
                        file.read_at(&mut bytes[filled..], filled as u64)
                    } else {
                        medusa_core::sys::read_at_now(&file, &mut bytes[filled..], filled as u64)
                    };
                    match n {
                        Ok(0) => break,
                        Ok(n) => filled += n,
                        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                            return Err(medusa_fs::Error::new(
                                ErrorKind::WouldBlock,
                                "read",
                                &path,
                            ));
                        }
                        Err(e) => return Err(medusa_fs::Error::from_io(e, "read", &path)),
                    }
                }
                bytes.truncate(filled);
                Stuff::Bytes(bytes.into())
            }
            Content::Disk(file) => Stuff::File(FileRange { file, offset: 0, len: stamp.size }),
        };
        let size = match &content {
            Stuff::Bytes(bytes) => bytes.len() as u64,
            Stuff::File(range) => range.len,
        };
        let modified =
            file.metadata.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A Last-Modified must not be later than the Date (RFC 9110, section 8.8.2.1). A file
        // from the future is not kept, so this is done for each of its replies.
        let modified = modified.min(now.as_secs());
        let etag = etag_of(&stamp);
        let content_type = label.content_type.clone();
        let mut shared_lines = String::new();
        if label.varies {
            shared_lines.push_str("Vary: Accept-Encoding\r\n");
        }
        if let Some(value) = label.cache_control {
            shared_lines.push_str("Cache-Control: ");
            shared_lines.push_str(value);
            shared_lines.push_str("\r\n");
        }
        let coding = label.coding;
        let coded = coding.map_or(String::new(), |c| format!("Content-Encoding: {c}\r\n"));
        let date = imf_date(modified);
        let date = String::from_utf8_lossy(&date);
        let about = format!(
            "Content-Type: {content_type}\r\n{coded}Accept-Ranges: bytes\r\nETag: {etag}\r\n\
             Last-Modified: {date}\r\n{shared_lines}"
        );
        let lines = about.len();
        let block = format!("{about}Content-Length: {size}\r\n").into();
        Ok(Self {
            path,
            stamp,
            content,
            size,
            modified,
            etag,
            content_type,
            coding,
            block,
            lines,
            shared_lines: shared_lines.into(),
        })
    }

    /// Uses the descriptor of a large file that is being sent in the same state already.
    pub(crate) fn share(&mut self, files: &mut SharedFiles) {
        if let Stuff::File(range) = &mut self.content {
            range.file = files.share(self.stamp, range.file.clone());
        }
    }

    /// Bytes that it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let content = match &self.content {
            Stuff::Bytes(bytes) => bytes.len(),
            Stuff::File(_) => 0,
        };
        content + self.block.len() + self.shared_lines.len() + self.etag.len() + 256
    }

    /// Whether it may be kept for later requests.
    pub(crate) fn is_cacheable(&self, now: Duration) -> bool {
        let small = matches!(&self.content, Stuff::Bytes(b) if b.len() as u64 <= CACHED_FILE_BYTES);
        small && self.is_settled(now)
    }

    /// Whether a further change will show in its state.
    pub(crate) fn is_settled(&self, now: Duration) -> bool {
        let newest = self.stamp.modified_ns.max(self.stamp.changed_ns);
        // A time before 1970, or one in the future, is not settled either.
        u64::try_from(newest)
            .is_ok_and(|newest| now.checked_sub(Duration::from_nanos(newest)) > Some(RACY))
    }

    /// Answers a GET or HEAD, with its conditions and ranges.
    pub(crate) fn reply(&self, head: &Head<'_>, now: Duration) -> Reply {
        match self.evaluate(head, now, false) {
            Err(reply) => reply,
            Ok(false) => self.whole(),
            Ok(true) => match resolve(head.known(Known::Range).unwrap_or_default(), self.size) {
                Resolved::Ignored => self.whole(),
                Resolved::Unsatisfiable => Reply::text(416, "the file has no such bytes")
                    .field("Content-Range", format!("bytes */{}", self.size)),
                Resolved::Satisfiable(ranges) => match ranges.as_slice() {
                    [one] => Reply::new(206)
                        .block(self.block.slice(..self.lines))
                        .field("Content-Range", parts::content_range(*one, self.size))
                        .body(self.slice(*one)),
                    // A part has no place that would say that its bytes are of a coded form.
                    _ if self.coding.is_some() => self.whole(),
                    many => parts::reply(self, many, now),
                },
            },
        }
    }

    /// Evaluates the conditions of a request: whether its range counts, or the reply that says
    /// that there is nothing to send. `weak` is for a form that is coded anew each time.
    pub(crate) fn evaluate(
        &self,
        head: &Head<'_>,
        now: Duration,
        weak: bool,
    ) -> Result<bool, Reply> {
        const CONDITIONS: [Known; 6] = [
            Known::IfNoneMatch,
            Known::IfModifiedSince,
            Known::Range,
            Known::IfMatch,
            Known::IfUnmodifiedSince,
            Known::IfRange,
        ];
        if CONDITIONS.iter().all(|&known| head.known(known).is_none()) {
            return Ok(false);
        }
        let etag: Cow<'_, str> =
            if weak { format!("W/{}", self.etag).into() } else { Cow::Borrowed(&self.etag) };
        let validators = Validators {
            exists: true,
            etag: ETag::parse(etag.as_bytes()),
            modified: Some(self.modified),
        };
        match evaluate(head, &validators, now.as_secs()) {
            Outcome::NotModified => Err(Reply::new(304)
                .block(self.shared_lines.clone())
                .field("ETag", etag.as_bytes())
                .field("Last-Modified", imf_date(self.modified))),
            Outcome::PreconditionFailed => {
                Err(Reply::text(412, "the file is not as you expect it"))
            }
            Outcome::Proceed { range } => Ok(range),
        }
    }

    /// The lines of a reply with this file coded on the fly: no ranges, and a weak tag.
    pub(crate) fn coded_lines(&self, coding: Coding) -> Bytes {
        let Self { content_type, etag, .. } = self;
        let date = imf_date(self.modified);
        let date = String::from_utf8_lossy(&date);
        let shared_lines = String::from_utf8_lossy(&self.shared_lines);
        format!(
            "Content-Type: {content_type}\r\nContent-Encoding: {coding}\r\nETag: W/{etag}\r\n\
             Last-Modified: {date}\r\n{shared_lines}"
        )
        .into()
    }

    fn whole(&self) -> Reply {
        Reply::whole(self.block.clone(), self.lines, self.body())
    }

    /// All of the content.
    pub(crate) fn body(&self) -> Body {
        match &self.content {
            Stuff::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Stuff::File(range) => Body::File(range.clone()),
        }
    }

    /// Some of the content.
    pub(crate) fn slice(&self, range: ByteRange) -> Body {
        match &self.content {
            Stuff::Bytes(bytes) => {
                Body::Bytes(bytes.slice(range.start as usize..range.end as usize))
            }
            Stuff::File(file) => Body::File(FileRange {
                file: file.file.clone(),
                offset: file.offset + range.start,
                len: range.len(),
            }),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn content_type(&self) -> &str {
        &self.content_type
    }

    pub(crate) fn etag(&self) -> &str {
        &self.etag
    }

    pub(crate) fn modified(&self) -> u64 {
        self.modified
    }

    pub(crate) fn coding(&self) -> Option<Coding> {
        self.coding
    }

    pub(crate) fn shared_lines(&self) -> &Bytes {
        &self.shared_lines
    }
}

/// The entity tag of a file in this state.
pub(crate) fn etag_of(stamp: &Stamp) -> Box<str> {
    format!("\"{:x}-{:x}-{:x}\"", stamp.ino, stamp.modified_ns, stamp.size).into()
}
