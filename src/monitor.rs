//! The monitor's place in the program: the socket that is there by default, and the audit trail.

use std::any::Any;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use medusa_console::find;
use medusa_core::{Address, Handle, PassedSocket};
use medusa_log::{Destination, Lines, Logs};
use medusa_monitor::audit::Entry;
use medusa_monitor::follow::Hear;
use medusa_monitor::{Audit, Followed};

/// The mode of the directory of sockets: whoever cannot enter it cannot connect.
const DIRECTORY_MODE: u32 = 0o700;

/// What the names of sockets end with, by which a console knows them.
const SUFFIX: &str = "sock";

/// Bytes of the longest path of a socket that any system takes.
const MAX_PATH: usize = 103;

/// Files in the directory that are looked at when old sockets are cleared away.
const MAX_SWEPT: usize = 256;

/// A younger socket may be one whose server is about to listen.
const SWEPT_AGE: Duration = Duration::from_secs(60);

/// Where the monitor listens unless it is told otherwise: a socket of its own in a directory that
/// only this user can enter. A process that replaces another keeps the other's socket, whose name
/// stays that of the first process. The error says why there is no place for one.
pub(crate) fn local_socket(passed: &[PassedSocket]) -> Result<Address, String> {
    let directories = find::directories();
    let kept = passed.iter().map(PassedSocket::bound).find(|bound| {
        let Address::Unix(path) = bound else { return false };
        path.extension().is_some_and(|end| end == SUFFIX)
            && path.parent().is_some_and(|parent| directories.iter().any(|d| d == parent))
    });
    if let Some(kept) = kept {
        return Ok(kept.clone());
    }
    let mut why = Vec::new();
    for directory in &directories {
        match prepare(directory) {
            Ok(()) => {
                sweep(directory);
                let path = directory.join(format!("{}.{SUFFIX}", std::process::id()));
                if path.as_os_str().len() <= MAX_PATH {
                    return Ok(Address::Unix(path));
                }
                why.push(format!("{} is too long for a socket", path.display()));
            }
            Err(e) => why.push(format!("{}: {e}", directory.display())),
        }
    }
    Err(why.join("; "))
}

/// Makes the directory, or sees that it is ours alone.
fn prepare(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let about = fs::symlink_metadata(directory)?;
    let is_ours = about.is_dir()
        && about.uid() == rustix::process::geteuid().as_raw()
        && about.mode() & 0o777 == DIRECTORY_MODE;
    if is_ours { Ok(()) } else { Err(io::Error::other("others can enter it, or it is not ours")) }
}

/// Removes the sockets of servers that were killed.
fn sweep(directory: &Path) {
    // Whatever cannot be removed only lies there.
    let Ok(entries) = directory.read_dir() else { return };
    for path in entries.take(MAX_SWEPT).flatten().map(|entry| entry.path()) {
        let age =
            fs::symlink_metadata(&path).and_then(|about| about.modified()).map(|t| t.elapsed());
        let is_old = matches!(age, Ok(Ok(age)) if age > SWEPT_AGE);
        let is_socket = path.extension().is_some_and(|end| end == SUFFIX);
        let is_refused = || {
            UnixStream::connect(&path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        };
        if is_old && is_socket && is_refused() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Where operators stand unless another file is named: where the user's own configuration is; for
/// root, the machine's.
pub(crate) fn operators_file() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/etc/medusa/operators"));
    }
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(named("HOME")?.join(".config"));
    Some(named("XDG_CONFIG_HOME").or_else(home)?.join("medusa/operators"))
}

/// The audit trail as lines of a log.
pub(crate) struct Trail {
    handle: Handle,
    lines: Rc<Lines>,
    json: bool,
}

impl Trail {
    pub(crate) fn new(handle: &Handle, lines: Rc<Lines>, json: bool) -> Self {
        Self { handle: handle.clone(), lines, json }
    }
}

impl Audit for Trail {
    fn statement(&self, entry: &Entry<'_>) {
        let now = i64::try_from(self.handle.unix_time().as_secs()).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_second(now).unwrap_or(jiff::Timestamp::MAX).to_string();
        self.lines.line(&mut |out| {
            if self.json {
                entry.write_json(&time, out);
            } else {
                out.extend_from_slice(format!("{time} AUDIT {}", entry.line()).as_bytes());
            }
            out.push(b'\n');
        });
    }
}

/// The logs, for operators who follow them.
pub(crate) struct FollowedLogs {
    logs: Logs,
    /// The name of the log of requests.
    requests: Option<String>,
}

impl FollowedLogs {
    pub(crate) fn new(logs: &Logs, requests: Option<&Destination>) -> Self {
        let name = |destination: &Destination| match destination {
            Destination::Stderr => "stderr".to_owned(),
            Destination::Stdout => "stdout".to_owned(),
            Destination::Syslog(_) => "syslog".to_owned(),
            Destination::File { path, .. } => {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
        };
        Self { logs: logs.clone(), requests: requests.map(name) }
    }
}

impl Followed for FollowedLogs {
    fn follow(&self, what: &str, hear: Hear) -> Result<Box<dyn Any>, String> {
        let name = match (what, &self.requests) {
            ("", Some(requests)) => requests,
            ("", None) => return Err("requests are not logged; name another log".to_owned()),
            _ => what,
        };
        let following = self.logs.follow(name, move |line| hear(line))?;
        Ok(Box::new(following))
    }
}

/// Without logs there is no trail; so it is where a configuration is only checked.
pub(crate) struct NoTrail;

impl Audit for NoTrail {
    fn statement(&self, _: &Entry<'_>) {}
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_directory_that_others_can_enter_is_not_used() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("medusa");
        prepare(&directory).expect("made");
        prepare(&directory).expect("it is there");
        assert_eq!(fs::metadata(&directory).expect("it is there").mode() & 0o777, DIRECTORY_MODE);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).expect("it is ours");
        assert!(prepare(&directory).is_err());
        fs::remove_dir(&directory).expect("it is empty");
        std::os::unix::fs::symlink(place.path(), &directory).expect("linked");
        assert!(prepare(&directory).is_err(), "somebody may have put the link there");
    }

    #[test]
    fn only_old_sockets_on_which_nobody_listens_are_cleared_away() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        let old = std::time::SystemTime::now() - 2 * SWEPT_AGE;
        let age = |name: &str| {
            let time = rustix::fs::Timespec {
                tv_sec: old
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs().cast_signed()),
                tv_nsec: 0,
            };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(
                rustix::fs::CWD,
                path(name),
                &times,
                rustix::fs::AtFlags::empty(),
            )
            .expect("its time is set");
        };
        drop(UnixListener::bind(path("young.sock")).expect("bound"));
        drop(UnixListener::bind(path("dead.sock")).expect("bound"));
        drop(UnixListener::bind(path("dead.other")).expect("bound"));
        let _alive = UnixListener::bind(path("alive.sock")).expect("bound");
        for name in ["dead.sock", "dead.other", "alive.sock"] {
            age(name);
        }
        sweep(place.path());
        let left = ["young.sock", "dead.other", "alive.sock"].map(|name| path(name).exists());
        assert_eq!((left, path("dead.sock").exists()), ([true; 3], false));
    }
}
