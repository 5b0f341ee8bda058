//! What scripts read of file trees, and answer with.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use medusa_core::testing::Harness;
use medusa_fs::{FileSystem, MemoryTree, TreeOptions, VirtualPath};

use super::{MEMORY, Server, parts, plan, serve};
use crate::{GivenTree, Host, Returns, Script};
use medusa_script::{Budget, SharedTable};

/// A server of a handler with this body, which may read two trees.
fn server(handler: &str) -> Server {
    let tree = |files: &[(&str, &str)]| -> Arc<dyn FileSystem> {
        let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let tree = MemoryTree::new(TreeOptions::default(), clock);
        for (name, content) in files {
            let path = VirtualPath::parse(name.as_bytes()).expect("a path").path;
            tree.insert(&path, content.as_bytes().to_vec()).expect("there is room");
        }
        Arc::new(tree)
    };
    let big = "0123456789".repeat(110_000);
    let trees = [
        ("site", tree(&[("/a.html", "<p>a"), ("/d/b c.txt", "bee"), ("/big", &big)])),
        ("other", tree(&[("/a.html", "other")])),
    ];
    let h = Harness::new();
    let host = Host::new(&h.handle(), MEMORY, &SharedTable::default(), None).expect("an engine");
    let mut plan = plan("test", "", Returns::Handler, Budget::HANDLER);
    plan.trees = trees.map(|(name, tree)| GivenTree { name: name.to_owned(), tree }).to_vec();
    let script = Script::new(&host, plan);
    let mut server = serve(h, host, script);
    server.load(&format!("return function(request) {handler} end")).expect("it is good");
    server
}

#[test]
fn files_are_read_listed_and_told_of() {
    for (handler, body) in [
        ("return files.read('/a.html')", "<p>a"),
        ("return files.read('/a.html', 'other')", "other"),
        ("return tostring(files.read('/none'))", "nil"),
        ("return table.concat(files.list('/'), ' ')", "a.html big d/"),
        ("return table.concat(files.list('/d'), ' ')", "b c.txt"),
        ("return tostring(files.list('/none'))", "nil"),
        (
            "local s = files.stat('/d/b c.txt') return s.kind .. s.size .. ' ' .. s.modified",
            "file3 1000000000.0",
        ),
        ("return files.stat('/d').kind .. tostring(files.stat('/none'))", "directorynil"),
    ] {
        let reply = server(handler).get("/");
        assert_eq!(parts(&reply), ("200", body), "{handler}");
    }
}

#[test]
fn large_files_are_read_in_pieces() {
    let mut server = server(
        "local f, n, last = files.open('/big'), 0
         for piece in function() return f:read(300000) end do n, last = n + 1, #piece end
         return n .. ' ' .. last .. ' ' .. f.size .. tostring(f:read())",
    );
    assert_eq!(parts(&server.get("/")).1, "4 200000 1100000nil");
}

#[test]
fn an_open_file_ends_with_the_call_that_opened_it() {
    let mut server = server(
        "if kept then return select(2, pcall(kept.read, kept)) end
         kept = files.open('/a.html') kept:read(1) return 'opened'",
    );
    assert_eq!(parts(&server.get("/")).1, "opened");
    assert!(server.get("/").contains("the file is closed"));
}

#[test]
fn a_script_has_only_so_many_files_open() {
    let mut server = server(
        "local all = {} for i = 1, 200 do
           local ok, f = pcall(files.open, '/a.html')
           if not ok then all[1]:close() return i .. f .. tostring(#files.open('/a.html'):read()) end
           all[i] = f end",
    );
    let reply = server.get("/");
    assert!(parts(&reply).1.starts_with("101") && reply.contains("at most 100"), "{reply}");
    assert!(reply.ends_with('4'), "{reply}");
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_why() {
    for (asked, why) in [
        ("files.read('/big')", "the file has more than 1048576 bytes"),
        ("files.read('/d')", "open /d: is a directory"),
        ("files.list('/a.html')", "list /a.html: not a directory"),
        ("files.read('a')", "`a` is no path in a tree"),
        ("files.read('/../x')", "`/../x` is no path in a tree"),
        ("files.read('/a', 'none')", "the script has no tree `none`"),
        ("files.open('/a.html'):read(0)", "a piece has 1 to 1048576 bytes"),
    ] {
        let handler = format!("return select(2, pcall(function() return {asked} end))");
        let reply = server(&handler).get("/");
        assert!(reply.contains(why), "{asked}: {reply}");
    }
    let mut without = Server::new("return select(2, pcall(files.read, '/a'))");
    assert!(without.get("/").contains("the script has no trees"));
}

#[test]
fn a_handler_answers_with_a_file() {
    for (handler, fields, expected) in [
        ("return { file = '/a.html' }", "", ("200", "<p>a")),
        ("return { file = '/a.html', tree = 'other' }", "", ("200", "other")),
        ("sleep(1) return { file = '/a.html' }", "", ("200", "<p>a")),
        ("return { file = '/a.html' }", "Range: bytes=1-2\r\n", ("206", "p>")),
        (
            "return { file = '/a.html' }",
            "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n",
            ("304", ""),
        ),
        (
            "return { file = '/none' }",
            "",
            ("404", "404 Not Found: there is nothing at this path\n"),
        ),
        ("return { file = '/d' }", "", ("404", "404 Not Found: there is no file at this path\n")),
        (
            "return { file = '/a.html', tree = 'none' }",
            "",
            ("500", "500 Internal Server Error: the script failed to answer\n"),
        ),
        (
            "return { file = 'a' }",
            "",
            ("500", "500 Internal Server Error: the script failed to answer\n"),
        ),
        (
            "return 404, {}, { file = '/a.html' }",
            "",
            ("500", "500 Internal Server Error: the script failed to answer\n"),
        ),
    ] {
        let mut server = server(handler);
        for _ in 0..2 {
            let reply = server.ask(&format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            assert_eq!(parts(&reply), expected, "{handler} {fields}");
        }
    }
}

#[test]
fn a_file_that_is_an_answer_has_its_own_type_unless_the_script_says_another() {
    let reply = server("return { file = '/a.html' }").get("/x");
    assert!(reply.contains("Content-Type: text/html") && reply.contains("ETag: "), "{reply}");
    let reply = server(
        "return 200, { ['Content-Type'] = 'text/plain', ['X-A'] = { 'b', 'c' } }, \
         { file = '/a.html' }",
    )
    .get("/x");
    assert!(reply.contains("Content-Type: text/plain\r\n"), "{reply}");
    assert!(reply.contains("X-A: b\r\nX-A: c\r\n") && !reply.contains("text/html"), "{reply}");
}
