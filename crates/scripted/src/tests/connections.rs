//! Connections of scripts: a server in Lua on the harness.

use std::rc::Rc;
use std::time::Duration;

use medusa_core::testing::{Harness, Peer};
use medusa_script::{Budget, SharedTable};

use super::{MEMORY, plan};
use crate::{Host, Returns, Script, ScriptServer, ScriptServerSetup};

/// How long clients may be silent in tests.
const IDLE: Duration = Duration::from_secs(60);

struct Server {
    h: Harness,
    host: Host,
    service: ScriptServer,
}

impl Server {
    /// A server whose handler is a function with this body.
    fn new(handler: &str) -> Self {
        let h = Harness::new();
        let shared = SharedTable::default();
        let host = Host::new(&h.handle(), MEMORY, &shared, None).expect("an engine");
        let source = format!("return function(client) {handler} end");
        let within = Duration::from_secs(100_000);
        let budget = Budget { instructions: 1_000_000, within, ..Budget::HANDLER };
        let plan = plan("test", &source, Returns::Session, budget);
        let script = Script::new(&host, plan.clone());
        script.load(plan.source, |loaded| loaded.expect("the script is good"));
        let service = ScriptServer::new(ScriptServerSetup { script, idle: IDLE });
        Self { h, host, service }
    }

    fn connect(&mut self) -> Peer {
        let peer = self.h.accept(&self.service);
        self.h.run();
        peer
    }

    fn settle(&mut self) {
        self.h.advance(Duration::from_millis(50));
    }

    /// All that comes back for this input, whose sender then ends.
    fn ask(&mut self, input: &str) -> String {
        let peer = self.connect();
        peer.send(input);
        self.settle();
        peer.close_write();
        self.settle();
        peer.take_text()
    }
}

#[test]
fn lines_and_bytes_are_cut_alike_wherever_input_is_split() {
    let mut server = Server::new(
        "client:write(client:line() .. '|') client:write(client:read(4) .. '|') \
         for line in client:lines() do client:write(line .. ';') end client:write('end')",
    );
    let input = "one\r\n2\n34three\n\nrest";
    let output = "one|2\n34|three;;rest;end";
    assert_eq!(server.ask(input), output);
    for at in 1..input.len() {
        let peer = server.connect();
        peer.send(&input[..at]);
        server.settle();
        peer.send(&input[at..]);
        server.settle();
        peer.close_write();
        server.settle();
        assert_eq!(peer.take_text(), output, "split at {at}");
    }
    assert_eq!((server.host.connections(), server.host.engine().tasks()), (0, 0));
}

#[test]
fn a_line_has_a_limit() {
    let mut server =
        Server::new("local ok, line = pcall(client.line, client, 5) client:send(tostring(line))");
    assert_eq!(server.ask("12345\r\n"), "12345");
    assert!(server.ask("123456\n").contains("the line is longer than 5 bytes"));
    assert!(server.ask("1234567890").contains("the line is longer than 5 bytes"));
    let mut server = Server::new(
        "local all = {} for _, wrong in ipairs { 0, -1, 1 << 30, 1.5, 'x' } do \
         all[#all + 1] = tostring(pcall(client.line, client, wrong)) \
         all[#all + 1] = tostring(pcall(client.read, client, wrong)) end \
         client:send(table.concat(all, ' '))",
    );
    assert_eq!(server.ask(""), ["false"; 10].join(" "));
}

#[test]
fn nothing_is_read_that_no_script_waits_for() {
    let mut server = Server::new("sleep(1) client:write(tostring(#client:read(300000)))");
    let peer = server.connect();
    peer.send("x".repeat(300_000));
    server.settle();
    assert!(peer.unread() > 0, "the client is held back");
    server.h.advance(Duration::from_secs(2));
    assert_eq!(peer.take_text(), "300000");
}

#[test]
fn a_slow_reader_holds_up_who_writes_and_not_who_sends() {
    let mut server = Server::new(
        "if client:line() == 'write' then for i = 1, 100 do client:write(('x'):rep(10000)) end \
         else local lost = 0 for i = 1, 100 do \
         if not client:send(('x'):rep(10000)) then lost = lost + 1 end end \
         client:write('lost ' .. lost) end",
    );
    for word in ["write", "send"] {
        let peer = server.connect();
        peer.set_write_room(0);
        peer.send(format!("{word}\n"));
        server.settle();
        assert_eq!(server.host.engine().tasks(), 1, "{word}: it waits");
        peer.grant_all();
        for _ in 0..200 {
            server.settle();
        }
        let text = peer.take_text();
        let told = text.trim_start_matches('x');
        let lost = told.strip_prefix("lost ").map_or(0, |lost| lost.parse().expect("a number"));
        assert_eq!((text.len() - told.len()) / 10_000 + lost, 100, "{word}");
        assert_eq!(lost > 0, word == "send");
        assert_eq!(server.host.engine().tasks(), 0, "{word}");
    }
}

#[test]
fn a_silent_client_and_one_that_goes_end_the_session() {
    let mut server =
        Server::new("local line = client:line() client:write(tostring(line)) sleep(1)");
    let peer = server.connect();
    server.h.advance(IDLE / 2);
    assert_eq!(server.host.connections(), 1);
    server.h.advance(IDLE);
    assert_eq!(peer.take_text(), "nil");
    assert_eq!(server.host.connections(), 0);
    let mut server = Server::new("while client:line() do end client:write('too late')");
    let peer = server.connect();
    peer.reset();
    server.settle();
    assert_eq!((server.host.connections(), server.host.engine().tasks()), (0, 0));
}

#[test]
fn two_scripts_cannot_read_from_one_connection() {
    let mut server = Server::new(
        "local other = start(function() return client:line() end) sleep(0.01) \
         client:send(tostring(select(2, pcall(client.line, client))) .. '|') \
         client:send(other:wait())",
    );
    let peer = server.connect();
    server.settle();
    peer.send("line\n");
    server.settle();
    let told = peer.take_text();
    assert!(told.contains("another script reads from this connection|line"), "{told}");
}

#[test]
fn a_connection_that_cannot_be_made_is_an_error_and_leaves_nothing_behind() {
    let mut server = Server::new(
        "client:send(tostring(select(2, pcall(net.connect, 'unix:/nowhere', 1))) .. '|') \
         client:send(tostring(select(2, pcall(net.connect, 'no port'))) .. '|') \
         client:send(tostring(select(2, pcall(net.connect, ('x'):rep(1000)))) .. '|') \
         client:line()",
    );
    let peer = server.connect();
    let outgoing = server.h.take_connect().expect("it is asked for");
    outgoing.refuse(&mut server.h, std::io::ErrorKind::ConnectionRefused);
    server.settle();
    let told = peer.take_text();
    assert!(told.contains("cannot find `no port`"), "{told}");
    assert!(told.contains("an address has at most 512 bytes"), "{told}");
    assert_eq!(server.host.connections(), 1, "only its own is left");
}

#[test]
fn a_script_gets_room_for_so_many_connections_only() {
    let mut server = Server::new("client:line()");
    let peers: Vec<_> =
        (0..crate::connection::CONNECTIONS).map(|_| server.h.accept(&server.service)).collect();
    assert_eq!(server.host.connections(), peers.len());
    assert!(Rc::new(server.host.clone()).0.connections.begin().is_none());
}
