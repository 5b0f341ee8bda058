//! The tree of a server that runs: a real loop on a thread of its own, real sockets, and questions
//! as the monitor asks them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use medusa_core::inspect::{Node, Outcome, Query, Value};
use medusa_core::remote::Remote;
use medusa_core::{Handle, Reactor, Settings};
use medusa_log::Logs;

use crate::config::{self, Source};
use crate::control;
use crate::life::Life;
use crate::reload::Running;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs, and a way to ask it.
struct Server {
    remote: Remote,
    address: String,
    place: tempfile::TempDir,
    thread: Option<JoinHandle<()>>,
}

/// What came of a question, as far as it can leave the loop's thread.
#[derive(Debug)]
enum Heard {
    Node(Node),
    Done(String),
    Refused(String),
}

const CONFIGURATION: &str = "[files.site]\npath = \"site\"\n[[server]]\nprotocol = \"http\"\n\
    listen = \"127.0.0.1:0\"\n[server.log]\nto = \"off\"\n[server.limits]\nkeep_alive = \"50s\"\n\
    [[server.extension]]\nuse = \"files\"\nfiles = \"site\"\n\
    [[server]]\nprotocol = \"ftp\"\nlisten = \"127.0.0.1:0\"\nbanner = \"Mine.\"\n\
    [server.anonymous]\nfiles = \"site\"\n";

impl Server {
    fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("site")).expect("it is made");
        fs::write(place.path().join("site/f"), "content").expect("it is written");
        let file = place.path().join("m.toml");
        fs::write(&file, CONFIGURATION).expect("it is written");
        let (tell, hear) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut reactor = Reactor::new(Settings::default()).expect("a loop");
            let running = serve(file, &mut reactor);
            let address = running.listening()[0].1.to_string();
            tell.send((reactor.remote(), address)).expect("the test waits");
            drop(running);
            reactor.run().expect("the loop runs");
        });
        let (remote, address) = hear.recv_timeout(PATIENCE).expect("it starts");
        Self { remote, address, place, thread: Some(thread) }
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("m.toml")
    }

    fn ask(&self, query: Query) -> Heard {
        let (tell, hear) = mpsc::channel();
        let asked = move |handle: &Handle| {
            handle.inspect(query, move |outcome| {
                let heard = match outcome {
                    Outcome::Node(node) => Heard::Node(node),
                    Outcome::Done(done) => Heard::Done(done.said),
                    Outcome::Missing(why) | Outcome::Refused(why) => Heard::Refused(why),
                    Outcome::List(_) => unreachable!("nobody asks for a list"),
                };
                tell.send(heard).expect("the test waits");
            });
        };
        self.remote.call(asked).expect("the loop comes round");
        hear.recv_timeout(PATIENCE).expect("it is answered")
    }

    fn node(&self, path: &str) -> Node {
        match self.ask(Query::look(path)) {
            Heard::Node(node) => node,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn act(&self, path: &str, action: &str, arguments: &[&str]) -> String {
        match self.ask(Query::act(path, action, arguments)) {
            Heard::Done(said) => said,
            other => panic!("{path} {action}: {other:?}"),
        }
    }

    /// Does something, and undoes it at once.
    fn try_out(&self, query: Query) -> Result<String, String> {
        let (tell, hear) = mpsc::channel();
        let asked = move |handle: &Handle| {
            handle.inspect(query, move |outcome| {
                let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
                tell.send(done.undo.expect("it can be undone").run()).expect("the test waits");
            });
        };
        self.remote.call(asked).expect("the loop comes round");
        hear.recv_timeout(PATIENCE).expect("it is answered")
    }

    fn refused(&self, path: &str, action: &str, arguments: &[&str]) -> String {
        match self.ask(Query::act(path, action, arguments)) {
            Heard::Refused(why) => why,
            other => panic!("{path} {action}: {other:?}"),
        }
    }

    fn text(&self, path: &str, field: &str) -> String {
        match self.node(path).value(field) {
            Some(Value::Text(text)) => text.clone(),
            other => panic!("{path} {field}: {other:?}"),
        }
    }

    /// The reply to one GET on a connection of its own.
    fn get(&self, path: &str) -> String {
        let mut client = connect(&self.address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).expect("it reads");
        let mut reply = String::new();
        client.read_to_string(&mut reply).expect("it answers");
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.remote.call(|handle| handle.shutdown(Duration::ZERO));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the loop panicked");
        }
    }
}

fn serve(file: PathBuf, reactor: &mut Reactor) -> std::rc::Rc<Running> {
    let source = Source::File(file);
    let loaded = config::load(&source, None, false).expect("it is right");
    let logs = Logs::new().expect("standard error");
    let mut life = Life::begin().expect("a process");
    let options = loaded.config.process.life.clone();
    let running = Running::start(source, loaded, None, logs, reactor, &life).expect("it starts");
    let grace = || Duration::ZERO;
    let orders = life.watch(reactor.handle(), &options, grace).expect("signals");
    control::mount(reactor.handle(), &running, orders);
    running
}

fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    client
}

const LIST: &str = "servers/http/extensions";
const FIXED: &str = "use = \"fixed\"\nmatch = \"/new\"\ntext = \"plugged in\"\n";

#[test]
fn everything_in_the_tree_is_explained() {
    fn walk(server: &Server, path: &str) {
        let node = server.node(path);
        assert!(!node.about.is_empty(), "{path}");
        for (field, _) in &node.fields {
            assert!(node.note(field).is_some(), "{path}: {field}");
        }
        for action in node.actions {
            assert!(!action.about.is_empty(), "{path}: {}", action.name);
        }
        for child in node.children {
            walk(server, &format!("{path}/{child}"));
        }
    }
    let server = Server::start();
    server.get("/f");
    for path in ["server", "configuration", "servers/http", "trees", "listeners", "reactor"] {
        walk(&server, path);
    }
    assert_eq!(server.node("servers").children, ["http", "ftp"]);
    assert!(server.text("trees/site", "path").ends_with("/site"));
}

#[test]
fn an_extension_is_plugged_in_as_the_configuration_would_have_it() {
    let server = Server::start();
    assert!(server.get("/new").starts_with("HTTP/1.1 404 "));
    assert!(server.act(LIST, "add", &[FIXED]).contains("`fixed` is plugged in at place 1"));
    assert!(server.get("/new").ends_with("plugged in"));
    assert!(server.get("/f").ends_with("content"));
    assert_eq!(server.text(&format!("{LIST}/fixed"), "match"), "/new");
    let other = FIXED.replace("plugged in", "replaced");
    server.act(&format!("{LIST}/fixed"), "replace", &[&other]);
    assert!(server.get("/new").ends_with("replaced"));
    server.act(&format!("{LIST}/fixed"), "remove", &[]);
    assert!(server.get("/new").starts_with("HTTP/1.1 404 "));
}

#[test]
fn what_is_wrong_with_an_extension_is_told_with_its_place() {
    let server = Server::start();
    let why = server.refused(LIST, "add", &["use = \"fixed\"\ntxet = \"x\"\n"]);
    assert!(why.contains("extension:2:1: [extension] has no key `txet`"), "{why}");
    assert!(why.contains("did you mean `text`") && why.contains("allowed here: "), "{why}");
    for (text, part) in [
        ("use = \"fixd\"", "`fixed`"),
        ("use =", "this is no TOML"),
        ("", "needs `use`"),
        ("use = \"files\"\nfiles = \"stie\"", "`site`"),
        ("use = \"script\"\nfile = \"missing.lua\"", "missing.lua"),
        (&"x".repeat(100_000), "at most 64 KiB"),
    ] {
        let why = server.refused(LIST, "add", &[text]);
        assert!(why.contains(part), "{text:.40}: {why}");
    }
    assert_eq!(server.node(LIST).children, ["files"]);
}

#[test]
fn a_script_is_plugged_in_from_its_file() {
    let server = Server::start();
    let script = "return function(request) return \"from Lua\" end\n";
    fs::write(server.place.path().join("s.lua"), script).expect("it is written");
    let text = "use = \"script\"\nfile = \"s.lua\"\nname = \"mine\"\nmatch = \"/lua\"";
    server.act(LIST, "add", &[text]);
    assert!(server.get("/lua").ends_with("from Lua"), "{}", server.get("/lua"));
    fs::write(server.place.path().join("s.lua"), "error(\"oops\")").expect("it is written");
    let why = server.refused(&format!("{LIST}/mine"), "replace", &[text]);
    assert!(why.contains("oops") && why.contains("s.lua:1"), "{why}");
    assert!(server.get("/lua").ends_with("from Lua"));
}

#[test]
fn limits_are_set_as_the_configuration_would_have_them() {
    let server = Server::start();
    let limits = "servers/http/limits";
    assert_eq!(server.text(limits, "keep_alive"), "\"50s\"");
    assert_eq!(server.text(limits, "requests"), "left out");
    assert_eq!(server.act(limits, "set", &["keep_alive", "70s"]), "`keep_alive` is \"70s\"");
    assert_eq!(server.text(limits, "keep_alive"), "\"70s\"");
    assert_eq!(server.text(limits, "requests"), "left out", "nothing else has changed");
    // It holds, and at once.
    server.act(limits, "set", &["requests", "1/d"]);
    let statuses: Vec<_> = (0..2).map(|_| server.get("/f")[9..12].to_owned()).collect();
    assert_eq!(statuses, ["200", "429"]);
    server.act(limits, "unset", &["requests"]);
    assert!(server.get("/f").starts_with("HTTP/1.1 200 "));
    let query = Query::act(limits, "set", &["requests", "\"1/d\""]);
    assert!(server.try_out(query).expect("it is undone").contains("left out again"));
    assert!(server.get("/f").ends_with("content") && server.get("/f").ends_with("content"));
    for (name, value, part) in [
        ("keep_aliev", "1s", "`keep_alive`"),
        ("keep_alive", "1", "a time"),
        ("keep_alive", "90d", "to 1d"),
        ("requests", "1/s\nburst = 7", "`requests`"),
        ("pipeline_depth", "0", "1"),
    ] {
        let why = server.refused(limits, "set", &[name, value]);
        assert!(why.contains(part), "{name} {value}: {why}");
    }
    let why = server.refused(limits, "unset", &["keep_aliev"]);
    assert!(why.contains("there is no `keep_aliev`"), "{why}");
    assert_eq!(server.text(limits, "keep_alive"), "\"70s\"");
}

#[test]
fn limits_of_ftp_are_set_and_all_else_stays() {
    let server = Server::start();
    let (limits, settings) = ("servers/ftp/limits", "servers/ftp/settings");
    let shown = server.node(settings);
    server.act(limits, "set", &["sessions", "7"]);
    assert_eq!(server.node(settings).value("sessions"), Some(&Value::Count(7)));
    let mut greeting = [0; 9];
    let mut client = connect(&server.text("listeners/2", "address"));
    client.read_exact(&mut greeting).expect("it greets");
    assert_eq!(&greeting, b"220 Mine.");
    server.act(limits, "unset", &["sessions"]);
    assert_eq!(server.node(settings), shown);
}

#[test]
fn after_a_reload_the_file_holds() {
    let server = Server::start();
    server.act(LIST, "add", &[FIXED]);
    server.act("servers/http/limits", "set", &["keep_alive", "70s"]);
    fs::write(server.file(), CONFIGURATION.replace("50s", "40s")).expect("it is written");
    assert!(server.act("server", "reload", &[]).contains("2 servers"));
    assert_eq!(server.node(LIST).children, ["files"]);
    assert_eq!(server.text("servers/http/limits", "keep_alive"), "\"40s\"");
    server.act(LIST, "add", &[FIXED]);
    fs::write(server.file(), "[[server]]\nprotocol = \"gopher\"").expect("it is written");
    let why = server.refused("server", "reload", &[]);
    assert!(why.contains("gopher") && why.contains("m.toml:2"), "{why}");
    assert!(server.get("/new").ends_with("plugged in"), "nothing has changed");
    assert_eq!(server.node("configuration").value("generation"), Some(&Value::Count(2)));
}

#[test]
fn a_change_that_is_undone_after_a_reload_changes_nothing() {
    let server = Server::start();
    let (tell, hear) = mpsc::channel();
    let query = Query::act("servers/http/limits", "set", &["keep_alive", "70s"]);
    let asked = move |handle: &Handle| {
        let again = handle.clone();
        handle.inspect(query, move |outcome| {
            let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
            again.inspect(Query::act("server", "reload", &[]), move |_| {
                tell.send(done.undo.expect("it can be undone").run()).expect("the test waits");
            });
        });
    };
    server.remote.call(asked).expect("the loop comes round");
    let undone = hear.recv_timeout(PATIENCE).expect("it is answered");
    assert!(undone.expect_err("it is too late").contains("loaded anew"));
    assert_eq!(server.text("servers/http/limits", "keep_alive"), "\"50s\"");
}

#[test]
fn the_server_is_stopped_by_an_action() {
    let mut server = Server::start();
    assert!(server.act("server", "stop", &[]).contains("stops"));
    server.thread.take().expect("it ran").join().expect("it has ended by itself");
    assert!(TcpStream::connect(&server.address).is_err());
}

/// Asks for a path on one connection until it is told to stop; counts, and gives the first reply
/// that is wrong.
fn load(address: &str, until: &AtomicBool, count: &AtomicUsize) -> Option<String> {
    let mut client = connect(address);
    let mut buffer = [0; 4096];
    while !until.load(Ordering::Relaxed) {
        client.write_all(b"GET /f HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        let mut reply = Vec::new();
        while !reply.ends_with(b"content") && !reply.ends_with(b"plugged in") {
            match client.read(&mut buffer) {
                Ok(n) if n > 0 => reply.extend_from_slice(&buffer[..n]),
                other => {
                    return Some(format!(
                        "{other:?} behind {:?}",
                        reply.escape_ascii().to_string()
                    ));
                }
            }
        }
        if !reply.starts_with(b"HTTP/1.1 200 ") {
            return Some(reply.escape_ascii().to_string());
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    None
}

#[test]
fn a_thousand_plug_ins_under_load_fail_no_request() {
    let server = Server::start();
    let (until, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, until, count) = (server.address.clone(), until.clone(), count.clone());
            std::thread::spawn(move || load(&address, &until, &count))
        })
        .collect();
    let text = "use = \"fixed\"\nmatch = \"/f\"\ntext = \"plugged in\"\n";
    for _ in 0..1000 {
        server.act(LIST, "add", &[text]);
        server.act(&format!("{LIST}/fixed"), "remove", &[]);
    }
    until.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().expect("it runs"), None);
    }
    assert!(count.load(Ordering::Relaxed) > 0);
    assert_eq!(server.node(LIST).children, ["files"]);
}
