//! The small extensions over real sockets: each of them once, in a server of this process.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use medusa_core::reactor::ListenOptions;
use medusa_core::remote::Remote;
use medusa_core::sys::users::User;
use medusa_core::{Address, ChannelSettings, Reactor, Settings};
use medusa_fs::{FileSystem, Identity, LocalTree, Persona, TreeOptions, VirtualPath};
use medusa_http::extensions::access::{AccessRule, Action};
use medusa_http::extensions::error_pages::ErrorPage;
use medusa_http::extensions::headers::{Change, HeaderRule, On};
use medusa_http::extensions::user_directories::UserDirectoriesOptions;
use medusa_http::extensions::{
    Access, ErrorPages, Fixed, Headers, Redirect, Rewrite, UserDirectories, When,
};
use medusa_http::hosts::Unknown;
use medusa_http::pattern::Pattern;
use medusa_http::{
    Extension, Extensions, Files, FilesOptions, Host, Hosts, HttpService, HttpSettings,
};
use server::{Answer, PATIENCE, answers, get};

/// A server on a thread of this process, stopped when the test is over.
struct Here {
    address: String,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Here {
    /// Serves the hosts that `make` makes on the server's thread.
    fn serve(make: impl FnOnce() -> Hosts + Send + 'static) -> Self {
        let (say, hear) = channel();
        let thread = std::thread::spawn(move || {
            let mut reactor = Reactor::new(Settings::default()).expect("a loop");
            let service =
                HttpService::new(make(), HttpSettings::default(), ChannelSettings::default(), None);
            let any: Address = "127.0.0.1:0".parse().expect("an address");
            let options = ListenOptions::default();
            let (_, bound) = reactor.listen(&any, Rc::new(service), options).expect("a free port");
            say.send((bound.to_string(), reactor.remote())).expect("the test waits");
            reactor.run().expect("it runs");
        });
        let (address, remote) = hear.recv_timeout(PATIENCE).expect("it starts");
        Self { address, remote, thread: Some(thread) }
    }

    fn ask(&self, input: impl AsRef<[u8]>) -> Vec<Answer> {
        let mut client = TcpStream::connect(&self.address).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        client.write_all(input.as_ref()).expect("it reads");
        client.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut output = Vec::new();
        client.read_to_end(&mut output).expect("it answers and closes");
        answers(&output)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let told = self.remote.call(|handle| handle.shutdown(Duration::ZERO));
        if told.is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic of its own has been shown.
            let _ = thread.join();
        }
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}

fn tree(root: &Path) -> Arc<dyn FileSystem> {
    Arc::new(LocalTree::open(root, TreeOptions::default()).expect("a directory"))
}

/// One of each, over this directory.
fn all(root: &Path) -> Vec<Rc<dyn Extension>> {
    let tree = tree(root);
    let page = ErrorPage {
        statuses: 404..=404,
        path: VirtualPath::parse(b"/404.html").expect("a path").path,
    };
    let fields = vec![
        HeaderRule {
            on: On::Reply(100..=999),
            name: "X-Frame-Options".into(),
            change: Change::Set("DENY".into()),
        },
        HeaderRule { on: On::Request, name: "Range".into(), change: Change::Remove },
    ];
    let deny = AccessRule {
        action: Action::Deny,
        from: "127.0.0.0/8".parse().expect("a network"),
        methods: vec![],
    };
    let access = Access::new(vec![deny], Action::Allow).expect("few rules");
    let fixed = Fixed::new(410, "text/plain", "gone").expect("it can be sent");
    let users = root.to_owned();
    let look_up = move |name: &str| {
        let identity = Identity { uid: 23_001, gid: 23_001, groups: vec![], umask: 0o022 };
        Ok((name == "ann").then(|| User {
            identity,
            home: users.clone(),
            shell: "/bin/sh".into(),
            password: "x".into(),
        }))
    };
    let users = UserDirectories::with_users(UserDirectoriesOptions::default(), look_up);
    vec![
        Rc::new(Headers::new(fields).expect("they may be changed")),
        Rc::new(ErrorPages::new(tree.clone(), Persona::Process, vec![page]).expect("few pages")),
        Rc::new(When::new(pattern("/private/"), Rc::new(access))),
        Rc::new(Redirect::new(pattern("/old/*"), "/new/$1", 308).expect("a target")),
        Rc::new(When::new(pattern("*.bak"), Rc::new(fixed))),
        Rc::new(Rewrite::new(pattern("/alias/*"), "/$1").expect("a target")),
        Rc::new(users.expect("a directory beneath homes")),
        Rc::new(Files::new(tree, Persona::Process, FilesOptions::default())),
    ]
}

fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("ours");
    fs::create_dir(root.join("public_html")).expect("it is made");
    for (name, text) in
        [("f.txt", "content"), ("404.html", "<p>Lost?"), ("public_html/hers", "hers")]
    {
        fs::write(root.join(name), text).expect("it is written");
    }
    directory
}

#[test]
fn extensions_work_together() {
    let directory = directory();
    let root = directory.path().to_owned();
    let server = Here::serve(move || Hosts::from(Rc::new(Extensions::new(all(&root)))));
    let ranged = get("/f.txt").replace("\r\n\r\n", "\r\nRange: bytes=0-0\r\n\r\n");
    let input = [
        get("/f.txt"),
        ranged,
        get("/none"),
        get("/private/f.txt"),
        get("/old/a%20b?q"),
        get("/x/y.bak"),
        get("/alias/f.txt"),
        get("/~bob/hers"),
    ];
    let answers = server.ask(input.concat());
    let told: Vec<_> = answers
        .iter()
        .map(|answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
        .collect();
    let moved = "308 Permanent Redirect: what you ask for is at /new/a%20b?q\n";
    let expected = [
        (200, "content"),
        (200, "content"),
        (404, "<p>Lost?"),
        (403, "403 Forbidden: this is not for you\n"),
        (308, moved),
        (410, "gone"),
        (200, "content"),
        (404, "<p>Lost?"),
    ];
    assert_eq!(told, expected.map(|(status, text)| (status, text.to_owned())));
    for answer in &answers {
        assert_eq!(answer.field("X-Frame-Options"), Some("DENY"), "{answer:?}");
    }
}

#[test]
fn user_directories_are_served() {
    let test = "user_directories_are_served";
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: needs root");
        return;
    }
    let directory = directory();
    let root = directory.path().to_owned();
    let server = Here::serve(move || Hosts::from(Rc::new(Extensions::new(all(&root)))));
    let answers = server.ask(get("/~ann") + &get("/~ann/hers") + &get("/%7Eann/"));
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [301, 200, 200]);
    assert_eq!(answers[0].field("Location"), Some("/~ann/"));
    assert_eq!(answers[1].body, b"hers");
    assert!(String::from_utf8_lossy(&answers[2].body).contains("hers"));
}

/// Real users are asked for through the C library.
#[test]
fn root_has_no_user_directory() {
    let server = Here::serve(|| {
        let users = UserDirectories::new(UserDirectoriesOptions::default());
        Hosts::from(Rc::new(Extensions::new(vec![Rc::new(users.expect("as it is"))])))
    });
    let answers = server.ask(get("/~root/") + &get("/~no-such-user/"));
    assert_eq!((answers[0].status, answers[1].status), (404, 404));
    assert_eq!(answers[0].body, answers[1].body);
}

#[test]
fn hosts_are_served_by_name() {
    let server = Here::serve(|| {
        let host = |name: &str, text: &'static str| Host {
            name: name.to_owned(),
            names: vec![name.to_owned()],
            extensions: Rc::new(Extensions::new(vec![Rc::new(
                Fixed::new(200, "text/plain", text).expect("it can be sent"),
            )])),
        };
        let list = vec![host("example.org", "exact"), host("*.example.org", "below")];
        Hosts::new(list).expect("two names").with_unknown(Unknown::Misdirected)
    });
    let to = |host: &str| get("/").replace("Host: a", &format!("Host: {host}"));
    let answers = server.ask(to("EXAMPLE.org:80") + &to("a.b.example.org.") + &to("example.com"));
    let told: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(told, [200, 200, 421]);
    assert_eq!((&answers[0].body[..], &answers[1].body[..]), (&b"exact"[..], &b"below"[..]));
}
