//! The status page under virtual time: who may see it, what it tells, and what it costs.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use medusa_core::ChannelSettings;
use medusa_core::address::Peer as Address;
use medusa_core::inspect::{Inspect, Node, Value};
use medusa_core::limits::LINGER_TIME;
use medusa_core::testing::{Harness, Peer};
use medusa_http::pattern::Pattern;
use medusa_http::{Extensions, HttpService, HttpSettings};
use serde_json::Value as Json;

use crate::limits::{MAX_BELOW, MAX_PARTS, MAX_WATCHERS, WATCHER_BYTES};
use crate::{Station, Status, StatusOptions};

/// A part whose texts and names try to break out of whatever they are put into.
struct Hostile;

const HOSTILE: &str = "</script><b>\"'\\\n\r\u{2028}\u{0}\u{202e}";

impl Inspect for Hostile {
    fn node(&self) -> Node {
        Node { children: vec![HOSTILE.to_owned()], ..Node::new("odd kind").about("Odd.", &[]) }
            .field(HOSTILE, Value::Text(HOSTILE.to_owned()))
            .field("a number", Value::Count(7))
            .field("A-number", Value::Count(8))
            .field("took", Value::Time(Duration::from_millis(1500)))
            .field("yes", Value::Flag(true))
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        (name == HOSTILE).then(|| Rc::new(Self) as Rc<dyn Inspect>)
    }
}

/// A part with more parts than are shown, each of which has as many.
struct Endless;

impl Inspect for Endless {
    fn node(&self) -> Node {
        let children = (0..=MAX_BELOW).map(|n| n.to_string()).collect();
        Node { children, ..Node::new("endless") }
    }

    fn child(&self, _: &str) -> Option<Rc<dyn Inspect>> {
        Some(Rc::new(Self))
    }
}

/// A part whose event is large.
struct Large;

impl Inspect for Large {
    fn node(&self) -> Node {
        Node::new("large").field("text", Value::Text("x".repeat(WATCHER_BYTES / 5)))
    }
}

/// Until the next event: timers are late by a millisecond rather than early.
const SECOND: Duration = Duration::from_millis(1010);

struct Server {
    h: Harness,
    service: HttpService,
}

fn local() -> Address {
    Address::V4([127, 0, 0, 1].into(), 50_000)
}

fn serve(options: StatusOptions) -> Server {
    let station = Station::new("medusa", "1.2.3");
    let status = Status::new(station, options).expect("few rules");
    let list = Rc::new(Extensions::new(vec![Rc::new(status)]));
    let (settings, channel) = (HttpSettings::default(), ChannelSettings::default());
    let service = HttpService::new(list, settings, channel, None);
    let h = Harness::new();
    h.handle().mount("http", service.inspect());
    Server { h, service }
}

fn options() -> StatusOptions {
    let at = |path| Some(Pattern::parse(path).expect("it is one"));
    StatusOptions { page: at("/status"), metrics: at("/metrics"), allow: None }
}

impl Server {
    fn connect(&mut self, from: Address) -> Peer {
        self.h.accept_from(&self.service, from).expect("there is room")
    }

    fn send(&mut self, from: Address, request: &str) -> (Peer, String) {
        let peer = self.connect(from);
        peer.send(request);
        self.h.run();
        let said = peer.take_text();
        (peer, said)
    }

    /// The body of a reply to this machine.
    fn body(&mut self, target: &str) -> String {
        let (_, said) = self.send(local(), &get(target, "localhost", ""));
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        said.split_once("\r\n\r\n").expect("a head").1.to_owned()
    }

    fn json(&mut self) -> Json {
        serde_json::from_str(&self.body("/status?format=json")).expect("it is JSON")
    }

    fn watch(&mut self) -> (Peer, String) {
        self.send(local(), &get("/status", "localhost", "Accept: text/event-stream\r\n"))
    }
}

fn get(target: &str, host: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

fn status(said: &str) -> u16 {
    said[9..12].parse().expect("a status")
}

#[test]
fn only_this_machine_may_look_unless_others_are_allowed() {
    let remote = Address::V4([192, 0, 2, 1].into(), 50_000);
    let six = Address::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 50_000);
    let all =
        StatusOptions { allow: Some(vec!["192.0.2.0/24".parse().expect("one")]), ..options() };
    for (options, from, host, expected) in [
        (options(), local(), "localhost", 200),
        (options(), local(), "LocalHost.:8080", 200),
        (options(), local(), "127.0.0.1:8080", 200),
        (options(), six, "[::1]:8080", 200),
        (options(), Address::Unix, "anything", 200),
        (options(), remote, "localhost", 403),
        (options(), Address::Unknown, "localhost", 403),
        // A page of the web that has its own name lead here.
        (options(), local(), "evil.example", 403),
        (options(), local(), "localhost.evil.example", 403),
        (all.clone(), remote, "status.example", 200),
        (all, local(), "localhost", 403),
    ] {
        let mut server = serve(options);
        for target in ["/status", "/status?format=json", "/status?format=events", "/metrics"] {
            let (_, said) = server.send(from, &get(target, host, ""));
            assert_eq!(status(&said), expected, "{from} {host} {target}: {said}");
        }
    }
}

#[test]
fn the_client_chooses_the_form() {
    let mut server = serve(options());
    for (target, accept, expected) in [
        ("/status", "", "text/html; charset=utf-8"),
        ("/status", "Accept: text/html,*/*;q=0.8\r\n", "text/html; charset=utf-8"),
        ("/status/", "Accept: application/json\r\n", "application/json"),
        ("/status", "Accept: text/event-stream\r\n", "text/event-stream"),
        ("/status?x&format=json", "Accept: text/html\r\n", "application/json"),
        ("/metrics", "Accept: text/html\r\n", crate::metrics::MEDIA_TYPE),
    ] {
        let (_, said) = server.send(local(), &get(target, "localhost", accept));
        assert!(said.contains(&format!("\r\nContent-Type: {expected}\r\n")), "{target}: {said}");
    }
    for (request, expected) in [
        (get("/status?format=xml", "localhost", ""), 400),
        (get("/status", "localhost", "").replace("GET", "POST"), 405),
        (get("/status/below", "localhost", ""), 404),
        (get("/", "localhost", ""), 404),
    ] {
        let (_, said) = server.send(local(), &request);
        assert_eq!(status(&said), expected, "{request}: {said}");
    }
    let (_, head) =
        server.send(local(), &get("/status?format=events", "localhost", "").replace("GET", "HEAD"));
    assert!(head.ends_with("\r\n\r\n") && status(&head) == 200, "{head}");
}

#[test]
fn what_has_no_path_is_not_there() {
    let mut server = serve(StatusOptions { metrics: None, ..options() });
    assert_eq!(status(&server.send(local(), &get("/metrics", "localhost", "")).1), 404);
    let mut server = serve(StatusOptions { page: None, ..options() });
    assert_eq!(status(&server.send(local(), &get("/status", "localhost", "")).1), 404);
    assert!(server.body("/metrics").contains("medusa_http_requests_total"));
}

#[test]
fn json_has_the_figures_and_the_whole_tree() {
    let mut server = serve(options());
    server.h.handle().mount("odd", Rc::new(Hostile));
    server.send(local(), &get("/none", "localhost", ""));
    let json = server.json();
    assert_eq!((&json["program"], &json["version"]), (&"medusa".into(), &"1.2.3".into()));
    assert_eq!(json["figures"]["requests_total"], 2);
    assert_eq!(json["figures"]["replies_4xx_total"], 1);
    let parts = &json["tree"]["parts"];
    assert_eq!(parts["http"]["fields"]["requests"], 2);
    assert_eq!(parts["http"]["units"]["sent"], "bytes");
    assert_eq!(parts["process"]["fields"]["id"], std::process::id());
    let odd = &parts["odd"];
    assert_eq!(odd["fields"][HOSTILE], HOSTILE);
    assert_eq!((&odd["fields"]["took"], &odd["units"]["took"]), (&1.5.into(), &"seconds".into()));
    assert_eq!(odd["fields"]["yes"], true);
    // It goes on without an end, and is shown to some depth.
    assert_eq!(odd["parts"][HOSTILE]["parts"][HOSTILE]["kind"], "odd kind");
    // In the order in which the part has them.
    let keys: Vec<_> = odd["fields"].as_object().expect("fields").keys().collect();
    assert_eq!(keys.len(), 5);
    let text = server.body("/status?format=json");
    assert!(
        text.contains("\"requests\":") && text.find("\"requests\":") < text.find("\"aborted\":")
    );
}

/// A part and all that is shown below it.
fn count(part: &Json) -> usize {
    1 + part["parts"].as_object().map_or(0, |parts| parts.values().map(count).sum())
}

#[test]
fn a_tree_without_end_is_shown_in_part() {
    let mut server = serve(options());
    server.h.handle().mount("endless", Rc::new(Endless));
    let json = server.json();
    let endless = &json["tree"]["parts"]["endless"];
    assert_eq!(endless["more"], true);
    assert_eq!(endless["parts"].as_object().expect("parts").len(), MAX_BELOW);
    assert_eq!(count(&json["tree"]), MAX_PARTS);
}

/// The events of a stream, by name; chunked framing is taken away.
fn events(said: &str) -> Vec<(String, Json)> {
    let said = said.split_once("\r\n\r\n").map_or(said, |(_, body)| body);
    let mut body = String::new();
    let mut rest = said;
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        body.push_str(&behind[..size]);
        rest = &behind[size + 2..];
    }
    let blocks = body.split_terminator("\n\n").filter(|block| !block.starts_with("retry: "));
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').expect("two lines");
        let (name, data) = (name.strip_prefix("event: "), data.strip_prefix("data: "));
        let data = serde_json::from_str(data.expect("data")).expect("it is JSON");
        (name.expect("a name").to_owned(), data)
    };
    blocks.map(event).collect()
}

#[test]
fn who_looks_on_is_told_each_second_and_who_does_not_costs_nothing() {
    let mut server = serve(options());
    let (watcher, said) = server.watch();
    let first = events(&said);
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["history", "now"]);
    assert_eq!(first[0].1["rows"].as_array().map(Vec::len), Some(0));
    assert_eq!(first[1].1["tree"]["kind"], "root");
    for _ in 0..3 {
        server.h.advance(SECOND);
        let (name, now) = &events(&watcher.take_text())[0];
        assert_eq!((name.as_str(), &now["row"][1]), ("now", &1.into()));
    }
    // Another one hears what was before it came.
    let (other, said) = server.watch();
    assert_eq!(events(&said)[0].1["rows"].as_array().map(Vec::len), Some(4));
    watcher.reset();
    server.h.advance(2 * SECOND);
    assert_eq!(events(&other.take_text()).len(), 2);
    other.reset();
    server.h.advance(2 * SECOND);
    assert_eq!(server.h.next_due(), None, "nothing is left behind");
    // What was seen is forgotten when it is too old, but for one from which on rates count.
    server.h.advance(Duration::from_secs(3600));
    let (_, said) = server.watch();
    assert_eq!(events(&said)[0].1["rows"].as_array().map(Vec::len), Some(1));
}

#[test]
fn as_many_may_look_on_as_there_is_room_for() {
    let mut server = serve(options());
    let mut watchers: Vec<_> = (0..MAX_WATCHERS).map(|_| server.watch().0).collect();
    assert_eq!(status(&server.watch().1), 503);
    watchers.pop().expect("there are some").reset();
    server.h.run();
    assert_eq!(status(&server.watch().1), 200);
}

#[test]
fn a_watcher_that_does_not_read_misses_events_and_holds_no_memory() {
    let mut server = serve(options());
    server.h.handle().mount("large", Rc::new(Large));
    let slow = server.connect(local());
    slow.set_write_room(0);
    slow.send(get("/status?format=events", "localhost", ""));
    // Less long than output may stand still.
    server.h.advance(20 * SECOND);
    slow.grant(usize::MAX / 2);
    server.h.run();
    let said = slow.take_text();
    // What the channel had taken from the feed comes on top.
    assert!(said.len() < 3 * WATCHER_BYTES, "{} bytes waited", said.len());
    assert!(events(&said).len() < 15);
    server.h.advance(SECOND);
    assert_eq!(events(&slow.take_text()).len(), 1, "it goes on");
}

#[test]
fn streams_end_with_the_server() {
    for retires in [false, true] {
        let mut server = serve(options());
        let (watcher, _) = server.watch();
        let hour = Duration::from_secs(3600);
        if retires {
            server.h.handle().retire(hour, || {});
        } else {
            server.h.handle().shutdown(hour);
        }
        server.h.run();
        server.h.advance(SECOND);
        let said = watcher.take_text();
        assert!(said.ends_with("0\r\n\r\n"), "it comes to a proper end, not {said:?}");
        // One that retires leaves its clients the time to ask once more.
        server.h.advance(HttpSettings::default().retire_idle + LINGER_TIME + SECOND);
        assert!(server.h.has_stopped(), "retires: {retires}");
    }
}

/// Reads the text format as strictly as it is written down; gives all samples by name and labels.
fn parse(text: &str) -> HashMap<String, f64> {
    assert!(text.ends_with('\n'));
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let (mut samples, mut families) = (HashMap::new(), HashSet::new());
    let mut current = (String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').expect("a name and a text");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let kind = kind.and_then(|line| line.strip_prefix(name)).expect("the type comes next");
            assert!(is_name(name) && families.insert(name.to_owned()), "{name} comes once");
            current = (name.to_owned(), kind.trim().to_owned());
            assert!(["counter", "gauge", "histogram", "untyped"].contains(&&*current.1), "{line}");
            assert_eq!(current.1 == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        let (name, labels, value) = match line.split_once('{') {
            Some((name, rest)) => {
                let (labels, value) = rest.rsplit_once("} ").expect("labels end");
                (name, labels, value)
            }
            None => line.split_once(' ').map(|(name, value)| (name, "", value)).expect("a value"),
        };
        let of_family = match &*current.1 {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end).is_some_and(|name| name == current.0)),
            _ => name == current.0,
        };
        assert!(of_family, "{line} stands in {}", current.0);
        let mut rest = labels;
        while !rest.is_empty() {
            let (label, behind) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let mut end = None;
            let mut chars = behind.char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => assert!(matches!(chars.next(), Some((_, '\\' | '"' | 'n')))),
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            rest = &behind[end.expect("a quote") + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        let number: f64 = value.parse().expect("a number");
        assert!(samples.insert(format!("{name}{{{labels}}}"), number).is_none(), "{line} twice");
    }
    samples
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let mut server = serve(options());
    server.h.handle().mount("odd", Rc::new(Hostile));
    server.send(local(), &get("/none", "localhost", ""));
    let samples = parse(&server.body("/metrics"));
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name}: {samples:?}"));
    let is = |name: &str, expected: u32| {
        assert_eq!(value(name).to_bits(), f64::from(expected).to_bits(), "{name}");
    };
    is("medusa_http_requests_total{path=\"http\"}", 2);
    is("medusa_http_replies_total{path=\"http\",class=\"4xx\"}", 1);
    is("medusa_connections_opened_total{}", 2);
    is("medusa_odd_kind_a_number{path=\"odd\"}", 7);
    is("medusa_odd_kind_yes{path=\"odd\"}", 1);
    assert!((value("medusa_odd_kind_took_seconds{path=\"odd\"}") - 1.5).abs() < 1e-9);
    // No turn of a harness takes time.
    is("medusa_turn_seconds_bucket{le=\"+Inf\"}", 0);
    assert!(value("process_cpu_seconds_total{}") > 0.0);
    assert!(value("process_start_time_seconds{}") > 4e9, "the harness begins in the year 2100");
    let escaped = "</script><b>\\\"'\\\\\\n \u{2028}\u{0}\u{202e}";
    is(&format!("medusa_odd_kind_a_number{{path=\"odd/{escaped}\"}}"), 7);
}
