//! What only a tree on disk can do wrong: links, special files, identities, leftovers.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use medusa_fs::{
    Commit, Content, Detail, ErrorKind, FileSystem, Freshness, Identity, Kind, LocalTree, Persona,
    Placement, Resolver, Result, TreeOptions, VirtualPath,
};
use tempfile::TempDir;

const WHO: Persona = Persona::Process;
const BOTH: [Resolver; 2] = [Resolver::Kernel, Resolver::Walk];
const WRITABLE: TreeOptions =
    TreeOptions { writable: true, show_hidden: false, show_backups: false };

/// What the files outside of the root say; nothing opened may say it.
const OUTSIDE: &str = "outside";

/// Opens so often against a link that another thread keeps swapping.
const SWAP_ROUNDS: usize = 2000;

/// After so long, what should not block has blocked.
const BLOCKED: Duration = Duration::from_secs(20);

/// Ids that no account of a usual system has.
const ALICE: u32 = 54_321;
const BOB: u32 = 54_322;
const SHARED: u32 = 54_330;

struct Fixture {
    _dir: TempDir,
    root: PathBuf,
    outside: PathBuf,
    tree: LocalTree,
}

/// Makes a root that everybody may search, and a directory beside it.
fn fixture(resolver: Resolver) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), OUTSIDE).unwrap();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), "inside").unwrap();
    for directory in [dir.path(), &root, &outside] {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    let tree = LocalTree::open_with(&root, WRITABLE, resolver).unwrap();
    Fixture { _dir: dir, root, outside, tree }
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).unwrap().path
}

fn read_as(who: &Persona, tree: &LocalTree, name: &str) -> Result<String> {
    let opened = tree.open(who, &path(name))?;
    let Content::Disk(file) = opened.content else { panic!("not on disk") };
    let mut bytes = vec![0; opened.metadata.size as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Ok(String::from_utf8(bytes).unwrap())
}

fn read(tree: &LocalTree, name: &str) -> Result<String> {
    read_as(&WHO, tree, name)
}

fn kind<R>(answer: Result<R>) -> ErrorKind {
    answer.err().expect("an error").kind()
}

fn put(who: &Persona, tree: &LocalTree, name: &str) -> Result<()> {
    let mut staged = tree.stage(who, &path(name))?;
    staged.write(b"put")?;
    staged.commit(Commit { replace: true, durable: true }).map(drop)
}

fn skipped(name: &str) -> bool {
    let root = is_root();
    if !root {
        eprintln!("skipped: {name}: needs root");
    }
    !root
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn user(uid: u32, groups: &[u32]) -> Persona {
    Persona::user(Identity { uid, gid: uid, groups: groups.to_vec(), umask: 0o027 })
}

#[test]
fn links_are_followed_inside_and_refused_outside() {
    for resolver in BOTH {
        let at = fixture(resolver);
        let absolute_inside = at.root.join("dir/file");
        let links: [(&str, &str, std::result::Result<&str, ErrorKind>); 9] = [
            ("inside", "dir/file", Ok("inside")),
            ("dir/up", "../dir/file", Ok("inside")),
            ("twice", "inside", Ok("inside")),
            ("dangling", "absent", Err(ErrorKind::NotFound)),
            ("out", "../outside/secret", Err(ErrorKind::Escapes)),
            ("out-late", "dir/../../outside/secret", Err(ErrorKind::Escapes)),
            ("out-twice", "out", Err(ErrorKind::Escapes)),
            ("absolute", "/etc/passwd", Err(ErrorKind::Escapes)),
            ("absolute-inside", absolute_inside.to_str().unwrap(), Err(ErrorKind::Escapes)),
        ];
        for (link, target, expected) in links {
            symlink(target, at.root.join(link)).unwrap();
            let name = format!("/{link}");
            let answer = read(&at.tree, &name).map_err(|error| error.kind());
            assert_eq!(answer.as_deref(), expected.as_ref().copied(), "{link} {resolver:?}");
            let entry = at.tree.entry_metadata(&WHO, &path(&name)).unwrap();
            assert_eq!(entry.kind, Kind::Symlink);
            let told = at.tree.metadata(&WHO, &path(&name)).map_err(|error| error.kind());
            assert_eq!(told.map(|told| told.kind), expected.map(|_| Kind::File), "{link}");
        }
        symlink("../outside", at.root.join("out-dir")).unwrap();
        let inner = path("/out-dir/secret");
        let time = SystemTime::UNIX_EPOCH;
        let tree = &at.tree;
        for answer in [
            tree.metadata(&WHO, &inner).map(drop),
            tree.entry_metadata(&WHO, &inner).map(drop),
            tree.list(&WHO, &path("/out-dir"), Detail::Full).map(drop),
            tree.stage(&WHO, &inner).map(drop),
            tree.write_open(&WHO, &inner, Placement::Append).map(drop),
            tree.write_open(&WHO, &path("/out"), Placement::At(0)).map(drop),
            tree.make_dir(&WHO, &path("/out-dir/made")),
            tree.remove_file(&WHO, &inner),
            tree.remove_dir(&WHO, &inner),
            tree.rename(&WHO, &inner, &path("/stolen")),
            tree.rename(&WHO, &path("/dir/file"), &path("/out-dir/given")),
            tree.set_modified(&WHO, &inner, time),
            tree.set_modified(&WHO, &path("/out"), time),
            tree.set_mode(&WHO, &path("/out"), 0o777),
        ] {
            assert_eq!(kind(answer), ErrorKind::Escapes);
        }
        assert_eq!(fs::read(at.outside.join("secret")).unwrap(), OUTSIDE.as_bytes());
        assert_eq!(fs::read_dir(&at.outside).unwrap().count(), 1);
    }
}

#[test]
fn a_link_itself_is_removed_renamed_and_replaced() {
    for resolver in BOTH {
        let at = fixture(resolver);
        for link in ["one", "two", "three"] {
            symlink("../outside/secret", at.root.join(link)).unwrap();
        }
        at.tree.remove_file(&WHO, &path("/one")).unwrap();
        at.tree.rename(&WHO, &path("/two"), &path("/moved")).unwrap();
        put(&WHO, &at.tree, "/three").unwrap();
        assert!(fs::symlink_metadata(at.root.join("moved")).unwrap().is_symlink());
        assert_eq!(read(&at.tree, "/three").unwrap(), "put");
        assert_eq!(fs::read(at.outside.join("secret")).unwrap(), OUTSIDE.as_bytes());
        assert_eq!(kind(at.tree.remove_dir(&WHO, &path("/moved"))), ErrorKind::NotDirectory);
    }
}

struct StopWhenDone<'a>(&'a AtomicBool);

impl Drop for StopWhenDone<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_link_swapped_during_work_never_leads_outside() {
    for resolver in BOTH {
        let at = fixture(resolver);
        fs::create_dir(at.root.join("inside")).unwrap();
        fs::write(at.root.join("inside/secret"), "inside").unwrap();
        symlink("inside", at.root.join("swapped")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for target in ["../outside", "inside"].into_iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    symlink(target, at.root.join("next")).unwrap();
                    fs::rename(at.root.join("next"), at.root.join("swapped")).unwrap();
                }
            });
            let _stop = StopWhenDone(&stop);
            for _ in 0..SWAP_ROUNDS {
                if let Ok(text) = read(&at.tree, "/swapped/secret") {
                    assert_eq!(text, "inside", "read from outside with {resolver:?}");
                }
                let _ = put(&WHO, &at.tree, "/swapped/made");
                let _ = at.tree.remove_file(&WHO, &path("/swapped/secret2"));
            }
        });
        assert_eq!(fs::read(at.outside.join("secret")).unwrap(), OUTSIDE.as_bytes());
        let left: Vec<_> = fs::read_dir(&at.outside).unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(left.len(), 1, "written outside with {resolver:?}: {left:?}");
    }
}

#[test]
fn special_files_neither_block_nor_are_served() {
    // On a thread of its own, so that blocking fails the test instead of stopping it.
    let (tell, told) = mpsc::channel();
    let checks = std::thread::spawn(move || {
        check_special_files();
        tell.send(()).unwrap();
    });
    // Told nothing because the other thread failed: that is said by joining it.
    let told = told.recv_timeout(BLOCKED);
    assert_ne!(told, Err(mpsc::RecvTimeoutError::Timeout), "opening a special file blocks");
    checks.join().unwrap();
}

fn check_special_files() {
    for resolver in BOTH {
        let at = fixture(resolver);
        let fifo = std::process::Command::new("mkfifo").arg(at.root.join("fifo")).status();
        assert!(fifo.unwrap().success());
        let _socket = UnixListener::bind(at.root.join("socket")).unwrap();
        for name in ["/fifo", "/socket"] {
            let path = path(name);
            let tree = &at.tree;
            assert_eq!(tree.metadata(&WHO, &path).unwrap().kind, Kind::Other);
            assert_eq!(kind(tree.open(&WHO, &path)), ErrorKind::Unsupported, "{name}");
            assert!(matches!(
                kind(tree.open_now(&WHO, &path)),
                ErrorKind::Unsupported | ErrorKind::WouldBlock
            ));
            for placement in [Placement::Append, Placement::At(0)] {
                let written = tree.write_open(&WHO, &path, placement);
                assert_eq!(kind(written), ErrorKind::Unsupported, "{name}");
            }
            assert_eq!(kind(tree.set_mode(&WHO, &path, 0o600)), ErrorKind::Unsupported);
        }
        let listed = at.tree.list(&WHO, &path("/"), Detail::Names).unwrap();
        let kinds: Vec<Kind> = listed.map(|entry| entry.unwrap().kind).collect();
        assert_eq!(kinds.iter().filter(|&&kind| kind == Kind::Other).count(), 2);
    }
}

#[test]
fn hidden_files_are_shown_where_that_is_asked_for() {
    for resolver in BOTH {
        let at = fixture(resolver);
        fs::write(at.root.join("dir/.secret"), "hidden").unwrap();
        assert_eq!(kind(read(&at.tree, "/dir/.secret")), ErrorKind::NotFound);
        let options = TreeOptions { writable: false, show_hidden: true, show_backups: false };
        let tree = LocalTree::open_with(&at.root, options, resolver).unwrap();
        assert_eq!(read(&tree, "/dir/.secret").unwrap(), "hidden");
        let listed = tree.list(&WHO, &path("/dir"), Detail::Names).unwrap();
        let mut names: Vec<_> = listed.map(|entry| entry.unwrap().name).collect();
        names.sort();
        assert_eq!(names, [b".secret".as_slice().into(), Box::<[u8]>::from(&b"file"[..])]);
        // Each of the two has a switch of its own.
        fs::write(at.root.join("dir/file~"), "before").unwrap();
        assert_eq!(kind(read(&tree, "/dir/file~")), ErrorKind::NotFound);
        let options = TreeOptions { show_backups: true, ..TreeOptions::default() };
        let tree = LocalTree::open_with(&at.root, options, resolver).unwrap();
        assert_eq!(read(&tree, "/dir/file~").unwrap(), "before");
        assert_eq!(kind(read(&tree, "/dir/.secret")), ErrorKind::NotFound);
    }
}

#[test]
fn a_dropped_upload_leaves_nothing_on_disk() {
    for resolver in BOTH {
        let at = fixture(resolver);
        let names = || fs::read_dir(at.root.join("dir")).unwrap().count();
        let mut staged = at.tree.stage(&WHO, &path("/dir/new")).unwrap();
        staged.write(b"x").unwrap();
        assert!(names() == 2 || resolver == Resolver::Kernel);
        drop(staged);
        assert_eq!(names(), 1);
        let staged = at.tree.stage(&WHO, &path("/dir/file")).unwrap();
        assert_eq!(kind(staged.commit(Commit::default())), ErrorKind::Exists);
        assert_eq!(names(), 1);
        put(&WHO, &at.tree, "/dir/file").unwrap();
        put(&WHO, &at.tree, "/dir/other").unwrap();
        assert_eq!(names(), 2, "temporary names are gone after a commit");
    }
}

/// What `kill -9` leaves of an upload: nothing, for the file has no name yet.
#[cfg(target_os = "linux")]
#[test]
fn an_upload_has_no_name_before_its_commit() {
    let at = fixture(Resolver::Kernel);
    let root = fs::File::open(&at.root).unwrap();
    let unnamed = medusa_core::sys::unnamed::create(std::os::fd::AsFd::as_fd(&root), 0o600);
    if unnamed.unwrap().is_none() {
        eprintln!("skipped: an_upload_has_no_name_before_its_commit: no files without names here");
        return;
    }
    let mut staged = at.tree.stage(&WHO, &path("/dir/file")).unwrap();
    staged.write(b"x").unwrap();
    assert_eq!(fs::read_dir(at.root.join("dir")).unwrap().count(), 1);
    staged.commit(Commit { replace: true, durable: false }).unwrap();
    assert_eq!(read(&at.tree, "/dir/file").unwrap(), "x");
}

#[test]
fn a_renamed_root_is_still_the_root() {
    let at = fixture(Resolver::Kernel);
    fs::rename(&at.root, at.outside.join("root")).unwrap();
    assert_eq!(read(&at.tree, "/dir/file").unwrap(), "inside");
    assert_eq!(kind(at.tree.open(&WHO, &path("/absent"))), ErrorKind::NotFound);
}

#[test]
fn a_check_is_not_fooled_by_a_link_to_elsewhere() {
    let at = fixture(Resolver::Kernel);
    let file = path("/dir/file");
    let stamp = at.tree.open(&WHO, &file).unwrap().metadata.stamp;
    assert_eq!(at.tree.check_now(&WHO, &file, &stamp), Freshness::Same);
    fs::remove_file(at.root.join("dir/file")).unwrap();
    symlink("../../outside/secret", at.root.join("dir/file")).unwrap();
    assert_eq!(at.tree.check_now(&WHO, &file, &stamp), Freshness::Changed);
}

#[test]
fn errors_name_the_virtual_path_only() {
    let at = fixture(Resolver::Kernel);
    let error = read(&at.tree, "/dir/absent").unwrap_err();
    assert_eq!(error.to_string(), "open /dir/absent: not found");
    assert_eq!(error.io().unwrap().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn each_user_reaches_only_their_own() {
    if skipped("each_user_reaches_only_their_own") {
        return;
    }
    for resolver in BOTH {
        let at = fixture(resolver);
        let tree = &at.tree;
        let (alice, bob, member) = (user(ALICE, &[]), user(BOB, &[]), user(BOB, &[SHARED]));
        let own = at.root.join("alice");
        fs::create_dir(&own).unwrap();
        chown(&own, Some(ALICE), Some(SHARED)).unwrap();
        fs::set_permissions(&own, Permissions::from_mode(0o750)).unwrap();
        put(&alice, tree, "/alice/file").unwrap();

        let made = fs::metadata(own.join("file")).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (ALICE, ALICE, 0o640));
        assert_eq!(read_as(&alice, tree, "/alice/file").unwrap(), "put");
        let file = path("/alice/file");
        let stamp = tree.metadata(&alice, &file).unwrap().stamp;
        assert_eq!(tree.check_now(&alice, &file, &stamp), Freshness::Same);

        // Bob may not even search the directory.
        for answer in [
            tree.open(&bob, &file).map(drop),
            tree.metadata(&bob, &file).map(drop),
            tree.entry_metadata(&bob, &file).map(drop),
            tree.list(&bob, &path("/alice"), Detail::Full).map(drop),
            tree.stage(&bob, &file).map(drop),
            tree.write_open(&bob, &file, Placement::Append).map(drop),
            tree.make_dir(&bob, &path("/alice/made")),
            tree.remove_file(&bob, &file),
            tree.remove_dir(&bob, &path("/alice/made")),
            tree.rename(&bob, &file, &path("/alice/moved")),
            tree.set_modified(&bob, &file, SystemTime::UNIX_EPOCH),
            tree.set_mode(&bob, &file, 0o777),
            // Nor may anybody write to root's own directories.
            tree.stage(&bob, &path("/new")).map(drop),
            tree.make_dir(&bob, &path("/made")),
            tree.remove_dir(&bob, &path("/alice")),
            tree.rename(&bob, &path("/alice"), &path("/bob")),
        ] {
            assert_eq!(kind(answer), ErrorKind::Denied);
        }
        let now = kind(tree.open_now(&bob, &file));
        assert!(matches!(now, ErrorKind::Denied | ErrorKind::WouldBlock), "{now:?}");
        assert_ne!(tree.check_now(&bob, &file, &stamp), Freshness::Same);

        // A member of the group may look and list, but not write.
        let listed = tree.list(&member, &path("/alice"), Detail::Full).unwrap();
        assert_eq!(listed.count(), 1);
        assert_eq!(kind(tree.stage(&member, &file)), ErrorKind::Denied);
        tree.make_dir(&alice, &path("/alice/made")).unwrap();
        assert_eq!(tree.metadata(&alice, &path("/alice/made")).unwrap().mode, 0o750);
        tree.remove_dir(&alice, &path("/alice/made")).unwrap();

        // A dropped upload is tidied up in the user's name, in a directory that is only theirs.
        drop(tree.stage(&alice, &path("/alice/dropped")).unwrap());
        assert_eq!(fs::read_dir(&own).unwrap().count(), 1);

        // Attributes of a file that its owner may not read.
        tree.set_mode(&alice, &file, 0o200).unwrap();
        assert_eq!(kind(tree.open(&alice, &file)), ErrorKind::Denied);
        tree.set_mode(&alice, &file, 0o600).unwrap();
        tree.set_modified(&alice, &file, SystemTime::UNIX_EPOCH).unwrap();
        tree.remove_file(&alice, &file).unwrap();
    }
}

#[test]
fn a_persona_that_cannot_be_taken_on_is_denied() {
    let at = fixture(Resolver::Kernel);
    // Inside of one persona nobody has the privilege for another.
    let answer = if is_root() {
        user(ALICE, &[]).run(|| read_as(&user(BOB, &[]), &at.tree, "/dir/file")).unwrap()
    } else {
        read_as(&user(BOB, &[]), &at.tree, "/dir/file")
    };
    assert_eq!(kind(answer), ErrorKind::Denied);
}
