//! Tells what went wrong in a file tree, in the tree's own words.
//!
//! The design choice: one error with a small kind that every protocol maps to its own replies,
//! and a text with operation and virtual path for the log. No protocol's codes, and no path of
//! the machine.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::path::{PathError, VirtualPath};

/// The result of an operation on a tree.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is nothing at the path, or it is hidden.
    NotFound,
    /// The persona may not do that, or cannot be taken on.
    Denied,
    /// A file was wanted and there is a directory.
    IsDirectory,
    /// A directory was wanted and there is something else.
    NotDirectory,
    /// There is something at the path already.
    Exists,
    /// The directory has entries.
    NotEmpty,
    /// The disk or the tree's own limit is full.
    NoSpace,
    /// The quota is used up: that of the system, or of a [`crate::QuotaTree`].
    OverQuota,
    /// A name or path is longer than the tree can hold.
    TooLong,
    /// The tree takes no writes.
    ReadOnly,
    /// A rename between two trees or file systems.
    CrossDevice,
    /// The answer would have to wait; ask again on a helper thread. Only from `open_now`.
    WouldBlock,
    /// The path leads out of the tree, by text or by a symbolic link.
    Escapes,
    /// The entry is in use: a mount point, the root, a running program.
    Busy,
    /// The process or the system is out of descriptors or memory; later it may work.
    Exhausted,
    /// The request makes no sense: a bad path, a directory moved into itself.
    Invalid,
    /// The tree cannot do that, or the file is neither a regular file nor a directory.
    Unsupported,
    /// Anything else that the system reports; see [`Error::io`].
    Io,
}

/// An operation on a tree that failed.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    path: VirtualPath,
    io: Option<io::Error>,
}

impl Error {
    /// Makes an error of the given kind.
    pub fn new(kind: ErrorKind, operation: &'static str, path: &VirtualPath) -> Self {
        Self { kind, operation, path: path.clone(), io: None }
    }

    /// Makes an error of what the system reported.
    pub fn from_io(io: io::Error, operation: &'static str, path: &VirtualPath) -> Self {
        Self { kind: kind_of(&io), operation, path: path.clone(), io: Some(io) }
    }

    /// Makes the same error about another path: of a tree that stands inside another.
    #[must_use]
    pub fn at(mut self, path: &VirtualPath) -> Self {
        self.path = path.clone();
        self
    }

    /// Tells what kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Names the operation that failed.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Gives the virtual path that it was about.
    pub fn path(&self) -> &VirtualPath {
        &self.path
    }

    /// Gives what the system reported, where it was the system.
    pub fn io(&self) -> Option<&io::Error> {
        self.io.as_ref()
    }

    /// The same with another kind, where the operation knows better than the bare number.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.operation, self.path)?;
        match (self.kind, &self.io) {
            (ErrorKind::Io, Some(io)) => write!(f, "{io}"),
            (kind, _) => f.write_str(kind.text()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io.as_ref().map(|io| io as _)
    }
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Denied => "permission denied",
            Self::IsDirectory => "is a directory",
            Self::NotDirectory => "not a directory",
            Self::Exists => "already exists",
            Self::NotEmpty => "directory not empty",
            Self::NoSpace => "no space left",
            Self::OverQuota => "quota used up",
            Self::TooLong => "name too long",
            Self::ReadOnly => "tree is read-only",
            Self::CrossDevice => "not within one tree",
            Self::WouldBlock => "would have to wait",
            Self::Escapes => "leads out of the tree",
            Self::Busy => "in use",
            Self::Exhausted => "out of descriptors or memory",
            Self::Invalid => "makes no sense",
            Self::Unsupported => "not supported",
            Self::Io => "input or output error",
        }
    }
}

impl From<PathError> for ErrorKind {
    fn from(error: PathError) -> Self {
        match error {
            PathError::NotAbsolute | PathError::Nul => Self::Invalid,
            PathError::Escapes => Self::Escapes,
            PathError::NameTooLong | PathError::TooLong => Self::TooLong,
        }
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    let Some(errno) = Errno::from_io_error(error) else {
        return match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::InvalidInput => ErrorKind::Invalid,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            io::ErrorKind::WouldBlock => ErrorKind::WouldBlock,
            _ => ErrorKind::Io,
        };
    };
    // Not a match: on some systems two of these have one number.
    let table = [
        (Errno::NOENT, ErrorKind::NotFound),
        // Links that lead in a circle lead nowhere.
        (Errno::LOOP, ErrorKind::NotFound),
        (Errno::ACCESS, ErrorKind::Denied),
        (Errno::PERM, ErrorKind::Denied),
        (Errno::ISDIR, ErrorKind::IsDirectory),
        (Errno::NOTDIR, ErrorKind::NotDirectory),
        // A directory with entries may also be reported as existing; callers that remove know.
        (Errno::EXIST, ErrorKind::Exists),
        (Errno::NOTEMPTY, ErrorKind::NotEmpty),
        (Errno::NOSPC, ErrorKind::NoSpace),
        (Errno::DQUOT, ErrorKind::OverQuota),
        (Errno::FBIG, ErrorKind::NoSpace),
        (Errno::NAMETOOLONG, ErrorKind::TooLong),
        (Errno::ROFS, ErrorKind::ReadOnly),
        (Errno::XDEV, ErrorKind::CrossDevice),
        (Errno::AGAIN, ErrorKind::WouldBlock),
        (Errno::BUSY, ErrorKind::Busy),
        (Errno::TXTBSY, ErrorKind::Busy),
        (Errno::MFILE, ErrorKind::Exhausted),
        (Errno::NFILE, ErrorKind::Exhausted),
        (Errno::NOMEM, ErrorKind::Exhausted),
        (Errno::INVAL, ErrorKind::Invalid),
        (Errno::NXIO, ErrorKind::Unsupported),
        (Errno::NODEV, ErrorKind::Unsupported),
        (Errno::NOTSUP, ErrorKind::Unsupported),
    ];
    table.iter().find(|(known, _)| *known == errno).map_or(ErrorKind::Io, |&(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_says_what_with_which_path() {
        let path = VirtualPath::parse(b"/a/b\n").unwrap().path;
        let error = Error::new(ErrorKind::NotFound, "open", &path);
        assert_eq!(error.to_string(), r"open /a/b\x0a: not found");
        let error = Error::from_io(Errno::IO.into(), "write", &path);
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().starts_with(r"write /a/b\x0a: "), "{error}");
    }

    #[test]
    fn full_disks_and_full_quotas_are_told() {
        for (errno, kind) in
            [(Errno::NOSPC, ErrorKind::NoSpace), (Errno::DQUOT, ErrorKind::OverQuota)]
        {
            let error = Error::from_io(errno.into(), "write", &VirtualPath::root());
            assert_eq!(error.kind(), kind);
        }
    }
}
