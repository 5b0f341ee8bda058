//! A connection to a server, and the messages on it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use medusa_monitor::wire::{FromClient, FromServer, LineBuffer, SERVER_LINE_BYTES};

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// On this machine.
    Unix(UnixStream),
    /// Anywhere.
    Tcp(TcpStream),
}

impl Stream {
    /// Another handle of the same connection.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    /// Ends both directions, for all handles.
    pub fn shut_down(&self) {
        // It may have ended already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// How long reading may take; `None`: for ever.
    pub fn set_read_timeout(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(patience),
            Self::Tcp(stream) => stream.set_read_timeout(patience),
        }
    }

    /// How long writing may take.
    pub fn set_write_timeout(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_write_timeout(Some(patience)),
            Self::Tcp(stream) => stream.set_write_timeout(Some(patience)),
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &FromClient) -> io::Result<()> {
        let mut line = Vec::new();
        message.write(&mut line);
        match self {
            Self::Unix(stream) => stream.write_all(&line),
            Self::Tcp(stream) => stream.write_all(&line),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(into),
            Self::Tcp(stream) => stream.read(into),
        }
    }
}

/// Reads the server's messages.
#[derive(Debug)]
pub struct Messages {
    stream: Stream,
    lines: LineBuffer,
}

impl Messages {
    /// Reads from here on.
    pub fn new(stream: Stream) -> Self {
        Self { stream, lines: LineBuffer::new(SERVER_LINE_BYTES) }
    }

    /// The connection.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The next message; `None` at the end. Lines of kinds that this client does not know are
    /// passed over.
    pub fn next_message(&mut self) -> io::Result<Option<FromServer>> {
        loop {
            while let Some(line) = self.lines.next_line().map_err(io::Error::other)? {
                if let Ok(message) = FromServer::read(&line) {
                    return Ok(Some(message));
                }
            }
            let mut bytes = [0; READ];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(n) => self.lines.feed(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
