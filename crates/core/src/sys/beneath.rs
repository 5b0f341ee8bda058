//! Opens paths beneath a directory, so that neither `..` nor a symbolic link leads out of it.
//!
//! The design choice: containment is not checked, it is how the path is resolved. On Linux the
//! kernel does it (`openat2` with `RESOLVE_BENEATH`). Elsewhere, and where that call is missing,
//! a walk opens one component at a time without following links, holds every directory on the
//! way open, and resolves links itself. In both, a rename that races with the resolution can make
//! it fail but cannot make it leave the root.
//!
//! Links that stay beneath the root are followed. An absolute link is refused, even one that
//! points into the root: what it names depends on where the process sees its root. Where that *is*
//! the root, as in a tree of all that the machine has, [`Links::InRoot`] follows them (with
//! `RESOLVE_IN_ROOT`). The "magic" links of `/proc` are always refused.
//!
//! A path is bytes, relative, `/` between its components; empty means the root itself. `..` is
//! resolved and may not lead above the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(any(test, not(target_os = "linux")))]
use rustix::fs::{AtFlags, statat};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

/// How many symbolic links one path may lead over; the kernel's own limit.
pub const MAX_LINKS: usize = 40;

/// How often the kernel is asked again after a rename raced with a path that has `..` in it (the
/// only case in which it gives up); after that the walk answers, which no rename disturbs.
#[cfg(target_os = "linux")]
const RACE_RETRIES: usize = 16;

/// Opens a directory only to resolve names in it, for which search permission is enough.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
/// The portable stand-in also asks for permission to read the directory.
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

/// Names who resolves paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// The kernel: one system call a path. Linux 5.6 and later.
    Kernel,
    /// This module: about two system calls a component. Works everywhere.
    Walk,
}

impl Resolver {
    /// Chooses the kernel where it can resolve beneath a directory, else the walk.
    ///
    /// Old kernels do not know the call, and old system call filters (of container runtimes)
    /// forbid it with a plain "not permitted"; in both cases the walk is chosen.
    pub fn detect(root: BorrowedFd<'_>) -> Self {
        match kernel::open(root, b".", SEARCH | OFlags::DIRECTORY, Mode::empty(), Links::Refused) {
            Err(Errno::NOSYS | Errno::PERM) => Self::Walk,
            _ => Self::Kernel,
        }
    }
}

/// Says what becomes of links that are absolute, or lead above the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are refused.
    #[default]
    Refused,
    /// They lead into the root, and above it is the root itself, as after chroot(2): right for the
    /// root that they were made for.
    InRoot,
}

/// An open directory beneath which paths are resolved.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
    resolver: Resolver,
    links: Links,
}

impl Beneath {
    /// Takes an open directory as the root, with the best resolver that the system has.
    pub fn new(root: OwnedFd) -> Self {
        let resolver = Resolver::detect(root.as_fd());
        Self::with_resolver(root, resolver)
    }

    /// Takes an open directory as the root, with the given resolver.
    pub fn with_resolver(root: OwnedFd, resolver: Resolver) -> Self {
        Self { root, resolver, links: Links::Refused }
    }

    /// Says what becomes of links that lead out of the root.
    #[must_use]
    pub fn with_links(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// Tells who resolves paths here.
    pub fn resolver(&self) -> Resolver {
        self.resolver
    }

    /// Gives the root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens `path`. `O_CLOEXEC` is always added. A link as the last component is followed unless
    /// `O_NOFOLLOW` is given. `mode` counts only together with `O_CREAT`.
    ///
    /// # Errors
    ///
    /// Those of `open`; `EXDEV` where the path or a link on it leads out of the root or is
    /// absolute, unless that is to be followed; `ELOOP` after [`MAX_LINKS`] links.
    pub fn open(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let root = self.root.as_fd();
        // The kernel calls a mode without a file to create invalid.
        let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
        let opened = match self.resolver {
            Resolver::Kernel => kernel::open(root, path, flags, mode, self.links),
            Resolver::Walk => walk(root, path, flags, mode, self.links),
        };
        opened.map_err(io::Error::from)
    }

    /// Opens `path` only if that will not block: if everything on the way is in the kernel's
    /// caches. For an event loop, which asks here first and a helper thread after.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the kernel cannot tell without waiting, and always where it cannot be
    /// asked (before Linux 5.12, and with [`Resolver::Walk`]). Otherwise as [`Beneath::open`].
    pub fn open_now(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        match self.resolver {
            Resolver::Kernel => {
                Ok(kernel::open_cached(self.root.as_fd(), path, flags, self.links)?)
            }
            Resolver::Walk => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Tells what `path` is, following a link as the last component. Asks for no permission on
    /// the file itself.
    pub fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        #[cfg(target_os = "linux")]
        {
            Ok(fstat(self.open(path, OFlags::PATH, Mode::empty())?)?)
        }
        #[cfg(not(target_os = "linux"))]
        {
            Ok(walk_stat(self.root.as_fd(), path, self.links)?)
        }
    }

    /// Opens the directory that holds `path` and gives it with the last component, for the
    /// system calls that create, rename and remove names. The name itself is not looked at: it
    /// may be a link, or absent.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the path has no last name (empty, or ending in `.`, `..` or `/`).
    /// Otherwise as [`Beneath::open`].
    pub fn parent<'p>(&self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((self.open(parent, SEARCH | OFlags::DIRECTORY, Mode::empty())?, name))
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    use super::{Links, RACE_RETRIES, walk};

    fn how(links: Links) -> ResolveFlags {
        let scope = match links {
            Links::Refused => ResolveFlags::BENEATH,
            Links::InRoot => ResolveFlags::IN_ROOT,
        };
        scope.union(ResolveFlags::NO_MAGICLINKS)
    }

    pub(super) fn open(
        root: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
        links: Links,
    ) -> Result<OwnedFd, Errno> {
        for _ in 0..RACE_RETRIES {
            match openat2(root, name(path), flags | OFlags::CLOEXEC, mode, how(links)) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return answer,
            }
        }
        walk(root, path, flags, mode, links)
    }

    pub(super) fn open_cached(
        root: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        links: Links,
    ) -> Result<OwnedFd, Errno> {
        let resolve = how(links).union(ResolveFlags::CACHED);
        let flags = flags | OFlags::CLOEXEC;
        openat2(root, name(path), flags, Mode::empty(), resolve).map_err(|error| match error {
            // A kernel that does not know the flag says that it is invalid.
            Errno::INVAL | Errno::INTR => Errno::AGAIN,
            error => error,
        })
    }

    fn name(path: &[u8]) -> &[u8] {
        if path.is_empty() { b"." } else { path }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    use super::Links;

    pub(super) fn open(
        _root: BorrowedFd<'_>,
        _path: &[u8],
        _flags: OFlags,
        _mode: Mode,
        _links: Links,
    ) -> Result<OwnedFd, Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn open_cached(
        _root: BorrowedFd<'_>,
        _path: &[u8],
        _flags: OFlags,
        _links: Links,
    ) -> Result<OwnedFd, Errno> {
        Err(Errno::AGAIN)
    }
}

/// The directories from the root down to where a walk stands, each held open: going up is going
/// back, whatever was renamed meanwhile.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    below: Vec<OwnedFd>,
    /// Components still to resolve, the next one last.
    ahead: Vec<Box<[u8]>>,
    /// How many links it has led over.
    links: usize,
    /// What becomes of those that lead out of the root.
    out: Links,
    /// Whether the path, or a link's target, ended so that only a directory will do.
    directory: bool,
}

/// What stands at the end of a walk.
enum Last {
    /// The directory that the walk stands in.
    Here,
    /// A name in it that is not `.` or `..`; it may turn out to be a link.
    Name(Box<[u8]>),
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, path: &[u8], out: Links) -> Result<Self, Errno> {
        let (below, ahead) = (Vec::new(), Vec::new());
        let mut walk = Self { root, below, ahead, links: 0, out, directory: false };
        walk.push(path)?;
        Ok(walk)
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.below.last().map_or(self.root, AsFd::as_fd)
    }

    /// Puts the components of `path` before those still ahead.
    fn push(&mut self, path: &[u8]) -> Result<(), Errno> {
        if path.first() == Some(&b'/') {
            match self.out {
                Links::Refused => return Err(Errno::XDEV),
                Links::InRoot => self.below.clear(),
            }
        }
        if self.ahead.is_empty() {
            self.directory |= path.last() == Some(&b'/');
        }
        let components = path.split(|&byte| byte == b'/').rev();
        self.ahead
            .extend(components.filter(|name| !matches!(*name, b"" | b".")).map(Box::<[u8]>::from));
        Ok(())
    }

    /// Goes on to the last component.
    fn advance(&mut self) -> Result<Last, Errno> {
        while let Some(name) = self.ahead.pop() {
            if *name == *b".." {
                // Nothing to go back to: this is the root.
                if self.below.pop().is_none() && self.out == Links::Refused {
                    return Err(Errno::XDEV);
                }
                continue;
            }
            if self.ahead.is_empty() {
                return Ok(Last::Name(name));
            }
            let flags = SEARCH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(self.here(), &*name, flags, Mode::empty()) {
                Ok(directory) => self.below.push(directory),
                Err(error) if may_be_link(error) => self.follow(&name, error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(Last::Here)
    }

    /// Goes on with the target of the link `name`; where that is no link, gives `error`.
    fn follow(&mut self, name: &[u8], error: Errno) -> Result<(), Errno> {
        let target = match readlinkat(self.here(), name, Vec::new()) {
            Ok(target) => target,
            Err(Errno::INVAL) => return Err(error),
            Err(gone) => return Err(gone),
        };
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        self.push(target.as_bytes())
    }
}

/// Tells whether opening without following links fails like this because of a link: systems
/// differ in what they say.
fn may_be_link(error: Errno) -> bool {
    matches!(error, Errno::LOOP | Errno::NOTDIR | Errno::MLINK)
}

/// Opens `path` beneath `root` component by component.
fn walk(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let mut walk = Walk::new(root, path, links)?;
    loop {
        let Last::Name(name) = walk.advance()? else {
            return openat(walk.here(), c".", flags, mode);
        };
        let kind = if walk.directory { OFlags::DIRECTORY } else { OFlags::empty() };
        match openat(walk.here(), &*name, flags | kind | OFlags::NOFOLLOW, mode) {
            Ok(opened) if flags.contains(OFlags::NOFOLLOW) || !is_link(&opened, flags)? => {
                return Ok(opened);
            }
            // Opened to be looked at only, the link itself is what is opened.
            Ok(_link) => walk.follow(&name, Errno::LOOP)?,
            Err(error) if may_be_link(error) && !flags.contains(OFlags::NOFOLLOW) => {
                walk.follow(&name, error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells what `path` beneath `root` is, without opening it.
#[cfg(any(test, not(target_os = "linux")))]
fn walk_stat(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<Stat, Errno> {
    let mut walk = Walk::new(root, path, links)?;
    loop {
        let Last::Name(name) = walk.advance()? else {
            return fstat(walk.here());
        };
        let stat = statat(walk.here(), &*name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => walk.follow(&name, Errno::LOOP)?,
            FileType::Directory => return Ok(stat),
            _ if walk.directory => return Err(Errno::NOTDIR),
            _ => return Ok(stat),
        }
    }
}

#[cfg(target_os = "linux")]
fn is_link(opened: &OwnedFd, flags: OFlags) -> Result<bool, Errno> {
    Ok(flags.contains(OFlags::PATH)
        && FileType::from_raw_mode(fstat(opened)?.st_mode) == FileType::Symlink)
}

/// Without `O_PATH` a link is never opened itself.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "the signature is Linux's")]
fn is_link(_opened: &OwnedFd, _flags: OFlags) -> Result<bool, Errno> {
    Ok(false)
}

#[cfg(test)]
mod tests;
