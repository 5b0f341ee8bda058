//! What a tree with a quota counts, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use medusa_fs::{
    Commit, Detail, ErrorKind, FileSystem, Kind, LocalTree, MemoryTree, Persona, Placement, Quota,
    QuotaTree, Result, TreeOptions, Usage, VirtualPath,
};
use proptest::prelude::*;

const WHO: Persona = Persona::Process;
const OPTIONS: TreeOptions =
    TreeOptions { writable: true, show_hidden: false, show_backups: false };

fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).unwrap().path
}

fn memory() -> MemoryTree {
    let now: fn() -> SystemTime = || UNIX_EPOCH;
    let tree = MemoryTree::new(OPTIONS, now);
    tree.insert(&path("/d/file"), vec![0; 100]).unwrap();
    tree
}

fn held(bytes: u64, files: u64) -> QuotaTree {
    QuotaTree::new(Arc::new(memory()), Quota { bytes: Some(bytes), files: Some(files) })
}

fn put(tree: &dyn FileSystem, name: &str, bytes: usize) -> Result<()> {
    let mut staged = tree.stage(&WHO, &path(name))?;
    staged.write(&vec![1; bytes])?;
    staged.commit(Commit { replace: true, durable: false }).map(drop)
}

fn append(tree: &dyn FileSystem, name: &str, at: Placement, bytes: usize) -> Result<()> {
    tree.write_open(&WHO, &path(name), at)?.write(&vec![1; bytes])
}

fn kind<R>(answer: Result<R>) -> ErrorKind {
    answer.err().expect("an error").kind()
}

/// Whether so much is used, as far as is known.
#[track_caller]
fn expect(tree: &QuotaTree, bytes: u64, files: u64) {
    assert_eq!(tree.usage(), Some(Usage { bytes, files }));
}

/// What there really is.
fn count(tree: &dyn FileSystem, directory: &VirtualPath) -> Usage {
    let mut usage = Usage::default();
    for entry in tree.list(&WHO, directory, Detail::Full).unwrap() {
        let entry = entry.unwrap();
        usage.files += 1;
        if entry.kind == Kind::Dir {
            let below = count(tree, &directory.child(&entry.name).unwrap());
            usage.bytes += below.bytes;
            usage.files += below.files;
        } else {
            usage.bytes += entry.metadata.unwrap().size;
        }
    }
    usage
}

#[test]
fn what_is_written_past_a_quota_is_refused_and_leaves_nothing() {
    let tree = held(1000, 5);
    assert_eq!(tree.usage(), None, "nobody has asked yet");
    assert_eq!(tree.measure(&WHO).unwrap(), Usage { bytes: 100, files: 2 });
    put(&tree, "/a", 500).unwrap();
    expect(&tree, 600, 3);
    assert_eq!(kind(put(&tree, "/b", 401)), ErrorKind::OverQuota);
    expect(&tree, 600, 3);
    assert_eq!(kind(tree.metadata(&WHO, &path("/b"))), ErrorKind::NotFound);
    put(&tree, "/b", 400).unwrap();
    assert_eq!(kind(tree.stage(&WHO, &path("/c"))), ErrorKind::OverQuota, "before a byte is sent");
    assert_eq!(kind(append(&tree, "/a", Placement::Append, 1)), ErrorKind::OverQuota);
    tree.make_dir(&WHO, &path("/e")).unwrap();
    assert_eq!(kind(tree.make_dir(&WHO, &path("/f"))), ErrorKind::OverQuota);
    tree.remove_file(&WHO, &path("/a")).unwrap();
    expect(&tree, 500, 4);
    put(&tree, "/g", 1).unwrap();
    assert_eq!(kind(tree.stage(&WHO, &path("/h"))), ErrorKind::OverQuota, "one file too many");
    put(&tree, "/g", 0).unwrap();
    expect(&tree, 500, 5);
    append(&tree, "/b", Placement::At(300), 200).unwrap();
    expect(&tree, 600, 5);
    tree.rename(&WHO, &path("/b"), &path("/d/file")).unwrap();
    expect(&tree, 500, 4);
    assert_eq!(tree.usage(), Some(count(&tree, &VirtualPath::root())));
}

#[test]
fn what_is_staged_counts_until_it_is_dropped() {
    let tree = held(1000, 10);
    let mut first = tree.stage(&WHO, &path("/a")).unwrap();
    first.write(&[0; 600]).unwrap();
    let mut second = tree.stage(&WHO, &path("/b")).unwrap();
    assert_eq!(kind(second.write(&[0; 301])), ErrorKind::OverQuota);
    second.write(&[0; 100]).unwrap();
    second.write_at(50, &[0; 100]).unwrap();
    expect(&tree, 850, 4);
    drop(first);
    expect(&tree, 250, 3);
    drop(second);
    expect(&tree, 100, 2);
}

/// A disk that takes only some of it: what is there counts, and what is not does not.
#[test]
fn what_the_disk_refuses_does_not_count() {
    let small = MemoryTree::with_capacity(OPTIONS, || UNIX_EPOCH, 4096);
    let tree = QuotaTree::new(Arc::new(small), Quota { bytes: Some(1 << 20), files: None });
    append(&tree, "/a", Placement::Append, 100).unwrap();
    assert_eq!(kind(append(&tree, "/a", Placement::Append, 100_000)), ErrorKind::NoSpace);
    assert_eq!(kind(put(&tree, "/b", 100_000)), ErrorKind::NoSpace);
    assert_eq!(tree.usage(), Some(count(&tree, &VirtualPath::root())));
}

#[test]
fn a_file_that_came_or_went_meanwhile_is_counted_once() {
    let tree = held(1000, 10);
    let new = tree.stage(&WHO, &path("/a")).unwrap();
    put(&tree, "/a", 10).unwrap();
    new.commit(Commit { replace: true, durable: false }).unwrap();
    expect(&tree, 100, 3);
    let old = tree.stage(&WHO, &path("/a")).unwrap();
    tree.remove_file(&WHO, &path("/a")).unwrap();
    old.commit(Commit { replace: true, durable: true }).unwrap();
    expect(&tree, 100, 3);
    let kept = tree.stage(&WHO, &path("/a")).unwrap();
    assert_eq!(kind(kept.commit(Commit::default())), ErrorKind::Exists);
    assert_eq!(tree.usage(), Some(count(&tree, &VirtualPath::root())));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Drop(u8, usize),
    Append(u8, usize),
    At(u8, u64, usize),
    Remove(u8),
    Rename(u8, u8),
    MakeDir(u8),
    RemoveDir(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..6_u8;
    let step = prop_oneof![
        (name(), 0..500_usize).prop_map(|(n, bytes)| Step::Put(n, bytes)),
        (name(), 0..500_usize).prop_map(|(n, bytes)| Step::Drop(n, bytes)),
        (name(), 0..500_usize).prop_map(|(n, bytes)| Step::Append(n, bytes)),
        (name(), 0..300_u64, 0..300_usize).prop_map(|(n, at, bytes)| Step::At(n, at, bytes)),
        name().prop_map(Step::Remove),
        (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        name().prop_map(Step::MakeDir),
        name().prop_map(Step::RemoveDir),
    ];
    prop::collection::vec(step, 1..60)
}

fn run(tree: &dyn FileSystem, step: &Step) -> Result<()> {
    let name = |n: &u8| if *n < 3 { format!("/{n}") } else { format!("/d/{n}") };
    match step {
        Step::Put(n, bytes) => put(tree, &name(n), *bytes),
        Step::Drop(n, bytes) => tree.stage(&WHO, &path(&name(n)))?.write(&vec![0; *bytes]),
        Step::Append(n, bytes) => append(tree, &name(n), Placement::Append, *bytes),
        Step::At(n, at, bytes) => append(tree, &name(n), Placement::At(*at), *bytes),
        Step::Remove(n) => tree.remove_file(&WHO, &path(&name(n))),
        Step::Rename(from, to) => tree.rename(&WHO, &path(&name(from)), &path(&name(to))),
        Step::MakeDir(n) => tree.make_dir(&WHO, &path(&name(n))),
        Step::RemoveDir(n) => tree.remove_dir(&WHO, &path(&name(n))),
    }
}

fn check(tree: &QuotaTree, steps: &[Step]) -> std::result::Result<(), TestCaseError> {
    let quota = tree.quota();
    tree.measure(&WHO).unwrap();
    for step in steps {
        let answer = run(tree, step);
        let there = count(tree, &VirtualPath::root());
        prop_assert_eq!(tree.usage(), Some(there), "after {:?}: {:?}", step, answer);
        prop_assert!(quota.bytes.is_none_or(|most| there.bytes <= most));
        prop_assert!(quota.files.is_none_or(|most| there.files <= most));
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_counted_is_what_is_there(steps in steps(), bytes in 100..2000_u64, files in 2..8_u64) {
        check(&held(bytes, files), &steps)?;
    }

    #[test]
    fn on_a_disk_too(steps in steps(), bytes in 0..2000_u64) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("d")).unwrap();
        let inner = LocalTree::open(directory.path(), OPTIONS).unwrap();
        check(&QuotaTree::new(Arc::new(inner), Quota { bytes: Some(bytes), files: None }), &steps)?;
    }
}

/// Two who committed, removed or moved one file at once gave its bytes back twice.
#[test]
fn whoever_writes_at_once_keeps_to_the_quota_together() {
    for appending in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let inner = Arc::new(LocalTree::open(directory.path(), OPTIONS).unwrap());
        let tree = QuotaTree::new(inner, Quota { bytes: Some(10_000), files: Some(8) });
        tree.make_dir(&WHO, &path("/d")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4_u8)
                .map(|worker| {
                    let tree = &tree;
                    scope.spawn(move || work(tree, worker, appending))
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let used = tree.usage().expect("it was measured");
                    assert!(used.bytes <= 10_000 && used.files <= 8, "{used:?}");
                    tree.measure(&WHO).expect("it can be listed");
                    std::thread::yield_now();
                }
            });
            for worker in workers {
                worker.join().expect("no worker fails");
            }
            done.store(true, Ordering::Relaxed);
        });
        let (told, there) = (tree.usage().unwrap(), count(&tree, &VirtualPath::root()));
        // What is appended to a file that somebody removes meanwhile goes on to count.
        assert!(told == there || appending && told.bytes >= there.bytes, "{told:?} {there:?}");
        assert_eq!(told.files, there.files);
    }
}

fn work(tree: &QuotaTree, worker: u8, appending: bool) {
    for round in 0..200_usize {
        let n = (round % 5) as u8;
        for step in [
            Step::Put(n, 1000 + round),
            Step::Rename(n, (n + worker) % 6),
            Step::Append((n + 1) % 6, 500),
            Step::Drop(n, 3000),
            Step::Remove((n + 2) % 6),
        ] {
            if appending || !matches!(step, Step::Append(..)) {
                // Any of them may be refused, or find nothing.
                let _ = run(tree, &step);
            }
        }
    }
}
