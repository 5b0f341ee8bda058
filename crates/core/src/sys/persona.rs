//! Runs one file operation under a Unix identity, on the calling thread alone.
//!
//! The design choice: the identity is switched with Linux's *file system* ids (`setfsuid`,
//! `setfsgid`) and the raw `setgroups` system call, because these change one thread. The set*id
//! functions of libc change every thread of the process, and so would hand one client's identity
//! to whatever the other threads happen to be doing.
//!
//! While a persona is assumed the thread has no effective capabilities at all. The kernel drops
//! `CAP_DAC_OVERRIDE` and its like when the file system uid leaves zero, but not
//! `CAP_SYS_RESOURCE`, under which disk quotas do not bind. What the switch itself needs
//! (`CAP_SETUID`, `CAP_SETGID`) must be permitted to the process, and need not be in effect before.
//!
//! A persona that cannot be left aborts the process: going on would serve the next client under
//! this one's identity.
//!
//! Two awkward truths. The kernel resets `PR_SET_PDEATHSIG` and the process's "dumpable" flag
//! whenever a file system id changes. And a thread spawned while a persona is assumed inherits
//! it, so an operation must not spawn any.

use std::io;
use std::sync::Arc;

#[cfg(target_os = "linux")]
pub(super) use system::{CAPABILITIES, READING};

/// The permission bits that a umask can remove.
const UMASK_BITS: u32 = 0o777;

/// Holds what the kernel needs to know to act as one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The user id. `u32::MAX` is no user and is refused.
    pub uid: u32,
    /// The primary group id. `u32::MAX` is no group and is refused.
    pub gid: u32,
    /// The supplementary groups; they replace those of the process, none of which are kept.
    pub groups: Vec<u32>,
    /// The permission bits that files made by this user do not get; see [`Persona::creation_mode`].
    pub umask: u32,
}

/// Names the Unix identity under which one file operation runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Persona {
    /// The server's own identity. Costs nothing.
    #[default]
    Process,
    /// A user's identity, taken on for one operation. Needs `CAP_SETUID` and `CAP_SETGID`.
    User(Arc<Identity>),
}

impl Persona {
    /// Makes the persona of a user.
    pub fn user(identity: Identity) -> Self {
        Self::User(Arc::new(identity))
    }

    /// Runs an operation under this persona on the calling thread, and returns to the thread's
    /// own identity afterwards, also when the operation panics.
    ///
    /// The operation must not spawn threads, and must not run another persona: that is an error.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` without the privilege to take on the identity, `InvalidInput` for an
    /// id that is no id, and `Unsupported` for a user's persona on a system other than Linux. The
    /// operation has then not run.
    ///
    /// # Aborts
    ///
    /// The process, when the thread's own identity cannot be restored.
    pub fn run<R>(&self, operation: impl FnOnce() -> R) -> io::Result<R> {
        match self {
            Self::Process => Ok(operation()),
            Self::User(identity) => {
                let _assumed = system::assume(identity)?;
                Ok(operation())
            }
        }
    }

    /// Tells the mode that a file made under this persona is to be created with: `mode` without
    /// the bits of the user's umask.
    ///
    /// The kernel's umask belongs to the whole process (or to threads that were split off with
    /// `unshare(CLONE_FS)`, which would also split the working directory), so a user's umask is
    /// applied here, by whoever creates the file. The process's own umask still applies on top;
    /// the stricter of both wins.
    pub fn creation_mode(&self, mode: u32) -> u32 {
        match self {
            Self::Process => mode,
            Self::User(identity) => mode & !(identity.umask & UMASK_BITS),
        }
    }
}

/// Runs an operation that reads what only root may read, as the hashes of passwords, on the
/// calling thread. A process that has given up root does it as root's persona, with
/// [`super::privileges::Keep::Logins`] also past modes that shut root out; one that cannot take
/// that on does it as what it is, and may be denied.
///
/// The operation must not spawn threads, and must not run a persona.
pub fn reading_as_root<R>(operation: impl FnOnce() -> R) -> R {
    let root = Identity { uid: 0, gid: 0, groups: Vec::new(), umask: 0 };
    let _assumed = system::assume_reading(&root).ok();
    operation()
}

#[cfg(target_os = "linux")]
mod system {
    use std::cell::Cell;
    use std::io::{self, Write as _};
    use std::marker::PhantomData;

    use rustix::process::{Gid, getgroups};
    use rustix::thread::{
        CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups,
    };

    use super::Identity;

    /// What taking on a user's identity needs, and leaving it.
    pub(in crate::sys) const CAPABILITIES: CapabilitySet =
        CapabilitySet::SETUID.union(CapabilitySet::SETGID);

    /// What reading the hashes of passwords needs beside that where their file has a mode of 0.
    pub(in crate::sys) const READING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

    /// The id that means "none"; given to `setfsuid` it changes nothing and tells what is set.
    const NO_ID: u32 = u32::MAX;

    thread_local! {
        /// A persona is assumed. What would permit a second one inside it is only put by.
        static INSIDE: Cell<bool> = const { Cell::new(false) };
    }

    /// Keeps the thread's own identity while a persona is assumed; dropping it restores it.
    pub(super) struct Assumed {
        capabilities: CapabilitySets,
        uid: u32,
        gid: u32,
        groups: Vec<Gid>,
        /// The identity belongs to one thread, so the guard must not leave it.
        _thread: PhantomData<*const ()>,
    }

    /// Switches the calling thread to `identity`, without any capability.
    pub(super) fn assume(identity: &Identity) -> io::Result<Assumed> {
        assume_with(identity, CapabilitySet::empty())
    }

    /// Switches the calling thread to `identity`, which can read whatever the process may.
    pub(super) fn assume_reading(identity: &Identity) -> io::Result<Assumed> {
        assume_with(identity, READING)
    }

    /// Switches the calling thread to `identity`, with what is permitted of `effective`.
    fn assume_with(identity: &Identity, effective: CapabilitySet) -> io::Result<Assumed> {
        let ids = identity.groups.iter().chain([&identity.uid, &identity.gid]);
        if ids.into_iter().any(|&id| id == NO_ID) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "persona with an invalid id"));
        }
        if INSIDE.get() {
            let inside = "a persona cannot be taken on inside another";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, inside));
        }
        let own = Assumed {
            capabilities: capabilities(None)?,
            uid: exchange_fsuid(NO_ID),
            gid: exchange_fsgid(NO_ID),
            groups: getgroups()?,
            _thread: PhantomData,
        };
        let groups: Vec<Gid> = identity.groups.iter().map(|&id| Gid::from_raw(id)).collect();
        raise(own.capabilities)?;
        // First, because it is the one step that tells a lack of privilege: while nothing has
        // been changed there is nothing to restore, and the guard must not try.
        if let Err(error) = set_thread_groups(&groups) {
            let lowered = set_capabilities(None, own.capabilities);
            std::mem::forget(own);
            lowered?;
            return Err(io::Error::new(
                io::Error::from(error).kind(),
                format!("cannot take on the groups of user {}: {error}", identity.uid),
            ));
        }
        // From here on dropping `own` restores, whichever step fails.
        INSIDE.set(true);
        if !set_fsgid(identity.gid) || !set_fsuid(identity.uid) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("cannot take on the ids of user {}", identity.uid),
            ));
        }
        let effective = own.capabilities.permitted & effective;
        set_capabilities(None, CapabilitySets { effective, ..own.capabilities })?;
        Ok(own)
    }

    /// Puts into effect what is permitted of what the switch needs.
    fn raise(own: CapabilitySets) -> io::Result<()> {
        let effective = own.effective | (own.permitted & CAPABILITIES);
        Ok(set_capabilities(None, CapabilitySets { effective, ..own })?)
    }

    impl Assumed {
        fn restore(&self) -> io::Result<()> {
            // Capabilities come first, for the other steps need them, and again at the end,
            // because the kernel raises some by itself when the file system uid becomes zero.
            raise(self.capabilities)?;
            set_thread_groups(&self.groups)?;
            if !set_fsgid(self.gid) || !set_fsuid(self.uid) {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            set_capabilities(None, self.capabilities)?;
            INSIDE.set(false);
            Ok(())
        }
    }

    impl Drop for Assumed {
        fn drop(&mut self) {
            if let Err(error) = self.restore() {
                // Not eprintln!, which panics when standard error is closed.
                let _ = writeln!(io::stderr(), "medusa: a persona cannot be left: {error}");
                std::process::abort();
            }
        }
    }

    /// Sets the file system uid, and tells whether it took: the call itself reports no error.
    fn set_fsuid(uid: u32) -> bool {
        exchange_fsuid(uid);
        exchange_fsuid(NO_ID) == uid
    }

    /// Sets the file system gid, and tells whether it took.
    fn set_fsgid(gid: u32) -> bool {
        exchange_fsgid(gid);
        exchange_fsgid(NO_ID) == gid
    }

    fn exchange_fsuid(uid: u32) -> u32 {
        // SAFETY: takes a number, touches no memory of ours; libc makes it the plain system
        // call, for this thread only.
        unsafe { libc::setfsuid(uid) }.cast_unsigned()
    }

    fn exchange_fsgid(gid: u32) -> u32 {
        // SAFETY: as for `setfsuid`.
        unsafe { libc::setfsgid(gid) }.cast_unsigned()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use super::Identity;

    /// Cannot exist: no other system has an identity of one thread that this crate knows of.
    pub(super) enum Assumed {}

    pub(super) fn assume(_identity: &Identity) -> io::Result<Assumed> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "personas need Linux"))
    }

    pub(super) fn assume_reading(identity: &Identity) -> io::Result<Assumed> {
        assume(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_persona_just_runs() {
        assert_eq!(Persona::Process.run(|| 7).unwrap(), 7);
        assert_eq!(Persona::Process.creation_mode(0o666), 0o666);
    }

    #[test]
    fn a_users_umask_is_taken_from_the_mode() {
        let who = Persona::user(Identity { uid: 1, gid: 1, groups: vec![], umask: 0o027 });
        assert_eq!(who.creation_mode(0o666), 0o640);
        assert_eq!(who.creation_mode(0o777), 0o750);
    }

    #[cfg(target_os = "linux")]
    mod linux {
        use std::fs::{self, File, OpenOptions, Permissions};
        use std::io;
        use std::os::unix::fs::{
            MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
        };
        use std::os::unix::process::ExitStatusExt as _;
        use std::panic::{AssertUnwindSafe, catch_unwind};

        use rustix::process::{Gid, getgroups};
        use rustix::thread::{
            CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups,
        };
        use tempfile::TempDir;

        use super::super::{Identity, Persona};

        /// Ids that no account of a usual system has.
        const ALICE: u32 = 54_321;
        const BOB: u32 = 54_322;
        const SHARED: u32 = 54_330;
        const OTHER: u32 = 54_331;

        fn skipped(name: &str) -> bool {
            let root = rustix::process::geteuid().is_root();
            if !root {
                eprintln!("skipped: {name}: needs root");
            }
            !root
        }

        fn persona(uid: u32, groups: &[u32]) -> Persona {
            Persona::user(Identity { uid, gid: uid, groups: groups.to_vec(), umask: 0o022 })
        }

        /// Gives a directory that anybody may search, with one file in it.
        fn file(uid: u32, gid: u32, mode: u32) -> (TempDir, std::path::PathBuf) {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
            let path = dir.path().join("file");
            fs::write(&path, "secret").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(uid), Some(gid)).unwrap();
            (dir, path)
        }

        fn state() -> (CapabilitySets, Vec<Gid>, String) {
            // The kernel's own account of this thread: the fourth number is the fs id.
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let ids = status
                .lines()
                .filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:"))
                .collect::<Vec<_>>()
                .join(" ");
            (capabilities(None).unwrap(), getgroups().unwrap(), ids)
        }

        #[test]
        fn a_user_reads_only_what_is_theirs() {
            if skipped("a_user_reads_only_what_is_theirs") {
                return;
            }
            let (_dir, path) = file(ALICE, ALICE, 0o600);
            let alice = persona(ALICE, &[]).run(|| fs::read(&path)).unwrap();
            assert_eq!(alice.unwrap(), b"secret");
            let bob = persona(BOB, &[]).run(|| fs::read(&path)).unwrap();
            assert_eq!(bob.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            // And outside of the persona, root is root again.
            assert_eq!(fs::read(&path).unwrap(), b"secret");
        }

        #[test]
        fn supplementary_groups_count() {
            if skipped("supplementary_groups_count") {
                return;
            }
            let (_dir, path) = file(0, SHARED, 0o640);
            let member = persona(ALICE, &[OTHER, SHARED]).run(|| fs::read(&path)).unwrap();
            assert_eq!(member.unwrap(), b"secret");
            let stranger = persona(ALICE, &[OTHER]).run(|| fs::read(&path)).unwrap();
            assert_eq!(stranger.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }

        #[test]
        fn the_groups_of_the_process_are_not_kept_and_come_back() {
            if skipped("the_groups_of_the_process_are_not_kept_and_come_back") {
                return;
            }
            let (_dir, path) = file(0, SHARED, 0o640);
            // On a thread of its own, for groups are the thread's.
            std::thread::spawn(move || {
                set_thread_groups(&[Gid::from_raw(SHARED)]).unwrap();
                let read = persona(ALICE, &[]).run(|| fs::read(&path)).unwrap();
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(getgroups().unwrap(), [Gid::from_raw(SHARED)]);
            })
            .join()
            .unwrap();
        }

        #[test]
        fn files_are_made_in_the_users_name_and_identity_is_restored() {
            if skipped("files_are_made_in_the_users_name_and_identity_is_restored") {
                return;
            }
            let (dir, _) = file(0, 0, 0o600);
            fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
            let before = state();
            let made = persona(ALICE, &[SHARED])
                .run(|| {
                    OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(0o600)
                        .open(dir.path().join("made"))
                        .and_then(|file| File::metadata(&file))
                })
                .unwrap()
                .unwrap();
            assert_eq!((made.uid(), made.gid()), (ALICE, ALICE));
            assert_eq!(state(), before);
        }

        #[test]
        fn a_persona_has_no_capabilities_so_that_quotas_bind() {
            if skipped("a_persona_has_no_capabilities_so_that_quotas_bind") {
                return;
            }
            let inside = persona(ALICE, &[]).run(|| capabilities(None).unwrap()).unwrap();
            assert_eq!(inside.effective, CapabilitySet::empty());
        }

        #[test]
        fn a_panic_inside_restores_the_identity() {
            if skipped("a_panic_inside_restores_the_identity") {
                return;
            }
            let before = state();
            let who = persona(ALICE, &[]);
            let run = || who.run(|| std::panic::resume_unwind(Box::new("on purpose")));
            let outcome: Result<io::Result<()>, _> = catch_unwind(AssertUnwindSafe(run));
            assert!(outcome.is_err());
            assert_eq!(state(), before);
        }

        #[test]
        fn other_threads_keep_their_identity() {
            if skipped("other_threads_keep_their_identity") {
                return;
            }
            let (ask, asked) = std::sync::mpsc::channel::<()>();
            let (tell, told) = std::sync::mpsc::channel();
            let other = std::thread::spawn(move || {
                let before = state();
                asked.recv().unwrap();
                tell.send(before == state()).unwrap();
            });
            let unchanged = persona(ALICE, &[SHARED])
                .run(|| {
                    ask.send(()).unwrap();
                    told.recv().unwrap()
                })
                .unwrap();
            other.join().unwrap();
            assert!(unchanged, "another thread's identity changed");
        }

        #[test]
        fn entering_without_the_privilege_is_an_error() {
            if skipped("entering_without_the_privilege_is_an_error") {
                return;
            }
            let inner = persona(ALICE, &[]).run(|| persona(BOB, &[]).run(|| ())).unwrap();
            assert_eq!(inner.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            // Groups may be set, ids may not: whatever was changed is changed back.
            std::thread::spawn(|| {
                let all = capabilities(None).unwrap();
                let effective = all.effective.difference(CapabilitySet::SETUID);
                let permitted = all.permitted.difference(CapabilitySet::SETUID);
                let reduced = CapabilitySets { effective, permitted, ..all };
                set_capabilities(None, reduced).unwrap();
                let before = state();
                let outcome = persona(ALICE, &[SHARED]).run(|| ());
                assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(state(), before);
            })
            .join()
            .unwrap();
        }

        #[test]
        fn what_is_permitted_need_not_be_in_effect() {
            if skipped("what_is_permitted_need_not_be_in_effect") {
                return;
            }
            let (_dir, path) = file(ALICE, ALICE, 0o600);
            std::thread::spawn(move || {
                let (none, permitted) = (CapabilitySet::empty(), super::super::CAPABILITIES);
                let kept = CapabilitySets { effective: none, permitted, inheritable: none };
                set_capabilities(None, kept).unwrap();
                let before = state();
                let read = persona(ALICE, &[SHARED]).run(|| fs::read(&path)).unwrap();
                assert_eq!(read.unwrap(), b"secret");
                assert_eq!(state(), before);
            })
            .join()
            .unwrap();
        }

        #[test]
        fn what_only_root_may_read_is_read_with_what_was_kept() {
            if skipped("what_only_root_may_read_is_read_with_what_was_kept") {
                return;
            }
            let (_dir, roots) = file(0, 0, 0o600);
            let (_other, shut) = file(0, 0, 0);
            let read = |kept: CapabilitySet, path: &std::path::Path| {
                let path = path.to_owned();
                let thread = std::thread::spawn(move || {
                    // As somebody else, for root owns the files.
                    let alice = rustix::process::Uid::from_raw(ALICE);
                    rustix::thread::set_keep_capabilities(true).unwrap();
                    rustix::thread::set_thread_res_uid(alice, alice, alice).unwrap();
                    let none = CapabilitySet::empty();
                    let kept =
                        CapabilitySets { effective: none, permitted: kept, inheritable: none };
                    set_capabilities(None, kept).unwrap();
                    let before = state();
                    let plain = fs::read(&path);
                    assert_eq!(plain.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
                    let read = super::super::reading_as_root(|| fs::read(&path));
                    assert_eq!(state(), before);
                    read.map_err(|e| e.kind())
                });
                thread.join().unwrap()
            };
            let (switch, all) = (super::super::CAPABILITIES, super::super::READING);
            let denied = Err(io::ErrorKind::PermissionDenied);
            assert_eq!(read(switch, &roots), Ok(b"secret".to_vec()));
            assert_eq!(read(switch, &shut), denied);
            assert_eq!(read(switch | all, &shut), Ok(b"secret".to_vec()));
            assert_eq!(read(CapabilitySet::empty(), &roots), denied);
        }

        #[test]
        fn ids_that_are_no_ids_are_refused() {
            let outcome = persona(u32::MAX, &[]).run(|| ());
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            let outcome = persona(ALICE, &[u32::MAX]).run(|| ());
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }

        /// Set in the child process that `a_persona_that_cannot_be_left_aborts` starts.
        const CHILD: &str = "MEDUSA_TEST_PERSONA_CHILD";

        #[test]
        fn a_persona_that_cannot_be_left_aborts() {
            const NAME: &str = "a_persona_that_cannot_be_left_aborts";
            if skipped(NAME) {
                return;
            }
            if std::env::var_os(CHILD).is_some() {
                let none = CapabilitySet::empty();
                let nothing =
                    CapabilitySets { effective: none, permitted: none, inheritable: none };
                // Gives up for good what the way back needs.
                let _ = persona(ALICE, &[]).run(|| set_capabilities(None, nothing).unwrap());
                return;
            }
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args([&format!("sys::persona::tests::linux::{NAME}"), "--exact", "--nocapture"])
                .env(CHILD, "1")
                .output()
                .unwrap();
            let log = String::from_utf8_lossy(&child.stderr);
            assert_eq!(child.status.signal(), Some(6), "SIGABRT expected: {log}");
            assert!(log.contains("a persona cannot be left"), "{log}");
        }
    }
}
