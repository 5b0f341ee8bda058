//! What a tree is asked, and as whom; and what is said when it fails.

use std::sync::Mutex;
use std::time::SystemTime;

use medusa_core::sys::persona::Identity;
use medusa_fs::{
    Detail, Entries, Error, Freshness, Metadata, OpenFile, Placement, Staged, Stamp, WriteFile,
};

use super::*;
use crate::{Authorizer, User};

/// A tree in memory that notes who asks, and can fail.
struct Watched {
    inner: MemoryTree,
    asked: Mutex<Vec<(&'static str, bool)>>,
    fails: bool,
}

impl Watched {
    fn ask<T>(
        &self,
        what: &'static str,
        who: &Persona,
        answer: impl FnOnce(&MemoryTree) -> medusa_fs::Result<T>,
    ) -> medusa_fs::Result<T> {
        let is_user = matches!(who, Persona::User(identity) if identity.uid == 4711);
        self.asked.lock().expect("nobody panics").push((what, is_user));
        if self.fails {
            let io = std::io::Error::other("/srv/secret/disk: broken");
            return Err(Error::from_io(io, what, &path("/secret")));
        }
        answer(&self.inner)
    }
}

impl FileSystem for Watched {
    fn is_writable(&self) -> bool {
        true
    }

    fn metadata(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<Metadata> {
        self.ask("metadata", who, |tree| tree.metadata(who, path))
    }

    fn entry_metadata(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<Metadata> {
        self.ask("entry_metadata", who, |tree| tree.entry_metadata(who, path))
    }

    fn open(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<OpenFile> {
        self.ask("open", who, |tree| tree.open(who, path))
    }

    fn open_now(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<OpenFile> {
        self.ask("open_now", who, |tree| tree.open_now(who, path))
    }

    fn open_own(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<OpenFile> {
        self.ask("open_own", who, |tree| tree.open_own(who, path))
    }

    fn check_now(&self, who: &Persona, path: &VirtualPath, stamp: &Stamp) -> Freshness {
        self.inner.check_now(who, path, stamp)
    }

    fn list(
        &self,
        who: &Persona,
        path: &VirtualPath,
        detail: Detail,
    ) -> medusa_fs::Result<Entries> {
        self.ask("list", who, |tree| tree.list(who, path, detail))
    }

    fn stage(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<Box<dyn Staged>> {
        self.ask("stage", who, |tree| tree.stage(who, path))
    }

    fn write_open(
        &self,
        who: &Persona,
        path: &VirtualPath,
        placement: Placement,
    ) -> medusa_fs::Result<Box<dyn WriteFile>> {
        self.ask("write_open", who, |tree| tree.write_open(who, path, placement))
    }

    fn make_dir(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<()> {
        self.ask("make_dir", who, |tree| tree.make_dir(who, path))
    }

    fn remove_file(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<()> {
        self.ask("remove_file", who, |tree| tree.remove_file(who, path))
    }

    fn remove_dir(&self, who: &Persona, path: &VirtualPath) -> medusa_fs::Result<()> {
        self.ask("remove_dir", who, |tree| tree.remove_dir(who, path))
    }

    fn rename(&self, who: &Persona, from: &VirtualPath, to: &VirtualPath) -> medusa_fs::Result<()> {
        self.ask("rename", who, |tree| tree.rename(who, from, to))
    }

    fn set_modified(
        &self,
        who: &Persona,
        path: &VirtualPath,
        time: SystemTime,
    ) -> medusa_fs::Result<()> {
        self.ask("set_modified", who, |tree| tree.set_modified(who, path, time))
    }

    fn set_mode(&self, who: &Persona, path: &VirtualPath, mode: u32) -> medusa_fs::Result<()> {
        self.ask("set_mode", who, |tree| tree.set_mode(who, path, mode))
    }
}

/// Every command that asks the tree something.
const COMMANDS: &[&str] = &[
    "SIZE a.txt",
    "MDTM a.txt",
    "MLST a.txt",
    "HASH a.txt",
    "STAT d",
    "MFMT 20200102030405 a.txt",
    "SITE CHMOD 600 a.txt",
    "MKD new",
    "CWD new",
    "CWD /",
    "RMD new",
    "RNFR a.txt",
    "RNTO b.txt",
    "DELE b.txt",
    "RETR d/b.txt",
    "LIST d",
    "NLST d",
    "MLSD d",
    "STOR x",
    "APPE x",
    "STOU",
];

fn is_transfer(command: &str) -> bool {
    ["RETR", "LIST", "NLST", "MLSD", "STOR", "APPE", "STOU"].contains(&&command[..4])
}

fn bench(fails: bool) -> (Bench, Arc<Watched>) {
    let mut bench = Bench::new();
    let asked = Mutex::default();
    let watched = Arc::new(Watched { inner: bench.tree.clone(), asked, fails });
    let identity = Identity { uid: 4711, gid: 4712, groups: vec![4713], umask: 0o022 };
    let user = User::new("ann", watched.clone(), Persona::user(identity), Permissions::ALL);
    let users: Vec<Rc<dyn Authorizer>> = vec![Rc::new(Anonymous::new(user))];
    bench.service = FtpService::new(FtpSettings::default(), users, Vec::new());
    bench.control = bench.h.accept(&bench.service);
    bench.log_in();
    (bench, watched)
}

/// Only some calls were made as the user; the others were root's.
#[test]
fn every_operation_is_made_as_the_user() {
    let (mut bench, watched) = bench(false);
    for command in COMMANDS {
        let said =
            if is_transfer(command) { bench.put(command, b"content") } else { bench.say(command) };
        assert!(!said.contains("\r\n4") && !said.starts_with(['4', '5']), "{command}: {said}");
    }
    let asked = watched.asked.lock().expect("nobody panics");
    for what in [
        "metadata",
        "entry_metadata",
        "open",
        "open_own",
        "list",
        "stage",
        "write_open",
        "make_dir",
        "remove_file",
        "remove_dir",
        "rename",
        "set_modified",
        "set_mode",
    ] {
        assert!(asked.iter().any(|(asked, _)| *asked == what), "{what} was not tried");
    }
    let others: Vec<_> = asked.iter().filter(|(_, is_user)| !is_user).collect();
    assert!(others.is_empty(), "{others:?}");
    let on_the_loop = asked.iter().any(|(what, _)| *what == "open_now");
    assert!(!on_the_loop, "the loop's own thread takes on nobody's identity");
}

/// A 451 told paths of the machine, and what its libraries said.
#[test]
fn a_fault_of_the_server_says_nothing_of_its_inside() {
    let (mut bench, _) = bench(true);
    for command in COMMANDS.iter().filter(|command| !command.starts_with("RNTO")) {
        if is_transfer(command) {
            bench.data();
        }
        let said = bench.say(command);
        assert_eq!(said, "451 The server has failed to do that.\r\n", "{command}");
    }
}
