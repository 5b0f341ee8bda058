//! Gives up what a process may do, for good: root's identity, its capabilities, and the ways to
//! get them back.
//!
//! The design choice: it is done before the process has a second thread. The identity belongs to
//! the whole process (libc sees to that), but capabilities and "no new privileges" belong to one
//! thread and to those that it starts; with only one there is no thread left behind.
//!
//! Other systems than Linux are told that they lack it; start the process as the user there.

use std::fmt;
use std::io;

/// The user that a process is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user id, never 0.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// All groups of the user, the primary one included.
    pub groups: Vec<u32>,
}

/// What is kept of root's capabilities; each has all of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Nothing.
    #[default]
    Nothing,
    /// What a persona needs to take on a user's identity; nothing else, and nothing of it has an
    /// effect outside of a persona.
    Personas,
    /// That, and what it takes to read the hashes of users' passwords
    /// ([`super::persona::reading_as_root`]).
    Logins,
}

/// An account cannot be used.
#[derive(Debug)]
pub enum AccountError {
    /// The system knows no user or group of this name.
    Unknown(String),
    /// It is root, which is what is to be given up.
    Root,
    /// A user that is only a number, without an account, needs a group.
    GroupMissing(u32),
    /// The list of accounts cannot be read.
    System(io::Error),
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(what) => write!(f, "there is no {what} on this system"),
            Self::Root => f.write_str("root is what is to be given up; name another user"),
            Self::GroupMissing(uid) => {
                write!(f, "the user {uid} has no account here, so the group must be named too")
            }
            Self::System(e) => write!(f, "the list of accounts cannot be read: {e}"),
        }
    }
}

impl std::error::Error for AccountError {}

impl Account {
    /// Looks an account up; user and group are names or numbers. Without `group` it is the user's
    /// own. Asks the system's list of accounts, so it may block.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, AccountError> {
        system::find(user, group)
    }

    /// Makes the process this user, with the user's groups. Whoever is this user already only
    /// loses what is not kept.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` unless the process is root, or this user; `Unsupported` on systems other
    /// than Linux.
    ///
    /// # Aborts
    ///
    /// The process, when it could still become root afterwards.
    pub fn assume(&self, keep: Keep) -> io::Result<()> {
        system::assume(self, keep)
    }
}

/// Makes sure that no program that this process starts gets privileges by its file's mode.
pub fn forbid_new() -> io::Result<()> {
    system::forbid_new()
}

/// Runs `start`, which starts a program, so that the program begins with what was kept.
///
/// For the time of the call the calling thread's programs inherit it; other threads' do not.
pub fn pass_on<R>(keep: Keep, start: impl FnOnce() -> R) -> io::Result<R> {
    system::pass_on(keep, start)
}

/// Becomes root in effect, as which little more can be done than with what was kept: for a program
/// that was started with that ([`pass_on`]), does one thing for which it must be root, and ends.
/// The real user stays, so that whoever has started it may end it.
///
/// # Errors
///
/// `PermissionDenied` without `CAP_SETUID` and `CAP_SETGID`.
pub fn become_root() -> io::Result<()> {
    system::become_root()
}

/// The number of threads of this process, where the system tells.
pub fn threads() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::CString;
    use std::io::{self, Write as _};

    use nix::unistd::{
        Gid, Group, Uid, User, getgrouplist, getgroups, getresgid, getresuid, setgroups, setresgid,
        setresuid,
    };
    use rustix::io::Errno;
    use rustix::thread::{
        CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
        set_no_new_privs,
    };

    use super::{Account, AccountError, Keep};

    /// Numbers that a capability may have: they are bits of 64.
    const CAPABILITIES: u32 = 64;

    fn kept(keep: Keep) -> CapabilitySet {
        match keep {
            Keep::Nothing => CapabilitySet::empty(),
            Keep::Personas => super::super::persona::CAPABILITIES,
            Keep::Logins => super::super::persona::CAPABILITIES | super::super::persona::READING,
        }
    }

    pub(super) fn find(user: &str, group: Option<&str>) -> Result<Account, AccountError> {
        let system = |e: nix::Error| AccountError::System(e.into());
        let unknown = || AccountError::Unknown(format!("user `{user}`"));
        let found = match user.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(user),
        };
        let found = found.map_err(system)?;
        let uid = match &found {
            Some(found) => found.uid.as_raw(),
            None => user.parse().map_err(|_| unknown())?,
        };
        let gid = match group {
            None => found.as_ref().ok_or(AccountError::GroupMissing(uid))?.gid.as_raw(),
            Some(group) => match group.parse() {
                Ok(number) => number,
                Err(_) => Group::from_name(group)
                    .map_err(system)?
                    .ok_or_else(|| AccountError::Unknown(format!("group `{group}`")))?
                    .gid
                    .as_raw(),
            },
        };
        if uid == 0 || gid == 0 {
            return Err(AccountError::Root);
        }
        // The number that means "none".
        if uid == u32::MAX || gid == u32::MAX {
            return Err(unknown());
        }
        let mut groups = match found.and_then(|found| CString::new(found.name).ok()) {
            Some(name) => getgrouplist(&name, Gid::from_raw(gid)).map_err(system)?,
            None => vec![Gid::from_raw(gid)],
        };
        groups.sort_unstable_by_key(|gid| gid.as_raw());
        groups.dedup();
        Ok(Account { uid, gid, groups: groups.into_iter().map(Gid::as_raw).collect() })
    }

    pub(super) fn assume(account: &Account, keep: Keep) -> io::Result<()> {
        let kept = kept(keep);
        let before = capabilities(None)?;
        if before.effective.contains(CapabilitySet::SETPCAP) {
            bound(kept)?;
        }
        if !is_assumed(account)? {
            let groups: Vec<_> = account.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
            let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
            set_keep_capabilities(!kept.is_empty())?;
            setgroups(&groups)?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
            set_keep_capabilities(false)?;
        }
        let none = CapabilitySet::empty();
        let permitted = before.permitted & kept;
        // What is not inheritable is not ambient either.
        set_capabilities(None, CapabilitySets { effective: none, permitted, inheritable: none })?;
        verify(account)
    }

    fn is_assumed(account: &Account) -> io::Result<bool> {
        let (uids, gids) = (getresuid()?, getresgid()?);
        Ok([uids.real, uids.effective, uids.saved].iter().all(|id| id.as_raw() == account.uid)
            && [gids.real, gids.effective, gids.saved].iter().all(|id| id.as_raw() == account.gid))
    }

    pub(super) fn become_root() -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        setgroups(&[])?;
        setresgid(getresgid()?.real, gid, gid)?;
        Ok(setresuid(getresuid()?.real, uid, uid)?)
    }

    /// Takes everything but `kept` out of what programs started from here can ever have.
    fn bound(kept: CapabilitySet) -> io::Result<()> {
        for number in 0..CAPABILITIES {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if kept.contains(one) {
                continue;
            }
            match remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // The system knows no capability of this number, and none beyond it.
                Err(Errno::INVAL) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Makes sure that the way back is closed.
    fn verify(account: &Account) -> io::Result<()> {
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        if setresuid(root.0, root.0, root.0).is_ok() || setresgid(root.1, root.1, root.1).is_ok() {
            // Not eprintln!, which panics when standard error is closed.
            let _ = writeln!(io::stderr(), "medusa: root can be had again after giving it up");
            std::process::abort();
        }
        let mut groups: Vec<_> = getgroups()?.into_iter().map(Gid::as_raw).collect();
        groups.retain(|gid| !account.groups.contains(gid));
        if !is_assumed(account)? || groups.contains(&0) {
            return Err(io::Error::other("the system has not taken on the identity"));
        }
        Ok(())
    }

    pub(super) fn forbid_new() -> io::Result<()> {
        Ok(set_no_new_privs(true)?)
    }

    pub(super) fn pass_on<R>(keep: Keep, start: impl FnOnce() -> R) -> io::Result<R> {
        let before = capabilities(None)?;
        let passed = kept(keep) & before.permitted;
        // Root's programs have it anyway.
        if passed.is_empty() || before.effective.contains(passed) {
            return Ok(start());
        }
        set_capabilities(None, CapabilitySets { inheritable: passed, ..before })?;
        let raised =
            passed.iter().try_for_each(|one| configure_capability_in_ambient_set(one, true));
        let started = raised.map(|()| start());
        // Without it in the set that is inherited, nothing stays in the ambient one either.
        set_capabilities(None, before)?;
        Ok(started?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use super::{Account, AccountError, Keep};

    fn unsupported() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "giving up privileges needs Linux")
    }

    pub(super) fn find(_: &str, _: Option<&str>) -> Result<Account, AccountError> {
        Err(AccountError::System(unsupported()))
    }

    pub(super) fn assume(_: &Account, _: Keep) -> io::Result<()> {
        Err(unsupported())
    }

    pub(super) fn forbid_new() -> io::Result<()> {
        Err(unsupported())
    }

    pub(super) fn become_root() -> io::Result<()> {
        Err(unsupported())
    }

    pub(super) fn pass_on<R>(_: Keep, start: impl FnOnce() -> R) -> io::Result<R> {
        Ok(start())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_by_number() {
        let daemon = Account::find("daemon", None).unwrap();
        assert_eq!((daemon.uid, daemon.gid), (1, 1));
        assert!(daemon.groups.contains(&1) && !daemon.groups.contains(&0));
        assert_eq!(Account::find("1", Some("daemon")).unwrap(), daemon);
        let stranger = Account::find("54321", Some("54322")).unwrap();
        assert_eq!(stranger, Account { uid: 54321, gid: 54322, groups: vec![54322] });
    }

    #[test]
    fn what_is_no_account_to_give_root_up_for_is_refused() {
        for (user, group, said) in [
            ("root", None, "another user"),
            ("0", Some("daemon"), "another user"),
            ("daemon", Some("root"), "another user"),
            ("no-such-user", None, "user `no-such-user`"),
            ("daemon", Some("no-such-group"), "group `no-such-group`"),
            ("54321", None, "group must be named"),
            ("4294967295", Some("1"), "4294967295"),
            ("", None, "user ``"),
        ] {
            let error = Account::find(user, group).unwrap_err().to_string();
            assert!(error.contains(said), "{user} {group:?}: {error}");
        }
    }

    /// Set in the child process in which `what_personas_need_is_kept_and_passed_on` gives up root.
    const CHILD: &str = "MEDUSA_TEST_PRIVILEGES_CHILD";

    #[test]
    fn what_personas_need_is_kept_and_passed_on() {
        const NAME: &str = "what_personas_need_is_kept_and_passed_on";
        if std::env::var_os(CHILD).is_some() {
            return kept_and_passed_on();
        }
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: {NAME}: needs root");
            return;
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([&format!("sys::privileges::tests::{NAME}"), "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }

    fn kept_and_passed_on() {
        use super::super::persona::{Identity, Persona};
        let capabilities_of = |keep| {
            let cat =
                || std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(pass_on(keep, cat).unwrap().stdout).unwrap();
            status.lines().filter(|line| line.starts_with("CapEff")).collect::<String>()
        };
        let own = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let lines = status.lines().filter(|line| line.starts_with("Cap"));
            lines.map(|line| line.split_whitespace().last().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let daemon = Account::find("daemon", None).unwrap();
        // Anybody else's ids can be taken on.
        let other = Identity { uid: 54321, gid: 54322, groups: vec![54323], umask: 0o022 };
        let other = Persona::user(other);
        daemon.assume(Keep::Personas).unwrap();
        let (nothing, kept) = ("0000000000000000", "00000000000000c0");
        // Inheritable, permitted, effective, bounding, ambient.
        let after = [nothing, kept, nothing, kept, nothing];
        assert_eq!(own(), after);
        assert!(rustix::thread::set_thread_groups(&[]).is_err(), "it has no effect by itself");
        other.run(|| ()).unwrap();
        assert_eq!(capabilities_of(Keep::Personas), format!("CapEff:\t{kept}"));
        assert_eq!(own(), after);
        assert_eq!(capabilities_of(Keep::Nothing), format!("CapEff:\t{nothing}"));
        // What a process does that was started so; and later it may give up the rest too.
        daemon.assume(Keep::Personas).unwrap();
        assert_eq!(own(), after);
        daemon.assume(Keep::Nothing).unwrap();
        assert!(other.run(|| ()).is_err());
        assert!(Account::find("nobody", None).unwrap().assume(Keep::Nothing).is_err());
    }
}
