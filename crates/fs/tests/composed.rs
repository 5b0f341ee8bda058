//! What only trees made of trees can do wrong: layers that show through, mounts in the way.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medusa_fs::{
    Commit, Content, Detail, ErrorKind, FileSystem, Freshness, Identity, Kind, LayeredTree,
    LocalTree, MAX_MOUNTS, MemoryTree, MountedTree, Persona, Placement, Result, TreeOptions,
    VirtualPath,
};

const WHO: Persona = Persona::Process;

fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).unwrap().path
}

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(43_200)
}

fn memory(writable: bool, files: &[(&str, &str)]) -> MemoryTree {
    let tree =
        MemoryTree::new(TreeOptions { writable, show_hidden: false, show_backups: false }, noon);
    for (name, content) in files {
        tree.insert(&path(name), (*content).to_owned()).unwrap();
    }
    tree
}

fn read(tree: &dyn FileSystem, name: &str) -> Result<String> {
    match tree.open(&WHO, &path(name))?.content {
        Content::Memory(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
        Content::Disk(_) => panic!("not in memory"),
    }
}

fn put(tree: &dyn FileSystem, name: &str, content: &str) -> Result<()> {
    let mut staged = tree.stage(&WHO, &path(name))?;
    staged.write(content.as_bytes())?;
    staged.commit(Commit { replace: true, durable: false }).map(drop)
}

fn names(tree: &dyn FileSystem, name: &str) -> Vec<String> {
    let listing = tree.list(&WHO, &path(name), Detail::Names).unwrap();
    let mut names: Vec<_> =
        listing.map(|entry| String::from_utf8(entry.unwrap().name.into()).unwrap()).collect();
    names.sort();
    names
}

fn kind<R>(answer: Result<R>) -> ErrorKind {
    answer.err().expect("an error").kind()
}

/// An upper tree, two below, and all of them layered.
fn layers() -> (MemoryTree, MemoryTree, MemoryTree, LayeredTree) {
    let upper = memory(true, &[("/both", "upper"), ("/dir/upper", "u")]);
    let middle = memory(false, &[("/dir/middle", "m"), ("/middle", "middle")]);
    let bottom = memory(
        false,
        &[("/both", "bottom"), ("/dir/lower", "l"), ("/dir/middle", "covered"), ("/low/x", "x")],
    );
    let below: Vec<Arc<dyn FileSystem>> = vec![Arc::new(middle.clone()), Arc::new(bottom.clone())];
    let layered = LayeredTree::new(Arc::new(upper.clone()), below);
    (upper, middle, bottom, layered)
}

#[test]
fn the_uppermost_counts_and_listings_are_merged() {
    let (_, _, _, tree) = layers();
    assert_eq!(read(&tree, "/both").unwrap(), "upper");
    assert_eq!(read(&tree, "/dir/middle").unwrap(), "m");
    assert_eq!(read(&tree, "/dir/lower").unwrap(), "l");
    assert_eq!(names(&tree, "/"), ["both", "dir", "low", "middle"]);
    assert_eq!(names(&tree, "/dir"), ["lower", "middle", "upper"]);
}

#[test]
fn writes_go_up_and_leave_what_is_below_alone() {
    let (upper, _, bottom, tree) = layers();
    put(&tree, "/low/x", "changed").unwrap();
    assert_eq!(read(&tree, "/low/x").unwrap(), "changed");
    assert_eq!(read(&upper, "/low/x").unwrap(), "changed");
    assert_eq!(read(&bottom, "/low/x").unwrap(), "x");
    let mut file = tree.write_open(&WHO, &path("/dir/lower"), Placement::Append).unwrap();
    file.write(b"+").unwrap();
    assert_eq!(read(&upper, "/dir/lower").unwrap(), "l+");
    assert_eq!(read(&bottom, "/dir/lower").unwrap(), "l");
}

#[test]
fn what_is_deleted_does_not_show_through() {
    let (_, _, bottom, tree) = layers();
    tree.remove_file(&WHO, &path("/both")).unwrap();
    assert_eq!(kind(read(&tree, "/both")), ErrorKind::NotFound, "the lower one must not appear");
    assert_eq!(read(&bottom, "/both").unwrap(), "bottom");
    tree.remove_file(&WHO, &path("/dir/middle")).unwrap();
    assert_eq!(names(&tree, "/dir"), ["lower", "upper"], "nor the one further below");
    let stamp = bottom.metadata(&WHO, &path("/both")).unwrap().stamp;
    assert_eq!(tree.check_now(&WHO, &path("/both"), &stamp), Freshness::Absent);

    tree.remove_file(&WHO, &path("/low/x")).unwrap();
    tree.remove_dir(&WHO, &path("/low")).unwrap();
    assert_eq!(kind(tree.list(&WHO, &path("/low"), Detail::Names)), ErrorKind::NotFound);
    put(&tree, "/both", "again").unwrap();
    tree.rename(&WHO, &path("/both"), &path("/moved")).unwrap();
    assert_eq!(kind(read(&tree, "/both")), ErrorKind::NotFound);
    assert_eq!(names(&tree, "/"), ["dir", "middle", "moved"]);
}

#[test]
fn a_failed_removal_leaves_both_layers_visible() {
    let lower = memory(false, &[("/file", "lower")]);
    let upper = memory(false, &[("/file", "upper")]);
    let tree = LayeredTree::new(Arc::new(upper), vec![Arc::new(lower)]);
    assert_eq!(kind(tree.remove_file(&WHO, &path("/file"))), ErrorKind::ReadOnly);
    assert_eq!(read(&tree, "/file").unwrap(), "upper");
    let lower = memory(false, &[("/file", "lower")]);
    let tree = LayeredTree::new(Arc::new(memory(false, &[])), vec![Arc::new(lower)]);
    assert_eq!(kind(tree.remove_file(&WHO, &path("/file"))), ErrorKind::ReadOnly);
    assert_eq!(read(&tree, "/file").unwrap(), "lower");
}

#[test]
fn a_directory_with_a_lower_part_is_not_renamed() {
    let (_, _, _, tree) = layers();
    for name in ["/dir", "/low"] {
        let renamed = tree.rename(&WHO, &path(name), &path("/new"));
        assert_eq!(kind(renamed), ErrorKind::CrossDevice);
    }
    assert_eq!(names(&tree, "/dir"), ["lower", "middle", "upper"]);
}

#[test]
fn a_file_hides_a_directory_below_and_the_other_way_round() {
    let upper = memory(true, &[("/a", "file"), ("/b/x", "x")]);
    let lower = memory(false, &[("/a/y", "y"), ("/b", "file")]);
    let tree = LayeredTree::new(Arc::new(upper), vec![Arc::new(lower)]);
    assert_eq!(kind(read(&tree, "/a/y")), ErrorKind::NotDirectory);
    assert_eq!(kind(tree.list(&WHO, &path("/a"), Detail::Names)), ErrorKind::NotDirectory);
    assert_eq!(names(&tree, "/b"), ["x"]);
    assert_eq!(kind(read(&tree, "/b/y")), ErrorKind::NotFound);
    assert_eq!(kind(read(&tree, "/b")), ErrorKind::IsDirectory);
}

#[test]
fn a_new_file_above_changes_a_cached_one_below() {
    let (_, _, _, tree) = layers();
    let file = path("/middle");
    let stamp = tree.open(&WHO, &file).unwrap().metadata.stamp;
    assert_eq!(tree.check_now(&WHO, &file, &stamp), Freshness::Same);
    put(&tree, "/middle", "middle").unwrap();
    assert_eq!(tree.check_now(&WHO, &file, &stamp), Freshness::Changed);
}

#[test]
fn copied_up_keeps_mode_and_time() {
    let (upper, _, _, tree) = layers();
    tree.rename(&WHO, &path("/middle"), &path("/dir/moved")).unwrap();
    let moved = upper.metadata(&WHO, &path("/dir/moved")).unwrap();
    assert_eq!((moved.mode, moved.modified), (0o666, noon()));
    assert_eq!(kind(read(&tree, "/middle")), ErrorKind::NotFound);
}

#[test]
fn layers_on_disk_do_not_leak_through_links() {
    let (above, below) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(below.path().join("file"), "below").unwrap();
    symlink("/etc/passwd", above.path().join("file")).unwrap();
    let options = TreeOptions { writable: true, show_hidden: false, show_backups: false };
    let upper = LocalTree::open(above.path(), options).unwrap();
    let lower = LocalTree::open(below.path(), options).unwrap();
    let tree = LayeredTree::new(Arc::new(upper), vec![Arc::new(lower)]);
    assert_eq!(kind(tree.open(&WHO, &path("/file"))), ErrorKind::Escapes);
}

/// A base with a file, and a tree at `/mnt/a`, another inside of that at `/mnt/a/inner`.
fn mounts() -> (MemoryTree, MountedTree) {
    let inside = memory(true, &[("/file", "inside"), ("/dir/x", "x")]);
    let tree = MountedTree::new(Arc::new(memory(true, &[("/top", "top"), ("/side/y", "y")])));
    tree.mount(&path("/mnt/a"), Arc::new(inside.clone())).unwrap();
    let inner = memory(false, &[("/z", "z")]);
    tree.mount(&path("/mnt/a/inner"), Arc::new(inner)).unwrap();
    (inside, tree)
}

#[test]
fn the_longest_mount_answers_and_listings_show_mounts() {
    let (_, tree) = mounts();
    assert_eq!(read(&tree, "/top").unwrap(), "top");
    assert_eq!(read(&tree, "/mnt/a/file").unwrap(), "inside");
    assert_eq!(read(&tree, "/mnt/a/inner/z").unwrap(), "z");
    assert_eq!(kind(read(&tree, "/mnt/ab")), ErrorKind::NotFound);
    assert_eq!(names(&tree, "/"), ["mnt", "side", "top"]);
    assert_eq!(names(&tree, "/mnt"), ["a"]);
    assert_eq!(names(&tree, "/mnt/a"), ["dir", "file", "inner"]);
    for name in ["/mnt", "/mnt/a", "/mnt/a/inner"] {
        assert_eq!(tree.metadata(&WHO, &path(name)).unwrap().kind, Kind::Dir);
        assert_eq!(tree.entry_metadata(&WHO, &path(name)).unwrap().kind, Kind::Dir);
        assert_eq!(kind(tree.open(&WHO, &path(name))), ErrorKind::IsDirectory);
        assert_eq!(kind(tree.open_now(&WHO, &path(name))), ErrorKind::IsDirectory);
    }
    let full = tree.list(&WHO, &path("/"), Detail::Full).unwrap();
    let told: BTreeSet<_> = full.map(|entry| entry.unwrap().metadata.is_some()).collect();
    assert_eq!(told, BTreeSet::from([true]));
}

#[test]
fn a_mounted_tree_that_takes_writes_makes_the_whole_take_some() {
    let tree = MountedTree::new(Arc::new(memory(false, &[])));
    tree.mount(&path("/ro"), Arc::new(memory(false, &[]))).unwrap();
    assert!(!tree.is_writable());
    tree.mount(&path("/rw"), Arc::new(memory(true, &[]))).unwrap();
    assert!(tree.is_writable());
}

#[test]
fn mounts_are_fixed() {
    let (inside, tree) = mounts();
    for name in ["/mnt", "/mnt/a", "/mnt/a/inner"] {
        let path = path(name);
        assert_eq!(kind(tree.make_dir(&WHO, &path)), ErrorKind::Exists);
        assert_eq!(kind(tree.remove_dir(&WHO, &path)), ErrorKind::Busy);
        assert_eq!(kind(tree.remove_file(&WHO, &path)), ErrorKind::IsDirectory);
        assert_eq!(kind(tree.stage(&WHO, &path)), ErrorKind::IsDirectory);
        let renamed = tree.rename(&WHO, &path, &crate::path("/new"));
        assert_eq!(kind(renamed), ErrorKind::Busy);
    }
    let renamed = tree.rename(&WHO, &path("/mnt/a/file"), &path("/file"));
    assert_eq!(kind(renamed), ErrorKind::CrossDevice);
    tree.rename(&WHO, &path("/mnt/a/file"), &path("/mnt/a/dir/file")).unwrap();
    assert_eq!(read(&inside, "/dir/file").unwrap(), "inside");
    let error = tree.open(&WHO, &path("/mnt/a/absent")).unwrap_err();
    assert_eq!(error.to_string(), "open /mnt/a/absent: not found");
}

#[test]
fn mounts_come_and_go_while_the_tree_is_used() {
    let (_, tree) = mounts();
    let other = tree.clone();
    let inside = || Arc::new(memory(false, &[("/w", "w")]));
    assert_eq!(kind(tree.mount(&path("/mnt/a"), inside())), ErrorKind::Exists);
    assert_eq!(kind(tree.mount(&path("/"), inside())), ErrorKind::Busy);
    tree.mount(&path("/side"), inside()).unwrap();
    assert_eq!(names(&other, "/side"), ["w"], "what is beneath a mount is covered");
    assert!(tree.unmount(&path("/side")));
    assert!(!tree.unmount(&path("/side")));
    assert_eq!(names(&other, "/side"), ["y"]);
    let taken = tree.mounts().len();
    for number in taken..MAX_MOUNTS {
        tree.mount(&path(&format!("/m{number}")), inside()).unwrap();
    }
    assert_eq!(kind(tree.mount(&path("/more"), inside())), ErrorKind::NoSpace);
}

#[test]
fn memory_is_bounded() {
    let options = TreeOptions { writable: true, show_hidden: false, show_backups: false };
    let tree = MemoryTree::with_capacity(options, noon, 10_000);
    let mut staged = tree.stage(&WHO, &path("/big")).unwrap();
    staged.write(&[0; 6000]).unwrap();
    assert_eq!(kind(staged.write(&[0; 6000])), ErrorKind::NoSpace);
    assert_eq!(kind(put(&tree, "/other", &"x".repeat(6000))), ErrorKind::NoSpace);
    drop(staged);
    put(&tree, "/other", &"x".repeat(6000)).unwrap();
    // Replaced and removed over and over, nothing is counted twice or forgotten.
    for _ in 0..100 {
        put(&tree, "/small", &"x".repeat(1000)).unwrap();
        tree.remove_file(&WHO, &path("/small")).unwrap();
    }
    let made = (0..100).take_while(|n| tree.make_dir(&WHO, &path(&format!("/{n}"))).is_ok());
    assert!(made.count() < 100, "empty directories count too");
}

#[test]
fn memory_records_who_made_what() {
    let tree = memory(true, &[]);
    let who = Persona::user(Identity { uid: 7, gid: 8, groups: vec![], umask: 0o077 });
    tree.make_dir(&who, &path("/dir")).unwrap();
    let made = tree.metadata(&who, &path("/dir")).unwrap();
    assert_eq!((made.uid, made.gid, made.mode, made.modified), (7, 8, 0o700, noon()));
}
