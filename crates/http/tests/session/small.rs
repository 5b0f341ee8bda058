//! The small extensions: redirect, rewrite, header, access, fixed, error pages, user directories,
//! and the guard around them.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medusa_core::Peer as Address;
use medusa_core::sys::users::User;
use medusa_fs::{Identity, MemoryTree, Persona, VirtualPath};
use medusa_http::extensions::access::{AccessRule, Action};
use medusa_http::extensions::error_pages::{ErrorPage, MAX_ERROR_PAGE};
use medusa_http::extensions::headers::{Change, HeaderRule, On};
use medusa_http::extensions::user_directories::{
    MAX_KEPT_USERS, MAX_USER_LOOKUPS, USER_LASTS, UserDirectoriesOptions,
};
use medusa_http::extensions::{
    Access, ErrorPages, Fixed, Headers, Redirect, Rewrite, UserDirectories, When,
};
use medusa_http::pattern::Pattern;
use medusa_http::wire::head::Method;
use medusa_http::{Body, Extension, Handled, Reply};

use crate::server::{
    Answer, Server, answers, answers_to, at, echo, files, get, now, only, post, put, says,
    statuses, tree_of,
};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}

fn redirect(from: &str, to: &str, status: u16) -> Rc<dyn Extension> {
    Rc::new(Redirect::new(pattern(from), to, status).expect(to))
}

/// Answers with target and some fields that it sees.
fn tells() -> Rc<dyn Extension> {
    at("/", |request, _| {
        let mut told = request.head.target.raw().to_owned();
        for (name, value) in request.head.fields.iter().filter(|(name, _)| name.starts_with("X-")) {
            write!(told, " {name}={}", value.escape_ascii()).expect("a string takes everything");
        }
        Handled::Now(says(told))
    })
}

#[test]
fn a_guard_lets_paths_and_methods_through() {
    let guarded =
        When::new(pattern("/a/"), now("/", "guarded")).methods(vec![Method::Get, Method::Head]);
    assert_eq!(guarded.name(), "/");
    let named = When::new(pattern("/"), now("/only", "only")).named("other");
    assert_eq!(named.name(), "other");
    let mut server = Server::new(vec![Rc::new(guarded), Rc::new(named), now("/", "rest")]);
    for (request, text) in [
        (get("/a", ""), "guarded"),
        (get("/%61/../a//b", ""), "guarded"),
        (get("/b", ""), "rest"),
        (post("/a/", ""), "rest"),
        (get("/only", ""), "only"),
    ] {
        assert_eq!(only(server.ask(&request)).text(), text, "{request}");
    }
}

#[test]
fn redirects_say_where_to() {
    let mut server = Server::new(vec![
        redirect("/old/*", "/new/$1", 301),
        redirect("/host/*", "https://example.org/$1", 302),
        redirect("/all/", "http://example.org$0", 307),
        redirect("/query/*", "/q?a=$1", 308),
        redirect("/x**y", "/$1", 301),
        now("/", "rest"),
    ]);
    for (target, status, location) in [
        ("/old/a/b/", 301, "/new/a/b/"),
        ("/old/a?b=c&d", 301, "/new/a?b=c&d"),
        ("/old", 301, "/new/"),
        ("/old/%0d%0aSet-Cookie:%20x", 301, "/new/%0D%0ASet-Cookie%3A%20x"),
        ("/host/a?b", 302, "https://example.org/a?b"),
        ("/host//evil.example", 302, "https://example.org/evil.example"),
        ("/host/.evil.example", 302, "https://example.org/.evil.example"),
        ("/host/@evil.example", 302, "https://example.org/%40evil.example"),
        ("/all/a", 307, "http://example.org/all/a"),
        ("/query/a&b=c?d", 308, "/q?a=a%26b%3Dc"),
        // What would begin with two slashes, or with what browsers take for them.
        ("/x/evil.example/y", 301, "/evil.example/"),
        ("/x%2Fevil.example/y", 301, "/evil.example/"),
        ("/x%5Cevil.example/y", 301, "/%5Cevil.example/"),
        ("/old/%2F%2Fevil.example", 301, "/new/evil.example"),
        ("/old/%5C%5Cevil.example", 301, "/new/%5C%5Cevil.example"),
        ("/old/%09/evil.example", 301, "/new/%09/evil.example"),
    ] {
        let answer = server.get(target, "");
        assert_eq!((answer.status, answer.field("Location")), (status, Some(location)), "{target}");
        assert!(answer.field("Set-Cookie").is_none());
    }
    let host = only(server.ask("GET http://other/old/a HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(host.field("Location"), Some("/new/a"));
    for target in ["/older", "/../old/x"] {
        assert_eq!(server.get(target, "").text(), "rest", "{target}");
    }
    let options = only(server.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(options.status, 404);
}

#[test]
fn a_rewritten_request_goes_on_for_the_other_path() {
    let rewrite = |from: &str, to: &str| -> Rc<dyn Extension> {
        Rc::new(Rewrite::new(pattern(from), to).expect(to))
    };
    let mut server = Server::new(vec![
        rewrite("/a/*", "/b/$1"),
        rewrite("/b/*.html", "/c/$1?from=$0"),
        rewrite("/x**y", "/$1"),
        echo("/b/echo"),
        tells(),
    ]);
    for (target, seen) in [
        ("/a/x?q", "/b/x?q"),
        ("/a/%20%25%2e", "/b/%20%25."),
        ("/a/n.html?q", "/c/n?from=/b/n.html"),
        ("/x/evil/y", "/evil/"),
        ("/c", "/c"),
    ] {
        assert_eq!(server.get(target, "").text(), seen, "{target}");
    }
    let all = server.ask(post("/a/echo", "hello") + &get("/a/echo", ""));
    assert_eq!(all.iter().map(Answer::text).collect::<Vec<_>>(), ["5:hello", "0:"]);
    let long = format!("/a/{}", "%FF".repeat(250));
    assert_eq!(server.get(&long, "").text(), long.replace("/a/", "/b/"));
}

#[test]
fn fields_of_requests_and_replies_are_changed() {
    let rule =
        |on: On, name: &str, change: Change| HeaderRule { on, name: name.to_owned(), change };
    let all = || On::Reply(100..=999);
    let headers = Headers::new(vec![
        rule(On::Request, "X-Set", Change::Set("1".into())),
        rule(On::Request, "X-Add", Change::Add("2".into())),
        rule(On::Request, "X-Gone", Change::Remove),
        rule(all(), "ETag", Change::Remove),
        rule(all(), "Content-Type", Change::Set("text/x".into())),
        rule(all(), "X-Frame-Options", Change::Add("DENY".into())),
        rule(On::Reply(400..=499), "X-Error", Change::Set("yes".into())),
    ]);
    let headers: Rc<dyn Extension> = Rc::new(headers.expect("they may be changed"));
    let tree = tree_of(&[("/a.txt", "content")]);
    let served = When::new(pattern("*.txt"), files(&tree));
    let mut server = Server::new(vec![headers, Rc::new(served), tells()]);
    let told = server.get("/", "X-Add: 0\r\nX-Set: 0\r\nX-Gone: 0\r\nX-Set: 3\r\n");
    assert_eq!(told.text(), "/ X-Add=0 X-Set=1 X-Add=2");
    for target in ["/a.txt", "/a.txt", "/none.txt"] {
        let answer = server.get(target, "");
        assert_eq!(answer.field("ETag"), None, "{target}");
        assert_eq!(answer.field("Content-Type"), Some("text/x"));
        assert_eq!(answer.field("X-Frame-Options"), Some("DENY"));
        assert_eq!(answer.field("X-Error").is_some(), answer.status == 404);
    }
    assert_eq!(server.get("/a.txt", "").text(), "content");
}

#[test]
fn access_is_decided_by_address_and_method() {
    let rule = |action, from: &str, methods: &[Method]| AccessRule {
        action,
        from: from.parse().expect(from),
        methods: methods.to_vec(),
    };
    let rules = vec![
        rule(Action::Allow, "198.51.100.0/24", &[]),
        rule(Action::Allow, "2001:db8::/32", &[Method::Get]),
        rule(Action::Allow, "unix", &[]),
    ];
    let access = Access::new(rules, Action::Deny).expect("they are few");
    let guard = When::new(pattern("/private/"), Rc::new(access));
    let mut server = Server::new(vec![Rc::new(guard), echo("/private/echo"), now("/", "in")]);
    let six = |text: &str| Address::V6(text.parse::<std::net::Ipv6Addr>().expect(text).octets(), 1);
    for (from, request, status) in [
        (Address::V4([198, 51, 100, 7].into(), 1), get("/private/", ""), 200),
        (six("::ffff:198.51.100.7"), get("/private/", ""), 200),
        (Address::V4([198, 51, 101, 7].into(), 1), get("/private/", ""), 403),
        (Address::V4([198, 51, 101, 7].into(), 1), get("/%70rivate", ""), 403),
        (Address::V4([198, 51, 101, 7].into(), 1), get("/public", ""), 200),
        (six("2001:db8::1"), get("/private/x", ""), 200),
        (six("2001:db8::1"), post("/private/echo", "x"), 403),
        (six("2001:db9::1"), get("/private/x", ""), 403),
        (Address::Unix, post("/private/echo", "x"), 200),
        (Address::Unknown, get("/private/x", ""), 403),
    ] {
        let peer = server.h.accept_from(&server.service, from).expect("it accepts");
        peer.send(&request);
        server.h.run();
        assert_eq!(only(answers(&peer.take())).status, status, "{from:?} {request}");
    }
}

#[test]
fn a_fixed_answer_is_the_same_for_all() {
    let fixed = Fixed::new(503, "text/html; charset=utf-8", "<p>Later.").expect("it can be sent");
    let mut server = Server::new(vec![Rc::new(fixed)]);
    for request in [get("/", ""), post("/x", "body"), get("/../y", "")] {
        let answer = only(server.ask(request));
        assert_eq!((answer.status, answer.text()), (503, "<p>Later."));
        assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    }
    let (_, output) = server.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = only(answers_to(&output, |_| true));
    assert_eq!((answer.field("Content-Length"), answer.text()), (Some("9"), ""));
    let empty = Fixed::new(204, "text/plain", "").expect("it can be sent");
    assert_eq!(Server::new(vec![Rc::new(empty)]).get("/", "").status, 204);
}

/// Pages of `tree`: 404, and all that is the server's fault.
fn pages(tree: &MemoryTree) -> Rc<dyn Extension> {
    let page = |statuses, path: &str| ErrorPage {
        statuses,
        path: VirtualPath::parse(path.as_bytes()).expect(path).path,
    };
    let list = vec![page(404..=404, "/404.html"), page(500..=599, "/5xx.txt")];
    let tree = Arc::new(tree.clone());
    Rc::new(ErrorPages::new(tree, Persona::Process, list).expect("they are for errors"))
}

#[test]
fn error_pages_take_the_place_of_the_servers_words_and_of_nothing_else() {
    let tree = tree_of(&[("/404.html", "<p>Lost?"), ("/5xx.txt", "Ouch."), ("/a", "a")]);
    let own = at("/own", |_, _| Handled::Now(Reply::new(404).body(Body::Bytes("{}".into()))));
    let panics = at("/panics", |_, _| panic!("as planned"));
    let mut server = Server::new(vec![pages(&tree), own, panics, files(&tree)]);
    server.h.hold_jobs();
    let peer = server.connect();
    peer.send(get("/none", "") + &get("/a", ""));
    server.h.run();
    assert_eq!(peer.take(), b"", "the first request waits until the pages are read");
    server.h.run_jobs();
    server.h.run();
    let all = answers(&peer.take());
    assert_eq!(statuses(&all), [404, 200]);
    for (target, status, text, kind) in [
        ("/none", 404, "<p>Lost?", Some("text/html; charset=utf-8")),
        ("/panics", 500, "Ouch.", Some("text/plain; charset=utf-8")),
        ("/own", 404, "{}", None),
        ("/a", 200, "a", Some("application/octet-stream")),
    ] {
        let answer = server.get(target, "");
        assert_eq!((answer.status, answer.text()), (status, text), "{target}");
        assert_eq!(answer.field("Content-Type"), kind, "{target}");
    }
    let refused = only(server.ask(post("/a", "")));
    assert_eq!(refused.text(), "405 Method Not Allowed: this resource can be read only\n");
    let (_, output) = server.send("HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = only(answers_to(&output, |_| true));
    assert_eq!((head.status, head.field("Content-Length")), (404, Some("8")));
}

#[test]
fn error_pages_that_change_come_and_go_are_noticed() {
    let tree = tree_of(&[("/404.html", "old")]);
    let mut server = Server::new(vec![pages(&tree), now("/now", "now")]);
    let text = |server: &mut Server| server.get("/none", "").text().to_owned();
    assert_eq!(text(&mut server), "old");
    put(&tree, "/404.html", b"new");
    assert_eq!(text(&mut server), "old", "it is read again behind this answer");
    assert_eq!(text(&mut server), "new");
    put(&tree, "/404.html", &vec![b'x'; MAX_ERROR_PAGE + 1]);
    text(&mut server);
    assert!(text(&mut server).starts_with("404 Not Found"), "it is too large");
    put(&tree, "/404.html", &vec![b'x'; MAX_ERROR_PAGE]);
    assert!(text(&mut server).starts_with("404 Not Found"));
    server.h.advance(Duration::from_secs(2));
    text(&mut server);
    assert_eq!(text(&mut server).len(), MAX_ERROR_PAGE);
}

/// The text for whatever is not there.
const NOTHING: &str = "404 Not Found: there is nothing at this path\n";

/// A home with this file in its `public_html`, which only its user may read.
fn home(root: &Path, name: &str, uid: u32) -> User {
    let home = root.join(name);
    let shown = home.join("public_html");
    std::fs::create_dir_all(shown.join("sub")).expect("it can be made");
    std::fs::write(shown.join("mine.txt"), name).expect("it can be written");
    std::fs::write(shown.join("others.txt"), name).expect("it can be written");
    std::fs::write(home.join("secret"), "secret").expect("it can be written");
    std::os::unix::fs::symlink("../secret", shown.join("link")).expect("it can be made");
    for path in [&home, &shown, &shown.join("sub"), &shown.join("mine.txt")] {
        std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("only root comes here");
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    }
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(shown.join("others.txt"), private).expect("ours");
    let identity = Identity { uid, gid: uid, groups: vec![uid], umask: 0o022 };
    User { identity, home, shell: "/bin/sh".into(), password: "x".into() }
}

fn needs_root(test: &str) -> bool {
    use std::io::Write as _;
    let root = std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        // Past the capture of output, so that skipped tests can be counted.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: needs root");
    }
    !root
}

#[test]
fn user_directories_are_served_as_their_users() {
    if needs_root("user_directories_are_served_as_their_users") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let users: Vec<_> = [("ann", 23_001), ("bob", 23_002), ("daemon", 999)]
        .map(|(name, uid)| (name, home(root.path(), name, uid)))
        .into();
    let empty = User { home: root.path().join("nowhere"), ..users[0].1.clone() };
    let as_root =
        User { identity: Identity { uid: 0, ..users[0].1.identity.clone() }, ..users[0].1.clone() };
    let look_up = move |name: &str| {
        Ok(match name {
            "empty" => Some(empty.clone()),
            "root" => Some(as_root.clone()),
            "broken" => return Err(std::io::Error::other("as planned")),
            _ => users.iter().find(|(other, _)| *other == name).map(|(_, user)| user.clone()),
        })
    };
    let all = look_up.clone();
    let options = UserDirectoriesOptions::default();
    let directories = UserDirectories::with_users(options, look_up).expect("they can be served");
    let mut server = Server::new(vec![Rc::new(directories), now("/", "rest")]);
    for (target, status, text) in [
        ("/~ann/mine.txt", 200, "ann"),
        ("/%7Ebob/sub/../mine.txt", 200, "bob"),
        ("/~ann/others.txt", 403, "403 Forbidden: this may not be read\n"),
        ("/~ann/link", 404, NOTHING),
        ("/~ann/../~bob/mine.txt", 200, "bob"),
        ("/~ann/%2e%2e/secret", 200, "rest"),
        ("/~ann/none", 404, NOTHING),
        ("/~nobody-here/", 404, NOTHING),
        ("/~empty/", 404, NOTHING),
        ("/~daemon/mine.txt", 404, NOTHING),
        ("/~root/mine.txt", 404, NOTHING),
        ("/~broken/mine.txt", 404, NOTHING),
        ("/ann/mine.txt", 200, "rest"),
        ("/~/x", 200, "rest"),
    ] {
        for _ in 0..2 {
            let answer = server.get(target, "");
            assert_eq!((answer.status, answer.text()), (status, text), "{target}");
        }
    }
    assert_eq!(server.get("/~ann", "").field("Location"), Some("/~ann/"));
    assert_eq!(server.get("/~ann/sub?q", "").field("Location"), Some("/~ann/sub/?q"));
    let listing = server.get("/~ann/", "");
    assert!(listing.status == 200 && listing.text().contains("mine.txt"));
    let range = server.get("/~ann/mine.txt", "Range: bytes=1-1\r\n");
    assert_eq!((range.status, range.text()), (206, "n"));

    let options = UserDirectoriesOptions { min_uid: 0, ..UserDirectoriesOptions::default() };
    let directories = UserDirectories::with_users(options, all).expect("they can be served");
    let mut server = Server::new(vec![Rc::new(directories)]);
    assert_eq!(server.get("/~daemon/mine.txt", "").text(), "daemon");
    assert_eq!(server.get("/~root/mine.txt", "").text(), NOTHING, "root never is");
}

#[test]
fn users_are_looked_up_once_until_that_is_forgotten() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let look_up = move |_: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    };
    let options = UserDirectoriesOptions::default();
    let directories = UserDirectories::with_users(options, look_up).expect("they can be served");
    let mut server = Server::new(vec![Rc::new(directories)]);
    server.h.hold_jobs();
    let peers: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for peer in &peers {
        peer.send(get("/~ann/", ""));
    }
    server.h.run();
    server.h.run_jobs();
    server.h.run();
    for peer in &peers {
        assert_eq!(only(answers(&peer.take())).text(), NOTHING);
    }
    server.get("/~ann/x", "");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    server.h.advance(USER_LASTS);
    peers[0].send(get("/~ann/x", ""));
    server.h.run();
    server.h.run_jobs();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn look_ups_and_what_they_found_are_bounded() {
    let options = UserDirectoriesOptions::default();
    let directories = UserDirectories::with_users(options, |_| Ok(None)).expect("they can be");
    let mut server = Server::new(vec![Rc::new(directories)]);
    server.h.hold_jobs();
    let peers: Vec<_> = (0..=MAX_USER_LOOKUPS)
        .map(|n| {
            let peer = server.connect();
            peer.send(get(&format!("/~u{n}/"), ""));
            server.h.run();
            peer
        })
        .collect();
    let (last, others) = peers.split_last().expect("there are some");
    assert_eq!(only(answers(&last.take())).status, 503);
    server.h.run_jobs();
    server.h.run();
    for peer in others {
        assert_eq!(only(answers(&peer.take())).status, 404);
    }
}

#[test]
fn the_user_that_was_asked_for_longest_ago_is_forgotten() {
    if needs_root("the_user_that_was_asked_for_longest_ago_is_forgotten") {
        return;
    }
    let root = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let user = home(root.path(), "all", 23_003);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let look_up = move |_: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Some(user.clone()))
    };
    let options = UserDirectoriesOptions::default();
    let directories = UserDirectories::with_users(options, look_up).expect("they can be served");
    let mut server = Server::new(vec![Rc::new(directories)]);
    let mut ask = |n: usize| {
        assert_eq!(server.get(&format!("/~u{n}/mine.txt"), "").text(), "all");
        asked.load(Ordering::Relaxed)
    };
    for n in 0..MAX_KEPT_USERS {
        assert_eq!(ask(n), n + 1);
    }
    assert_eq!(ask(0), MAX_KEPT_USERS);
    assert_eq!(ask(MAX_KEPT_USERS), MAX_KEPT_USERS + 1);
    assert_eq!(ask(0), MAX_KEPT_USERS + 1, "it was asked for lately");
    assert_eq!(ask(1), MAX_KEPT_USERS + 2, "it was forgotten");
}
