//! Where uploads go: a staged file that takes its name at the end, or a file that is there.

use std::io;

use medusa_core::collector::Sink;
use medusa_fs::{Commit, Error, ErrorKind, Staged, WriteFile};

/// Writes a file that takes its name when it is whole.
pub(crate) struct ToStaged {
    pub(crate) file: Box<dyn Staged>,
    /// Whether a file of that name is replaced.
    pub(crate) replace: bool,
}

impl Sink for ToStaged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(bytes).map_err(to_io)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let how = Commit { replace: self.replace, durable: false };
        self.file.commit(how).map(drop).map_err(to_io)
    }
}

/// Writes into a file under its name.
pub(crate) struct ToFile(pub(crate) Box<dyn WriteFile>);

impl Sink for ToFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes).map_err(to_io)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what a collector tells apart: that there is no room, or no right to it.
fn to_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NoSpace => io::ErrorKind::StorageFull,
        ErrorKind::OverQuota => io::ErrorKind::QuotaExceeded,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
