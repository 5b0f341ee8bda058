//! Lines to a file, with rotation.
//!
//! The one design choice: the file is renamed and a new one begun between two lines, by the only
//! thread that writes to it, so that no line is lost, cut or out of order. Whatever goes wrong
//! with that, the open file stays in use.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use crate::limits::ROTATE_RETRY;
use crate::queue::{Queue, count};
use crate::rotate::Rotate;
use crate::writer::Sink;

/// Who may read a new log: its owner and its group.
const MODE: u32 = 0o640;

/// When a file is to be rotated; what is put in here counts from the next time that the file is
/// opened anew.
pub(crate) type Rule = Arc<Mutex<Option<Rotate>>>;

/// Appends to a file and rotates it.
pub(crate) struct LogFile {
    path: PathBuf,
    rule: Rule,
    rotate: Option<Rotate>,
    file: File,
    /// Nothing else can be rotated.
    is_regular: bool,
    size: u64,
    /// The period that its lines are of, by the rule of rotation.
    period: u64,
    /// The last line is not whole yet.
    within_line: bool,
    /// Rotating failed; it is not tried again before this time since 1970.
    rests_until: Duration,
}

impl LogFile {
    /// Opens a file to append to, and makes it if there is none.
    pub(crate) fn open(path: &Path, rule: Rule) -> io::Result<Self> {
        let file = open(path)?;
        let mut log = Self {
            path: path.to_owned(),
            rule,
            rotate: None,
            file,
            is_regular: true,
            size: 0,
            period: 0,
            within_line: false,
            rests_until: Duration::ZERO,
        };
        log.measure()?;
        Ok(log)
    }

    /// Looks at a file that was just opened.
    fn measure(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        self.rotate.clone_from(&self.rule.lock().unwrap_or_else(PoisonError::into_inner));
        let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.period = self.rotate.as_ref().map_or(0, |rotate| rotate.period(written));
        self.is_regular = metadata.is_file();
        self.size = metadata.len();
        self.within_line = false;
        self.rests_until = Duration::ZERO;
        Ok(())
    }

    /// How much may be written before the file is to be rotated: at least the rest of a line.
    fn room(&self, len: usize) -> u64 {
        let limit = self.rotate.as_ref().and_then(|rotate| rotate.size);
        limit.map_or(len as u64, |limit| limit.get().saturating_sub(self.size))
    }

    fn period_is_over(&self, now: Duration) -> bool {
        self.size > 0 && self.rotate.as_ref().is_some_and(|r| r.period(now) > self.period)
    }

    /// Begins a new file. Says what went wrong, and then goes on with the old one for a while.
    fn rotate(&mut self, keep: u32, now: Duration, queue: &Queue) {
        if !self.is_regular || now < self.rests_until {
            return;
        }
        if let Err(e) = self.renamed(keep, queue).and_then(|()| self.reopen()) {
            self.rests_until = now + ROTATE_RETRY;
            queue.complain(&format!("it cannot be rotated: {e}; it grows on and is tried again"));
        }
    }

    /// Gives the file its new name, unless somebody else has done that.
    fn renamed(&self, keep: u32, queue: &Queue) -> io::Result<()> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {}
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        }
        if keep == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            // The first number that is free, or the last, which is overwritten.
            let free = (1..keep).find(|n| !self.old(*n).exists()).unwrap_or(keep);
            for n in (1..free).rev() {
                std::fs::rename(self.old(n), self.old(n + 1))?;
            }
            std::fs::rename(&self.path, self.old(1))?;
        }
        count(&queue.figures.rotations, 1);
        Ok(())
    }

    /// The name of the nth old file.
    fn old(&self, n: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{n}"));
        name.into()
    }
}

/// Opens without waiting for the reader of a named pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Waits until a descriptor that does not block takes something.
pub(crate) fn wait_for_room(file: &File) -> io::Result<()> {
    poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
    Ok(())
}

impl Sink for LogFile {
    fn write(&mut self, bytes: &[u8], now: Duration, queue: &Queue) -> io::Result<usize> {
        let mut part = bytes;
        if let Some(keep) = self.rotate.as_ref().map(|rotate| rotate.keep) {
            let first_line = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            if !self.within_line
                && (self.period_is_over(now)
                    || (self.size > 0 && self.room(bytes.len()) < first_line as u64))
            {
                self.rotate(keep, now, queue);
            }
            if now >= self.rests_until && self.is_regular {
                let room = self.room(bytes.len()).min(bytes.len() as u64) as usize;
                let lines = memchr::memrchr(b'\n', &bytes[..room]).map_or(0, |end| end + 1);
                part = &bytes[..lines.max(first_line)];
            }
        }
        let n = loop {
            match (&self.file).write(part) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait_for_room(&self.file)?,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                other => break other?,
            }
        };
        if self.size == 0 {
            self.period = self.rotate.as_ref().map_or(0, |rotate| rotate.period(now));
        }
        self.within_line = part[n - 1] != b'\n';
        self.size += n as u64;
        queue.figures.size.store(self.size, Ordering::Relaxed);
        Ok(n)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.measure()
    }

    fn next_due(&self) -> Option<Duration> {
        if !self.is_regular || self.size == 0 {
            return None;
        }
        Some(self.rotate.as_ref()?.end_of(self.period)?.max(self.rests_until))
    }

    fn due(&mut self, now: Duration, queue: &Queue) {
        if let Some(keep) = self.rotate.as_ref().map(|rotate| rotate.keep)
            && self.period_is_over(now)
        {
            self.rotate(keep, now, queue);
        }
    }
}

#[cfg(test)]
#[path = "tests/file.rs"]
mod tests;
