//! One HTTP session under a sequence of operations: whatever the peer, the clock and the
//! extensions do, what leaves is a sequence of well-formed replies, one for each request.
//!
//! An input is a list of operations, each a byte with its arguments behind it; see [`operate`].

#![no_main]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use medusa_core::collector::{Collector, Flow, Refused};
use medusa_core::producer::{FileSource, Lines, Once, feed, promise};
use medusa_core::testing::{Harness, How, Peer};
use medusa_core::{Aborted, ChannelSettings, FileRange, Handle, Waker};
use medusa_fs::{MemoryTree, Persona, TreeOptions, VirtualPath};
use medusa_fuzz::{Choices, within};
use medusa_http::access_log::AccessLog;
use medusa_http::wire::chunked::{Decoder, Step};
use medusa_http::wire::head::{Method, Version};
use medusa_http::{
    Body, Exchange, Extension, Extensions, Files, FilesOptions, Handled, HttpService, HttpSettings,
    Reply, Request, Responder,
};

/// Bytes that a request body may have.
const MAX_BODY: u64 = 1000;
/// Requests in flight.
const DEPTH: usize = 4;
/// Most operations in one run.
const MAX_OPERATIONS: usize = 100;
/// Rounds in which all that was asked for must have been answered.
const MAX_ROUNDS: usize = 1000;
/// Longer than everything that a connection waits for, one after the other.
const LONG: Duration = Duration::from_secs(3600);

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const ALPHA: &[u8] = b"alpha";
const BETA: &[u8] = b"beta, which is longer";
const LINES: &[u8] = b"one\ntwo\nthree\nfour\nfive\n";

/// What a peer may send: whole requests, and parts of such.
const TEXTS: &[&str] = &[
    "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /dir HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /dir/?q HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a.txt HTTP/1.0\r\n\r\n",
    "GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n",
    "GET /big.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9,100-4000,-1\r\n\r\n",
    "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=9-\r\n\r\n",
    "GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "GET /play/now HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/empty HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/later HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET /play/drop HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/forget HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/lines HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/lines HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD /play/lines HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/feed HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/promise HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/abort HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/short HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/file HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /play/files HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /play/file HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /play/put HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    "POST /play/put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /play/put HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "POST /play/put HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
    "POST /play/put HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n",
    "POST /play/put-now HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    "POST /play/put-now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /play/few HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /play/now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /play/later HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "POST /play/later HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
    "POST /play/put HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
    "HEAD /play/put HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
    "hello",
    "5\r\nhello\r\n",
    "5;x=y\r\nhe",
    "llo\r\n0\r\nA: b\r\n\r\n",
    "0\r\n\r\n",
    "3e9\r\n",
    "GET /play/now HTTP/1.1\r\nHo",
    "st: a\r\n\r\n",
    "\r\n",
    "\r\n\r\n\r\n",
    "GET / HTTP/1.1\n",
    "GET / HTTP/2.0\r\n\r\n",
    "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /dir/?sort=size&format=json HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?archive=tar HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?archive=zip HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// A request that the session handed to the extensions.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    version: Version,
    path: Vec<u8>,
}

type List = Rc<RefCell<Vec<Asked>>>;

/// Matches nothing, and notes every request.
struct Noting(List);

impl Extension for Noting {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        self.0.borrow_mut().push(Asked {
            method: request.head.method,
            version: request.head.version,
            path: request.head.target.path().decoded().into_owned(),
        });
        false
    }

    fn handle(&self, _: &Request<'_>, _: &mut Exchange<'_>) -> Handled {
        unreachable!("it matches nothing")
    }
}

/// Answers in every way that there is. Each reply carries its request's number.
struct Play(List);

impl Extension for Play {
    fn name(&self) -> &'static str {
        "play"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        request.head.target.path().raw().starts_with(b"/play/")
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let number = self.0.borrow().len() - 1;
        let new = move |status| Reply::new(status).field("X-Number", number.to_string());
        let text = |text: &'static [u8]| Body::Bytes(Bytes::from_static(text));
        let handle = request.handle;
        let soon = Duration::from_millis(10);
        Handled::Now(match &request.head.target.path().raw()[6..] {
            b"now" => new(200).body(text(b"now")),
            b"empty" => new(204),
            b"later" => {
                let responder = exchange.later();
                handle.timer(soon, move |_| responder.reply(new(200).body(text(b"later"))));
                return Handled::Later;
            }
            b"drop" => {
                let responder = exchange.later();
                handle.timer(soon, move |_| drop(responder));
                return Handled::Later;
            }
            b"forget" => return Handled::Later,
            b"lines" => new(200).producer(lines()),
            b"feed" => {
                let (feed, producer) = feed(8, 4);
                handle.timer(soon, move |handle| {
                    if feed.push(&b"pushed"[..]).is_ok() {
                        handle.timer(soon, move |_| feed.end());
                    }
                });
                new(200).producer(producer)
            }
            b"promise" => {
                let (promise, producer) = promise();
                handle.timer(soon, move |_| promise.keep(lines()));
                new(200).producer(producer)
            }
            b"abort" => new(200).producer(Lines::new([Ok("some"), Err(Aborted::new("a fault"))])),
            b"short" => {
                let body = Box::new(Once::new(Bytes::from_static(b"short")));
                new(200).body(Body::Producer(body, Some(10)))
            }
            b"file" => new(200).body(Body::File(range())),
            b"files" => new(200).body(Body::Producer(Box::new(FileSource::new(range())), None)),
            path @ (b"put" | b"few") => {
                if path == b"few" {
                    exchange.limit_body(3);
                }
                let answer = (exchange.later(), new(200));
                let slow = Slow::new(exchange.waker(), handle, Some(answer));
                exchange.collect(slow);
                return Handled::Later;
            }
            b"put-now" => {
                exchange.collect(Slow::new(exchange.waker(), handle, None));
                new(200).body(text(b"now"))
            }
            _ => new(404),
        })
    }
}

fn lines() -> Lines<impl Iterator<Item = Result<&'static [u8], Aborted>>> {
    Lines::new(LINES.split_inclusive(|&b| b == b'\n').map(Ok))
}

/// Bytes of the file that is sent by range.
const FILE_BYTES: usize = 6000;

fn file_content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| (0..FILE_BYTES).map(|i| (i % 251) as u8).collect())
}

fn range() -> FileRange {
    static FILE: OnceLock<Arc<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("medusa-fuzz-{}", std::process::id()));
        let mut file = File::create_new(&path).expect("a temporary file can be made");
        file.write_all(file_content()).expect("it can be written");
        let file = File::open(&path).expect("it can be opened");
        std::fs::remove_file(&path).expect("it can be removed");
        Arc::new(file)
    });
    FileRange { file: file.clone(), offset: 0, len: FILE_BYTES as u64 }
}

/// Takes a body, and stops for a moment after each part.
struct Slow {
    waker: Waker,
    handle: Handle,
    stopped: Rc<Cell<bool>>,
    received: usize,
    answer: Option<(Responder, Reply)>,
}

impl Slow {
    fn new(waker: Waker, handle: &Handle, answer: Option<(Responder, Reply)>) -> Self {
        Self { waker, handle: handle.clone(), stopped: Rc::default(), received: 0, answer }
    }
}

impl Collector for Slow {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        self.received += part.len();
        if !self.stopped.replace(true) {
            let (waker, stopped) = (self.waker.clone(), self.stopped.clone());
            self.handle.timer(Duration::from_millis(5), move |_| {
                stopped.set(false);
                waker.wake();
            });
        }
        Ok(Flow::Stop)
    }

    fn flow(&self) -> Result<Flow, Refused> {
        Ok(if self.stopped.get() { Flow::Stop } else { Flow::Go })
    }

    fn end(self: Box<Self>) {
        if let Some((responder, reply)) = self.answer {
            let text = self.received.to_string();
            responder.reply(reply.body(Body::Bytes(text.into())));
        }
    }
}

/// Counts lines.
struct Log(Rc<Cell<usize>>);

impl AccessLog for Log {
    fn line(&self, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut line = Vec::new();
        write(&mut line);
        assert_eq!(line.iter().position(|&b| b == b'\n'), Some(line.len() - 1), "it is one line");
        self.0.set(self.0.get() + 1);
    }
}

/// The contents that a whole reply to this path may have.
fn contents(path: &[u8]) -> Option<Vec<&'static [u8]>> {
    Some(match path {
        b"/a.txt" => vec![ALPHA, BETA],
        b"/big.bin" | b"/play/file" | b"/play/files" => vec![file_content()],
        b"/play/now" | b"/play/put-now" => vec![b"now"],
        b"/play/later" => vec![b"later"],
        b"/play/lines" | b"/play/promise" => vec![LINES],
        b"/play/feed" => vec![b"pushed"],
        _ => return None,
    })
}

/// The server's side of one run.
struct Server {
    h: Harness,
    peer: Peer,
    extensions: Rc<Extensions>,
    play: Rc<dyn Extension>,
    tree: MemoryTree,
    asked: List,
    lines: Rc<Cell<usize>>,
    /// The peer went away, or a system call failed: what leaves may end anywhere.
    broken: bool,
}

impl Server {
    fn new() -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let tree = MemoryTree::new(TreeOptions::default(), move || time);
        let path = |text: &str| VirtualPath::parse(text.as_bytes()).expect("it is a path").path;
        for (name, content) in
            [("/a.txt", ALPHA), ("/big.bin", file_content()), ("/dir/b.html", b"<p>b")]
        {
            tree.insert(&path(name), Bytes::from_static(content)).expect("there is room");
        }
        let asked = List::default();
        let play: Rc<dyn Extension> = Rc::new(Play(asked.clone()));
        let options = FilesOptions { cache_bytes: 64 << 10, ..FilesOptions::default() };
        let files = Files::new(Arc::new(tree.clone()), Persona::Process, options);
        let extensions = Rc::new(Extensions::new(vec![
            Rc::new(Noting(asked.clone())),
            play.clone(),
            Rc::new(files),
        ]));
        let lines = Rc::new(Cell::new(0));
        let service = HttpService::new(
            extensions.clone(),
            HttpSettings {
                pipeline_depth: DEPTH,
                max_body_bytes: MAX_BODY,
                ..HttpSettings::default()
            },
            ChannelSettings {
                read_bytes: 1024,
                output_high_bytes: 2048,
                output_low_bytes: 512,
                piece_start_bytes: 4096,
                ..ChannelSettings::default()
            },
            Some(Rc::new(Log(lines.clone()))),
        );
        let mut h = Harness::new();
        let peer = h.accept(&service);
        Self { h, peer, extensions, play, tree, asked, lines, broken: false }
    }

    /// Carries out one operation.
    fn operate(&mut self, choices: &mut Choices<'_>) {
        let peer = &self.peer;
        match choices.byte() {
            0..64 => peer.send(choices.one(TEXTS)),
            64..80 => {
                let (text, cuts) = (choices.one(TEXTS), choices.cuts());
                peer.send_split(text, &within(cuts, text.len()));
            }
            80..90 => peer.send_bytewise(choices.one(TEXTS)),
            90..104 => {
                let length = usize::from(choices.byte());
                peer.send(choices.bytes(length));
            }
            104..144 => self.h.run(),
            144..156 => self.h.advance(Duration::from_millis(choices.byte().into())),
            156..164 => self.h.advance(Duration::from_secs(choices.byte().into())),
            164..172 => peer.set_write_room(choices.short().into()),
            172..180 => peer.grant(choices.short().into()),
            180..186 => peer.grant_all(),
            186..190 => peer.close_write(),
            190 => {
                self.broken = true;
                peer.close();
            }
            191 => {
                self.broken = true;
                peer.reset();
            }
            192..196 => peer.set_max_read(choices.byte().into()),
            196..200 => peer.set_max_write(8 + 8 * usize::from(choices.byte())),
            200..204 => {
                peer.fail_read(choices.one(&[ErrorKind::Interrupted, ErrorKind::WouldBlock]))
            }
            204..208 => {
                peer.fail_write(choices.one(&[ErrorKind::Interrupted, ErrorKind::WouldBlock]));
            }
            208 => {
                self.broken = true;
                peer.fail_read(ErrorKind::ConnectionReset);
            }
            209 => {
                self.broken = true;
                peer.fail_write(ErrorKind::BrokenPipe);
            }
            210..216 => peer.nudge(),
            216..220 => {
                self.extensions.remove("play");
            }
            220..224 => {
                self.extensions.remove("play");
                self.extensions.insert(1 + usize::from(choices.byte()) % 3, self.play.clone());
            }
            224..228 => {
                self.extensions.reorder("play", 1 + usize::from(choices.byte()) % 2);
            }
            228..232 => self.h.hold_jobs(),
            232..236 => self.h.run_jobs(),
            236..240 => {
                let path = VirtualPath::parse(b"/a.txt").expect("it is a path").path;
                let content = choices.one(&[ALPHA, BETA]);
                self.tree.insert(&path, Bytes::from_static(content)).expect("there is room");
            }
            240..243 => self.h.handle().shutdown(Duration::from_secs(choices.byte().into())),
            243 => self.h.chill_files(),
            _ => self.h.run(),
        }
    }

    /// Lets everything come to its end, and looks at what left.
    fn finish(mut self) {
        self.peer.grant_all();
        // What was held back asks for more in its turn: a reply that comes makes way for the next
        // request.
        let soon = |due: Option<Duration>| due.is_some_and(|due| due < Duration::from_secs(1));
        self.h.run();
        for _ in 0..MAX_ROUNDS {
            if self.h.jobs() == 0 && !soon(self.h.next_due()) {
                break;
            }
            self.h.run_jobs();
            self.h.advance(Duration::from_millis(20));
        }
        assert_eq!(self.h.jobs(), 0, "the jobs come to an end");
        self.h.advance(LONG);
        assert!(self.peer.is_gone(), "no connection lasts for ever");

        // A reset says that what left is not complete; an end says that it is.
        let whole = !self.broken && self.peer.closed() == Some(How::Fin);
        let asked = self.asked.borrow();
        let replies = check(&self.peer.take(), &asked, whole);
        assert!(!whole || replies >= asked.len(), "a request was not answered");
        let lines = self.lines.get();
        assert!((asked.len()..=asked.len() + 1).contains(&lines), "{lines} lines were logged");
    }
}

/// Takes replies apart, asserts that each is well-formed, and gives their number.
fn check(mut output: &[u8], asked: &[Asked], whole: bool) -> usize {
    let (mut replies, mut continues, mut last) = (0, 0, false);
    while !output.is_empty() {
        assert!(!last, "nothing follows the last reply");
        if let Some(rest) = output.strip_prefix(CONTINUE) {
            continues += 1;
            assert!(continues <= asked.len());
            output = rest;
            continue;
        }
        let Some(head) = output.windows(4).position(|w| w == b"\r\n\r\n") else {
            assert!(!whole, "a head is cut short");
            return replies;
        };
        let (head, rest) = output.split_at(head + 4);
        let reply = Parsed::parse(head);
        // Behind what the extensions were asked comes at most one refusal.
        let request = asked.get(replies);
        assert!(
            request.is_some() || replies == asked.len(),
            "there are more replies than requests"
        );
        assert!(request.is_some() || (reply.status >= 400 && reply.close), "an unasked reply");
        if let Some(number) = reply.number {
            assert_eq!(number, replies, "the replies are in order");
        }
        let version = request.map_or(Version::Http11, |r| r.version);
        last = reply.close || (version == Version::Http10 && !reply.keep_alive);
        assert!(!reply.chunked || version == Version::Http11, "1.0 knows no chunks");

        let bodiless = matches!(reply.status, 100..200 | 204 | 304);
        assert!(!bodiless || (reply.length.is_none() && !reply.chunked));
        let head_only = request.map_or(rest.is_empty(), |r| r.method == Method::Head);
        let (body, complete, took) = if bodiless || head_only {
            (Vec::new(), true, 0)
        } else if reply.chunked {
            unchunk(rest)
        } else if let Some(length) = reply.length {
            let took = rest.len().min(length);
            (rest[..took].to_vec(), took == length, took)
        } else {
            assert!(last, "only the end of the connection ends this body");
            (rest.to_vec(), whole, rest.len())
        };
        assert!(complete || !whole, "a body is cut short");
        if let Some(request) = request
            && reply.status == 200
            && request.method != Method::Head
            && let Some(contents) = contents(&request.path)
        {
            let matches = |content: &&[u8]| {
                if complete { *content == body } else { content.starts_with(&body) }
            };
            assert!(contents.iter().any(matches), "wrong bytes for {request:?}");
        }
        output = &rest[took..];
        if !complete {
            assert!(output.is_empty());
            return replies;
        }
        replies += 1;
    }
    replies
}

/// The head of a reply.
#[derive(Default)]
struct Parsed {
    status: u16,
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    number: Option<usize>,
}

impl Parsed {
    fn parse(head: &[u8]) -> Self {
        let text = std::str::from_utf8(head).expect("a head is text");
        let mut lines = text.strip_suffix("\r\n\r\n").expect("it is whole").split("\r\n");
        let line = lines.next().expect("there is a status line");
        let status = line.strip_prefix("HTTP/1.1 ").expect("it is of HTTP/1.1");
        assert_eq!(status.as_bytes()[3], b' ');
        let mut parsed = Self { status: status[..3].parse().expect("a number"), ..Self::default() };
        let mut dates = 0;
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a field has a name and a value");
            assert!(
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            );
            assert!(!value.bytes().any(|b| b.is_ascii_control()), "{line:?}");
            match name {
                "Content-Length" => {
                    assert_eq!(parsed.length, None, "one length");
                    parsed.length = Some(value.parse().expect("a number"));
                }
                "Transfer-Encoding" => {
                    assert_eq!(value, "chunked");
                    parsed.chunked = true;
                }
                "Connection" if value == "close" => parsed.close = true,
                "Connection" => {
                    assert_eq!(value, "keep-alive");
                    parsed.keep_alive = true;
                }
                "X-Number" => parsed.number = Some(value.parse().expect("a number")),
                "Date" => dates += 1,
                _ => {}
            }
        }
        assert_eq!(dates, 1);
        assert!(parsed.length.is_none() || !parsed.chunked, "length and chunks together");
        assert!(!(parsed.close && parsed.keep_alive));
        parsed
    }
}

/// Decodes a chunked body: its bytes, whether it is complete, and the input that it took.
fn unchunk(input: &[u8]) -> (Vec<u8>, bool, usize) {
    let (mut decoder, mut body, mut at) = (Decoder::new(), Vec::new(), 0);
    loop {
        match decoder.decode(&input[at..]).expect("our own chunks are well-formed") {
            Step::Data(part) => {
                body.extend_from_slice(&input[at + part.start..at + part.end]);
                at += part.end;
            }
            Step::Need => return (body, false, input.len()),
            Step::Done(len) => return (body, true, at + len),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut server = Server::new();
    for _ in 0..MAX_OPERATIONS {
        if choices.is_empty() {
            break;
        }
        server.operate(&mut choices);
    }
    server.finish();
});
