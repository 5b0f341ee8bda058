//! Files whose content passes through the server: converted ones, and those that are hashed.
//!
//! The one design choice: they are read on helper threads only, a step at a time.

use bytes::Bytes;
use medusa_core::Aborted;
use medusa_core::producer::{Step, Steps};
use medusa_fs::{Content, OpenFile};

use crate::limits::STEP_BYTES;
use crate::wire::ascii::ToWire;

/// Reads a file piece by piece, wherever its content is.
pub(crate) struct Reading {
    file: OpenFile,
    offset: u64,
    end: u64,
}

impl Reading {
    /// Reads the bytes `offset..end`, or those that there are.
    pub(crate) fn new(file: OpenFile, offset: u64, end: u64) -> Self {
        let end = end.min(file.metadata.size);
        Self { file, offset: offset.min(end), end }
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.offset
    }

    /// Reads the next piece into `buffer`; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Aborted> {
        let most = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buffer.len());
        let n = match &self.file.content {
            Content::Memory(bytes) => {
                let from = self.offset as usize;
                buffer[..most].copy_from_slice(&bytes[from..from + most]);
                most
            }
            Content::Disk(file) => {
                use std::os::unix::fs::FileExt;
                let n = file.read_at(&mut buffer[..most], self.offset);
                n.map_err(|e| Aborted::new(format!("the file cannot be read: {e}")))?
            }
        };
        if n == 0 && most > 0 {
            return Err(Aborted::new("the file has become shorter"));
        }
        self.offset += n as u64;
        Ok(n)
    }
}

/// Sends a file in type A.
pub(crate) struct Converted {
    reading: Reading,
    converter: ToWire,
    /// Bytes of the converted file that the client has already (RFC 3659, section 5.3).
    skip: u64,
}

impl Converted {
    pub(crate) fn new(file: OpenFile, skip: u64) -> Self {
        let end = file.metadata.size;
        Self { reading: Reading::new(file, 0, end), converter: ToWire::default(), skip }
    }
}

impl Steps for Converted {
    fn step(&mut self) -> Result<Step, Aborted> {
        let mut buffer = vec![0; STEP_BYTES / 2];
        let n = self.reading.read(&mut buffer)?;
        let mut out = Vec::with_capacity(STEP_BYTES);
        self.converter.convert(&buffer[..n], &mut out);
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(out.len());
        self.skip -= skipped as u64;
        let mut step = Step { ended: self.reading.left() == 0, ..Step::default() };
        step.push(Bytes::from(out).slice(skipped..));
        Ok(step)
    }
}
