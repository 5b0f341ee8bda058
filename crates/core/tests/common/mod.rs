//! What the socket tests share: an echo, and a loop on a thread of its own.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use medusa_core::inspect::{Outcome, Query, Value};
use medusa_core::reactor::ListenOptions;
use medusa_core::{
    Address, ChannelSettings, Close, Closed, Context, Ending, Frame, Handle, Peer, Protocol,
    Reactor, Remote, Service, Settings,
};

/// How long a test waits for what must come, so that a fault fails it instead of hanging it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Gives back what it gets.
pub struct Echo;

impl Protocol for Echo {
    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            Frame::Part(bytes) => {
                cx.send(bytes);
                Ok(())
            }
            _ => Err(Close::Flush),
        }
    }
}

/// A service that makes each protocol by calling a closure.
pub struct Serves<F>(pub F);

impl<P: Protocol + 'static, F: Fn() -> P> Service for Serves<F> {
    fn name(&self) -> &'static str {
        "test"
    }

    fn accept(&self, _: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        Some(Box::new((self.0)()))
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        Rc::default()
    }
}

/// A loop that runs on its own thread.
pub struct Server {
    pub remote: Remote,
    thread: JoinHandle<()>,
}

impl Server {
    /// Asks for a shutdown.
    pub fn stop(&self, grace: Duration) {
        self.remote.call(move |handle| handle.shutdown(grace)).expect("the loop comes round");
    }

    /// Waits until it has ended by itself.
    pub fn wait(self) {
        self.thread.join().expect("the loop does not panic");
    }
}

/// Sends one word, and tells what came back, or how connecting failed.
pub struct Asks(pub mpsc::Sender<String>);

impl Protocol for Asks {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        cx.send(b"ping");
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        if let Frame::Part(bytes) = frame {
            let text = format!("got {}", bytes.escape_ascii());
            self.0.send(text).expect("the test hears");
        }
        Err(Close::Flush)
    }

    fn closed(&mut self, ending: &Ending) {
        let text = match &ending.why {
            Closed::ConnectFailed(e) => format!("failed {:?}", e.kind()),
            why => why.to_string(),
        };
        self.0.send(text).expect("the test hears");
    }
}

/// Looks at one field in the inspection tree of a running loop.
pub fn look(server: &Server, path: &'static str, field: &'static str) -> Option<Value> {
    let (tell, hear) = mpsc::channel();
    let call = move |handle: &Handle| {
        handle.inspect(Query::look(path), move |outcome| {
            let value = match outcome {
                Outcome::Node(node) => node.value(field).cloned(),
                _ => None,
            };
            tell.send(value).expect("the test hears");
        });
    };
    server.remote.call(call).expect("the loop comes round");
    hear.recv().expect("the loop answers")
}

/// Says something to an echo and hears it.
pub fn echoed(client: &mut TcpStream) {
    client.write_all(b"hello").expect("it reads");
    let mut back = [0; 5];
    client.read_exact(&mut back).expect("it answers");
    assert_eq!(&back, b"hello");
}

/// Starts a loop; `prepare` runs on its thread before it.
pub fn serve_with<T: Send + 'static>(
    settings: Settings,
    prepare: impl FnOnce(&mut Reactor) -> T + Send + 'static,
) -> (T, Server) {
    let (tell, hear) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut reactor = Reactor::new(settings).expect("a loop can be made");
        let prepared = prepare(&mut reactor);
        tell.send((prepared, reactor.remote())).expect("the test waits");
        reactor.run().expect("the loop runs");
    });
    let (prepared, remote) = hear.recv().expect("the loop starts");
    (prepared, Server { remote, thread })
}

/// Starts a loop with one listener, whose address is given.
pub fn serve<P: Protocol + 'static>(make: impl Fn() -> P + Send + 'static) -> (Address, Server) {
    serve_with(Settings::default(), |reactor| listen(reactor, &inet("127.0.0.1:0"), make))
}

pub fn listen<P: Protocol + 'static>(
    reactor: &mut Reactor,
    address: &Address,
    make: impl Fn() -> P + 'static,
) -> Address {
    let listening = reactor.listen(address, Rc::new(Serves(make)), ListenOptions::default());
    listening.expect("the address is free").1
}

/// Ends a loop at once, and waits for it.
pub fn join(server: Server) {
    // It may have ended by itself.
    let _ = server.remote.call(|handle| handle.shutdown(Duration::ZERO));
    server.thread.join().expect("the loop does not panic");
}

pub fn inet(text: &str) -> Address {
    text.parse().expect("an address")
}

pub fn client(address: &Address) -> TcpStream {
    let Address::Inet(inet) = address else { panic!("{address} is no port") };
    let client = TcpStream::connect(inet).expect("somebody listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    client.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    client
}

/// What comes until the end or a reset.
pub fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // How it ends is not this function's concern.
    let _ = client.read_to_end(&mut all);
    all
}
