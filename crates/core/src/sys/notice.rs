//! The system's notices that a file has changed (inotify), so that whoever keeps files in memory
//! need not ask about them again and again.
//!
//! The one design choice: what is watched is the open file itself, not a path, so there is no
//! moment between opening and watching in which it could have become another one. Where the system
//! has no such notices, making one fails and the caller asks as before.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Names one watched file for as long as it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchId(i32);

/// What a notice says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The file, its attributes or its names have changed.
    Changed(WatchId),
    /// The file is not watched any more: it is gone.
    Ended(WatchId),
    /// Notices were lost: any file may have changed.
    Lost,
}

/// Bytes of notices read at once.
const READ_BYTES: usize = 4096;

/// A source of notices. Its descriptor is readable when there are some.
#[derive(Debug)]
pub struct Notices {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fd: std::os::fd::OwnedFd,
}

impl AsFd for Notices {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("no such source is ever made here")
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Notices {
    /// Makes a source that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        use rustix::fs::inotify::{CreateFlags, init};
        Ok(Self { fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Watches a file. One that is watched already keeps its name. Needs `/proc`.
    pub fn watch(&self, file: &File) -> io::Result<WatchId> {
        use rustix::fs::inotify::{WatchFlags, add_watch};
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE_SELF;
        Ok(WatchId(add_watch(&self.fd, path, flags)?))
    }

    /// Watches a file no more.
    pub fn unwatch(&self, id: WatchId) {
        // It has ended by itself if the file is gone.
        let _ = rustix::fs::inotify::remove_watch(&self.fd, id.0);
    }

    /// Reads all notices that are there.
    pub fn read(&self, mut each: impl FnMut(Notice)) {
        use rustix::fs::inotify::{ReadFlags, Reader};
        let mut buffer = [const { std::mem::MaybeUninit::uninit() }; READ_BYTES];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let id = WatchId(event.wd());
                    if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                        each(Notice::Lost);
                    } else if event.events().contains(ReadFlags::IGNORED) {
                        each(Notice::Ended(id));
                    } else {
                        each(Notice::Changed(id));
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => return each(Notice::Lost),
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Notices {
    /// Fails: this system is not known to have such notices.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails; never called.
    pub fn watch(&self, _: &File) -> io::Result<WatchId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Does nothing; never called.
    pub fn unwatch(&self, _: WatchId) {}

    /// Reads nothing; never called.
    pub fn read(&self, _: impl FnMut(Notice)) {}
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_way_to_change_a_file_is_noticed() {
        type Change = fn(&std::path::Path, &mut File);
        let changes: [(&str, Change); 6] = [
            ("write", |_, file| file.write_all(b"x").expect("writes")),
            ("truncate", |_, file| file.set_len(0).expect("cuts")),
            ("remove", |path, _| std::fs::remove_file(path).expect("removes")),
            ("rename", |path, _| {
                std::fs::rename(path, path.with_extension("old")).expect("renames");
            }),
            ("replace", |path, _| {
                let other = path.with_extension("new");
                std::fs::write(&other, "other").expect("writes");
                std::fs::rename(other, path).expect("renames");
            }),
            ("attributes", |_, file| {
                file.set_modified(std::time::UNIX_EPOCH).expect("sets the time");
            }),
        ];
        for (name, change) in changes {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("file");
            let mut file = File::create(&path).expect("a file");
            file.write_all(b"content").expect("writes");
            let notices = Notices::new().expect("notices");
            let id = notices.watch(&File::open(&path).expect("opens")).expect("watches");
            notices.read(|notice| panic!("{name}: {notice:?} before the change"));
            change(&path, &mut file);
            let mut heard = Vec::new();
            notices.read(|notice| heard.push(notice));
            assert_eq!(heard.first(), Some(&Notice::Changed(id)), "{name}");
        }
    }
}
