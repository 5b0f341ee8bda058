//! The servers of this user that run on this machine.
//!
//! The one design choice: a server's socket has a name that ends in `.sock`, in a directory that
//! only its user can enter. So whoever finds it there may trust it, and no list of servers has to
//! be kept true.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::limits::SOCKETS;
use crate::target::Target;

/// Where the sockets of a user's servers may be, the best place first: a server takes the first
/// that it can make, a console looks into all. A server that was not started from a session of its
/// user has no `XDG_RUNTIME_DIR`, so the system's place for it is named too. Whoever sets
/// `MEDUSA_RUNTIME_DIR` says where they are, and nothing else is looked at.
pub fn directories() -> Vec<PathBuf> {
    if let Some(only) = std::env::var_os("MEDUSA_RUNTIME_DIR").map(PathBuf::from)
        && only.is_absolute()
    {
        return vec![only];
    }
    let user = rustix::process::geteuid();
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut all: Vec<PathBuf> = session
        .filter(|path| path.is_absolute())
        .into_iter()
        .chain([PathBuf::from(format!("/run/user/{user}"))])
        .chain(user.is_root().then(|| PathBuf::from("/run")))
        .map(|path| path.join("medusa"))
        .chain([std::env::temp_dir().join(format!("medusa-{user}"))])
        .collect();
    all.dedup();
    all
}

/// The one server that runs as this user. The error tells what to do if there is none, or more
/// than one.
pub fn find() -> Result<Target, String> {
    find_in(&directories())
}

fn find_in(directories: &[PathBuf]) -> Result<Target, String> {
    let mut found = servers(directories);
    match found.len() {
        1 => Ok(Target::Unix(found.remove(0))),
        0 => {
            let places: Vec<String> =
                directories.iter().map(|directory| directory.display().to_string()).collect();
            Err(format!(
                "no server of yours runs here: no monitor listens in {}. `medusa DIR` starts a \
                 server that serves a directory; `medusa console ADDR` goes to a monitor elsewhere",
                places.join(" or ")
            ))
        }
        n => {
            let list: Vec<String> = found
                .iter()
                .map(|path| format!("  medusa console unix:{}", path.display()))
                .collect();
            Err(format!("{n} servers of yours run here; choose one:\n{}", list.join("\n")))
        }
    }
}

/// The sockets on which somebody listens, in directories that belong to nobody else.
fn servers(directories: &[PathBuf]) -> Vec<PathBuf> {
    let ours = |path: &&PathBuf| {
        fs::metadata(path).is_ok_and(|about| {
            about.is_dir()
                && about.uid() == rustix::process::geteuid().as_raw()
                && !is_open_to_others(&about)
        })
    };
    let mut found: Vec<PathBuf> = directories
        .iter()
        .filter(ours)
        .filter_map(|path| fs::canonicalize(path).ok()?.read_dir().ok())
        .flat_map(|entries| entries.take(SOCKETS).flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
        .filter(|path| UnixStream::connect(path).is_ok())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether anybody but its owner may do anything with a file or directory.
pub(crate) fn is_open_to_others(about: &fs::Metadata) -> bool {
    about.permissions().mode() & 0o077 != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_only_server_is_found_and_of_several_one_is_to_be_chosen() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = fs::canonicalize(place.path()).expect("it is there");
        let path = |name: &str| directory.join(name);
        let find = || find_in(&[path("absent"), directory.clone()]);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let none = find().expect_err("there is none");
        assert!(none.contains("`medusa DIR` starts a server"), "{none}");
        // What nobody listens on any more is no server, nor is what has another name.
        drop(UnixListener::bind(path("stale.sock")).expect("bound"));
        fs::write(path("file.sock"), "").expect("written");
        let _other = UnixListener::bind(path("other")).expect("bound");
        let _one = UnixListener::bind(path("1.sock")).expect("bound");
        assert_eq!(find(), Ok(Target::Unix(path("1.sock"))));
        let _two = UnixListener::bind(path("2.sock")).expect("bound");
        let several = find().expect_err("there are two");
        assert!(several.starts_with("2 servers of yours run here; choose one:\n"), "{several}");
        for name in ["1.sock", "2.sock"] {
            assert!(several.contains(&format!("medusa console unix:{}", path(name).display())));
        }
        // Others could have put something there.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o711)).expect("it is ours");
        assert!(find().expect_err("not trusted").starts_with("no server of yours"));
    }
}
