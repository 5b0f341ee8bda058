//! Lines out of bytes that come in pieces.

use memchr::memchr;

/// Cuts lines; what is left of the last piece stays for the next.
///
/// ```
/// use medusa_monitor::wire::LineBuffer;
///
/// let mut lines = LineBuffer::new(80);
/// lines.feed(b"one\r\ntw");
/// assert_eq!(lines.next_line(), Ok(Some(b"one".to_vec())));
/// assert_eq!(lines.next_line(), Ok(None));
/// lines.feed(b"o\n");
/// assert_eq!(lines.next_line(), Ok(Some(b"two".to_vec())));
/// ```
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// How far an end has been searched for, counted from `start`.
    scanned: usize,
    limit: usize,
}

/// A line is longer than it may be. Nothing further can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// Bytes that it may have.
    pub limit: usize,
}

impl std::fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the line is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}

impl LineBuffer {
    /// Takes lines of up to `limit` bytes, their ends not counted.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, scanned: 0, limit }
    }

    /// Takes longer lines, or only shorter ones, from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line without its end; `None` when it is not whole yet.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        let rest = &self.bytes[self.start..];
        let Some(end) = memchr(b'\n', &rest[self.scanned..]).map(|at| self.scanned + at) else {
            self.scanned = rest.len();
            // One more may be the carriage return of its end.
            let over = rest.len() > self.limit + 1
                || (rest.len() > self.limit && rest.last() != Some(&b'\r'));
            if over {
                return Err(LineTooLong { limit: self.limit });
            }
            if rest.is_empty() {
                // An idle connection owns no buffer.
                self.bytes = Vec::new();
                self.start = 0;
            }
            return Ok(None);
        };
        let line = &rest[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.limit {
            return Err(LineTooLong { limit: self.limit });
        }
        let line = line.to_vec();
        self.start += end + 1;
        self.scanned = 0;
        Ok(Some(line))
    }

    /// Bytes that wait for the end of their line.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }
}
