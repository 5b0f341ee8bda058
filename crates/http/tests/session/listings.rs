//! Directories without an index: the page and the JSON that list them.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use medusa_core::handle::JobLost;
use medusa_core::testing::How;
use medusa_http::FilesOptions;
use medusa_http::limits::{LISTING_ENTRIES, LISTING_FIRST_ENTRIES, STEP_BYTES};

use crate::files::{Watched, serve, serve_dir};
use crate::server::{
    Answer, Server, answers, answers_to, assert_ended, get, only, put, put_bytes, statuses, tree,
    tree_of,
};

/// What the names in the rows of a page link to, in order.
fn links(page: &Answer) -> Vec<String> {
    let rows = page.text().split_once("<tbody>").expect("a table").1;
    let links = rows.split("<a href=\"").skip(1).filter_map(|part| part.split('"').next());
    links.map(str::to_owned).collect()
}

/// A tree with so many files in `/d`.
fn many(count: usize) -> medusa_fs::MemoryTree {
    let tree = tree();
    for n in 0..count {
        put(&tree, &format!("/d/{n}"), b"");
    }
    tree
}

#[test]
fn a_page_shows_names_escaped() {
    let tree = tree();
    let names: [(&[u8], &str, &str); 11] = [
        (b"plain", "plain", "plain"),
        (b"a b", "a%20b", "a b"),
        (b"<script>", "%3Cscript%3E", "&lt;script&gt;"),
        (b"a&b", "a&amp;b", "a&amp;b"),
        (b"\"q\"", "%22q%22", "&quot;q&quot;"),
        (b"100%", "100%25", "100%"),
        (b"javascript:x", "javascript%3Ax", "javascript:x"),
        (b"\xff", "%FF", "\u{fffd}"),
        (b"a\nb", "a%0Ab", "a\u{fffd}b"),
        ("ä".as_bytes(), "%C3%A4", "ä"),
        ("x\u{202e}gpj".as_bytes(), "x%E2%80%AEgpj", "x\u{fffd}gpj"),
    ];
    for (name, ..) in names {
        put_bytes(&tree, &[b"/d/", name].concat(), b"content");
    }
    put(&tree, "/d/sub/f", b"");
    put(&tree, "/d/.hidden", b"");
    put(&tree, "/d/backup~", b"");
    let mut server = Server::files(&tree);
    let page = server.get("/d/", "");
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.field("Vary"), Some("Accept, Accept-Encoding"));
    let policy = page.field("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let text = page.text().to_owned();
    for (name, link, shown) in names {
        // An apostrophe or a quote must not end the attribute.
        let row = format!("<a href=\"{link}\">{shown}</a>");
        assert!(text.contains(&row), "{row} in {text}");
        let answer = server.get(&format!("/d/{}", link.replace("&amp;", "&")), "");
        assert_eq!(answer.text(), "content", "{}", name.escape_ascii());
    }
    assert!(text.contains("<a href=\"sub/\">sub/</a>"));
    assert!(!text.contains("hidden\"") && !text.contains("backup"));
    assert_eq!(text.matches("<script>").count(), 1, "the page's own");
    assert_eq!(links(&page)[0], "sub/", "directories come first");
    // Its head is that of a GET.
    let (_, output) = server.send(get("/d/", "").replace("GET", "HEAD"));
    let head = only(answers_to(&output, |_| true));
    assert_eq!(head.field("Content-Length"), page.field("Content-Length"));
    assert!(page.field("Content-Length").is_some());
}

#[test]
fn a_name_that_looks_like_markup_names_a_directory_safely() {
    let tree = tree();
    put_bytes(&tree, b"/<script>alert(1)<\x2fscript>/\"'&/f", b"");
    let mut server = Server::files(&tree);
    let page = server.get("/%3Cscript%3Ealert(1)%3C/script%3E/%22'&/", "");
    assert_eq!(page.status, 200);
    assert_eq!(page.text().matches("<script>").count(), 1);
    assert!(page.text().contains("&quot;'&amp;</span>"));
}

#[test]
fn breadcrumbs_lead_up() {
    let mut server = Server::files(&tree_of(&[("/a/b c/d/f", ""), ("/a/g", "")]));
    let text = server.get("/a/b%20c/d/", "").text().to_owned();
    let crumbs = "<h1><a href=\"../../../\">Home</a><i>/</i><a href=\"../../\">a</a><i>/</i>\
                  <a href=\"../\">b c</a><i>/</i><span aria-current=\"page\">d</span></h1>";
    assert!(text.contains(crumbs), "{text}");
    let root = server.get("/", "").text().to_owned();
    assert!(root.contains("<h1><span aria-current=\"page\">Home</span></h1>"), "{root}");
    assert!(!root.contains("../"));
}

#[test]
fn columns_sort_without_a_script() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, size, modified) in [("a", 3, 30), ("b10", 1, 20), ("b9", 2, 10)] {
        let path = directory.path().join(name);
        std::fs::write(&path, vec![b'x'; size]).expect("it is written");
        let file = std::fs::File::options().append(true).open(&path).expect("it is there");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(modified)).expect("its time is set");
    }
    std::fs::create_dir(directory.path().join("z")).expect("it is made");
    let mut server = serve_dir(directory.path());
    for (query, expected, head) in [
        (
            "",
            ["z/", "a", "b9", "b10"],
            "aria-sort=\"ascending\"><a href=\"?sort=name&amp;order=desc\"",
        ),
        ("?sort=name&order=desc", ["z/", "b10", "b9", "a"], "href=\"?sort=name&amp;order=asc\""),
        ("?sort=size", ["z/", "b10", "b9", "a"], "href=\"?sort=size&amp;order=desc\""),
        ("?sort=size&order=desc", ["z/", "a", "b9", "b10"], "href=\"?sort=size&amp;order=asc\""),
        ("?sort=time&x=y", ["z/", "b9", "b10", "a"], "href=\"?sort=time&amp;order=desc\""),
        ("?order=desc&sort=time", ["z/", "a", "b10", "b9"], "aria-sort=\"descending\""),
    ] {
        let page = server.get(&format!("/{query}"), "");
        assert_eq!(links(&page), expected, "{query}");
        assert!(page.text().contains(head), "{query}: {}", page.text());
        assert_eq!(page.text().matches("aria-sort=\"").count(), 1, "{query}");
    }
    for query in ["sort=date", "order=up", "format=yaml", "archive=rar"] {
        let answer = server.get(&format!("/?{query}"), "");
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains("is one of"), "{}", answer.text());
        assert_eq!(server.get(&format!("/a?{query}"), "").status, 200, "a file has no such query");
    }
}

#[test]
fn json_is_had_on_request() {
    let tree = tree();
    put_bytes(&tree, b"/d/\xff\"", b"123");
    put(&tree, "/d/s/f", b"");
    put(&tree, "/e/index.html", b"index");
    let mut server = Server::files(&tree);
    let json = "application/json";
    for (query, accept, expected) in [
        ("", "application/json", json),
        ("", "text/html;q=0.5, application/json", json),
        ("?format=json", "text/html", json),
        ("?format=json", "*/*", json),
        ("", "*/*", "text/html; charset=utf-8"),
        ("", "text/html, application/json", "text/html; charset=utf-8"),
        ("", "application/json;q=0.5, text/*", "text/html; charset=utf-8"),
        ("", "image/png", "text/html; charset=utf-8"),
        ("?format=html", "application/json", "text/html; charset=utf-8"),
    ] {
        let answer = server.get(&format!("/d/{query}"), &format!("Accept: {accept}\r\n"));
        assert_eq!(answer.field("Content-Type"), Some(expected), "{query} {accept}");
        assert_eq!(answer.field("Vary"), Some("Accept, Accept-Encoding"));
    }
    assert_eq!(
        server.get("/d/?format=json", "").text(),
        "[\n{\"name\":\"s\",\"href\":\"s/\",\"type\":\"directory\",\"size\":null,\
         \"modified\":\"2001-09-09T01:46:40Z\"},\n\
         {\"name\":\"\u{fffd}\\\"\",\"href\":\"%FF%22\",\"type\":\"file\",\"size\":3,\
         \"modified\":\"2001-09-09T01:46:40Z\"}\n]\n"
    );
    assert_eq!(server.get("/d/%FF%22", "").text(), "123");
    assert_eq!(server.get("/d/s/f?format=json", "").text(), "");
    assert_eq!(server.get("/e/", "Accept: application/json\r\n").text(), "index");
    let empty = tempfile::tempdir().expect("a directory");
    let mut server = serve_dir(empty.path());
    assert_eq!(server.get("/?format=json", "").text(), "[\n]\n");
    assert!(server.get("/", "").text().contains("This directory is empty."));
}

#[test]
fn the_first_index_that_is_there_stands_for_the_directory() {
    let tree = tree_of(&[
        ("/a/index.html", "html"),
        ("/a/index.htm", "htm"),
        ("/b/index.htm", "htm"),
        ("/c/default.txt", "txt"),
        ("/d/index.html/f", "a directory"),
        ("/d/default.txt", "txt"),
        ("/e/f", "f"),
    ]);
    let index = ["index.html", "index.htm", "default.txt"].map(Into::into).to_vec();
    let mut server = serve(tree.clone(), FilesOptions { index, ..FilesOptions::default() });
    for (path, body) in [("/a/", "html"), ("/b/", "htm"), ("/c/", "txt"), ("/d/", "txt")] {
        assert_eq!(server.get(path, "").text(), body, "{path}");
    }
    assert_eq!(links(&server.get("/e/", "")), ["f"]);
    // None at all.
    let mut server = serve(tree, FilesOptions { index: Vec::new(), ..FilesOptions::default() });
    assert_eq!(links(&server.get("/a/", "")), ["index.htm", "index.html"]);
}

#[test]
fn a_directory_may_be_kept_from_being_listed() {
    let options = FilesOptions { listings: false, ..FilesOptions::default() };
    let mut server = serve(tree_of(&[("/d/f", "f"), ("/e/index.html", "e")]), options);
    for query in ["", "?format=json", "?archive=tar", "?archive=rar"] {
        assert_eq!(server.get(&format!("/d/{query}"), "").status, 403);
    }
    assert_eq!(server.get("/d", "").status, 301);
    assert_eq!(server.get("/d/f", "").status, 200);
    assert_eq!(server.get("/e/", "").status, 200);
}

#[test]
fn a_page_offers_what_the_options_say() {
    let tree = tree_of(&[("/f", "f")]);
    for (archives, upload) in [(true, true), (true, false), (false, true), (false, false)] {
        let options = FilesOptions { archives, upload, ..FilesOptions::default() };
        let page = serve(tree.clone(), options).get("/", "");
        let form = "<form name=\"upload\" method=\"post\" enctype=\"multipart/form-data\">";
        assert_eq!(page.text().contains(form), upload);
        for link in ["?archive=tar", "?archive=zip"] {
            assert_eq!(page.text().contains(link), archives);
        }
    }
}

#[test]
fn links_show_what_they_lead_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), "12345").expect("it is written");
    std::fs::create_dir(at("sub")).expect("it is made");
    for (target, name) in [("file", "to-file"), ("sub", "to-sub"), ("/etc", "out"), ("x", "lost")] {
        symlink(target, at(name)).expect("it is made");
    }
    let mut server = serve_dir(directory.path());
    assert_eq!(links(&server.get("/", "")), ["sub/", "to-sub/", "file", "to-file"]);
    let json = server.get("/?format=json", "").text().to_owned();
    assert_eq!(json.matches("\"size\":5").count(), 2, "{json}");
}

// Large ones.

#[test]
fn a_huge_directory_is_listed_up_to_a_limit() {
    let tree = many(LISTING_ENTRIES + 1);
    let mut server = Server::files(&tree);
    let page = server.get("/d/", "");
    assert!(page.whole);
    assert_eq!(links(&page).len(), LISTING_ENTRIES);
    assert!(page.text().contains("Only the first 50,000 entries"));
    let json = server.get("/d/?format=json", "");
    assert!(json.text().ends_with("},\n{\"type\":\"truncated\",\"entries\":50000}\n]\n"));
    assert_eq!(json.text().matches("\"type\":\"file\"").count(), LISTING_ENTRIES);
}

#[test]
fn a_listing_is_the_same_however_it_is_taken() {
    // Around the number from which on it is read behind the head.
    for count in [0, 1, LISTING_FIRST_ENTRIES - 1, LISTING_FIRST_ENTRIES, LISTING_FIRST_ENTRIES + 1]
    {
        let tree = many(count.max(1));
        if count == 0 {
            put(&tree, "/d/.hidden", b"");
        }
        let mut server = Server::files(&tree);
        let page = server.get("/d/?sort=name", "");
        let expected: Vec<String> = (0..count.max(1)).map(|n| n.to_string()).collect();
        assert_eq!(links(&page), expected);
        for room in [1000, 10_000, 100_000] {
            let peer = server.connect();
            peer.set_write_room(0);
            peer.send(get("/d/?sort=name", ""));
            let mut output = Vec::new();
            while !answers(&output).first().is_some_and(|answer| answer.whole) {
                peer.grant(room);
                server.h.run();
                output.extend(peer.take());
            }
            assert_eq!(only(answers(&output)).body, page.body, "{count} {room}");
        }
    }
}

#[test]
fn a_large_listing_begins_before_the_directory_is_read() {
    let mut server = Server::files(&many(LISTING_FIRST_ENTRIES + 1));
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send(get("/d/", "") + &get("/d/0", ""));
    server.h.run();
    assert_eq!(peer.take(), b"");
    server.h.run_job(0);
    server.h.run();
    let output = peer.received();
    let page = only(answers(&output));
    assert!(!page.whole && page.status == 200);
    assert!(page.text().contains("Index of /d") && page.text().ends_with("<tbody>\n"));
    while server.h.jobs() > 0 {
        server.h.run_jobs();
        server.h.run();
    }
    let all = answers(&peer.take());
    assert!(all.iter().all(|answer| answer.whole) && statuses(&all) == [200, 200]);
    assert_eq!(links(&all[0]).len(), LISTING_FIRST_ENTRIES + 1);
}

#[test]
fn what_is_not_read_to_its_end_does_not_look_complete() {
    let tree = Watched::new(many(2 * LISTING_FIRST_ENTRIES));
    // At the beginning there is a status for it.
    tree.lists.store(LISTING_FIRST_ENTRIES - 1, Ordering::Relaxed);
    let mut server = serve(tree.clone(), FilesOptions::default());
    assert_eq!(server.get("/d/", "").status, 500);
    tree.lists.store(LISTING_FIRST_ENTRIES + 1, Ordering::Relaxed);
    for query in ["", "?format=json"] {
        let (peer, output) = server.send(get(&format!("/d/{query}"), ""));
        assert!(!only(answers(&output)).whole);
        assert_ended(&peer, Some(How::Reset));
    }
    // The helper threads have no room for it.
    tree.lists.store(usize::MAX, Ordering::Relaxed);
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send(get("/d/", ""));
    server.h.run();
    server.h.run_job(0);
    server.h.run();
    server.h.lose_job(0, JobLost::QueueFull);
    server.h.run();
    assert_ended(&peer, Some(How::Reset));
}

#[test]
fn a_listing_that_is_not_taken_is_not_made() {
    let mut server = Server::files(&many(20 * LISTING_FIRST_ENTRIES));
    let peer = server.connect();
    peer.set_write_room(100);
    peer.send(get("/d/", ""));
    server.h.run();
    // What is made: the head, and what the channel and two steps hold.
    let before = peer.received().len();
    peer.grant_all();
    server.h.run();
    let whole = peer.received().len();
    assert!(before <= 100 && whole > 10 * STEP_BYTES, "{before} {whole}");
    // Dropped between two steps.
    let peer = server.connect();
    peer.set_write_room(100);
    peer.send(get("/d/", ""));
    server.h.run();
    peer.reset();
    server.h.run();
    assert_eq!(server.h.jobs(), 0);
}

/// Each connection could have as many large listings made as its pipeline is deep.
#[test]
fn listings_that_nobody_reads_do_not_fill_the_memory() {
    let tree = many(1000);
    put(&tree, "/f", b"content");
    // Two of them: the names and rows, and two steps each.
    let listing_bytes = 2 * (1000 * 27 + 2 * STEP_BYTES);
    let options = FilesOptions { listing_bytes, ..FilesOptions::default() };
    let mut server = serve(tree, options);
    let peer = server.connect();
    peer.set_write_room(100);
    peer.send(get("/d/", "").repeat(4) + &get("/f", "") + &get("/d/", ""));
    server.h.run();
    let other = server.get("/d/", "");
    assert_eq!((other.status, server.get("/f", "").status), (503, 200));
    assert_eq!(other.field("Retry-After"), Some("2"));
    peer.grant_all();
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 200, 503, 503, 200, 503]);
    // What has been sent, was dropped with its client, or was only asked about, counts no more.
    for _ in 0..10 {
        assert_eq!(server.get("/d/", "").status, 200);
        let (_, output) = server.send(get("/d/", "").replace("GET", "HEAD"));
        assert_eq!(only(answers_to(&output, |_| true)).status, 200);
        let peer = server.connect();
        peer.set_write_room(100);
        peer.send(get("/d/", "").repeat(2));
        server.h.run();
        peer.reset();
        server.h.run();
    }
}

#[test]
fn short_pages_that_nobody_reads_are_counted_too() {
    let mut names = String::new();
    let tree = tree();
    for n in 0..50 {
        write!(names, "{n} ").expect("a string takes everything");
        put(&tree, &format!("/d/{n}"), b"");
    }
    let page = Server::files(&tree).get("/d/", "").body.len();
    assert!(page < STEP_BYTES);
    let options = FilesOptions { listing_bytes: page * 5 / 2, ..FilesOptions::default() };
    let mut server = serve(tree, options);
    let peer = server.connect();
    peer.set_write_room(100);
    peer.send(get("/d/", "").repeat(4));
    server.h.run();
    peer.grant_all();
    server.h.run();
    assert_eq!(statuses(&answers(&peer.take())), [200, 200, 503, 503]);
}
