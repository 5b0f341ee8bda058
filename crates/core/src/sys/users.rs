//! Looks up the users of this machine by name: who they are, and where they live.
//!
//! The one design choice: the C library is asked, not a file, so that users of a directory
//! service count too. It may therefore block for long; call this on a helper thread.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::unistd::User as Entry;

use super::persona::Identity;

/// Groups that a user may be in; the limit of the Linux kernel.
pub const MAX_GROUPS: usize = 65_536;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id, group id and all other groups.
    pub identity: Identity,
    /// The home directory.
    pub home: PathBuf,
    /// The program that they get when they log in at a terminal; empty is `/bin/sh`.
    pub shell: PathBuf,
    /// What stands in the place of a password: mostly `x`, which says that the hash is kept where
    /// only root can read it.
    pub password: String,
}

/// Looks a user up; `None` is that there is none of this name. May block.
///
/// Files that this user makes have the permission bits that `umask` leaves.
pub fn look_up(name: &str, umask: u32) -> io::Result<Option<User>> {
    let Some(entry) = Entry::from_name(name)? else { return Ok(None) };
    let (uid, gid) = (entry.uid.as_raw(), entry.gid.as_raw());
    let groups = groups(&entry.name, gid)?;
    if groups.len() > MAX_GROUPS {
        return Err(io::Error::other(format!("the user `{name}` is in too many groups")));
    }
    let identity = Identity { uid, gid, groups, umask };
    let password = entry.passwd.to_string_lossy().into_owned();
    Ok(Some(User { identity, home: entry.dir, shell: entry.shell, password }))
}

/// All groups of a user, the primary one among them.
#[cfg(not(target_vendor = "apple"))]
fn groups(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    let groups = nix::unistd::getgrouplist(&name, nix::unistd::Gid::from_raw(gid))?;
    Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
}

/// The primary group alone: there are no personas on this system that could use the others.
#[cfg(target_vendor = "apple")]
fn groups(_: &str, gid: u32) -> io::Result<Vec<u32>> {
    Ok(vec![gid])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_nonsense_is_not() {
        let root = look_up("root", 0o22).unwrap().expect("every system has one");
        assert_eq!((root.identity.uid, root.identity.gid, root.identity.umask), (0, 0, 0o22));
        assert!(root.identity.groups.contains(&0) && root.home.is_absolute());
        assert!(root.shell.is_absolute() && !root.password.is_empty());
        for name in ["", "no such user", "a:b", "root\n"] {
            assert_eq!(look_up(name, 0).unwrap(), None, "{name:?}");
        }
        assert!(look_up("a\0b", 0).is_ok_and(|found| found.is_none()));
    }
}
