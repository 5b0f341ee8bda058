//! Descriptors that pass from one process to the next through the start of a program.
//!
//! The design choice: a descriptor is only taken over if it would be passed on again, which is how
//! it came here. Whatever this process opened itself is closed when a program starts, so a wrong
//! number cannot take away what somebody else in this process owns. It is the same on all systems
//! that know descriptors.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The first number after standard input, output and error.
pub const FIRST: RawFd = 3;

/// Takes over a descriptor that this process was started with; from now on it is not passed on.
///
/// # Errors
///
/// `InvalidInput` for the standard streams, and for what was not passed but opened here or taken
/// before; the system's own error when nothing is open under this number.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if number < FIRST {
        return refused("this is no descriptor beside the standard streams");
    }
    // SAFETY: the number is not -1, and the borrow ends within this function. If nothing is open
    // there, the system says so.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl_getfd(descriptor)?.contains(FdFlags::CLOEXEC) {
        return refused("this descriptor was not passed to the process");
    }
    fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and nobody in this process owns it: what is opened here is closed when
    // a program starts, and so is what was taken before.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has a descriptor passed on to whatever program this process starts while it is open.
pub fn pass_on(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfd(descriptor, FdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

    #[test]
    fn only_what_would_be_passed_on_is_taken_and_only_once() {
        let (ours, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let number = ours.as_raw_fd();
        assert_eq!(take(number).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        pass_on(ours.as_fd()).unwrap();
        let number = ours.into_raw_fd();
        let taken = take(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert_eq!(take(number).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn standard_streams_and_closed_numbers_are_refused() {
        for number in [-1, 0, 1, 2] {
            assert_eq!(take(number).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert!(take(1_000_000).is_err());
    }
}
