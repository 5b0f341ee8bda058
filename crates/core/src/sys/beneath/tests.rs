//! One table of paths, run against the kernel's resolution and against the walk.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use tempfile::TempDir;

use super::*;

const BOTH: [Resolver; 2] = [Resolver::Kernel, Resolver::Walk];

/// What a secret outside the root says; nothing opened may ever say it.
const OUTSIDE: &str = "outside";

/// Opens so often against a link that another thread keeps swapping.
const SWAP_ROUNDS: usize = 4000;

/// Makes `outside/` with a secret beside `root/`, which is returned open.
fn root(resolver: Resolver) -> (TempDir, Beneath) {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("outside/dir")).unwrap();
    fs::write(at("outside/secret"), OUTSIDE).unwrap();
    fs::write(at("outside/dir/secret"), OUTSIDE).unwrap();
    fs::create_dir_all(at("root/a/b")).unwrap();
    fs::write(at("root/top"), "top").unwrap();
    fs::write(at("root/a/b/deep"), "deep").unwrap();
    for (target, link) in [
        ("top", "to-file"),
        ("a/b", "to-dir"),
        ("to-file", "to-link"),
        ("../top", "a/up"),
        ("b/", "a/slash"),
        ("../top/", "a/file-slash"),
        ("to-dir/deep", "through"),
        ("a/../a/./b//deep", "winding"),
        (".", "self"),
        ("..", "above"),
        ("../outside/secret", "escape"),
        ("../outside", "escape-dir"),
        ("a/b/../../../outside/secret", "escape-late"),
        ("../root/top", "out-and-in"),
        ("escape", "to-escape"),
        ("/etc/passwd", "absolute"),
        ("/proc/self/root/etc/passwd", "magic"),
        ("loop-b", "loop-a"),
        ("loop-a", "loop-b"),
        ("nowhere", "dangling"),
    ] {
        symlink(target, at("root").join(link)).unwrap();
    }
    symlink(at("root/top"), at("root/absolute-inside")).unwrap();
    let open = File::open(at("root")).unwrap();
    (dir, Beneath::with_resolver(open.into(), resolver))
}

/// Stops the other thread of a test, also when the test fails.
struct StopWhenDone<'a>(&'a AtomicBool);

impl Drop for StopWhenDone<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn read(beneath: &Beneath, path: &str) -> io::Result<String> {
    let opened = beneath.open(path.as_bytes(), OFlags::RDONLY, Mode::empty())?;
    let mut text = String::new();
    File::from(opened).read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn the_table() {
    let links = |count: usize| (0..count).map(|_| "self/").collect::<String>() + "top";
    let (most, over) = (links(MAX_LINKS), links(MAX_LINKS + 1));
    let table: &[(&str, Result<&str, Errno>)] = &[
        ("top", Ok("top")),
        ("a/b/deep", Ok("deep")),
        ("a/../top", Ok("top")),
        ("to-file", Ok("top")),
        ("to-dir/deep", Ok("deep")),
        ("to-link", Ok("top")),
        ("a/up", Ok("top")),
        ("a/slash/deep", Ok("deep")),
        ("through", Ok("deep")),
        ("winding", Ok("deep")),
        ("self/self/top", Ok("top")),
        (&most, Ok("top")),
        (&over, Err(Errno::LOOP)),
        ("loop-a", Err(Errno::LOOP)),
        ("", Err(Errno::ISDIR)),
        ("a", Err(Errno::ISDIR)),
        ("absent", Err(Errno::NOENT)),
        ("a/absent/x", Err(Errno::NOENT)),
        ("dangling", Err(Errno::NOENT)),
        ("top/x", Err(Errno::NOTDIR)),
        ("top/", Err(Errno::NOTDIR)),
        ("to-file/x", Err(Errno::NOTDIR)),
        ("a/file-slash", Err(Errno::NOTDIR)),
        ("..", Err(Errno::XDEV)),
        ("../outside/secret", Err(Errno::XDEV)),
        ("a/../../outside/secret", Err(Errno::XDEV)),
        ("/etc/passwd", Err(Errno::XDEV)),
        ("above", Err(Errno::XDEV)),
        ("escape", Err(Errno::XDEV)),
        ("escape-dir/secret", Err(Errno::XDEV)),
        ("escape-late", Err(Errno::XDEV)),
        ("out-and-in", Err(Errno::XDEV)),
        ("to-escape", Err(Errno::XDEV)),
        ("absolute", Err(Errno::XDEV)),
        ("absolute-inside", Err(Errno::XDEV)),
        ("magic", Err(Errno::XDEV)),
    ];
    for resolver in BOTH {
        let (_dir, beneath) = root(resolver);
        for (path, expected) in table {
            let answer = read(&beneath, path);
            let answer = answer.as_deref().map_err(|error| Errno::from_io_error(error).unwrap());
            assert_eq!(answer, *expected, "{path} with {resolver:?}");
        }
    }
}

#[test]
fn links_lead_into_the_root_where_that_is_asked_for() {
    for resolver in BOTH {
        let (dir, beneath) = root(resolver);
        let beneath = beneath.with_links(Links::InRoot);
        for (target, link) in [
            ("/top", "absolute-top"),
            ("/a/b", "a/absolute-dir"),
            ("/../../top", "above-top"),
            ("/", "whole"),
            ("/absolute-top", "absolute-twice"),
            ("/loop-b", "absolute-loop"),
            ("/outside/secret", "absent-here"),
        ] {
            symlink(target, dir.path().join("root").join(link)).unwrap();
        }
        for (path, expected) in [
            ("absolute-top", Ok("top")),
            ("a/absolute-dir/deep", Ok("deep")),
            ("a/absolute-dir/../../top", Ok("top")),
            ("above-top", Ok("top")),
            ("whole/whole/a/b/deep", Ok("deep")),
            ("absolute-twice", Ok("top")),
            ("above/top", Ok("top")),
            ("../top", Ok("top")),
            ("absolute-loop", Err(Errno::LOOP)),
            // All these are names beneath the root, and there is nothing of these names.
            ("absent-here", Err(Errno::NOENT)),
            ("escape", Err(Errno::NOENT)),
            ("escape-dir/secret", Err(Errno::NOENT)),
            ("escape-late", Err(Errno::NOENT)),
            ("absolute", Err(Errno::NOENT)),
            ("magic", Err(Errno::NOENT)),
        ] {
            let answer = read(&beneath, path);
            let answer = answer.as_deref().map_err(|error| Errno::from_io_error(error).unwrap());
            assert_eq!(answer, expected, "{path} with {resolver:?}");
            let stat = beneath.stat(path.as_bytes()).map(drop);
            let stat = stat.map_err(|error| Errno::from_io_error(&error).unwrap());
            assert_eq!(stat, expected.map(drop), "{path} with {resolver:?}");
            let walked = walk_stat(beneath.root(), path.as_bytes(), Links::InRoot).map(drop);
            assert_eq!(walked, expected.map(drop), "{path} by walk_stat");
        }
        let (parent, _) = beneath.parent(b"a/absolute-dir/made").unwrap();
        let inode = beneath.stat(b"a/b").unwrap().st_ino;
        assert_eq!(fstat(&parent).unwrap().st_ino, inode);
    }
}

#[test]
fn no_magic_link_is_followed_from_the_root_of_the_machine() {
    let open = File::open("/").unwrap();
    let beneath = Beneath::new(open.into()).with_links(Links::InRoot);
    let answer = beneath.open(b"proc/self/root", OFlags::RDONLY, Mode::empty());
    if beneath.resolver() == Resolver::Kernel && fs::exists("/proc/self/root").unwrap() {
        assert_eq!(Errno::from_io_error(&answer.unwrap_err()), Some(Errno::LOOP));
    }
}

#[test]
fn stat_answers_as_open_does() {
    for resolver in BOTH {
        let (_dir, beneath) = root(resolver);
        for (path, expected) in [
            ("", Ok(FileType::Directory)),
            ("top", Ok(FileType::RegularFile)),
            ("to-link", Ok(FileType::RegularFile)),
            ("to-dir", Ok(FileType::Directory)),
            ("a/slash", Ok(FileType::Directory)),
            ("a/file-slash", Err(Errno::NOTDIR)),
            ("dangling", Err(Errno::NOENT)),
            ("escape", Err(Errno::XDEV)),
            ("absolute", Err(Errno::XDEV)),
            ("loop-a", Err(Errno::LOOP)),
        ] {
            let kind = |stat: Stat| FileType::from_raw_mode(stat.st_mode);
            let answer = beneath.stat(path.as_bytes()).map(kind);
            let answer = answer.map_err(|error| Errno::from_io_error(&error).unwrap());
            assert_eq!(answer, expected, "{path} with {resolver:?}");
            let walked = walk_stat(beneath.root(), path.as_bytes(), Links::Refused).map(kind);
            assert_eq!(walked, expected, "{path} by walk_stat");
        }
    }
}

#[test]
fn creating_through_links_stays_beneath() {
    for resolver in BOTH {
        let (dir, beneath) = root(resolver);
        let create = |path: &str, more: OFlags| {
            let flags = OFlags::WRONLY | OFlags::CREATE | more;
            beneath.open(path.as_bytes(), flags, Mode::from_raw_mode(0o600)).map(drop)
        };
        create("to-dir/made", OFlags::EXCL).unwrap();
        assert!(dir.path().join("root/a/b/made").exists());
        create("dangling", OFlags::empty()).unwrap();
        assert!(dir.path().join("root/nowhere").exists());
        for path in ["escape-dir/made", "../outside/made"] {
            let error = create(path, OFlags::empty()).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(Errno::XDEV), "{path}");
        }
        let mode = Mode::from_raw_mode(0o600);
        beneath.open(b"to-file", OFlags::WRONLY, mode).expect("a mode that does not count");
        let exclusive = create("to-file", OFlags::EXCL).unwrap_err();
        assert_eq!(exclusive.kind(), io::ErrorKind::AlreadyExists);
        assert!(!dir.path().join("outside/made").exists());
    }
}

#[test]
fn links_are_not_followed_where_that_is_asked_for() {
    for resolver in BOTH {
        let (_dir, beneath) = root(resolver);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let error = beneath.open(b"to-file", flags, Mode::empty()).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP));
        beneath.open(b"to-dir/deep", flags, Mode::empty()).unwrap();
    }
}

#[test]
fn a_parent_is_opened_and_the_name_is_given() {
    for resolver in BOTH {
        let (_dir, beneath) = root(resolver);
        let inode = |path: &str| beneath.stat(path.as_bytes()).unwrap().st_ino;
        for (path, parent, name) in
            [("top", "", "top"), ("a/b/x", "a/b", "x"), ("to-dir/x", "a/b", "x")]
        {
            let (opened, last) = beneath.parent(path.as_bytes()).unwrap();
            assert_eq!(last, name.as_bytes());
            assert_eq!(fstat(&opened).unwrap().st_ino, inode(parent), "{path}");
        }
        for path in ["", ".", "a/..", "a/", ".."] {
            let error = beneath.parent(path.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        let error = beneath.parent(b"escape-dir/x").unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::XDEV));
    }
}

#[test]
fn open_now_answers_from_the_caches_or_would_block() {
    let (_dir, walking) = root(Resolver::Walk);
    let error = walking.open_now(b"top", OFlags::RDONLY).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);

    let (_dir, beneath) = root(Resolver::Kernel);
    read(&beneath, "a/b/deep").unwrap();
    match beneath.open_now(b"a/b/deep", OFlags::RDONLY) {
        Ok(_) => {}
        // An old kernel may say so, and then only that.
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
    }
    let error = beneath.open_now(b"escape", OFlags::RDONLY).unwrap_err();
    assert!(
        error.kind() == io::ErrorKind::WouldBlock
            || Errno::from_io_error(&error) == Some(Errno::XDEV)
    );
}

#[test]
fn a_link_swapped_during_opens_never_leads_outside() {
    for resolver in BOTH {
        let (dir, beneath) = root(resolver);
        let root = dir.path().join("root");
        let stop = AtomicBool::new(false);
        let (mut inside, mut refused) = (0_usize, 0_usize);
        fs::create_dir(root.join("inside")).unwrap();
        fs::write(root.join("inside/secret"), "inside").unwrap();
        symlink("inside", root.join("swapped")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for target in ["../outside", "inside"].into_iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    symlink(target, root.join("next")).unwrap();
                    fs::rename(root.join("next"), root.join("swapped")).unwrap();
                }
            });
            let _stop = StopWhenDone(&stop);
            for round in 0..SWAP_ROUNDS {
                // The second path climbs, which is what renames race with.
                let path = ["swapped/secret", "swapped/../inside/secret"][round % 2];
                match read(&beneath, path) {
                    Ok(text) => {
                        assert_eq!(text, "inside", "read from outside with {resolver:?}");
                        inside += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        });
        assert_eq!(inside + refused, SWAP_ROUNDS);
    }
}

#[test]
fn a_directory_moved_out_during_opens_never_leads_outside() {
    for resolver in BOTH {
        let (dir, beneath) = root(resolver);
        let root = dir.path().join("root");
        // From where `moved/sub` is carried to, `../../outside/secret` would be the secret.
        fs::create_dir_all(root.join("moved/sub")).unwrap();
        let away = dir.path().join("outside/moved");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    fs::rename(root.join("moved"), &away).unwrap();
                    fs::rename(&away, root.join("moved")).unwrap();
                }
            });
            let _stop = StopWhenDone(&stop);
            for _ in 0..SWAP_ROUNDS {
                if let Ok(text) = read(&beneath, "moved/sub/../../secret") {
                    panic!("read {text:?} with {resolver:?}");
                }
            }
        });
    }
}
