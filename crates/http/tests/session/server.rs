//! A server under virtual time with a client that speaks raw bytes and takes replies apart.
#![allow(unreachable_pub)] // it is a module of the test, not a crate

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use medusa_core::collector::{Collector, Flow, Gathered, Refused};
use medusa_core::producer::{Feed, Lines, feed};
use medusa_core::testing::{Harness, How, Peer};
use medusa_core::{Aborted, ChannelSettings, Piece, Producer, Pull, Waker};
use medusa_fs::{MemoryTree, Persona, TreeOptions, VirtualPath};
use medusa_http::access_log::{AccessLog, Form};
use medusa_http::{
    Body, Decision, Exchange, Extension, Extensions, Files, FilesOptions, Handled, HttpService,
    HttpSettings, Reply, Request, Responder,
};

/// When the files in memory were made: Sun, 09 Sep 2001 01:46:40 GMT.
pub const MODIFIED: Duration = Duration::from_secs(1_000_000_000);
/// The same, as it stands in fields.
pub const MODIFIED_DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

/// An HTTP server on the harness.
pub struct Server {
    pub h: Harness,
    pub service: HttpService,
    pub log: Rc<Log>,
}

/// Access log lines.
#[derive(Default)]
pub struct Log {
    lines: RefCell<Vec<u8>>,
    pub form: Cell<Form>,
}

impl AccessLog for Log {
    fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        write(&mut self.lines.borrow_mut());
    }

    fn form(&self) -> Form {
        self.form.get()
    }
}

impl Log {
    /// Takes the lines written so far.
    pub fn take(&self) -> Vec<String> {
        let text = String::from_utf8(self.lines.take()).expect("log lines are ASCII");
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(str::to_owned).collect()
    }
}

impl Server {
    pub fn new(extensions: Vec<Rc<dyn Extension>>) -> Self {
        Self::with(extensions, HttpSettings::default(), ChannelSettings::default())
    }

    pub fn with(
        extensions: Vec<Rc<dyn Extension>>,
        settings: HttpSettings,
        channel: ChannelSettings,
    ) -> Self {
        let log = Rc::new(Log::default());
        let extensions = Rc::new(Extensions::new(extensions));
        let service = HttpService::new(extensions, settings, channel, Some(log.clone()));
        Self { h: Harness::new(), service, log }
    }

    /// Serves a tree and nothing else.
    pub fn files(tree: &MemoryTree) -> Self {
        Self::new(vec![files(tree)])
    }

    /// Opens a connection.
    pub fn connect(&mut self) -> Peer {
        self.h.accept(&self.service)
    }

    /// Sends `input` on a new connection, in a turn of its own, and gives the connection and what
    /// came back.
    pub fn send(&mut self, input: impl AsRef<[u8]>) -> (Peer, Vec<u8>) {
        self.h.advance(Duration::from_millis(1));
        let peer = self.connect();
        peer.send(input);
        self.h.run();
        let output = peer.take();
        (peer, output)
    }

    /// Sends `input` on a new connection and takes the replies apart.
    pub fn ask(&mut self, input: impl AsRef<[u8]>) -> Vec<Answer> {
        let (_, output) = self.send(input);
        answers(&output)
    }

    /// Sends one GET with these further lines, each with its line end, on a new connection.
    pub fn get(&mut self, path: &str, lines: &str) -> Answer {
        only(self.ask(get(path, lines)))
    }

    /// Sends more on a connection and takes the replies apart.
    pub fn more(&mut self, peer: &Peer, input: impl AsRef<[u8]>) -> Vec<Answer> {
        peer.send(input);
        self.h.run();
        answers(&peer.take())
    }

    pub fn extensions(&self) -> Rc<Extensions> {
        self.service.extensions()
    }
}

/// A GET request.
pub fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A POST request with a body by length.
pub fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The head of a POST request with a chunked body.
pub fn post_chunked(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// The one answer there is.
pub fn only(answers: Vec<Answer>) -> Answer {
    let [answer] = answers.try_into().expect("there is one answer");
    answer
}

/// One reply, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields, each with its line end.
    pub head: String,
    pub body: Vec<u8>,
    /// The body came to its end: by length, or by the last chunk. One that the end of the
    /// connection ends is never known to be whole.
    pub whole: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let found = all.clone().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let count = all.by_ref().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count();
        assert!(count <= 1, "{name} stands {count} times in {}", self.head);
        found.map(|(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Whether the server says that the connection ends.
    pub fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// Takes replies to anything but HEAD apart.
pub fn answers(output: &[u8]) -> Vec<Answer> {
    answers_to(output, |_| false)
}

/// Takes replies apart; `is_head` says whether the request of this number was a HEAD.
pub fn answers_to(mut output: &[u8], is_head: impl Fn(usize) -> bool) -> Vec<Answer> {
    let mut all: Vec<Answer> = Vec::new();
    let mut number = 0;
    while !output.is_empty() {
        let end = find(output, b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no head in {:?}, behind {all:?}", output.escape_ascii().to_string())
        });
        let head = String::from_utf8(output[..end + 2].to_vec()).expect("heads are ASCII");
        output = &output[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
        let mut answer = Answer { status, head, body: Vec::new(), whole: true };
        let length = answer.field("Content-Length").map(|n| n.parse().expect("a length"));
        let chunked = answer.field("Transfer-Encoding") == Some("chunked");
        assert!(!(chunked && length.is_some()), "two framings: {}", answer.head);
        if status < 200 || status == 204 {
            assert!(!chunked && length.is_none(), "framing in a {status}: {}", answer.head);
        }
        if status < 200 || status == 204 || status == 304 || is_head(number) {
            // No body.
        } else if let Some(length) = length {
            answer.whole = output.len() >= length;
            let (body, rest) = output.split_at(length.min(output.len()));
            answer.body = body.to_vec();
            output = rest;
        } else if chunked {
            (answer.whole, output) = dechunk(output, &mut answer.body);
        } else {
            answer.whole = false;
            answer.body = std::mem::take(&mut output).to_vec();
        }
        number += usize::from(status >= 200);
        all.push(answer);
    }
    all
}

fn dechunk<'a>(mut input: &'a [u8], body: &mut Vec<u8>) -> (bool, &'a [u8]) {
    loop {
        let Some(end) = find(input, b"\r\n") else { return (false, b"") };
        let size = std::str::from_utf8(&input[..end]).expect("a chunk size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        input = &input[end + 2..];
        if size == 0 {
            return (true, input.strip_prefix(b"\r\n").expect("no trailers"));
        }
        if input.len() < size + 2 {
            body.extend_from_slice(&input[..size.min(input.len())]);
            return (false, b"");
        }
        body.extend_from_slice(&input[..size]);
        assert_eq!(&input[size..size + 2], b"\r\n", "behind a chunk");
        input = &input[size + 2..];
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The statuses of these answers.
pub fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// How a client that reads on sees its connection: kept, ended, or reset.
#[track_caller]
pub fn assert_ended(peer: &Peer, how: Option<How>) {
    assert_eq!(peer.closed(), how);
}

// Trees.

/// An empty tree in memory.
pub fn tree() -> MemoryTree {
    let options = TreeOptions { writable: true, show_hidden: false, show_backups: false };
    MemoryTree::new(options, || UNIX_EPOCH + MODIFIED)
}

/// A tree with these files.
pub fn tree_of(files: &[(&str, &str)]) -> MemoryTree {
    let tree = tree();
    for (name, content) in files {
        put(&tree, name, content.as_bytes());
    }
    tree
}

/// Puts a file into a tree.
pub fn put(tree: &MemoryTree, name: &str, content: &[u8]) {
    put_bytes(tree, name.as_bytes(), content);
}

/// Puts a file into a tree whose name may be any bytes.
pub fn put_bytes(tree: &MemoryTree, name: &[u8], content: &[u8]) {
    let path = VirtualPath::parse(name).expect("a path").path;
    tree.insert(&path, Bytes::copy_from_slice(content)).expect("there is room");
}

pub fn system_time(unix: Duration) -> SystemTime {
    UNIX_EPOCH + unix
}

/// Serves a tree, as an extension.
pub fn files(tree: &MemoryTree) -> Rc<dyn Extension> {
    let options = FilesOptions::default();
    Rc::new(Files::new(Arc::new(tree.clone()), Persona::Process, options))
}

// Extensions.

type Handle = Box<dyn Fn(&Request<'_>, &mut Exchange<'_>) -> Handled>;

/// An extension made of a closure; matches one path, or all under it if that ends in a slash.
pub struct Does {
    name: &'static str,
    handle: Handle,
}

/// Makes an extension that answers for a path, which is its name too.
pub fn at(
    name: &'static str,
    handle: impl Fn(&Request<'_>, &mut Exchange<'_>) -> Handled + 'static,
) -> Rc<dyn Extension> {
    Rc::new(Does { name, handle: Box::new(handle) })
}

impl Extension for Does {
    fn name(&self) -> &str {
        self.name
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        let path = request.head.target.path().raw();
        path == self.name.as_bytes()
            || (self.name.ends_with('/') && path.starts_with(self.name.as_bytes()))
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        (self.handle)(request, exchange)
    }
}

/// A reply of plain bytes.
pub fn says(text: impl Into<String>) -> Reply {
    Reply::new(200).body(Body::Bytes(text.into().into()))
}

/// Answers at once with the same text.
pub fn now(name: &'static str, text: &'static str) -> Rc<dyn Extension> {
    at(name, move |_, _| Handled::Now(says(text)))
}

/// Answers with the body, its length and its trailers when all of it has come.
pub fn echo(name: &'static str) -> Rc<dyn Extension> {
    at(name, |_, exchange| {
        let responder = exchange.later();
        let trailers = Rc::new(RefCell::new(String::new()));
        let heard = trailers.clone();
        exchange.hear_trailers(move |fields| {
            for (name, value) in fields.iter() {
                let value = value.escape_ascii();
                write!(heard.borrow_mut(), " {name}={value}").expect("a string takes everything");
            }
        });
        exchange.collect(Gathered::new(1 << 20, move |body| {
            let body = String::from_utf8(body).expect("tests send text");
            responder.reply(says(format!("{}:{body}{}", body.len(), trailers.borrow())));
        }));
        Handled::Later
    })
}

/// Responders that wait on a shelf, by the path of their request.
#[derive(Clone, Default)]
pub struct Shelf(Rc<RefCell<HashMap<String, Responder>>>);

impl Shelf {
    pub fn put(&self, request: &Request<'_>, responder: Responder) {
        let path = request.head.target.path().raw().escape_ascii().to_string();
        self.0.borrow_mut().insert(path, responder);
    }

    pub fn take(&self, path: &str) -> Responder {
        self.0.borrow_mut().remove(path).unwrap_or_else(|| panic!("nobody asked for {path}"))
    }

    pub fn reply(&self, path: &str, reply: Reply) {
        self.take(path).reply(reply);
    }

    /// The paths of those that wait.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.0.borrow().keys().cloned().collect();
        paths.sort_unstable();
        paths
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Answers when the test says so; `/later/...` by default.
pub fn later(name: &'static str, shelf: &Shelf) -> Rc<dyn Extension> {
    let shelf = shelf.clone();
    at(name, move |request, exchange| {
        shelf.put(request, exchange.later());
        Handled::Later
    })
}

/// Decisions that wait, oldest first.
#[derive(Clone, Default)]
pub struct Bench(Rc<RefCell<Vec<Decision>>>);

impl Bench {
    pub fn take(&self) -> Decision {
        assert!(self.len() > 0, "nobody waits for a decision");
        self.0.borrow_mut().remove(0)
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Decides when the test says so.
pub fn undecided(name: &'static str, bench: &Bench) -> Rc<dyn Extension> {
    let bench = bench.clone();
    at(name, move |_, exchange| {
        bench.0.borrow_mut().push(exchange.decide_later());
        Handled::Later
    })
}

/// Streams lines of unknown number.
pub fn stream(name: &'static str) -> Rc<dyn Extension> {
    at(name, |_, _| {
        let lines = ["one\n", "two\n", "three\n"].map(Ok);
        Handled::Now(Reply::new(200).producer(Unsized(Lines::new(lines))))
    })
}

/// Hides what a producer knows of its length.
pub struct Unsized<P>(pub P);

impl<P: Producer> Producer for Unsized<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        self.0.produce(room, pull)
    }
}

/// Gives these pieces, one at a time, then the end or a failure.
pub struct Pieces {
    pub pieces: Vec<Piece>,
    pub fails: bool,
}

impl Producer for Pieces {
    fn produce(&mut self, _: usize, _: &mut Pull<'_>) -> Result<Piece, Aborted> {
        if self.pieces.is_empty() {
            return if self.fails { Err(Aborted::new("as planned")) } else { Ok(Piece::End) };
        }
        Ok(self.pieces.remove(0))
    }
}

/// The push sides of streamed replies.
pub type Feeds = Rc<RefCell<Vec<Feed>>>;

/// Streams what the test pushes.
pub fn fed(name: &'static str, feeds: &Feeds, high: usize, low: usize) -> Rc<dyn Extension> {
    let feeds = feeds.clone();
    at(name, move |_, exchange| {
        let (push, pull) = feed(high, low);
        push.set_pusher(exchange.waker());
        feeds.borrow_mut().push(push);
        Handled::Now(Reply::new(200).producer(pull))
    })
}

/// What happened to a [`Taker`].
#[derive(Default)]
pub struct Taken {
    pub bytes: Vec<u8>,
    /// What it says after each part.
    pub stops: bool,
    pub refuses: Option<Refused>,
    pub ended: bool,
    pub dropped: bool,
    pub waker: Option<Waker>,
}

/// A collector that the test holds the reins of.
pub struct Taker(pub Rc<RefCell<Taken>>);

impl Collector for Taker {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        self.0.borrow_mut().bytes.extend_from_slice(part);
        self.flow()
    }

    fn flow(&self) -> Result<Flow, Refused> {
        let taken = self.0.borrow();
        match &taken.refuses {
            Some(refused) => Err(refused.clone()),
            None if taken.stops => Ok(Flow::Stop),
            None => Ok(Flow::Go),
        }
    }

    fn end(self: Box<Self>) {
        self.0.borrow_mut().ended = true;
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

/// Collects into `taken` and answers when the test says so.
pub fn takes(name: &'static str, taken: &Rc<RefCell<Taken>>, shelf: &Shelf) -> Rc<dyn Extension> {
    let (taken, shelf) = (taken.clone(), shelf.clone());
    at(name, move |request, exchange| {
        taken.borrow_mut().waker = Some(exchange.waker());
        exchange.collect(Taker(taken.clone()));
        shelf.put(request, exchange.later());
        Handled::Later
    })
}
