//! Confines a process to the parts of the file system that it needs, where the kernel can
//! (Landlock).
//!
//! The design choice: best effort. What the kernel cannot restrict stays open, and the caller is
//! told how much was achieved. What is open already stays usable, whatever its place.
//!
//! Two awkward truths. The confinement binds the calling thread and those that it starts, so it
//! must come before any other thread. And it can only become narrower: whatever program the
//! process starts is confined too.

use std::io;
use std::path::PathBuf;

/// The places that a process needs; each stands for everything beneath it. One that does not
/// exist is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Files that are read, and directories that are listed.
    pub read: Vec<PathBuf>,
    /// Where files are made, changed, renamed and removed too.
    pub write: Vec<PathBuf>,
    /// Where sockets are made and removed.
    pub sockets: Vec<PathBuf>,
    /// Where programs and their libraries are.
    pub execute: Vec<PathBuf>,
}

/// How much of a confinement the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// All of it.
    Fully,
    /// What it knows; it is older than some of what was asked.
    Partly,
    /// Nothing.
    Not,
}

/// Confines the calling thread, and what it starts, to these places. Without privileges it needs
/// [`super::privileges::forbid_new`] before.
pub fn confine(places: &Places) -> io::Result<Confined> {
    system::confine(places)
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use landlock::{
        ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
    };

    use super::{Confined, Places};

    /// The rights that this program knows. Later ones could forbid what it does not know of.
    const KNOWN: ABI = ABI::V5;

    pub(super) fn confine(places: &Places) -> io::Result<Confined> {
        restrict(places).map_err(|e| io::Error::other(e.to_string()))
    }

    fn restrict(places: &Places) -> Result<Confined, RulesetError> {
        let all = AccessFs::from_all(KNOWN);
        let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = all & !BitFlags::from(AccessFs::Execute);
        let sockets = AccessFs::MakeSock | AccessFs::RemoveFile;
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .create()?
            .no_new_privs(false)
            .add_rules(path_beneath_rules(&places.read, read))?
            .add_rules(path_beneath_rules(&places.write, write))?
            .add_rules(path_beneath_rules(&places.sockets, sockets))?
            .add_rules(path_beneath_rules(&places.execute, read | AccessFs::Execute))?
            .restrict_self()?;
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => Confined::Fully,
            RulesetStatus::PartiallyEnforced => Confined::Partly,
            RulesetStatus::NotEnforced => Confined::Not,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use super::{Confined, Places};

    pub(super) fn confine(_: &Places) -> io::Result<Confined> {
        Ok(Confined::Not)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    use std::fs;
    use std::os::fd::AsRawFd;

    /// On a thread of its own, which is all that is confined.
    #[test]
    fn only_the_places_can_be_reached_where_the_kernel_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["read", "write", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("f"), name).unwrap();
        }
        let open = fs::File::open(path("other/f")).unwrap();
        let places = Places {
            read: vec![path("read"), path("missing")],
            write: vec![path("write")],
            sockets: vec![path("read")],
            execute: vec![],
        };
        let confined = |path: &dyn Fn(&str) -> PathBuf| {
            super::super::privileges::forbid_new().unwrap();
            let confined = confine(&places).unwrap();
            assert_eq!(fs::read(path("read/f")).unwrap(), b"read");
            assert_eq!(fs::read_dir(path("read")).unwrap().count(), 1);
            fs::write(path("write/new"), "").unwrap();
            fs::rename(path("write/new"), path("write/f")).unwrap();
            // An upload: it has no name until it is whole.
            let flags = OFlags::TMPFILE | OFlags::WRONLY;
            if let Ok(file) = rustix::fs::open(path("write"), flags, Mode::RUSR) {
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                let named = path("write/linked");
                rustix::fs::linkat(CWD, unnamed, CWD, named, AtFlags::SYMLINK_FOLLOW).unwrap();
            }
            drop(std::os::unix::net::UnixListener::bind(path("read/s")).unwrap());
            fs::remove_file(path("read/s")).unwrap();
            assert_eq!(io::read_to_string(&open).unwrap(), "other", "it was open already");
            if confined != Confined::Not {
                let denied = |outcome: io::Result<()>| {
                    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
                };
                denied(fs::read(path("other/f")).map(drop));
                denied(fs::write(path("read/f"), ""));
                denied(fs::read_dir("/usr").map(drop));
                denied(std::process::Command::new("/bin/true").status().map(drop));
            }
        };
        std::thread::scope(|scope| scope.spawn(|| confined(&path)).join()).unwrap();
        assert_eq!(fs::read(path("other/f")).unwrap(), b"other");
    }
}
