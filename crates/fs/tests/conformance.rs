//! What every tree must do alike: one table of checks, run against each kind of tree. What only
//! one kind does belongs in its own file.

use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use medusa_fs::{
    Commit, Content, Detail, DirEntry, ErrorKind, FileSystem, Freshness, Kind, LayeredTree,
    LocalTree, MemoryTree, MountedTree, Persona, Placement, Quota, QuotaTree, Resolver, Result,
    TreeOptions, VirtualPath,
};
use tempfile::TempDir;

const WHO: Persona = Persona::Process;
const WRITABLE: TreeOptions =
    TreeOptions { writable: true, show_hidden: false, show_backups: false };
const READ_ONLY: TreeOptions =
    TreeOptions { writable: false, show_hidden: false, show_backups: false };

/// What every tree holds at the start.
const SEED: &[(&str, &str)] = &[
    ("/top", "top"),
    ("/dir/file", "content"),
    ("/dir/sub/deep", "deep"),
    ("/dir/.secret", "secret"),
    ("/.hidden/file", "hidden"),
    ("/dir/file~", "before"),
    ("/dir.bak/file", "before"),
    ("/full/one", "1"),
];

fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).unwrap().path
}

fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn local(options: TreeOptions, resolver: Resolver, seed: bool) -> (TempDir, LocalTree) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in SEED.iter().filter(|_| seed) {
        let file = dir.path().join(&name[1..]);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
    let tree = LocalTree::open_with(dir.path(), options, resolver).unwrap();
    (dir, tree)
}

fn memory(options: TreeOptions, seed: bool) -> MemoryTree {
    let tree = MemoryTree::new(options, epoch);
    for (name, content) in SEED.iter().filter(|_| seed) {
        tree.insert(&path(name), *content).unwrap();
    }
    tree
}

/// A tree to check, its name, and the directory that it may need.
type Fixture = (&'static str, Arc<dyn FileSystem>, Vec<TempDir>);

/// Every kind of tree, fresh.
fn fixtures() -> Vec<Fixture> {
    let (kernel_dir, kernel) = local(WRITABLE, Resolver::Kernel, true);
    let (walk_dir, walk) = local(WRITABLE, Resolver::Walk, true);
    let (base_dir, base) = local(READ_ONLY, Resolver::Kernel, true);
    let (upper_dir, upper) = local(WRITABLE, Resolver::Kernel, false);
    let over_memory = LayeredTree::new(
        Arc::new(memory(WRITABLE, false)),
        vec![Arc::new(memory(READ_ONLY, false)), Arc::new(memory(READ_ONLY, true))],
    );
    let over_disk = LayeredTree::new(Arc::new(upper), vec![Arc::new(base)]);
    let all_upper = LayeredTree::new(
        Arc::new(memory(WRITABLE, true)),
        vec![Arc::new(memory(READ_ONLY, false))],
    );
    let mounted = MountedTree::new(Arc::new(memory(WRITABLE, true)));
    mounted.mount(&path("/mnt/a"), Arc::new(memory(READ_ONLY, true))).unwrap();
    let quota = Quota { bytes: Some(u64::MAX), files: Some(1 << 20) };
    let (quota_dir, inside) = local(WRITABLE, Resolver::Kernel, true);
    let held = QuotaTree::new(Arc::new(inside), quota);
    vec![
        ("local by the kernel", Arc::new(kernel), vec![kernel_dir]),
        ("local by the walk", Arc::new(walk), vec![walk_dir]),
        ("memory", Arc::new(memory(WRITABLE, true)), vec![]),
        ("layered, all below, memory", Arc::new(over_memory), vec![]),
        ("layered, all below, disk", Arc::new(over_disk), vec![base_dir, upper_dir]),
        ("layered, all above", Arc::new(all_upper), vec![]),
        ("mounted", Arc::new(mounted), vec![]),
        ("with a quota", Arc::new(held), vec![quota_dir]),
    ]
}

/// Runs a check against every tree.
fn each(check: impl Fn(&dyn FileSystem)) {
    for (name, tree, _dirs) in fixtures() {
        eprintln!("tree: {name}");
        check(&*tree);
    }
}

fn read(tree: &dyn FileSystem, name: &str) -> Result<String> {
    let opened = tree.open(&WHO, &path(name))?;
    let text = match opened.content {
        Content::Memory(bytes) => bytes.to_vec(),
        Content::Disk(file) => {
            let mut bytes = vec![0; opened.metadata.size as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!((&*file).take(1).read(&mut [0]).unwrap(), bytes.len().min(1));
            bytes
        }
    };
    assert_eq!(text.len() as u64, opened.metadata.size);
    Ok(String::from_utf8(text).unwrap())
}

fn kind<R>(answer: Result<R>) -> ErrorKind {
    answer.err().expect("an error").kind()
}

fn entries(tree: &dyn FileSystem, name: &str, detail: Detail) -> Vec<DirEntry> {
    let listing = tree.list(&WHO, &path(name), detail).unwrap();
    let mut entries = listing.collect::<Result<Vec<_>>>().unwrap();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

fn names(tree: &dyn FileSystem, name: &str) -> Vec<String> {
    let text = |entry: DirEntry| String::from_utf8(entry.name.into()).unwrap();
    entries(tree, name, Detail::Names).into_iter().map(text).collect()
}

fn put(tree: &dyn FileSystem, name: &str, content: &str, replace: bool) -> Result<()> {
    let mut staged = tree.stage(&WHO, &path(name))?;
    staged.write(content.as_bytes())?;
    staged.commit(Commit { replace, durable: false }).map(drop)
}

#[test]
fn files_are_read() {
    each(|tree| {
        assert_eq!(read(tree, "/top").unwrap(), "top");
        assert_eq!(read(tree, "/dir/sub/deep").unwrap(), "deep");
        assert_eq!(kind(read(tree, "/absent")), ErrorKind::NotFound);
        assert_eq!(kind(read(tree, "/absent/x")), ErrorKind::NotFound);
        let through_a_file = kind(read(tree, "/top/x"));
        assert!(matches!(through_a_file, ErrorKind::NotDirectory | ErrorKind::NotFound));
        assert_eq!(kind(read(tree, "/dir")), ErrorKind::IsDirectory);
        assert_eq!(kind(read(tree, "/")), ErrorKind::IsDirectory);
    });
}

#[test]
fn open_now_answers_as_open_or_would_block() {
    each(|tree| {
        for name in ["/top", "/dir/sub/deep", "/absent", "/dir", "/dir/.secret", "/top/x"] {
            let now = tree.open_now(&WHO, &path(name)).map(|opened| opened.metadata);
            let later = tree.open(&WHO, &path(name)).map(|opened| opened.metadata);
            match (now, later) {
                (Err(now), _) if now.kind() == ErrorKind::WouldBlock => {}
                (Ok(now), Ok(later)) => assert_eq!(now, later, "{name}"),
                (now, later) => assert_eq!(kind(now), kind(later), "{name}"),
            }
        }
    });
}

#[test]
fn metadata_tells_kind_and_size() {
    each(|tree| {
        let file = tree.metadata(&WHO, &path("/dir/file")).unwrap();
        assert_eq!((file.kind, file.size, file.nlink), (Kind::File, 7, 1));
        assert_eq!(file.stamp.size, 7);
        assert_eq!(tree.entry_metadata(&WHO, &path("/dir/file")).unwrap(), file);
        assert_eq!(tree.open(&WHO, &path("/dir/file")).unwrap().metadata, file);
        for name in ["/", "/dir", "/dir/sub"] {
            assert_eq!(tree.metadata(&WHO, &path(name)).unwrap().kind, Kind::Dir);
            assert_eq!(tree.entry_metadata(&WHO, &path(name)).unwrap().kind, Kind::Dir);
        }
        assert_eq!(kind(tree.metadata(&WHO, &path("/absent"))), ErrorKind::NotFound);
        assert_eq!(kind(tree.entry_metadata(&WHO, &path("/absent"))), ErrorKind::NotFound);
    });
}

#[test]
fn listings_are_complete() {
    each(|tree| {
        assert_eq!(names(tree, "/dir"), ["file", "sub"]);
        let full = entries(tree, "/dir", Detail::Full);
        let told: Vec<_> =
            full.iter().map(|entry| (entry.kind, entry.metadata.as_ref().unwrap().kind)).collect();
        assert_eq!(told, [(Kind::File, Kind::File), (Kind::Dir, Kind::Dir)]);
        assert_eq!(full[0].metadata.as_ref().unwrap().size, 7);
        assert!(names(tree, "/").contains(&"top".to_owned()));
        let list = |name: &str| tree.list(&WHO, &path(name), Detail::Names);
        assert_eq!(kind(list("/absent")), ErrorKind::NotFound);
        assert_eq!(kind(list("/top")), ErrorKind::NotDirectory);
    });
}

#[test]
fn a_long_listing_has_every_name_once() {
    each(|tree| {
        tree.make_dir(&WHO, &path("/many")).unwrap();
        let expected: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
        for name in &expected {
            put(tree, &format!("/many/{name}"), "", false).unwrap();
        }
        assert_eq!(names(tree, "/many"), expected);
    });
}

#[test]
fn hidden_names_are_absent_alike() {
    each(|tree| {
        let hidden = ["/dir/.secret", "/.hidden", "/.hidden/file"];
        let backups = ["/dir/file~", "/dir.bak", "/dir.bak/file"];
        for name in hidden.into_iter().chain(backups) {
            let path = path(name);
            let stamp = tree.metadata(&WHO, &crate::path("/top")).unwrap().stamp;
            assert_eq!(kind(tree.metadata(&WHO, &path)), ErrorKind::NotFound);
            assert_eq!(kind(tree.entry_metadata(&WHO, &path)), ErrorKind::NotFound);
            assert_eq!(kind(tree.open(&WHO, &path)), ErrorKind::NotFound);
            assert_eq!(kind(tree.open_now(&WHO, &path)), ErrorKind::NotFound);
            assert_eq!(tree.check_now(&WHO, &path, &stamp), Freshness::Absent);
            assert_eq!(kind(tree.remove_file(&WHO, &path)), ErrorKind::NotFound);
            assert_eq!(kind(tree.rename(&WHO, &path, &crate::path("/x"))), ErrorKind::NotFound);
        }
        for name in ["/.hidden", "/dir.bak"] {
            assert_eq!(kind(tree.list(&WHO, &path(name), Detail::Full)), ErrorKind::NotFound);
        }
        // And none can be made.
        for name in ["/.new", "/dir/.new", "/new~", "/dir/new.orig"] {
            assert_eq!(kind(tree.stage(&WHO, &path(name))), ErrorKind::Denied);
            assert_eq!(kind(tree.make_dir(&WHO, &path(name))), ErrorKind::Denied);
            let renamed = tree.rename(&WHO, &path("/top"), &path(name));
            assert_eq!(kind(renamed), ErrorKind::Denied);
        }
        assert_eq!(read(tree, "/top").unwrap(), "top");
    });
}

#[test]
fn the_server_finds_a_hidden_file_in_a_directory_that_is_not() {
    each(|tree| {
        for (name, found) in [
            ("/dir/.secret", Ok("secret")),
            ("/dir/file~", Ok("before")),
            ("/dir/file", Ok("content")),
            ("/dir/.none", Err(ErrorKind::NotFound)),
            ("/.hidden/file", Err(ErrorKind::NotFound)),
            ("/dir.bak/file", Err(ErrorKind::NotFound)),
            ("/.hidden", Err(ErrorKind::IsDirectory)),
        ] {
            let opened = tree.open_own(&WHO, &path(name));
            let size = opened.map(|file| file.metadata.size).map_err(|e| e.kind());
            assert_eq!(size, found.map(|text| text.len() as u64), "{name}");
        }
    });
}

#[test]
fn a_staged_file_appears_whole_or_not_at_all() {
    each(|tree| {
        let mut staged = tree.stage(&WHO, &path("/dir/new")).unwrap();
        staged.write(b"hello ").unwrap();
        assert_eq!(kind(read(tree, "/dir/new")), ErrorKind::NotFound);
        assert_eq!(names(tree, "/dir"), ["file", "sub"], "the temporary file is hidden");
        staged.write(b"w_rld").unwrap();
        staged.write_at(7, b"o").unwrap();
        assert_eq!(staged.size().unwrap(), 11);
        let metadata = staged.commit(Commit { replace: false, durable: true }).unwrap();
        assert_eq!(metadata.size, 11);
        assert_eq!(read(tree, "/dir/new").unwrap(), "hello world");
        assert_eq!(tree.metadata(&WHO, &path("/dir/new")).unwrap().stamp, metadata.stamp);

        let mut dropped = tree.stage(&WHO, &path("/dir/dropped")).unwrap();
        dropped.write(b"x").unwrap();
        drop(dropped);
        assert_eq!(names(tree, "/dir"), ["file", "new", "sub"]);
    });
}

#[test]
fn a_commit_replaces_only_if_told_to() {
    each(|tree| {
        assert_eq!(kind(put(tree, "/dir/file", "new", false)), ErrorKind::Exists);
        assert_eq!(read(tree, "/dir/file").unwrap(), "content");
        put(tree, "/dir/file", "new", true).unwrap();
        assert_eq!(read(tree, "/dir/file").unwrap(), "new");
        for directory in ["/dir/sub", "/"] {
            assert_eq!(kind(tree.stage(&WHO, &path(directory))), ErrorKind::IsDirectory);
        }
        assert_eq!(kind(tree.stage(&WHO, &path("/absent/x"))), ErrorKind::NotFound);
        assert_eq!(kind(tree.stage(&WHO, &path("/top/x"))), ErrorKind::NotDirectory);
        // What came into being during the upload is not replaced either.
        let staged = tree.stage(&WHO, &path("/late")).unwrap();
        put(tree, "/late", "first", false).unwrap();
        assert_eq!(kind(staged.commit(Commit::default())), ErrorKind::Exists);
        assert_eq!(read(tree, "/late").unwrap(), "first");
        let staged = tree.stage(&WHO, &path("/later")).unwrap();
        tree.make_dir(&WHO, &path("/later")).unwrap();
        let replace = Commit { replace: true, durable: false };
        assert_eq!(kind(staged.commit(replace)), ErrorKind::IsDirectory);
    });
}

#[test]
fn files_are_written_in_place() {
    each(|tree| {
        let open = |name: &str, placement| tree.write_open(&WHO, &path(name), placement);
        let mut file = open("/dir/file", Placement::Append).unwrap();
        file.write(b"+").unwrap();
        file.write(b"+").unwrap();
        file.sync().unwrap();
        assert_eq!(file.size().unwrap(), 9);
        assert_eq!(read(tree, "/dir/file").unwrap(), "content++");
        let mut file = open("/dir/file", Placement::At(3)).unwrap();
        file.write(b"-").unwrap();
        file.write(b"-").unwrap();
        assert_eq!(read(tree, "/dir/file").unwrap(), "con--nt++");
        open("/dir/made", Placement::Append).unwrap().write(b"made").unwrap();
        assert_eq!(read(tree, "/dir/made").unwrap(), "made");
        let mut file = open("/dir/made", Placement::At(6)).unwrap();
        file.write(b"!").unwrap();
        assert_eq!(read(tree, "/dir/made").unwrap(), "made\0\0!");
        open("/dir/made", Placement::At(100)).unwrap().write(b"").unwrap();
        assert_eq!(read(tree, "/dir/made").unwrap(), "made\0\0!", "nothing makes no gap");
        assert_eq!(kind(open("/absent", Placement::At(0))), ErrorKind::NotFound);
        assert_eq!(kind(open("/dir/sub", Placement::Append)), ErrorKind::IsDirectory);
        assert_eq!(kind(open("/dir", Placement::At(0))), ErrorKind::IsDirectory);
        let mut file = open("/dir/made", Placement::At(u64::MAX)).unwrap();
        assert_eq!(kind(file.write(b"!")), ErrorKind::NoSpace);
    });
}

#[test]
fn two_appenders_do_not_overwrite_each_other() {
    each(|tree| {
        let open = || tree.write_open(&WHO, &path("/log"), Placement::Append).unwrap();
        let (mut one, mut other) = (open(), open());
        one.write(b"a").unwrap();
        other.write(b"b").unwrap();
        one.write(b"c").unwrap();
        assert_eq!(read(tree, "/log").unwrap(), "abc");
    });
}

#[test]
fn what_was_opened_before_keeps_its_content_when_replaced() {
    each(|tree| {
        let before = tree.open(&WHO, &path("/top")).unwrap();
        put(tree, "/top", "replaced", true).unwrap();
        let old = match before.content {
            Content::Memory(bytes) => bytes,
            Content::Disk(file) => {
                let mut bytes = vec![0; 3];
                file.read_exact_at(&mut bytes, 0).unwrap();
                Bytes::from(bytes)
            }
        };
        assert_eq!(&old[..], b"top");
    });
}

#[test]
fn check_now_sees_every_change() {
    each(|tree| {
        let file = path("/top");
        let stamp = || tree.open(&WHO, &file).unwrap().metadata.stamp;
        let check = |stamp| tree.check_now(&WHO, &file, &stamp);
        let first = stamp();
        assert_eq!(check(first), Freshness::Same);
        tree.write_open(&WHO, &file, Placement::Append).unwrap().write(b"+").unwrap();
        assert_eq!(check(first), Freshness::Changed, "grown");
        let second = stamp();
        tree.set_modified(&WHO, &file, epoch() + Duration::from_secs(5)).unwrap();
        assert_eq!(check(second), Freshness::Changed, "set back");
        let third = stamp();
        put(tree, "/top", "top+", true).unwrap();
        assert_eq!(check(third), Freshness::Changed, "replaced");
        let fourth = stamp();
        assert_eq!(check(fourth), Freshness::Same);
        tree.remove_file(&WHO, &file).unwrap();
        assert_eq!(check(fourth), Freshness::Absent);
        assert_eq!(tree.check_now(&WHO, &path("/absent"), &first), Freshness::Absent);
    });
}

#[test]
fn directories_are_made_and_removed() {
    each(|tree| {
        let make = |name: &str| tree.make_dir(&WHO, &path(name));
        let remove = |name: &str| tree.remove_dir(&WHO, &path(name));
        make("/dir/made").unwrap();
        make("/dir/made/inner").unwrap();
        assert_eq!(kind(make("/dir/made")), ErrorKind::Exists);
        assert_eq!(kind(make("/dir")), ErrorKind::Exists);
        assert_eq!(kind(make("/top")), ErrorKind::Exists);
        assert_eq!(kind(make("/")), ErrorKind::Exists);
        assert_eq!(kind(make("/absent/x")), ErrorKind::NotFound);
        assert_eq!(kind(remove("/dir/made")), ErrorKind::NotEmpty);
        assert_eq!(kind(remove("/full")), ErrorKind::NotEmpty);
        remove("/dir/made/inner").unwrap();
        remove("/dir/made").unwrap();
        assert_eq!(kind(remove("/dir/made")), ErrorKind::NotFound);
        assert_eq!(kind(remove("/top")), ErrorKind::NotDirectory);
        assert_eq!(kind(remove("/")), ErrorKind::Busy);
        assert_eq!(names(tree, "/dir"), ["file", "sub"]);
        // Emptied, removed, and made anew, nothing of before is back.
        tree.remove_file(&WHO, &path("/full/one")).unwrap();
        remove("/full").unwrap();
        assert_eq!(kind(tree.metadata(&WHO, &path("/full"))), ErrorKind::NotFound);
        make("/full").unwrap();
        assert!(names(tree, "/full").is_empty());
    });
}

#[test]
fn files_are_removed_and_made_again() {
    each(|tree| {
        let remove = |name: &str| tree.remove_file(&WHO, &path(name));
        remove("/dir/file").unwrap();
        assert_eq!(kind(read(tree, "/dir/file")), ErrorKind::NotFound);
        assert_eq!(kind(remove("/dir/file")), ErrorKind::NotFound);
        assert_eq!(names(tree, "/dir"), ["sub"]);
        put(tree, "/dir/file", "again", false).unwrap();
        assert_eq!(read(tree, "/dir/file").unwrap(), "again");
        remove("/dir/file").unwrap();
        assert_eq!(kind(read(tree, "/dir/file")), ErrorKind::NotFound);
        for directory in ["/dir", "/"] {
            assert_eq!(kind(remove(directory)), ErrorKind::IsDirectory);
        }
        assert_eq!(kind(remove("/absent")), ErrorKind::NotFound);
    });
}

#[test]
fn entries_are_renamed() {
    each(|tree| {
        let rename = |from: &str, to: &str| tree.rename(&WHO, &path(from), &path(to));
        rename("/top", "/dir/moved").unwrap();
        assert_eq!(kind(read(tree, "/top")), ErrorKind::NotFound);
        assert_eq!(read(tree, "/dir/moved").unwrap(), "top");
        rename("/dir/moved", "/dir/file").unwrap();
        assert_eq!(read(tree, "/dir/file").unwrap(), "top", "a file is replaced");
        rename("/dir/file", "/dir/file").unwrap();
        assert_eq!(names(tree, "/dir"), ["file", "sub"]);

        tree.make_dir(&WHO, &path("/new")).unwrap();
        put(tree, "/new/x", "x", false).unwrap();
        assert_eq!(kind(rename("/new", "/new/inner")), ErrorKind::Invalid);
        assert_eq!(kind(rename("/new", "/full")), ErrorKind::NotEmpty);
        assert_eq!(kind(rename("/new", "/dir/file")), ErrorKind::NotDirectory);
        assert_eq!(kind(rename("/dir/file", "/new")), ErrorKind::IsDirectory);
        assert_eq!(kind(rename("/absent", "/y")), ErrorKind::NotFound);
        assert_eq!(kind(rename("/new", "/absent/y")), ErrorKind::NotFound);
        assert_eq!(kind(rename("/", "/y")), ErrorKind::Busy);
        assert_eq!(kind(rename("/new", "/")), ErrorKind::Busy);
        tree.make_dir(&WHO, &path("/void")).unwrap();
        rename("/new", "/void").unwrap();
        assert_eq!(read(tree, "/void/x").unwrap(), "x", "an empty directory is replaced");
        assert_eq!(kind(tree.metadata(&WHO, &path("/new"))), ErrorKind::NotFound);
    });
}

/// What only its owner could read became anybody's when it was replaced.
#[test]
fn a_file_that_replaces_another_has_its_mode() {
    each(|tree| {
        let path = path("/dir/file");
        for mode in [0o600, 0o666] {
            tree.set_mode(&WHO, &path, mode).unwrap();
            let mut staged = tree.stage(&WHO, &path).unwrap();
            staged.write(b"new").unwrap();
            staged.commit(Commit { replace: true, durable: false }).unwrap();
            assert_eq!(tree.metadata(&WHO, &path).unwrap().mode, mode);
            assert_eq!(read(tree, "/dir/file").unwrap(), "new");
        }
    });
}

#[test]
fn attributes_are_set() {
    each(|tree| {
        let time = UNIX_EPOCH + Duration::new(1_234_567_890, 500);
        for name in ["/dir/file", "/dir/sub"] {
            let path = path(name);
            tree.set_modified(&WHO, &path, time).unwrap();
            tree.set_mode(&WHO, &path, 0o750).unwrap();
            let metadata = tree.metadata(&WHO, &path).unwrap();
            assert_eq!((metadata.modified, metadata.mode), (time, 0o750), "{name}");
            assert_eq!(metadata.stamp.modified_ns, 1_234_567_890_000_000_500);
            assert_eq!(kind(tree.set_mode(&WHO, &path, 0o4755)), ErrorKind::Unsupported);
        }
        assert_eq!(read(tree, "/dir/file").unwrap(), "content");
        assert_eq!(read(tree, "/dir/sub/deep").unwrap(), "deep");
        let absent = path("/absent");
        assert_eq!(kind(tree.set_modified(&WHO, &absent, time)), ErrorKind::NotFound);
        assert_eq!(kind(tree.set_mode(&WHO, &absent, 0o600)), ErrorKind::NotFound);
    });
}

#[test]
fn a_read_only_tree_takes_no_writes() {
    let (_kernel_dir, kernel) = local(READ_ONLY, Resolver::Kernel, true);
    let (_walk_dir, walk) = local(READ_ONLY, Resolver::Walk, true);
    let memory = memory(READ_ONLY, true);
    let layered = LayeredTree::new(Arc::new(memory.clone()), vec![Arc::new(memory.clone())]);
    let trees: [&dyn FileSystem; 4] = [&kernel, &walk, &memory, &layered];
    for tree in trees {
        let (file, new) = (path("/top"), path("/new"));
        for answer in [
            tree.stage(&WHO, &new).map(drop),
            tree.write_open(&WHO, &file, Placement::Append).map(drop),
            tree.make_dir(&WHO, &new),
            tree.remove_file(&WHO, &file),
            tree.remove_file(&WHO, &path("/full/one")),
            tree.rename(&WHO, &file, &new),
            tree.set_modified(&WHO, &file, epoch()),
            tree.set_mode(&WHO, &file, 0o600),
        ] {
            assert_eq!(kind(answer), ErrorKind::ReadOnly);
        }
        assert_eq!(read(tree, "/top").unwrap(), "top");
        assert_eq!(read(tree, "/full/one").unwrap(), "1");
        assert!(!tree.is_writable());
    }
    each(|tree| assert!(tree.is_writable()));
}

#[test]
fn names_are_bytes() {
    each(|tree| {
        let odd = VirtualPath::parse(b"/dir/\xff \n\\").unwrap().path;
        let staged = tree.stage(&WHO, &odd).unwrap();
        staged.commit(Commit::default()).unwrap();
        assert_eq!(tree.metadata(&WHO, &odd).unwrap().size, 0);
        let listed = entries(tree, "/dir", Detail::Names);
        assert!(listed.iter().any(|entry| &*entry.name == b"\xff \n\\"));
    });
}
