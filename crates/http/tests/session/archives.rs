//! Directories as archives: what other programs' libraries read out of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::Ordering;

use medusa_core::testing::How;
use medusa_fs::{ErrorKind, MemoryTree};
use medusa_http::FilesOptions;
use medusa_http::limits::{
    ARCHIVE_DEPTH, ARCHIVE_ENTRIES, ARCHIVE_SMALL_BYTES, ARCHIVE_STEP_BYTES, ZIP_DIRECTORY_BYTES,
};
use proptest::prelude::*;

use crate::files::{Watched, serve, serve_dir};
use crate::server::{
    MODIFIED, Server, answers, answers_to, assert_ended, get, only, put, put_bytes, statuses, tree,
    tree_of,
};

/// Names with their contents; of directories none.
type Content = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a library that knows tar reads.
fn untar(bytes: &[u8]) -> Content {
    let mut content = Content::new();
    for entry in tar::Archive::new(bytes).entries().expect("it is an archive") {
        let mut entry = entry.expect("it is whole");
        let name = entry.path_bytes().into_owned();
        let directory = entry.header().entry_type().is_dir();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("it is whole");
        assert_eq!(bytes.len() as u64, entry.size());
        assert_eq!((entry.header().uid().ok(), entry.header().gid().ok()), (Some(0), Some(0)));
        let before = content.insert(name, (!directory).then_some(bytes));
        assert!(before.is_none(), "twice");
    }
    content
}

/// What a library that knows zip reads; it compares the check sums.
fn unzip(bytes: &[u8]) -> Content {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("it is an archive");
    let mut content = Content::new();
    for place in 0..archive.len() {
        let mut entry = archive.by_index(place).expect("it is whole");
        let name = entry.name_raw().to_vec();
        let directory = name.ends_with(b"/");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("it is whole");
        assert_eq!(bytes.len() as u64, entry.size());
        let before = content.insert(name, (!directory).then_some(bytes));
        assert!(before.is_none(), "twice");
    }
    content
}

/// The content of a directory by both forms, which must be the same.
#[track_caller]
fn both(server: &mut Server, path: &str) -> Content {
    let tar = server.get(&format!("{path}?archive=tar"), "");
    let zip = server.get(&format!("{path}?archive=zip"), "");
    assert_eq!((tar.status, tar.whole, zip.status, zip.whole), (200, true, 200, true));
    let content = untar(&tar.body);
    let zip = unzip(&zip.body);
    for name in content.keys().chain(zip.keys()) {
        let name_shown = name.escape_ascii();
        assert!(content.contains_key(name) && zip.contains_key(name), "{name_shown}");
    }
    assert!(content == zip);
    content
}

fn names(content: &Content) -> Vec<&str> {
    content.keys().map(|name| std::str::from_utf8(name).expect("text")).collect()
}

/// Bytes that do not repeat.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(step).collect()
}

/// Sizes at which something changes: a block of tar, of deflate, what is read at once, a step.
const SIZES: [usize; 12] = [
    0,
    1,
    511,
    512,
    513,
    ARCHIVE_SMALL_BYTES - 1,
    ARCHIVE_SMALL_BYTES,
    ARCHIVE_SMALL_BYTES + 1,
    2 * 65_535,
    ARCHIVE_STEP_BYTES,
    ARCHIVE_STEP_BYTES + 1,
    1_000_000,
];

#[test]
fn files_of_every_size_arrive_whole() {
    let (tree, directory) = (tree(), tempfile::tempdir().expect("a directory"));
    let mut expected = Content::from([(b"d/".to_vec(), None)]);
    fs::create_dir(directory.path().join("d")).expect("it is made");
    for size in SIZES {
        let content = noise(size);
        put(&tree, &format!("/d/{size}"), &content);
        fs::write(directory.path().join(format!("d/{size}")), &content).expect("it is written");
        expected.insert(format!("d/{size}").into(), Some(content));
    }
    for mut server in [Server::files(&tree), serve_dir(directory.path())] {
        assert!(both(&mut server, "/d/") == expected);
        // However it is taken.
        for (kind, room) in [("tar", 70_000), ("zip", 70_000), ("tar", 1_000_000)] {
            let peer = server.connect();
            peer.set_write_room(0);
            peer.send(get(&format!("/d/?archive={kind}"), ""));
            while !peer.received().ends_with(b"\r\n0\r\n\r\n") {
                peer.grant(room);
                server.h.run();
            }
            let answer = only(answers(&peer.take()));
            let read = if kind == "tar" { untar(&answer.body) } else { unzip(&answer.body) };
            assert!(read == expected, "{kind} {room}");
        }
    }
}

#[test]
fn names_of_any_bytes_arrive() {
    let tree = tree();
    let deep = "/a name of some length that is repeated".repeat(8);
    let mut expected = Content::new();
    for name in [
        &b"/plain"[..],
        b"/with space/and \"quotes\"",
        b"/new\nline\\",
        "/ä/日本語".as_bytes(),
        b"/short \xff",
        &[b"/", &b"x"[..].repeat(255)[..]].concat(),
        &["/", &"ä".repeat(127)].concat().into_bytes(),
        &[deep.as_bytes(), b"/\xff"].concat(),
        &[deep.as_bytes(), "/ä".as_bytes()].concat(),
        // As long as a head has room for, and one more.
        &[b"/", &b"y"[..].repeat(98)[..]].concat(),
        &[b"/", &b"z"[..].repeat(99)[..]].concat(),
    ] {
        put_bytes(&tree, &[b"/d", name].concat(), name);
        expected.insert([b"d", name].concat(), Some(name.to_vec()));
    }
    let mut read = both(&mut Server::files(&tree), "/d/");
    read.retain(|_, content| content.is_some());
    assert_eq!(read, expected);
}

#[test]
fn an_archive_is_offered_under_the_name_of_the_directory() {
    let mut server = Server::files(&tree_of(&[("/some d\"r/ä/f", "f")]));
    for (path, base, names) in [
        ("/", "files", "filename=\"files.tar\"; filename*=UTF-8''files.tar"),
        (
            "/some%20d%22r/",
            "some d\"r",
            "filename=\"some d_r.tar\"; filename*=UTF-8''some%20d%22r.tar",
        ),
        ("/some%20d%22r/%C3%A4/", "ä", "filename=\"_.tar\"; filename*=UTF-8''%C3%A4.tar"),
    ] {
        let answer = server.get(&format!("{path}?archive=tar"), "");
        assert_eq!(answer.field("Content-Type"), Some("application/x-tar"));
        assert_eq!(answer.field("Content-Disposition"), Some(&*format!("attachment; {names}")));
        assert_eq!(answer.field("Content-Length"), None);
        let content = untar(&answer.body);
        assert!(content.keys().all(|name| name.starts_with(format!("{base}/").as_bytes())));
    }
    let answer = server.get("/?archive=zip", "");
    assert_eq!(answer.field("Content-Type"), Some("application/zip"));
    // Asked about only, nothing is made.
    let (_, output) = server.send(get("/?archive=zip", "").replace("GET", "HEAD"));
    let head = only(answers_to(&output, |_| true));
    assert_eq!(head.field("Content-Disposition"), answer.field("Content-Disposition"));
    // As everywhere, the slash comes first.
    let answer = server.get("/some%20d%22r?archive=zip", "");
    assert_eq!(answer.field("Location"), Some("/some%20d%22r/?archive=zip"));
}

#[test]
fn dates_and_modes_arrive() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("f");
    fs::write(&file, "f").expect("it is written");
    let opened = fs::File::options().append(true).open(&file).expect("it is there");
    opened.set_modified(std::time::UNIX_EPOCH + MODIFIED).expect("its time is set");
    let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o4751);
    fs::set_permissions(&file, mode).expect("its mode is set");
    let mut server = serve_dir(directory.path());
    let tar = server.get("/?archive=tar", "").body;
    let mut archive = tar::Archive::new(&tar[..]);
    let entry = archive.entries().expect("an archive").nth(1).expect("a file").expect("whole");
    assert_eq!(entry.header().mtime().ok(), Some(MODIFIED.as_secs()));
    assert_eq!(entry.header().mode().ok(), Some(0o751), "without set-id bits");
    let zip = server.get("/?archive=zip", "").body;
    let mut archive = zip::ZipArchive::new(Cursor::new(&zip)).expect("an archive");
    let entry = archive.by_index(1).expect("a file");
    assert_eq!(entry.unix_mode(), Some(0o100_751));
    let date = entry.last_modified().expect("a date");
    assert_eq!((date.year(), date.month(), date.day()), (2001, 9, 9));
    assert_eq!((date.hour(), date.minute(), date.second()), (1, 46, 40));
}

#[test]
fn what_may_not_be_had_is_left_out() {
    let (directory, outside) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let at = |name: &str| directory.path().join(name);
    fs::write(outside.path().join("secret"), "SECRET").expect("it is written");
    fs::create_dir_all(at("d/sub")).expect("it is made");
    fs::create_dir(at(".git")).expect("it is made");
    for name in ["f", "d/sub/g", ".hidden", ".git/HEAD", "f~", "d/f.bak"] {
        fs::write(at(name), name).expect("it is written");
    }
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    for (target, name) in [
        (Path::new("f"), "to-f"),
        (Path::new("d"), "to-d"),
        (Path::new(".."), "d/up"),
        (Path::new("."), "here"),
        (Path::new("round"), "round"),
        (Path::new("nowhere"), "lost"),
        (outside.path(), "out"),
        (&outside.path().join("secret"), "d/out"),
    ] {
        symlink(target, at(name)).expect("it is made");
    }
    let content = both(&mut serve_dir(directory.path()), "/");
    let expected = ["files/", "files/d/", "files/d/sub/", "files/d/sub/g", "files/f", "files/to-f"];
    assert_eq!(names(&content), expected);
    assert_eq!(content[&b"files/to-f"[..]].as_deref(), Some(&b"f"[..]));
}

#[test]
fn archives_may_be_switched_off_and_make_way_for_an_index() {
    let tree = tree_of(&[("/d/f", "f"), ("/e/index.html", "index")]);
    assert_eq!(Server::files(&tree).get("/e/?archive=tar", "").text(), "index");
    assert_eq!(Server::files(&tree).get("/d/f?archive=tar", "").text(), "f");
    let options = FilesOptions { archives: false, ..FilesOptions::default() };
    let mut server = serve(tree, options);
    assert_eq!(server.get("/d/?archive=tar", "").status, 403);
    assert_eq!(server.get("/d/", "").status, 200);
}

// What is bounded, and what fails.

#[test]
fn only_so_many_archives_are_made_at_once() {
    let tree = tree();
    put(&tree, "/d/f", &noise(1_000_000));
    let options = FilesOptions { archives_at_once: 2, ..FilesOptions::default() };
    let mut server = serve(tree, options);
    for _ in 0..3 {
        let peer = server.connect();
        peer.set_write_room(100);
        peer.send(get("/d/?archive=tar", "").repeat(3));
        server.h.run();
        let refused = server.get("/d/?archive=zip", "");
        assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("2")));
        assert_eq!(server.get("/d/", "").status, 200);
        peer.grant_all();
        server.h.run();
        assert_eq!(statuses(&answers(&peer.take())), [200, 200, 503]);
        // What was sent, asked about only, or left behind counts no more.
        let peer = server.connect();
        peer.set_write_room(100);
        peer.send(get("/d/?archive=tar", "").repeat(2));
        server.h.run();
        peer.reset();
        server.h.run();
        server.send(get("/d/?archive=zip", "").replace("GET", "HEAD"));
    }
}

#[test]
fn an_archive_that_is_not_taken_is_not_made() {
    let tree = Watched::new(tree());
    for n in 0..100 {
        put(tree.inside(), &format!("/d/{n:02}"), &noise(ARCHIVE_SMALL_BYTES));
    }
    let mut server = serve(tree.clone(), FilesOptions::default());
    for kind in ["tar", "zip"] {
        let before = tree.opens();
        let peer = server.connect();
        peer.set_write_room(100);
        peer.send(get(&format!("/d/?archive={kind}"), ""));
        server.h.run();
        // Two steps, and what the channel holds besides, behind the look for an index in all forms.
        let index = 1 + FilesOptions::default().neighbours.len();
        let files = (2 * (ARCHIVE_STEP_BYTES + ARCHIVE_SMALL_BYTES)).div_ceil(ARCHIVE_SMALL_BYTES);
        let opened = tree.opens() - before;
        let held = ARCHIVE_STEP_BYTES / ARCHIVE_SMALL_BYTES;
        assert!(opened <= index + files + held, "{opened}");
        peer.grant_all();
        server.h.run();
        assert!(tree.opens() - before >= 100);
    }
}

/// Makes an archive that must end in a reset.
#[track_caller]
fn aborted(server: &mut Server, target: &str) {
    let (peer, output) = server.send(get(target, ""));
    let answer = only(answers(&output));
    assert!(answer.status == 200 && !answer.whole, "{target}");
    assert_ended(&peer, Some(How::Reset));
}

#[test]
fn what_cannot_be_archived_whole_does_not_look_complete() {
    let tree = Watched::new(tree_of(&[("/d/f", "f"), ("/d/g", "g"), ("/d/h", "h")]));
    let mut server = serve(tree.clone(), FilesOptions::default());
    let targets = ["/d/?archive=tar", "/d/?archive=zip"];
    for target in targets {
        tree.lists.store(1, Ordering::Relaxed);
        aborted(&mut server, target);
        tree.lists.store(usize::MAX, Ordering::Relaxed);
        tree.sockets.store(ARCHIVE_ENTRIES, Ordering::Relaxed);
        aborted(&mut server, target);
        tree.sockets.store(100, Ordering::Relaxed);
        assert!(only(server.ask(get(target, ""))).whole);
    }
    // A file that cannot be read for no fault of its own.
    *tree.fails.lock().expect("nobody panics") = Some(ErrorKind::Io);
    for target in targets {
        aborted(&mut server, target);
    }
}

#[test]
fn a_tree_that_is_too_deep_ends_the_archive() {
    for (depth, whole) in [(ARCHIVE_DEPTH - 1, true), (ARCHIVE_DEPTH, false)] {
        let tree = tree_of(&[(&format!("/d{}/f", "/x".repeat(depth)), "f")]);
        let mut server = Server::files(&tree);
        for target in ["/d/?archive=tar", "/d/?archive=zip"] {
            if whole {
                assert!(server.get(target, "").whole, "{depth}");
            } else {
                aborted(&mut server, target);
            }
        }
    }
}

#[test]
fn a_zip_with_too_many_entries_is_refused_and_tar_is_not() {
    let tree = tree();
    let name = "n".repeat(200);
    let count = ZIP_DIRECTORY_BYTES / 255;
    for n in 0..count {
        put(&tree, &format!("/d/{name}{n}"), b"");
    }
    let mut server = Server::files(&tree);
    aborted(&mut server, "/d/?archive=zip");
    assert_eq!(untar(&server.get("/d/?archive=tar", "").body).len(), count + 1);
}

/// A client must not take what is missing for zeros, or one file for another.
#[test]
fn a_file_that_becomes_shorter_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("f");
    for (kind, whole) in [("tar", false), ("zip", true)] {
        fs::write(&file, noise(1_000_000)).expect("it is written");
        let mut server = serve_dir(directory.path());
        let peer = server.connect();
        peer.set_write_room(100_000);
        peer.send(get(&format!("/?archive={kind}"), ""));
        server.h.run();
        let opened = fs::File::options().write(true).open(&file).expect("it is there");
        opened.set_len(500_000).expect("it is cut");
        peer.grant_all();
        server.h.run();
        let answer = only(answers(&peer.received()));
        assert_eq!(answer.whole, whole, "{kind}");
        if whole {
            // Its length is said behind it.
            assert!(unzip(&answer.body)[&b"files/f"[..]] == Some(noise(500_000)));
        } else {
            assert_ended(&peer, Some(How::Reset));
        }
    }
}

/// A name in any alphabet, or in none.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![Just(b'a'), Just(b' '), Just(0xc3), Just(0xa4), any::<u8>()];
    let free = |bytes: &Vec<u8>| {
        let path = [b"/", &bytes[..]].concat();
        let parsed = medusa_fs::VirtualPath::parse(&path);
        parsed.is_ok_and(|p| {
            p.path.components().count() == 1 && !p.path.is_hidden() && !p.path.is_backup()
        })
    };
    prop_oneof![
        4 => prop::collection::vec(bytes, 1..20),
        1 => (90usize..256).prop_map(|len| vec![b'x'; len]),
    ]
    // The library that reads tar takes a line end in a long name for the end of the name.
    .prop_filter("one name that is shown", move |bytes| {
        !bytes.contains(&b'/') && !bytes.contains(&b'\n') && free(bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_tree_arrives_as_it_is(
        files in prop::collection::btree_map(
            prop::collection::vec(name(), 1..5),
            prop_oneof![3 => 0usize..2000, 1 => 60_000usize..200_000],
            1..12,
        ),
    ) {
        let tree: MemoryTree = tree();
        let mut expected = Content::new();
        for (path, size) in files {
            let path = path.join(&b'/');
            let at = medusa_fs::VirtualPath::parse(&[b"/d/", &path[..]].concat()).unwrap().path;
            let content = noise(size);
            // A file may stand where another needs a directory.
            if tree.insert(&at, content.clone()).is_ok() {
                expected.insert([b"d/", &path[..]].concat(), Some(content));
            }
        }
        let mut read = both(&mut Server::files(&tree), "/d/");
        read.retain(|_, content| content.is_some());
        prop_assert!(read == expected);
    }
}
