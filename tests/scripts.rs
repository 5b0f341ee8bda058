//! Scripts in the running program: from the configuration to answers, mistakes, and reloads.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;
use server::{PATIENCE, Server, answers, medusa};

/// A directory with a configuration: one HTTP server with these extensions behind a head.
struct Place(tempfile::TempDir);

impl Place {
    fn new(configuration: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        place.write("m.toml", configuration);
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("it is written");
    }

    fn start(&self) -> Server {
        Server::start(medusa(["serve", "--config"]).arg(self.path().join("m.toml")))
    }

    /// What `medusa check` says, and whether all is right.
    fn check(&self) -> (bool, String) {
        let output = medusa(["check", "--config"]).arg(self.path().join("m.toml")).output();
        let output = output.expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// A server of one script.
const ONE: &str = "[[server]]\nprotocol = \"http\"\nlisten = \"127.0.0.1:0\"\n\
                   [[server.extension]]\nuse = \"script\"\nfile = \"x.lua\"\n";

fn status_and_body(server: &Server, request: &str) -> (u16, String) {
    let output = server.ask(request);
    let answer = answers(&output).pop().expect("there is an answer");
    (answer.status, String::from_utf8(answer.body).expect("it is a text"))
}

fn get(server: &Server, path: &str) -> (u16, String) {
    status_and_body(server, &server::get(path))
}

#[test]
fn a_script_answers_with_its_arguments() {
    let place = Place::new(&format!(
        "{ONE}[server.extension.arguments]\nname = \"Medusa\"\nlist = [1, 2.5, true]\ndeep = {{ a = \
         \"b\" }}\n"
    ));
    place.write(
        "x.lua",
        "local given = ... return function(request) local l = given.list return given.name .. \
         l[1] .. l[2] .. tostring(l[3]) .. given.deep.a .. request:body() end",
    );
    let (right, said) = place.check();
    assert!(right, "{said}");
    let server = place.start();
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(status_and_body(&server, post), (200, "Medusa12.5truebabc".to_owned()));
}

#[test]
fn mistakes_in_a_script_are_mistakes_in_the_configuration() {
    let place = Place::new(ONE);
    let (right, said) = place.check();
    assert!(!right && said.contains("cannot read the script"), "{said}");
    place.write("x.lua", "x = 1\nreturn function( end\n");
    let (right, said) = place.check();
    assert!(!right && said.contains("m.toml:6:8: the script is not valid Lua: "), "{said}");
    assert!(said.contains("x.lua:2: "), "{said}");
    // What only running it shows is told when it is started.
    for (source, why) in [
        (
            "return 1",
            "x.lua: the script must return the function that handles requests, not number",
        ),
        ("local x = nil\nx.y = 1", "x.lua:2: attempt to index"),
        ("sleep(1)", "a script cannot wait while it is loaded"),
        ("while true do end", "the script used up its budget"),
    ] {
        place.write("x.lua", source);
        assert!(place.check().0, "{source}");
        let config = place.path().join("m.toml");
        let output = medusa(["serve", "--config"]).arg(config).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("m.toml:6:8: the script cannot be loaded: "), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_error_gives_that_request_a_500_and_the_log_a_traceback() {
    let place = Place::new(ONE);
    place.write(
        "x.lua",
        "local function inner() error('oh no') end\nreturn function(request)\n  if request.path == \
         '/bad' then inner() end\n  return 'good'\nend",
    );
    let server = place.start();
    let (status, body) = get(&server, "/bad");
    assert!(status == 500 && !body.contains("oh no"), "{body}");
    let line = server.wait_for_line("script `x` failed");
    assert!(line.contains("x.lua:1: oh no"), "{line}");
    server.wait_for_line("x.lua:3: in");
    assert_eq!(get(&server, "/"), (200, "good".to_owned()));
}

#[test]
fn a_reload_takes_all_scripts_or_none_and_keeps_those_that_are_the_same() {
    let place = Place::new(&format!(
        "{ONE}match = \"/a\"\n[[server.extension]]\nuse = \"script\"\nfile = \"y.lua\"\n"
    ));
    let counter = "local n = 0 return function() n = n + 1 return 'x' .. n end";
    place.write("x.lua", counter);
    place.write("y.lua", "return function() return 'old' end");
    let server = place.start();
    assert_eq!(get(&server, "/a").1, "x1");
    assert_eq!(get(&server, "/").1, "old");
    for bad in ["return function( end", "error('while loading')", "return {}"] {
        let before = server.errors().len();
        place.write("x.lua", "return function() return 'new' end");
        place.write("y.lua", bad);
        server.signal(Signal::HUP);
        let line = server.wait_for_line_after(before, "reload", |line| line.contains("reloaded"));
        assert!(line.contains("not reloaded, nothing has changed"), "{line}");
        assert!(get(&server, "/a").1.starts_with('x'), "the old version runs on");
        assert_eq!(get(&server, "/").1, "old");
    }
    let before = server.errors().len();
    place.write("x.lua", counter);
    place.write("y.lua", "return function() return 'new' end");
    server.signal(Signal::HUP);
    server.wait_for_line_after(before, "reload", |line| line.contains("reloaded"));
    assert_eq!(get(&server, "/a").1, "x5", "a script that is the same goes on with what it has");
    assert_eq!(get(&server, "/").1, "new");
}

#[test]
fn timers_run_by_themselves_and_end_with_a_reload() {
    let place = Place::new(&format!("{ONE}[[script.run]]\nfile = \"t.lua\"\n"));
    place.write("x.lua", "return function() return tostring(shared.ticks) end");
    place.write(
        "t.lua",
        "timers.every(0.01, function() if shared.add('ticks') == 3 then print('three') end end)",
    );
    let server = place.start();
    server.wait_for_line("script `t` prints: three");
    place.write("m.toml", ONE);
    let before = server.errors().len();
    server.signal(Signal::HUP);
    server.wait_for_line_after(before, "reload", |line| line.contains("reloaded"));
    let first = get(&server, "/").1;
    assert_eq!(get(&server, "/").1, first);
}

#[test]
fn scripts_hear_of_what_happens_in_ftp() {
    let place = Place::new(
        "[files.drop]\nmemory = \"1 MiB\"\nwritable = true\n[[server]]\nprotocol = \"ftp\"\n\
         listen = \"127.0.0.1:0\"\n[server.anonymous]\nfiles = \"drop\"\npermissions = \"elradfmw\"\n\
         [[script.run]]\nfile = \"e.lua\"\n",
    );
    place.write(
        "e.lua",
        "for _, name in ipairs { 'login', 'received' } do\n\
         events.on('ftp.' .. name, function(e) print(name, e.user, e.peer, e.path, e.bytes) end)\nend",
    );
    if server::is_missing("curl", "scripts_hear_of_what_happens_in_ftp") {
        return;
    }
    let server = place.start();
    place.write("file", "content");
    let sent = std::process::Command::new("curl")
        .args(["-sS", "-T"])
        .arg(place.path().join("file"))
        .arg(format!("ftp://{}/new", server.ftp()))
        .status();
    assert!(sent.expect("it runs").success());
    server.wait_for_line("prints: login\\tanonymous\\t127.0.0.1");
    server.wait_for_line("prints: received\\tanonymous\\t127.0.0.1\\t/new\\t7");
}

#[test]
fn a_script_reads_the_trees_that_it_was_given_and_sends_their_files() {
    let place = Place::new(&format!("[files.site]\npath = \"site\"\n{ONE}trees = [\"site\"]\n"));
    fs::create_dir(place.path().join("site")).expect("a directory");
    let large: String = (0..200_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    place.write("site/large.txt", &large);
    place.write("site/small.html", "<p>");
    place.write(
        "x.lua",
        "return function(request) if request.path == '/list' then return \
         table.concat(files.list('/'), ' ') .. #files.read('/large.txt') end \
         return { file = request.path } end",
    );
    let server = place.start();
    assert_eq!(get(&server, "/list"), (200, "large.txt small.html200000".to_owned()));
    for _ in 0..3 {
        assert_eq!(get(&server, "/large.txt"), (200, large.clone()));
        assert_eq!(get(&server, "/small.html"), (200, "<p>".to_owned()));
    }
    let range = "GET /large.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=199998-\r\n\r\n";
    assert_eq!(status_and_body(&server, range), (206, large[199_998..].to_owned()));
    assert_eq!(get(&server, "/none").0, 404);
    place.write("m.toml", &format!("{ONE}trees = [\"side\"]\n"));
    let (right, said) = place.check();
    assert!(!right && said.contains("side"), "{said}");
}

/// A tree that a script makes, by HTTP and by FTP.
const TREE: &str = "[files.made]\nscript = \"tree.lua\"\nwritable = true\n\
                    [files.empty]\nmemory = \"1 KiB\"\n\
                    [[files.empty.mount]]\nat = \"/in\"\nfiles = \"made\"\n\
                    [[server]]\nprotocol = \"http\"\nlisten = \"127.0.0.1:0\"\n\
                    [[server.extension]]\nuse = \"files\"\nfiles = \"empty\"\n\
                    [[server]]\nprotocol = \"ftp\"\nlisten = \"127.0.0.1:0\"\n\
                    [server.anonymous]\nfiles = \"made\"\npermissions = \"elradfmw\"\n";

const MADE: &str = "local kept = { ['/a.txt'] = 'text' }
return {
    list = function(path)
        if path == '/d' then return { { name = 'b', size = 3 } } end
        if path ~= '/' then return end
        local names = { 'd/' }
        for path in pairs(kept) do names[#names + 1] = path:sub(2) end
        return names
    end,
    read = function(path)
        if path == '/bad' then error('oh no') end
        if path == '/d/b' then
            local n = 0
            return function() n = n + 1 sleep(0.001) if n <= 3 then return 'x' end end
        end
        return kept[path], { modified = 1000000000 }
    end,
    put = function(path, content) kept[path] = content end,
    delete = function(path) if not kept[path] then return false end kept[path] = nil end,
}";

/// What curl prints.
fn curl(arguments: &[&str]) -> String {
    let output = std::process::Command::new("curl").arg("-sS").args(arguments).output();
    let output = output.expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn files_that_a_script_makes_are_seen_alike_by_http_and_ftp() {
    if server::is_missing("curl", "files_that_a_script_makes_are_seen_alike_by_http_and_ftp") {
        return;
    }
    let place = Place::new(TREE);
    place.write("tree.lua", MADE);
    let (right, said) = place.check();
    assert!(right, "{said}");
    let server = place.start();
    let ftp = format!("ftp://{}", server.ftp());
    for _ in 0..2 {
        assert_eq!(get(&server, "/in/a.txt"), (200, "text".to_owned()));
        assert_eq!(get(&server, "/in/d/b"), (200, "xxx".to_owned()));
    }
    let range = "GET /in/a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n";
    assert_eq!(status_and_body(&server, range), (206, "ex".to_owned()));
    assert_eq!((get(&server, "/in/none").0, get(&server, "/in/d").0), (404, 301));
    let listing = get(&server, "/in/").1;
    assert!(listing.contains("a.txt") && listing.contains("d/"), "{listing}");
    assert_eq!(curl(&[&format!("{ftp}/a.txt")]), "text");
    assert_eq!(curl(&[&format!("{ftp}/d/b")]), "xxx");
    let listing = curl(&[&format!("{ftp}/")]);
    assert!(listing.contains("a.txt") && listing.contains(" 4 "), "{listing}");
    // What a script cannot do, or fails at, is an error of that request, and one in the log.
    assert_eq!(get(&server, "/in/bad").0, 500);
    server.wait_for_line("tree.lua:11: oh no");
    assert!(curl(&[&format!("{ftp}/bad")]).contains("RETR response: "), "it is refused");
    place.write("file", "put");
    let file = place.path().join("file");
    curl(&["-T", file.to_str().expect("a path"), &format!("{ftp}/new")]);
    assert_eq!(get(&server, "/in/new"), (200, "put".to_owned()));
    curl(&["-Q", "DELE a.txt", &format!("{ftp}/")]);
    assert_eq!(get(&server, "/in/a.txt").0, 404);
}

#[test]
fn the_script_of_a_tree_is_reloaded_or_stays() {
    let place = Place::new(TREE);
    place.write("tree.lua", MADE);
    let server = place.start();
    for (source, said, body) in [
        ("return {}", "not reloaded, nothing has changed", "text"),
        ("return { read = 1 }", "not reloaded, nothing has changed", "text"),
        ("return { read = function() return 'new' end }", "reloaded", "new"),
    ] {
        let before = server.errors().len();
        place.write("tree.lua", source);
        server.signal(Signal::HUP);
        let line = server.wait_for_line_after(before, "reload", |line| line.contains("reloaded"));
        assert!(line.contains(said), "{line}");
        assert_eq!(get(&server, "/in/a.txt"), (200, body.to_owned()));
    }
}

#[test]
fn a_tree_of_a_script_says_what_is_wrong_with_it() {
    for (with, wrong) in [
        ("script = \"tree.lua\"\nshow_hidden = true\n", "`show_hidden` is not for scripts"),
        ("script = \"none.lua\"\n", "cannot read the script"),
        ("script = \"tree.lua\"\nmemory = \"1 KiB\"\n", "a tree cannot have both"),
        ("memory = \"1 KiB\"\nrunning_time = \"1s\"\n", "running_time"),
    ] {
        let place = Place::new(&format!("[files.made]\n{with}{ONE}"));
        place.write("tree.lua", MADE);
        place.write("x.lua", "return function() end");
        let (right, said) = place.check();
        assert!(!right && said.contains(wrong), "{said}");
        assert!(!said.contains("unknown") || wrong == "running_time", "{said}");
    }
}

const STORE: &str = "[script]\nstore = \"kept.db\"\nstore_size = \"64 KiB\"\n";

const COUNTER: &str = "return function(request)
    if request.path == '/get' then return tostring(store.get('n')) end
    local n = (store.get('n') or 0) + 1
    store.put('n', n)
    return tostring(n)
end";

#[test]
fn what_is_put_into_the_store_survives_kill_9() {
    let place = Place::new(&format!("{STORE}{ONE}"));
    place.write("x.lua", COUNTER);
    for round in 0..3 {
        // Dropped, it is killed.
        let server = place.start();
        for n in 1..=5 {
            assert_eq!(get(&server, "/").1, (5 * round + n).to_string());
        }
    }
    assert_eq!(get(&place.start(), "/get").1, "15");
}

#[test]
fn the_store_goes_over_to_the_next_process() {
    let place = Place::new(&format!("{STORE}{ONE}"));
    place.write("x.lua", COUNTER);
    let server = place.start();
    assert_eq!(get(&server, "/").1, "1");
    server.upgrade();
    assert_eq!(get(&server, "/").1, "2");
}

#[test]
fn a_store_that_cannot_be_is_told_of() {
    let place = Place::new(
        &STORE.replace("kept", "no/where").replace("[script]\n", &format!("{ONE}[script]\n")),
    );
    place.write("x.lua", COUNTER);
    let (right, said) = place.check();
    assert!(!right && said.contains("there is no directory"), "{said}");
    let place = Place::new(ONE);
    place.write("x.lua", COUNTER);
    let server = place.start();
    assert_eq!(get(&server, "/").0, 500);
    server.wait_for_line(
        "there is no store: `store` in [script] of the configuration names its file",
    );
}

/// Somebody who speaks in lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Self(BufReader::new(stream))
    }

    fn says(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// The next line; empty at the end.
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it speaks");
        line.trim_end().to_owned()
    }
}

const LINES: &str =
    "[[server]]\nprotocol = \"script\"\nlisten = \"127.0.0.1:0\"\nfile = \"x.lua\"\n";

fn lines_address(server: &Server) -> String {
    let line = server.listening.iter().find_map(|line| line.strip_prefix("listening script "));
    line.expect("it listens").to_owned()
}

#[test]
fn everybody_in_the_chat_in_lua_hears_everybody() {
    let chat = include_str!("../examples/chat.lua");
    let lines = chat.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).count();
    assert!(lines < 60, "a chat in {lines} lines");
    let place = Place::new(LINES);
    place.write("x.lua", chat);
    assert!(place.check().0, "{:?}", place.check());
    let server = place.start();
    let address = lines_address(&server);
    let mut anna = Client::connect(&address);
    let guest = anna.hears();
    assert!(guest.starts_with("* guest") && guest.ends_with(" joins"), "{guest}");
    anna.says("/nick anna");
    assert!(anna.hears().ends_with(" is now anna"));
    let mut bob = Client::connect(&address);
    assert_eq!(anna.hears(), bob.hears());
    bob.says("/nick ANNA");
    assert_eq!(bob.hears(), "* ANNA is taken, or no name");
    bob.says("/nick bob");
    assert_eq!(anna.hears(), bob.hears());
    bob.says("hello \x1b[2J\r");
    assert_eq!(anna.hears(), "<bob> hello [2J");
    assert_eq!(bob.hears(), "<bob> hello [2J");
    anna.says("/me waves");
    assert_eq!(bob.hears(), "* anna waves");
    bob.says("/names");
    assert_eq!(bob.hears(), "* here: anna, bob");
    anna.says("/quit");
    assert_eq!(bob.hears(), "* anna leaves");
    assert_eq!((anna.hears(), anna.hears()), ("* anna waves".to_owned(), String::new()));
    drop(anna);
    bob.says("/wave");
    assert_eq!(bob.hears(), "* /wave: what?");
    // Nobody outlasts his connection.
    drop(bob);
    let mut carl = Client::connect(&address);
    while !carl.hears().ends_with(" joins") {}
    loop {
        carl.says("/names");
        let names = carl.hears();
        if !names.contains("bob") {
            break;
        }
    }
}

#[test]
fn a_session_goes_on_with_its_version_and_its_budget_is_for_each_line() {
    let place = Place::new(&format!("{LINES}instructions = 100000\n"));
    let script = |word: &str| {
        format!(
            "return function(client) for line in client:lines() do for i = 1, 20000 do end \
             if line == 'bad' then while true do end end \
             client:write('{word} ' .. line .. '\\n') end end"
        )
    };
    place.write("x.lua", &script("old"));
    let server = place.start();
    let address = lines_address(&server);
    let mut client = Client::connect(&address);
    for n in 0..20 {
        client.says(&n.to_string());
        assert_eq!(client.hears(), format!("old {n}"));
    }
    let before = server.errors().len();
    place.write("x.lua", &script("new"));
    server.signal(Signal::HUP);
    server.wait_for_line_after(before, "reload", |line| line.contains("reloaded"));
    client.says("still");
    assert_eq!(client.hears(), "old still");
    let mut other = Client::connect(&address);
    other.says("now");
    assert_eq!(other.hears(), "new now");
    client.says("bad");
    assert_eq!(client.hears(), "");
    server.wait_for_line("script `x` failed: the script used up its budget of instructions");
    other.says("on");
    assert_eq!(other.hears(), "new on");
}

#[test]
fn a_script_makes_connections() {
    let place = Place::new(&format!(
        "{LINES}{}[server.extension.arguments]\nto = \"unix:{{}}\"\n",
        ONE.replace("x.lua", "y.lua")
    ));
    let socket = place.path().join("s");
    let text = fs::read_to_string(place.path().join("m.toml")).expect("it is there");
    place.write(
        "m.toml",
        &text.replace("unix:{}", &format!("unix:{}", socket.display())).replacen(
            "listen = \"127.0.0.1:0\"",
            "listen = \"unix:s\"",
            1,
        ),
    );
    place.write(
        "x.lua",
        "return function(client) client:write('hello\\r\\n') local n = client:line() \
         client:write(('x'):rep(tonumber(n))) client:write(client:read(3)) end",
    );
    place.write(
        "y.lua",
        "local given = ... return function() local c = net.connect(given.to) local hello = c:line() \
         c:write('100000\\n') c:write('abcd') local all, piece = {}, c:read(100000) \
         local rest = c:read(10) \
         return hello .. #piece .. rest .. tostring(c:line()) end",
    );
    let server = place.start();
    let address = server.listening.iter().find_map(|line| line.strip_prefix("listening http "));
    let mut stream = TcpStream::connect(address.expect("it listens")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.write_all(server::get("/").as_bytes()).expect("it reads");
    let answer = server::read_answer(&mut stream);
    assert_eq!(String::from_utf8_lossy(&answer.body), "hello100000abcnil");
}

/// Asks servers of other makes, and ourselves, for the same file: through kept connections and
/// those that are closed behind each answer.
#[test]
fn scripts_ask_real_servers() {
    let files = tempfile::tempdir().expect("a directory");
    let content = server::noise(300_000);
    fs::write(files.path().join("f"), &content).expect("it is written");
    let place = Place::new(ONE);
    place.write(
        "x.lua",
        "return function(request) local a \
         for _ = 1, 3 do a = http.get('http://' .. request.query .. '/f') end \
         local missing = http.request{ url = 'http://' .. request.query .. '/no', method = 'HEAD' } \
         return a.status .. ' ' .. hash.sha256(a.body) .. ' ' .. missing.status end",
    );
    let asking = place.start();
    let ours = Server::of(files.path());
    let (status, expected) = get(&asking, &format!("/?{}", ours.address()));
    assert!(
        status == 200 && expected.starts_with("200 ") && expected.ends_with(" 404"),
        "{expected}"
    );

    if server::is_missing("python3", "scripts_ask_real_servers") {
        return;
    }
    let program = "import http.server, functools, sys\n\
         h = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n\
         s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), h)\n\
         print(s.server_address[1], flush=True)\n\
         s.serve_forever()\n";
    let mut python = std::process::Command::new("python3")
        .args(["-c", program])
        .arg(files.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("python3 runs");
    let mut port = String::new();
    let mut said = BufReader::new(python.stdout.take().expect("it is piped"));
    said.read_line(&mut port).expect("it says its port");
    let theirs = get(&asking, &format!("/?127.0.0.1:{}", port.trim()));
    python.kill().expect("it is ours");
    python.wait().expect("it ends");
    assert_eq!(theirs, (200, expected));
}
