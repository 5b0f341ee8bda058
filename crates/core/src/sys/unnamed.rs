//! Files that have no name until they are complete (`O_TMPFILE`): whatever becomes of the process,
//! even `kill -9` and a power cut, leaves nothing of them behind.
//!
//! The one design choice: what cannot be named later is not begun. A file is only given out when
//! the file system can make one and `/proc`, through which it is named, is there. Otherwise, and on
//! other systems than Linux, [`create`] gives none, and the caller writes under a temporary name.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Makes a file without a name, open for writing, on the file system of the directory `dir`; `mode`
/// as for `open`. `None` where that cannot be done.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn create(dir: BorrowedFd<'_>, mode: u32) -> io::Result<Option<OwnedFd>> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
    use rustix::io::Errno;
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    match openat(dir, c".", flags, Mode::from_raw_mode(mode)) {
        Ok(file) => {
            let found = statat(CWD, path_of(&file), AtFlags::empty()).is_ok();
            Ok(found.then_some(file))
        }
        // The last two are what kernels say that know no such files.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a file without a name: not on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn create(_: BorrowedFd<'_>, _: u32) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// Gives a file of [`create`] a name in its directory, if nothing has that name.
///
/// # Errors
///
/// `AlreadyExists` where something has it; otherwise those of `link`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn name(file: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    Ok(linkat(CWD, path_of(&file), dir, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Gives a file a name: not on this system, where there is no such file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn name(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// By which the process can name what it has open.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn path_of(file: &impl std::os::fd::AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
