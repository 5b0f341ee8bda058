//! Lines to standard output or standard error, which may be a pipe, a terminal or a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::file::wait_for_room;
use crate::limits::STREAM_BYTES;
use crate::queue::Queue;
use crate::writer::Sink;

/// Writes to a stream that was open before we were. Nobody can open it anew, so what it does not
/// take is lost.
pub(crate) struct Stream(File);

impl Stream {
    /// Takes a descriptor of its own, past the buffer of the standard library.
    pub(crate) fn of(stream: impl AsFd) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }
}

impl Sink for Stream {
    fn write(&mut self, bytes: &[u8], _: Duration, _: &Queue) -> io::Result<usize> {
        loop {
            match self.0.write(&bytes[..bytes.len().min(STREAM_BYTES)]) {
                // Another program that has the stream too has made it so.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait_for_room(&self.0)?,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                other => return other,
            }
        }
    }

    fn may_recover(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_pipe_that_does_not_block_is_waited_for() {
        let (mut read, write) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&write, true).expect("it can be set");
        let mut stream = Stream::of(&write).expect("a descriptor");
        drop(write);
        let (queue, text) = (Queue::new("test".to_owned(), None), vec![b'x'; 1 << 20]);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            read.read_to_end(&mut got).map(|_| got.len())
        });
        let mut done = 0;
        while done < text.len() {
            done += stream.write(&text[done..], Duration::ZERO, &queue).expect("it is read");
        }
        drop(stream);
        assert_eq!(reader.join().expect("no panic").expect("it reads"), text.len());
    }
}
