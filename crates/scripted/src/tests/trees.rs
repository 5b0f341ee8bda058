//! File trees that scripts make: threads that ask, and a loop that answers.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use medusa_core::{Reactor, reactor::Settings};
use medusa_fs::{Commit, Content, Detail, ErrorKind, FileSystem, Kind, Persona, VirtualPath};
use medusa_script::{Budget, SharedTable};

use super::{MEMORY, plan};
use crate::{Callers, Host, Returns, Script, ScriptTree};

const WHO: Persona = Persona::Process;

fn path(text: &str) -> VirtualPath {
    VirtualPath::parse(text.as_bytes()).expect("a path").path
}

/// Has `ask` use a tree that this script makes, on a thread beside the loop.
fn with<T: Send + 'static>(source: &str, ask: impl FnOnce(ScriptTree) -> T + Send + 'static) -> T {
    let mut reactor = Reactor::new(Settings::default()).expect("a loop");
    let handle = reactor.handle().clone();
    let host = Host::new(&handle, MEMORY, &SharedTable::default(), None).expect("an engine");
    let plan = plan("tree", source, Returns::Tree, Budget::HANDLER);
    let script = Script::new(&host, plan.clone());
    script.load(plan.source, |loaded| assert_eq!(loaded, Ok(())));
    let tree = ScriptTree::new(true);
    tree.attach(&script, &Callers::new(reactor.remote()));
    let is_busy = |tree: &ScriptTree| {
        tree.metadata(&WHO, &path("/a")).is_err_and(|e| e.kind() == ErrorKind::Busy)
    };
    assert!(is_busy(&tree), "the loop does not wait for itself");
    let (to, from) = mpsc::channel();
    let remote = reactor.remote();
    let asking = thread::spawn(move || {
        let result = ask(tree);
        remote.call(|handle| handle.shutdown(Duration::ZERO)).expect("there is room");
        to.send(result).expect("somebody waits");
    });
    reactor.run().expect("it runs");
    asking.join().expect("what was asked was right");
    from.recv().expect("there is a result")
}

fn content(tree: &ScriptTree, name: &str) -> Result<Vec<u8>, ErrorKind> {
    match tree.open(&WHO, &path(name)).map_err(|e| e.kind())?.content {
        Content::Memory(bytes) => Ok(bytes.to_vec()),
        Content::Disk(_) => panic!("it is on no disk"),
    }
}

#[test]
fn a_script_makes_files_of_texts_and_of_pieces() {
    with(
        "return { read = function(path)
             if path == '/text' then return 'content' end
             if path == '/large' then
                 local n = 0
                 return function() n = n + 1 if n <= 5 then return ('x'):rep(1000000) end end
             end
             if path == '/endless' then return function() return ('x'):rep(1000000) end end
             if path == '/wrong' then return 12 end
             if path == '/bad' then error('oh no') end
         end }",
        |tree| {
            assert_eq!(content(&tree, "/text"), Ok(b"content".to_vec()));
            assert_eq!(content(&tree, "/large").map(|c| c.len()), Ok(5_000_000));
            for (name, kind) in [
                ("/none", ErrorKind::NotFound),
                ("/", ErrorKind::IsDirectory),
                ("/endless", ErrorKind::Io),
                ("/wrong", ErrorKind::Io),
                ("/bad", ErrorKind::Io),
            ] {
                assert_eq!(content(&tree, name), Err(kind), "{name}");
            }
            let (one, two) = (tree.open(&WHO, &path("/text")), tree.open(&WHO, &path("/large")));
            let (one, two) = (one.expect("a file").metadata, two.expect("a file").metadata);
            assert_ne!(one.stamp, two.stamp);
            assert_eq!(tree.metadata(&WHO, &path("/text")).expect("a file").stamp, one.stamp);
        },
    );
}

#[test]
fn a_script_lists_directories_and_tells_of_entries() {
    with(
        "return {
             read = function(path) if path == '/made' then return 'four' end end,
             list = function(path)
                 if path == '/' then
                     return { 'd/', 'made', { name = 'told', size = 7, modified = 5 } }
                 end
                 if path == '/d' then return {} end
                 if path == '/wrong' then return { 'a/b' } end
             end,
         }",
        |tree| {
            let list = |name: &str| -> Result<Vec<_>, ErrorKind> {
                let entries = tree.list(&WHO, &path(name), Detail::Full).map_err(|e| e.kind())?;
                Ok(entries.map(|entry| entry.expect("an entry")).collect())
            };
            let root = list("/").expect("a listing");
            let names: Vec<_> = root.iter().map(|e| (&*e.name, e.kind)).collect();
            assert_eq!(
                names,
                [(&b"d"[..], Kind::Dir), (b"made", Kind::File), (b"told", Kind::File)]
            );
            let sizes: Vec<_> =
                root.iter().map(|e| e.metadata.as_ref().expect("it is told").size).collect();
            assert_eq!(sizes, [0, 4, 7]);
            let told = root[2].metadata.as_ref().expect("it is told");
            assert_eq!(told.modified, UNIX_EPOCH + Duration::from_secs(5));
            assert_eq!(list("/d").map(|d| d.len()), Ok(0));
            assert_eq!(list("/none").err(), Some(ErrorKind::NotFound));
            assert_eq!(list("/wrong").err(), Some(ErrorKind::Io));
            assert_eq!(tree.metadata(&WHO, &path("/d")).expect("a directory").kind, Kind::Dir);
            assert_eq!(content(&tree, "/d"), Err(ErrorKind::IsDirectory));
        },
    );
}

#[test]
fn a_script_takes_files_and_deletes_them() {
    with(
        "local kept = {}
         return {
             read = function(path) return kept[path] end,
             put = function(path, content)
                 if path == '/no' then return false end kept[path] = content
             end,
             delete = function(path)
                 if not kept[path] then return false end kept[path] = nil
             end,
         }",
        |tree| {
            let put = |name: &str, bytes: &[u8], replace| {
                let mut staged = tree.stage(&WHO, &path(name)).expect("it is staged");
                staged.write(bytes).map_err(|e| e.kind())?;
                let how = Commit { replace, durable: false };
                staged.commit(how).map(drop).map_err(|e| e.kind())
            };
            assert_eq!(put("/a", b"one", false), Ok(()));
            assert_eq!(put("/a", b"two", false), Err(ErrorKind::Exists));
            assert_eq!(put("/a", b"two", true), Ok(()));
            assert_eq!(content(&tree, "/a"), Ok(b"two".to_vec()));
            assert_eq!(put("/no", b"x", true), Err(ErrorKind::Denied));
            let long = vec![b'x'; crate::tree::PUT_BYTES + 1];
            assert_eq!(put("/long", &long, true), Err(ErrorKind::NoSpace));
            assert!(tree.remove_file(&WHO, &path("/a")).is_ok());
            let kind = tree.remove_file(&WHO, &path("/a")).map_err(|e| e.kind());
            assert_eq!(kind, Err(ErrorKind::NotFound));
        },
    );
}

#[test]
fn those_who_wait_for_a_slow_script_are_few() {
    with("return { read = function(path) sleep(1) return 'late' end }", |tree| {
        let tree = Arc::new(tree);
        let ask = |_| {
            let tree = tree.clone();
            thread::spawn(move || content(&tree, "/a"))
        };
        let all: Vec<_> = (0..8).map(ask).collect();
        let all: Vec<_> = all.into_iter().map(|one| one.join().expect("it ended")).collect();
        let late = all.iter().filter(|one| **one == Ok(b"late".to_vec())).count();
        let busy = all.iter().filter(|one| **one == Err(ErrorKind::Busy)).count();
        assert!(late >= 3 && busy >= 1 && late + busy == 8, "{late} {busy}");
    });
}
