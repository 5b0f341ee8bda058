//! System specifics: the only place in the core with `unsafe`, each with a portable fallback.

pub mod beneath;
pub mod confinement;
pub mod notice;
pub mod pam;
pub mod passed;
pub mod persona;
pub mod privileges;
pub mod unnamed;
pub mod usage;
pub mod users;

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

/// Whether a short read says that the socket is empty. So it is with epoll (see epoll(7)); on
/// other systems the loop reads until the socket says that it would block.
pub const SHORT_READ_DRAINS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Bytes that the fallback of [`send_file`] copies at once.
pub const COPY_BYTES: usize = 64 * 1024;

/// Spares connections that never leave this machine the congestion control of a network.
///
/// What is accepted inherits it. Where the system paces by default (BBR), each reply would start
/// a timer, for about a tenth of a small reply's cost.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn choose_for_loopback(listener: &socket2::Socket) {
    // Only a matter of speed: the system's own choice does as well.
    let _ = listener.set_tcp_congestion(b"reno");
}

/// Does nothing: other systems have no choice here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn choose_for_loopback(_: &socket2::Socket) {}

/// Reads from a socket; 0 is the end of what the peer sends.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (filled, _) = rustix::net::recv(fd, buffer, rustix::net::RecvFlags::empty())?;
    Ok(filled)
}

/// The user that the process at the other end of a Unix-domain socket had when it connected; `None`
/// where the system does not say.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn peer_user(fd: BorrowedFd<'_>) -> Option<u32> {
    rustix::net::sockopt::socket_peercred(fd).ok().map(|peer| peer.uid.as_raw())
}

/// Says nothing: other systems tell it in other ways.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn peer_user(_: BorrowedFd<'_>) -> Option<u32> {
    None
}

/// Writes slices to a socket; `more` asks the system to wait for what follows before it sends a
/// packet that is not full.
pub fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    use rustix::net::SendFlags;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = {
        // The standard library ignores SIGPIPE, so that a closed peer is an error everywhere.
        let _ = more;
        SendFlags::empty()
    };
    if let [one] = slices {
        return Ok(rustix::net::send(fd, one, flags)?);
    }
    let mut none = rustix::net::SendAncillaryBuffer::default();
    Ok(rustix::net::sendmsg(fd, slices, &mut none, flags)?)
}

/// Sends up to `count` bytes of `file` from `offset` to a socket; 0 means the file ends there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn send_file(fd: BorrowedFd<'_>, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut at = offset;
    match rustix::fs::sendfile(fd, file, Some(&mut at), count) {
        Ok(n) => Ok(n),
        // Some file systems cannot: fall back to copying.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            copy_file(file, offset, count, |bytes| send(fd, &[IoSlice::new(bytes)], false))
        }
        Err(e) => Err(e.into()),
    }
}

/// Sends up to `count` bytes of `file` from `offset` to a socket; 0 means the file ends there.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn send_file(fd: BorrowedFd<'_>, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    copy_file(file, offset, count, |bytes| send(fd, &[IoSlice::new(bytes)], false))
}

/// Reads from `file` at `offset` if that is sure not to wait for the disk; else `WouldBlock`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn read_at_now(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut slices = [io::IoSliceMut::new(buffer)];
    match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(n) => Ok(n),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) if is_memory_file_system(file) => {
            file.read_at(buffer, offset)
        }
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(Errno::AGAIN.into()),
        Err(e) => Err(e.into()),
    }
}

/// Whether a file is on a file system that has no disk behind it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_memory_file_system(file: &File) -> bool {
    /// The numbers that statfs(2) gives tmpfs and ramfs.
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    rustix::fs::fstatfs(file).is_ok_and(|stat| IN_MEMORY.contains(&(stat.f_type as u64)))
}

/// Reads from `file` at `offset` if that is sure not to wait for the disk; else `WouldBlock`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn read_at_now(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether the bytes `from..until` of a file are in memory, as far as a look at both ends of them
/// tells. Where the system cannot tell, they are taken not to be.
pub fn is_in_memory(file: &File, from: u64, until: u64) -> bool {
    let mut byte = [0];
    let mut now = |at| !read_at_now(file, &mut byte, at).is_err_and(|e| would_block(&e));
    let last = until.saturating_sub(1).max(from);
    // What is in one page is in memory together.
    now(from) && (from / PAGE_BYTES == last / PAGE_BYTES || now(last))
}

/// Bytes that the system holds in memory together, at least.
const PAGE_BYTES: u64 = 4096;

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Brings the bytes `from..until` of a file into the system's memory by reading them; blocks. A
/// failure is left to whoever sends them.
pub fn fetch(file: &File, from: u64, until: u64) {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = from;
    while at < until {
        let room = buffer.len().min((until - at) as usize);
        match file.read_at(&mut buffer[..room], at) {
            Ok(0) => return,
            Ok(n) => at += n as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The portable way of [`send_file`]: reads at most [`COPY_BYTES`] and hands them to `write`.
pub fn copy_file(
    file: &File,
    offset: u64,
    count: usize,
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut buffer = vec![0; count.min(COPY_BYTES)];
    let n = file.read_at(&mut buffer, offset)?;
    if n == 0 { Ok(0) } else { write(&buffer[..n]) }
}
