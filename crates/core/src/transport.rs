//! The one seam between a channel and what carries its bytes.
//!
//! TCP and Unix-domain sockets are known here; anything else (a test's pipe, later TLS) is a
//! [`Stream`]. A channel calls nothing of a socket but what stands in this file.

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::address::Peer;
use crate::limits::TURNED_AWAY_READ_BYTES;
use crate::sys;

/// Carries the bytes of one channel.
pub enum Transport {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix-domain connection.
    Unix(UnixStream),
    /// Anything else.
    Other(Box<dyn Stream>),
}

/// What a transport other than a socket must offer. Nothing may block: what cannot be done now
/// answers [`io::ErrorKind::WouldBlock`].
pub trait Stream {
    /// Reads into `buffer`; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes from `slices`; `more` says that further output follows at once.
    fn write(&mut self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize>;
    /// Ends our side.
    fn shutdown_write(&mut self) -> io::Result<()>;
    /// Makes the end a reset where the transport knows one.
    fn reset(&mut self) {}
    /// The user of the process at the other end, where the transport knows it.
    fn peer_user(&self) -> Option<u32> {
        None
    }
}

impl Transport {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(s) => sys::receive(s.as_fd(), buffer),
            Self::Unix(s) => sys::receive(s.as_fd(), buffer),
            Self::Other(s) => s.read(buffer),
        })
    }

    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(s) => sys::send(s.as_fd(), slices, more),
            Self::Unix(s) => sys::send(s.as_fd(), slices, more),
            Self::Other(s) => s.write(slices, more),
        })
        // There is always something to write: taking nothing again and again would be a spin.
        .and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) })
    }

    /// Sends up to `count` bytes of `file` from `offset`; 0 means that the file ends there.
    pub(crate) fn send_file(
        &mut self,
        file: &File,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(s) => sys::send_file(s.as_fd(), file, offset, count),
            Self::Unix(s) => sys::send_file(s.as_fd(), file, offset, count),
            Self::Other(s) => {
                sys::copy_file(file, offset, count, |bytes| s.write(&[IoSlice::new(bytes)], false))
            }
        })
    }

    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
            Self::Other(s) => s.shutdown_write(),
        }
    }

    /// Makes closing send a reset instead of what the system still holds.
    pub(crate) fn reset(&mut self) {
        match self {
            // A failure leaves an ordinary close, which is no worse.
            Self::Tcp(s) => {
                let _ = socket2::SockRef::from(&*s).set_linger(Some(std::time::Duration::ZERO));
            }
            Self::Unix(_) => {}
            Self::Other(s) => s.reset(),
        }
    }

    /// Says a last word to a peer that is not served. What the peer has said already is taken off
    /// the socket, as far as it is small: closing with input unread would take the word back.
    pub(crate) fn turn_away(&mut self, word: &[u8]) {
        // Whoever cannot be told is only closed.
        if !word.is_empty() && self.write(&[IoSlice::new(word)], false).is_ok() {
            let _ = self.shutdown_write();
            let _ = self.read(&mut [0; TURNED_AWAY_READ_BYTES]);
        }
    }

    /// How an outgoing connection that became writable has ended.
    pub(crate) fn connected(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => match s.take_error()? {
                Some(e) => Err(e),
                None => s.peer_addr().map(drop),
            },
            Self::Unix(s) => match s.take_error()? {
                Some(e) => Err(e),
                None => s.peer_addr().map(drop),
            },
            Self::Other(_) => Ok(()),
        }
    }

    /// The user of the process at the other end, if that is on this machine and the system says.
    pub(crate) fn peer_user(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(s) => sys::peer_user(s.as_fd()),
            Self::Other(s) => s.peer_user(),
        }
    }

    pub(crate) fn local(&self) -> Option<Peer> {
        match self {
            Self::Tcp(s) => s.local_addr().ok().map(Peer::from),
            Self::Unix(_) => Some(Peer::Unix),
            Self::Other(_) => None,
        }
    }

    /// Registers both interests once; edge-triggered readiness needs no further call.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            // Urgent data makes reads stop short, which must not be taken for an empty socket.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Tcp(s) => s.register(registry, token, both | Interest::PRIORITY),
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Self::Tcp(s) => s.register(registry, token, both),
            Self::Unix(s) => s.register(registry, token, both),
            Self::Other(_) => Ok(()),
        }
    }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
